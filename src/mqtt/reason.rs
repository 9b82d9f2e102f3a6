//! What a broker means by its return and reason codes: whether to try again, and the word for it.

use rumqttc::mqttbytes::v4 as p4;
use rumqttc::v5::mqttbytes::v5 as p5;

use super::packet::{Answer, Qos, Refusal, RefusalKind};
use super::translation::{qos_from_v4, qos_from_v5};

pub(super) fn refusal_of_v4(code: p4::ConnectReturnCode) -> Option<Refusal> {
    use p4::ConnectReturnCode as Code;
    Some(match code {
        Code::Success => return None,
        Code::RefusedProtocolVersion => permanent("unacceptable protocol version"),
        Code::BadClientId => permanent("client identifier not valid"),
        Code::ServiceUnavailable => temporary("server unavailable"),
        Code::BadUserNamePassword => not_authorized("bad user name or password"),
        Code::NotAuthorized => not_authorized("not authorized"),
    })
}

pub(super) fn refusal_of_v5(code: p5::ConnectReturnCode) -> Option<Refusal> {
    use p5::ConnectReturnCode as Code;
    Some(match code {
        Code::Success => return None,
        Code::RefusedProtocolVersion | Code::UnsupportedProtocolVersion => {
            permanent("unsupported protocol version")
        }
        Code::BadClientId | Code::ClientIdentifierNotValid => permanent("client identifier not valid"),
        Code::BadUserNamePassword => not_authorized("bad user name or password"),
        Code::NotAuthorized => not_authorized("not authorized"),
        Code::BadAuthenticationMethod => not_authorized("bad authentication method"),
        Code::Banned => not_authorized("banned"),
        Code::ServiceUnavailable | Code::ServerUnavailable => temporary("server unavailable"),
        Code::ServerBusy => temporary("server busy"),
        Code::QuotaExceeded => temporary("quota exceeded"),
        Code::ConnectionRateExceeded => temporary("connection rate exceeded"),
        Code::UnspecifiedError => temporary("unspecified error"),
        Code::ImplementationSpecificError => temporary("implementation specific error"),
        Code::UseAnotherServer => temporary("use another server"),
        Code::MalformedPacket => permanent("malformed packet"),
        Code::ProtocolError => permanent("protocol error"),
        Code::TopicNameInvalid => permanent("last will topic invalid"),
        Code::PacketTooLarge => permanent("packet too large"),
        Code::PayloadFormatInvalid => permanent("payload format invalid"),
        Code::RetainNotSupported => permanent("retain not supported"),
        Code::QoSNotSupported => permanent("QoS not supported"),
        Code::ServerMoved => permanent("server moved"),
    })
}

/// The two answers to a publish have the same reasons, each in a type of its own.
macro_rules! publish_answer {
    ($name:ident, $reason:ident) => {
        pub(super) fn $name(reason: p5::$reason) -> Answer<()> {
            use p5::$reason as Reason;
            Err(match reason {
                Reason::Success | Reason::NoMatchingSubscribers => return Ok(()),
                Reason::UnspecifiedError => temporary("unspecified error"),
                Reason::ImplementationSpecificError => temporary("implementation specific error"),
                Reason::QuotaExceeded => temporary("quota exceeded"),
                Reason::PacketIdentifierInUse => temporary("packet identifier in use"),
                Reason::NotAuthorized => not_authorized("not authorized"),
                Reason::TopicNameInvalid => permanent("topic name invalid"),
                Reason::PayloadFormatInvalid => permanent("payload format invalid"),
            })
        }
    };
}

publish_answer!(puback_answer, PubAckReason);
publish_answer!(pubrec_answer, PubRecReason);

pub(super) fn subscribe_answer_v4(code: &p4::SubscribeReasonCode) -> Answer<Qos> {
    match code {
        p4::SubscribeReasonCode::Success(qos) => Ok(qos_from_v4(*qos)),
        p4::SubscribeReasonCode::Failure => Err(not_authorized("the broker refuses the filter")),
    }
}

pub(super) fn subscribe_answer_v5(code: &p5::SubscribeReasonCode) -> Answer<Qos> {
    use p5::SubscribeReasonCode as Code;
    Err(match code {
        Code::Success(qos) => return Ok(qos_from_v5(*qos)),
        Code::Failure | Code::Unspecified => not_authorized("the broker refuses the filter"),
        Code::ImplementationSpecific => temporary("implementation specific error"),
        Code::NotAuthorized => not_authorized("not authorized"),
        Code::TopicFilterInvalid => permanent("topic filter invalid"),
        Code::PkidInUse => temporary("packet identifier in use"),
        Code::QuotaExceeded => temporary("quota exceeded"),
        Code::SharedSubscriptionsNotSupported => permanent("shared subscriptions not supported"),
        Code::SubscriptionIdNotSupported => permanent("subscription identifiers not supported"),
        Code::WildcardSubscriptionsNotSupported => permanent("wildcard subscriptions not supported"),
    })
}

pub(super) fn disconnect_reason(code: p5::DisconnectReasonCode) -> Refusal {
    use p5::DisconnectReasonCode as Code;
    match code {
        Code::SessionTakenOver => permanent("another client connected with this client identifier"),
        Code::NotAuthorized => not_authorized("not authorized"),
        Code::ServerBusy => temporary("server busy"),
        Code::ServerShuttingDown => temporary("server shutting down"),
        Code::KeepAliveTimeout => temporary("keep-alive timeout"),
        Code::ReceiveMaximumExceeded => temporary("receive maximum exceeded"),
        Code::PacketTooLarge => permanent("packet too large"),
        Code::QuotaExceeded => temporary("quota exceeded"),
        Code::MessageRateTooHigh => temporary("message rate too high"),
        Code::AdministrativeAction => temporary("administrative action"),
        Code::TopicFilterInvalid => permanent("topic filter invalid"),
        Code::TopicNameInvalid => permanent("topic name invalid"),
        Code::MalformedPacket => permanent("malformed packet"),
        Code::ProtocolError => permanent("protocol error"),
        Code::NormalDisconnection => temporary("normal disconnection"),
        Code::ServerMoved | Code::UseAnotherServer => temporary("use another server"),
        _ => temporary("unspecified error"),
    }
}

pub(super) const fn temporary(reason: &'static str) -> Refusal {
    Refusal { kind: RefusalKind::Temporary, reason }
}

pub(super) const fn not_authorized(reason: &'static str) -> Refusal {
    Refusal { kind: RefusalKind::NotAuthorized, reason }
}

pub(super) const fn permanent(reason: &'static str) -> Refusal {
    Refusal { kind: RefusalKind::Permanent, reason }
}
