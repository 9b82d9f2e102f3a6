//! Acknowledgements: a client that greets learns which of its lines are on stable storage.
//!
//! ```text
//! client   HELLO boiler-7             once, first; letters, digits, '.', '_', '-', at most 64
//! server   DURABLE 1200               lines of boiler-7 on stable storage, over all its connections
//! client   lines 1201, 1202, …        each counts from its `\n` on
//! server   DURABLE 1202               after each commit
//! ```
//!
//! A sender that keeps what is not acknowledged, and after a break goes on behind the number it is greeted with, loses
//! nothing and sends nothing twice. A line the connection ends in the middle of does not count. A second connection of the
//! same client ends the first.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::timeout;

use super::ByteStream;
use crate::runtime::{Offset, Outlet};

/// Longest greeting, in bytes: `HELLO `, a name, the line's end.
const GREETING_BYTES_MAX: usize = 6 + CLIENT_NAME_BYTES_MAX + 2;
/// Longest client name, in bytes.
const CLIENT_NAME_BYTES_MAX: usize = 64;
/// Time a client has to greet.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);
/// Time an acknowledgement may wait for a client that does not read.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time the last acknowledgements are waited for when a connection ends.
const LAST_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether a listening source acknowledges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledge {
    /// Not: a client just sends lines.
    Nothing,
    /// Clients greet, and are told which lines are durable.
    Lines,
}

/// A client that has greeted.
pub(crate) struct Greeted {
    /// The origin of its lines: `@` and its name.
    pub(super) origin: Arc<str>,
    pub(super) session: u64,
    /// Lines it has on stable storage.
    pub(super) lines: u64,
    /// What it sent behind its greeting.
    pub(super) rest: Vec<u8>,
}

/// Reads a client's greeting and answers it.
///
/// # Errors
/// `InvalidData` when it does not greet as it must; what the connection breaks with.
pub(super) async fn greet(stream: &mut impl ByteStream, outlet: &Outlet) -> io::Result<Greeted> {
    let (name, rest) = timeout(GREETING_TIMEOUT, read_greeting(stream)).await??;
    let gone = |_| io::Error::from(io::ErrorKind::ConnectionAborted);
    let (lines, session) = outlet.hello(name.as_str().into()).await.map_err(gone)?;
    Acknowledgements::write(stream, lines).await?;
    Ok(Greeted { origin: format!("@{name}").into(), session, lines, rest })
}

async fn read_greeting(stream: &mut impl ByteStream) -> io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::with_capacity(GREETING_BYTES_MAX);
    loop {
        if let Some(end) = memchr::memchr(b'\n', &bytes) {
            let name = client_name(&bytes[..end]).ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, "expected `HELLO <client-id>` on the first line")
            })?;
            return Ok((name, bytes.split_off(end + 1)));
        }
        if bytes.len() > GREETING_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the greeting is too long"));
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn client_name(line: &[u8]) -> Option<String> {
    let name = line.strip_suffix(b"\r").unwrap_or(line).strip_prefix(b"HELLO ")?;
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let is_name = !name.is_empty() && name.len() <= CLIENT_NAME_BYTES_MAX && name.iter().all(allowed);
    is_name.then(|| String::from_utf8_lossy(name).into_owned())
}

/// Which lines of a client wait for which batch.
pub(super) struct Acknowledgements {
    durable: watch::Receiver<Offset>,
    /// Batch, and the client's last line in it. One for each batch in flight.
    waiting: VecDeque<(Offset, u64)>,
    pub(super) session: u64,
}

impl Acknowledgements {
    pub(super) fn new(outlet: &Outlet, session: u64) -> Self {
        Self { durable: outlet.durable(), waiting: VecDeque::new(), session }
    }

    /// Lines up to `line` are in the batch `offset`.
    pub(super) fn sealed(&mut self, offset: Offset, line: u64) {
        self.waiting.push_back((offset, line));
    }

    /// The last line that is durable and was not acknowledged, once there is one.
    pub(super) async fn next(&mut self) -> u64 {
        loop {
            let durable = *self.durable.borrow_and_update();
            let mut last = None;
            while let Some((_, line)) = self.waiting.pop_front_if(|(offset, _)| *offset <= durable) {
                last = Some(line);
            }
            if let Some(line) = last {
                return line;
            }
            if self.durable.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Tells the client.
    ///
    /// # Errors
    /// What the connection breaks with; `TimedOut` when the client does not read.
    pub(super) async fn write(stream: &mut impl ByteStream, line: u64) -> io::Result<()> {
        let told = async {
            stream.write_all(format!("DURABLE {line}\n").as_bytes()).await?;
            stream.flush().await
        };
        timeout(WRITE_TIMEOUT, told).await?
    }

    /// Waits for the last lines to be durable and tells the client, if it still listens.
    pub(super) async fn finish(&mut self, stream: &mut impl ByteStream) {
        while !self.waiting.is_empty() {
            match timeout(LAST_TIMEOUT, self.next()).await {
                Ok(line) if Self::write(stream, line).await.is_ok() => {}
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_names_a_client() {
        assert_eq!(client_name(b"HELLO boiler-7").as_deref(), Some("boiler-7"));
        assert_eq!(client_name(b"HELLO a\r").as_deref(), Some("a"));
        let too_long = format!("HELLO {}", "x".repeat(65));
        for line in
            [&b"HELLO "[..], b"HELLO", b"hello a", b"HELLO a b", b"1 2", b"HELLO @a", too_long.as_bytes()]
        {
            assert_eq!(client_name(line), None, "{line:?}");
        }
    }
}
