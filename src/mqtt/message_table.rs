//! The message table of a chunk: which of its frames are which MQTT message, and what else the session took in. It is
//! journaled with the chunk, so messages and what is known of them are durable together.
//!
//! This is the normative description.
//!
//! ```text
//! table
//!   version   u8          // 1
//!   received  zigzag      // when its first packet was received, ms since 1970-01-01 UTC
//!   entries, one behind the other to the end
//! entry
//!   head      u8          // bits 0-1: QoS; 2: retained; 3: a topic the table has not had; 4: user properties;
//!                         // 5-6: 0 message, 1 released, 2 settled, 3 new session; 7: 0
//! message
//!   frames    varint      // of the chunk, in order
//!   topic     text, or varint number of one the table has had, from 0
//!   with QoS 1 or 2:
//!     packet identifier  varint
//!     hash               [u8; 4]  // first bytes of the XXH3 hash of topic and payload
//!   with user properties: count varint, then a name and a value each, texts
//! released    packet identifier  varint   // its PUBREL came
//! settled     count  varint               // the broker has the acknowledgement of so many QoS 1 messages more
//! new session                             // the broker has forgotten the one before
//! ```

use std::collections::HashMap;

use bytes::Bytes;

use super::packet::{PacketId, Qos};
use crate::encoding::{Reader, text, varint, zigzag};

const VERSION: u8 = 1;
const RETAINED: u8 = 1 << 2;
const NEW_TOPIC: u8 = 1 << 3;
const PROPERTIES: u8 = 1 << 4;
const KIND_SHIFT: u8 = 5;
const MESSAGE: u8 = 0;
const RELEASED: u8 = 1;
const SETTLED: u8 = 2;
const NEW_SESSION: u8 = 3;

/// Topics a writer remembers between tables.
const TOPICS_MAX: usize = 65_536;

/// A hash of a message's topic and payload.
pub(crate) type MessageHash = u32;

/// The hash of a message.
pub(crate) fn message_hash(topic: &[u8], payload: &[u8]) -> MessageHash {
    let seed = xxhash_rust::xxh3::xxh3_64(topic);
    let hash = xxhash_rust::xxh3::xxh3_64_with_seed(payload, seed);
    u32::try_from(hash >> 32).expect("the upper half")
}

/// What a session took in, as far as it must know it after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// A message of QoS 1 or 2.
    Received { qos: Qos, packet_id: PacketId, hash: MessageHash },
    /// A message of QoS 2 will not be sent again.
    Released(PacketId),
    /// The broker has the acknowledgements of so many QoS 1 messages, the oldest ones.
    Settled(u64),
    /// The broker has forgotten the session.
    NewSession,
}

/// A message to be noted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewMessage<'a> {
    pub(crate) frames: u64,
    pub(crate) qos: Qos,
    pub(crate) is_retained: bool,
    pub(crate) topic: &'a Bytes,
    pub(crate) packet_id: PacketId,
    pub(crate) hash: MessageHash,
    pub(crate) user_properties: &'a [(String, String)],
}

/// Writes tables one after the other.
#[derive(Debug, Default)]
pub(crate) struct TableWriter {
    /// Topics met, with the table they were last in and their number in it.
    topics: HashMap<Bytes, (u64, u64)>,
    /// Number of the table.
    table: u64,
    topic_count: u64,
}

impl TableWriter {
    /// Begins a table in `out`, which is empty.
    pub(crate) fn begin(&mut self, received_ms: i64, out: &mut Vec<u8>) {
        self.table += 1;
        self.topic_count = 0;
        if self.topics.len() >= TOPICS_MAX {
            self.topics.clear();
        }
        out.push(VERSION);
        zigzag(received_ms, out);
    }

