//! The session of a client that publishes with QoS 1 and 2: which packets are in flight, and what follows from each answer.
//!
//! Knows no sockets and no files. Whoever drives it keeps these rules, by which QoS 2 is exact across restarts of either
//! side as long as the broker keeps the session (MQTT 5, section 4.4):
//!
//! 1. The packet identifier of a publish is durable before the publish leaves.
//! 2. That the broker has received it is durable before its release (PUBREL) leaves.
//! 3. After a restart each publish that is not completed is restored under its identifier: not yet received, it leaves again as a
//!    duplicate, which the broker knows by its identifier; received, only its release leaves again.
//!
//! A release of something that is completed is answered like any other. When the broker has forgotten the session all
//! that is in flight is published again: what the broker had received, but not yet been told to release, may then have
//! been delivered.
//!
//! Limits: as many in flight as both the window and the broker's receive maximum allow.

use std::collections::VecDeque;

use super::packet::{PacketId, Qos};

/// How far a publish has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FlightPhase {
    /// Not answered.
    Published,
    /// Received by the broker (QoS 2); it is to be released.
    Received,
}

/// Whether the broker has kept the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionFate {
    Kept,
    Lost,
}

/// A packet to send again.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Again<'a, T> {
    Publish { packet_id: PacketId, qos: Qos, is_duplicate: bool, message: &'a T },
    Release { packet_id: PacketId },
}

#[derive(Debug)]
struct Flight<T> {
    packet_id: PacketId,
    qos: Qos,
    phase: FlightPhase,
    /// It left on the connection there is.
    is_sent: bool,
    /// The broker may know its identifier from an earlier connection.
    may_be_known: bool,
    message: T,
}

/// What is in flight. `T` is what a publish is made from.
#[derive(Debug)]
pub(crate) struct Publisher<T> {
    /// In the order they left.
    flights: VecDeque<Flight<T>>,
    window: usize,
    /// Of the connection there is.
    quota: usize,
    last_id: PacketId,
}

impl<T> Publisher<T> {
    /// At most `window` in flight.
    pub(crate) fn new(window: u16) -> Self {
        let window = usize::from(window.max(1));
        Self { flights: VecDeque::new(), window, quota: window, last_id: 0 }
    }

    /// Takes in a QoS 2 publish of an earlier life of the process, in the order they left.
    pub(crate) fn restore(&mut self, packet_id: PacketId, phase: FlightPhase, message: T) {
        let flight =
            Flight { packet_id, qos: Qos::ExactlyOnce, phase, is_sent: false, may_be_known: true, message };
        self.flights.push_back(flight);
        self.last_id = self.last_id.max(packet_id);
    }

    /// A connection begins. Returns what was received in a session that is gone and is published again: with it goes
    /// that it was received.
    pub(crate) fn connected(&mut self, session: SessionFate, receive_maximum: u16) -> Vec<(PacketId, &T)> {
        self.quota = self.window.min(usize::from(receive_maximum)).max(1);
        let mut in_doubt = Vec::new();
        for flight in &mut self.flights {
            flight.is_sent = false;
            if session == SessionFate::Lost {
                flight.may_be_known = false;
                if flight.phase == FlightPhase::Received {
                    flight.phase = FlightPhase::Published;
                    in_doubt.push((flight.packet_id, &flight.message));
                }
            }
        }
        in_doubt
    }

