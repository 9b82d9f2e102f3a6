//! Whole jobs of queries over recorded input.

use std::time::Duration;

use super::*;
use crate::runtime::{JobReport, Settings};
use crate::sink::{Collected, SinkSpec};
use crate::source::{END_OF_INPUT, RecordedBatch, RecordedInput, SourceSpec};
use crate::stream::Environment;

/// A source of the name `readings`.
fn source(schema: &str, format: Format) -> QuerySource {
    QuerySource::new("readings", Schema::parse("readings", schema).unwrap(), format)
}

/// Runs `sql` over `lines`, some of them a batch, and returns its rows as JSON, and what was rejected.
pub(super) fn run(
    source: QuerySource,
    sql: &str,
    lines: &[&str],
    batch: usize,
    parallelism: usize,
) -> (Vec<String>, JobReport) {
    run_with((source, sql, QueryOptions::default()), lines, (0, batch), parallelism)
}

/// The same with what the query is told; the clock begins at `start_ms` and takes a second for each batch.
pub(super) fn run_with(
    (source, sql, options): (QuerySource, &str, QueryOptions),
    lines: &[&str],
    (start_ms, batch): (i64, usize),
    parallelism: usize,
) -> (Vec<String>, JobReport) {
    let collected = Collected::new();
    let query = QueryText { name: "q".to_owned(), sql: sql.to_owned(), options };
    let sink = QuerySink { from: "q".to_owned(), format: OutputFormat::Json };
    let job =
        QueryJob::plan(vec![source], &[query], vec![sink]).unwrap_or_else(|errors| panic!("{errors:?}"));
    let settings = Settings { parallelism, ..Settings::default() };
    let environment = Environment::with_settings("test", settings);
    let batches: Vec<RecordedBatch> = lines
        .chunks(batch)
        .enumerate()
        .map(|(at, lines)| RecordedBatch {
            stamp_ms: start_ms + 1_000 * at as i64,
            lines: lines.iter().map(|line| (*line).to_owned()).collect(),
        })
        .collect();
    let sinks = vec![SinkSpec::Memory(collected.clone())];
    job.build(&environment, vec![SourceSpec::Recorded(RecordedInput::new(batches))], sinks);
    let report = environment.execute().unwrap();
    let text = collected.text();
    (text.lines().map(str::to_owned).collect(), report)
}

#[test]
fn the_running_average_is_one_query() {
    let sql = "SELECT key, SUM(value) / COUNT(*) AS average FROM readings GROUP BY key HAVING COUNT(*) >= 2";
    let lines = ["1 3", "1 5", "2 9", "1 7", "1 4", "1 2"];
    let (rows, report) = run(source("key BIGINT, value BIGINT", Format::Text), sql, &lines, 2, 1);
    assert_eq!(
        rows,
        [
            r#"{"key":1,"average":4}"#,
            r#"{"key":1,"average":5}"#,
            r#"{"key":1,"average":4}"#,
            r#"{"key":1,"average":4}"#
        ]
    );
    assert_eq!(report.readings, 6);
}

#[test]
fn tumbling_windows_give_their_aggregates_when_the_watermark_has_passed_them() {
    let schema = "sensor STRING, t DOUBLE, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND";
    let sql = "SELECT sensor, window_start, COUNT(*) AS n, AVG(t) AS mean, MAX(t) AS top \
               FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND)) \
               GROUP BY sensor, window_start, window_end";
    let lines = [
        r#"{"sensor":"a","t":1.0,"ts":1000}"#,
        r#"{"sensor":"b","t":5.0,"ts":9000}"#,
        r#"{"sensor":"a","t":2.0,"ts":11000}"#,
        r#"{"sensor":"a","t":3.0,"ts":9999}"#,
        r#"{"sensor":"a","t":4.0,"ts":12001}"#,
        r#"{"sensor":"a","t":9.0,"ts":500}"#,
        END_OF_INPUT,
    ];
    for parallelism in [1, 3] {
        let mut source = source(schema, Format::Json);
        source.is_file = true;
        let (mut rows, report) = run(source, sql, &lines, 1, parallelism);
        rows[..2].sort();
        assert_eq!(
            rows,
            [
                r#"{"sensor":"a","window_start":"1970-01-01T00:00:00.000Z","n":2,"mean":2.0,"top":3.0}"#,
                r#"{"sensor":"b","window_start":"1970-01-01T00:00:00.000Z","n":1,"mean":5.0,"top":5.0}"#,
                r#"{"sensor":"a","window_start":"1970-01-01T00:00:10.000Z","n":2,"mean":3.0,"top":4.0}"#,
            ]
        );
        let late: u64 = report
            .rejected
            .iter()
            .filter(|((_, cause), _)| cause.as_str() == "late")
            .map(|(_, count)| count)
            .sum();
        assert_eq!(late, 1);
    }
}

