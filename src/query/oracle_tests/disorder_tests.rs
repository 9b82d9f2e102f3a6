//! Windows over readings in disorder give what SQLite gives of all of them, sorted.

use super::grammar::Kind;
use super::job::{each_case, rows_of};
use super::sqlite::{Cell, Sqlite};
use crate::disk::Random;

/// Cases of each kind of window.
const CASES: u64 = 40;
/// Most readings of a case.
const READINGS_MAX: u64 = 400;
/// What each window gives: its key and bounds, and aggregates.
const KINDS: [Kind; 8] =
    [Kind::Text, Kind::Text, Kind::Text, Kind::Int, Kind::Double, Kind::Int, Kind::Int, Kind::Double];
const AGGREGATES: &str = "COUNT(*) AS x3, AVG(v) AS x4, MIN(n) AS x5, COUNT(DISTINCT n) AS x6, MAX(v) AS x7";

/// Readings and their source.
struct Readings {
    schema: String,
    rows: Vec<Vec<Cell>>,
    lines: Vec<String>,
}

/// Readings whose event times, which `place` maps from 0 on, are behind the highest before them by `bound` seconds at most.
fn readings(random: &mut Random, bound: u64, place: fn(u64) -> u64) -> Readings {
    let span_ms = 1_000 * (1 + random.below(120));
    let mut readings: Vec<(u64, i64, Vec<Cell>)> = (0..random.below(READINGS_MAX))
        .map(|_| {
            // Bounds of windows, and times of other readings, are hit often.
            let step = [1, 250, 1_000][random.below(3) as usize];
            let time = place(random.below(span_ms) / step * step);
            let values = [Kind::Text, Kind::Double, Kind::Int].map(|kind| Cell::random(kind, random));
            let arrival = time + random.below(1_000 * bound + 1);
            (arrival, time.cast_signed(), values.to_vec())
        })
        .collect();
    readings.sort_by_key(|(arrival, ..)| *arrival);
    let schema = format!(
        "k STRING, v DOUBLE, n BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '{bound}' SECOND"
    );
    let (mut rows, mut lines) = (Vec::new(), Vec::new());
    for (_, time, values) in readings {
        let [k, v, n] = [0, 1, 2].map(|at: usize| values[at].json());
        lines.push(serde_json::json!({"k": k, "v": v, "n": n, "ts": time}).to_string());
        rows.push(values.into_iter().chain([Cell::Int(time)]).collect());
    }
    Readings { schema, rows, lines }
}

impl Readings {
    fn sqlite(&self) -> Sqlite {
        let columns = [("k", Kind::Text), ("v", Kind::Double), ("n2", Kind::Int), ("ts", Kind::Int)];
        Sqlite::with_readings(&columns.map(|(name, kind)| (name.to_owned(), kind)), &self.rows)
    }
}

/// Compares what `sql` gives with what `oracle` gives of the readings sorted, on one subtask and on three.
#[track_caller]
fn compare(readings: &Readings, sql: &str, oracle: &str, random: &mut Random) -> usize {
    let sorted = |mut rows: Vec<Vec<Cell>>| {
        rows.sort_by_key(|row| format!("{row:?}"));
        rows
    };
    let expected = sorted(readings.sqlite().rows(oracle, &KINDS, None));
    for parallelism in [1, 3] {
        let found = sorted(rows_of(&readings.schema, sql, &readings.lines, &KINDS, random, parallelism));
        assert_eq!(found, expected, "parallelism {parallelism}: {sql}\n{}", readings.lines.join("\n"));
    }
    2 * expected.len()
}

/// A time in milliseconds as the text we write.
fn as_text(time: &str) -> String {
    format!(
        "(strftime('%Y-%m-%dT%H:%M:%S', ({time}) / 1000, 'unixepoch') || printf('.%03dZ', ({time}) % 1000))"
    )
}

