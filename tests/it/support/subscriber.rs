//! `mosquitto_sub` as an independent subscriber of what the program publishes.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use super::broker::Broker;
use super::descriptors::start_child;
use super::wait::{wait_until, wait_until_within};

/// A message as it came: id of the output, topic, payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Received {
    /// Job, incarnation, offset and index.
    pub(crate) id: (String, String, u64, u32),
    pub(crate) topic: String,
    pub(crate) payload: String,
}

/// A subscriber to everything; ends with this value.
pub(crate) struct Subscriber {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Subscriber {
    /// Subscribes with QoS 1: over a connection that never breaks nothing comes twice on this last way. (With QoS 2 the
    /// `mosquitto_sub` of 2.0.11 ends with a protocol error.) Returns once messages come through.
    pub(crate) fn start(broker: &Broker) -> Self {
        let mut command = Command::new("mosquitto_sub");
        let port = broker.address().port().to_string();
        command.args([
            "-V",
            "mqttv5",
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-t",
            "#",
            "-q",
            "1",
            "-F",
            "%P|%t|%p",
        ]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = start_child(&mut command).expect("mosquitto_sub comes with mosquitto-clients");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (stdout, ours) = (child.stdout.take().unwrap(), Arc::clone(&lines));
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                ours.lock().unwrap().push(line);
            }
        });
        let subscriber = Self { child, lines };
        wait_until(
            || {
                broker.publish("probe", 0, "probe\n");
                !subscriber.lines.lock().unwrap().is_empty()
            },
            || "the subscriber hears nothing".to_owned(),
        );
        subscriber
    }

    /// Outputs that came so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.lines
            .lock()
            .unwrap()
            .iter()
            .filter(|line| !line.ends_with("|probe|probe"))
            .map(|line| read(line))
            .collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.lines.lock().unwrap().iter().filter(|line| !line.ends_with("|probe|probe")).count()
    }

    /// Waits, for long, until what came fulfils `condition`.
    pub(crate) fn wait_for(&self, what: &str, condition: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        let mut seen = usize::MAX;
        wait_until_within(
            std::time::Duration::from_secs(180),
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

fn read(line: &str) -> Received {
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
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
