//! One connection: reads lines and hands them over, one chunk ahead.

use std::borrow::Cow;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::time::{Instant, sleep_until};

use super::acknowledge::{Acknowledgements, Greeted};
use super::{ByteStream, ConnectionLimits, LINE_TIMEOUT};
use crate::metrics::{Provenance, RejectCause};
use crate::runtime::{Offset, Outlet, OutletClosed};
use crate::source::line_framer::LineFramer;

/// How a connection ended.
#[derive(Debug)]
pub(crate) enum ConnectionEnd {
    /// The peer closed it.
    Closed,
    /// It broke.
    Broken(io::Error),
    /// Nothing came for the idle timeout.
    Idle,
    /// A line took too long from its first byte to its end.
    SlowLine,
    /// The job stops.
    Stopping,
}

/// A chunk on its way: its last line, and the batch it is sealed into.
type Sending = Pin<Box<dyn Future<Output = Result<(u64, Offset), OutletClosed>>>>;

/// Reads `stream` to its end; says how it ended and how many lines it brought. `origin` names the peer in messages.
pub(crate) async fn read_lines(
    mut stream: impl ByteStream,
    origin: Arc<str>,
    limits: ConnectionLimits,
    outlet: &Outlet,
    greeted: Option<Greeted>,
) -> (ConnectionEnd, u64) {
    let mut framer = LineFramer::new(limits.line_bytes_max, limits.chunk.bytes_max, limits.chunk.frames_max);
    let (mut origin, mut acknowledgements) = (origin, None);
    if let Some(greeted) = greeted {
        framer.continue_behind(greeted.lines);
        framer.read_buffer().extend_from_slice(&greeted.rest);
        framer.advance();
        origin = greeted.origin;
        acknowledgements = Some(Acknowledgements::new(outlet, greeted.session));
    }
    let mut reader = Reader { framer, origin, outlet, sending: None, line_count: 0, acknowledgements };
    let end = reader.read(&mut stream, limits.idle_timeout).await;
    reader.finish(&end).await;
    if let Some(mut acknowledgements) = reader.acknowledgements.take() {
        acknowledgements.finish(&mut stream).await;
    }
    stream.say_goodbye().await;
    (end, reader.line_count)
}

/// One chunk on its way to the sequencer while the framer fills the next.
struct Reader<'a> {
    framer: LineFramer,
    line_count: u64,
    origin: Arc<str>,
    outlet: &'a Outlet,
    sending: Option<Sending>,
    /// For a client that asked for them.
    acknowledgements: Option<Acknowledgements>,
}

