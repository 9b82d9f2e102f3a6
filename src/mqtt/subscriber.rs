//! The session of a client that subscribes: a state machine without I/O.
//!
//! ```text
//! connect ─▶ Connecting ─CONNACK─▶ Subscribing ─SUBACK─▶ Receiving ─▶ disconnected, connect again
//! ```
//!
//! Whoever drives it hands in packets ([`Subscriber::take`]), what became durable, and the time, and sends the replies it
//! asks for. A message is noted in the table of the chunk it is put in; its acknowledgement is due once that is durable.
//!
//! Invariants:
//! - Acknowledgements leave in the order of receipt, each only once everything received before is durable, and on the
//!   connection its packet came by: with a connection those that are due on it are forgotten, and the broker sends the
//!   messages again.
//! - A message of QoS 2 is taken in once, whatever restarts: its identifier is durable with it, and given up durably before
//!   its PUBCOMP is sent.
//! - A message of QoS 1 that comes again is known by DUP, its packet identifier and its hash, where `Duplicates::Match` says
//!   so. Two messages of equal topic and payload, one after the other under one identifier, the second of which comes only as
//!   a repetition, are then taken for one: the broker had the acknowledgement of the first and the connection broke before
//!   the second first arrived, within [`CONFIRM_AFTER`] of the first, or across a crash.
//!
//! Whether the broker has an acknowledgement, a PINGREQ behind it tells.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::filter::filter_matches;
use super::message_table::{Event, message_hash};
use super::packet::{
    Answer, BrokerLimits, ConnAck, Connect, Incoming, LastWill, MqttVersion, PacketId, Publish, Qos, Refusal,
    Unread,
};
use super::received::{MessageNumber, ReceivedIds};
use crate::mutants::Mutant;

/// Time an acknowledgement of QoS 1 may be unconfirmed before the broker is asked.
const CONFIRM_AFTER: Duration = Duration::from_secs(1);
/// Acknowledgements of QoS 1 that may be unconfirmed before the broker is asked.
const CONFIRM_COUNT_MAX: u64 = 4096;
/// Time the broker has to answer CONNECT, SUBSCRIBE and PINGREQ.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// The only SUBSCRIBE of a connection.
const SUBSCRIBE_ID: PacketId = 1;

/// What is done about messages of QoS 1 that the broker sends again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Duplicates {
    /// They are readings of their own.
    Keep,
    /// They are dropped where they can be told.
    Match,
}

/// What a session asks for.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    pub(crate) version: MqttVersion,
    pub(crate) client_id: String,
    pub(crate) filters: Vec<String>,
    pub(crate) qos: Qos,
    pub(crate) clean_start: bool,
    pub(crate) keep_alive: Duration,
    pub(crate) session_expiry: Duration,
    pub(crate) receive_maximum: u16,
    pub(crate) last_will: Option<LastWill>,
    pub(crate) duplicates: Duplicates,
}

/// A packet to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    Subscribe(PacketId),
    PubAck(PacketId),
    PubRec(PacketId),
    PubComp(PacketId),
    PingReq,
}

/// What became of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Nothing to do.
    Nothing,
    /// A message to put in the chunk.
    Message { publish: Publish, hash: u32 },
    /// An event to note in the chunk.
    Note(Event),
    /// A message that was dropped.
    Dropped(Dropped),
    /// The broker has accepted the connection.
    Connected(SessionFound),
    /// The broker has answered for each filter.
    Subscribed(Vec<Answer<Qos>>),
}

/// Why a message was dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// It was received before.
    Duplicate,
    /// No filter asks for it.
    Foreign(Publish),
    /// Its payload is empty.
    Empty(Publish),
    /// It was not read.
    Unread(Unread),
}

/// What the broker has of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionFound {
    /// All of it.
    Resumed,
    /// Nothing, as expected.
    New,
    /// Nothing, though there was one: messages that were published since the last connection are lost, and so many that
    /// were received come no more, or again as new ones.
    Forgotten { unacknowledged: usize },
}

/// Why a connection must end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SessionError {
    #[error("the broker refuses the connection: {0}")]
    Refused(Refusal),
    #[error("the broker ended the connection: {0}")]
    Disconnected(Refusal),
    #[error("the broker refuses every topic filter: {0}")]
    NoFilter(Refusal),
    #[error("the broker does not answer")]
    Wedged,
    #[error("the broker sent a packet out of turn")]
    OutOfTurn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Disconnected,
    Connecting,
    Subscribing,
    Receiving,
}

