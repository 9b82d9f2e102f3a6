//! Source and sink at brokers that share nothing with Mosquitto: over a kill and a link that is cut each reading counts once,
//! in order, and each result reaches an independent subscriber. Where a broker of QoS 1 or 2 sends a message again as if it
//! were new, the number in the payload tells.

use std::path::Path;
use std::time::Duration;

use crate::support::{
    Averages, Broker, Demo, Link, OtherBroker, Random, Running, Subscriber, Version, wait_until_within,
};
use OtherBroker::{Aedes, Amqtt, Rumqttd};
use Version::{V5, V311};

const KEYS: usize = 10;
/// Readings published before each fault, and behind the last.
const PART: usize = 200;
/// Far above what a loaded machine needs.
const DRAIN_MAX: Duration = Duration::from_secs(60);

/// What is asked of a broker.
#[derive(Clone, Copy)]
struct Scenario {
    broker: OtherBroker,
    version: Version,
    qos: u8,
    publish_qos: u8,
    /// The program is stopped in order and started again, not killed and cut off.
    is_orderly: bool,
    /// Messages are published while the program is away.
    keeps_messages: bool,
    /// Faults come in the middle of what was published.
    is_hasty: bool,
    /// A subscriber gets each result once.
    is_exact: bool,
}

impl Scenario {
    fn new(broker: OtherBroker, version: Version, qos: u8) -> Self {
        let keeps_messages = qos > 0 && broker != Amqtt;
        let is_hasty = qos > 0 && broker == Rumqttd;
        Self {
            broker,
            version,
            qos,
            publish_qos: qos,
            is_orderly: false,
            keeps_messages,
            is_hasty,
            is_exact: false,
        }
    }

    fn start(&self, link: &Link, directory: &Path) -> Running {
        let (qos, publish_qos) = (self.qos.to_string(), self.publish_qos.to_string());
        let demo = Demo::new().journaled("always").args(["--mqtt", &link.url(), "--topic", "sensors/#"]);
        let demo = demo.args(["--mqtt-version", self.version.name(), "--qos", &qos, "--interval", "100ms"]);
        let demo = demo.args(["--client-id", "gateway", "--backlog-rate", "1000000"]);
        let demo = if self.qos > 0 { demo.args(["--exactness", "sequence"]) } else { demo };
        let demo = demo.args(["--publish", &link.url(), "--publish-qos", &publish_qos]);
        let demo = demo.args(["--publish-version", self.version.name()]);
        demo.arg("--output").arg(directory.join("results")).checkpoint_dir(&directory.join("data")).start()
    }

    fn publish(&self, broker: &Broker, number: usize, part: &[(i64, i64)]) {
        let line = |(index, (key, value)): (usize, &(i64, i64))| match self.qos {
            0 => format!("{key} {value}\n"),
            _ => format!("{key} {value} {}\n", number * PART + index + 1),
        };
        // The subscription decides which QoS arrives; so the publisher knows that the broker has them.
        let lines: String = part.iter().enumerate().map(line).collect();
        broker.publish("sensors/0", self.qos.max(1), &lines);
    }

