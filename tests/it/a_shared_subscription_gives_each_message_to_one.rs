//! Two processes share a subscription: each message is a reading of exactly one of them, and when one is killed the other goes
//! on with what comes.

use crate::support::{Broker, Demo, Publisher, Running, field, wait_until};

const MESSAGES: usize = 2000;
const KEYS: usize = 20;

fn sharing(broker: &Broker, client_id: &str) -> Running {
    let running = Demo::new()
        .journaled("always")
        .args(["--mqtt", &broker.url(), "--topic", "$share/gateways/sensors/#", "--client-id", client_id])
        .start();
    running.wait_for_log("connected: a new session");
    running
}

fn messages(count: usize) -> Vec<(String, String)> {
    (0..count).map(|number| (format!("sensors/{}", number % 7), format!("{} 1", number % KEYS))).collect()
}

#[test]
fn of_two_processes() {
    let Some(broker) = Broker::start() else { return };
    let processes = ["first", "second"].map(|client_id| sharing(&broker, client_id));
    let mut publisher = Publisher::connect(broker.address(), 1);
    // Subscriptions are there once something comes to each.
    let has_outputs = |running: &Running| running.output_count() > 0;
    let mut published = 0;
    wait_until(
        || {
            publisher.publish(&messages(4 * KEYS));
            published += 4 * KEYS;
            processes.iter().all(has_outputs)
        },
        || "both processes are given something".to_owned(),
    );
    publisher.publish(&messages(MESSAGES));
    published += MESSAGES;
    let outputs = |processes: &[Running]| processes.iter().map(Running::output_count).sum::<usize>();
    // The first reading of a key in a process has no output.
    wait_until(
        || outputs(&processes) + 2 * KEYS >= published,
        || format!("{} outputs of {published} messages", outputs(&processes)),
    );
    let readings = processes.map(|running| {
        let ended = running.stop().in_order();
        field(&ended.log(" ended "), "readings").parse::<usize>().unwrap()
    });
    assert!(readings.iter().all(|readings| *readings > 0), "{readings:?}");
    assert_eq!(readings.iter().sum::<usize>(), published);
}
