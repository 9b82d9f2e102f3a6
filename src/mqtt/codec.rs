//! Packets to bytes and back, by the codecs of `rumqttc` for version 3.1.1 and version 5.
//!
//! Limits: a packet from the broker is at most `packet_bytes_max` long. A longer publish is thrown away as it comes, never
//! buffered, and reported as unread so that it can be acknowledged; any other packet that long is an error.
//!
//! What this adds to those codecs: such publishes, topics that are not UTF-8, and one packet type for both versions.
//! Version 5 reads a publish without allocating; version 3.1.1 allocates its topic.

use bytes::{Buf, Bytes, BytesMut};
use rumqttc::mqttbytes::{self as v4, v4 as p4};
use rumqttc::v5::mqttbytes::{self as v5, v5 as p5};

use super::packet::{
    Answer, BrokerLimits, ConnAck, Connect, Incoming, MqttVersion, Outgoing, PacketId, Publish, Qos, Refusal,
    RefusalKind, Unread, UnreadCause,
};

/// Longest fixed header, in bytes: the first byte, and the length.
const FIXED_HEADER_BYTES_MAX: usize = 5;
/// First four bits of a publish.
const PUBLISH: u8 = 3;

/// Why bytes are not MQTT: the connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CodecError {
    #[error("the broker sent something that is not MQTT 3.1.1: {0}")]
    V311(v4::Error),
    #[error("the broker sent something that is not MQTT 5: {0}")]
    V5(v5::Error),
    #[error("the broker sent a packet with a malformed length")]
    Length,
    #[error("the broker sent a packet of {bytes} bytes that is no publish; at most {bytes_max} are accepted")]
    TooLarge { bytes: usize, bytes_max: usize },
    #[error("the broker sent a packet that only a client sends")]
    NotFromBroker,
    #[error("a packet does not fit MQTT's limits: {0}")]
    Write(String),
}

/// Reads the packets of one connection, and writes some.
#[derive(Debug)]
pub(crate) struct Codec {
    version: MqttVersion,
    packet_bytes_max: usize,
    /// Bytes of an unread publish that are still to come.
    to_skip: usize,
}

/// Where a packet begins.
#[derive(Debug, Clone, Copy)]
struct FixedHeader {
    first_byte: u8,
    header_bytes: usize,
    remaining_bytes: usize,
}

impl Codec {
    /// `packet_bytes_max` is what a packet from the broker may have behind its fixed header.
    pub(crate) fn new(version: MqttVersion, packet_bytes_max: usize) -> Self {
        Self { version, packet_bytes_max, to_skip: 0 }
    }

    /// Takes the next packet from the front of what was received; `None` when it is not all there.
    ///
    /// # Errors
    /// [`CodecError`]: the connection must end.
    pub(crate) fn read(&mut self, received: &mut BytesMut) -> Result<Option<Incoming>, CodecError> {
        if self.to_skip > 0 {
            let skipped = self.to_skip.min(received.len());
            received.advance(skipped);
            self.to_skip -= skipped;
            if self.to_skip > 0 {
                return Ok(None);
            }
        }
        let Some(header) = fixed_header(received)? else { return Ok(None) };
        let is_publish = header.first_byte >> 4 == PUBLISH;
        if header.remaining_bytes > self.packet_bytes_max {
            if !is_publish {
                let (bytes, bytes_max) = (header.remaining_bytes, self.packet_bytes_max);
                return Err(CodecError::TooLarge { bytes, bytes_max });
            }
            let Some(unread) = unread(header, received, UnreadCause::TooLarge)? else { return Ok(None) };
            self.to_skip = unread.packet_bytes;
            let skipped = self.to_skip.min(received.len());
            received.advance(skipped);
            self.to_skip -= skipped;
            return Ok(Some(Incoming::Unread(unread)));
        }
        let packet_bytes = header.header_bytes + header.remaining_bytes;
        if received.len() < packet_bytes {
            received.reserve(packet_bytes - received.len());
            return Ok(None);
        }
        match self.version {
            MqttVersion::V311 => {
                // The codec does not say which packet it was whose topic is not UTF-8.
                if is_publish
                    && let Some(unread) = unread(header, received, UnreadCause::TopicNotUtf8)?
                    && std::str::from_utf8(&unread.topic).is_err()
                {
                    received.advance(packet_bytes);
                    return Ok(Some(Incoming::Unread(unread)));
                }
                let packet = p4::Packet::read(received, self.packet_bytes_max).map_err(CodecError::V311)?;
                from_v4(packet).map(Some)
            }
            MqttVersion::V5 => {
                // A disconnect for no particular reason, which the codec does not know.
                if header.first_byte >> 4 == 14 && header.remaining_bytes == 0 {
                    received.advance(packet_bytes);
                    return Ok(Some(Incoming::Disconnect(temporary("normal disconnection"))));
                }
                let packet = p5::Packet::read(received, None).map_err(CodecError::V5)?;
                from_v5(packet, packet_bytes).map(Some)
            }
        }
    }

