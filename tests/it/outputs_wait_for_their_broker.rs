//! A broker that is away holds nothing up: outputs wait on disk within their limit, arrive in order once it is there, and
//! what is new does not wait for them.

use std::path::Path;

use crate::support::{Averages, Broker, Demo, Random, Subscriber, field, files_below, send};

/// Readings while the broker is away; `TIDEGATE_OUTBOX_LINES` changes it.
const READINGS: usize = 100_000;
const KEYS: usize = 50;

fn publishing(demo: Demo, directory: &Path, broker: &Broker) -> Demo {
    let demo = demo.journaled("always").checkpoint_dir(directory).args(["--interval", "200ms"]);
    demo.args(["--publish", &broker.url(), "--outbox-max", "64MiB", "--backlog-rate", "20000"])
}

fn text(readings: &[(i64, i64)]) -> String {
    readings.iter().map(|(key, value)| format!("{key} {value}\n")).collect()
}

#[test]
fn for_a_whole_run() {
    let Some(mut broker) = Broker::start() else { return };
    broker.stop();
    let readings = std::env::var("TIDEGATE_OUTBOX_LINES").map_or(READINGS, |text| text.parse().unwrap());
    let mut random = Random::seeded();
    let mut readings: Vec<(i64, i64)> = (0..readings).map(|_| random.reading(KEYS)).collect();
    let directory = tempfile::tempdir().unwrap();

    let ended = Demo::run_on(text(&readings), |demo| publishing(demo, directory.path(), &broker));
    let expected: Vec<String> = Averages::after(&readings).outputs.lines().map(str::to_owned).collect();
    assert_eq!(field(&ended.log("left the outbox"), "waiting"), expected.len().to_string());
    let bytes: u64 = field(&ended.log("left the outbox"), "bytes").parse().unwrap();
    assert!(bytes <= 64 << 20);
    let files = files_below(directory.path());
    let of_outbox = files.iter().filter(|(path, _)| path.to_string_lossy().contains("outbox"));
    let on_disk: usize = of_outbox.map(|(_, bytes)| bytes.len()).sum();
    println!("{} outputs wait in {bytes} bytes, {on_disk} on disk", expected.len());

    // The broker comes while the job runs; new readings go past the backlog.
    let running = publishing(Demo::listen(), directory.path(), &broker).start();
    let address = running.listening_at();
    running.wait_for_log("outputs wait in the outbox: trying again");
    broker.restart();
    let subscriber = Subscriber::start(&broker);
    running.wait_for_log("publishing broker=");
    let mut client = std::net::TcpStream::connect(address).unwrap();
    let live: Vec<(i64, i64)> = (0..100).map(|_| random.reading(KEYS)).collect();
    send(&mut client, text(&live).as_bytes());
    readings.extend(&live);
    let all = Averages::after(&readings).outputs.lines().map(str::to_owned).collect::<Vec<_>>();
    let received = subscriber.wait_for("every output", |received| received.len() >= all.len());
    drop(client);
    running.stop().in_order();

    assert_eq!(received.len(), all.len());
    let first_live = received
        .iter()
        .position(|message| message.payload == all[expected.len()] && message.id.2 > received[0].id.2)
        .unwrap();
    assert!(first_live < received.len() - live.len(), "the first new output was number {first_live}");
    let last_of_backlog = {
        let mut ids: Vec<_> = received.iter().map(|message| message.id.clone()).collect();
        ids.sort();
        ids[expected.len() - 1].clone()
    };
    let (backlog, new): (Vec<_>, Vec<_>) = received.iter().partition(|message| message.id <= last_of_backlog);
    for (lane, outputs) in [(&backlog, &all[..expected.len()]), (&new, &all[expected.len()..])] {
        assert!(lane.is_sorted_by(|left, right| left.id < right.id));
        let payloads: Vec<&str> = lane.iter().map(|message| message.payload.as_str()).collect();
        assert!(payloads == outputs, "each lane brings the outputs in their order");
    }
    for message in &received {
        let key = message.payload.trim_start_matches('(').split(',').next().unwrap();
        assert_eq!(message.topic, format!("averages/{key}"));
    }
}
