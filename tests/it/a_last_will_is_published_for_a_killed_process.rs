//! The broker publishes the last will of a process that is killed, and not of one that stops in order.

use crate::support::{Broker, Demo, Running, Subscriber};

fn start(broker: &Broker, version: &str, will: &str) -> Running {
    let running = Demo::new()
        .journaled("always")
        .args(["--mqtt", &broker.url(), "--topic", "sensors/#", "--mqtt-version", version])
        .args(["--client-id", "gateway", "--last-will", "gateways/7", "--last-will-payload", will])
        .start();
    running.wait_for_log("connected: ");
    running
}

#[test]
fn and_not_for_one_that_stops() {
    let Some(broker) = Broker::start() else { return };
    let subscriber = Subscriber::start_for(&broker, "gateways/#");
    let mut expected = Vec::new();
    for version in ["5", "3.1.1"] {
        start(&broker, version, "stopped").stop().in_order();
        start(&broker, version, version).kill();
        expected.push(("gateways/7".to_owned(), version.to_owned()));
        subscriber.wait_for_count(expected.len());
    }
    assert_eq!(subscriber.messages(), expected);
}
