//! Tests of lines of columns: `csv`, `text` and `raw`.

use super::super::decoder::{Decoder, Format};
use super::super::test_source::{TestSource, fields, text};
use super::*;
use crate::query::datum::Datum;

fn specs() -> Vec<FieldSpec> {
    fields(&[
        ("name", "Name", SqlType::String),
        ("count", "Count", SqlType::BigInt),
        ("level", "Level", SqlType::Double),
    ])
}

fn csv(format: CsvFormat) -> TestSource {
    TestSource::new(Format::Csv(format), &specs())
}

#[test]
fn columns_are_read_with_quotes_and_nulls() {
    let row = |name: Datum, count: Datum, level: Datum| Ok(vec![vec![name, count, level]]);
    let mut source = csv(CsvFormat::default());
    assert_eq!(source.rows("a,1,1.5"), row(text("a"), Datum::BigInt(1), Datum::Double(1.5)));
    assert_eq!(source.rows(" a , 1 ,\t1.5"), row(text(" a "), Datum::BigInt(1), Datum::Double(1.5)));
    assert_eq!(
        source.rows(r#""a,""b""",1,"1.5""#),
        row(text("a,\"b\""), Datum::BigInt(1), Datum::Double(1.5))
    );
    assert_eq!(source.rows(r#""""""",1,1"#), row(text("\"\""), Datum::BigInt(1), Datum::Double(1.0)));
    assert_eq!(source.rows(",,"), row(Datum::Null, Datum::Null, Datum::Null));
    assert_eq!(source.rows("\"\",,"), row(text(""), Datum::Null, Datum::Null));
    assert_eq!(source.rows("é;,1,1"), row(text("é;"), Datum::BigInt(1), Datum::Double(1.0)));
    let mut tabs = csv(CsvFormat { delimiter: '\t', ..CsvFormat::default() });
    assert_eq!(tabs.rows("a,b\t1\t"), row(text("a,b"), Datum::BigInt(1), Datum::Null));
}

#[test]
fn wrong_lines_have_their_causes() {
    for (line, cause) in [
        ("", RejectCause::EMPTY),
        ("  ", RejectCause::EMPTY),
        ("a", RejectCause::MISSING_COLUMN),
        ("a,1", RejectCause::MISSING_COLUMN),
        ("a,1,1,", RejectCause::EXTRA_COLUMN),
        ("a,x,1", RejectCause::NOT_A_NUMBER),
        ("a,\"\",1", RejectCause::NOT_A_NUMBER),
        ("a, ,1", RejectCause::NOT_A_NUMBER),
        ("a,9223372036854775808,1", RejectCause::OVERFLOW),
        ("a,1,1e999", RejectCause::OVERFLOW),
        ("\"a,1,1", cause::INVALID_CSV),
        ("\"a\"b,1,1", cause::INVALID_CSV),
        ("a\"b,1,1", cause::INVALID_CSV),
        ("\"", cause::INVALID_CSV),
        ("\"\"\"", cause::INVALID_CSV),
    ] {
        assert_eq!(csv(CsvFormat::default()).rows(line), Err(cause), "{line:?}");
    }
    let mut not_null = specs();
    not_null[0].not_null = true;
    let mut source = TestSource::new(Format::Csv(CsvFormat::default()), &not_null);
    assert_eq!(source.rows(",1,1"), Err(cause::NULL_NOT_ALLOWED));
    assert_eq!(source.rows("\"\",1,1").unwrap().len(), 1);
}

#[test]
fn a_header_names_the_columns() {
    let header = |names: &str| names.split(',').map(str::to_owned).collect();
    let mut source = csv(CsvFormat { header: header("Level,Other,Name,Count"), ..CsvFormat::default() });
    assert_eq!(source.rows("1.5,x,a,1"), Ok(vec![vec![text("a"), Datum::BigInt(1), Datum::Double(1.5)]]));
    assert_eq!(source.rows("Level,\"Other\",Name,Count"), Ok(vec![]));
    assert_eq!(source.rows("1.5,x,a"), Err(RejectCause::MISSING_COLUMN));
    assert_eq!(source.rows("1.5,x,a,1,1"), Err(RejectCause::EXTRA_COLUMN));
    for (names, message) in [
        ("Name,Count", "column level: no Level in the header: there are Name, Count"),
        ("Name,Count,Level,Name", "column name: Name is in the header twice"),
    ] {
        let format = CsvFormat { header: header(names), ..CsvFormat::default() };
        let error = Decoder::new(Format::Csv(format), &specs()).unwrap_err();
        assert!(error.contains(message), "{error}");
    }
    for delimiter in ['"', '\n', 'x', '1', '-', 'é'] {
        let format = CsvFormat { delimiter, ..CsvFormat::default() };
        assert!(Decoder::new(Format::Csv(format), &specs()).unwrap_err().starts_with("the delimiter"));
    }
}

#[test]
fn text_is_columns_between_blanks() {
    let mut source = TestSource::new(Format::Text, &specs());
    let row = Ok(vec![vec![text("a"), Datum::BigInt(-12), Datum::Double(0.5)]]);
    for line in ["a -12 0.5", " \ta\t\t-12   5e-1 "] {
        assert_eq!(source.rows(line), row, "{line:?}");
    }
    for (line, cause) in [
        ("", RejectCause::EMPTY),
        (" \t", RejectCause::EMPTY),
        ("a 1", RejectCause::MISSING_COLUMN),
        ("a 1 1 1", RejectCause::EXTRA_COLUMN),
        ("a 1.0 1", RejectCause::NOT_A_NUMBER),
        ("a 1\u{a0}1", RejectCause::NOT_A_NUMBER),
        ("a 1 inf", RejectCause::NOT_A_NUMBER),
        ("a 99999999999999999999 1", RejectCause::OVERFLOW),
    ] {
        assert_eq!(source.rows(line), Err(cause), "{line:?}");
    }
}

#[test]
fn raw_is_the_frame_itself() {
    let frame = "  any\tframe {";
    let mut source = TestSource::new(Format::Raw, &fields(&[("frame", "frame", SqlType::String)]));
    assert_eq!(source.rows(frame), Ok(vec![vec![text(frame)]]));
    assert_eq!(source.rows(""), Ok(vec![vec![text("")]]));
    let mut source = TestSource::new(Format::Raw, &fields(&[("frame", "frame", SqlType::Bytes)]));
    assert_eq!(source.rows("é"), Ok(vec![vec![Datum::Bytes([0xc3, 0xa9].into())]]));
    for specs in [&specs()[..], &specs()[1..2]] {
        assert!(Decoder::new(Format::Raw, specs).unwrap_err().contains("column count"));
    }
}