/// An acknowledgement that is due once `behind` events are durable.
#[derive(Debug, Clone, Copy)]
struct Due {
    behind: u64,
    reply: Reply,
    /// The QoS 1 message it is for.
    number: Option<MessageNumber>,
}

/// A PINGREQ under way.
#[derive(Debug, Clone, Copy)]
struct Ping {
    sent: Instant,
    /// The last QoS 1 message whose acknowledgement was sent before.
    confirms: Option<MessageNumber>,
}

/// The session.
#[derive(Debug)]
pub(crate) struct Subscriber {
    subscription: Subscription,
    phase: Phase,
    ids: ReceivedIds,
    /// There was a session that the broker should still have.
    had_session: bool,
    /// Filters the broker has in this session.
    has_subscribed: bool,
    /// Events noted so far in this process, and of those the durable ones.
    noted: u64,
    durable: u64,
    /// Acknowledgements of this connection, in order of receipt.
    due: VecDeque<Due>,
    /// What is to be sent besides.
    replies: VecDeque<Reply>,
    keep_alive: Duration,
    /// The last QoS 1 message whose acknowledgement was sent on this connection, and since when that is unconfirmed.
    acknowledged: Option<(MessageNumber, Instant)>,
    unconfirmed: u64,
    /// The last one the broker is known to have.
    confirmed: Option<MessageNumber>,
    ping: Option<Ping>,
    last_sent: Instant,
    last_received: Instant,
}

impl Subscriber {
    /// A session that took in `ids` before; `None` for one that there was not.
    pub(crate) fn new(subscription: Subscription, ids: Option<ReceivedIds>, now: Instant) -> Self {
        Self {
            keep_alive: subscription.keep_alive,
            phase: Phase::Disconnected,
            had_session: ids.is_some() && !subscription.clean_start,
            subscription,
            ids: ids.unwrap_or_default(),
            has_subscribed: false,
            noted: 0,
            durable: 0,
            due: VecDeque::new(),
            replies: VecDeque::new(),
            acknowledged: None,
            unconfirmed: 0,
            confirmed: None,
            ping: None,
            last_sent: now,
            last_received: now,
        }
    }

    pub(crate) fn subscription(&self) -> &Subscription {
        &self.subscription
    }

    /// A connection is made: the packet to open it with.
    pub(crate) fn connect(&mut self, login: Option<(String, String)>, now: Instant) -> Connect {
        self.disconnected();
        self.phase = Phase::Connecting;
        self.last_sent = now;
        self.last_received = now;
        let subscription = &self.subscription;
        Connect {
            client_id: subscription.client_id.clone(),
            clean_start: subscription.clean_start,
            keep_alive_seconds: u16::try_from(subscription.keep_alive.as_secs()).unwrap_or(u16::MAX),
            session_expiry_seconds: if subscription.clean_start {
                0
            } else {
                u32::try_from(subscription.session_expiry.as_secs()).unwrap_or(u32::MAX)
            },
            receive_maximum: Some(subscription.receive_maximum),
            login,
            last_will: subscription.last_will.clone(),
        }
    }

    /// The connection is gone, and with it the acknowledgements that were due on it.
    pub(crate) fn disconnected(&mut self) {
        self.phase = Phase::Disconnected;
        self.due.clear();
        self.replies.clear();
        self.acknowledged = None;
        self.unconfirmed = 0;
        self.confirmed = None;
        self.ping = None;
        self.keep_alive = self.subscription.keep_alive;
    }

