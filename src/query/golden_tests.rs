//! Expressions, aggregates and windows, each with the result it must have: `tests/fixtures/sql`, and the table in `docs/sql.md`.
//!
//! A line of a text of expressions is `expression => result`: a value as JSON, `rejected: cause` when the row goes to the dead letters, or
//! `refused: message` when the query does not start. What columns there are stands at its top.

#![expect(clippy::disallowed_methods, reason = "tests read what is in the repository")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::datum::Datum;
use super::format::{Format, OutputFormat, RowEncoder};
use super::functions;
use super::job::QueryOptions;
use super::job_tests::run_with;
use super::plan::{Step, WatermarkPer};
use super::planner::{PlanOptions, Relation, plan};
use super::row_batch::RowBatch;
use super::schema::Schema;
use super::source::QuerySource;
use super::sql_type::SqlType;
use super::vector::Failures;
use crate::source::END_OF_INPUT;

/// The clock of expressions: 2026-01-02 03:04:05.006 UTC, in milliseconds.
const NOW_MS: i64 = 1_767_323_045_006;
/// 2026-11-22 10:20:30.405 UTC, in milliseconds.
const TS_MS: i64 = 1_795_342_830_405;
/// The columns of the one row that expressions are computed of.
const COLUMNS: [(&str, SqlType, Datum); 13] = [
    ("i", SqlType::BigInt, Datum::BigInt(7)),
    ("zero", SqlType::BigInt, Datum::BigInt(0)),
    ("big", SqlType::BigInt, Datum::BigInt(i64::MAX)),
    ("small", SqlType::BigInt, Datum::BigInt(i64::MIN)),
    ("d", SqlType::Double, Datum::Double(2.5)),
    ("huge", SqlType::Double, Datum::Double(1e308)),
    ("b", SqlType::Boolean, Datum::Boolean(true)),
    ("ts", SqlType::Timestamp, Datum::Timestamp(TS_MS)),
    ("ni", SqlType::BigInt, Datum::Null),
    ("nd", SqlType::Double, Datum::Null),
    ("ns", SqlType::String, Datum::Null),
    ("nb", SqlType::Boolean, Datum::Null),
    ("nts", SqlType::Timestamp, Datum::Null),
];
/// Besides them, a text.
const TEXT: (&str, &str) = ("s", "Tide gate");

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sql")
}

/// The lines of a text that say something.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The result of an expression over the row.
fn result(expression: &str) -> String {
    let columns = COLUMNS.map(|(name, sql_type, _)| (name, sql_type));
    let schema: Vec<String> = columns
        .iter()
        .chain([&(TEXT.0, SqlType::String)])
        .map(|(name, sql_type)| format!("{name} {sql_type}"))
        .collect();
    let fields = Schema::parse("t", &schema.join(", ")).unwrap().fields("t");
    let relation = Relation { name: "t".to_owned(), fields: Some(fields.clone()), is_windowed: false };
    let sql = format!("SELECT {expression} AS x FROM t");
    let plan = match plan("q", &sql, &[relation], PlanOptions::default()) {
        Ok(plan) => plan,
        Err(error) => return format!("refused: {}", error.message),
    };
    let [Step::Calc(calc)] = plan.pipeline.steps.as_slice() else { panic!("{expression} is one step") };
    let types: Vec<SqlType> = fields.iter().map(|field| field.sql_type).collect();
    let mut rows = RowBatch { len: 1, ..RowBatch::new(&types) };
    for (column, (_, _, datum)) in rows.columns.iter_mut().zip(COLUMNS) {
        column.push(&datum);
    }
    rows.columns[COLUMNS.len()].push_text(Some(TEXT.1));
    let mut failures = Failures::default();
    let column = calc.project[0].evaluate(&rows, NOW_MS, &mut failures).into_column(1);
    if let Some((_, cause)) = failures.settled().first() {
        return format!("rejected: {}", cause.as_str());
    }
    let encoder = RowEncoder::new(OutputFormat::Json, &["x".to_owned()], &[column.sql_type]).unwrap();
    let mut text = Vec::new();
    encoder.encode(&[column], 0, &mut text);
    value(&String::from_utf8(text).unwrap())
}

