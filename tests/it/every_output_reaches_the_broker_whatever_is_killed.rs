//! However often the program is killed, each output reaches a subscriber: at least once with QoS 1, exactly once with QoS 2,
//! without a gap and under one id.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::support::{
    Averages, Broker, Demo, Random, Running, Subscriber, send_carefully, wait_until_within,
};

const KEYS: usize = 20;
const LINES: usize = 8_000;
const KILLS: usize = 20;
/// Longest time from one kill to the next.
const KILL_INTERVAL: Duration = Duration::from_millis(500);
const DRAIN_MAX: Duration = Duration::from_secs(180);
/// Decides how long the sending takes; slow enough that every kill comes before the last line.
const PACE: Duration = Duration::from_millis(40);

fn start(address: &str, directory: &Path, broker: &Broker, qos: &str) -> Running {
    let demo =
        Demo::new().journaled("always").args(["--listen", address, "--ack", "lines", "--interval", "50ms"]);
    let demo = demo.args(["--publish", &broker.url(), "--publish-qos", qos, "--backlog-rate", "100000"]);
    demo.checkpoint_dir(directory).start()
}

/// How often each output came, with its payload, in the order of their ids.
type Outputs = BTreeMap<(String, String, u64, u32), (String, u32)>;

fn survive(qos: &str, local: &str) -> Option<Outputs> {
    let broker = Broker::start()?;
    let subscriber = Subscriber::start(&broker);
    let mut random = Random::seeded();
    let directory = tempfile::tempdir().unwrap();
    let readings: Vec<(i64, i64)> = (0..LINES).map(|_| random.reading(KEYS)).collect();
    let lines: Vec<String> = readings.iter().map(|(key, value)| format!("{key} {value}")).collect();
    let acknowledged = AtomicU64::new(0);
    let first = start(local, directory.path(), &broker, qos);
    let address: SocketAddr = first.listening_at();
    let running = std::thread::scope(|scope| {
        let mut running = first;
        scope.spawn(|| {
            while acknowledged.load(Ordering::SeqCst) < lines.len() as u64 {
                send_carefully(address, "boiler-7", &lines, PACE, &acknowledged);
            }
        });
        for _ in 0..KILLS {
            // The moment is random: nothing is waited for.
            let micros = random.within(5_000..usize::try_from(KILL_INTERVAL.as_micros()).unwrap());
            std::thread::sleep(Duration::from_micros(micros as u64));
            running.kill();
            running = start(&address.to_string(), directory.path(), &broker, qos);
        }
        wait_until_within(
            DRAIN_MAX,
            || acknowledged.load(Ordering::SeqCst) == lines.len() as u64,
            || format!("{} of {} lines are acknowledged", acknowledged.load(Ordering::SeqCst), lines.len()),
        );
        running
    });
    let expected = Averages::after(&readings).outputs;
    let expected_count = expected.lines().count();
    let distinct = |received: &[crate::support::Received]| {
        received.iter().map(|message| &message.id).collect::<std::collections::BTreeSet<_>>().len()
    };
    subscriber.wait_for("every output", |received| distinct(received) >= expected_count);
    running.listening_at();
    running.stop().in_order();
    let mut outputs = Outputs::new();
    for message in subscriber.received() {
        let output = outputs.entry(message.id).or_insert_with(|| (message.payload.clone(), 0));
        assert_eq!(output.0, message.payload, "an id names one output");
        output.1 += 1;
    }
    let payloads: Vec<&str> = outputs.values().map(|(payload, _)| payload.as_str()).collect();
    assert!(
        payloads == expected.lines().collect::<Vec<_>>(),
        "the outputs by id are those of a run in one piece"
    );
    println!(
        "{} outputs in {} messages, {KILLS} kills",
        outputs.len(),
        outputs.values().map(|(_, times)| times).sum::<u32>()
    );
    Some(outputs)
}

#[test]
fn with_qos_1_at_least_once() {
    survive("1", "127.0.0.71:0");
}

#[test]
fn with_qos_2_exactly_once() {
    if let Some(outputs) = survive("2", "127.0.0.72:0") {
        let repeated: Vec<_> = outputs.iter().filter(|(_, (_, times))| *times != 1).collect();
        assert!(repeated.is_empty(), "{repeated:?}");
    }
}
