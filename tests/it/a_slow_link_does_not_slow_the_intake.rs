//! A link of 256 kbit/s to the remote: readings are taken in as fast as without a remote, and the last checkpoint gets there
//! when the link is fast again.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::{
    Averages, Demo, Device, Kind, Proxy, Random, RemoteServer, wait_until_shipped, wait_until_within,
};

const KEYS: usize = 20_000;
const READINGS: usize = 1_000_000;
const BYTES_PER_SECOND: u64 = 256_000 / 8;
/// How much longer intake may take with the remote. The machine has other work: the bound is generous, and a link that the
/// data path waits for would make it some hundred times.
const SLOWER_MAX: u32 = 3;
const INTAKE_MAX: Duration = Duration::from_secs(240);

/// Runs the job; also the time until all readings have their results.
fn intake(demo: Demo, lines: &str, outputs: usize) -> (crate::support::Running, Duration) {
    let running = demo.start();
    let mut connection = TcpStream::connect(running.listening_at()).unwrap();
    let start = Instant::now();
    connection.write_all(lines.as_bytes()).unwrap();
    drop(connection);
    wait_until_within(
        INTAKE_MAX,
        || running.output_count() >= outputs,
        || format!("results are missing: {:?}", running.logs("")),
    );
    (running, start.elapsed())
}

#[test]
fn and_all_is_shipped_when_it_is_fast_again() {
    let Some(server) = RemoteServer::start(Kind::WebDav) else { return };
    let mut random = Random::seeded();
    let readings: Vec<_> = (0..READINGS).map(|_| random.reading(KEYS)).collect();
    let lines: String = readings.iter().map(|(key, value)| format!("{key} {value}\n")).collect();
    let model = Averages::after(&readings);
    let outputs = model.outputs.lines().count();

    let alone = tempfile::tempdir().unwrap();
    let demo = Demo::listen().journaled("always").checkpoint_dir(alone.path()).args(["--interval", "50ms"]);
    let (without, time_without) = intake(demo, &lines, outputs);
    drop(without.stop().in_order());

    let proxy = Proxy::start(server.address());
    proxy.limit(Some(BYTES_PER_SECOND));
    let device = Device::of(&server).with_remote(server.uri_at(proxy.address()));
    let start = Instant::now();
    let (with, time_with) = intake(device.demo(), &lines, outputs);
    println!("intake without a remote {time_without:?}, with one {time_with:?}");
    assert!(time_with < time_without * SLOWER_MAX, "{time_with:?} instead of {time_without:?}");
    // The link was as slow as it should be.
    let passed_max = start.elapsed().as_secs_f64() * BYTES_PER_SECOND as f64 + 2.0 * 4096.0;
    assert!((proxy.bytes() as f64) < passed_max, "{} bytes passed", proxy.bytes());
    proxy.limit(None);
    wait_until_shipped(&with);
    let killed = with.kill();
    assert_eq!(killed.stdout, model.outputs);
    device.lose_data();
    let restored = device.demo().start();
    let line = restored.wait_for_log("restored from the remote");
    assert!(line.contains(&format!("readings={READINGS} ")), "{line}");
}
