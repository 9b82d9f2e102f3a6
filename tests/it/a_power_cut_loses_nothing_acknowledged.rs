//! Real power cuts: a file system on a loop device is shut down under the frozen program; what was acknowledged is there
//! when it is mounted again, and the results are those of an uninterrupted run.
//!
//! `TIDEGATE_POWER_CUTS` is the number of cuts on each file system (25). Needs root, loop devices and `xfs_io`; says so and
//! passes where it has none of them.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Averages, Demo, Random, Running, Volume, send_carefully, skip};

const KEYS: usize = 50;

fn start(address: &str, directory: &Path) -> Running {
    let demo = Demo::new().journaled("always").args(["--listen", address, "--ack", "lines"]);
    let demo = demo.args(["--interval", "50ms", "--journal-max", "16MiB"]);
    demo.arg("--output").arg(directory.join("results")).checkpoint_dir(&directory.join("data")).start()
}

fn survive(kind: &str, address: &str) {
    let cuts = std::env::var("TIDEGATE_POWER_CUTS").map_or(25, |cuts| cuts.parse().unwrap());
    let volume = match Volume::new(kind) {
        Ok(volume) => volume,
        Err(reason) => return skip(&format!("power cuts on {kind}"), &reason),
    };
    let mut random = Random::seeded();
    // More than can be sent between the cuts: the sender is never done before.
    let readings: Vec<(i64, i64)> = (0..2_000_000).map(|_| random.reading(KEYS)).collect();
    let lines: Vec<String> = readings.iter().map(|(key, value)| format!("{key} {value}")).collect();
    let acknowledged = AtomicU64::new(0);
    let is_over = AtomicBool::new(false);
    let first = start(address, volume.path());
    let address: SocketAddr = first.listening_at();
    let running = std::thread::scope(|scope| {
        let mut running = first;
        scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) && acknowledged.load(Ordering::SeqCst) < lines.len() as u64
            {
                // Fails when the program greets with less than it had acknowledged.
                send_carefully(address, "boiler-7", &lines, Duration::ZERO, &acknowledged);
            }
        });
        for _ in 0..cuts {
            // The moment is random: nothing is waited for.
            std::thread::sleep(Duration::from_micros(5_000 + random.within(0..60_000) as u64));
            // Frozen first: a sync that is under way when the disk goes away may still say that it succeeded.
            running.signal(Signal::STOP);
            running.wait_until_frozen();
            volume.cut_power();
            running.kill();
            volume.restore_power();
            running = start(&address.to_string(), volume.path());
        }
        running.listening_at();
        is_over.store(true, Ordering::SeqCst);
        running.signal(Signal::TERM);
        running
    });
    running.wait().in_order();
    let acknowledged = usize::try_from(acknowledged.load(Ordering::SeqCst)).unwrap();
    let results = std::fs::read_to_string(volume.path().join("results")).unwrap();
    // What came in without its acknowledgement getting out counts too: the results are those of some prefix.
    let expected = Averages::after(&readings).outputs;
    assert!(expected.starts_with(&results), "the results are not those of an uninterrupted run");
    let at_least = Averages::after(&readings[..acknowledged]).outputs;
    let lost = at_least.lines().count().saturating_sub(results.lines().count());
    println!("{kind}: cuts {cuts}, acknowledged {acknowledged}, lost {lost}");
    assert_eq!(lost, 0);
}

#[test]
fn on_ext4() {
    survive("ext4", "127.0.0.80:0");
}

#[test]
fn on_xfs() {
    survive("xfs", "127.0.0.81:0");
}
