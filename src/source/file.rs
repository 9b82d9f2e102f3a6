//! The `file` source: the lines of a file, once, as one client that asks which of them are durable: a job that is started again goes on
//! behind those.
//!
//! Behind the last line comes [`END_OF_INPUT`], of an origin of its own, so that windows of event time give what they hold. Lines that are
//! appended to the file later are read by the next start; they are late for windows that have closed.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::task::{JoinHandle, spawn_local};

use super::END_OF_INPUT;
use super::frame::FrameBuffers;
use super::line_framer::{LineFramer, Lines};
use crate::metrics::{Provenance, RejectCause};
use crate::runtime::{ChunkLimits, JobError, Offset, Outlet, OutletClosed};

/// Longest line, in bytes without its end, unless told otherwise.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// Bytes read at once.
const READ_BYTES: usize = 128 * 1024;
/// A line of the file is what the end of the input is marked with.
const RESERVED_LINE: RejectCause = RejectCause::new("reserved-line");

/// A file to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileLines {
    path: PathBuf,
    line_bytes_max: usize,
}

impl FileLines {
    /// The lines of the file at `path`.
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), line_bytes_max: LINE_BYTES_MAX }
    }

    /// Sets the longest line in bytes, without its end. Longer ones are skipped and counted. Default 64 KiB.
    #[must_use]
    pub(crate) fn line_bytes_max(mut self, bytes: usize) -> Self {
        self.line_bytes_max = bytes;
        self
    }

    /// # Errors
    /// [`JobError::Source`] when it is not a file that can be read.
    pub(crate) fn check(&self) -> Result<(), JobError> {
        let failed = |source| JobError::Source { origin: self.path.display().to_string(), source };
        let metadata = std::fs::metadata(&self.path).map_err(failed)?;
        if metadata.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        Ok(())
    }
}

/// Hands over the lines behind those that are durable.
///
/// # Errors
/// [`JobError::Source`] when the file cannot be read.
pub(crate) async fn run_file(source: FileLines, outlet: Outlet, limits: ChunkLimits) -> Result<(), JobError> {
    let name = source.path.display().to_string();
    let Ok((durable, session)) = outlet.hello(format!("file:{name}").into()).await else { return Ok(()) };
    let mut reader = Reader {
        framer: LineFramer::new(source.line_bytes_max, limits.bytes_max, limits.frames_max),
        origin: format!("@file:{name}").into(),
        name: &name,
        outlet: &outlet,
        durable,
        session,
        sending: None,
    };
    match reader.read(&source.path).await {
        // The job takes no more.
        Err(ReadError::Closed) => Ok(()),
        Err(ReadError::File(source)) => Err(JobError::Source { origin: name.clone(), source }),
        Ok(()) => Ok(()),
    }
}

enum ReadError {
    Closed,
    File(io::Error),
}

impl From<OutletClosed> for ReadError {
    fn from(_: OutletClosed) -> Self {
        Self::Closed
    }
}

struct Reader<'a> {
    framer: LineFramer,
    origin: Arc<str>,
    name: &'a str,
    outlet: &'a Outlet,
    /// Lines that are durable already.
    durable: u64,
    session: u64,
    /// A chunk on its way into a batch.
    sending: Option<JoinHandle<Result<Offset, OutletClosed>>>,
}

