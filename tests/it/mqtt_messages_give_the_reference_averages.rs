//! Messages of every QoS, in both protocol versions, give the reference averages.

use crate::support::{Averages, Broker, Demo, Random};

fn averages_are_the_references(qos: u8, version: &str) {
    let Some(broker) = Broker::start() else { return };
    let mut random = Random::seeded();
    let readings: Vec<(i64, i64)> = (0..3000).map(|_| random.reading(20)).collect();
    let lines: String = readings.iter().map(|(key, value)| format!("{key} {value}\n")).collect();
    let expected = Averages::after(&readings).outputs;
    let running = Demo::new()
        .journaled("always")
        .args(["--mqtt", &broker.url(), "--topic", "sensors/+", "--qos", &qos.to_string()])
        .args(["--mqtt-version", version])
        .start();
    running.wait_for_log("connected: a new session");
    // A message the broker has for certain, so that the subscription is known to be in force.
    broker.publish("sensors/first", 2, "0 1\n0 1\n");
    running.wait_for_outputs(1);
    broker.publish("sensors/a", qos, &lines);
    broker.publish("elsewhere", qos, "1 1\n");
    running.wait_for_outputs(1 + expected.lines().count());
    let ended = running.stop().in_order();
    assert_eq!(ended.stdout.strip_prefix("(0,1)\n"), Some(expected.as_str()));
    let exactness = ended.log("exactness=");
    let expected = ["QoS 0 delivers at most once", "resumed session", "QoS 2: each message exactly once"];
    assert!(exactness.contains(expected[usize::from(qos)]), "{exactness}");
}

#[test]
fn with_qos_0() {
    averages_are_the_references(0, "5");
    averages_are_the_references(0, "3.1.1");
}

#[test]
fn with_qos_1() {
    averages_are_the_references(1, "5");
    averages_are_the_references(1, "3.1.1");
}

#[test]
fn with_qos_2() {
    averages_are_the_references(2, "5");
    averages_are_the_references(2, "3.1.1");
}

/// A payload may hold several lines, and the last needs no end.
#[test]
fn with_several_lines_in_a_payload() {
    let Some(broker) = Broker::start() else { return };
    let running = Demo::new().journaled("always").args(["--mqtt", &broker.url()]).start();
    running.wait_for_log("connected: a new session");
    broker.publish_with(&["-t", "a", "-q", "2", "-s"], "1 10\n1 20\r\n2 5\n2 7");
    running.wait_for_outputs(2);
    assert_eq!(running.stop().in_order().stdout, "(1,15)\n(2,6)\n");
}
