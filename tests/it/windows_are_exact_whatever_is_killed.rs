//! Windows over readings in disorder are those that SQLite makes of all readings, however often the program is killed meanwhile.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rusqlite::Connection;

use crate::support::{Demo, Random, Running, WAIT_MAX, wait_until};

const READINGS: usize = 200_000;
const SENSORS: usize = 50;
const KILLS: usize = 10;
/// Milliseconds of event time from one reading to the next.
const STEP_MS: usize = 10;
/// How far a reading may be behind, in milliseconds: the bound of the watermark in the job.
const DISORDER_MS: usize = 5_000;
/// The time of the first reading: 2026-01-01 00:00:00 UTC, in milliseconds.
const START_MS: usize = 1_767_225_600_000;
/// Longest time from a start, or from the first results behind it, to the kill. Together they are shorter than the input takes, which is
/// synced batch by batch.
const KILL_AFTER_MS_MAX: usize = 120;

/// A job of tumbling and hopping windows, with small batches so that the kills come before the end of the input.
const JOB: &str = r#"
[job]
name = "windows"
batch-frames-max = 64
batches-in-flight = 2

[state]
directory = "state"

[checkpoint]
interval = "30ms"

[[source]]
name = "readings"
type = "file"
path = "readings.jsonl"
format = "json"
schema = "sensor STRING, value DOUBLE, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND"

[[query]]
name = "tumbling"
sql = """
SELECT sensor, window_start, COUNT(*) AS n, AVG(value) AS mean, MIN(value) AS low, MAX(value) AS high
FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND))
GROUP BY sensor, window_start, window_end
"""

[[query]]
name = "hopping"
sql = """
SELECT sensor, window_start, SUM(value) AS total
FROM TABLE(HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '30' SECOND, INTERVAL '60' SECOND))
WHERE value > 0
GROUP BY sensor, window_start, window_end
"""

[[sink]]
name = "tumbling"
from = "tumbling"
type = "file"
path = "tumbling.txt"
format = "text"

[[sink]]
name = "hopping"
from = "hopping"
type = "file"
path = "hopping.txt"
format = "text"
"#;

const TUMBLING: &str =
    "SELECT sensor, ts / 10000 * 10000 AS start, COUNT(*), AVG(value), MIN(value), MAX(value)
    FROM readings GROUP BY sensor, start";
const HOPPING: &str = "SELECT sensor, (ts / 30000 - column1) * 30000 AS start, SUM(value)
    FROM readings, (VALUES (0), (1)) WHERE value > 0 GROUP BY sensor, start";

/// Writes readings in disorder, and returns the same in a table.
fn readings(directory: &Path, random: &mut Random) -> Connection {
    let sqlite = Connection::open_in_memory().unwrap();
    sqlite.execute_batch("CREATE TABLE readings (sensor TEXT, value REAL, ts INTEGER); BEGIN").unwrap();
    let mut insert = sqlite.prepare("INSERT INTO readings VALUES (?, ?, ?)").unwrap();
    let mut readings: Vec<(usize, String)> = (0..READINGS)
        .map(|number| {
            let sensor = format!("s{}", random.within(0..SENSORS));
            let value = random.within(0..4_000) as f64 * 0.25 - 500.0;
            let ts = START_MS + number * STEP_MS;
            assert_eq!(insert.execute((&sensor, value, i64::try_from(ts).unwrap())).unwrap(), 1);
            let line = format!("{{\"sensor\":\"{sensor}\",\"value\":{value:?},\"ts\":{ts}}}\n");
            (ts + random.within(0..DISORDER_MS), line)
        })
        .collect();
    drop(insert);
    sqlite.execute_batch("COMMIT").unwrap();
    readings.sort_by_key(|(arrival, _)| *arrival);
    let text: String = readings.into_iter().map(|(_, line)| line).collect();
    std::fs::write(directory.join("readings.jsonl"), text).unwrap();
    sqlite
}

/// The rows of a query over the table as the sink writes them, sorted.
fn expected(sqlite: &Connection, sql: &str) -> Vec<String> {
    let mut statement = sqlite.prepare(sql).unwrap();
    let columns = statement.column_count();
    let mut rows = statement.query(()).unwrap();
    let mut lines = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        let start: i64 = row.get(1).unwrap();
        let start = jiff::Timestamp::from_millisecond(start).unwrap().strftime("%Y-%m-%dT%H:%M:%S.000Z");
        let mut line = format!("{} {start}", row.get::<_, String>(0).unwrap());
        for column in 2..columns {
            match row.get_ref(column).unwrap() {
                rusqlite::types::ValueRef::Integer(value) => write!(line, " {value}").unwrap(),
                rusqlite::types::ValueRef::Real(value) => write!(line, " {value:?}").unwrap(),
                other => panic!("{other:?} is no number"),
            }
        }
        lines.push(line);
    }
    lines.sort();
    lines
}

fn start(directory: &Path, backend: &str, parallelism: usize) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.arg("run").arg(directory.join("windows.toml"));
    command.arg("--set").arg(format!("state.backend={backend}"));
    command.arg("--set").arg(format!("job.parallelism={parallelism}"));
    Demo::of(command).start()
}

fn survive(backend: &str, parallelism: usize) {
    let mut random = Random::seeded();
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    std::fs::write(directory.join("windows.toml"), JOB).unwrap();
    let sqlite = readings(directory, &mut random);
    let written = || std::fs::metadata(directory.join("tumbling.txt")).map_or(0, |file| file.len());
    let mut sizes = Vec::new();
    for kill in 0..KILLS {
        let before = written();
        let running = start(directory, backend, parallelism);
        // Some kills come while the program starts, most while it works.
        if kill % 4 != 3 {
            wait_until(|| written() > before, || "there are no more results".to_owned());
        }
        std::thread::sleep(Duration::from_millis(random.within(0..KILL_AFTER_MS_MAX) as u64));
        let ended = running.kill();
        assert_eq!(ended.code, None, "it was done before the kill:\n{}", ended.stderr);
        sizes.push(written());
    }
    let last = start(directory, backend, parallelism).wait_within(4 * WAIT_MAX, |_| {}).in_order();
    assert_eq!(last.rejected(), []);
    for (sink, sql) in [("tumbling", TUMBLING), ("hopping", HOPPING)] {
        let text = std::fs::read_to_string(directory.join(format!("{sink}.txt"))).unwrap();
        let mut found: Vec<&str> = text.lines().collect();
        found.sort_unstable();
        let expected = expected(&sqlite, sql);
        let differs = found.iter().zip(&expected).find(|(found, expected)| *found != expected);
        assert_eq!(differs, None, "{sink}: the first row that is not SQLite's");
        assert_eq!(found.len(), expected.len(), "{sink}");
        println!("{backend}, {sink}: {} rows are those of SQLite", found.len());
    }
    println!("bytes of results at the kills {sizes:?}, at the end {}", written());
}

#[test]
fn with_state_in_files() {
    survive("file", 1);
}

#[test]
fn with_state_in_files_on_three_subtasks() {
    survive("file", 3);
}

#[cfg(feature = "rocksdb")]
#[test]
fn with_state_in_rocksdb() {
    survive("rocksdb", 1);
}