    /// Takes in a packet.
    ///
    /// # Errors
    /// [`SessionError`]: the connection must end.
    pub(crate) fn take(&mut self, packet: Incoming, now: Instant) -> Result<Taken, SessionError> {
        self.last_received = now;
        match (self.phase, packet) {
            (Phase::Connecting, Incoming::ConnAck(Err(refusal))) => Err(SessionError::Refused(refusal)),
            (Phase::Connecting, Incoming::ConnAck(Ok(ack))) => Ok(self.accepted(&ack)),
            (Phase::Disconnected | Phase::Connecting, _) | (_, Incoming::ConnAck(_)) => {
                Err(SessionError::OutOfTurn)
            }
            (_, Incoming::Disconnect(reason)) => Err(SessionError::Disconnected(reason)),
            (_, Incoming::Publish(publish)) => Ok(self.publish(publish)),
            (_, Incoming::Unread(unread)) => {
                self.acknowledge_dropped(unread.qos, unread.packet_id);
                Ok(Taken::Dropped(Dropped::Unread(unread)))
            }
            (_, Incoming::PubRel(packet_id)) => Ok(self.released(packet_id)),
            (Phase::Subscribing, Incoming::SubAck(SUBSCRIBE_ID, answers)) => {
                self.phase = Phase::Receiving;
                if let (true, Some(Err(refusal))) = (answers.iter().all(Result::is_err), answers.first()) {
                    return Err(SessionError::NoFilter(*refusal));
                }
                self.has_subscribed = true;
                Ok(Taken::Subscribed(answers))
            }
            (_, Incoming::PingResp) => Ok(self.pong()),
            (_, Incoming::SubAck(..) | Incoming::UnsubAck(_)) => Ok(Taken::Nothing),
            (_, Incoming::PubAck(..) | Incoming::PubRec(..) | Incoming::PubComp(_)) => {
                Err(SessionError::OutOfTurn)
            }
        }
    }

    fn accepted(&mut self, ack: &ConnAck) -> Taken {
        let BrokerLimits { keep_alive_seconds, .. } = ack.limits;
        if let Some(seconds) = keep_alive_seconds {
            self.keep_alive = Duration::from_secs(u64::from(seconds));
        }
        let found = match (ack.session_present, self.had_session) {
            (true, _) => SessionFound::Resumed,
            (false, false) => SessionFound::New,
            (false, true) => {
                let (qos_1, qos_2) = self.ids.counts();
                SessionFound::Forgotten { unacknowledged: qos_1 + qos_2 }
            }
        };
        self.had_session = !self.subscription.clean_start;
        // Version 3.1.1 has no other way to keep retained messages from coming with every connection.
        let knows_filters = found == SessionFound::Resumed && self.has_subscribed;
        if knows_filters && self.subscription.version == MqttVersion::V311 {
            self.phase = Phase::Receiving;
        } else {
            self.phase = Phase::Subscribing;
            self.replies.push_back(Reply::Subscribe(SUBSCRIBE_ID));
        }
        Taken::Connected(found)
    }

    /// The event to note when the broker has forgotten the session, before anything of the new one.
    pub(crate) fn forget(&mut self) -> Option<Event> {
        (!self.ids.is_empty()).then(|| self.note(Event::NewSession))
    }

    /// Notes an event: the caller puts it in the chunk's table.
    fn note(&mut self, event: Event) -> Event {
        self.noted += 1;
        self.ids.apply(event);
        event
    }

    fn due(&mut self, reply: Reply, number: Option<MessageNumber>) {
        self.due.push_back(Due { behind: self.noted, reply, number });
    }

    fn publish(&mut self, publish: Publish) -> Taken {
        let Publish { qos, packet_id, .. } = publish;
        let topic = std::str::from_utf8(&publish.topic).unwrap_or_default();
        if !self.subscription.filters.iter().any(|filter| filter_matches(filter, topic)) {
            self.acknowledge_dropped(qos, packet_id);
            return Taken::Dropped(Dropped::Foreign(publish));
        }
        if publish.payload.is_empty() {
            self.acknowledge_dropped(qos, packet_id);
            return Taken::Dropped(Dropped::Empty(publish));
        }
        let hash = if qos == Qos::AtMostOnce { 0 } else { message_hash(&publish.topic, &publish.payload) };
        let is_held = match qos {
            Qos::AtMostOnce => false,
            Qos::AtLeastOnce => {
                let matches = self.subscription.duplicates == Duplicates::Match && publish.is_duplicate;
                matches && self.ids.unsettled(packet_id).is_some_and(|(_, held)| held == hash)
            }
            // Another message under an identifier that was not released: no broker that keeps its sessions does that.
            Qos::ExactlyOnce => {
                let is_again = || publish.is_duplicate && self.ids.released(packet_id) == Some(hash);
                !Mutant::MqttNoDuplicateCheck.is_on()
                    && (self.ids.unreleased(packet_id) == Some(hash) || is_again())
            }
        };
        if !is_held && qos != Qos::AtMostOnce {
            self.note(Event::Received { qos, packet_id, hash });
        }
        match qos {
            Qos::AtMostOnce => {}
            Qos::AtLeastOnce => {
                let number = self.ids.unsettled(packet_id).map(|(number, _)| number);
                self.due(Reply::PubAck(packet_id), number);
            }
            Qos::ExactlyOnce => self.due(Reply::PubRec(packet_id), None),
        }
        if is_held { Taken::Dropped(Dropped::Duplicate) } else { Taken::Message { publish, hash } }
    }

