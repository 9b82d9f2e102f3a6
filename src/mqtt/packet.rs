//! MQTT packets, the same for versions 3.1.1 and 5: what a session sends and gets, without the bytes.

use std::fmt;

use bytes::Bytes;

/// The protocol version that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MqttVersion {
    /// MQTT 3.1.1.
    V311,
    /// MQTT 5.
    V5,
}

/// Quality of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Qos {
    /// QoS 0: delivered at most once, never acknowledged.
    AtMostOnce,
    /// QoS 1: delivered at least once.
    AtLeastOnce,
    /// QoS 2: delivered exactly once.
    ExactlyOnce,
}

impl Qos {
    /// The number: 0, 1 or 2.
    pub fn level(self) -> u8 {
        match self {
            Self::AtMostOnce => 0,
            Self::AtLeastOnce => 1,
            Self::ExactlyOnce => 2,
        }
    }

    pub(crate) fn from_level(level: u8) -> Option<Self> {
        match level {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}

/// A packet identifier; never 0.
pub(crate) type PacketId = u16;

/// An application message on its way in or out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Publish {
    /// Sent before, perhaps.
    pub(crate) is_duplicate: bool,
    pub(crate) qos: Qos,
    pub(crate) is_retained: bool,
    /// UTF-8.
    pub(crate) topic: Bytes,
    /// 0 with QoS 0.
    pub(crate) packet_id: PacketId,
    pub(crate) payload: Bytes,
    /// Version 5 only.
    pub(crate) user_properties: Vec<(String, String)>,
}

/// The first packet of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Connect {
    pub(crate) client_id: String,
    /// Forget what the broker keeps of an earlier session.
    pub(crate) clean_start: bool,
    /// Seconds; 0 for none.
    pub(crate) keep_alive_seconds: u16,
    /// Seconds the broker keeps the session for without a connection; version 5 only.
    pub(crate) session_expiry_seconds: u32,
    /// QoS 1 and 2 messages the broker may send unacknowledged; version 5 only.
    pub(crate) receive_maximum: Option<u16>,
    pub(crate) login: Option<(String, String)>,
    pub(crate) last_will: Option<LastWill>,
}

/// What the broker publishes for a client that is gone without a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastWill {
    /// Where to.
    pub topic: String,
    /// What.
    pub payload: Vec<u8>,
    /// How.
    pub qos: Qos,
    /// Whether the broker keeps it for later subscribers.
    pub is_retained: bool,
}

/// The broker's answer to [`Connect`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConnAck {
    /// It still has the session.
    pub(crate) session_present: bool,
    pub(crate) limits: BrokerLimits,
}

/// What a broker says it takes; version 5 only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BrokerLimits {
    /// Unacknowledged messages of QoS 1 and 2 it takes.
    pub(crate) receive_maximum: u16,
    /// Longest packet, in bytes.
    pub(crate) packet_bytes_max: Option<u32>,
    /// Highest QoS.
    pub(crate) qos_max: Qos,
    /// Its own keep-alive in place of ours, in seconds.
    pub(crate) keep_alive_seconds: Option<u16>,
    /// How long it keeps the session, where that is not as asked, in seconds.
    pub(crate) session_expiry_seconds: Option<u32>,
}

impl Default for BrokerLimits {
    fn default() -> Self {
        Self {
            receive_maximum: u16::MAX,
            packet_bytes_max: None,
            qos_max: Qos::ExactlyOnce,
            keep_alive_seconds: None,
            session_expiry_seconds: None,
        }
    }
}

/// Why a broker does not do what it was asked, in its own terms: for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) kind: RefusalKind,
    /// The reason's name.
    pub(crate) reason: &'static str,
}

/// What can be done about a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefusalKind {
    /// Try again later.
    Temporary,
    /// User, password or rights are wrong.
    NotAuthorized,
    /// It will be the same the next time.
    Permanent,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason)
    }
}

/// The outcome of something a broker was asked for.
pub(crate) type Answer<T> = Result<T, Refusal>;

/// A packet from the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Incoming {
    ConnAck(Answer<ConnAck>),
    Publish(Publish),
    /// A publish that was not read.
    Unread(Unread),
    PubAck(PacketId, Answer<()>),
    PubRec(PacketId, Answer<()>),
    PubRel(PacketId),
    PubComp(PacketId),
    /// For each filter the granted QoS.
    SubAck(PacketId, Vec<Answer<Qos>>),
    UnsubAck(PacketId),
    PingResp,
    /// The broker ends the connection.
    Disconnect(Refusal),
}

/// A publish whose payload was thrown away as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unread {
    pub(crate) qos: Qos,
    /// 0 with QoS 0.
    pub(crate) packet_id: PacketId,
    /// As it came; may not be UTF-8.
    pub(crate) topic: Bytes,
    /// Length of the packet.
    pub(crate) packet_bytes: usize,
    pub(crate) cause: UnreadCause,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnreadCause {
    TooLarge,
    TopicNotUtf8,
}

/// A packet to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outgoing<'a> {
    Connect(&'a Connect),
    Publish(&'a Publish),
    PubAck(PacketId),
    PubRec(PacketId),
    PubRel(PacketId),
    PubComp(PacketId),
    Subscribe { packet_id: PacketId, filters: &'a [String], qos: Qos },
    PingReq,
    Disconnect,
}