/// The value in a row of one column `x`.
fn value(row: &str) -> String {
    let row = row.trim();
    row.strip_prefix("{\"x\":").and_then(|row| row.strip_suffix('}')).unwrap_or(row).to_owned()
}

/// The result of an aggregate over all rows.
fn aggregated(expression: &str, schema: &str, rows: &[&str]) -> String {
    let source = QuerySource::new("t", Schema::parse("t", schema).unwrap(), Format::Json);
    let source = QuerySource { name: "readings".to_owned(), ..source };
    let sql = format!("SELECT {expression} AS x FROM readings GROUP BY COUNT_WINDOW({})", rows.len());
    let plain = std::panic::AssertUnwindSafe(|| {
        run_with((source, &sql, QueryOptions::default()), rows, (0, rows.len()), 1)
    });
    match std::panic::catch_unwind(plain) {
        Err(_) => "refused".to_owned(),
        Ok((found, report)) => match report.rejected.keys().next() {
            Some((_, cause)) => format!("rejected: {}", cause.as_str()),
            None => found.iter().map(|row| value(row)).collect::<Vec<_>>().join(" "),
        },
    }
}

/// What is not as it must be, a line each.
fn differences(found: impl Iterator<Item = (String, String, String)>) -> String {
    let differs = found.filter(|(_, wanted, found)| wanted != found);
    differs.map(|(of, wanted, found)| format!("{of}\n    must be {wanted}\n    and is  {found}\n")).collect()
}

fn cases(text: &str) -> impl Iterator<Item = (&str, &str)> {
    lines(text).filter(|line| !line.starts_with('>')).map(|line| {
        let split = line.rsplit_once(" => ");
        split.unwrap_or_else(|| panic!("there is no => in: {line}"))
    })
}

/// The texts of expressions, by name.
fn texts() -> Vec<(String, String)> {
    let mut texts: Vec<(String, String)> = std::fs::read_dir(fixtures())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "txt"))
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), read(&path)))
        .collect();
    texts.sort();
    texts
}

#[test]
fn each_expression_has_its_result() {
    let texts = texts();
    let of_rows = texts.iter().filter(|(name, _)| name != "aggregates");
    let all: Vec<(&str, &str)> = of_rows.flat_map(|(_, text)| cases(text)).collect();
    assert!(all.len() > 200, "{} lines", all.len());
    let found = all.into_iter().map(|(of, wanted)| (of.to_owned(), wanted.to_owned(), result(of)));
    let differences = differences(found);
    assert!(differences.is_empty(), "\n{differences}");
}

#[test]
fn each_aggregate_has_its_result() {
    let text = read(&fixtures().join("aggregates.txt"));
    let mut head = lines(&text).filter_map(|line| line.strip_prefix("> "));
    let schema = head.next().expect("the first line behind > is the schema");
    let rows: Vec<&str> = head.collect();
    let found =
        cases(&text).map(|(of, wanted)| (of.to_owned(), wanted.to_owned(), aggregated(of, schema, &rows)));
    let differences = differences(found);
    assert!(differences.is_empty(), "\n{differences}");
}

#[test]
fn every_function_and_aggregate_is_among_them() {
    let text: String = texts().into_iter().map(|(_, text)| text).collect();
    let used: BTreeSet<String> = cases(&text)
        .flat_map(|(of, _)| of.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').map(str::to_uppercase))
        .collect();
    let (scalar, aggregates) = functions();
    let missing: Vec<&str> = scalar
        .iter()
        .chain(&aggregates)
        .map(|(name, ..)| *name)
        .filter(|name| !used.contains(*name))
        .collect();
    assert!(missing.is_empty(), "without a line: {missing:?}");
}

/// The table of `docs/sql.md`: each row an expression in backquotes, and its result.
#[test]
fn the_table_of_the_documentation_is_right() {
    let text = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/sql.md"));
    let rows = text.lines().skip_while(|line| !line.starts_with("| expression | result |")).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|')).map(|line| {
        let cells: Vec<&str> = line.split("` | `").collect();
        let [of, wanted] = cells.as_slice() else { panic!("no row of the table: {line}") };
        let of = of.trim_start_matches("| `").replace("\\|", "|");
        let wanted = wanted.trim_end_matches(" |").trim_end_matches('`').to_owned();
        let found = result(&of);
        (of, wanted, found)
    });
    let rows: Vec<_> = rows.collect();
    assert!(rows.len() >= 30, "{} rows", rows.len());
    let differences = differences(rows.into_iter());
    assert!(differences.is_empty(), "\n{differences}");
}

