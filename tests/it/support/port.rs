//! Ports for servers that may be down for a while, or are started again.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below those the system gives out by itself: nobody gets one by chance while its server is down.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A port of the loopback address that nobody listens on, and that nobody else is given.
pub(super) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let count = PORTS.end - PORTS.start;
    // Test processes that run at the same time begin at different ports.
    let begin = u16::try_from(std::process::id() % u32::from(count)).expect("below the count");
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(step < count, "no port is free");
        // Spreads neighbouring processes.
        let port = PORTS.start
            + u16::try_from((u32::from(begin) * 97 + u32::from(step)) % u32::from(count))
                .expect("below the count");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
