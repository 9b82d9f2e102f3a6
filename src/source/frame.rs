//! Frames: the raw bytes of readings, many in one buffer, with where they came from.
//!
//! Layout of a chunk: `bytes` holds the frames one behind the other, each with its delimiter; `ends[i]` is the byte
//! behind frame `i` and its delimiter, ascending. A frame's payload is the bytes between, less one `\n` and one
//! `\r` before that.
//!
//! The buffers go back to the source that filled them when the last reader of a chunk is done, so a steady stream
//! allocates nothing.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use crate::journal::BatchRecord;

/// Spare buffers a source keeps at most.
const SPARE_BUFFERS_MAX: usize = 16;

/// A buffer above this many bytes is not kept for the next chunk.
const SPARE_BUFFER_BYTES_MAX: usize = 1 << 20;

/// Number of a source within its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SourceIndex(pub(crate) u16);

/// The client behind an origin, when it asked for acknowledgements: such origins are `@` and the client's name, which no
/// address begins with.
pub(crate) fn client_of(origin: &str) -> Option<&str> {
    origin.strip_prefix('@')
}

/// The vectors of a chunk.
#[derive(Debug, Default)]
pub(crate) struct FrameBuffers {
    pub(crate) bytes: Vec<u8>,
    pub(crate) ends: Vec<u32>,
    /// The messages the frames are of, for a source that has such: see `mqtt::message_table`.
    pub(crate) table: Vec<u8>,
}

/// Spare buffers of one source: at most 16, bounded by a `heapless` vector.
#[derive(Debug, Default)]
pub(crate) struct BufferPool {
    spare: Mutex<heapless::Vec<FrameBuffers, SPARE_BUFFERS_MAX>>,
}

impl BufferPool {
    /// A spare pair, or a new empty one.
    pub(crate) fn take(&self) -> FrameBuffers {
        self.lock().pop().unwrap_or_default()
    }

    fn put(&self, mut buffers: FrameBuffers) {
        if buffers.bytes.capacity().max(buffers.table.capacity()) <= SPARE_BUFFER_BYTES_MAX {
            buffers.bytes.clear();
            buffers.ends.clear();
            buffers.table.clear();
            // When the pool is full the buffers are freed.
            drop(self.lock().push(buffers));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, heapless::Vec<FrameBuffers, SPARE_BUFFERS_MAX>> {
        self.spare.lock().expect("no code panics while it holds the pool")
    }
}

/// A run of frames of one origin.
#[derive(Debug)]
pub(crate) struct FrameChunk {
    pub(crate) source: SourceIndex,
    /// Who sent them: an address, for messages.
    pub(crate) origin: Arc<str>,
    /// Line number of the first frame, counted from 1 within the origin's connection.
    pub(crate) first_line: u64,
    /// The sender waits for them to be durable before it sends more.
    pub(crate) is_awaited: bool,
    /// Frames of the table before the chunk's first.
    table_start: u64,
    buffers: FrameBuffers,
    pool: Arc<BufferPool>,
}

impl FrameChunk {
    pub(crate) fn new(
        source: SourceIndex,
        origin: Arc<str>,
        first_line: u64,
        buffers: FrameBuffers,
        pool: Arc<BufferPool>,
    ) -> Self {
        let covered = buffers.ends.last().copied().unwrap_or(0);
        assert_eq!(covered as usize, buffers.bytes.len(), "the frames cover the bytes");
        Self { source, origin, first_line, is_awaited: false, table_start: 0, buffers, pool }
    }

    pub(crate) fn frame_count(&self) -> usize {
        self.buffers.ends.len()
    }

    pub(crate) fn byte_count(&self) -> usize {
        self.buffers.bytes.len()
    }

    /// The table of the messages the frames are of; empty where there are none.
    pub(crate) fn table(&self) -> &[u8] {
        &self.buffers.table
    }

    /// Number of the chunk's first frame within its table.
    pub(crate) fn table_start(&self) -> u64 {
        self.table_start
    }

    /// All bytes of the frames in `range`, with their delimiters.
    pub(crate) fn bytes(&self, range: &Range<usize>) -> &[u8] {
        let ends = &self.buffers.ends;
        let start = range.start.checked_sub(1).map_or(0, |before| ends[before] as usize);
        let end = range.end.checked_sub(1).map_or(0, |last| ends[last] as usize);
        &self.buffers.bytes[start..end.max(start)]
    }

    /// Ends of the frames in `range`, counted from the chunk's first byte, and that range's start.
    pub(crate) fn ends(&self, range: &Range<usize>) -> (usize, &[u32]) {
        let ends = &self.buffers.ends;
        let start = range.start.checked_sub(1).map_or(0, |before| ends[before] as usize);
        (start, &ends[range.clone()])
    }
}

impl Drop for FrameChunk {
    fn drop(&mut self) {
        self.pool.put(std::mem::take(&mut self.buffers));
    }
}

/// The frames of one batch, in the order the sequencer gave them.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    pub(crate) chunks: Vec<FrameChunk>,
}

impl Frames {
    pub(crate) fn count(&self) -> usize {
        self.chunks.iter().map(FrameChunk::frame_count).sum()
    }

