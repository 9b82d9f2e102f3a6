//! The job files that come with the program are right: `check` takes each, `test` gives what is kept beside its samples, and `run`
//! does the reference job.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Demo, LineServer, send, tidegate};

/// Each job with the end of its samples' name, and of that of its results.
const JOBS: [(&str, &str, &str); 5] = [
    ("cold-chain", "jsonl", "expected.txt"),
    ("doors", "jsonl", "expected.jsonl"),
    ("energy", "jsonl", "expected.txt"),
    ("running-average", "txt", "expected.txt"),
    ("vibration", "jsonl", "expected.jsonl"),
];
/// Shows every key; its files and servers are nowhere.
const REFERENCE: &str = "reference";
/// The defaults of `tidegate demo`, no job.
const DEMO: &str = "demo";

fn config() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}

fn job(name: &str) -> PathBuf {
    config().join(format!("{name}.toml"))
}

fn arguments(command: &str, job: &Path, rest: &[&Path]) -> Vec<PathBuf> {
    [Path::new(command), job].into_iter().chain(rest.iter().copied()).map(Path::to_owned).collect()
}

#[test]
fn every_job_is_listed_here() {
    let listed: BTreeSet<PathBuf> =
        JOBS.iter().map(|(name, ..)| *name).chain([REFERENCE, DEMO]).map(job).collect();
    let files = std::fs::read_dir(config()).unwrap().map(|entry| entry.unwrap().path());
    let there: BTreeSet<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    assert_eq!(there, listed);
}

#[test]
fn each_is_right() {
    for name in JOBS.iter().map(|(name, ..)| *name).chain([REFERENCE]) {
        let ended = tidegate(arguments("check", &job(name), &[])).in_order();
        assert!(ended.stdout.starts_with(&format!("job {name}\n")), "{}", ended.stdout);
        assert!(ended.stdout.ends_with("\nok\n"), "{}", ended.stdout);
        assert_eq!(ended.stderr, "");
    }
}

#[test]
fn each_gives_what_is_kept_beside_its_samples() {
    for (name, input, expected) in JOBS {
        let samples = config().join("samples");
        let expected = samples.join(format!("{name}.{expected}"));
        let input = samples.join(format!("{name}.{input}"));
        let flags = [Path::new("--input"), &input, Path::new("--expect"), &expected];
        let ended = tidegate(arguments("test", &job(name), &flags)).in_order();
        assert_eq!(ended.stdout, std::fs::read_to_string(&expected).unwrap(), "{name}");
    }
}

#[test]
fn a_result_that_is_not_expected_is_shown() {
    let samples = config().join("samples");
    let directory = tempfile::tempdir().unwrap();
    let wrong = directory.path().join("wrong.txt");
    let right = std::fs::read_to_string(samples.join("running-average.expected.txt")).unwrap();
    std::fs::write(&wrong, right.replacen("(2,223)", "(2,224)", 1)).unwrap();
    let input = samples.join("running-average.txt");
    let flags = [Path::new("--input"), &input, Path::new("--expect"), &wrong];
    let ended = tidegate(arguments("test", &job("running-average"), &flags));
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("line 2:\n  expected (2,224)\n  found    (2,223)"), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
}

#[test]
fn the_reference_job_runs_from_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let server = LineServer::start();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.arg("run").arg(job("running-average"));
    command.arg("--set").arg(format!("source.readings.address={}", server.address()));
    command.arg("--set").arg(format!("state.directory={}", directory.path().display()));
    let running = Demo::of(command).start();
    let mut client = server.accept();
    send(&mut client, "1 3\n1 5\n1 7\n1 4\n1 2\n");
    running.wait_for_outputs(4);
    let ended = running.stop().in_order();
    assert_eq!(ended.stdout, "(1,4)\n(1,5)\n(1,4)\n(1,4)\n");
    assert_eq!(ended.rejected(), []);
    assert!(directory.path().join("running-average").is_dir());
}
