//! A link to a server, with what links do: it is cut after so many bytes, swallows everything, or is slow.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::descriptors::close;

/// Most bytes that are passed on at once.
const PIECE_BYTES: usize = 4096;
/// Time between two looks at whether the link still is as it was.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// A proxy in front of a server; its connections end when it is dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    link: Arc<Link>,
    accepting: Option<JoinHandle<()>>,
}

struct Link {
    server: SocketAddr,
    is_over: AtomicBool,
    is_black_hole: AtomicBool,
    /// Bytes a second, both ways together; 0: no limit.
    rate: AtomicU64,
    /// When the next piece may pass.
    free_at: Mutex<Instant>,
    /// Bytes until the link is cut.
    until_cut: AtomicI64,
    /// Connections of a number below this one are cut.
    cut_below: AtomicU64,
    next: AtomicU64,
    bytes: AtomicU64,
}

impl Proxy {
    /// A link to `server` that does nothing to what passes.
    pub(crate) fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((server.ip(), 0)).expect("there is a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        listener.set_nonblocking(true).expect("a socket can be polled");
        let link = Arc::new(Link {
            server,
            is_over: AtomicBool::new(false),
            is_black_hole: AtomicBool::new(false),
            rate: AtomicU64::new(0),
            free_at: Mutex::new(Instant::now()),
            until_cut: AtomicI64::new(i64::MAX),
            cut_below: AtomicU64::new(0),
            next: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        });
        let ours = Arc::clone(&link);
        let accepting = std::thread::spawn(move || ours.accept(listener));
        Self { address, link, accepting: Some(accepting) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts all connections once `bytes` more bytes have passed, in the middle of what is sent.
    pub(crate) fn cut_after(&self, bytes: u64) {
        self.link.until_cut.store(i64::try_from(bytes).expect("below 2^63"), Ordering::SeqCst);
    }

    /// True when the cut that was asked for has been made.
    pub(crate) fn has_cut(&self) -> bool {
        self.link.until_cut.load(Ordering::SeqCst) == i64::MAX
    }

    /// From now on nothing passes, and nobody is told; or everything does again.
    pub(crate) fn set_black_hole(&self, is_black_hole: bool) {
        self.link.is_black_hole.store(is_black_hole, Ordering::SeqCst);
    }

    /// So many bytes a second pass, both ways together; `None`: all.
    pub(crate) fn limit(&self, bytes_per_second: Option<u64>) {
        self.link.rate.store(bytes_per_second.unwrap_or(0), Ordering::SeqCst);
    }

    /// Bytes that have passed, both ways together.
    pub(crate) fn bytes(&self) -> u64 {
        self.link.bytes.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.link.is_over.store(true, Ordering::SeqCst);
        if let Some(accepting) = self.accepting.take() {
            drop(accepting.join());
        }
    }
}

impl Link {
    fn accept(self: Arc<Self>, listener: TcpListener) {
        while !self.is_over.load(Ordering::SeqCst) {
            match listener.accept() {
                Ok((client, _)) => self.connect(client),
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(LOOK_INTERVAL),
                Err(error) => panic!("cannot accept: {error}"),
            }
        }
        close(listener);
    }

    fn connect(self: &Arc<Self>, client: TcpStream) {
        // Where the server is down the client sees its connection closed.
        let Ok(server) = TcpStream::connect_timeout(&self.server, Duration::from_secs(5)) else {
            return reset(&client);
        };
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        for stream in [&client, &server] {
            let prepared = stream
                .set_nonblocking(false)
                .and_then(|()| stream.set_nodelay(true))
                .and_then(|()| stream.set_read_timeout(Some(LOOK_INTERVAL)));
            prepared.expect("a socket takes options");
        }
        for (from, to) in [(&client, &server), (&server, &client)] {
            let (from, to) = (
                from.try_clone().expect("a socket can be shared"),
                to.try_clone().expect("a socket can be shared"),
            );
            let link = Arc::clone(self);
            std::thread::spawn(move || link.pump(number, from, to));
        }
    }

    fn is_cut(&self, number: u64) -> bool {
        number < self.cut_below.load(Ordering::SeqCst) || self.is_over.load(Ordering::SeqCst)
    }

    /// Passes on what comes from one side, until it ends or is cut.
    fn pump(&self, number: u64, mut from: TcpStream, mut to: TcpStream) {
        let mut piece = [0; PIECE_BYTES];
        loop {
            if self.is_cut(number) {
                reset(&from);
                return reset(&to);
            }
            if self.is_black_hole.load(Ordering::SeqCst) {
                std::thread::sleep(LOOK_INTERVAL);
                continue;
            }
            let read = match from.read(&mut piece) {
                Ok(0) => return drop(to.shutdown(Shutdown::Write)),
                Ok(read) => read,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
                Err(_) => return reset(&to),
            };
            self.wait_for_turn(read);
            let passed = self.until_cut(read);
            self.bytes.fetch_add(passed as u64, Ordering::SeqCst);
            if to.write_all(&piece[..passed]).is_err() {
                return reset(&from);
            }
            if passed < read {
                // Everything that is open now, and nothing that comes later.
                self.cut_below.fetch_max(self.next.load(Ordering::SeqCst), Ordering::SeqCst);
                self.until_cut.store(i64::MAX, Ordering::SeqCst);
            }
        }
    }

    /// Of `bytes`, those that pass before the link is cut.
    fn until_cut(&self, bytes: usize) -> usize {
        let bytes = i64::try_from(bytes).expect("a piece is small");
        let mut passed = bytes;
        let count = |left: i64| {
            passed = bytes.min(left);
            (left < i64::MAX).then(|| left - passed)
        };
        // Where no cut was asked for there is nothing to count.
        self.until_cut.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count).ok();
        usize::try_from(passed).expect("not negative")
    }

    /// Waits until a piece of `bytes` bytes may pass a link of this rate.
    fn wait_for_turn(&self, bytes: usize) {
        let rate = self.rate.load(Ordering::SeqCst);
        if rate == 0 {
            return;
        }
        let time = Duration::from_secs_f64(bytes as f64 / rate as f64);
        let turn = {
            let mut free_at = self.free_at.lock().expect("nobody panics with it");
            *free_at = (*free_at).max(Instant::now()) + time;
            *free_at
        };
        std::thread::sleep(turn.saturating_duration_since(Instant::now()));
    }
}

/// Ends a connection as a cut one ends: what was sent and not received is lost.
fn reset(stream: &TcpStream) {
    // It may have ended already.
    drop(socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)));
    drop(stream.shutdown(Shutdown::Both));
}
