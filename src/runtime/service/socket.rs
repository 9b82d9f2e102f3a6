//! The service manager's socket: one datagram a message, of lines `NAME=value`.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Longest status, in bytes; the rest is left out.
const STATUS_BYTES_MAX: usize = 512;

/// Where a service manager hears how a job does. Clones are of the same socket. Telling never blocks and never fails: a
/// message that does not get through is left out, with a warning.
#[derive(Debug, Clone)]
pub struct NotifySocket {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    socket: UnixDatagram,
    address: SocketAddr,
    watchdog: Option<Duration>,
    /// The last message did not get through.
    is_deaf: AtomicBool,
}

/// What a service manager puts into the environment of a process it starts.
#[derive(Debug, Default)]
struct Given {
    socket: Option<OsString>,
    watchdog_usec: Option<OsString>,
    watchdog_pid: Option<OsString>,
}

impl NotifySocket {
    /// The socket at `address`, a path or, behind `@`, an abstract name. With `watchdog` the service manager ends the
    /// process when it has heard for so long of no life.
    ///
    /// # Errors
    /// `InvalidInput` for another kind of address; the operating system's.
    pub fn new(address: &OsStr, watchdog: Option<Duration>) -> io::Result<Self> {
        let address = match address.as_bytes() {
            [b'@', name @ ..] if !name.is_empty() => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(address)?,
            _ => {
                let message = "the address is neither a path from the root nor, behind @, an abstract name";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        let is_deaf = AtomicBool::new(false);
        Ok(Self { shared: Arc::new(Shared { socket, address, watchdog, is_deaf }) })
    }

    /// The one that `$NOTIFY_SOCKET`, `$WATCHDOG_USEC` and `$WATCHDOG_PID` name; `None` without the first. One that cannot
    /// be used is said and left out.
    pub fn from_environment() -> Option<Self> {
        let given = Given {
            socket: std::env::var_os("NOTIFY_SOCKET"),
            watchdog_usec: std::env::var_os("WATCHDOG_USEC"),
            watchdog_pid: std::env::var_os("WATCHDOG_PID"),
        };
        let address = given.socket.as_ref().filter(|address| !address.is_empty())?;
        match Self::new(address, given.watchdog(std::process::id())) {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!(
                    ?address, %error, "NOTIFY_SOCKET cannot be used: the service manager is not told how the job does"
                );
                None
            }
        }
    }

    /// After how long without life the service manager ends the process.
    pub(crate) fn watchdog(&self) -> Option<Duration> {
        self.shared.watchdog
    }

    /// Says what the job does, for people.
    pub(crate) fn status(&self, text: &str) {
        self.tell(&status_line(text));
    }

    /// The job runs.
    pub(crate) fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\n{}", status_line(status)));
    }

    /// The job takes nothing in any more.
    pub(crate) fn stopping(&self, status: &str) {
        self.tell(&format!("STOPPING=1\n{}", status_line(status)));
    }

    /// The job lives. False when that did not get through.
    pub(crate) fn feed(&self) -> bool {
        self.tell("WATCHDOG=1")
    }

    fn tell(&self, message: &str) -> bool {
        let Shared { socket, address, is_deaf, .. } = &*self.shared;
        let outcome = socket.send_to_addr(message.as_bytes(), address);
        let was_deaf = is_deaf.swap(outcome.is_err(), Ordering::Relaxed);
        match outcome {
            Ok(_) => true,
            Err(error) => {
                if !was_deaf {
                    tracing::warn!(?address, %error, "the service manager cannot be told how the job does");
                }
                false
            }
        }
    }
}

/// One line, not too long, whatever the text.
fn status_line(text: &str) -> String {
    let end = text.floor_char_boundary(STATUS_BYTES_MAX);
    let line: String = text[..end].chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("STATUS={line}")
}

impl Given {
    /// The watchdog's time, if it is meant for the process `own`.
    fn watchdog(&self, own: u32) -> Option<Duration> {
        let number = |text: &OsString| text.to_str()?.parse::<u64>().ok();
        let is_meant = self.watchdog_pid.as_ref().is_none_or(|pid| number(pid) == Some(u64::from(own)));
        let usec = self.watchdog_usec.as_ref().and_then(number).filter(|usec| *usec > 0 && is_meant)?;
        Some(Duration::from_micros(usec))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(usec: Option<&str>, pid: Option<&str>) -> Given {
        Given { socket: None, watchdog_usec: usec.map(Into::into), watchdog_pid: pid.map(Into::into) }
    }

    #[test]
    fn the_watchdog_is_for_the_process_it_names() {
        let half = Some(Duration::from_millis(500));
        for (usec, pid, watchdog) in [
            (None, None, None),
            (Some("500000"), None, half),
            (Some("500000"), Some("7"), half),
            (Some("500000"), Some("8"), None),
            (Some("500000"), Some("x"), None),
            (Some("0"), None, None),
            (Some("-1"), None, None),
            (Some("half a second"), None, None),
        ] {
            assert_eq!(given(usec, pid).watchdog(7), watchdog, "{usec:?} {pid:?}");
        }
    }

    #[test]
    fn an_address_is_a_path_or_an_abstract_name() {
        for address in ["", "@", "relative", "vsock:2:1234"] {
            let error = NotifySocket::new(OsStr::new(address), None).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{address}");
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let name = format!("@{}", path.display());
        let by_path = UnixDatagram::bind(&path).unwrap();
        let by_name = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name[1..]).unwrap()).unwrap();
        for (address, manager) in [(path.as_os_str(), by_path), (OsStr::new(&name), by_name)] {
            let socket = NotifySocket::new(address, None).unwrap();
            socket.ready("running\n\tall is well");
            assert!(socket.feed());
            let mut bytes = [0; 1024];
            let length = manager.recv(&mut bytes).unwrap();
            assert_eq!(&bytes[..length], b"READY=1\nSTATUS=running  all is well");
            let length = manager.recv(&mut bytes).unwrap();
            assert_eq!(&bytes[..length], b"WATCHDOG=1");
            drop(manager);
            assert!(!socket.feed(), "nobody listens");
        }
    }

    #[test]
    fn a_status_is_one_short_line() {
        assert_eq!(status_line(&"ü".repeat(1000)), format!("STATUS={}", "ü".repeat(STATUS_BYTES_MAX / 2)));
        assert_eq!(status_line("x\nREADY=1"), "STATUS=x READY=1");
    }
}