/// The clock of `fast` is ten minutes ahead, that of `slow` ten minutes behind.
#[test]
fn with_watermarks_of_key_groups_a_wrong_clock_is_its_own_affair() {
    let schema = "k STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND";
    let sql = "SELECT k, window_end AS e, COUNT(*) AS n \
               FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND)) \
               GROUP BY k, window_start, window_end";
    let lines: Vec<String> = (0..30)
        .flat_map(|second| {
            [("right", 0), ("fast", 600_000), ("slow", -600_000)]
                .map(|(k, ahead)| format!(r#"{{"k":"{k}","ts":{}}}"#, 1_000_000 + 1_000 * second + ahead))
        })
        .chain([END_OF_INPUT.to_owned()])
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    for (watermark_per, parallelism) in
        [(WatermarkPer::Source, 1), (WatermarkPer::KeyGroup, 1), (WatermarkPer::KeyGroup, 3)]
    {
        let source = QuerySource { is_file: true, ..source(schema, Format::Json) };
        let options = QueryOptions { watermark_per, ..QueryOptions::default() };
        let (rows, report) = run_with((source, sql, options), &lines, (0, 3), parallelism);
        let late: u64 = report.rejected.values().sum();
        if watermark_per == WatermarkPer::Source {
            assert!(late > 50, "{late} of 60: the fast clock has closed their windows");
            continue;
        }
        assert_eq!(late, 0);
        for key in ["right", "fast", "slow"] {
            let counts: Vec<&str> = rows
                .iter()
                .filter(|row| row.contains(&format!("\"{key}\"")))
                .map(|row| row.rsplit_once(":").unwrap().1)
                .collect();
            assert_eq!(counts, ["10}", "10}", "10}"], "{key}: {rows:?}");
        }
    }
}

#[test]
fn what_watermarks_of_key_groups_cannot_be_had_for_is_refused() {
    let schema = "k STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND, pt AS PROCTIME()";
    let options = QueryOptions { watermark_per: WatermarkPer::KeyGroup, ..QueryOptions::default() };
    let windows = "SELECT k, TUMBLE_ROWTIME(ts, INTERVAL '1' SECOND) AS t FROM readings \
                   GROUP BY k, TUMBLE(ts, INTERVAL '1' SECOND)";
    let of_results = "SELECT k, COUNT(*) AS n FROM q GROUP BY k, TUMBLE(t, INTERVAL '1' MINUTE)";
    let refusal = |queries: &[(&str, &str, QueryOptions)]| {
        let query = |(name, sql, options): &(&str, &str, QueryOptions)| QueryText {
            name: (*name).to_owned(),
            sql: (*sql).to_owned(),
            options: *options,
        };
        let queries: Vec<QueryText> = queries.iter().map(query).collect();
        let from = queries.last().unwrap().name.clone();
        let sinks = vec![QuerySink { from, format: OutputFormat::Json }];
        match QueryJob::plan(vec![source(schema, Format::Json)], &queries, sinks) {
            Ok(_) => "nothing".to_owned(),
            Err(errors) => errors[0].1.message.clone(),
        }
    };
    let plain = QueryOptions::default();
    assert_eq!(refusal(&[("q", windows, options)]), "nothing");
    assert_eq!(refusal(&[("q", windows, plain), ("r", of_results, plain)]), "nothing");
    assert!(refusal(&[("q", windows, plain), ("r", of_results, options)]).contains("results of windows"));
    assert!(refusal(&[("q", windows, options), ("r", of_results, plain)]).contains("neither event time"));
    for no_event_window in [
        "SELECT k FROM readings",
        "SELECT k, COUNT(*) AS n FROM readings GROUP BY k, TUMBLE(pt, INTERVAL '1' SECOND)",
    ] {
        assert!(refusal(&[("q", no_event_window, options)]).contains("no window of event time"));
    }
}

#[test]
fn a_row_that_is_far_ahead_of_the_clock_is_rejected_unless_the_clock_was_never_set() {
    let schema = "k STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts";
    let lines = [r#"{"k":"a","ts":"2026-01-01T12:00:00Z"}"#, r#"{"k":"b","ts":"2026-01-01T09:00:00Z"}"#];
    for (clock, expected) in
        [("2026-01-01T11:30:00Z", 0), ("2026-01-01T10:30:00Z", 1), ("1970-01-01T00:00:07Z", 0)]
    {
        let start_ms = clock.parse::<jiff::Timestamp>().unwrap().as_millisecond();
        let source = QuerySource { max_ahead_ms: Some(3_600_000), ..source(schema, Format::Json) };
        let job = (source, "SELECT k FROM readings", QueryOptions::default());
        let (rows, report) = run_with(job, &lines, (start_ms, 2), 1);
        let ahead: u64 = report.rejected.values().sum();
        assert_eq!((ahead, rows.len() as u64), (expected, 2 - expected), "{clock}");
    }
}

#[test]
fn rows_know_what_was_before_them() {
    let schema = "door STRING, open BOOLEAN, pt AS PROCTIME()";
    let sql = "SELECT door, open FROM (SELECT door, open, LAG(open) OVER (PARTITION BY door ORDER BY pt) AS before FROM readings) \
               WHERE open IS DISTINCT FROM before";
    let lines = [
        r#"{"door":"a","open":true}"#,
        r#"{"door":"a","open":true}"#,
        r#"{"door":"b","open":false}"#,
        r#"{"door":"a","open":false}"#,
    ];
    let (rows, _) = run(source(schema, Format::Json), sql, &lines, 3, 1);
    assert_eq!(
        rows,
        [r#"{"door":"a","open":true}"#, r#"{"door":"b","open":false}"#, r#"{"door":"a","open":false}"#]
    );
}

#[test]
fn a_row_that_cannot_be_computed_is_rejected_and_costs_nothing_else() {
    let sql = "SELECT a / b AS x FROM readings WHERE a > 0";
    let lines = [r#"{"a":6,"b":2}"#, r#"{"a":6,"b":0}"#, r#"{"a":0,"b":0}"#, "{", r#"{"a":7,"b":2}"#];
    let (rows, report) = run(source("a BIGINT, b BIGINT", Format::Json), sql, &lines, 10, 2);
    assert_eq!(rows, [r#"{"x":3}"#, r#"{"x":3}"#]);
    let causes: Vec<(&str, u64)> =
        report.rejected.iter().map(|((_, cause), count)| (cause.as_str(), *count)).collect();
    assert_eq!(causes, [("division-by-zero", 1), ("invalid-json", 1)]);
    let guarded = "SELECT CASE WHEN b = 0 THEN 0 ELSE a / b END AS x FROM readings";
    let (rows, report) = run(source("a BIGINT, b BIGINT", Format::Json), guarded, &lines, 10, 1);
    assert_eq!(rows.len(), 4);
    assert_eq!(report.rejected.len(), 1);
}

#[test]
fn a_null_that_was_cast_keeps_its_type() {
    let schema = "i BIGINT";
    let lines = [r#"{"i":7}"#];
    for (sql, expected) in [
        ("CASE WHEN i < 0 THEN CAST(NULL AS DOUBLE) ELSE i END / 2", r#"{"x":3.5}"#),
        ("COALESCE(MIN(CAST(NULL AS STRING)), 'none')", r#"{"x":"none"}"#),
        ("COALESCE(CAST(NULL AS STRING) NOT LIKE 'a', i = 7)", r#"{"x":true}"#),
        ("COALESCE(NULL, i)", r#"{"x":7}"#),
    ] {
        let sql = format!("SELECT {sql} AS x FROM readings");
        assert_eq!(run(source(schema, Format::Json), &sql, &lines, 1, 1).0, [expected], "{sql}");
    }
}

#[test]
fn count_windows_and_sessions() {
    let schema = "k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts";
    let lines = [
        r#"{"k":"a","v":1,"ts":0}"#,
        r#"{"k":"a","v":2,"ts":4000}"#,
        r#"{"k":"a","v":3,"ts":20000}"#,
        r#"{"k":"a","v":4,"ts":21000}"#,
        END_OF_INPUT,
    ];
    let file = || QuerySource { is_file: true, ..source(schema, Format::Json) };
    let (rows, _) =
        run(file(), "SELECT k, SUM(v) AS s FROM readings GROUP BY k, COUNT_WINDOW(2)", &lines, 2, 1);
    assert_eq!(rows, [r#"{"k":"a","s":3}"#, r#"{"k":"a","s":7}"#]);
    let sql = "SELECT k, SUM(v) AS s, SESSION_END(ts, INTERVAL '5' SECOND) AS e FROM readings GROUP BY k, SESSION(ts, INTERVAL '5' SECOND)";
    let (rows, _) = run(file(), sql, &lines, 1, 1);
    assert_eq!(
        rows,
        [
            r#"{"k":"a","s":3,"e":"1970-01-01T00:00:09.000Z"}"#,
            r#"{"k":"a","s":7,"e":"1970-01-01T00:00:26.000Z"}"#
        ]
    );
}

#[test]
fn late_rows_go_to_their_sink() {
    let schema = "k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts";
    let (results, late) = (Collected::new(), Collected::new());
    let sql = "SELECT k, SUM(v) AS s FROM readings GROUP BY k, TUMBLE(ts, INTERVAL '1' SECOND)";
    let options = QueryOptions { allowed_lateness: Duration::from_secs(1), ..QueryOptions::default() };
    let query = QueryText { name: "q".to_owned(), sql: sql.to_owned(), options };
    let sink = |from: &str| QuerySink { from: from.to_owned(), format: OutputFormat::Json };
    let sinks = vec![sink("q"), sink("q.late")];
    let job = QueryJob::plan(vec![source(schema, Format::Json)], &[query], sinks)
        .unwrap_or_else(|errors| panic!("{errors:?}"));
    let environment = Environment::new("test");
    let line = |v: i64, ts: i64| vec![format!(r#"{{"k":"a","v":{v},"ts":{ts}}}"#)];
    let lines = [line(1, 0), line(2, 1_500), line(10, 900), line(3, 5_000), line(100, 100)];
    let batches: Vec<_> = lines.into_iter().map(|lines| RecordedBatch { stamp_ms: 0, lines }).collect();
    let specs = vec![SinkSpec::Memory(results.clone()), SinkSpec::Memory(late.clone())];
    job.build(&environment, vec![SourceSpec::Recorded(RecordedInput::new(batches))], specs);
    environment.execute().unwrap();
    let text = |collected: &Collected| collected.text();
    assert_eq!(text(&results), "{\"k\":\"a\",\"s\":1}\n{\"k\":\"a\",\"s\":11}\n{\"k\":\"a\",\"s\":2}\n");
    assert_eq!(text(&late), "{\"k\":\"a\",\"v\":100,\"ts\":\"1970-01-01T00:00:00.100Z\"}\n");
}

#[test]
fn the_end_of_the_input_is_no_row_whatever_the_format() {
    for (format, schema) in
        [(Format::Raw, "line STRING"), (Format::Text, "line STRING"), (Format::Json, "line STRING")]
    {
        let file = QuerySource { is_file: true, ..source(schema, format) };
        let (rows, report) = run(file, "SELECT line FROM readings", &[r#"{"line":"a"}"#, END_OF_INPUT], 1, 1);
        assert_eq!(rows.len(), 1, "{rows:?}");
        assert!(report.rejected.is_empty());
    }
}
