//! Does a slow link to the remote slow the intake? The reference job end to end over loopback TCP, with no remote and with one
//! behind a link of 256 kbit/s, in pairs of one run. The remote is a real WebDAV server; the link is the proxy of the tests.
//!
//! Time runs from the accepted connection to the moment the output file is complete; the outputs must be equal byte for
//! byte. Checkpoints are completed all the time, and none of them passes the link while readings come in.
//!
//! `TIDEGATE_BENCH_LINES`, `TIDEGATE_BENCH_KEYS` and `TIDEGATE_BENCH_ROUNDS` change the size. The data comes from a fixed seed.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a bench reads what the engine wrote"
)]
#![expect(clippy::unwrap_used, clippy::cast_precision_loss, reason = "a bench ends at the first fault")]
#![expect(dead_code, reason = "some of what is shared is for others")]

#[path = "../running_average/data.rs"]
mod data;
#[path = "../../tests/it/support/descriptors.rs"]
mod descriptors;
#[path = "../../tests/it/support/installed.rs"]
mod installed;
#[path = "../running_average/measure.rs"]
mod measure;
#[path = "../../tests/it/support/port.rs"]
mod port;
#[path = "../../tests/it/support/proxy.rs"]
mod proxy;
#[path = "../../tests/it/support/servers/mod.rs"]
mod servers;
#[path = "../../tests/it/support/skip.rs"]
mod skip;
#[path = "../../tests/it/support/wait.rs"]
mod wait;

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use data::{SEED, readings};
use measure::median;
use proxy::Proxy;
use servers::{Kind, RemoteServer};

/// The link, both ways together: 256 kbit/s.
const BYTES_PER_SECOND: u64 = 256_000 / 8;
const INTERVAL: &str = "500ms";

fn main() {
    let lines = from_environment("TIDEGATE_BENCH_LINES", 10_000_000);
    let keys = from_environment("TIDEGATE_BENCH_KEYS", 100_000);
    let rounds = from_environment("TIDEGATE_BENCH_ROUNDS", 5);
    let Some(server) = RemoteServer::start(Kind::WebDav) else { return };
    let proxy = Proxy::start(server.address());
    proxy.limit(Some(BYTES_PER_SECOND));
    let data = Arc::new(readings(lines, keys));
    println!("{}", measure::machine());
    println!(
        "reference job, {lines} lines of {keys} keys, checkpoints each {INTERVAL}, seed {SEED:#x}, median of {rounds} pairs\n"
    );

    let directory = tempfile::tempdir().unwrap();
    let first = directory.path().join("first");
    // Also warms up what there is to warm up.
    take_in(&first, &data, None, None);
    let expected = std::fs::metadata(&first).unwrap().len();
    let (mut alone, mut remote, mut ratios, mut link) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let output = directory.path().join("output");
        let timed = |shipping: Option<&Shipping<'_>>| {
            let seconds = take_in(&output, &data, Some(expected), shipping);
            assert!(measure::same_contents(&first, &output), "the output differs");
            std::fs::remove_file(&output).unwrap();
            seconds
        };
        let shipping = Shipping { server: &server, proxy: &proxy, device: format!("device-{round}") };
        let before = proxy.bytes();
        // Who is first changes from pair to pair.
        let (without, with) = if round % 2 == 0 {
            let without = timed(None);
            (without, timed(Some(&shipping)))
        } else {
            let with = timed(Some(&shipping));
            (timed(None), with)
        };
        let passed = proxy.bytes() - before;
        assert!(passed > 0, "nothing was shipped");
        println!(
            "pair {round}: {without:.3} s alone, {with:.3} s with the remote, {passed} bytes passed the link"
        );
        alone.push(lines as f64 / without / 1e6);
        remote.push(lines as f64 / with / 1e6);
        ratios.push(without / with);
        link.push(passed as f64);
    }
    println!("\n| no remote, M readings/s | a link of 256 kbit/s, M readings/s | ratio | target |");
    println!("|---|---|---|---|");
    println!("| {:.2} | {:.2} | {:.3} | at least 0.95 |", median(alone), median(remote), median(ratios));
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

/// Where a job ships to.
struct Shipping<'a> {
    server: &'a RemoteServer,
    proxy: &'a Proxy,
    device: String,
}

/// Takes in all of `data` with an empty directory; the seconds until `output` was complete.
fn take_in(
    output: &Path,
    data: &Arc<Vec<u8>>,
    expected: Option<u64>,
    shipping: Option<&Shipping<'_>>,
) -> f64 {
    let checkpoints = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(["demo", "--retry-for", "0s", "--interval", INTERVAL, "--connect"]);
    command.arg(listener.local_addr().unwrap().to_string()).arg("--output").arg(output);
    command.arg("--checkpoint-dir").arg(checkpoints.path());
    if let Some(Shipping { server, proxy, device }) = shipping {
        command.args(["--allow-unsigned", "--remote-interval", "0s", "--device", device, "--remote"]);
        command.arg(server.uri_at(proxy.address())).envs(server.environment());
    }
    measure::run(command, listener, data, output, expected).seconds
}
