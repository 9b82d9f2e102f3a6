//! A service manager as a job sees it: a socket that takes messages.

use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tidegate::NotifySocket;

use super::wait::{LOOK_INTERVAL, WAIT_MAX, wait_until};

/// How often the reader looks whether it is still wanted.
const READ_TIMEOUT: Duration = Duration::from_millis(50);
/// What keeps the watchdog quiet.
const FEEDING: &str = "WATCHDOG=1";

/// Hears what a job tells.
pub(crate) struct ServiceManager {
    address: OsString,
    watchdog: Option<Duration>,
    told: Arc<Mutex<Vec<String>>>,
    is_done: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
    _directory: TempDir,
}

impl ServiceManager {
    /// One whose socket is a file.
    pub(crate) fn start(watchdog: Option<Duration>) -> Self {
        Self::start_at(watchdog, |path| (path.clone(), UnixDatagram::bind(path).unwrap()))
    }

    /// One whose socket has an abstract name.
    pub(crate) fn start_abstract(watchdog: Option<Duration>) -> Self {
        Self::start_at(watchdog, |path| {
            let name = path.into_string().unwrap();
            let address = SocketAddr::from_abstract_name(&name).unwrap();
            (format!("@{name}").into(), UnixDatagram::bind_addr(&address).unwrap())
        })
    }

    fn start_at(watchdog: Option<Duration>, bind: impl FnOnce(OsString) -> (OsString, UnixDatagram)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (address, socket) = bind(directory.path().join("notify").into_os_string());
        socket.set_read_timeout(Some(READ_TIMEOUT)).unwrap();
        let (told, is_done) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicBool>::default());
        let reader = std::thread::spawn({
            let (told, is_done) = (Arc::clone(&told), Arc::clone(&is_done));
            move || {
                let mut bytes = [0; 4096];
                while !is_done.load(Ordering::Relaxed) {
                    if let Ok(length) = socket.recv(&mut bytes) {
                        let message = String::from_utf8(bytes[..length].to_vec()).unwrap();
                        told.lock().unwrap().push(message);
                    }
                }
            }
        });
        Self { address, watchdog, told, is_done, reader: Some(reader), _directory: directory }
    }

    /// For a job within this process.
    pub(crate) fn socket(&self) -> NotifySocket {
        NotifySocket::new(&self.address, self.watchdog).unwrap()
    }

    /// For a program.
    pub(crate) fn environment(&self) -> Vec<(&'static str, OsString)> {
        let watchdog = self.watchdog.map(|watchdog| watchdog.as_micros().to_string().into());
        let watchdog = watchdog.map(|watchdog| ("WATCHDOG_USEC", watchdog));
        [("NOTIFY_SOCKET", self.address.clone())].into_iter().chain(watchdog).collect()
    }

    /// Every message so far.
    pub(crate) fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }

    /// Waits for a message that contains `text`, the first one or one behind `after`; returns its number.
    pub(crate) fn wait_for(&self, text: &str, after: Option<usize>) -> usize {
        let first = after.map_or(0, |after| after + 1);
        let mut found = None;
        wait_until(
            || {
                let told = self.told.lock().unwrap();
                found = told.iter().skip(first).position(|message| message.contains(text));
                found.is_some()
            },
            || format!("{text:?} was not told, but {:?}", self.told()),
        );
        first + found.expect("the wait ended with it")
    }

    /// Waits until the watchdog was fed so often more.
    pub(crate) fn wait_for_feedings(&self, count: usize) {
        assert!(self.hears_feedings(count), "the watchdog is not fed, but {:?}", self.told());
    }

    /// Whether the watchdog is fed so often more, as long as anything is waited for.
    pub(crate) fn hears_feedings(&self, count: usize) -> bool {
        let feedings = || self.told().iter().filter(|message| *message == FEEDING).count();
        let (wanted, started) = (feedings() + count, Instant::now());
        while feedings() < wanted {
            if started.elapsed() > WAIT_MAX {
                return false;
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        true
    }

    /// Asserts that the watchdog was not fed between two messages.
    #[track_caller]
    pub(crate) fn assert_starved(&self, from: usize, to: usize) {
        let told = self.told();
        let between = &told[from..to];
        assert!(!between.iter().any(|message| message.contains(FEEDING)), "{between:?}");
    }
}

impl Drop for ServiceManager {
    fn drop(&mut self) {
        self.is_done.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            reader.join().expect("messages are text");
        }
    }
}
