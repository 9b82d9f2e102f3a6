//! One file of a killed program's directory is damaged: the next start ends in order, with the results of an uninterrupted
//! run, or says on standard error what is wrong.
//!
//! What a start says of an end that looks torn counts too: then only the end may be missing.

use std::path::{Path, PathBuf};

use crate::support::{Averages, Demo, LineServer, Random, send, wait_until};

const CASES: u64 = 12;
const READINGS: usize = 5_000;

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> =
        entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect();
    // Neither the reserve, the lock nor the control socket hold anything.
    found.retain(|path| path.is_file() && !path.ends_with("reserve") && !path.ends_with("LOCK"));
    found.sort();
    found
}

/// Flips a bit, cuts, or zeroes a piece of one file; says what it did.
fn damage(directory: &Path, random: &mut Random) -> String {
    let files = files(directory);
    let path = &files[random.within(0..files.len())];
    let mut bytes = std::fs::read(path).unwrap();
    let written = bytes.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1).min(bytes.len());
    let position = random.within(0..written.max(1));
    let harm = random.within(0..3);
    match harm {
        0 => bytes[position] ^= 1,
        1 => bytes.truncate(position),
        _ => bytes[position..].iter_mut().take(512).for_each(|byte| *byte = 0),
    }
    std::fs::write(path, bytes).unwrap();
    format!("harm {harm} to {} at byte {position}", path.display())
}

#[test]
fn after_a_kill() {
    let all = Random::seeded();
    for case in 0..CASES {
        let mut random = all.case(case);
        let readings: Vec<(i64, i64)> = (0..READINGS).map(|_| random.reading(50)).collect();
        let lines: String = readings.iter().map(|(key, value)| format!("{key} {value}\n")).collect();
        let expected = Averages::after(&readings).outputs;
        let directory = tempfile::tempdir().unwrap();
        let results = directory.path().join("results");
        let data = directory.path().join("data");
        let demo = |server: &LineServer| {
            let demo = Demo::connect(server.address()).journaled("always").args(["--interval", "50ms"]);
            demo.arg("--output").arg(&results).checkpoint_dir(&data)
        };
        let server = LineServer::start();
        let running = demo(&server).start();
        let mut connection = server.accept();
        send(&mut connection, &lines);
        wait_until(
            || std::fs::metadata(&results).is_ok_and(|file| file.len() == expected.len() as u64),
            || "the results do not come".to_owned(),
        );
        running.kill();

        let what = damage(&data, &mut random);
        let server = LineServer::start();
        let next = demo(&server);
        let serving = server.serve("");
        let ended = next.run().in_order();
        serving.join().unwrap();
        let results = std::fs::read_to_string(&results).unwrap();
        let is_reported = ended.stderr.contains(" WARN ") || ended.stderr.contains("ERROR ");
        // Nothing vouches for the journal's last record: damaged, it looks like one that was being written.
        let is_torn = ended.stderr.contains("ends in a torn record") && expected.starts_with(&results);
        assert!(
            results == expected || is_reported || is_torn,
            "case {case}, {what}: nothing is said; the log:\n{}",
            ended.stderr
        );
    }
}
