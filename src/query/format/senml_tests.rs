//! Tests of SenML packs.

use super::super::decoder::{Decoder, Format};
use super::super::test_source::{RECEIVED_MS, TestSource, fields, text};
use super::*;
use crate::query::datum::Datum;

fn all() -> TestSource {
    let specs: Vec<_> = FIELDS.iter().map(|(name, sql_type, _)| (*name, *name, *sql_type)).collect();
    TestSource::new(Format::Senml, &fields(&specs))
}

fn some(names: &[&str]) -> TestSource {
    let specs = FIELDS
        .iter()
        .filter(|(name, ..)| names.contains(name))
        .map(|(name, sql_type, _)| (*name, *name, *sql_type));
    TestSource::new(Format::Senml, &fields(&specs.collect::<Vec<_>>()))
}

#[test]
fn a_record_has_every_field() {
    let null = || Datum::Null;
    let now = || Datum::Timestamp(RECEIVED_MS);
    assert_eq!(
        all().rows(r#"[{"n":"a/1","v":2,"u":"Cel"},{"n":"b","vs":"x"},{"n":"c","vb":false,"ut":5},{"n":"d","vd":"_w","s":7}]"#),
        Ok(vec![
            vec![text("a/1"), text("Cel"), Datum::Double(2.0), null(), null(), null(), null(), now(), null()],
            vec![text("b"), null(), null(), text("x"), null(), null(), null(), now(), null()],
            vec![text("c"), null(), null(), null(), Datum::Boolean(false), null(), null(), now(), Datum::Double(5.0)],
            vec![text("d"), null(), null(), null(), null(), text("_w"), Datum::Double(7.0), now(), null()],
        ])
    );
}

#[test]
fn base_values_hold_until_they_are_set_again() {
    let frame = r#"[
        {"bn":"urn:dev:ow:1:","bt":1.276020076001e+09,"bu":"A","bver":5,"n":"voltage","u":"V","v":120.1},
        {"n":"current","t":-5,"v":1.2},
        {"bn":"x","bv":10,"bs":100},
        {"v":0.5,"s":1,"bt":1300000000},
        {"n":"y","s":2,"bu":"W"}]"#;
    assert_eq!(
        some(&["name", "unit", "value", "sum", "time"]).rows(frame),
        Ok(vec![
            vec![
                text("urn:dev:ow:1:voltage"),
                text("V"),
                Datum::Double(120.1),
                Datum::Null,
                Datum::Timestamp(1_276_020_076_001)
            ],
            vec![
                text("urn:dev:ow:1:current"),
                text("A"),
                Datum::Double(1.2),
                Datum::Null,
                Datum::Timestamp(1_276_020_071_001)
            ],
            vec![
                text("x"),
                text("A"),
                Datum::Double(10.5),
                Datum::Double(101.0),
                Datum::Timestamp(1_300_000_000_000)
            ],
            vec![
                text("xy"),
                text("W"),
                Datum::Null,
                Datum::Double(102.0),
                Datum::Timestamp(1_300_000_000_000)
            ],
        ])
    );
}

#[test]
fn times_below_the_bound_are_relative_to_receiving() {
    for (time, ms) in [
        ("-60", RECEIVED_MS - 60_000),
        ("0", RECEIVED_MS),
        ("1.5", RECEIVED_MS + 1_500),
        ("268435455", RECEIVED_MS + 268_435_455_000),
        ("268435456", 268_435_456_000),
        ("1732270000.25", 1_732_270_000_250),
    ] {
        let rows = some(&["time"]).rows(&format!(r#"[{{"n":"a","v":1,"t":{time}}}]"#));
        assert_eq!(rows, Ok(vec![vec![Datum::Timestamp(ms)]]), "{time}");
    }
}

#[test]
fn every_fault_has_its_cause() {
    for (frame, cause) in [
        ("", RejectCause::EMPTY),
        ("{}", cause::WRONG_TYPE),
        ("[1]", cause::WRONG_TYPE),
        ("[", cause::INVALID_JSON),
        ("[] x", cause::INVALID_JSON),
        (r#"[{"n":"a"}]"#, cause::INVALID_SENML),
        (r#"[{"n":"a","v":1,"vs":"b"}]"#, cause::INVALID_SENML),
        (r#"[{"v":1}]"#, cause::INVALID_SENML),
        (r#"[{"n":"-a","v":1}]"#, cause::INVALID_SENML),
        (r#"[{"n":"a b","v":1}]"#, cause::INVALID_SENML),
        (r#"[{"n":"é","v":1}]"#, cause::INVALID_SENML),
        (r#"[{"n":"a","v":1,"bver":11}]"#, cause::INVALID_SENML),
        (r#"[{"n":"a","v":1,"x_":1}]"#, cause::INVALID_SENML),
        (r#"[{"n":"a","v":"1"}]"#, cause::WRONG_TYPE),
        (r#"[{"n":"a","v":null}]"#, cause::WRONG_TYPE),
        (r#"[{"n":1,"v":1}]"#, cause::WRONG_TYPE),
        (r#"[{"n":"a","vb":1}]"#, cause::WRONG_TYPE),
        (r#"[{"n":"a","v":1,"v":1}]"#, cause::DUPLICATE_KEY),
        (r#"[{"n":"a","n":"b","v":1}]"#, cause::DUPLICATE_KEY),
        (r#"[{"n":"a","v":1e308,"bv":1e308}]"#, RejectCause::OVERFLOW),
        (r#"[{"n":"a","v":1e400}]"#, RejectCause::OVERFLOW),
        (r#"[{"n":"a","v":1,"t":1e300}]"#, RejectCause::OVERFLOW),
    ] {
        assert_eq!(all().rows(frame), Err(cause), "{frame}");
        let behind_a_row = frame.replacen('[', r#"[{"n":"a","v":1},"#, 1);
        assert!(all().rows(&behind_a_row).is_err(), "{behind_a_row}");
    }
    let pack = |records: usize| format!("[{}]", vec![r#"{"n":"a","v":1,"x":{"y":[]}}"#; records].join(","));
    assert_eq!(all().decode(&pack(4_096)), Ok(4_096));
    assert_eq!(all().decode(&pack(4_097)), Err(cause::TOO_MANY_ROWS));
    assert_eq!(all().decode("[]"), Ok(0));
}

#[test]
fn fields_senml_does_not_have_are_refused() {
    for (path, sql_type, message) in [
        (
            "temperature",
            SqlType::Double,
            "column c: senml has no temperature: there are name STRING, unit STRING,",
        ),
        ("value.x", SqlType::Double, "column c: senml has no value.x"),
        ("value", SqlType::BigInt, "column c: value of senml is DOUBLE, not BIGINT"),
    ] {
        let error = Decoder::new(Format::Senml, &fields(&[("c", path, sql_type)])).unwrap_err();
        assert!(error.starts_with(message), "{error}");
    }
}
