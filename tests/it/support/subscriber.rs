//! `mosquitto_sub` as an independent subscriber of what the program publishes.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::broker::Broker;
use super::descriptors::start_child;
use super::wait::{wait_until, wait_until_within};

/// Far above what a loaded machine needs.
const RECEIVE_MAX: Duration = Duration::from_secs(300);

/// A message as it came: id of the output, topic, payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Received {
    /// Job, incarnation, offset and index.
    pub(crate) id: (String, String, u64, u32),
    pub(crate) topic: String,
    pub(crate) payload: String,
    /// When it came.
    pub(crate) at: Instant,
}

/// What `mosquitto_sub` wrote.
#[derive(Default)]
struct Written {
    lines: Mutex<Vec<(Instant, String)>>,
    /// A probe has come.
    hears: AtomicBool,
}

/// A subscriber; ends with this value.
pub(crate) struct Subscriber {
    child: Child,
    written: Arc<Written>,
}

impl Subscriber {
    /// Subscribes to everything.
    pub(crate) fn start(broker: &Broker) -> Self {
        Self::start_for(broker, "#")
    }

    /// Subscribes with QoS 1: over a connection that never breaks nothing comes twice on this last way. (With QoS 2 the
    /// `mosquitto_sub` of 2.0.11 ends with a protocol error.) Returns once messages come through.
    pub(crate) fn start_for(broker: &Broker, filter: &str) -> Self {
        let mut command = Command::new("mosquitto_sub");
        command.args(["-V", "mqttv5", "-q", "1", "-F", "%P|%t|%p", "-t", "probe", "-t", filter]);
        command.args(broker.client());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = start_child(&mut command).expect("mosquitto_sub comes with mosquitto-clients");
        let written = Arc::new(Written::default());
        let (stdout, ours) = (child.stdout.take().unwrap(), Arc::clone(&written));
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if line.ends_with("|probe|probe") {
                    ours.hears.store(true, Ordering::SeqCst);
                } else {
                    ours.lines.lock().unwrap().push((Instant::now(), line));
                }
            }
        });
        let subscriber = Self { child, written };
        wait_until(
            || {
                broker.probe();
                subscriber.written.hears.load(Ordering::SeqCst)
            },
            || "the subscriber hears nothing".to_owned(),
        );
        subscriber
    }

    /// Outputs that came so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.written.lines.lock().unwrap().iter().map(|(at, line)| read(*at, line)).collect()
    }

    /// Topic and payload of all messages that came so far, also those without an id.
    pub(crate) fn messages(&self) -> Vec<(String, String)> {
        let lines = self.written.lines.lock().unwrap();
        let message = |line: &String| {
            let mut parts = line.splitn(3, '|').skip(1).map(str::to_owned);
            (parts.next().unwrap(), parts.next().unwrap())
        };
        lines.iter().map(|(_, line)| message(line)).collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.written.lines.lock().unwrap().len()
    }

    /// Waits, for long, until so many messages came.
    pub(crate) fn wait_for_count(&self, count: usize) {
        let describe = || format!("{} of {count} messages came", self.count());
        wait_until_within(RECEIVE_MAX, || self.count() >= count, describe);
    }

    /// Waits, for long, until what came fulfils `condition`.
    pub(crate) fn wait_for(&self, what: &str, condition: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        let mut seen = usize::MAX;
        wait_until_within(
            RECEIVE_MAX,
            || {
                let count = self.count();
                let has_grown = std::mem::replace(&mut seen, count) != count;
                has_grown && condition(&self.received())
            },
            || format!("{what} did not come: {} messages did", self.count()),
        );
        self.received()
    }
}

fn read(at: Instant, line: &str) -> Received {
    let (properties, rest) = line.split_once('|').unwrap();
    let (topic, payload) = rest.split_once('|').unwrap();
    let id = properties.split(' ').find_map(|property| property.strip_prefix("tidegate-output-id:"));
    let id = id.unwrap_or_else(|| panic!("no id in {line:?}"));
    let parts: Vec<&str> = id.split('/').collect();
    let [job, incarnation, offset, index] = parts[..] else { panic!("the id {id:?}") };
    Received {
        id: (job.to_owned(), incarnation.to_owned(), offset.parse().unwrap(), index.parse().unwrap()),
        topic: topic.to_owned(),
        payload: payload.to_owned(),
        at,
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