/// SQLite's query over `windows`, readings that each have the bounds of a window.
fn oracle(windows: &str) -> String {
    let aggregates = AGGREGATES.replace("(n)", "(n2)").replace("DISTINCT n)", "DISTINCT n2)");
    let (start, end) = (as_text("s"), as_text("e"));
    format!("SELECT k, {start}, {end}, {aggregates} FROM ({windows}) GROUP BY k, s, e")
}

#[test]
fn tumbling_windows_are_exact() {
    let count = each_case(CASES, |random| {
        let bound = random.below(20);
        let readings = readings(random, bound, |time| time);
        let size = 1 + random.below(30);
        let sql = if random.below(2) == 0 {
            format!(
                "SELECT k AS x0, window_start AS x1, window_end AS x2, {AGGREGATES} \
                 FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '{size}' SECOND)) \
                 GROUP BY k, window_start, window_end"
            )
        } else {
            let window = format!("(ts, INTERVAL '{size}' SECOND)");
            format!(
                "SELECT k AS x0, TUMBLE_START{window} AS x1, TUMBLE_END{window} AS x2, {AGGREGATES} \
                 FROM readings GROUP BY k, TUMBLE{window}"
            )
        };
        let start = format!("ts / {0} * {0}", 1_000 * size);
        let oracle =
            oracle(&format!("SELECT *, {start} AS s, {start} + {} AS e FROM readings", 1_000 * size));
        compare(&readings, &sql, &oracle, random)
    });
    println!("tumbling windows: {count} rows are those of SQLite");
}

#[test]
fn hopping_windows_are_exact() {
    let count = each_case(CASES, |random| {
        let bound = random.below(20);
        // SQLite's division is not that of times before 1970, which the first windows would begin at.
        let readings = readings(random, bound, |time| time + 1_000_000_000);
        let (slide, overlaps) = (1 + random.below(10), 1 + random.below(6));
        let size = slide * overlaps;
        let sql = format!(
            "SELECT k AS x0, window_start AS x1, window_end AS x2, {AGGREGATES} \
             FROM TABLE(HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '{slide}' SECOND, INTERVAL '{size}' SECOND)) \
             GROUP BY k, window_start, window_end"
        );
        let numbers: Vec<String> = (0..overlaps).map(|number| format!("({number})")).collect();
        let start = format!("(ts / {0} - column1) * {0}", 1_000 * slide);
        let oracle = oracle(&format!(
            "SELECT *, {start} AS s, {start} + {} AS e FROM readings, (VALUES {})",
            1_000 * size,
            numbers.join(", ")
        ));
        compare(&readings, &sql, &oracle, random)
    });
    println!("hopping windows: {count} rows are those of SQLite");
}

/// A reading at the very end of a session belongs to it while it has not given its results, as in Flink: that depends on the readings of
/// other keys. Here no two readings are as far apart as the gap.
#[test]
fn sessions_are_exact() {
    let count = each_case(CASES, |random| {
        let bound = random.below(20);
        let readings = readings(random, bound, |time| time / 2 * 2);
        let gap = 1 + random.below(5);
        let window = format!("(ts, INTERVAL '{gap}.001' SECOND)");
        let sql = format!(
            "SELECT k AS x0, SESSION_START{window} AS x1, SESSION_END{window} AS x2, {AGGREGATES} \
             FROM readings GROUP BY k, SESSION{window}"
        );
        let gap_ms = 1_000 * gap + 1;
        let oracle = oracle(&format!(
            "SELECT *, MIN(ts) OVER session AS s, MAX(ts) OVER session + {gap_ms} AS e FROM (
               SELECT *, SUM(distance IS NULL OR distance > {gap_ms})
                         OVER (PARTITION BY k ORDER BY ts, n ROWS UNBOUNDED PRECEDING) AS number FROM (
                 SELECT *, ts - LAG(ts) OVER (PARTITION BY k ORDER BY ts, n) AS distance FROM readings))
             WINDOW session AS (PARTITION BY k, number)"
        ));
        compare(&readings, &sql, &oracle, random)
    });
    println!("sessions: {count} rows are those of SQLite");
}
