//! Settings of the datagram sources.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::source::connection::LINE_BYTES_MAX_DEFAULT;
use crate::source::unix::MODE_DEFAULT;

/// A source that receives lines in UDP datagrams.
#[derive(Debug, Clone)]
pub struct UdpReceive {
    pub(crate) address: SocketAddr,
    pub(crate) datagram_bytes_max: usize,
    pub(crate) receive_buffer_bytes: Option<usize>,
}

impl UdpReceive {
    /// Receives at `address`; datagrams of at most 64 KiB, a receive buffer of 1 MiB as far as the kernel allows.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, datagram_bytes_max: LINE_BYTES_MAX_DEFAULT, receive_buffer_bytes: None }
    }

    /// Sets the longest datagram, in bytes.
    #[must_use]
    pub fn datagram_bytes_max(mut self, bytes: usize) -> Self {
        self.datagram_bytes_max = bytes;
        self
    }

    /// Sets how much the kernel holds for a job that is slower than its senders; it allows up to `net.core.rmem_max`.
    #[must_use]
    pub fn receive_buffer_bytes(mut self, bytes: usize) -> Self {
        self.receive_buffer_bytes = Some(bytes);
        self
    }
}

/// A source that receives lines in datagrams at a Unix socket.
#[derive(Debug, Clone)]
pub struct UnixReceive {
    pub(crate) path: PathBuf,
    pub(crate) mode: u32,
    pub(crate) datagram_bytes_max: usize,
}

impl UnixReceive {
    /// Receives at `path`, which its user and group may send to; datagrams of at most 64 KiB.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), mode: MODE_DEFAULT, datagram_bytes_max: LINE_BYTES_MAX_DEFAULT }
    }

    /// Sets the mode of the socket file, such as `0o660`: who may write to it may send.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Sets the longest datagram, in bytes.
    #[must_use]
    pub fn datagram_bytes_max(mut self, bytes: usize) -> Self {
        self.datagram_bytes_max = bytes;
        self
    }
}