impl Reader<'_> {
    async fn read(&mut self, stream: &mut impl ByteStream, idle_timeout: Option<Duration>) -> ConnectionEnd {
        let stop = self.outlet.stop_token().clone();
        let mut stopped = pin!(stop.cancelled());
        let mut last_byte = Instant::now();
        let mut line_since: Option<Instant> = None;
        self.send_waiting();
        loop {
            let idle_at = idle_timeout.map(|timeout| last_byte + timeout);
            let line_at = line_since.map(|since| since + LINE_TIMEOUT);
            let deadline = idle_at.into_iter().chain(line_at).min();
            // A source that the job holds back is not the peer's fault.
            let may_read = !self.framer.is_full();
            tokio::select! {
                biased;
                () = &mut stopped => return ConnectionEnd::Stopping,
                sent = wait(&mut self.sending), if self.sending.is_some() => {
                    self.sending = None;
                    if !self.sealed(sent) {
                        return ConnectionEnd::Stopping;
                    }
                    if !may_read {
                        last_byte = Instant::now();
                        line_since = line_since.map(|_| last_byte);
                    }
                }
                line = next_durable(&mut self.acknowledgements), if self.acknowledgements.is_some() => {
                    if let Err(error) = Acknowledgements::write(stream, line).await {
                        return ConnectionEnd::Broken(error);
                    }
                }
                read = stream.read_buf(self.framer.read_buffer()), if may_read => match read {
                    Ok(0) => return ConnectionEnd::Closed,
                    Err(error) => return ConnectionEnd::Broken(error),
                    Ok(_) => {
                        let lines_before = self.framer.line_count();
                        self.framer.advance();
                        last_byte = Instant::now();
                        line_since = match (self.framer.has_partial_line(), line_since) {
                            (false, _) => None,
                            (true, Some(since)) if self.framer.line_count() == lines_before => Some(since),
                            (true, _) => Some(last_byte),
                        };
                    }
                },
                () = sleep_until(deadline.unwrap_or(last_byte)), if may_read && deadline.is_some() => {
                    return if deadline == line_at { ConnectionEnd::SlowLine } else { ConnectionEnd::Idle };
                }
            }
            self.report_over_long();
            if self.sending.is_none() {
                self.send_waiting();
            }
        }
    }

    fn send_waiting(&mut self) {
        if let Some(lines) = self.framer.take(|| self.outlet.buffers()) {
            let count = lines.buffers.ends.len() as u64;
            self.line_count += count;
            let last_line = lines.first_line + count - 1;
            let chunk = self.outlet.chunk(Arc::clone(&self.origin), lines.first_line, lines.buffers);
            let outlet = self.outlet.clone();
            let session = self.acknowledgements.as_ref().map(|acknowledgements| acknowledgements.session);
            self.sending =
                Some(Box::pin(async move { Ok((last_line, outlet.append(chunk, None, session).await?)) }));
        }
    }

    /// Notes the batch a chunk is in; `false` when it was not taken.
    fn sealed(&mut self, sent: Result<(u64, Offset), OutletClosed>) -> bool {
        if let (Ok((line, offset)), Some(acknowledgements)) = (&sent, &mut self.acknowledgements) {
            acknowledgements.sealed(*offset, *line);
        }
        sent.is_ok()
    }

    /// Hands over what was read. The line the peer had not finished counts when the peer ended the stream and cannot
    /// send it again; when we stop it is left to whoever reads next.
    async fn finish(&mut self, end: &ConnectionEnd) {
        loop {
            if let Some(sending) = self.sending.take() {
                let sent = sending.await;
                if !self.sealed(sent) {
                    return;
                }
            }
            self.send_waiting();
            if self.sending.is_none() {
                break;
            }
        }
        let unfinished = self.framer.partial_bytes();
        if matches!(end, ConnectionEnd::Closed) && self.acknowledgements.is_none() {
            self.framer.finish();
            self.send_waiting();
            if let Some(sending) = self.sending.take()
                && sending.await.is_err()
            {
                tracing::debug!(origin = %self.origin, "the job ended before the last line");
            }
        } else if unfinished > 0 {
            tracing::info!(origin = %self.origin, bytes = unfinished, "an unfinished line was left");
        }
        self.report_over_long();
    }

    fn report_over_long(&mut self) {
        let over_long = self.framer.take_over_long();
        if over_long.count > 0 {
            let mut rejections = self.outlet.rejections();
            for index in 0..over_long.count {
                // They follow one another but for good lines between; the first one's number is exact.
                let provenance = Provenance { origin: &self.origin, line: over_long.first_line + index };
                rejections
                    .reject(RejectCause::LINE_TOO_LONG, Some(provenance), || Cow::Borrowed(b"".as_slice()));
            }
            rejections.end_batch();
        }
    }
}

async fn next_durable(acknowledgements: &mut Option<Acknowledgements>) -> u64 {
    match acknowledgements {
        Some(acknowledgements) => acknowledgements.next().await,
        None => std::future::pending().await,
    }
}

async fn wait(sending: &mut Option<Sending>) -> Result<(u64, Offset), OutletClosed> {
    match sending {
        Some(sending) => sending.await,
        None => std::future::pending().await,
    }
}
