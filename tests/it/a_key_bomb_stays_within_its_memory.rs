//! A new key with each reading: whatever the backend and the policy, the process stays within its memory, and its counters
//! tell what was done.
//!
//! Each program runs in a memory cgroup half as large again as its `--memory-max`: being killed there fails the test, and
//! so does anonymous memory above [`ANONYMOUS_PERCENT_MAX`] of `--memory-max`. With `TIDEGATE_STRESS`, as `make stress`
//! sets it, at full size; its figures are in `docs/state.md`.

use std::fmt::Write;
use std::time::{Duration, Instant};

use crate::support::{Demo, Ended, LineServer, MemoryCgroup, field};

/// How many keys, and `--memory-max`.
#[derive(Debug, Clone, Copy)]
struct Bomb {
    keys: u64,
    memory_max: u64,
}

/// What `make test` has time for.
const SMALL: Bomb = Bomb { keys: 1_000_000, memory_max: 64 << 20 };
const FULL: Bomb = Bomb { keys: 10_000_000, memory_max: 128 << 20 };
/// sled's page table takes some 60 bytes a key.
#[cfg(feature = "sled")]
const SMALL_SLED: Bomb = Bomb { keys: 200_000, ..SMALL };
#[cfg(feature = "sled")]
const FULL_SLED: Bomb = Bomb { keys: 1_000_000, ..FULL };
/// Most anonymous memory, in percent of `--memory-max`. The watch looks ten times a second, at pages of files too.
const ANONYMOUS_PERCENT_MAX: u64 = 110;
/// Longest time of one program.
const RUN_MAX: Duration = Duration::from_secs(900);

impl Bomb {
    /// The size to run at.
    fn of(small: Self, full: Self) -> Self {
        if std::env::var_os("TIDEGATE_STRESS").is_some() { full } else { small }
    }
}

/// Every key once in a scattered order, then every tenth of them a second time.
fn lines(keys: u64) -> Vec<u8> {
    let mut lines = String::new();
    let key = |index: u64| index * 2_654_435_761 % keys + 1;
    for index in 0..keys {
        writeln!(lines, "{} 10", key(index)).unwrap();
    }
    for index in (0..keys).step_by(10) {
        writeln!(lines, "{} 20", key(index)).unwrap();
    }
    lines.into_bytes()
}

/// How the program ended; `None` where there are no cgroups.
fn run(bomb: Bomb, arguments: &[&str]) -> Option<Ended> {
    let Bomb { keys, memory_max } = bomb;
    let cgroup = MemoryCgroup::new(memory_max / 2 * 3)?;
    let directory = tempfile::tempdir().unwrap();
    let server = LineServer::start();
    let demo = Demo::connect(server.address())
        .checkpoint_dir(directory.path())
        .args(["--interval", "2s", "--memory-max", &memory_max.to_string()])
        .args(arguments.iter().copied())
        .in_cgroup(&cgroup);
    let lines = self::lines(keys);
    let sending = std::thread::spawn(move || {
        use std::io::Write;
        // A job that ends at its limit takes no more.
        drop(server.accept().write_all(&lines));
    });
    let start = Instant::now();
    let running = demo.start();
    let mut anonymous = 0;
    let ended = running.wait_within(RUN_MAX, |running| {
        anonymous = running.anonymous_bytes().unwrap_or(0).max(anonymous);
    });
    sending.join().unwrap();
    println!(
        "{}: {keys} keys in {:.0} s, anonymous memory at most {} of {} MiB; {}",
        arguments.join(" "),
        start.elapsed().as_secs_f64(),
        anonymous >> 20,
        memory_max >> 20,
        ended.stderr.lines().last().unwrap_or_default(),
    );
    cgroup.assert_nothing_was_killed();
    assert!(anonymous <= memory_max / 100 * ANONYMOUS_PERCENT_MAX, "{anonymous} bytes: {}", ended.stderr);
    Some(ended)
}

fn count(ended: &Ended, name: &str) -> u64 {
    field(&ended.log(" ended "), name).parse().unwrap()
}

#[test]
fn on_the_heap_where_new_keys_stop_the_job() {
    let bomb = Bomb::of(SMALL, FULL);
    for backend in ["memory", "file"] {
        let Some(ended) = run(bomb, &["--backend", backend]) else { return };
        assert_eq!(ended.code, Some(70), "{backend}: {}", ended.stderr);
        let error = ended.log("error:");
        assert!(error.contains("bytes of state") && error.contains("choose another policy"), "{error}");
    }
}

#[test]
fn on_the_heap_where_old_keys_make_room() {
    let bomb = Bomb::of(SMALL, FULL);
    for backend in ["memory", "file"] {
        let arguments = ["--backend", backend, "--key-limit", "evict-oldest"];
        let Some(ended) = run(bomb, &arguments) else { return };
        let ended = ended.in_order();
        assert_eq!(count(&ended, "readings"), bomb.keys + bomb.keys / 10);
        let evicted = count(&ended, "keys_evicted");
        assert!(evicted > bomb.keys / 4 && evicted < 2 * bomb.keys, "{evicted}");
        ended.log("the keys not seen for longest are dropped");
    }
}

#[test]
fn on_the_heap_where_new_keys_are_refused() {
    let bomb = Bomb::of(SMALL, FULL);
    for backend in ["memory", "file"] {
        let arguments = ["--backend", backend, "--key-limit", "reject-to-dead-letter", "--quiet"];
        let Some(ended) = run(bomb, &arguments) else { return };
        let ended = ended.in_order();
        let rejected = ended.rejected();
        let (_, cause, rejected) = rejected.last().expect("the end names what was refused");
        assert_eq!(cause, "keys-max");
        assert!(*rejected > bomb.keys / 4, "{rejected}");
        // A key is held or refused, both times it comes.
        let again = ended.stdout.lines().count() as u64;
        assert!(again < bomb.keys / 10 && again > 0, "{again}");
    }
}

#[cfg(feature = "rocksdb")]
#[test]
fn in_rocksdb_which_holds_them_all() {
    let bomb = Bomb::of(SMALL, FULL);
    let Some(ended) = run(bomb, &["--backend", "rocksdb"]) else { return };
    let ended = ended.in_order();
    assert_eq!(ended.stdout.lines().count() as u64, bomb.keys / 10);
    assert!(ended.stdout.lines().all(|line| line.ends_with(",15)")));
}

#[cfg(feature = "sled")]
#[test]
fn in_sled_which_holds_fewer() {
    let bomb = Bomb::of(SMALL_SLED, FULL_SLED);
    let Some(ended) = run(bomb, &["--backend", "sled"]) else { return };
    let ended = ended.in_order();
    assert_eq!(ended.stdout.lines().count() as u64, bomb.keys / 10);
    assert!(ended.stdout.lines().all(|line| line.ends_with(",15)")));
}
