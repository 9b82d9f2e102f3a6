//! Settings of the TCP sources.

use std::net::SocketAddr;
use std::time::Duration;

use super::tls::TlsListen;
use crate::source::connection::{
    Acknowledge, CONNECTIONS_MAX_DEFAULT, IDLE_TIMEOUT_DEFAULT, LINE_BYTES_MAX_DEFAULT,
};

/// How long a connecting source tries to reach its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Never gives up.
    Forever,
    /// Gives up after being without a connection for this long: the input ends.
    For(Duration),
}

/// A source that connects to a server and reads lines, like Flink's `socketTextStream`.
#[derive(Debug, Clone)]
pub struct TcpConnect {
    pub(crate) address: String,
    pub(crate) retry: Retry,
    pub(crate) line_bytes_max: usize,
    pub(crate) idle_timeout: Option<Duration>,
}

impl TcpConnect {
    /// Connects to `address` (`HOST:PORT`), and again whenever the connection ends, for ever; lines of at most 64 KiB;
    /// no idle timeout.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            retry: Retry::Forever,
            line_bytes_max: LINE_BYTES_MAX_DEFAULT,
            idle_timeout: None,
        }
    }

    /// Sets how long to try.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Sets the longest line, in bytes without its end.
    #[must_use]
    pub fn line_bytes_max(mut self, bytes: usize) -> Self {
        self.line_bytes_max = bytes;
        self
    }

    /// Reconnects after this long without a byte.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = Some(timeout);
        self
    }
}

/// A source that listens for clients that send lines.
#[derive(Debug, Clone)]
pub struct TcpListen {
    pub(crate) address: SocketAddr,
    pub(crate) line_bytes_max: usize,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) connections_max: usize,
    pub(crate) acknowledge: Acknowledge,
    pub(crate) tls: Option<TlsListen>,
}

impl TcpListen {
    /// Listens on `address`; lines of at most 64 KiB, 60 s idle timeout, 256 connections.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            line_bytes_max: LINE_BYTES_MAX_DEFAULT,
            idle_timeout: Some(IDLE_TIMEOUT_DEFAULT),
            connections_max: CONNECTIONS_MAX_DEFAULT,
            acknowledge: Acknowledge::Nothing,
            tls: None,
        }
    }

    /// Listens on `port` of the loopback address: reachable from this machine only.
    pub fn loopback(port: u16) -> Self {
        Self::new(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    /// Sets the longest line, in bytes without its end.
    #[must_use]
    pub fn line_bytes_max(mut self, bytes: usize) -> Self {
        self.line_bytes_max = bytes;
        self
    }

    /// Sets the idle timeout; `None` for never.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// Sets whether clients greet and are told which of their lines are durable.
    #[must_use]
    pub fn acknowledge(mut self, acknowledge: Acknowledge) -> Self {
        self.acknowledge = acknowledge;
        self
    }

    /// Speaks TLS, and nothing else.
    #[must_use]
    pub fn tls(mut self, tls: TlsListen) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Sets how many clients may be connected at once; more are turned away.
    #[must_use]
    pub fn connections_max(mut self, connections: usize) -> Self {
        self.connections_max = connections.max(1);
        self
    }
}
