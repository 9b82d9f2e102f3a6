//! Unions: rows of several SELECTs, through windows, OVER and sinks.

use super::format::{Format, OutputFormat};
use super::job::{QueryJob, QueryOptions, QuerySink, QueryText};
use super::schema::Schema;
use super::source::QuerySource;
use crate::runtime::{JobReport, Settings};
use crate::sink::{Collected, SinkSpec};
use crate::source::{END_OF_INPUT, RecordedBatch, RecordedInput, SourceSpec};
use crate::stream::Environment;

const TIMED: &str = "k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts";

/// A file of lines.
fn file(name: &str, schema: &str) -> QuerySource {
    let source = QuerySource::new(name, Schema::parse(name, schema).unwrap(), Format::Json);
    QuerySource { is_file: true, ..source }
}

fn plan(sources: &[QuerySource], queries: &[(&str, &str)], sinks: &[&str]) -> Result<QueryJob, String> {
    let query = |(name, sql): &(&str, &str)| QueryText {
        name: (*name).to_owned(),
        sql: (*sql).to_owned(),
        options: QueryOptions::default(),
    };
    let sink = |from: &&str| QuerySink { from: (*from).to_owned(), format: OutputFormat::Json };
    let queries: Vec<QueryText> = queries.iter().map(query).collect();
    QueryJob::plan(sources.to_vec(), &queries, sinks.iter().map(sink).collect()).map_err(|errors| {
        let (_, error) = &errors[0];
        let place = error.span.clone().map_or("", |span| &queries[0].sql[span]);
        format!("{} | {place}", error.message)
    })
}

/// Runs it with a batch for each line, the lines of the sources by turns; returns what each sink got.
fn run(job: QueryJob, inputs: &[&[&str]], parallelism: usize) -> (Vec<Vec<String>>, JobReport) {
    let settings = Settings { parallelism, ..Settings::default() };
    let environment = Environment::with_settings("union", settings);
    let collected: Vec<Collected> = job.sinks().iter().map(|_| Collected::new()).collect();
    let source = |lines: &&[&str]| {
        let lines = lines.iter().copied().chain([END_OF_INPUT]);
        let batch = |line: &str| RecordedBatch { stamp_ms: 0, lines: vec![line.to_owned()] };
        SourceSpec::Recorded(RecordedInput::new(lines.map(batch).collect::<Vec<_>>()))
    };
    let sinks = collected.iter().map(|sink| SinkSpec::Memory(sink.clone())).collect();
    job.build(&environment, inputs.iter().map(source).collect(), sinks);
    let report = environment.execute().unwrap();
    let sorted = |sink: &Collected| {
        let mut rows: Vec<String> = sink.text().lines().map(str::to_owned).collect();
        rows.sort();
        rows
    };
    (collected.iter().map(sorted).collect(), report)
}

