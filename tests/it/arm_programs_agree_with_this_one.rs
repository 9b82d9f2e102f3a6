//! The programs built for ARM, run by qemu: the reference job killed and carried on, state that changes processors, and a
//! recorded journal replayed to one hash. `make arm-test` builds the programs.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;

use crate::support::{
    Averages, CheckpointFolder, DEVICE, Demo, Program, Random, RemotePlace, Running, field, state_hash,
    wait_until, wait_until_shipped,
};

const KEYS: usize = 200;
const READINGS: usize = 2000;
const RECORDED_READINGS: usize = 100_000;
const BACKENDS: [&str; 3] = ["file", "sled", "rocksdb"];

fn lines(readings: &[(i64, i64)]) -> String {
    readings.iter().map(|(key, value)| format!("{key} {value}\n")).collect()
}

/// A life of the reference job: it takes its state up, gets half of `readings`, completes a checkpoint, gets the others, and is
/// killed when all results are in the file. Returns the log line of what was restored, where there was something.
fn life(
    demo: Demo,
    directory: &Path,
    backend: &str,
    readings: &[(i64, i64)],
    results: &str,
) -> Option<String> {
    let output = directory.join("results");
    let demo = demo.checkpoint_dir(&directory.join("data")).arg("--output").arg(&output);
    let running = demo.args(["--backend", backend, "--interval", "100ms"]).start();
    let mut connection = connect(&running);
    let (first, second) = readings.split_at(READINGS / 2);
    connection.write_all(lines(first).as_bytes()).unwrap();
    running.wait_for_log("checkpoint completed");
    connection.write_all(lines(second).as_bytes()).unwrap();
    let written = || std::fs::read_to_string(&output).unwrap_or_default();
    let missing = || format!("the results did not come; the log:\n{:#?}", running.logs(""));
    wait_until(|| written().len() >= results.len(), missing);
    let restored = running.logs("restored").first().cloned();
    running.kill();
    restored
}

fn connect(running: &Running) -> TcpStream {
    TcpStream::connect(running.listening_at()).unwrap()
}

#[test]
fn the_reference_job_is_killed_and_carries_on_from_processor_to_processor() {
    let arm = Program::of_arm();
    let native = Program::native();
    let mut random = Random::seeded();
    for program in &arm {
        for backend in BACKENDS {
            let directory = tempfile::tempdir().unwrap();
            let mut model = Averages::default();
            // Here, there, there again after a kill, and back.
            for (place, who) in [&native, program, program, &native].into_iter().enumerate() {
                let readings: Vec<_> = (0..READINGS).map(|_| random.reading(KEYS)).collect();
                model.add_all(&readings);
                let restored = life(who.demo(), directory.path(), backend, &readings, &model.outputs);
                let results = std::fs::read_to_string(directory.path().join("results")).unwrap();
                assert!(results == model.outputs, "{backend}, life {place} on {}", who.name);
                assert_eq!(restored.is_some(), place > 0, "{backend}, life {place} on {}", who.name);
                if let Some(restored) = restored {
                    eprintln!("{} {backend}: {}", who.name, restored.trim());
                }
            }
        }
    }
}

#[test]
fn a_recorded_journal_gives_the_same_state_and_results_everywhere() {
    let arm = Program::of_arm();
    if arm.is_empty() {
        return;
    }
    let mut random = Random::seeded();
    let directory = tempfile::tempdir().unwrap();
    let readings: Vec<_> = (0..RECORDED_READINGS).map(|_| random.reading(KEYS * 5)).collect();
    let recorded = Demo::run_on(lines(&readings), |demo| {
        // No checkpoint in the way: the journal holds it all.
        demo.checkpoint_dir(directory.path()).journaled("always").args(["--interval", "1h"])
    });
    let data = directory.path().display().to_string();
    let replay = ["replay", "--data-dir", &data];
    let here = Program::native().run(replay);
    assert_eq!(here.code, Some(0), "{}", here.stderr);
    assert_eq!(here.stdout, recorded.stdout, "a replay gives what was delivered");
    eprintln!("native: {} readings, state {}", readings.len(), state_hash(&here));
    for program in arm {
        let there = program.run(replay);
        assert_eq!(there.code, Some(0), "{}", there.stderr);
        eprintln!("{}: state {}", program.name, state_hash(&there));
        assert_eq!(state_hash(&there), state_hash(&here), "{}", program.name);
        assert!(there.stdout == here.stdout, "results differ on {}", program.name);
    }
}

