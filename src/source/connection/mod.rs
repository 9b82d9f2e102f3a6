//! Lines over a connection: what the stream sources, `tcp` and `unix`, share.
//!
//! - `reader`: one connection, cut into lines, one chunk ahead of the job.
//! - `acknowledge`: the handshake of clients that are told which of their lines are durable.
//! - `clients`: a bounded set of connections to a listening source.

mod acknowledge;
mod clients;
mod reader;

use std::future::Future;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

pub use acknowledge::Acknowledge;
pub(crate) use clients::{ACCEPT_PAUSE, BACKLOG, ClientLimits, Clients};
pub(crate) use reader::{ConnectionEnd, read_lines};

use crate::runtime::{ChunkLimits, JobError};

/// Longest line a source accepts unless told otherwise, in bytes without its end.
pub(crate) const LINE_BYTES_MAX_DEFAULT: usize = 64 * 1024;

/// Client connections a listening source holds at once unless told otherwise.
pub(crate) const CONNECTIONS_MAX_DEFAULT: usize = 256;

/// Time without a byte after which a listening source closes a connection, unless told otherwise.
pub(crate) const IDLE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);

/// Time a line may take from its first byte to its end.
const LINE_TIMEOUT: Duration = Duration::from_secs(30);

/// Most memory the unfinished lines of all a source's connections may take, in bytes.
const LINES_BYTES_MAX: usize = 64 << 20;

/// A connection's bytes, both ways.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Unpin {
    /// Ends the connection in order where its protocol has a word for that.
    fn say_goodbye(&mut self) -> impl Future<Output = ()> {
        std::future::ready(())
    }
}

impl ByteStream for TcpStream {}
impl ByteStream for UnixStream {}

/// Limits of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionLimits {
    pub(crate) line_bytes_max: usize,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) chunk: ChunkLimits,
}

/// Refuses limits that together allow more memory than a gateway has to spare.
///
/// # Errors
/// [`JobError::Configuration`] with the numbers.
pub(crate) fn check_memory(line_bytes_max: usize, connections_max: usize) -> Result<(), JobError> {
    match line_bytes_max.checked_mul(connections_max) {
        Some(1..=LINES_BYTES_MAX) => Ok(()),
        _ => Err(JobError::Configuration(format!(
            "{connections_max} connections with lines of up to {line_bytes_max} bytes may take more than 64 MiB; \
             allow shorter lines or fewer connections"
        ))),
    }
}
