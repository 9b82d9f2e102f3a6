//! Which messages of a session were received and may be sent again: what exactness hangs on.
//!
//! Both the running session and the sequencer keep this, from the same events in the same order (`message_table`): the
//! sequencer's goes into every checkpoint, and a start takes it from there and from the journal behind it.
//!
//! - **QoS 2**: from the publish until its PUBREL is durable. A publish whose packet identifier is held is the same one
//!   again. The newest [`RELEASED_MAX`] are remembered behind that: a broker that loses the PUBCOMP may send the publish
//!   again (seen of Mosquitto 2.0.11 when the connection breaks twice). With DUP, the packet identifier and the hash of the
//!   newest one released under it, it is the same one.
//! - **QoS 1**: from the publish until the broker is known to have its acknowledgement. A publish with DUP, the packet
//!   identifier and the hash of one that is held is the same one again.
//!
//! Invariants: at most 65,535 of each are held. Acknowledgements of QoS 1 leave in order, so a packet identifier that is used
//! again says that the broker has that of its earlier message, and those before.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::message_table::{Event, MessageHash};
use super::packet::{PacketId, Qos};

/// Number of a QoS 1 message among all the session received, from 0.
pub(crate) type MessageNumber = u64;

/// QoS 2 messages that are remembered though they were released: twice the window a source asks for.
pub(crate) const RELEASED_MAX: usize = 4096;

/// The messages that are held.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Held", into = "Held")]
pub(crate) struct ReceivedIds {
    /// QoS 1, in order.
    unsettled: VecDeque<(PacketId, MessageHash)>,
    /// Number of the first of them.
    first: MessageNumber,
    /// The newest message of each packet identifier among them.
    newest: HashMap<PacketId, MessageNumber>,
    /// QoS 2.
    unreleased: BTreeMap<PacketId, MessageHash>,
    /// QoS 2 that were released, oldest first.
    released: VecDeque<(PacketId, MessageHash)>,
}

/// The form in which they are saved.
#[derive(Serialize, Deserialize)]
struct Held {
    unsettled: Vec<(PacketId, MessageHash)>,
    unreleased: Vec<(PacketId, MessageHash)>,
    released: Vec<(PacketId, MessageHash)>,
}

impl From<Held> for ReceivedIds {
    fn from(held: Held) -> Self {
        let mut released = VecDeque::from(held.released);
        released.truncate(RELEASED_MAX);
        let unreleased = held.unreleased.into_iter().collect();
        let mut ids = Self { unreleased, released, ..Self::default() };
        for (packet_id, hash) in held.unsettled {
            ids.apply(Event::Received { qos: Qos::AtLeastOnce, packet_id, hash });
        }
        ids
    }
}

impl From<ReceivedIds> for Held {
    fn from(ids: ReceivedIds) -> Self {
        Self {
            unsettled: ids.unsettled.into_iter().collect(),
            unreleased: ids.unreleased.into_iter().collect(),
            released: ids.released.into_iter().collect(),
        }
    }
}

impl ReceivedIds {
    pub(crate) fn apply(&mut self, event: Event) {
        match event {
            Event::Received { qos: Qos::ExactlyOnce, packet_id, hash } => {
                self.unreleased.insert(packet_id, hash);
            }
            Event::Received { packet_id, hash, .. } => {
                if let Some(number) = self.newest.get(&packet_id) {
                    self.settle_through(*number);
                }
                self.newest.insert(packet_id, self.next_number());
                self.unsettled.push_back((packet_id, hash));
            }
            Event::Released(packet_id) => {
                if let Some(hash) = self.unreleased.remove(&packet_id) {
                    if self.released.len() == RELEASED_MAX {
                        self.released.pop_front();
                    }
                    self.released.push_back((packet_id, hash));
                }
            }
            Event::Settled(count) => self.settle_through((self.first + count).saturating_sub(1)),
            Event::NewSession => *self = Self { first: self.next_number(), ..Self::default() },
        }
    }

    fn settle_through(&mut self, number: MessageNumber) {
        while self.first <= number
            && let Some((packet_id, _)) = self.unsettled.pop_front()
        {
            if self.newest.get(&packet_id) == Some(&self.first) {
                self.newest.remove(&packet_id);
            }
            self.first += 1;
        }
    }

    /// The number the next QoS 1 message will have.
    pub(crate) fn next_number(&self) -> MessageNumber {
        self.first + self.unsettled.len() as u64
    }

