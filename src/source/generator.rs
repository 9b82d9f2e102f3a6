//! Simulated sensors behind a real loopback socket, for demonstrations.
//!
//! A thread listens on a free port of the loopback address and sends `key value` lines, the keys 1 to `sensors`
//! in turn, the values of each key rising and falling between 180 and 260. One client at a time; the sequence goes
//! on where the last client left it.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// Time between two writes.
const TICK: Duration = Duration::from_millis(50);

/// Readings in one write.
const READINGS_PER_WRITE_MAX: u64 = 16_384;

/// What to send.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Generator {
    pub(crate) sensors: u32,
    pub(crate) readings_per_second: u32,
    /// Readings after which the connection is closed; `None`: never.
    pub(crate) readings_max: Option<u64>,
}

impl Generator {
    /// Starts the sensors; returns where they can be reached. The thread lives as long as the process.
    ///
    /// # Errors
    /// The operating system's when there is no free port or thread.
    pub(crate) fn start(self) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        std::thread::Builder::new().name("sensors".to_owned()).spawn(move || self.serve(&listener))?;
        Ok(address)
    }

    fn serve(self, listener: &TcpListener) {
        let mut sent = 0;
        for client in listener.incoming() {
            let served = client.and_then(|client| self.send(client, &mut sent));
            match served {
                Ok(()) => return,
                Err(error) => tracing::debug!(%error, "the sensors' client went away"),
            }
        }
    }

    /// Sends to one client until everything is sent.
    fn send(self, mut client: TcpStream, sent: &mut u64) -> io::Result<()> {
        client.set_nodelay(true)?;
        let start = Instant::now();
        let first = *sent;
        let mut lines = Vec::new();
        loop {
            let due = first + due_after(start.elapsed(), self.readings_per_second);
            let due = self.readings_max.map_or(due, |max| due.min(max));
            lines.clear();
            // What a slow reader holds back is caught up in writes of bounded size.
            let until = due.min(*sent + READINGS_PER_WRITE_MAX);
            while *sent < until {
                let (key, value) = self.reading(*sent);
                writeln!(lines, "{key} {value}")?;
                *sent += 1;
            }
            client.write_all(&lines)?;
            if self.readings_max.is_some_and(|max| *sent >= max) {
                return Ok(());
            }
            if *sent >= due {
                std::thread::sleep(TICK);
            }
        }
    }

    /// Reading number `index`.
    fn reading(self, index: u64) -> (u64, u64) {
        let sensors = u64::from(self.sensors);
        let (round, sensor) = (index / sensors, index % sensors);
        // A triangle wave, each sensor at its own phase.
        let phase = (round * 3 + sensor * 31) % 160;
        (sensor + 1, 180 + phase.min(160 - phase))
    }
}

fn due_after(elapsed: Duration, per_second: u32) -> u64 {
    let due = elapsed.as_micros() * u128::from(per_second) / 1_000_000;
    u64::try_from(due).unwrap_or(u64::MAX)
}