    fn works(self) {
        let Some(broker) = self.broker.start(self.version) else { return };
        let subscriber = Subscriber::start_for(&broker, "averages/#");
        let directory = tempfile::tempdir().unwrap();
        let results = || std::fs::read_to_string(directory.path().join("results")).unwrap_or_default();
        let mut random = Random::seeded();
        let readings: Vec<(i64, i64)> = (0..3 * PART).map(|_| random.reading(KEYS)).collect();
        let parts: Vec<&[(i64, i64)]> = readings.chunks(PART).collect();
        let settle = |parts: usize| {
            let expected = Averages::after(&readings[..parts * PART]).outputs;
            let is_settled = || results().len() >= expected.len() && has_all(&subscriber, &expected);
            let counts = || (results().lines().count(), subscriber.count(), expected.lines().count());
            wait_until_within(DRAIN_MAX, is_settled, || {
                format!("results, at the subscriber, expected: {:?}", counts())
            });
        };
        let link = Link::to(broker.address());

        let mut running = self.start(&link, directory.path());
        running.wait_for_log("connected: ");
        self.publish(&broker, 0, parts[0]);
        if !self.is_hasty {
            settle(1);
        }
        if self.is_orderly {
            running.stop().in_order();
        } else {
            running.kill();
        }
        if self.keeps_messages {
            self.publish(&broker, 1, parts[1]);
        }
        running = self.start(&link, directory.path());
        running.wait_for_log("connected: ");
        if !self.keeps_messages {
            self.publish(&broker, 1, parts[1]);
        }
        if !self.is_hasty {
            settle(2);
        }
        if !self.is_orderly {
            link.cut();
            running.wait_for_logs("connected: ", 2);
        }
        self.publish(&broker, 2, parts[2]);
        settle(3);
        let ended = running.stop().in_order();
        let expected = Averages::after(&readings).outputs;
        assert_eq!(results(), expected, "{}", ended.stderr);
        let count = subscriber.count();
        assert!(!self.is_exact || count == expected.lines().count(), "{count} messages came");
    }
}

/// Whether each of these results has come, as often as it is among them.
fn has_all(subscriber: &Subscriber, expected: &str) -> bool {
    let mut expected: Vec<&str> = expected.lines().collect();
    if subscriber.count() < expected.len() {
        return false;
    }
    let mut came: Vec<String> = subscriber.messages().into_iter().map(|(_, payload)| payload).collect();
    expected.sort_unstable();
    came.sort_unstable();
    let mut came = came.iter();
    expected.iter().all(|expected| came.any(|came| came == expected))
}

#[test]
fn rumqttd_with_version_5_and_qos_0() {
    Scenario::new(Rumqttd, V5, 0).works();
}

#[test]
fn rumqttd_with_version_5_and_qos_1() {
    Scenario::new(Rumqttd, V5, 1).works();
}

/// Results go by QoS 1 here: see [`results_of_qos_2`].
#[test]
fn rumqttd_with_version_5_and_qos_2() {
    Scenario { publish_qos: 1, ..Scenario::new(Rumqttd, V5, 2) }.works();
}

#[test]
fn rumqttd_with_version_3_1_1_and_qos_0() {
    Scenario::new(Rumqttd, V311, 0).works();
}

#[test]
fn rumqttd_with_version_3_1_1_and_qos_1() {
    Scenario::new(Rumqttd, V311, 1).works();
}

#[test]
fn rumqttd_with_version_3_1_1_and_qos_2() {
    Scenario { publish_qos: 1, ..Scenario::new(Rumqttd, V311, 2) }.works();
}

#[test]
fn aedes_with_qos_0() {
    Scenario::new(Aedes, V311, 0).works();
}

#[test]
fn aedes_with_qos_1() {
    Scenario::new(Aedes, V311, 1).works();
}

#[test]
fn aedes_with_qos_2() {
    Scenario::new(Aedes, V311, 2).works();
}

#[test]
fn amqtt_with_qos_0() {
    Scenario::new(Amqtt, V311, 0).works();
}

#[test]
fn amqtt_with_qos_1() {
    Scenario::new(Amqtt, V311, 1).works();
}

#[test]
fn amqtt_with_qos_2() {
    Scenario { publish_qos: 1, ..Scenario::new(Amqtt, V311, 2) }.works();
}

/// rumqttd and amqtt do not answer a PUBREL that comes again. So none does here, and each result comes once.
fn results_of_qos_2(broker: OtherBroker, version: Version) {
    let scenario = Scenario::new(broker, version, 2);
    Scenario { is_orderly: true, is_hasty: false, is_exact: true, ..scenario }.works();
}

#[test]
fn rumqttd_with_version_5_and_results_of_qos_2() {
    results_of_qos_2(Rumqttd, V5);
}

#[test]
fn rumqttd_with_version_3_1_1_and_results_of_qos_2() {
    results_of_qos_2(Rumqttd, V311);
}

#[test]
fn amqtt_with_results_of_qos_2() {
    results_of_qos_2(Amqtt, V311);
}