    /// Appends a packet to `out`.
    ///
    /// # Errors
    /// [`CodecError::Write`] when it is longer than MQTT allows; then nothing may be sent of `out`.
    pub(crate) fn write(&self, packet: Outgoing<'_>, out: &mut BytesMut) -> Result<(), CodecError> {
        match self.version {
            MqttVersion::V311 => {
                let written = to_v4(packet).write(out, usize::MAX);
                written.map(drop).map_err(|error| CodecError::Write(error.to_string()))
            }
            MqttVersion::V5 => {
                let written = to_v5(packet).write(out, None);
                written.map(drop).map_err(|error| CodecError::Write(error.to_string()))
            }
        }
    }
}

/// The fixed header at the front; `None` when it is not all there.
fn fixed_header(received: &[u8]) -> Result<Option<FixedHeader>, CodecError> {
    let Some((&first_byte, rest)) = received.split_first() else { return Ok(None) };
    let mut remaining_bytes = 0;
    for (index, &byte) in rest.iter().take(FIXED_HEADER_BYTES_MAX - 1).enumerate() {
        remaining_bytes |= usize::from(byte & 0x7F) << (7 * index);
        if byte < 0x80 {
            return Ok(Some(FixedHeader { first_byte, header_bytes: index + 2, remaining_bytes }));
        }
    }
    if received.len() < FIXED_HEADER_BYTES_MAX { Ok(None) } else { Err(CodecError::Length) }
}

/// What is needed to acknowledge a publish without reading it; `None` when that is not all there.
fn unread(header: FixedHeader, received: &[u8], cause: UnreadCause) -> Result<Option<Unread>, CodecError> {
    let qos = Qos::from_level((header.first_byte >> 1) & 3).ok_or(CodecError::Length)?;
    let packet_bytes = header.header_bytes + header.remaining_bytes;
    let variable = received.get(header.header_bytes..).unwrap_or_default();
    let Some((length, rest)) = variable.split_first_chunk() else { return short(header, 2) };
    let topic_bytes = usize::from(from_network(*length));
    let Some((topic, rest)) = rest.split_at_checked(topic_bytes) else {
        return short(header, 2 + topic_bytes);
    };
    let packet_id = match (qos, rest.split_first_chunk()) {
        (Qos::AtMostOnce, _) => 0,
        (_, Some((packet_id, _))) => from_network(*packet_id),
        (_, None) => return short(header, 2 + topic_bytes + 2),
    };
    if qos != Qos::AtMostOnce && packet_id == 0 {
        return Err(CodecError::V311(v4::Error::PacketIdZero));
    }
    Ok(Some(Unread { qos, packet_id, topic: Bytes::copy_from_slice(topic), packet_bytes, cause }))
}

/// Not there yet, or never.
fn short(header: FixedHeader, needed: usize) -> Result<Option<Unread>, CodecError> {
    if header.remaining_bytes < needed { Err(CodecError::Length) } else { Ok(None) }
}

/// MQTT's numbers have their high byte first.
fn from_network([high, low]: [u8; 2]) -> u16 {
    u16::from(high) << 8 | u16::from(low)
}

