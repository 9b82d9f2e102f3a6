//! Tests of JSON frames.

use super::super::decoder::{Decoder, Format};
use super::super::field::TimestampUnit;
use super::super::test_source::{TestSource, fields, text};
use super::*;
use crate::query::datum::Datum;
use crate::query::sql_type::SqlType;

fn readings() -> TestSource {
    let fields = fields(&[
        ("sensor", "sensor", SqlType::String),
        ("temperature", "data.temp", SqlType::Double),
        ("second", "data.values[1]", SqlType::BigInt),
        ("x", "data.values[3].x", SqlType::Boolean),
        ("ts", "ts", SqlType::Timestamp),
    ]);
    TestSource::new(Format::Json, &fields)
}

#[test]
fn members_are_found_by_their_paths_in_any_order() {
    let expected = vec![vec![
        text("s1"),
        Datum::Double(21.5),
        Datum::BigInt(2),
        Datum::Boolean(true),
        Datum::Timestamp(5),
    ]];
    for frame in [
        r#"{"sensor":"s1","data":{"temp":21.5,"values":[1,2,3,{"x":true},5]},"ts":5}"#,
        r#" { "ts" : 5 , "data" : { "values" : [ 1 , 2 , 3 , {"y":{"x":1},"x":true} ], "temp" : 21.5 } , "sensor" : "s1" } "#,
        r#"{"a":[{"sensor":"no"}],"sensor":"s1","b":null,"data":{"c":{"temp":1},"temp":2.15e1,"values":[{},2,[],{"x":true}]},"ts":"1970-01-01T00:00:00.005Z","d":"\u00e9"}"#,
        r#"{"\u0073ensor":"\u00731","data":{"temp":21.5,"values":[1,2,3,{"x":true}]},"ts":5.4}"#,
        r#"[{"sensor":"s1","data":{"temp":21.5,"values":[1,2,3,{"x":true}]},"ts":5}]"#,
    ] {
        assert_eq!(readings().rows(frame).as_ref(), Ok(&expected), "{frame}");
    }
}

#[test]
fn what_is_not_there_is_null() {
    let nulls = vec![Datum::Null; 5];
    for frame in [
        "{}",
        r#"{"data":{}}"#,
        r#"{"data":null,"sensor":null}"#,
        r#"{"data":{"values":[]}}"#,
        r#"{"data":{"values":[7]}}"#,
        r#"{"data":{"values":[7,null,8,null]}}"#,
        r#"{"data":{"values":[7,null,8,{"x":null}]}}"#,
        r#"{"data":{"values":null,"temp":null}}"#,
    ] {
        assert_eq!(readings().rows(frame), Ok(vec![nulls.clone()]), "{frame}");
    }
    let mut sensor = fields(&[("sensor", "a.b", SqlType::String)]);
    sensor[0].not_null = true;
    for frame in ["{}", r#"{"a":{}}"#, r#"{"a":null}"#, r#"{"a":{"b":null}}"#] {
        let result = TestSource::new(Format::Json, &sensor).rows(frame);
        assert_eq!(result, Err(cause::NULL_NOT_ALLOWED), "{frame}");
    }
}

