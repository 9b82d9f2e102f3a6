//! A broker that is away holds nothing up: outputs wait on disk within their limit, arrive in order once it is there, and
//! what is new does not wait for them.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::{Averages, Broker, Demo, Random, Subscriber, field, files_below, send};

/// Readings while the broker is away; `TIDEGATE_OUTBOX_LINES` changes it.
const READINGS: usize = 100_000;
const KEYS: usize = 50;
/// Readings while the backlog is sent, one each `LIVE_INTERVAL`, of a key of their own: as many as take a part of that time.
const LIVE_SHARE: usize = 1000;
const LIVE_INTERVAL: Duration = Duration::from_millis(20);
const LIVE_KEY: i64 = 1_000_000;
/// Generous for a loaded machine: half of the outputs of live readings come within this.
const LIVE_MEDIAN_MAX: Duration = Duration::from_secs(1);

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
    let live: Vec<(i64, i64)> =
        (0..readings.len() / LIVE_SHARE).map(|value| (LIVE_KEY, value as i64)).collect();
    let mut sent = Vec::new();
    for reading in &live {
        sent.push(Instant::now());
        send(&mut client, text(&[*reading]).as_bytes());
        // The pace of a sensor.
        std::thread::sleep(LIVE_INTERVAL);
    }
    let sent_before = subscriber.count();
    readings.extend(&live);
    let all = Averages::after(&readings).outputs.lines().map(str::to_owned).collect::<Vec<_>>();
    subscriber.wait_for_count(all.len());
    let received = subscriber.received();
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
    // The first reading of a key has no output.
    let latencies =
        sent[1..].iter().zip(&new).map(|(sent, message)| message.at.saturating_duration_since(*sent));
    let mut latencies: Vec<Duration> = latencies.collect();
    latencies.sort();
    let (median, most) = (latencies[latencies.len() / 2], latencies[latencies.len() - 1]);
    println!(
        "{} live readings beside the backlog, {sent_before} of {} outputs had come by the last: latency median {median:?}, most {most:?}",
        live.len(),
        all.len(),
    );
    assert!(median < LIVE_MEDIAN_MAX, "{median:?}");
    for message in &received {
        let key = message.payload.trim_start_matches('(').split(',').next().unwrap();
        assert_eq!(message.topic, format!("averages/{key}"));
    }
}
