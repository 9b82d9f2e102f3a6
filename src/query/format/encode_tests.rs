//! Tests of encoding.

use proptest::prelude::*;

use super::super::csv::CsvFormat;
use super::super::decoder::Format;
use super::super::field::FieldSpec;
use super::super::test_source::TestSource;
use super::*;
use crate::query::datum::Datum;

fn column(sql_type: SqlType, datum: Datum) -> Column {
    let mut column = Column::new(sql_type);
    column.push(&Datum::Null);
    column.push(&datum);
    column
}

fn names(columns: &[Column]) -> Vec<String> {
    (0..columns.len()).map(|index| format!("c{index}")).collect()
}

fn encoded(format: OutputFormat, columns: &[Column], row: usize) -> String {
    let types: Vec<_> = columns.iter().map(|column| column.sql_type).collect();
    let mut out = Vec::new();
    RowEncoder::new(format, &names(columns), &types).unwrap().encode(columns, row, &mut out);
    String::from_utf8(out).unwrap()
}

fn every_type() -> Vec<Column> {
    vec![
        column(SqlType::Boolean, Datum::Boolean(true)),
        column(SqlType::BigInt, Datum::BigInt(i64::MIN)),
        column(SqlType::Decimal, Datum::Decimal(i128::MAX)),
        column(SqlType::Double, Datum::Double(21.0)),
        column(SqlType::String, Datum::String("a\"b\n, é".into())),
        column(SqlType::Timestamp, Datum::Timestamp(-1)),
        column(SqlType::Interval, Datum::Interval(-1)),
        column(SqlType::Bytes, Datum::Bytes([0, 0xab].into())),
    ]
}

#[test]
fn every_type_is_written() {
    let columns = every_type();
    assert_eq!(
        encoded(OutputFormat::Json, &columns, 1),
        "{\"c0\":true,\"c1\":-9223372036854775808,\"c2\":170141183460469231731687303715884105727,\"c3\":21.0,\
         \"c4\":\"a\\\"b\\n, é\",\"c5\":\"1969-12-31T23:59:59.999Z\",\"c6\":-1,\"c7\":\"00ab\"}"
    );
    assert_eq!(
        encoded(OutputFormat::Csv { delimiter: ',' }, &columns, 1),
        "true,-9223372036854775808,170141183460469231731687303715884105727,21.0,\"a\"\"b\n, é\",\
         1969-12-31T23:59:59.999Z,-1,00ab"
    );
    assert_eq!(
        encoded(OutputFormat::Text, &columns, 1),
        "true -9223372036854775808 170141183460469231731687303715884105727 21.0 a\"b , é 1969-12-31T23:59:59.999Z -1 00ab"
    );
    assert_eq!(encoded(OutputFormat::Template("{{({c3},{c7})}}".into()), &columns, 1), "{(21.0,00ab)}");
}

#[test]
fn nulls_are_written() {
    let columns = every_type();
    assert_eq!(encoded(OutputFormat::Csv { delimiter: ';' }, &columns, 0), ";;;;;;;");
    assert_eq!(encoded(OutputFormat::Text, &columns[..2], 0), "NULL NULL");
    assert_eq!(encoded(OutputFormat::Template("{c0}!".into()), &columns, 0), "NULL!");
    assert_eq!(encoded(OutputFormat::Json, &columns[..2], 0), "{\"c0\":null,\"c1\":null}");
    assert_eq!(encoded(OutputFormat::Json, &[], 0), "{}");
}

#[test]
fn texts_are_quoted_where_needed() {
    for (text, line) in [
        ("", "\"\""),
        ("a b", "a b"),
        (" a", "\" a\""),
        ("a\t", "\"a\t\""),
        ("a;b", "\"a;b\""),
        ("a,b", "a,b"),
        ("\"", "\"\"\"\""),
        ("a\rb", "\"a\rb\""),
    ] {
        let columns = [column(SqlType::String, Datum::String(text.into()))];
        assert_eq!(encoded(OutputFormat::Csv { delimiter: ';' }, &columns, 1), line, "{text:?}");
    }
}

#[test]
fn wrong_formats_are_refused() {
    let names = ["a".to_owned(), "a".to_owned()];
    let types = [SqlType::Double, SqlType::Double];
    let error = |format| RowEncoder::new(format, &names, &types).unwrap_err();
    assert!(error(OutputFormat::Json).starts_with("two columns are named a"));
    assert!(error(OutputFormat::Csv { delimiter: '\n' }).starts_with("the delimiter '\\n' cannot be one"));
    assert!(
        error(OutputFormat::Template("{b}".into()))
            .contains("there is no column \"b\"; the query gives a, a")
    );
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        boolean in any::<bool>(),
        integer in any::<i64>(),
        double in prop::num::f64::NORMAL | prop::num::f64::ZERO | prop::num::f64::SUBNORMAL,
        text in "[^\r\n]*",
        ms in crate::query::timestamp::TIMESTAMP_MIN_MS..=crate::query::timestamp::TIMESTAMP_MAX_MS,
        bytes in prop::collection::vec(any::<u8>(), 0..9),
    ) {
        let data = vec![
            Datum::Boolean(boolean),
            Datum::BigInt(integer),
            Datum::Double(double),
            Datum::String(text.into()),
            Datum::Timestamp(ms),
            Datum::Bytes(bytes.into()),
        ];
        let columns: Vec<_> =
            data.iter().map(|datum| column(datum.sql_type().unwrap(), datum.clone())).collect();
        let fields: Vec<_> = names(&columns)
            .iter()
            .zip(&columns)
            .map(|(name, column)| FieldSpec::new(name, column.sql_type))
            .collect();
        let line = encoded(OutputFormat::Json, &columns, 1);
        prop_assert_eq!(TestSource::new(Format::Json, &fields).rows(&line), Ok(vec![data.clone()]), "{}", line);
        let line = encoded(OutputFormat::Csv { delimiter: ',' }, &columns, 1);
        let csv = Format::Csv(CsvFormat::default());
        prop_assert_eq!(TestSource::new(csv, &fields).rows(&line), Ok(vec![data]), "{}", line);
    }
}
