//! Cuts a byte stream into lines. A plain state machine: bytes in, buffers of whole lines out, no I/O.
//!
//! Limits: a line's payload is at most `line_bytes_max` bytes; a longer one is dropped without being buffered
//! and counted. A buffer is full at `chunk_bytes_max` bytes of whole lines; with a partial line behind them it
//! holds at most `chunk_bytes_max + line_bytes_max` and what one read brings.
//!
//! Invariants: lines come out in order, each once, whatever the sizes of the reads; the line number of a chunk's
//! first line counts dropped lines too.

use super::frame::FrameBuffers;

/// Smallest free space offered to a read, in bytes.
const READ_BYTES_MIN: usize = 4 * 1024;

/// Cuts the bytes of one connection into lines.
#[derive(Debug)]
pub(crate) struct LineFramer {
    line_bytes_max: usize,
    chunk_bytes_max: usize,
    chunk_frames_max: usize,
    buffers: FrameBuffers,
    /// Bytes of the buffer already searched for line ends.
    scanned: usize,
    /// Line number of the first line in the buffer.
    line: u64,
    /// True while the rest of an over-long line is thrown away.
    discarding: bool,
    over_long: OverLong,
}

/// Whole lines cut from the stream.
#[derive(Debug)]
pub(crate) struct Lines {
    pub(crate) buffers: FrameBuffers,
    /// Line number of the first one.
    pub(crate) first_line: u64,
}

/// Lines that were dropped because they are too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct OverLong {
    pub(crate) count: u64,
    /// Line number of the first of them.
    pub(crate) first_line: u64,
}

/// How a run over the buffer ended.
enum ScanEnd {
    /// No line end is left, or the chunk is full.
    Scanned,
    /// The line from the last whole one's end to `end` is over-long.
    OverLong { end: usize },
}

impl LineFramer {
    pub(crate) fn new(line_bytes_max: usize, chunk_bytes_max: usize, chunk_frames_max: usize) -> Self {
        Self {
            line_bytes_max,
            chunk_bytes_max,
            chunk_frames_max,
            buffers: FrameBuffers::default(),
            scanned: 0,
            line: 1,
            discarding: false,
            over_long: OverLong::default(),
        }
    }

    /// The first line is the one behind `line`.
    pub(crate) fn continue_behind(&mut self, line: u64) {
        self.line = line + 1;
    }

    /// The buffer to append the next read to; has room for at least 4 KiB. `advance` must follow.
    pub(crate) fn read_buffer(&mut self) -> &mut Vec<u8> {
        let bytes = &mut self.buffers.bytes;
        if bytes.capacity() - bytes.len() < READ_BYTES_MIN {
            // Doubles: a quiet connection holds 4 KiB, a busy one grows to the chunk size.
            let target =
                (bytes.capacity() * 2).clamp(READ_BYTES_MIN, self.chunk_bytes_max.max(READ_BYTES_MIN));
            let missing = target.saturating_sub(bytes.len()).max(READ_BYTES_MIN);
            bytes.reserve_exact(missing);
        }
        bytes
    }

    /// Cuts what was read since the last call.
    pub(crate) fn advance(&mut self) {
        if self.discarding {
            self.discard();
        }
        self.scan();
        let partial = self.buffers.bytes.len() - self.complete_bytes();
        // One byte more than the limit may still be the `\r` of a line end.
        if self.buffers.ends.is_empty() && partial > self.line_bytes_max + 1 {
            self.buffers.bytes.clear();
            self.scanned = 0;
            self.discarding = true;
        }
    }

    /// The stream ended: what follows the last line end is a line too. The waiting lines must be taken first.
    pub(crate) fn finish(&mut self) {
        assert_eq!(self.line_count(), 0, "waiting lines are taken before the stream is finished");
        if self.discarding || self.buffers.bytes.len() > self.complete_bytes() {
            self.buffers.bytes.push(b'\n');
            self.advance();
        }
    }

    /// Number of whole lines waiting.
    pub(crate) fn line_count(&self) -> usize {
        self.buffers.ends.len()
    }

    /// True when the waiting lines must be taken before more is read.
    pub(crate) fn is_full(&self) -> bool {
        let whole = self.buffers.ends.len();
        whole >= self.chunk_frames_max || (whole > 0 && self.buffers.bytes.len() >= self.chunk_bytes_max)
    }

    /// True while a line has begun and not ended.
    pub(crate) fn has_partial_line(&self) -> bool {
        self.discarding || self.buffers.bytes.len() > self.complete_bytes()
    }

    /// Bytes of the line that has begun and not ended, as far as they are kept.
    pub(crate) fn partial_bytes(&self) -> usize {
        self.buffers.bytes.len() - self.complete_bytes()
    }

    /// Takes the waiting lines and goes on in `spare`. `None` when there are none.
    pub(crate) fn take(&mut self, spare: impl FnOnce() -> FrameBuffers) -> Option<Lines> {
        if self.buffers.ends.is_empty() {
            return None;
        }
        let mut next = spare();
        let complete = self.complete_bytes();
        next.bytes.extend_from_slice(&self.buffers.bytes[complete..]);
        let mut taken = std::mem::replace(&mut self.buffers, next);
        taken.bytes.truncate(complete);
        self.scanned -= complete;
        let first_line = self.line;
        self.line += taken.ends.len() as u64;
        // A line that stopped the scan is first now.
        self.advance();
        Some(Lines { buffers: taken, first_line })
    }

    /// Over-long lines dropped since the last call.
    pub(crate) fn take_over_long(&mut self) -> OverLong {
        std::mem::take(&mut self.over_long)
    }

    fn complete_bytes(&self) -> usize {
        self.buffers.ends.last().map_or(0, |end| *end as usize)
    }

    fn scan(&mut self) {
        while let ScanEnd::OverLong { end } = self.scan_run() {
            if !self.buffers.ends.is_empty() {
                // Its line number is known once the lines before it are taken: `take` goes on from here.
                return;
            }
            self.buffers.bytes.drain(..end);
            self.scanned = 0;
            self.drop_line();
        }
    }

    fn scan_run(&mut self) -> ScanEnd {
        let FrameBuffers { bytes, ends, .. } = &mut self.buffers;
        let mut start = ends.last().map_or(0, |end| *end as usize);
        for at in memchr::memchr_iter(b'\n', &bytes[self.scanned..]) {
            let end = self.scanned + at + 1;
            if ends.len() == self.chunk_frames_max {
                self.scanned = start;
                return ScanEnd::Scanned;
            }
            if end - start > self.line_bytes_max + 1 {
                let line = &bytes[start..end - 1];
                if line.len() - usize::from(line.last() == Some(&b'\r')) > self.line_bytes_max {
                    self.scanned = start;
                    return ScanEnd::OverLong { end };
                }
            }
            ends.push(u32::try_from(end).expect("a buffer is far below 4 GiB"));
            start = end;
        }
        self.scanned = bytes.len();
        ScanEnd::Scanned
    }

    fn discard(&mut self) {
        match memchr::memchr(b'\n', &self.buffers.bytes) {
            Some(at) => {
                self.buffers.bytes.drain(..=at);
                self.scanned = 0;
                self.discarding = false;
                self.drop_line();
            }
            None => self.buffers.bytes.clear(),
        }
    }

    fn drop_line(&mut self) {
        if self.over_long.count == 0 {
            self.over_long.first_line = self.line;
        }
        self.over_long.count += 1;
        self.line += 1;
    }
}

#[cfg(test)]
#[path = "line_framer_tests.rs"]
mod tests;