impl Reader<'_> {
    async fn read(&mut self, path: &Path) -> Result<(), ReadError> {
        let mut file = File::open(path).await.map_err(ReadError::File)?;
        file.set_max_buf_size(READ_BYTES);
        let stop = self.outlet.stop_token().clone();
        loop {
            let buffer = self.framer.read_buffer();
            buffer.reserve(READ_BYTES);
            let read = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                read = file.read_buf(buffer) => read.map_err(ReadError::File)?,
            };
            self.framer.advance();
            self.hand_over().await?;
            if read == 0 {
                break;
            }
        }
        self.framer.finish();
        self.hand_over().await?;
        self.sent().await?;
        let mut buffers = self.outlet.buffers();
        buffers.bytes.extend_from_slice(END_OF_INPUT.as_bytes());
        buffers.bytes.push(b'\n');
        buffers.ends.push(u32::try_from(buffers.bytes.len()).expect("a marker is short"));
        let chunk = self.outlet.chunk(format!("file:{}", self.name).into(), 1, buffers);
        self.outlet.append(chunk, None, None).await?;
        Ok(())
    }

    /// Hands over the lines that are whole.
    async fn hand_over(&mut self) -> Result<(), ReadError> {
        while let Some(Lines { buffers, first_line }) = self.framer.take(|| self.outlet.buffers()) {
            if let Some((first_line, buffers)) = self.behind_durable(first_line, buffers) {
                self.send(first_line, buffers).await?;
            }
            self.framer.advance();
        }
        let over_long = self.framer.take_over_long();
        if over_long.count > 0 {
            let from = Provenance { origin: self.name, line: over_long.first_line };
            let mut rejections = self.outlet.rejections();
            for _ in 0..over_long.count {
                rejections.reject(RejectCause::LINE_TOO_LONG, Some(from), || Cow::Borrowed(b"".as_slice()));
            }
            rejections.end_batch();
        }
        Ok(())
    }

    /// The lines that are not durable, with the number of the first.
    fn behind_durable(&self, first_line: u64, mut buffers: FrameBuffers) -> Option<(u64, FrameBuffers)> {
        let skipped = usize::try_from(self.durable.saturating_sub(first_line - 1)).unwrap_or(usize::MAX);
        if skipped >= buffers.ends.len() {
            return None;
        }
        if memchr::memmem::find(&buffers.bytes, END_OF_INPUT.as_bytes()).is_some() {
            self.replace_reserved(first_line, &mut buffers);
        }
        if skipped > 0 {
            let cut = buffers.ends[skipped - 1];
            buffers.bytes.drain(..cut as usize);
            buffers.ends.drain(..skipped);
            buffers.ends.iter_mut().for_each(|end| *end -= cut);
        }
        Some((first_line + skipped as u64, buffers))
    }

    /// Empties lines that are the mark of the end: their numbers must stay.
    #[cold]
    fn replace_reserved(&self, first_line: u64, buffers: &mut FrameBuffers) {
        let old = std::mem::take(&mut buffers.bytes);
        let mut from = 0;
        for (at, end) in buffers.ends.iter_mut().enumerate() {
            let line = &old[from..*end as usize];
            from = *end as usize;
            if line.trim_ascii() == END_OF_INPUT.as_bytes() {
                buffers.bytes.push(b'\n');
                let from = Provenance { origin: self.name, line: first_line + at as u64 };
                let mut rejections = self.outlet.rejections();
                rejections.reject(RESERVED_LINE, Some(from), || Cow::Borrowed(line));
                rejections.end_batch();
            } else {
                buffers.bytes.extend_from_slice(line);
            }
            *end = u32::try_from(buffers.bytes.len()).expect("it is no longer than before");
        }
    }

    /// Sends a chunk once the one before is sealed: it is filled while that is under way.
    async fn send(&mut self, first_line: u64, buffers: FrameBuffers) -> Result<(), ReadError> {
        self.sent().await?;
        let chunk = self.outlet.chunk(Arc::clone(&self.origin), first_line, buffers);
        let (outlet, session) = (self.outlet.clone(), self.session);
        self.sending = Some(spawn_local(async move { outlet.append(chunk, None, Some(session)).await }));
        Ok(())
    }

    async fn sent(&mut self) -> Result<(), ReadError> {
        if let Some(sending) = self.sending.take() {
            // A task ends early only when the job does.
            sending.await.unwrap_or(Err(OutletClosed))?;
        }
        Ok(())
    }
}