#[test]
fn columns_go_together_by_their_places_and_types() {
    let sources = [file("a", "k STRING, v BIGINT"), file("b", "name STRING, celsius DOUBLE, more BOOLEAN")];
    let sql = "SELECT k AS sensor, v AS value FROM a WHERE v > 0 UNION ALL SELECT name, celsius FROM b \
               UNION ALL (SELECT 'both', v + 1 FROM a)";
    for parallelism in [1, 3] {
        let job = plan(&sources, &[("q", sql), ("r", "SELECT sensor FROM q")], &["q", "q", "r"]).unwrap();
        let explained = job.plans().next().unwrap().explain();
        assert!(explained.contains("  reads all rows of\n    reads a\n    filter v > 0\n"), "{explained}");
        let a = [r#"{"k":"x","v":1}"#, r#"{"k":"y","v":0}"#];
        let b = [r#"{"name":"z","celsius":2.5}"#];
        let (rows, report) = run(job, &[&a, &b], parallelism);
        let expected = [
            r#"{"sensor":"both","value":1.0}"#,
            r#"{"sensor":"both","value":2.0}"#,
            r#"{"sensor":"x","value":1.0}"#,
            r#"{"sensor":"z","value":2.5}"#,
        ];
        assert_eq!(rows[0], expected);
        assert_eq!(rows[1], expected, "of the second sink");
        assert_eq!(rows[2].len(), 4);
        assert!(report.rejected.is_empty());
    }
}

#[test]
fn a_null_is_of_the_type_of_the_other_side() {
    let sources = [file("a", "k STRING, v BIGINT, d DOUBLE")];
    let sql = "SELECT NULL AS x, v AS y, NULL AS z FROM a UNION ALL SELECT d, NULL, NULL FROM a UNION ALL SELECT v, d, k FROM a";
    let job = plan(&sources, &[("q", sql)], &["q"]).unwrap();
    let (rows, _) = run(job, &[&[r#"{"k":"a","v":7,"d":2.5}"#]], 1);
    let expected =
        [r#"{"x":2.5,"y":null,"z":null}"#, r#"{"x":7.0,"y":2.5,"z":"a"}"#, r#"{"x":null,"y":7.0,"z":null}"#];
    assert_eq!(rows[0], expected);
}

/// The watermark is the lesser one: whichever source is read first, no row of the other is late for it.
#[test]
fn windows_wait_for_the_slower_source() {
    let sources = [file("a", TIMED), file("b", TIMED)];
    let sql = "SELECT k, SUM(v) AS s, TUMBLE_END(ts, INTERVAL '10' SECOND) AS e \
               FROM (SELECT k, v, ts FROM a UNION ALL SELECT k, 10 * v, ts FROM b) AS both \
               GROUP BY k, TUMBLE(ts, INTERVAL '10' SECOND)";
    let a = [r#"{"k":"x","v":1,"ts":0}"#, r#"{"k":"x","v":4,"ts":9000}"#, r#"{"k":"x","v":2,"ts":100000}"#];
    let b = [r#"{"k":"x","v":1,"ts":1000}"#, r#"{"k":"x","v":2,"ts":2000}"#, r#"{"k":"x","v":4,"ts":9999}"#];
    for parallelism in [1, 3] {
        let job = plan(&sources, &[("q", sql)], &["q"]).unwrap();
        let (rows, report) = run(job, &[&a, &b], parallelism);
        let expected = [
            r#"{"k":"x","s":2,"e":"1970-01-01T00:01:50.000Z"}"#,
            r#"{"k":"x","s":75,"e":"1970-01-01T00:00:10.000Z"}"#,
        ];
        assert_eq!(rows[0], expected);
        assert!(report.rejected.is_empty(), "{:?}", report.rejected);
    }
}

#[test]
fn a_source_with_event_time_and_one_without_are_counted_together() {
    let sources = [file("a", &format!("{TIMED}, pt AS PROCTIME()")), file("b", "k STRING, pt AS PROCTIME()")];
    let union = "(SELECT k, pt FROM a UNION ALL SELECT k, pt FROM b) AS r";
    for sql in [
        format!("SELECT k, COUNT(*) AS n FROM {union} GROUP BY k"),
        format!("SELECT k, ROW_NUMBER() OVER (PARTITION BY k ORDER BY pt) AS n FROM {union}"),
    ] {
        let job = plan(&sources, &[("q", &sql), ("r", "SELECT k, n FROM q WHERE n > 0")], &["r"]).unwrap();
        let (rows, _) = run(job, &[&[r#"{"k":"x","v":1,"ts":0}"#], &[r#"{"k":"x"}"#]], 3);
        assert_eq!(rows[0], [r#"{"k":"x","n":1}"#, r#"{"k":"x","n":2}"#]);
    }
}

#[test]
fn unions_that_cannot_be_say_where_and_why() {
    let sources = [file("a", TIMED), file("b", "k STRING, v DOUBLE")];
    let refusal = |sql: &str| plan(&sources, &[("q", sql)], &["q"]).map(|_| ()).unwrap_err();
    assert_eq!(
        refusal("SELECT k, v FROM a UNION ALL SELECT k, v, v AS w FROM b"),
        "SELECT 2 of the union has 3 columns, and the first has 2 | v AS w"
    );
    assert_eq!(
        refusal("SELECT k, v FROM a UNION ALL SELECT v, k AS name FROM b"),
        "column 1 of SELECT 2 of the union, v, is DOUBLE, and k before it is STRING | v"
    );
    assert!(
        refusal("SELECT k FROM a UNION SELECT k FROM b").starts_with("UNION without ALL is not supported")
    );
    assert!(refusal("SELECT k FROM a EXCEPT SELECT k FROM b").starts_with("EXCEPT is not supported"));
    assert!(refusal("SELECT k FROM a UNION ALL SELECT x FROM b").starts_with("there is no column x"));
    let many = vec!["SELECT k FROM a"; 33].join(" UNION ALL ");
    assert!(refusal(&many).starts_with("more than 32 SELECTs"));
    let time = "SELECT COUNT(*) AS n FROM (SELECT ts FROM a UNION ALL SELECT TO_TIMESTAMP(k) FROM b) AS r \
                GROUP BY TUMBLE(ts, INTERVAL '1' SECOND)";
    assert!(refusal(time).contains("neither event time"), "{}", refusal(time));
}