#[test]
fn every_fault_has_its_cause() {
    for (frame, cause) in [
        ("", RejectCause::EMPTY),
        (" \t", RejectCause::EMPTY),
        ("1", cause::WRONG_TYPE),
        ("null", cause::WRONG_TYPE),
        ("\"a\"", cause::WRONG_TYPE),
        ("[1]", cause::WRONG_TYPE),
        ("[[]]", cause::WRONG_TYPE),
        ("[{},null]", cause::WRONG_TYPE),
        (r#"{"sensor":1}"#, cause::WRONG_TYPE),
        (r#"{"sensor":{}}"#, cause::WRONG_TYPE),
        (r#"{"sensor":[]}"#, cause::WRONG_TYPE),
        (r#"{"data":5}"#, cause::WRONG_TYPE),
        (r#"{"data":[]}"#, cause::WRONG_TYPE),
        (r#"{"data":{"temp":"21.5"}}"#, cause::WRONG_TYPE),
        (r#"{"data":{"values":{}}}"#, cause::WRONG_TYPE),
        (r#"{"data":{"values":[1,2,3,4]}}"#, cause::WRONG_TYPE),
        (r#"{"data":{"values":[1,true]}}"#, cause::WRONG_TYPE),
        (r#"{"ts":true}"#, cause::WRONG_TYPE),
        (r#"{"ts":"noon"}"#, cause::INVALID_TIMESTAMP),
        (r#"{"ts":1e18}"#, RejectCause::OVERFLOW),
        (r#"{"ts":9223372036854775807}"#, RejectCause::OVERFLOW),
        (r#"{"sensor":"a","sensor":"a"}"#, cause::DUPLICATE_KEY),
        (r#"{"sensor":null,"\u0073ensor":null}"#, cause::DUPLICATE_KEY),
        (r#"{"data":{},"data":{}}"#, cause::DUPLICATE_KEY),
        (r#"{"data":{"temp":1,"temp":1}}"#, cause::DUPLICATE_KEY),
        (r#"{"data":{"values":[1,2,3,{"x":true,"x":true}]}}"#, cause::DUPLICATE_KEY),
        ("{", cause::INVALID_JSON),
        ("{}}", cause::INVALID_JSON),
        ("{} {}", cause::INVALID_JSON),
        ("[{},]", cause::INVALID_JSON),
        (r#"{"a":NaN}"#, cause::INVALID_JSON),
        (r#"{"data":{"temp":NaN}}"#, cause::INVALID_JSON),
        (r#"{"data":{"temp":Infinity}}"#, cause::INVALID_JSON),
        (r#"{"data":{"temp":01}}"#, cause::INVALID_JSON),
        (r#"{"data":{"temp":1.}}"#, cause::INVALID_JSON),
        ("{'a':1}", cause::INVALID_JSON),
        ("{\"sensor\":\"a\tb\"}", cause::INVALID_JSON),
        (r#"{"sensor":"\ud800"}"#, cause::INVALID_JSON),
        (r#"{"data":{"temp":1e400}}"#, RejectCause::OVERFLOW),
        (r#"{"data":{"temp": -1e400 }}"#, RejectCause::OVERFLOW),
        (r#"{"data":{"temp":0.1e9999999999999}}"#, RejectCause::OVERFLOW),
        (r#"{"skipped":1e400,"sensor":"a"}"#, RejectCause::OVERFLOW),
        ("{\n\"skipped\":1e400\n}", RejectCause::OVERFLOW),
    ] {
        let mut source = readings();
        source.decode(r#"{"sensor":"before"}"#).unwrap();
        assert_eq!(source.rows(frame), Err(cause), "{frame}");
        assert_eq!(source.rows("{}").unwrap().len(), 1, "{frame}");
    }
    assert_eq!(readings().rows(r#"{"a":1,"a":2}"#).unwrap().len(), 1, "only used members are looked at");
}

#[test]
fn numbers_are_read_by_the_fields_type() {
    let read = |sql_type, value: &str| {
        TestSource::new(Format::Json, &fields(&[("v", "v", sql_type)]))
            .rows(&format!("{{\"v\":{value}}}"))
            .map(|mut rows| rows.remove(0).remove(0))
    };
    for (sql_type, value, datum) in [
        (SqlType::BigInt, "9223372036854775807", Ok(Datum::BigInt(i64::MAX))),
        (SqlType::BigInt, "-9223372036854775808", Ok(Datum::BigInt(i64::MIN))),
        (SqlType::BigInt, "-0", Ok(Datum::BigInt(0))),
        (SqlType::BigInt, "9223372036854775808", Err(RejectCause::OVERFLOW)),
        (SqlType::BigInt, "-9223372036854775809", Err(RejectCause::OVERFLOW)),
        (SqlType::BigInt, "18446744073709551616", Err(RejectCause::OVERFLOW)),
        (SqlType::BigInt, "1.0", Err(cause::WRONG_TYPE)),
        (SqlType::BigInt, "1e2", Err(cause::WRONG_TYPE)),
        (SqlType::BigInt, "\"1\"", Err(cause::WRONG_TYPE)),
        (SqlType::Decimal, "18446744073709551615", Ok(Datum::Decimal(u64::MAX.into()))),
        (SqlType::Decimal, "-5", Ok(Datum::Decimal(-5))),
        (SqlType::Decimal, "18446744073709551616", Err(RejectCause::OVERFLOW)),
        (SqlType::Decimal, "\"18446744073709551616\"", Ok(Datum::Decimal(1 << 64))),
        (SqlType::Decimal, "\"x\"", Err(RejectCause::NOT_A_NUMBER)),
        (SqlType::Double, "18446744073709551616", Ok(Datum::Double(18_446_744_073_709_551_616.0))),
        (SqlType::Double, "10000000000000000000", Ok(Datum::Double(1e19))),
        (SqlType::Double, "-7", Ok(Datum::Double(-7.0))),
        (SqlType::Double, "0.1", Ok(Datum::Double(0.1))),
        (SqlType::Double, "2.2250738585072011e-308", Ok(Datum::Double(2.225_073_858_507_201e-308))),
        (SqlType::Double, "1.7976931348623157e308", Ok(Datum::Double(f64::MAX))),
        (SqlType::Bytes, "\"00ff\"", Ok(Datum::Bytes([0, 255].into()))),
        (SqlType::Bytes, "\"0\"", Err(cause::INVALID_BYTES)),
    ] {
        assert_eq!(read(sql_type, value), datum, "{sql_type} {value}");
    }
}

#[test]
fn timestamps_have_the_fields_unit() {
    for (unit, value, ms) in [
        (TimestampUnit::Seconds, "1732270000", 1_732_270_000_000),
        (TimestampUnit::Seconds, "1732270000.123", 1_732_270_000_123),
        (TimestampUnit::Milliseconds, "1732270000000", 1_732_270_000_000),
        (TimestampUnit::Microseconds, "1732270000000999", 1_732_270_000_000),
        (TimestampUnit::Nanoseconds, "-1", -1),
    ] {
        let mut fields = fields(&[("ts", "ts", SqlType::Timestamp)]);
        fields[0].timestamp_unit = unit;
        let rows = TestSource::new(Format::Json, &fields).rows(&format!("{{\"ts\":{value}}}"));
        assert_eq!(rows, Ok(vec![vec![Datum::Timestamp(ms)]]), "{unit:?} {value}");
    }
}

#[test]
fn depth_is_limited_everywhere() {
    let wrap = |open: &str, close: &str, depth: usize| open.repeat(depth) + "0" + &close.repeat(depth);
    for depth in [128, 100_000] {
        for frame in [
            wrap("[", "]", depth),
            wrap("{\"a\":", "}", depth),
            wrap("{\"data\":", "}", depth),
            format!("{{\"a\":{}}}", wrap("[", "]", depth)),
            format!("{{\"a\":{}}}", wrap("{\"sensor\":", "}", depth)),
            format!("{{\"data\":{{\"values\":[{}]}}}}", wrap("[", "]", depth)),
            "[".repeat(depth + 1),
            "{\"a\":".repeat(depth + 1),
            format!("{{\"a\":{}", "[{\"a\":".repeat(depth)),
        ] {
            let cause = readings().rows(&frame).unwrap_err();
            assert!([cause::INVALID_JSON, cause::WRONG_TYPE].contains(&cause), "{depth}: {cause:?}");
        }
    }
    let deep = format!("{{\"a\":{}}}", wrap("[", "]", 126));
    assert_eq!(readings().decode(&deep), Ok(1));
}

#[test]
fn an_array_gives_a_row_for_each_object() {
    let frame = |rows: usize| format!("[{}]", vec!["{\"sensor\":\"a\"}"; rows].join(","));
    for rows in [0, 1, 2, 4_096] {
        assert_eq!(readings().rows(&frame(rows)).unwrap().len(), rows);
    }
    assert_eq!(readings().rows(&frame(4_097)), Err(cause::TOO_MANY_ROWS));
    let mut none = TestSource::new(Format::Json, &[]);
    assert_eq!(none.decode("[{},{\"a\":1}]"), Ok(2), "a schema without fields counts rows");
}

#[test]
fn many_members_are_found_by_name() {
    let names: Vec<String> = (0..1_000).map(|index| format!("m{index}")).collect();
    let specs: Vec<_> = names.iter().map(|name| (name.as_str(), name.as_str(), SqlType::BigInt)).collect();
    let mut source = TestSource::new(Format::Json, &fields(&specs));
    let frame = (0..1_000)
        .rev()
        .map(|index| format!("\"m{index}\":{index},\"m{index}x\":0"))
        .collect::<Vec<_>>()
        .join(",");
    let expected = (0..1_000).map(Datum::BigInt).collect();
    assert_eq!(source.rows(&format!("{{{frame}}}")), Ok(vec![expected]));
}

#[test]
fn paths_in_each_others_way_are_refused() {
    for (one, other) in
        [("a", "a"), ("a", "a.b"), ("a.b", "a"), ("a.b", "a[0]"), ("a[0]", "a[0].b"), ("a[1].b", "a[1]")]
    {
        let fields = fields(&[
            ("c", "c", SqlType::Double),
            ("x", one, SqlType::Double),
            ("y", other, SqlType::Double),
        ]);
        let error = Decoder::new(Format::Json, &fields).unwrap_err();
        assert!(error.contains(&format!("columns x (path {one}) and y (path {other})")), "{error}");
    }
    let interval = fields(&[("i", "i", SqlType::Interval)]);
    assert!(
        Decoder::new(Format::Json, &interval).unwrap_err().starts_with("column i: a frame holds no INTERVAL")
    );
}