    /// The frames of a journaled batch, without those numbered in `skipped`. Lines keep their numbers: a chunk is cut
    /// in two where one is left out.
    pub(crate) fn from_journal(batch: BatchRecord, skipped: &BTreeSet<u64>) -> Self {
        let pool = Arc::new(BufferPool::default());
        let mut chunks = Vec::with_capacity(batch.chunks.len());
        let mut frame = 0;
        for record in batch.chunks {
            let mut buffers = FrameBuffers::default();
            let mut first_line = record.first_line;
            let mut start = 0;
            let first = record.first_line;
            let mut push = |buffers: &mut FrameBuffers, first_line| {
                if !buffers.ends.is_empty() {
                    let mut buffers = std::mem::take(buffers);
                    buffers.table.extend_from_slice(&record.table);
                    let source = SourceIndex(record.source);
                    let origin = Arc::clone(&record.origin);
                    let mut chunk = FrameChunk::new(source, origin, first_line, buffers, Arc::clone(&pool));
                    chunk.table_start = first_line - first;
                    chunks.push(chunk);
                }
            };
            for (line, at) in memchr::memchr_iter(b'\n', &record.lines).enumerate() {
                if skipped.contains(&frame) {
                    push(&mut buffers, first_line);
                    first_line = record.first_line + line as u64 + 1;
                } else {
                    buffers.bytes.extend_from_slice(&record.lines[start..=at]);
                    buffers.ends.push(u32::try_from(buffers.bytes.len()).expect("a record is below 4 GiB"));
                }
                start = at + 1;
                frame += 1;
            }
            push(&mut buffers, first_line);
        }
        Self { chunks }
    }

    /// Subtask `index` of `parallelism`'s share of `source`'s frames: contiguous, so that the shares in subtask
    /// order are the frames in their order.
    pub(crate) fn share(
        &self,
        source: SourceIndex,
        index: usize,
        parallelism: usize,
    ) -> impl Iterator<Item = Share<'_>> {
        let is_ours = move |chunk: &FrameChunk| chunk.source == source;
        let total: usize =
            self.chunks.iter().filter(|chunk| is_ours(chunk)).map(FrameChunk::frame_count).sum();
        let share = (index * total / parallelism)..((index + 1) * total / parallelism);
        let (mut before, mut frames_before) = (0, 0);
        self.chunks.iter().filter_map(move |chunk| {
            let first_frame = frames_before;
            frames_before += chunk.frame_count() as u64;
            if !is_ours(chunk) {
                return None;
            }
            let first = before;
            before += chunk.frame_count();
            let start = share.start.max(first).min(before) - first;
            let end = share.end.max(first).min(before) - first;
            (start < end).then_some(Share { chunk, range: start..end, first_frame })
        })
    }
}

/// What one subtask takes of a chunk.
pub(crate) struct Share<'a> {
    pub(crate) chunk: &'a FrameChunk,
    /// Frames of the chunk.
    pub(crate) range: Range<usize>,
    /// Number of the chunk's first frame within the batch.
    pub(crate) first_frame: u64,
}

/// A frame's payload: its bytes less the line's end.
#[inline]
pub(crate) fn trim_line_end(frame: &str) -> &str {
    let frame = frame.strip_suffix('\n').unwrap_or(frame);
    frame.strip_suffix('\r').unwrap_or(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(source: u16, lines: &[&str]) -> FrameChunk {
        let mut buffers = FrameBuffers::default();
        for line in lines {
            buffers.bytes.extend_from_slice(line.as_bytes());
            buffers.ends.push(u32::try_from(buffers.bytes.len()).unwrap());
        }
        FrameChunk::new(SourceIndex(source), "test".into(), 1, buffers, Arc::default())
    }

    #[test]
    fn shares_are_contiguous_and_cover_every_frame_once() {
        let chunks = vec![chunk(0, &["a\n", "b\n", "c\n"]), chunk(1, &["x\n"]), chunk(0, &["d\n", "e\n"])];
        let frames = Frames { chunks };
        for parallelism in 1..=8 {
            let mut all = Vec::new();
            for index in 0..parallelism {
                for share in frames.share(SourceIndex(0), index, parallelism) {
                    all.extend_from_slice(share.chunk.bytes(&share.range));
                }
            }
            assert_eq!(all, b"a\nb\nc\nd\ne\n", "{parallelism} subtasks");
        }
    }

    #[test]
    fn buffers_go_back_to_the_pool() {
        let pool = Arc::new(BufferPool::default());
        let buffers = FrameBuffers { bytes: b"a\n".to_vec(), ends: vec![2], ..FrameBuffers::default() };
        let pointer = buffers.bytes.as_ptr();
        drop(FrameChunk::new(SourceIndex(0), "test".into(), 1, buffers, Arc::clone(&pool)));
        let again = pool.take();
        assert_eq!(again.bytes.as_ptr(), pointer);
        assert!(again.bytes.is_empty() && again.ends.is_empty());
    }

    #[test]
    fn line_ends_are_trimmed_once() {
        assert_eq!(trim_line_end("a\r\n"), "a");
        assert_eq!(trim_line_end("a\n"), "a");
        assert_eq!(trim_line_end("a\r\r\n"), "a\r");
        assert_eq!(trim_line_end("\n"), "");
    }
}
