//! The connecting source: a client of a server that sends lines.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::config::{Retry, TcpConnect};
use super::keep_alive::watch_peer;
use crate::runtime::{ChunkLimits, JobError, Outlet};
use crate::source::connection::{ConnectionEnd, ConnectionLimits, read_lines};

/// First pause between two attempts; doubles with each.
const BACKOFF_INITIAL: Duration = Duration::from_millis(50);
/// Longest pause between two attempts.
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// Longest time one attempt may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads from the server until the job stops or the server stays away for longer than `retry` allows.
///
/// # Errors
/// [`JobError::Unreachable`] when no connection was ever made.
pub(crate) async fn run_tcp_connect(
    settings: TcpConnect,
    outlet: Outlet,
    chunk: ChunkLimits,
) -> Result<(), JobError> {
    let origin: Arc<str> = settings.address.as_str().into();
    let limits = ConnectionLimits {
        line_bytes_max: settings.line_bytes_max,
        idle_timeout: settings.idle_timeout,
        chunk,
    };
    let mut absence = Absence::new();
    let mut was_connected = false;
    loop {
        let attempt = tokio::select! {
            () = outlet.stop_token().cancelled() => return Ok(()),
            attempt = timeout(CONNECT_TIMEOUT, TcpStream::connect(&settings.address)) => attempt,
        };
        let attempt = attempt.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).and_then(refuse_self);
        match attempt {
            Ok(stream) => {
                tracing::info!(%origin, "connected");
                watch_peer(&stream, &origin);
                was_connected = true;
                absence.is_news = true;
                let (end, line_count) = read_lines(stream, Arc::clone(&origin), limits, &outlet, None).await;
                match end {
                    ConnectionEnd::Stopping => return Ok(()),
                    ConnectionEnd::Closed => tracing::info!(%origin, "the server closed the connection"),
                    ConnectionEnd::Broken(error) => tracing::warn!(%origin, %error, "the connection broke"),
                    end => tracing::warn!(%origin, reason = ?end, "connection closed by us"),
                }
                if absence.is_over(settings.retry) && line_count == 0 {
                    tracing::info!(%origin, waited = ?absence.lasted(), "the server sends nothing: the input ends");
                    return Ok(());
                }
                // A server that accepts and sends nothing is as good as absent.
                if line_count > 0 {
                    absence = Absence::new();
                }
                if settings.retry == Retry::For(Duration::ZERO) {
                    return Ok(());
                }
            }
            Err(error) if absence.is_over(settings.retry) => {
                if was_connected {
                    tracing::info!(%origin, waited = ?absence.lasted(), "the server did not come back: the input ends");
                    return Ok(());
                }
                let seconds = absence.lasted().as_secs();
                return Err(JobError::Unreachable { origin: settings.address, seconds, source: error });
            }
            Err(error) => absence.report(&origin, &error),
        }
        tokio::select! {
            () = outlet.stop_token().cancelled() => return Ok(()),
            () = sleep(absence.pause(settings.retry)) => {}
        }
    }
}

/// A loopback port nobody listens on can be given to the connecting end too: TCP then connects it to itself.
fn refuse_self(stream: TcpStream) -> io::Result<TcpStream> {
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

/// A time without a connection, or without one that brought anything.
struct Absence {
    since: Instant,
    attempts: u32,
    /// No failure was reported since the last connection.
    is_news: bool,
}

impl Absence {
    fn new() -> Self {
        Self { since: Instant::now(), attempts: 0, is_news: true }
    }

    fn lasted(&self) -> Duration {
        self.since.elapsed()
    }

    fn is_over(&self, retry: Retry) -> bool {
        match retry {
            Retry::Forever => false,
            Retry::For(limit) => self.lasted() >= limit,
        }
    }

    /// The first failure is news, the others are not.
    fn report(&mut self, origin: &str, error: &io::Error) {
        if std::mem::take(&mut self.is_news) {
            tracing::warn!(origin, %error, "cannot connect: trying again");
        } else {
            tracing::debug!(origin, %error, attempts = self.attempts, "cannot connect: trying again");
        }
    }

    /// The pause before the next attempt: exponential, less up to a quarter at random so that a fleet does not
    /// come back at one instant, and no longer than what is left to try.
    fn pause(&mut self, retry: Retry) -> Duration {
        let doubled = BACKOFF_INITIAL.saturating_mul(2u32.saturating_pow(self.attempts)).min(BACKOFF_MAX);
        self.attempts += 1;
        let pause = doubled - doubled.mul_f64(0.25 * random_share());
        match retry {
            Retry::Forever => pause,
            Retry::For(limit) => pause.min(limit.saturating_sub(self.lasted())),
        }
    }
}

/// A number in 0..1. Spreads clients in time, nothing more; no result depends on it.
fn random_share() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    let random = RandomState::new().hash_one(0u8);
    f64::from(u32::try_from(random >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}
