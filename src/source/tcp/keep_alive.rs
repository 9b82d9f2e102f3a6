//! Lets the kernel find out that a peer is gone, which TCP alone never does.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;

/// Time without traffic after which the kernel probes whether the peer still exists.
const KEEPALIVE_TIME: Duration = Duration::from_secs(30);
/// Time between probes, and how many may stay unanswered.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 3;

/// Sets the probes up; a kernel that refuses them is no error.
pub(super) fn watch_peer(stream: &TcpStream, origin: &str) {
    if let Err(error) = set_keep_alive(stream) {
        tracing::debug!(origin, %error, "cannot set TCP options");
    }
}

fn set_keep_alive(stream: &TcpStream) -> io::Result<()> {
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(KEEPALIVE_TIME)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_PROBES);
    socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive)
}
