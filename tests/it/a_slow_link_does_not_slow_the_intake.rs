//! A link of 256 kbit/s to the remote: readings are taken in as fast as without a remote, and the last checkpoint gets there
//! when the link is fast again.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::{
    Averages, Demo, Device, Kind, Proxy, Random, RemoteServer, Running, field, wait_until,
    wait_until_shipped, wait_until_within,
};

const KEYS: usize = 20_000;
const READINGS: usize = 2_000_000;
const BYTES_PER_SECOND: u64 = 256_000 / 8;
/// How much longer intake may take with the remote. The machine has other work: the bound is generous, and a link that the
/// data path waits for would make it some hundred times.
const SLOWER_MAX: u32 = 3;
const INTAKE_MAX: Duration = Duration::from_secs(240);
/// What has passed the slow link when the measuring begins: the upload is well under way.
const UNDER_WAY_BYTES: u64 = 32 << 10;

/// Text that is one reading a line.
fn text(readings: &[(i64, i64)]) -> String {
    readings.iter().map(|(key, value)| format!("{key} {value}\n")).collect()
}

/// Sends readings to a running job; the time until there are `outputs` results.
fn intake(running: &Running, lines: &str, outputs: usize) -> Duration {
    let start = Instant::now();
    TcpStream::connect(running.listening_at()).unwrap().write_all(lines.as_bytes()).unwrap();
    wait_until_within(
        INTAKE_MAX,
        || running.output_count() >= outputs,
        || format!("results are missing: {:?}", running.logs("")),
    );
    start.elapsed()
}

#[test]
fn and_all_is_shipped_when_it_is_fast_again() {
    let Some(server) = RemoteServer::start(Kind::WebDav) else { return };
    let mut random = Random::seeded();
    // A state of some size, and then what is measured.
    let readings: Vec<_> = (0..READINGS).map(|_| random.reading(KEYS)).collect();
    let (first, second) = readings.split_at(KEYS);
    let (first_lines, second_lines) = (text(first), text(second));
    let model = Averages::after(&readings);
    let (first_outputs, outputs) =
        (Averages::after(first).outputs.lines().count(), model.outputs.lines().count());

    let alone = tempfile::tempdir().unwrap();
    let demo = Demo::listen().journaled("always").checkpoint_dir(alone.path()).args(["--interval", "50ms"]);
    let without = demo.start();
    intake(&without, &first_lines, first_outputs);
    let time_without = intake(&without, &second_lines, outputs);
    drop(without.stop().in_order());

    let proxy = Proxy::start(server.address());
    let device = Device::of(&server).with_remote(server.uri_at(proxy.address()));
    let with = device.demo().start();
    proxy.limit(Some(BYTES_PER_SECOND));
    let before = proxy.bytes();
    intake(&with, &first_lines, first_outputs);
    wait_until(|| proxy.bytes() > before + UNDER_WAY_BYTES, || "nothing is shipped".to_owned());
    let time_with = intake(&with, &second_lines, outputs);
    println!("intake without a remote {time_without:?}, with one {time_with:?}");
    assert!(time_with < time_without * SLOWER_MAX, "{time_with:?} instead of {time_without:?}");
    proxy.limit(None);
    wait_until_shipped(&with);
    let killed = with.kill();
    assert_eq!(killed.stdout, model.outputs);
    device.lose_data();
    let restored = device.demo().start();
    let line = restored.wait_for_log("restored from the remote");
    assert_eq!(field(&line, "readings"), READINGS.to_string(), "{line}");
}
