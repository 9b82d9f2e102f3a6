//! A sensor whose clock is wrong closes and holds back nobody else's windows: with a watermark for each key group, and, when it is far
//! ahead, because its readings are put aside.

use std::path::Path;

use crate::support::{Ended, tidegate};

const SENSORS: [&str; 2] = ["cellar", "attic"];
/// 2026-01-01 00:00:00 UTC, in milliseconds.
const START_MS: i64 = 1_767_225_600_000;
/// One window a minute.
const MINUTES: i64 = 3;
const READINGS_PER_MINUTE: i64 = 6;

/// A job with `keys` of its source and query.
fn job(source_keys: &str, query_keys: &str) -> String {
    format!(
        r#"
[job]
name = "clocks"

[state]
backend = "memory"

[[source]]
name = "readings"
type = "file"
path = "readings.jsonl"
format = "json"
schema = "sensor STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND"
{source_keys}

[[query]]
name = "minutes"
sql = """
SELECT sensor, COUNT(*) AS readings
FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
GROUP BY sensor, window_start, window_end
"""
{query_keys}

[[sink]]
name = "minutes"
from = "minutes"
type = "print"
format = "text"
"#
    )
}

/// Readings of all sensors by turns; the clock of the last one is `ahead_ms` ahead.
fn readings(ahead_ms: i64) -> String {
    let times = (0..MINUTES * READINGS_PER_MINUTE).map(|at| START_MS + at * 60_000 / READINGS_PER_MINUTE);
    let of_time = |time: i64| {
        let ahead = [0, ahead_ms];
        let line = move |(sensor, ahead)| format!("{{\"sensor\":\"{sensor}\",\"ts\":{}}}\n", time + ahead);
        SENSORS.into_iter().zip(ahead).map(line)
    };
    times.flat_map(of_time).collect()
}

fn test(directory: &Path, job: &str, ahead_ms: i64) -> Ended {
    let (file, samples) = (directory.join("clocks.toml"), directory.join("samples.jsonl"));
    std::fs::write(&file, job).unwrap();
    std::fs::write(&samples, readings(ahead_ms)).unwrap();
    tidegate([Path::new("test"), &file, Path::new("--input"), &samples]).in_order()
}

/// The results of a sensor, in their order.
fn of<'a>(ended: &'a Ended, sensor: &str) -> Vec<&'a str> {
    ended.stdout.lines().filter_map(|line| line.strip_prefix(sensor)).map(str::trim).collect()
}

#[test]
fn with_a_watermark_for_each_key_group() {
    let directory = tempfile::tempdir().unwrap();
    let half_an_hour = 30 * 60_000;
    let shared = test(directory.path(), &job("", ""), half_an_hour);
    assert_eq!((of(&shared, SENSORS[0]), of(&shared, SENSORS[1])), (vec!["1"], vec!["6", "6", "6"]));
    assert!(shared.stderr.contains("late"), "{}", shared.stderr);
    let apart = test(directory.path(), &job("", "watermark-per = \"key-group\""), half_an_hour);
    assert_eq!((of(&apart, SENSORS[0]), of(&apart, SENSORS[1])), (vec!["6"; 3], vec!["6"; 3]));
    assert!(!apart.stderr.contains("late"), "{}", apart.stderr);
}

#[test]
fn unless_it_is_more_than_an_hour_ahead_of_the_gateway() {
    let directory = tempfile::tempdir().unwrap();
    let two_hours = 2 * 3_600_000;
    let aside = test(directory.path(), &job("", ""), two_hours);
    assert_eq!((of(&aside, SENSORS[0]), of(&aside, SENSORS[1])), (vec!["6"; 3], vec![]));
    assert!(aside.stderr.contains("time-ahead") && aside.stderr.contains("18"), "{}", aside.stderr);
    let taken = test(directory.path(), &job("max-ahead = \"off\"", ""), two_hours);
    assert_eq!((of(&taken, SENSORS[0]), of(&taken, SENSORS[1])), (vec!["1"], vec!["6"; 3]));
}
