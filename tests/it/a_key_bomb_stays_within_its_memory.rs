//! A new key with each reading: whatever the backend and the policy, the process stays within its memory, and its counters
//! tell what was done.
//!
//! Each program runs in a memory cgroup half as large again as its `--memory-max`: being killed there fails the test.
//! Figures at full size are in `docs/state.md`.

use std::fmt::Write;

use crate::support::{Demo, Ended, LineServer, MemoryCgroup, field};

const KEYS: u64 = 1_000_000;
const MEMORY_MAX: u64 = 64 << 20;

/// Every key once in a scattered order, then every tenth of them a second time.
fn bomb(keys: u64) -> Vec<u8> {
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
fn run(keys: u64, memory_max: u64, arguments: &[&str]) -> Option<Ended> {
    let cgroup = MemoryCgroup::new(memory_max / 2 * 3)?;
    let directory = tempfile::tempdir().unwrap();
    let server = LineServer::start();
    let demo = Demo::connect(server.address())
        .checkpoint_dir(directory.path())
        .args(["--memory-max", &memory_max.to_string()])
        .args(arguments.iter().copied())
        .in_cgroup(&cgroup);
    let mut lines = bomb(keys);
    let sending = std::thread::spawn(move || {
        use std::io::Write;
        // A job that ends at its limit takes no more.
        drop(server.accept().write_all(&lines));
        lines.clear();
    });
    let ended = demo.run();
    sending.join().unwrap();
    cgroup.assert_nothing_was_killed();
    Some(ended)
}

fn count(ended: &Ended, name: &str) -> u64 {
    field(&ended.log(" ended "), name).parse().unwrap()
}

#[test]
fn on_the_heap_where_new_keys_stop_the_job() {
    for backend in ["memory", "file"] {
        let Some(ended) = run(KEYS, MEMORY_MAX, &["--backend", backend]) else { return };
        assert_eq!(ended.code, Some(70), "{backend}: {}", ended.stderr);
        let error = ended.log("error:");
        assert!(error.contains("bytes of state") && error.contains("choose another policy"), "{error}");
    }
}

#[test]
fn on_the_heap_where_old_keys_make_room() {
    for backend in ["memory", "file"] {
        let arguments = ["--backend", backend, "--key-limit", "evict-oldest"];
        let Some(ended) = run(KEYS, MEMORY_MAX, &arguments) else { return };
        let ended = ended.in_order();
        assert_eq!(count(&ended, "readings"), KEYS + KEYS / 10);
        let evicted = count(&ended, "keys_evicted");
        assert!(evicted > KEYS / 4 && evicted < 2 * KEYS, "{evicted}");
        ended.log("the keys not seen for longest are dropped");
    }
}

#[test]
fn on_the_heap_where_new_keys_are_refused() {
    for backend in ["memory", "file"] {
        let arguments = ["--backend", backend, "--key-limit", "reject-to-dead-letter", "--quiet"];
        let Some(ended) = run(KEYS, MEMORY_MAX, &arguments) else { return };
        let ended = ended.in_order();
        let rejected = ended.rejected();
        let (_, cause, rejected) = rejected.last().expect("the end names what was refused");
        assert_eq!(cause, "keys-max");
        assert!(*rejected > KEYS / 4, "{rejected}");
        // A key is held or refused, both times it comes.
        let again = ended.stdout.lines().count() as u64;
        assert!(again < KEYS / 10 && again > 0, "{again}");
    }
}

#[cfg(feature = "rocksdb")]
#[test]
fn in_rocksdb_which_holds_them_all() {
    let Some(ended) = run(KEYS, MEMORY_MAX, &["--backend", "rocksdb"]) else { return };
    let ended = ended.in_order();
    assert_eq!(ended.stdout.lines().count() as u64, KEYS / 10);
    assert!(ended.stdout.lines().all(|line| line.ends_with(",15)")));
}

#[cfg(feature = "sled")]
#[test]
fn in_sled_which_holds_a_tenth() {
    let Some(ended) = run(KEYS / 10, 2 * MEMORY_MAX, &["--backend", "sled"]) else { return };
    let ended = ended.in_order();
    assert_eq!(ended.stdout.lines().count() as u64, KEYS / 100);
    assert!(ended.stdout.lines().all(|line| line.ends_with(",15)")));
}