    pub(crate) fn message(&mut self, message: NewMessage<'_>, out: &mut Vec<u8>) {
        let known = self.topics.get(message.topic).filter(|(table, _)| *table == self.table);
        let number = known.map(|(_, number)| *number);
        let mut head = message.qos.level() | MESSAGE << KIND_SHIFT;
        head |= if message.is_retained { RETAINED } else { 0 };
        head |= if number.is_none() { NEW_TOPIC } else { 0 };
        head |= if message.user_properties.is_empty() { 0 } else { PROPERTIES };
        out.push(head);
        varint(message.frames, out);
        match number {
            Some(number) => varint(number, out),
            None => {
                varint(message.topic.len() as u64, out);
                out.extend_from_slice(message.topic);
                self.remember(message.topic);
            }
        }
        if message.qos != Qos::AtMostOnce {
            varint(u64::from(message.packet_id), out);
            out.extend_from_slice(&message.hash.to_le_bytes());
        }
        if !message.user_properties.is_empty() {
            varint(message.user_properties.len() as u64, out);
            for (name, value) in message.user_properties {
                text(name, out);
                text(value, out);
            }
        }
    }

    fn remember(&mut self, topic: &Bytes) {
        let place = (self.table, self.topic_count);
        self.topic_count += 1;
        match self.topics.get_mut(topic) {
            Some(known) => *known = place,
            // A copy: the topic is a slice of all that was received with it.
            None => drop(self.topics.insert(Bytes::copy_from_slice(topic), place)),
        }
    }

    /// Notes what is no message.
    pub(crate) fn event(event: Event, out: &mut Vec<u8>) {
        match event {
            Event::Received { .. } => unreachable!("a message is noted with its topic"),
            Event::Released(packet_id) => {
                out.push(RELEASED << KIND_SHIFT);
                varint(u64::from(packet_id), out);
            }
            Event::Settled(count) => {
                out.push(SETTLED << KIND_SHIFT);
                varint(count, out);
            }
            Event::NewSession => out.push(NEW_SESSION << KIND_SHIFT),
        }
    }
}

/// A message of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TableMessage<'a> {
    pub(crate) frames: u64,
    pub(crate) qos: Qos,
    pub(crate) is_retained: bool,
    pub(crate) topic: &'a str,
    properties: &'a [u8],
    property_count: u64,
}

impl<'a> TableMessage<'a> {
    /// Names and values, in the order they were sent.
    pub(crate) fn user_properties(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let mut reader = Reader::new(self.properties);
        (0..self.property_count).map_while(move |_| Some((reader.text()?, reader.text()?)))
    }
}

/// An entry of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TableEntry<'a> {
    Message(TableMessage<'a>, Option<Event>),
    Event(Event),
}

/// Reads a table; ends at its end, or where it is malformed.
pub(crate) struct TableReader<'a> {
    reader: Reader<'a>,
    topics: Vec<&'a str>,
    received_ms: i64,
}

impl<'a> TableReader<'a> {
    /// `None` for an empty table, and one of another version.
    pub(crate) fn new(table: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(table);
        let [version] = reader.array()?;
        let received_ms = reader.zigzag()?;
        (version == VERSION).then_some(Self { reader, topics: Vec::new(), received_ms })
    }

    /// When the first packet was received, in milliseconds since 1970-01-01 UTC.
    pub(crate) fn received_ms(&self) -> i64 {
        self.received_ms
    }

    fn entry(&mut self) -> Option<TableEntry<'a>> {
        let [head] = self.reader.array()?;
        let packet_id = |number: u64| PacketId::try_from(number).ok();
        match head >> KIND_SHIFT {
            MESSAGE => self.message(head),
            RELEASED => Some(TableEntry::Event(Event::Released(packet_id(self.reader.varint()?)?))),
            SETTLED => Some(TableEntry::Event(Event::Settled(self.reader.varint()?))),
            NEW_SESSION => Some(TableEntry::Event(Event::NewSession)),
            _ => None,
        }
    }

    fn message(&mut self, head: u8) -> Option<TableEntry<'a>> {
        let qos = Qos::from_level(head & 3)?;
        let frames = self.reader.varint()?;
        let topic = if head & NEW_TOPIC == 0 {
            let number = usize::try_from(self.reader.varint()?).ok()?;
            *self.topics.get(number)?
        } else {
            let topic = self.reader.text()?;
            self.topics.push(topic);
            topic
        };
        let event = if qos == Qos::AtMostOnce {
            None
        } else {
            let packet_id = PacketId::try_from(self.reader.varint()?).ok()?;
            let hash = MessageHash::from_le_bytes(self.reader.array()?);
            Some(Event::Received { qos, packet_id, hash })
        };
        let mut property_count = 0;
        if head & PROPERTIES != 0 {
            property_count = self.reader.varint()?;
        }
        let properties = self.reader.rest();
        for _ in 0..property_count {
            self.reader.text()?;
            self.reader.text()?;
        }
        let is_retained = head & RETAINED != 0;
        let message = TableMessage { frames, qos, is_retained, topic, properties, property_count };
        Some(TableEntry::Message(message, event))
    }
}

