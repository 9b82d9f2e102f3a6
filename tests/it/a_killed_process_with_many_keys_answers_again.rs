//! A process with many keys is killed: the next one has them all, replays only what came after the checkpoint, and answers.
//!
//! How long that takes with 1,000,000 keys is printed by `make bench`.

use std::fmt::Write;

use crate::support::{CheckpointFolder, Demo, LineServer, Running, field, send, wait_until};

const KEYS: i64 = 100_000;
/// Readings behind the checkpoint.
const TAIL: usize = 1000;

fn start(server: &LineServer, backend: &str, directory: &std::path::Path, interval: &str) -> Running {
    let demo = Demo::connect(server.address()).journaled("always");
    demo.args(["--backend", backend, "--interval", interval]).checkpoint_dir(directory).start()
}

fn survive(backend: &str) {
    let directory = tempfile::tempdir().unwrap();
    let folder = CheckpointFolder::of_demo(directory.path());
    let server = LineServer::start();
    let running = start(&server, backend, directory.path(), "200ms");
    let mut client = server.accept();
    let mut lines = String::new();
    (0..KEYS).for_each(|key| writeln!(lines, "{key} 10").unwrap());
    // The last one's second reading gives the only result.
    writeln!(lines, "{} 10", KEYS - 1).unwrap();
    send(&mut client, &lines);
    running.wait_for_outputs(1);
    running.wait_for_log(&format!("keys={KEYS} "));
    running.kill();
    drop(client);

    // No checkpoint of its own: what it takes in lies in the journal alone.
    let newest = folder.newest();
    let server = LineServer::start();
    let running = start(&server, backend, directory.path(), "1h");
    let mut client = server.accept();
    let tail: Vec<String> = (0..TAIL).map(|key| format!("{key} 20\n")).collect();
    send(&mut client, tail.concat());
    running.wait_for_outputs(TAIL);
    assert_eq!(folder.newest(), newest);
    running.kill();
    drop(client);

    let server = LineServer::start();
    let running = start(&server, backend, directory.path(), "1h");
    let mut client = server.accept();
    // From the state in the checkpoint, from the journal behind it, and from both.
    send(&mut client, format!("{} 30\n{} 40\n0 60\n", KEYS / 2, KEYS - 1));
    let last = "(0,30)\n";
    wait_until(|| running.output().ends_with(last), || "the last result did not come".to_owned());
    drop(client);
    let ended = running.wait().in_order();
    let expected = format!("({},20)\n({},20)\n{last}", KEYS / 2, KEYS - 1);
    assert!(ended.stdout.ends_with(&expected), "results of what was sent last");
    // Standard output is no file: what was replayed may be printed again, and nothing else.
    let again: String = (0..TAIL).map(|key| format!("({key},15)\n")).collect();
    let printed = ended.stdout.strip_suffix(&expected).unwrap();
    assert!(again.ends_with(printed), "results that were there before, or none");
    let replayed: usize = field(&ended.log(" ended "), "replayed").parse().unwrap();
    assert_eq!(replayed, TAIL, "only what came behind the checkpoint: {}", ended.stderr);
}

#[test]
fn from_parts() {
    survive("file");
}

#[cfg(feature = "rocksdb")]
#[test]
fn from_linked_files_of_rocksdb() {
    survive("rocksdb");
}

#[cfg(feature = "sled")]
#[test]
fn from_parts_into_sled() {
    survive("sled");
}
