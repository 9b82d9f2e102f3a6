//! Source and sink against brokers that are neither Mosquitto nor related to it: what is published counts once over a restart
//! of the program, and the results reach a subscriber.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{
    Averages, BrokerKind, Demo, OtherBroker, Publisher, Random, Running, start_child, wait_until_within,
};

const KEYS: usize = 10;
const READINGS: usize = 1000;
/// Far above what a loaded machine needs.
const DRAIN_MAX: Duration = Duration::from_secs(120);

/// What is spoken with the broker.
#[derive(Clone, Copy)]
struct Spoken {
    version: &'static str,
    qos: &'static str,
}

fn start(broker: &OtherBroker, Spoken { version, qos }: Spoken, directory: &Path) -> Running {
    let url = format!("mqtt://{}", broker.address(version));
    let demo = Demo::new().journaled("always").args(["--mqtt", &url, "--mqtt-version", version]);
    let demo =
        demo.args(["--topic", "sensors/#", "--qos", qos, "--client-id", "gateway", "--interval", "100ms"]);
    let demo = demo.args(["--publish", &url, "--publish-version", version, "--publish-qos", qos]);
    let demo = demo.args(["--backlog-rate", "100000"]);
    demo.arg("--output").arg(directory.join("results")).checkpoint_dir(&directory.join("data")).start()
}

/// `mosquitto_sub` at another broker.
struct Observer {
    child: Child,
    payloads: Arc<Mutex<Vec<String>>>,
}

impl Observer {
    fn start(broker: &OtherBroker, Spoken { version, .. }: Spoken) -> Self {
        let port = broker.address(version).port().to_string();
        let protocol = if version == "5" { "mqttv5" } else { "mqttv311" };
        let mut command = Command::new("mosquitto_sub");
        command.args(["-h", "127.0.0.1", "-p", &port, "-V", protocol, "-q", "1", "-t", "averages/#"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = start_child(&mut command).expect("mosquitto_sub comes with mosquitto-clients");
        let payloads = Arc::new(Mutex::new(Vec::new()));
        let (stdout, ours) = (child.stdout.take().unwrap(), Arc::clone(&payloads));
        std::thread::spawn(move || {
            for line in std::io::BufRead::lines(std::io::BufReader::new(stdout)).map_while(Result::ok) {
                ours.lock().unwrap().push(line);
            }
        });
        let observer = Self { child, payloads };
        let mut publisher = Publisher::connect(broker.address("3.1.1"), 1);
        let probe = [("averages/probe".to_owned(), "probe".to_owned())];
        wait_until_within(
            DRAIN_MAX,
            || {
                publisher.publish(&probe);
                !observer.payloads.lock().unwrap().is_empty()
            },
            || "the observer hears nothing".to_owned(),
        );
        observer
    }

    /// What came, sorted.
    fn payloads(&self) -> Vec<String> {
        let payloads = self.payloads.lock().unwrap();
        let mut payloads: Vec<String> =
            payloads.iter().filter(|payload| *payload != "probe").cloned().collect();
        payloads.sort_unstable();
        payloads
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn works(kind: BrokerKind, spoken: Spoken) {
    let Some(broker) = OtherBroker::start(kind) else { return };
    let observer = Observer::start(&broker, spoken);
    let directory = tempfile::tempdir().unwrap();
    let mut random = Random::seeded();
    let readings: Vec<(i64, i64)> = (0..READINGS).map(|_| random.reading(KEYS)).collect();
    let messages: Vec<(String, String)> =
        readings.iter().map(|(key, value)| (format!("sensors/{key}"), format!("{key} {value}"))).collect();
    let mut publisher = Publisher::connect(broker.address("3.1.1"), spoken.qos.parse().unwrap());
    let (first, rest) = messages.split_at(READINGS / 2);
    let running = start(&broker, spoken, directory.path());
    running.wait_for_log("connected: ");
    publisher.publish(first);
    running.stop().in_order();
    // What was not acknowledged waits at the broker.
    let running = start(&broker, spoken, directory.path());
    running.wait_for_log("connected: ");
    publisher.publish(rest);
    let results = || std::fs::read_to_string(directory.path().join("results")).unwrap_or_default();
    let expected = Averages::after(&readings).outputs;
    wait_until_within(
        DRAIN_MAX,
        || results().len() >= expected.len(),
        || format!("{} of {} results", results().lines().count(), expected.lines().count()),
    );
    let mut wanted: Vec<&str> = expected.lines().collect();
    wanted.sort_unstable();
    let is_whole = || {
        let came = observer.payloads();
        let mut came = came.iter().map(String::as_str);
        // Each as often as it should, at least.
        wanted.iter().all(|wanted| came.any(|came| came == *wanted))
    };
    wait_until_within(DRAIN_MAX, is_whole, || format!("{} outputs came", observer.payloads().len()));
    let ended = running.stop().in_order();
    assert_eq!(results(), expected, "{}", ended.stderr);
    assert!(spoken.qos != "2" || observer.payloads() == wanted, "each output once");
}

#[test]
fn amqtt_with_qos_1() {
    works(BrokerKind::Amqtt, Spoken { version: "3.1.1", qos: "1" });
}

#[test]
fn amqtt_with_qos_2() {
    works(BrokerKind::Amqtt, Spoken { version: "3.1.1", qos: "2" });
}

#[test]
fn rumqttd_with_qos_1_and_version_3_1_1() {
    works(BrokerKind::Rumqttd, Spoken { version: "3.1.1", qos: "1" });
}

#[test]
fn rumqttd_with_qos_1_and_version_5() {
    works(BrokerKind::Rumqttd, Spoken { version: "5", qos: "1" });
}

#[test]
fn rumqttd_with_qos_2_and_version_5() {
    works(BrokerKind::Rumqttd, Spoken { version: "5", qos: "2" });
}
