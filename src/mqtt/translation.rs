//! Packets of the codecs of `rumqttc`, of both versions, to ours and back.

use bytes::Bytes;
use rumqttc::mqttbytes::{self as v4, v4 as p4};
use rumqttc::v5::mqttbytes::{self as v5, v5 as p5};

use super::codec::CodecError;
use super::packet::{
    BrokerLimits, ConnAck, Connect, Incoming, Outgoing, PacketId, Publish, Qos, Unread, UnreadCause,
};
use super::reason::{
    disconnect_reason, puback_answer, pubrec_answer, refusal_of_v4, refusal_of_v5, subscribe_answer_v4,
    subscribe_answer_v5,
};

pub(super) fn from_v4(packet: p4::Packet) -> Result<Incoming, CodecError> {
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
            Incoming::SubAck(ack.pkid, ack.return_codes.iter().map(subscribe_answer_v4).collect())
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

pub(super) fn from_v5(packet: p5::Packet, packet_bytes: usize) -> Result<Incoming, CodecError> {
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
            Incoming::SubAck(ack.pkid, ack.return_codes.iter().map(subscribe_answer_v5).collect())
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

pub(super) fn to_v4(packet: Outgoing<'_>) -> p4::Packet {
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

pub(super) fn to_v5(packet: Outgoing<'_>) -> p5::Packet {
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

pub(super) fn qos_from_v4(qos: v4::QoS) -> Qos {
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

pub(super) fn qos_from_v5(qos: v5::QoS) -> Qos {
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
