//! The process is killed and its data directory is gone: the next start, on this device or another, carries on from the
//! remote.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;

use crate::support::{
    Averages, CheckpointFolder, Demo, Ended, Random, RemotePlace, Running, wait_until_shipped,
};

const KEYS: usize = 50;

fn output_count(averages: &Averages) -> usize {
    averages.outputs.lines().count()
}

#[test]
fn the_averages_carry_on() {
    carry_on("file");
}

#[test]
fn the_averages_carry_on_in_rocksdb() {
    carry_on("rocksdb");
}

#[test]
fn the_averages_carry_on_in_sled() {
    carry_on("sled");
}

fn carry_on(backend: &str) {
    let mut random = Random::seeded();
    let place = RemotePlace::new();
    let mut state = Averages::default();
    for life in 0..3 {
        let readings: Vec<_> = (0..400).map(|_| random.reading(KEYS)).collect();
        let running = place.demo().args(["--backend", backend]).start();
        if life > 0 {
            running.wait_for_log("restored from the remote");
        }
        state.add_all(&readings);
        send(&running, &readings, output_count(&state));
        let killed = running.kill();
        assert_eq!(killed.stdout, state.outputs, "in life {life}");
        std::fs::remove_dir_all(place.data()).unwrap();
        state = state.without_outputs();
    }
    let list = place.run(&["checkpoint", "list", &place.remote(), "--json"]);
    assert_eq!((list.0, list.1.lines().count()), (Some(0), 3), "{}", list.2);
    let newest = list.1.lines().next().unwrap();
    assert!(newest.contains(r#""readings":1200"#), "{newest}");
    let verified = place.run(&["checkpoint", "verify", &place.remote()]);
    assert_eq!((verified.0, verified.1.matches("whole").count()), (Some(0), 3), "{}", verified.2);
}

/// Sends readings, waits for their results, and until the remote has the checkpoint that holds them.
fn send(running: &Running, readings: &[(i64, i64)], outputs: usize) {
    let lines: String = readings.iter().map(|(key, value)| format!("{key} {value}\n")).collect();
    TcpStream::connect(running.listening_at()).unwrap().write_all(lines.as_bytes()).unwrap();
    running.wait_for_outputs(outputs);
    wait_until_shipped(running);
}

#[test]
fn a_damaged_newest_is_passed_over_and_a_restore_by_hand_says_what_it_does() {
    let place = RemotePlace::new();
    let running = place.demo().start();
    let mut state = Averages::default();
    for readings in [[(1, 10), (1, 20)], [(1, 30), (1, 40)]] {
        state.add_all(&readings);
        send(&running, &readings, output_count(&state));
    }
    let _stopped: Ended = running.stop().in_order();
    let manifests = place.objects("manifests");
    std::fs::write(manifests.last().unwrap(), b"nonsense").unwrap();
    let elsewhere = place.path().join("elsewhere");
    let target = elsewhere.display().to_string();

    let remote = place.remote();
    let dry = place.run(&["restore", "--remote", &remote, "--data-dir", &target, "--dry-run"]);
    assert_eq!(dry.0, Some(0), "{}", dry.2);
    assert!(dry.1.contains("is whole") && !elsewhere.exists(), "{}", dry.1);

    let restored = place.run(&["restore", "--remote", &remote, "--data-dir", &target]);
    assert_eq!(restored.0, Some(0), "{}", restored.2);
    assert!(restored.1.contains("restored checkpoint"), "{}", restored.1);
    assert!(restored.2.contains("passed over"), "{}", restored.2);
    assert!(CheckpointFolder::of_demo(&elsewhere).newest() > 0);

    let again = place.run(&["restore", "--remote", &remote, "--data-dir", &target]);
    assert_eq!(again.0, Some(78), "{}", again.2);
    let verify = place.run(&["checkpoint", "verify", &remote]);
    assert_eq!(verify.0, Some(70), "{}", verify.2);
    let local = place.run(&["checkpoint", "list", Path::new(&target).to_str().unwrap()]);
    assert_eq!((local.0, local.1.lines().count()), (Some(0), 1), "{}", local.2);
}

#[test]
fn a_remote_that_cannot_be_had_stops_the_start_but_not_a_running_job() {
    let place = RemotePlace::new();
    // As when nothing is mounted.
    let remote = place.path().join("remote");
    std::fs::remove_dir(&remote).unwrap();
    let ended = place.demo().run();
    assert_eq!(ended.code, Some(69), "{}", ended.stderr);
    assert_eq!(
        ended.stderr.lines().last().map(|line| line.contains("--fresh")),
        Some(true),
        "{}",
        ended.stderr
    );
    let running = place.demo().args(["--fresh"]).start();
    let line = running.wait_for_log("checkpoints do not reach the remote");
    assert!(line.contains("mount what it is on") && !remote.exists(), "{line}");
    TcpStream::connect(running.listening_at()).unwrap().write_all(b"1 2\n1 4\n").unwrap();
    running.wait_for_outputs(1);
    std::fs::create_dir(&remote).unwrap();
    running.wait_for_log("the remote answers again");
    running.wait_for_log("checkpoint shipped");
    let _ended = running.stop().in_order();
}

#[test]
fn an_unsigned_remote_is_refused_unless_written_out() {
    let place = RemotePlace::new();
    let demo = Demo::listen().checkpoint_dir(&place.data()).args(["--remote", &place.remote()]);
    let refused = demo.run();
    assert_eq!(refused.code, Some(78));
    assert!(refused.stderr.contains("--allow-unsigned"), "{}", refused.stderr);
}