fn from_v4(packet: p4::Packet) -> Result<Incoming, CodecError> {
    Ok(match packet {
        p4::Packet::Publish(publish) => Incoming::Publish(Publish {
            is_duplicate: publish.dup,
            qos: qos_from_v4(publish.qos),
            is_retained: publish.retain,
            topic: publish.topic.into(),
            packet_id: publish.pkid,
            payload: publish.payload,
            user_properties: Vec::new(),
        }),
        p4::Packet::ConnAck(ack) => Incoming::ConnAck(match refusal_of_v4(ack.code) {
            None => Ok(ConnAck { session_present: ack.session_present, limits: BrokerLimits::default() }),
            Some(refusal) => Err(refusal),
        }),
        p4::Packet::PubAck(ack) => Incoming::PubAck(ack.pkid, Ok(())),
        p4::Packet::PubRec(ack) => Incoming::PubRec(ack.pkid, Ok(())),
        p4::Packet::PubRel(release) => Incoming::PubRel(release.pkid),
        p4::Packet::PubComp(complete) => Incoming::PubComp(complete.pkid),
        p4::Packet::SubAck(ack) => {
            let answer = |code: &p4::SubscribeReasonCode| match code {
                p4::SubscribeReasonCode::Success(qos) => Ok(qos_from_v4(*qos)),
                p4::SubscribeReasonCode::Failure => Err(not_authorized("the broker refuses the filter")),
            };
            Incoming::SubAck(ack.pkid, ack.return_codes.iter().map(answer).collect())
        }
        p4::Packet::UnsubAck(ack) => Incoming::UnsubAck(ack.pkid),
        p4::Packet::PingResp => Incoming::PingResp,
        p4::Packet::Connect(_)
        | p4::Packet::Subscribe(_)
        | p4::Packet::Unsubscribe(_)
        | p4::Packet::PingReq
        | p4::Packet::Disconnect => return Err(CodecError::NotFromBroker),
    })
}

fn from_v5(packet: p5::Packet, packet_bytes: usize) -> Result<Incoming, CodecError> {
    Ok(match packet {
        p5::Packet::Publish(publish) if std::str::from_utf8(&publish.topic).is_err() => {
            let cause = UnreadCause::TopicNotUtf8;
            let (qos, packet_id) = (qos_from_v5(publish.qos), publish.pkid);
            Incoming::Unread(Unread { qos, packet_id, topic: publish.topic, packet_bytes, cause })
        }
        p5::Packet::Publish(publish) => Incoming::Publish(Publish {
            is_duplicate: publish.dup,
            qos: qos_from_v5(publish.qos),
            is_retained: publish.retain,
            topic: publish.topic,
            packet_id: publish.pkid,
            payload: publish.payload,
            user_properties: publish
                .properties
                .map(|properties| properties.user_properties)
                .unwrap_or_default(),
        }),
        p5::Packet::ConnAck(ack) => Incoming::ConnAck(match refusal_of_v5(ack.code) {
            None => Ok(ConnAck {
                session_present: ack.session_present,
                limits: ack.properties.as_ref().map(limits).unwrap_or_default(),
            }),
            Some(refusal) => Err(refusal),
        }),
        p5::Packet::PubAck(ack) => Incoming::PubAck(ack.pkid, puback_answer(ack.reason)),
        p5::Packet::PubRec(ack) => Incoming::PubRec(ack.pkid, pubrec_answer(ack.reason)),
        p5::Packet::PubRel(release) => Incoming::PubRel(release.pkid),
        p5::Packet::PubComp(complete) => Incoming::PubComp(complete.pkid),
        p5::Packet::SubAck(ack) => {
            Incoming::SubAck(ack.pkid, ack.return_codes.iter().map(subscribe_answer).collect())
        }
        p5::Packet::UnsubAck(ack) => Incoming::UnsubAck(ack.pkid),
        p5::Packet::PingResp(_) => Incoming::PingResp,
        p5::Packet::Disconnect(disconnect) => Incoming::Disconnect(disconnect_reason(disconnect.reason_code)),
        p5::Packet::Auth(_)
        | p5::Packet::Connect(..)
        | p5::Packet::Subscribe(_)
        | p5::Packet::Unsubscribe(_)
        | p5::Packet::PingReq(_) => return Err(CodecError::NotFromBroker),
    })
}