/// A text of windows: `schema:`, `sql:`, options, rows behind `>`, a batch each; results behind `=`, in any order, and causes of
/// rejected rows behind `!`.
#[test]
fn each_window_has_its_results() {
    let mut kinds = BTreeSet::new();
    for entry in std::fs::read_dir(fixtures().join("windows")).unwrap() {
        let path = entry.unwrap().path();
        let text = read(&path);
        let of =
            |key: &'static str| lines(&text).filter_map(move |line| line.strip_prefix(key)).map(str::trim);
        let only =
            |key: &'static str| of(key).next().unwrap_or_else(|| panic!("{}: no {key}", path.display()));
        let (schema, sql) = (only("schema:"), only("sql:"));
        let options = QueryOptions {
            allowed_lateness: of("allowed-lateness-ms:")
                .next()
                .map_or(Duration::ZERO, |ms| Duration::from_millis(ms.parse().unwrap())),
            watermark_per: match of("watermark-per:").next() {
                Some("key-group") => WatermarkPer::KeyGroup,
                _ => WatermarkPer::Source,
            },
            ..QueryOptions::default()
        };
        let mut source =
            QuerySource::new("readings", Schema::parse("readings", schema).unwrap(), Format::Json);
        source.is_file = true;
        kinds.insert(kind(&source, sql));
        let rows: Vec<&str> = of(">").chain([END_OF_INPUT]).collect();
        for parallelism in [1, 3] {
            let (mut found, report) = run_with((source.clone(), sql, options), &rows, (0, 1), parallelism);
            let rejected = report.rejected.iter();
            let mut rejected: Vec<String> =
                rejected.map(|((_, cause), n)| format!("{} {n}", cause.as_str())).collect();
            let mut wanted: Vec<&str> = of("=").collect();
            found.sort();
            wanted.sort_unstable();
            rejected.sort();
            assert_eq!(found, wanted, "{}, parallelism {parallelism}", path.display());
            assert_eq!(rejected, of("!").collect::<Vec<_>>(), "{}", path.display());
        }
    }
    let wanted = [
        "sessions with gaps of event time",
        "sessions with gaps of processing time",
        "tumbling windows of event time",
        "tumbling windows of processing time",
        "windows of event time",
        "windows of processing time",
        "windows of rows",
    ];
    assert_eq!(
        kinds.iter().map(String::as_str).collect::<Vec<_>>(),
        wanted,
        "each kind of window has a text"
    );
}

/// The kind of the query's window, in words without lengths.
fn kind(source: &QuerySource, sql: &str) -> String {
    let fields = Some(source.schema.fields("readings"));
    let relation = Relation { name: "readings".to_owned(), fields, is_windowed: false };
    let plan =
        plan("q", sql, &[relation], PlanOptions::default()).unwrap_or_else(|error| panic!("{error:?}"));
    let window = plan.pipeline.steps.iter().find_map(|step| match step {
        Step::Aggregate(step) => step.window,
        _ => None,
    });
    let text = window.expect("the query has a window").describe();
    let is_length = |word: &&str| word.parse::<f64>().is_ok() || matches!(*word, "s" | "each" | "from");
    let words: Vec<&str> = text.split(' ').filter(|word| !is_length(word)).collect();
    words.join(" ").replace("windows of of", "windows of").replace("gaps of of", "gaps of")
}