#[test]
fn what_one_processor_shipped_another_restores() {
    let native = Program::native();
    let mut random = Random::seeded();
    for program in Program::of_arm() {
        for (from, to) in [(&native, &program), (&program, &native)] {
            let place = RemotePlace::new();
            let (key, remote) = (place.key(), place.remote());
            let device = |who: &Program, folder: &str| {
                let arguments = ["--interval", "200ms", "--remote-interval", "0s", "--remote", &remote];
                let device = ["--device", DEVICE, "--remote-key", &key, "--backend", "rocksdb"];
                who.demo().checkpoint_dir(&place.path().join(folder)).args(arguments).args(device).start()
            };
            let readings: Vec<_> = (0..READINGS).map(|_| random.reading(KEYS)).collect();
            let mut model = Averages::after(&readings);
            let running = device(from, "old");
            connect(&running).write_all(lines(&readings).as_bytes()).unwrap();
            running.wait_for_outputs(model.outputs.lines().count());
            wait_until_shipped(&running);
            let old = running.kill();
            assert_eq!(old.stdout, model.outputs);

            // The old one is lost with its disk.
            let running = device(to, "new");
            let restored = running.wait_for_log("restored");
            assert_eq!(field(&restored, "readings"), READINGS.to_string(), "{restored}");
            assert!(CheckpointFolder::of_demo(&place.path().join("new")).newest() > 0);
            model = model.without_outputs();
            let more: Vec<_> = (0..READINGS).map(|_| random.reading(KEYS)).collect();
            model.add_all(&more);
            connect(&running).write_all(lines(&more).as_bytes()).unwrap();
            running.wait_for_outputs(model.outputs.lines().count());
            assert_eq!(running.kill().stdout, model.outputs, "from {} to {}", from.name, to.name);
            eprintln!("from {} to {}: {}", from.name, to.name, restored.trim());
        }
    }
}

/// Functions that a C library and a processor may each compute in their own way.
const JOB: &str = r#"
[job]
name = "numbers"
[[source]]
name = "readings"
type = "tcp-listen"
address = "127.0.0.1:9000"
format = "csv"
schema = "k BIGINT, x DOUBLE"
[[query]]
name = "figures"
sql = """SELECT k, EXP(x / 100), LN(ABS(x) + 0.1), LOG10(ABS(x) + 0.1), SQRT(ABS(x)), POWER(ABS(x) + 0.1, 1.7), SIN(x), COS(x),
TAN(x), ASIN(x / 1000), ACOS(x / 1000), ATAN(x), ROUND(x, 2), x / 3, CAST(x AS STRING) FROM readings"""
[[query]]
name = "spread"
sql = "SELECT k, AVG(x) AS a, STDDEV_POP(x) AS s, VAR_SAMP(x) AS v, SUM(x) AS t FROM readings GROUP BY k"
[[sink]]
name = "figures"
type = "print"
from = "figures"
[[sink]]
name = "spread"
type = "print"
from = "spread"
"#;

#[test]
fn numbers_are_the_same_to_the_last_digit() {
    let arm = Program::of_arm();
    if arm.is_empty() {
        return;
    }
    let mut random = Random::seeded();
    let directory = tempfile::tempdir().unwrap();
    let (job, input) = (directory.path().join("job.toml"), directory.path().join("input.csv"));
    std::fs::write(&job, JOB).unwrap();
    let readings = (0..5000).map(|_| random.reading(1_000_000)).map(|(key, value)| {
        let x =
            f64::from(i32::try_from(key % 2000).unwrap()) - 1000.0 + 1.0 / (1.0 + (value % 97).abs() as f64);
        format!("{},{}\n", key % 50, x.clamp(-999.9, 999.9))
    });
    std::fs::write(&input, readings.collect::<String>()).unwrap();
    let arguments = ["test".as_ref(), job.as_os_str(), "--input".as_ref(), input.as_os_str()];
    let here = Program::native().run(arguments);
    assert_eq!(here.code, Some(0), "{}", here.stderr);
    assert!(here.stdout.lines().count() >= 10_000, "{}{}", here.stdout, here.stderr);
    for program in arm {
        let there = program.run(arguments);
        assert_eq!(there.code, Some(0), "{}", there.stderr);
        let differing = here.stdout.lines().zip(there.stdout.lines()).find(|(here, there)| here != there);
        assert_eq!(differing, None, "{}", program.name);
        assert_eq!(here.stdout.len(), there.stdout.len());
    }
}