fn limits(properties: &p5::ConnAckProperties) -> BrokerLimits {
    BrokerLimits {
        receive_maximum: properties.receive_max.unwrap_or(u16::MAX).max(1),
        packet_bytes_max: properties.max_packet_size,
        qos_max: properties.max_qos.and_then(Qos::from_level).unwrap_or(Qos::ExactlyOnce),
        keep_alive_seconds: properties.server_keep_alive,
        session_expiry_seconds: properties.session_expiry_interval,
    }
}

const fn temporary(reason: &'static str) -> Refusal {
    Refusal { kind: RefusalKind::Temporary, reason }
}

const fn not_authorized(reason: &'static str) -> Refusal {
    Refusal { kind: RefusalKind::NotAuthorized, reason }
}

const fn permanent(reason: &'static str) -> Refusal {
    Refusal { kind: RefusalKind::Permanent, reason }
}

fn refusal_of_v4(code: p4::ConnectReturnCode) -> Option<Refusal> {
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

fn refusal_of_v5(code: p5::ConnectReturnCode) -> Option<Refusal> {
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

fn puback_answer(reason: p5::PubAckReason) -> Answer<()> {
    use p5::PubAckReason as Reason;
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

fn pubrec_answer(reason: p5::PubRecReason) -> Answer<()> {
    use p5::PubRecReason as Reason;
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

fn subscribe_answer(code: &p5::SubscribeReasonCode) -> Answer<Qos> {
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

fn disconnect_reason(code: p5::DisconnectReasonCode) -> Refusal {
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

fn qos_from_v4(qos: v4::QoS) -> Qos {
    match qos {
        v4::QoS::AtMostOnce => Qos::AtMostOnce,
        v4::QoS::AtLeastOnce => Qos::AtLeastOnce,
        v4::QoS::ExactlyOnce => Qos::ExactlyOnce,
    }
}

fn qos_to_v4(qos: Qos) -> v4::QoS {
    match qos {
        Qos::AtMostOnce => v4::QoS::AtMostOnce,
        Qos::AtLeastOnce => v4::QoS::AtLeastOnce,
        Qos::ExactlyOnce => v4::QoS::ExactlyOnce,
    }
}

fn qos_from_v5(qos: v5::QoS) -> Qos {
    match qos {
        v5::QoS::AtMostOnce => Qos::AtMostOnce,
        v5::QoS::AtLeastOnce => Qos::AtLeastOnce,
        v5::QoS::ExactlyOnce => Qos::ExactlyOnce,
    }
}

fn qos_to_v5(qos: Qos) -> v5::QoS {
    match qos {
        Qos::AtMostOnce => v5::QoS::AtMostOnce,
        Qos::AtLeastOnce => v5::QoS::AtLeastOnce,
        Qos::ExactlyOnce => v5::QoS::ExactlyOnce,
    }
}

fn to_v4(packet: Outgoing<'_>) -> p4::Packet {
    match packet {
        Outgoing::Connect(connect) => p4::Packet::Connect(p4::Connect {
            protocol: v4::Protocol::V4,
            keep_alive: connect.keep_alive_seconds,
            client_id: connect.client_id.clone(),
            clean_session: connect.clean_start,
            last_will: connect.last_will.as_ref().map(|will| p4::LastWill {
                topic: will.topic.clone(),
                message: Bytes::copy_from_slice(&will.payload),
                qos: qos_to_v4(will.qos),
                retain: will.is_retained,
            }),
            login: connect
                .login
                .as_ref()
                .map(|(user, password)| p4::Login { username: user.clone(), password: password.clone() }),
        }),
        Outgoing::Publish(publish) => p4::Packet::Publish(p4::Publish {
            dup: publish.is_duplicate,
            qos: qos_to_v4(publish.qos),
            retain: publish.is_retained,
            topic: String::from_utf8_lossy(&publish.topic).into_owned(),
            pkid: publish.packet_id,
            payload: publish.payload.clone(),
        }),
        Outgoing::PubAck(packet_id) => p4::Packet::PubAck(p4::PubAck::new(packet_id)),
        Outgoing::PubRec(packet_id) => p4::Packet::PubRec(p4::PubRec::new(packet_id)),
        Outgoing::PubRel(packet_id) => p4::Packet::PubRel(p4::PubRel::new(packet_id)),
        Outgoing::PubComp(packet_id) => p4::Packet::PubComp(p4::PubComp::new(packet_id)),
        Outgoing::Subscribe { packet_id, filters, qos } => p4::Packet::Subscribe(p4::Subscribe {
            pkid: packet_id,
            filters: filters
                .iter()
                .map(|filter| p4::SubscribeFilter::new(filter.clone(), qos_to_v4(qos)))
                .collect(),
        }),
        Outgoing::PingReq => p4::Packet::PingReq,
        Outgoing::Disconnect => p4::Packet::Disconnect,
    }
}

fn to_v5(packet: Outgoing<'_>) -> p5::Packet {
    match packet {
        Outgoing::Connect(connect) => connect_v5(connect),
        Outgoing::Publish(publish) => p5::Packet::Publish(p5::Publish {
            dup: publish.is_duplicate,
            qos: qos_to_v5(publish.qos),
            retain: publish.is_retained,
            topic: publish.topic.clone(),
            pkid: publish.packet_id,
            payload: publish.payload.clone(),
            properties: (!publish.user_properties.is_empty()).then(|| p5::PublishProperties {
                user_properties: publish.user_properties.clone(),
                ..p5::PublishProperties::default()
            }),
        }),
        Outgoing::PubAck(packet_id) => p5::Packet::PubAck(p5::PubAck::new(packet_id, None)),
        Outgoing::PubRec(packet_id) => p5::Packet::PubRec(p5::PubRec::new(packet_id, None)),
        Outgoing::PubRel(packet_id) => p5::Packet::PubRel(p5::PubRel::new(packet_id, None)),
        Outgoing::PubComp(packet_id) => p5::Packet::PubComp(p5::PubComp::new(packet_id, None)),
        Outgoing::Subscribe { packet_id, filters, qos } => {
            p5::Packet::Subscribe(subscribe_v5(packet_id, filters, qos))
        }
        Outgoing::PingReq => p5::Packet::PingReq(p5::PingReq),
        Outgoing::Disconnect => {
            p5::Packet::Disconnect(p5::Disconnect::new(p5::DisconnectReasonCode::NormalDisconnection))
        }
    }
}

fn connect_v5(connect: &Connect) -> p5::Packet {
    let mut properties = p5::ConnectProperties::new();
    properties.session_expiry_interval = Some(connect.session_expiry_seconds);
    properties.receive_maximum = connect.receive_maximum;
    let packet = p5::Connect {
        keep_alive: connect.keep_alive_seconds,
        client_id: connect.client_id.clone(),
        clean_start: connect.clean_start,
        properties: Some(properties),
    };
    let will = connect.last_will.as_ref().map(|will| p5::LastWill {
        topic: Bytes::copy_from_slice(will.topic.as_bytes()),
        message: Bytes::copy_from_slice(&will.payload),
        qos: qos_to_v5(will.qos),
        retain: will.is_retained,
        properties: None,
    });
    let login = connect
        .login
        .as_ref()
        .map(|(user, password)| p5::Login { username: user.clone(), password: password.clone() });
    p5::Packet::Connect(packet, will, login)
}

fn subscribe_v5(packet_id: PacketId, filters: &[String], qos: Qos) -> p5::Subscribe {
    let filter = |path: &String| p5::Filter {
        path: path.clone(),
        qos: qos_to_v5(qos),
        nolocal: false,
        preserve_retain: false,
        // A session that is resumed gets no retained message a second time.
        retain_forward_rule: p5::RetainForwardRule::OnNewSubscribe,
    };
    p5::Subscribe { pkid: packet_id, filters: filters.iter().map(filter).collect(), properties: None }
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
