//! A TCP connection through a proxy that can be cut and made a black hole.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Time a black hole waits before it looks again.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// A proxy on a free port of the loopback address.
pub(crate) struct Link {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Both ends of each connection.
    streams: Mutex<Vec<TcpStream>>,
    swallows: AtomicBool,
    has_ended: AtomicBool,
}

impl Link {
    /// Starts a proxy to `target`.
    pub(crate) fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if shared.has_ended.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(target)) else { continue };
                let mut streams = shared.streams.lock().unwrap();
                for (from, to) in [(&client, &server), (&server, &client)] {
                    streams.push(from.try_clone().unwrap());
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let state = Arc::clone(&shared);
                    std::thread::spawn(move || pump(from, to, &state));
                }
            }
        });
        Self { address, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("mqtt://{}", self.address)
    }

    /// Breaks every connection there is; returns how many ends that were.
    pub(crate) fn cut(&self) -> usize {
        let streams = std::mem::take(&mut *self.state.streams.lock().unwrap());
        for stream in &streams {
            // One end may have closed it before.
            drop(stream.shutdown(Shutdown::Both));
        }
        streams.len()
    }

    /// From now on connections stay open and nothing passes, or everything again.
    pub(crate) fn swallow(&self, swallows: bool) {
        self.state.swallows.store(swallows, Ordering::SeqCst);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.state.has_ended.store(true, Ordering::SeqCst);
        self.cut();
        drop(TcpStream::connect(self.address));
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, state: &State) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        while state.swallows.load(Ordering::SeqCst) && !state.has_ended.load(Ordering::SeqCst) {
            std::thread::sleep(LOOK_INTERVAL);
        }
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    for stream in [from, to] {
        drop(stream.shutdown(Shutdown::Both));
    }
}
