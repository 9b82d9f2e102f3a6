//! Every message the broker was given is in the results exactly once and in order, whatever is killed and cut; and each
//! result reaches a subscriber, with QoS 2 exactly once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::{
    Averages, Broker, Demo, Link, Publisher, Random, Running, Subscriber, wait_until_within,
};

const KEYS: usize = 50;
/// Topics and messages; `TIDEGATE_MQTT_MESSAGES` changes the latter.
const TOPICS: usize = 1000;
const MESSAGES: usize = 20_000;
/// Kills, and as many cuts; `TIDEGATE_MQTT_KILLS` changes them.
const KILLS: usize = 5;
/// Longest time from one fault to the next.
const FAULT_INTERVAL: Duration = Duration::from_millis(400);
/// Far above what a loaded machine needs.
const DRAIN_MAX: Duration = Duration::from_secs(300);
/// Messages published before the next are.
const BURST: usize = 200;

fn start(link: &Link, directory: &std::path::Path, (qos, version): (u8, &str)) -> Running {
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
        .args(["--qos", &qos.to_string(), "--mqtt-version", version])
        .args(["--publish", &link.url(), "--publish-qos", &qos.to_string(), "--backlog-rate", "1000000"])
        .arg("--output")
        .arg(directory.join("results"))
        .checkpoint_dir(&directory.join("data"))
        .start()
}

fn survive(qos: u8, version: &str) {
    let Some(broker) = Broker::start_with("allow_anonymous true\nmax_inflight_messages 1000\n", |_| {})
    else {
        return;
    };
    let setting = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (count, kills) = (setting("TIDEGATE_MQTT_MESSAGES", MESSAGES), setting("TIDEGATE_MQTT_KILLS", KILLS));
    let mut random = Random::seeded();
    let directory = tempfile::tempdir().unwrap();
    let readings: Vec<(i64, i64)> = (0..count).map(|_| random.reading(KEYS)).collect();
    let messages: Vec<(String, String)> = readings
        .iter()
        .map(|(key, value)| (format!("sensors/{}", random.within(0..TOPICS)), format!("{key} {value}")))
        .collect();
    let subscriber = Subscriber::start_for(&broker, "averages/#");
    let link = Link::to(broker.address());
    let first = start(&link, directory.path(), (qos, version));
    first.wait_for_log("connected: a new session");
    let is_published = AtomicBool::new(false);
    let results = directory.path().join("results");
    let expected = Averages::after(&readings).outputs;
    let lines = expected.lines().count();
    let running = std::thread::scope(|scope| {
        let mut running = first;
        scope.spawn(|| {
            let mut publisher = Publisher::connect(broker.address(), qos);
            // Spread over the faults.
            let pause =
                FAULT_INTERVAL * u32::try_from(kills).unwrap() / u32::try_from(count / BURST).unwrap();
            for burst in messages.chunks(BURST) {
                publisher.publish(burst);
                std::thread::sleep(pause);
            }
            is_published.store(true, Ordering::SeqCst);
        });
        let mut cuts = 0;
        for fault in 0..2 * kills {
            // The moment is random: nothing is waited for.
            let micros = random.within(500..usize::try_from(FAULT_INTERVAL.as_micros()).unwrap());
            std::thread::sleep(Duration::from_micros(micros as u64));
            if fault % 2 == 0 {
                running.kill();
                running = start(&link, directory.path(), (qos, version));
            } else {
                running.wait_for_log("the session is resumed");
                cuts += link.cut();
            }
        }
        assert!(cuts >= kills, "{cuts} ends of connections were cut");
        let count = || std::fs::read_to_string(&results).map_or(0, |text| text.lines().count());
        let describe = || format!("{} of {lines} results", count());
        wait_until_within(DRAIN_MAX, || is_published.load(Ordering::SeqCst) && count() >= lines, describe);
        running
    });
    subscriber.wait_for_count(lines);
    subscriber.wait_for("each output", |received| {
        received.iter().map(|message| &message.id).collect::<BTreeSet<_>>().len() == lines
    });
    let ended = running.stop().in_order();
    let results = std::fs::read_to_string(&results).unwrap();
    let differs = results.lines().zip(expected.lines()).position(|(result, expected)| result != expected);
    assert_eq!((differs, results.len()), (None, expected.len()), "the results are the uninterrupted run's");
    let mut outputs = BTreeMap::new();
    for message in subscriber.received() {
        let output = outputs.entry(message.id).or_insert_with(|| (message.payload.clone(), 0));
        assert_eq!(output.0, message.payload, "an id names one output");
        output.1 += 1;
    }
    let payloads: Vec<&str> = outputs.values().map(|(payload, _)| payload.as_str()).collect();
    assert!(
        payloads == expected.lines().collect::<Vec<_>>(),
        "each output reaches the subscriber under one id"
    );
    let most = outputs.values().map(|(_, times)| *times).max().unwrap_or(0);
    assert!(qos < 2 || most == 1, "an output came {most} times");
    println!(
        "{count} messages of QoS {qos}, {kills} kills, {kills} cuts: {} outputs, none more than {most} times; {}",
        outputs.len(),
        ended.log("left the broker")
    );
}

#[test]
fn with_qos_1_and_version_5() {
    survive(1, "5");
}

#[test]
fn with_qos_1_and_version_3_1_1() {
    survive(1, "3.1.1");
}

#[test]
fn with_qos_2_and_version_5() {
    survive(2, "5");
}

#[test]
fn with_qos_2_and_version_3_1_1() {
    survive(2, "3.1.1");
}
