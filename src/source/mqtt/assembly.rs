//! The chunk under way: messages are put in, frames and their table come out.

use crate::mqtt::{Event, NewMessage, Publish, TableWriter};
use crate::runtime::{ChunkLimits, wall_time};
use crate::source::frame::FrameBuffers;

/// Puts messages into chunks.
#[derive(Debug)]
pub(super) struct Assembly {
    limits: ChunkLimits,
    buffers: FrameBuffers,
    writer: TableWriter,
    /// Number of the chunk's first frame, from 1.
    first_line: u64,
}

impl Assembly {
    pub(super) fn new(limits: ChunkLimits) -> Self {
        Self { limits, buffers: FrameBuffers::default(), writer: TableWriter::default(), first_line: 1 }
    }

    /// Adds a message: its payload's lines, of which the last needs no end.
    pub(super) fn message(&mut self, publish: &Publish, hash: u32) {
        self.begin();
        let FrameBuffers { bytes, ends, table } = &mut self.buffers;
        let start = bytes.len();
        bytes.extend_from_slice(&publish.payload);
        if bytes.last() != Some(&b'\n') {
            bytes.push(b'\n');
        }
        let before = ends.len();
        for at in memchr::memchr_iter(b'\n', bytes.get(start..).unwrap_or_default()) {
            ends.push(u32::try_from(start + at + 1).expect("a chunk is below 4 GiB"));
        }
        let message = NewMessage {
            frames: (ends.len() - before) as u64,
            qos: publish.qos,
            is_retained: publish.is_retained,
            topic: &publish.topic,
            packet_id: publish.packet_id,
            hash,
            user_properties: &publish.user_properties,
        };
        self.writer.message(message, table);
    }

    /// Notes what is no message.
    pub(super) fn note(&mut self, event: Event) {
        self.begin();
        TableWriter::event(event, &mut self.buffers.table);
    }

    fn begin(&mut self) {
        if self.buffers.table.is_empty() {
            self.writer.begin(wall_time().0, &mut self.buffers.table);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.buffers.table.is_empty()
    }

    /// True when nothing more should be put in.
    pub(super) fn is_full(&self) -> bool {
        let FrameBuffers { bytes, ends, table } = &self.buffers;
        let limits = &self.limits;
        bytes.len() >= limits.bytes_max || ends.len() >= limits.frames_max || table.len() >= limits.bytes_max
    }

    /// The chunk, and the number of its first frame; it goes on with `spare`, which are empty.
    pub(super) fn take(&mut self, spare: FrameBuffers) -> (u64, FrameBuffers) {
        let buffers = std::mem::replace(&mut self.buffers, spare);
        let first_line = self.first_line;
        self.first_line += buffers.ends.len() as u64;
        (first_line, buffers)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::mqtt::{Qos, TableEntry, TableReader};

    fn publish(payload: &'static str) -> Publish {
        Publish {
            is_duplicate: false,
            qos: Qos::AtLeastOnce,
            is_retained: false,
            topic: Bytes::from_static(b"t"),
            packet_id: 1,
            payload: Bytes::from_static(payload.as_bytes()),
            user_properties: Vec::new(),
        }
    }

    #[test]
    fn the_lines_of_a_payload_are_frames_and_the_table_counts_them() {
        let mut assembly = Assembly::new(ChunkLimits { bytes_max: 1000, frames_max: 7 });
        assert!(assembly.is_empty());
        for payload in ["1 2", "3 4\n", "5 6\r\n7 8", "\n\n"] {
            assert!(!assembly.is_full());
            assembly.message(&publish(payload), 0);
        }
        assembly.message(&publish("9 9"), 0);
        assert!(assembly.is_full());
        let (first_line, buffers) = assembly.take(FrameBuffers::default());
        assert_eq!(
            (first_line, buffers.bytes.as_slice()),
            (1, b"1 2\n3 4\n5 6\r\n7 8\n\n\n9 9\n".as_slice())
        );
        assert_eq!(buffers.ends, [4, 8, 13, 17, 18, 19, 23]);
        let frames: Vec<u64> = TableReader::new(&buffers.table)
            .unwrap()
            .map(|entry| match entry {
                TableEntry::Message(message, _) => message.frames,
                TableEntry::Event(event) => panic!("{event:?}"),
            })
            .collect();
        assert_eq!(frames, [1, 1, 2, 2, 1]);
        assembly.note(Event::Released(3));
        assert!(!assembly.is_empty());
        assert_eq!(assembly.take(FrameBuffers::default()).0, 8);
    }
}
