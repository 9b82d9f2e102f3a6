//! Thousands of retained messages come with the first subscription, and each is a reading once: with MQTT 5 never again, with
//! MQTT 3.1.1 once more with each start of the program, never with a connection that is made again.

use std::path::Path;

use crate::support::{Broker, Demo, Link, Publisher, Running, field, wait_until};

const RETAINED: usize = 5000;
const CUTS: usize = 5;

fn start(link: &Link, version: &str, directory: &Path) -> Running {
    let demo = Demo::new().journaled("always").args(["--mqtt", &link.url(), "--mqtt-version", version]);
    let demo = demo.args(["--topic", "retained/#", "--topic", "live", "--client-id", "gateway"]);
    demo.checkpoint_dir(directory).start()
}

/// Cuts the link again and again, and stops; returns how many readings there were.
fn readings(running: Running, link: &Link, broker: &Broker, outputs_before: usize) -> usize {
    for cut in 0..CUTS {
        link.cut();
        running.wait_for_logs("connected: the session is resumed", cut + 1);
    }
    // What comes now is behind whatever the connections brought.
    broker.publish("live", 1, "-1 1\n-1 1\n");
    wait_until(|| running.output().contains("(-1,1)"), || "a live reading comes".to_owned());
    assert!(running.output_count() > outputs_before);
    let ended = running.stop().in_order();
    field(&ended.log(" ended "), "readings").parse().unwrap()
}

#[test]
fn over_cut_links_and_restarts() {
    let Some(broker) = Broker::start() else { return };
    let retained: Vec<(String, String)> =
        (0..RETAINED).map(|number| (format!("retained/{number}"), format!("{} 1", number % 100))).collect();
    Publisher::connect(broker.address(), 1).retaining().publish(&retained);
    for (version, again) in [("5", 0), ("3.1.1", RETAINED)] {
        let directory = tempfile::tempdir().unwrap();
        let link = Link::to(broker.address());
        let running = start(&link, version, directory.path());
        running.wait_for_log("connected: ");
        running.wait_for_outputs(RETAINED - 100);
        assert_eq!(readings(running, &link, &broker, 0), RETAINED + 2, "MQTT {version}");
        let running = start(&link, version, directory.path());
        running.wait_for_log("connected: the session is resumed");
        // A link that is cut before the broker has granted the subscription brings them once more.
        running.wait_for_outputs(again);
        let count = readings(running, &link, &broker, 0);
        assert_eq!(count, again + 2, "MQTT {version}, started again");
    }
}