impl<'a> Iterator for TableReader<'a> {
    type Item = TableEntry<'a>;

    fn next(&mut self) -> Option<TableEntry<'a>> {
        self.entry()
    }
}

/// The events of a table, in order.
pub(crate) fn events(table: &[u8]) -> impl Iterator<Item = Event> {
    TableReader::new(table).into_iter().flatten().filter_map(|entry| match entry {
        TableEntry::Message(_, event) => event,
        TableEntry::Event(event) => Some(event),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message<'a>(topic: &'a Bytes, qos: Qos, properties: &'a [(String, String)]) -> NewMessage<'a> {
        let (packet_id, hash) = (300, 0x0403_0201);
        NewMessage { frames: 2, qos, is_retained: true, topic, packet_id, hash, user_properties: properties }
    }

    #[test]
    fn golden_bytes() {
        let mut writer = TableWriter::default();
        let (a, b) = (Bytes::from_static(b"a"), Bytes::from_static(b"b"));
        let properties = [("n".to_owned(), "v".to_owned())];
        let mut table = Vec::new();
        writer.begin(1, &mut table);
        TableWriter::event(Event::NewSession, &mut table);
        writer.message(message(&a, Qos::AtLeastOnce, &[]), &mut table);
        writer.message(message(&b, Qos::AtMostOnce, &properties), &mut table);
        writer.message(message(&a, Qos::ExactlyOnce, &[]), &mut table);
        TableWriter::event(Event::Released(300), &mut table);
        TableWriter::event(Event::Settled(1), &mut table);
        let golden = [
            &[1, 2, 0x60][..],
            &[0x0D, 2, 1, b'a', 0xAC, 2, 1, 2, 3, 4],
            &[0x1C, 2, 1, b'b', 1, 1, b'n', 1, b'v'],
            &[0x06, 2, 0, 0xAC, 2, 1, 2, 3, 4],
            &[0x20, 0xAC, 2, 0x40, 1],
        ];
        assert_eq!(table, golden.concat());
        let entries: Vec<TableEntry<'_>> = TableReader::new(&table).unwrap().collect();
        assert_eq!(entries.len(), 6);
        let TableEntry::Message(second, None) = entries[2] else { panic!("a message") };
        assert_eq!((second.topic, second.frames, second.is_retained), ("b", 2, true));
        assert_eq!(second.user_properties().collect::<Vec<_>>(), [("n", "v")]);
        let (packet_id, hash) = (300, 0x0403_0201);
        let expected = [
            Event::NewSession,
            Event::Received { qos: Qos::AtLeastOnce, packet_id, hash },
            Event::Received { qos: Qos::ExactlyOnce, packet_id, hash },
            Event::Released(300),
            Event::Settled(1),
        ];
        assert_eq!(events(&table).collect::<Vec<_>>(), expected);
        // The next table knows none of these topics.
        let mut next = Vec::new();
        writer.begin(1, &mut next);
        writer.message(message(&a, Qos::AtMostOnce, &[]), &mut next);
        assert_eq!(next, [1, 2, 0x0C, 2, 1, b'a']);
    }

    #[test]
    fn a_cut_table_ends_early() {
        let mut table = Vec::new();
        let mut writer = TableWriter::default();
        writer.begin(1, &mut table);
        writer.message(message(&Bytes::from_static(b"topic"), Qos::AtLeastOnce, &[]), &mut table);
        for length in 0..table.len() {
            assert_eq!(events(&table[..length]).count(), 0, "cut to {length}");
        }
    }
}