    /// What is dropped is acknowledged in its turn: the broker must not send it again.
    fn acknowledge_dropped(&mut self, qos: Qos, packet_id: PacketId) {
        match qos {
            Qos::AtMostOnce => {}
            Qos::AtLeastOnce => self.due(Reply::PubAck(packet_id), None),
            Qos::ExactlyOnce => self.due(Reply::PubRec(packet_id), None),
        }
    }

    fn released(&mut self, packet_id: PacketId) -> Taken {
        let taken = match self.ids.unreleased(packet_id) {
            Some(_) => Taken::Note(self.note(Event::Released(packet_id))),
            // Released before, and the broker has not heard.
            None => Taken::Nothing,
        };
        self.due(Reply::PubComp(packet_id), None);
        taken
    }

    fn pong(&mut self) -> Taken {
        let Some(ping) = self.ping.take() else { return Taken::Nothing };
        self.confirmed = self.confirmed.max(ping.confirms);
        Taken::Nothing
    }

    /// The event to note for acknowledgements the broker is known to have, if there are any; asked for with every chunk.
    pub(crate) fn settled(&mut self) -> Option<Event> {
        let count = self.ids.unsettled_through(self.confirmed.take()?);
        (count > 0).then(|| self.note(Event::Settled(count)))
    }

    /// Events noted so far: a chunk with these notes makes so many durable.
    pub(crate) fn noted(&self) -> u64 {
        self.noted
    }

    /// So many of the events noted are durable.
    pub(crate) fn set_durable(&mut self, noted: u64) {
        self.durable = self.durable.max(noted);
    }

    /// The next packet to send; asked until there is none.
    pub(crate) fn reply(&mut self, now: Instant) -> Option<Reply> {
        let reply = self.replies.pop_front().or_else(|| {
            let due = self
                .due
                .pop_front_if(|due| due.behind <= self.durable || Mutant::MqttAckBeforeDurable.is_on())?;
            if let Some(number) = due.number {
                self.unconfirmed += 1;
                let since = self.acknowledged.map_or(now, |(_, since)| since);
                self.acknowledged = Some((number, since));
            }
            Some(due.reply)
        })?;
        self.last_sent = now;
        Some(reply)
    }

    /// True when the broker can send messages.
    pub(crate) fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Subscribing | Phase::Receiving)
    }

    /// When [`Self::tick`] has something to do at the latest.
    pub(crate) fn deadline(&self) -> Instant {
        if self.phase == Phase::Connecting || self.phase == Phase::Subscribing {
            return self.last_received + ANSWER_TIMEOUT;
        }
        if let Some(ping) = self.ping {
            return ping.sent.max(self.last_received) + ANSWER_TIMEOUT;
        }
        let keep_alive = if self.keep_alive.is_zero() {
            None
        } else {
            Some(self.last_sent.min(self.last_received) + self.keep_alive)
        };
        let confirm = self.acknowledged.map(|(_, since)| since + CONFIRM_AFTER);
        keep_alive.into_iter().chain(confirm).min().unwrap_or(self.last_sent + Duration::from_secs(3600))
    }

    /// Does what is due by time: asks for a PINGREQ, or finds that the broker does not answer.
    ///
    /// # Errors
    /// [`SessionError::Wedged`].
    pub(crate) fn tick(&mut self, now: Instant) -> Result<(), SessionError> {
        let asks_now = self.unconfirmed >= CONFIRM_COUNT_MAX && self.ping.is_none();
        if now < self.deadline() && !asks_now {
            return Ok(());
        }
        if self.phase != Phase::Receiving || self.ping.is_some() {
            return if asks_now || now < self.deadline() { Ok(()) } else { Err(SessionError::Wedged) };
        }
        let confirms = self.acknowledged.take().map(|(number, _)| number);
        self.unconfirmed = 0;
        self.ping = Some(Ping { sent: now, confirms });
        self.replies.push_back(Reply::PingReq);
        Ok(())
    }

    /// Nothing was read for a while, for want of room: the broker is not to blame for its silence.
    pub(crate) fn was_not_listening(&mut self, now: Instant) {
        self.last_received = now;
    }
}

#[cfg(test)]
#[path = "subscriber_tests.rs"]
mod tests;
