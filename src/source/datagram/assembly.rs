//! The chunk under way: datagrams are received into it, frames come out. No I/O.

use crate::runtime::ChunkLimits;
use crate::source::frame::FrameBuffers;

/// What became of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    Taken,
    /// It has no bytes.
    Empty,
    /// It is longer than the limit, and dropped.
    TooLong,
}

/// Puts datagrams into chunks.
#[derive(Debug)]
pub(super) struct Assembly {
    limits: ChunkLimits,
    datagram_bytes_max: usize,
    buffers: FrameBuffers,
    /// Number of the chunk's first frame, from 1.
    first_line: u64,
}

impl Assembly {
    pub(super) fn new(limits: ChunkLimits, datagram_bytes_max: usize) -> Self {
        Self { limits, datagram_bytes_max, buffers: FrameBuffers::default(), first_line: 1 }
    }

    /// Where the next datagram goes: behind what is there, with room for one byte more than a datagram may have, so that one
    /// that was cut is known. [`admit`](Self::admit) must follow.
    pub(super) fn room(&mut self) -> &mut Vec<u8> {
        let bytes = &mut self.buffers.bytes;
        bytes.reserve(self.datagram_bytes_max + 1);
        bytes
    }

    /// Takes what was received since the last call as one datagram.
    pub(super) fn admit(&mut self) -> Admission {
        let FrameBuffers { bytes, ends, .. } = &mut self.buffers;
        let start = ends.last().map_or(0, |end| *end as usize);
        match bytes.len() - start {
            0 => return Admission::Empty,
            length if length > self.datagram_bytes_max => {
                bytes.truncate(start);
                return Admission::TooLong;
            }
            _ => {}
        }
        if bytes.last() != Some(&b'\n') {
            bytes.push(b'\n');
        }
        for at in memchr::memchr_iter(b'\n', bytes.get(start..).unwrap_or_default()) {
            ends.push(u32::try_from(start + at + 1).expect("a chunk is below 4 GiB"));
        }
        Admission::Taken
    }

    pub(super) fn is_empty(&self) -> bool {
        self.buffers.ends.is_empty()
    }

    /// True when nothing more should be put in.
    pub(super) fn is_full(&self) -> bool {
        let FrameBuffers { bytes, ends, .. } = &self.buffers;
        bytes.len() >= self.limits.bytes_max || ends.len() >= self.limits.frames_max
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
    use super::*;

    #[test]
    fn a_datagram_is_its_lines_and_one_that_does_not_fit_leaves_nothing() {
        let mut assembly = Assembly::new(ChunkLimits { bytes_max: 1000, frames_max: 6 }, 8);
        let receive = |assembly: &mut Assembly, datagram: &str| {
            let room = assembly.room();
            assert!(room.capacity() - room.len() > 8);
            // The kernel cuts what has no room.
            room.extend_from_slice(&datagram.as_bytes()[..datagram.len().min(9)]);
            assembly.admit()
        };
        assert_eq!(receive(&mut assembly, ""), Admission::Empty);
        assert_eq!(receive(&mut assembly, "123456789"), Admission::TooLong);
        assert!(assembly.is_empty());
        for datagram in ["1 2", "3 4\n", "5 6\r\n7 8", "\n"] {
            assert!(!assembly.is_full());
            assert_eq!(receive(&mut assembly, datagram), Admission::Taken, "{datagram:?}");
            assert_eq!(receive(&mut assembly, "1234567890"), Admission::TooLong);
            assert_eq!(receive(&mut assembly, ""), Admission::Empty);
        }
        assert_eq!(receive(&mut assembly, "12345678"), Admission::Taken);
        assert!(assembly.is_full());
        let (first_line, buffers) = assembly.take(FrameBuffers::default());
        assert_eq!(
            (first_line, buffers.bytes.as_slice()),
            (1, b"1 2\n3 4\n5 6\r\n7 8\n\n12345678\n".as_slice())
        );
        assert_eq!(buffers.ends, [4, 8, 13, 17, 18, 27]);
        assert_eq!(receive(&mut assembly, "1"), Admission::Taken);
        assert_eq!(assembly.take(FrameBuffers::default()).0, 7);
    }
}