    /// How many QoS 1 messages up to `number` are held.
    pub(crate) fn unsettled_through(&self, number: MessageNumber) -> u64 {
        (number + 1).min(self.next_number()).saturating_sub(self.first)
    }

    /// The newest QoS 1 message of a packet identifier.
    pub(crate) fn unsettled(&self, packet_id: PacketId) -> Option<(MessageNumber, MessageHash)> {
        let number = *self.newest.get(&packet_id)?;
        let index = usize::try_from(number - self.first).expect("as many as packet identifiers");
        self.unsettled.get(index).map(|(_, hash)| (number, *hash))
    }

    /// The QoS 2 message of a packet identifier.
    pub(crate) fn unreleased(&self, packet_id: PacketId) -> Option<MessageHash> {
        self.unreleased.get(&packet_id).copied()
    }

    /// The newest QoS 2 message of a packet identifier that was released, as far as remembered.
    pub(crate) fn released(&self, packet_id: PacketId) -> Option<MessageHash> {
        self.released.iter().rev().find(|(released, _)| *released == packet_id).map(|(_, hash)| *hash)
    }

    /// How many are held, of QoS 1 and of QoS 2.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.unsettled.len(), self.unreleased.len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.counts() == (0, 0) && self.released.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(qos: Qos, packet_id: PacketId, hash: MessageHash) -> Event {
        Event::Received { qos, packet_id, hash }
    }

    #[test]
    fn qos_1_is_held_until_settled_or_its_identifier_is_used_again() {
        let mut ids = ReceivedIds::default();
        for (packet_id, hash) in [(1, 10), (2, 20), (3, 30), (4, 40)] {
            ids.apply(received(Qos::AtLeastOnce, packet_id, hash));
        }
        assert_eq!((ids.unsettled(3), ids.unsettled(9)), (Some((2, 30)), None));
        assert_eq!((ids.unsettled_through(1), ids.unsettled_through(99)), (2, 4));
        ids.apply(Event::Settled(1));
        assert_eq!((ids.unsettled(1), ids.unsettled(2)), (None, Some((1, 20))));
        ids.apply(received(Qos::AtLeastOnce, 3, 31));
        assert_eq!(
            (ids.unsettled(2), ids.unsettled(3), ids.unsettled(4)),
            (None, Some((4, 31)), Some((3, 40)))
        );
        ids.apply(Event::Settled(99));
        assert!(ids.is_empty() && ids.newest.is_empty());
        assert_eq!(ids.next_number(), 5);
    }

    #[test]
    fn qos_2_is_held_until_released() {
        let mut ids = ReceivedIds::default();
        ids.apply(received(Qos::ExactlyOnce, 1, 10));
        ids.apply(received(Qos::AtLeastOnce, 1, 11));
        assert_eq!((ids.unreleased(1), ids.unsettled(1)), (Some(10), Some((0, 11))));
        assert_eq!(ids.released(1), None);
        ids.apply(Event::Released(1));
        assert_eq!((ids.unreleased(1), ids.released(1), ids.counts()), (None, Some(10), (1, 0)));
        ids.apply(received(Qos::ExactlyOnce, 1, 12));
        ids.apply(Event::Released(1));
        assert_eq!(ids.released(1), Some(12));
        ids.apply(Event::NewSession);
        assert!(ids.is_empty());
    }

    #[test]
    fn no_more_are_held_than_there_are_identifiers() {
        let mut ids = ReceivedIds::default();
        for round in 0..3 {
            for packet_id in 1..=PacketId::MAX {
                ids.apply(received(Qos::AtLeastOnce, packet_id, round));
                assert_eq!(ids.unsettled(packet_id).map(|(_, hash)| hash), Some(round));
            }
        }
        assert_eq!(ids.counts(), (65_535, 0));
    }

    #[test]
    fn they_are_saved_and_loaded() {
        let mut ids = ReceivedIds::default();
        for packet_id in 1..300 {
            ids.apply(received(Qos::AtLeastOnce, packet_id, 7));
            ids.apply(received(Qos::ExactlyOnce, packet_id, 8));
        }
        ids.apply(Event::Released(7));
        let bytes = postcard::to_stdvec(&ids).unwrap();
        assert_eq!(postcard::from_bytes::<ReceivedIds>(&bytes).unwrap(), ids);
    }
}