    /// The next packet that an earlier connection did not bring to its end.
    pub(crate) fn again(&mut self) -> Option<Again<'_, T>> {
        let sent = self.flights.iter().filter(|flight| flight.is_sent).count();
        if sent >= self.quota {
            return None;
        }
        let flight = self.flights.iter_mut().find(|flight| !flight.is_sent)?;
        flight.is_sent = true;
        let packet_id = flight.packet_id;
        Some(match flight.phase {
            FlightPhase::Published => {
                let is_duplicate = std::mem::replace(&mut flight.may_be_known, true);
                Again::Publish { packet_id, qos: flight.qos, is_duplicate, message: &flight.message }
            }
            FlightPhase::Received => Again::Release { packet_id },
        })
    }

    /// How many more may be published.
    pub(crate) fn room(&self) -> usize {
        self.quota.saturating_sub(self.flights.len())
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// A publish leaves. There must be room.
    pub(crate) fn publish(&mut self, qos: Qos, message: T) -> PacketId {
        let packet_id = self.free_id();
        let phase = FlightPhase::Published;
        self.flights.push_back(Flight { packet_id, qos, phase, is_sent: true, may_be_known: true, message });
        packet_id
    }

    fn free_id(&mut self) -> PacketId {
        loop {
            // 0 is none.
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.flights.iter().any(|flight| flight.packet_id == self.last_id) {
                return self.last_id;
            }
        }
    }

    /// The broker acknowledged a QoS 1 publish of this connection: it is done with. What nobody waits for is passed over.
    pub(crate) fn acknowledged(&mut self, packet_id: PacketId) -> Option<T> {
        self.remove(packet_id, |flight| flight.qos == Qos::AtLeastOnce)
    }

    /// The broker received a QoS 2 publish of this connection: it is to be released, once that is durable. Also when it says
    /// so again.
    pub(crate) fn received(&mut self, packet_id: PacketId) -> Option<&T> {
        let is_it = |flight: &&mut Flight<T>| {
            flight.packet_id == packet_id && flight.qos == Qos::ExactlyOnce && flight.is_sent
        };
        let flight = self.flights.iter_mut().find(is_it)?;
        flight.phase = FlightPhase::Received;
        Some(&flight.message)
    }

    /// The broker completed a QoS 2 publish: it is done with.
    pub(crate) fn completed(&mut self, packet_id: PacketId) -> Option<T> {
        self.remove(packet_id, |flight| flight.phase == FlightPhase::Received)
    }

    /// The broker refused a publish for good: it is done with.
    pub(crate) fn refused(&mut self, packet_id: PacketId) -> Option<(Qos, T)> {
        let qos = self.flights.iter().find(|flight| flight.packet_id == packet_id)?.qos;
        Some((qos, self.remove(packet_id, |flight| flight.phase == FlightPhase::Published)?))
    }

    fn remove(&mut self, packet_id: PacketId, is_it: impl Fn(&Flight<T>) -> bool) -> Option<T> {
        let is_it = |flight: &Flight<T>| flight.packet_id == packet_id && flight.is_sent && is_it(flight);
        let index = self.flights.iter().position(is_it)?;
        self.flights.remove(index).map(|flight| flight.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_again(publisher: &mut Publisher<u32>) -> Vec<(PacketId, Option<(u32, bool)>)> {
        let mut packets = Vec::new();
        while let Some(again) = publisher.again() {
            packets.push(match again {
                Again::Publish { packet_id, is_duplicate, message, .. } => {
                    (packet_id, Some((*message, is_duplicate)))
                }
                Again::Release { packet_id } => (packet_id, None),
            });
        }
        packets
    }

    #[test]
    fn the_window_and_the_brokers_receive_maximum_hold() {
        let mut publisher = Publisher::new(3);
        assert!(publisher.connected(SessionFate::Lost, 2).is_empty());
        assert_eq!(publisher.publish(Qos::AtLeastOnce, 10), 1);
        assert_eq!(publisher.publish(Qos::AtLeastOnce, 11), 2);
        assert_eq!(publisher.room(), 0);
        assert_eq!(publisher.acknowledged(1), Some(10));
        assert_eq!(publisher.acknowledged(1), None);
        assert_eq!((publisher.room(), publisher.publish(Qos::AtLeastOnce, 12)), (1, 3));
    }

    #[test]
    fn what_a_connection_left_open_leaves_again_in_order_and_as_a_duplicate_in_a_kept_session() {
        let mut publisher = Publisher::new(10);
        publisher.connected(SessionFate::Lost, 10);
        for message in 0..4 {
            publisher.publish(Qos::ExactlyOnce, message);
        }
        assert_eq!(publisher.received(2), Some(&1));
        assert!(publisher.connected(SessionFate::Kept, 2).is_empty());
        // An answer that belongs to the connection before changes nothing.
        assert_eq!((publisher.completed(2), publisher.received(1)), (None, None));
        assert_eq!(all_again(&mut publisher), [(1, Some((0, true))), (2, None)]);
        assert_eq!(publisher.completed(2), Some(1));
        assert_eq!(all_again(&mut publisher), [(3, Some((2, true)))]);
        let in_doubt = publisher.connected(SessionFate::Lost, 10);
        assert!(in_doubt.is_empty());
        let again = all_again(&mut publisher);
        assert_eq!(again, [(1, Some((0, false))), (3, Some((2, false))), (4, Some((3, false)))]);
        publisher.received(3);
        assert_eq!(publisher.connected(SessionFate::Lost, 10), [(3, &2)]);
    }

    #[test]
    fn a_restart_goes_on_under_the_same_identifiers() {
        let mut publisher = Publisher::new(10);
        publisher.restore(7, FlightPhase::Received, 70);
        publisher.restore(65_535, FlightPhase::Published, 80);
        publisher.connected(SessionFate::Kept, 10);
        assert_eq!(all_again(&mut publisher), [(7, None), (65_535, Some((80, true)))]);
        // Identifiers in flight and 0 are not given again.
        let ids: Vec<_> = (0..8).map(|message| publisher.publish(Qos::ExactlyOnce, message)).collect();
        assert_eq!(ids, [1, 2, 3, 4, 5, 6, 8, 9]);
        assert_eq!(publisher.completed(65_535), None);
        assert_eq!(publisher.refused(65_535), Some((Qos::ExactlyOnce, 80)));
        assert_eq!(publisher.completed(7), Some(70));
    }
}
