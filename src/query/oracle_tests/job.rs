//! Running a query over readings, as a whole job.

use std::hash::{BuildHasher, RandomState};

use super::grammar::Kind;
use super::sqlite::Cell;
use crate::disk::Random;
use crate::query::{Format, OutputFormat, QueryJob, QueryOptions, QuerySink, QuerySource, QueryText, Schema};
use crate::runtime::Settings;
use crate::sink::{Collected, SinkSpec};
use crate::source::{END_OF_INPUT, RecordedBatch, RecordedInput, SourceSpec};
use crate::stream::Environment;

/// Most lines of a batch.
const BATCH_LINES_MAX: u64 = 40;

/// What the queries are made of, each as it is written.
pub(super) const SHAPES: [&str; 44] = [
    " + ",
    " - ",
    " * ",
    " / ",
    " % ",
    "(-",
    "ABS(",
    "MOD(",
    "CHAR_LENGTH(",
    "POSITION(",
    "GREATEST(",
    "LEAST(",
    "UPPER(",
    "LOWER(",
    "SUBSTRING(",
    "TRIM(",
    "REPLACE(",
    " || ",
    "AS STRING)",
    "AS BIGINT)",
    "AS DOUBLE)",
    " AND ",
    " OR ",
    "(NOT ",
    " IS NULL",
    " IS NOT NULL",
    " IS TRUE",
    " IS NOT FALSE",
    " IS DISTINCT FROM ",
    " BETWEEN ",
    " NOT BETWEEN ",
    " IN (",
    " NOT IN (",
    " LIKE ",
    " NOT LIKE ",
    "COALESCE(",
    "NULLIF(",
    "IF(",
    "CASE ",
    "COUNT(DISTINCT ",
    "SUM(",
    "AVG(",
    "MIN(",
    "MAX(",
];

/// Runs `case` with generators of their own, or only the one of `TIDEGATE_TEST_SEED`; returns the sum of what it gives.
pub(super) fn each_case(cases: u64, mut case: impl FnMut(&mut Random) -> usize) -> usize {
    let given: Option<u64> = std::env::var("TIDEGATE_TEST_SEED").ok().map(|text| text.parse().unwrap());
    let (first, cases) =
        given.map_or_else(|| (RandomState::new().hash_one("seed") >> 16, cases), |seed| (seed, 1));
    let mut sum = 0;
    for seed in first..first + cases {
        println!("repeat with TIDEGATE_TEST_SEED={seed}");
        sum += case(&mut Random(seed));
    }
    sum
}

/// The rows that `sql` gives of the source `readings`, in the order they came; it has columns `x0`, `x1` and so on. Rejects nothing.
#[track_caller]
pub(super) fn rows_of(
    schema: &str,
    sql: &str,
    lines: &[String],
    kinds: &[Kind],
    random: &mut Random,
    parallelism: usize,
) -> Vec<Vec<Cell>> {
    let mut source = QuerySource::new(
        "readings",
        Schema::parse("readings", schema).unwrap_or_else(|error| panic!("{error:?}: {schema}")),
        Format::Json,
    );
    source.is_file = true;
    let query = QueryText { name: "q".to_owned(), sql: sql.to_owned(), options: QueryOptions::default() };
    let sink = QuerySink { from: "q".to_owned(), format: OutputFormat::Json };
    let job = QueryJob::plan(vec![source], &[query], vec![sink])
        .unwrap_or_else(|errors| panic!("{errors:?}: {sql}"));
    let settings = Settings { parallelism, ..Settings::default() };
    let environment = Environment::with_settings("oracle", settings);
    let collected = Collected::new();
    let sinks = vec![SinkSpec::Memory(collected.clone())];
    job.build(&environment, vec![SourceSpec::Recorded(RecordedInput::new(batches(lines, random)))], sinks);
    let report = environment.execute().unwrap();
    assert!(report.rejected.is_empty(), "{:?} rejected: {sql}\n{}", report.rejected, lines.join("\n"));
    let row = |line: &str| -> Vec<Cell> {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        kinds.iter().enumerate().map(|(at, kind)| Cell::of_json(&row[format!("x{at}")], *kind)).collect()
    };
    collected.text().lines().map(row).collect()
}

/// Lines cut into batches at random, and the end of the input.
fn batches(lines: &[String], random: &mut Random) -> Vec<RecordedBatch> {
    let mut batches = Vec::new();
    let mut rest = lines;
    while !rest.is_empty() {
        let size = 1 + usize::try_from(random.below(BATCH_LINES_MAX)).unwrap();
        let (batch, others) = rest.split_at(size.min(rest.len()));
        batches.push(RecordedBatch { stamp_ms: batches.len() as i64, lines: batch.to_vec() });
        rest = others;
    }
    batches.push(RecordedBatch { stamp_ms: batches.len() as i64, lines: vec![END_OF_INPUT.to_owned()] });
    batches
}
