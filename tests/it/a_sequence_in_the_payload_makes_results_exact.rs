//! `--exactness sequence`: senders that number their readings may send them again, over kills and cut links, and each counts
//! once; a replay knows the job and gives the same results.

use std::path::Path;

use crate::support::{Averages, Broker, Demo, Link, Publisher, Random, Running, replay, wait_until};

const KEYS: usize = 10;
const READINGS: usize = 3000;
const BURST: usize = 100;
/// Of a burst, those that are sent again.
const AGAIN: usize = 30;

fn start(link: &Link, directory: &Path) -> Running {
    Demo::new()
        .journaled("always")
        .args([
            "--mqtt",
            &link.url(),
            "--topic",
            "sensors/#",
            "--client-id",
            "gateway",
            "--interval",
            "100ms",
        ])
        .args(["--exactness", "sequence"])
        .arg("--output")
        .arg(directory.join("results"))
        .checkpoint_dir(&directory.join("data"))
        .start()
}

#[test]
fn over_kills_and_cuts_and_in_a_replay() {
    let Some(broker) = Broker::start() else { return };
    let mut random = Random::seeded();
    let readings: Vec<(i64, i64)> = (0..READINGS).map(|_| random.reading(KEYS)).collect();
    let messages: Vec<(String, String)> = readings
        .iter()
        .enumerate()
        .map(|(sequence, (key, value))| (format!("sensors/{key}"), format!("{key} {value} {sequence}")))
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let link = Link::to(broker.address());
    let mut running = start(&link, directory.path());
    running.wait_for_log("a sequence in the payload");
    running.wait_for_log("connected: a new session");
    let mut publisher = Publisher::connect(broker.address(), 1);
    for (number, burst) in messages.chunks(BURST).enumerate() {
        publisher.publish(burst);
        // As a sender does whose acknowledgements were lost.
        publisher.publish(&burst[BURST - AGAIN..]);
        match number % 6 {
            2 => {
                running.kill();
                running = start(&link, directory.path());
            }
            5 => {
                running.wait_for_log("connected: the session is resumed");
                link.cut();
            }
            _ => {}
        }
    }
    let expected = Averages::after(&readings).outputs;
    let results = || std::fs::read_to_string(directory.path().join("results")).unwrap_or_default();
    wait_until(|| results().len() >= expected.len(), || format!("{} bytes of results", results().len()));
    let ended = running.stop().in_order();
    assert!(results() == expected, "each reading counts once");
    let rejected = ended.rejected();
    assert!(rejected.iter().any(|(_, cause, _)| cause == "repeated-sequence"), "{rejected:?}");

    let data = directory.path().join("data");
    let replayed = replay(&data, &["--exactness", "sequence"]).in_order();
    assert!(!replayed.stdout.is_empty(), "{}", replayed.stderr);
    assert!(expected.ends_with(&replayed.stdout), "the replay differs");
}
