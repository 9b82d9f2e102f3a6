//! Every function by its name, with what it gives; and what is said of calls that are none.

use std::slice::from_ref;

use super::calendar::TimeUnit;
use super::registry::{ScalarFunction, all, resolve};
use super::test_values::{Outcome, evaluate_one, text};
use super::{TEXT_BYTES_MAX, ceil_timestamp, extract, floor_timestamp, timestamp_add, timestamp_difference};
use crate::query::datum::Datum;
use crate::query::sql_type::SqlType;

const OUT_OF_DOMAIN: Outcome = Err("out-of-domain");
const OVERFLOW: Outcome = Err("overflow");

fn b(value: i64) -> Datum {
    Datum::BigInt(value)
}

fn x(value: f64) -> Datum {
    Datum::Double(value)
}

fn d(value: i128) -> Datum {
    Datum::Decimal(value)
}

/// As the planner casts: only numbers to wider ones.
fn widened(value: &Datum, to: SqlType) -> Datum {
    match (value, to) {
        (Datum::BigInt(value), SqlType::Double) => x(*value as f64),
        (Datum::BigInt(value), SqlType::Decimal) => d(i128::from(*value)),
        (value, _) => value.clone(),
    }
}

fn call(function: &ScalarFunction, arguments: &[Datum]) -> Outcome {
    let row: Vec<Datum> =
        arguments.iter().zip(&function.arguments).map(|(value, to)| widened(value, *to)).collect();
    evaluate_one(&function.arguments, &row, function.eval)
}

fn called(name: &str, arguments: &[Datum]) -> Outcome {
    let types: Vec<Option<SqlType>> = arguments.iter().map(Datum::sql_type).collect();
    call(&resolve(name, &types).unwrap(), arguments)
}

#[test]
fn numeric_functions() {
    for (name, arguments, expected) in [
        ("ABS", vec![b(-5)], Ok(b(5))),
        ("abs", vec![b(i64::MIN)], OVERFLOW),
        ("ABS", vec![x(-0.5)], Ok(x(0.5))),
        ("ABS", vec![d(i128::MIN)], OVERFLOW),
        ("SIGN", vec![x(-0.5)], Ok(x(-1.0))),
        ("SIGN", vec![b(0)], Ok(b(0))),
        ("CEIL", vec![x(1.2)], Ok(x(2.0))),
        ("CEILING", vec![b(7)], Ok(b(7))),
        ("FLOOR", vec![x(-1.2)], Ok(x(-2.0))),
        ("ROUND", vec![x(2.5)], Ok(x(3.0))),
        ("ROUND", vec![x(1.005), b(2)], Ok(x(1.01))),
        ("ROUND", vec![b(1_250), b(-2)], Ok(b(1_300))),
        ("ROUND", vec![b(-1_250), b(-2)], Ok(b(-1_300))),
        ("ROUND", vec![b(i64::MAX), b(-1)], OVERFLOW),
        ("ROUND", vec![b(i64::MAX), b(-19)], OVERFLOW),
        ("ROUND", vec![b(i64::MAX), b(-20)], Ok(b(0))),
        ("ROUND", vec![d(i128::MAX), b(-38)], OVERFLOW),
        ("ROUND", vec![d(i128::MAX), b(-39)], Ok(d(0))),
        ("TRUNCATE", vec![x(-2.679), b(2)], Ok(x(-2.67))),
        ("TRUNCATE", vec![x(-2.679)], Ok(x(-2.0))),
        ("TRUNCATE", vec![b(1_299), b(-2)], Ok(b(1_200))),
        ("MOD", vec![b(-7), b(2)], Ok(b(-1))),
        ("MOD", vec![b(7), x(2.5)], Ok(x(2.0))),
        ("MOD", vec![b(7), b(0)], Err("division-by-zero")),
        ("POWER", vec![b(2), b(10)], Ok(x(1_024.0))),
        ("POWER", vec![b(-8), x(0.5)], OUT_OF_DOMAIN),
        ("POWER", vec![b(0), b(-1)], OUT_OF_DOMAIN),
        ("POWER", vec![b(10), b(400)], OVERFLOW),
        ("SQRT", vec![b(9)], Ok(x(3.0))),
        ("SQRT", vec![b(-9)], OUT_OF_DOMAIN),
        ("EXP", vec![b(0)], Ok(x(1.0))),
        ("EXP", vec![b(1_000)], OVERFLOW),
        ("LN", vec![b(1)], Ok(x(0.0))),
        ("LN", vec![b(0)], OUT_OF_DOMAIN),
        ("LOG", vec![b(1)], Ok(x(0.0))),
        ("LOG", vec![b(2), b(8)], Ok(x(3.0))),
        ("LOG", vec![b(1), b(8)], OUT_OF_DOMAIN),
        ("LOG10", vec![b(1_000)], Ok(x(3.0))),
        ("LOG2", vec![b(8)], Ok(x(3.0))),
        ("SIN", vec![b(0)], Ok(x(0.0))),
        ("COS", vec![b(0)], Ok(x(1.0))),
        ("TAN", vec![b(0)], Ok(x(0.0))),
        ("ASIN", vec![b(1)], Ok(x(std::f64::consts::FRAC_PI_2))),
        ("ACOS", vec![b(2)], OUT_OF_DOMAIN),
        ("ATAN", vec![b(0)], Ok(x(0.0))),
        ("ATAN2", vec![b(1), b(0)], Ok(x(std::f64::consts::FRAC_PI_2))),
        ("PI", vec![], Ok(x(std::f64::consts::PI))),
        ("DEGREES", vec![x(std::f64::consts::PI)], Ok(x(180.0))),
        ("RADIANS", vec![b(180)], Ok(x(std::f64::consts::PI))),
        ("GREATEST", vec![b(1), b(3), b(2)], Ok(b(3))),
        ("GREATEST", vec![b(1), x(0.5)], Ok(x(1.0))),
        ("LEAST", vec![text("b"), text("a")], Ok(text("a"))),
        ("LEAST", vec![b(1), Datum::Null], Ok(Datum::Null)),
        ("LEAST", vec![Datum::Timestamp(5), Datum::Timestamp(4)], Ok(Datum::Timestamp(4))),
    ] {
        assert_eq!(called(name, &arguments), expected, "{name} of {arguments:?}");
    }
}

#[test]
fn text_functions() {
    let t = text;
    for (name, arguments, expected) in [
        ("CHAR_LENGTH", vec![t("aü€")], Ok(b(3))),
        ("OCTET_LENGTH", vec![t("aü€")], Ok(b(6))),
        ("UPPER", vec![t("straße")], Ok(t("STRASSE"))),
        ("LOWER", vec![t("ÄB")], Ok(t("äb"))),
        ("TRIM", vec![t("  a b ")], Ok(t("a b"))),
        ("TRIM", vec![t("xyax"), t("xy")], Ok(t("a"))),
        ("LTRIM", vec![t("  a ")], Ok(t("a "))),
        ("RTRIM", vec![t(" a  ")], Ok(t(" a"))),
        ("SUBSTRING", vec![t("größe"), b(3)], Ok(t("öße"))),
        ("SUBSTRING", vec![t("größe"), b(3), b(2)], Ok(t("öß"))),
        ("SUBSTRING", vec![t("größe"), b(0), b(2)], Ok(t("gr"))),
        ("SUBSTRING", vec![t("größe"), b(-2)], Ok(t("ße"))),
        ("SUBSTRING", vec![t("größe"), b(-9)], Ok(t(""))),
        ("SUBSTRING", vec![t("größe"), b(9)], Ok(t(""))),
        ("SUBSTRING", vec![t("größe"), b(1), b(-1)], OUT_OF_DOMAIN),
        ("CONCAT", vec![t("a"), t("b"), t("c")], Ok(t("abc"))),
        ("CONCAT", vec![t("a"), Datum::Null], Ok(Datum::Null)),
        ("CONCAT_WS", vec![t("-"), t("a"), Datum::Null, t("c")], Ok(t("a-c"))),
        ("CONCAT_WS", vec![t("-"), Datum::Null], Ok(t(""))),
        ("CONCAT_WS", vec![Datum::Null, t("a")], Ok(Datum::Null)),
        ("REPLACE", vec![t("a.b.c"), t("."), t("::")], Ok(t("a::b::c"))),
        ("REPLACE", vec![t("abc"), t(""), t("x")], Ok(t("abc"))),
        ("POSITION", vec![t("ß"), t("größe")], Ok(b(4))),
        ("POSITION", vec![t("x"), t("größe")], Ok(b(0))),
        ("POSITION", vec![t(""), t("a")], Ok(b(1))),
        ("LOCATE", vec![t("a"), t("abca"), b(2)], Ok(b(4))),
        ("LOCATE", vec![t("a"), t("a"), b(0)], Ok(b(0))),
        ("LOCATE", vec![t(""), t("ü"), b(2)], Ok(b(2))),
        ("LOCATE", vec![t(""), t("ü"), b(3)], Ok(b(0))),
        ("INSTR", vec![t("größe"), t("ß")], Ok(b(4))),
        ("LEFT", vec![t("größe"), b(3)], Ok(t("grö"))),
        ("LEFT", vec![t("a"), b(-1)], Ok(t(""))),
        ("RIGHT", vec![t("größe"), b(2)], Ok(t("ße"))),
        ("RIGHT", vec![t("größe"), b(9)], Ok(t("größe"))),
        ("LPAD", vec![t("7"), b(3), t("0")], Ok(t("007"))),
        ("LPAD", vec![t("größe"), b(2)], Ok(t("gr"))),
        ("RPAD", vec![t("ü"), b(4), t("ab")], Ok(t("üaba"))),
        ("RPAD", vec![t("a"), b(4), t("")], OUT_OF_DOMAIN),
        ("RPAD", vec![t("a"), b(-4)], OUT_OF_DOMAIN),
        ("LPAD", vec![t("a"), b(i64::MAX)], Err("text-max")),
        ("REVERSE", vec![t("aü€")], Ok(t("€üa"))),
        ("REPEAT", vec![t("ab"), b(3)], Ok(t("ababab"))),
        ("REPEAT", vec![t("ab"), b(-3)], Ok(t(""))),
        ("REPEAT", vec![t("ab"), b(i64::MAX)], Err("text-max")),
        ("REPEAT", vec![t(""), b(i64::MAX)], Ok(t(""))),
        ("SPLIT_INDEX", vec![t("a/b//d"), t("/"), b(1)], Ok(t("b"))),
        ("SPLIT_INDEX", vec![t("a/b//d"), t("/"), b(2)], Ok(t(""))),
        ("SPLIT_INDEX", vec![t("a/b//d"), t("/"), b(4)], Ok(Datum::Null)),
        ("SPLIT_INDEX", vec![t("a"), t("/"), b(-1)], Ok(Datum::Null)),
        ("SPLIT_INDEX", vec![t("a"), t(""), b(0)], OUT_OF_DOMAIN),
        ("STARTSWITH", vec![t("abc"), t("ab")], Ok(Datum::Boolean(true))),
        ("ENDSWITH", vec![t("abc"), t("ab")], Ok(Datum::Boolean(false))),
        ("ASCII", vec![t("A")], Ok(b(65))),
        ("ASCII", vec![t("")], Ok(b(0))),
        ("CHR", vec![b(65)], Ok(t("A"))),
        ("CHR", vec![b(321)], Ok(t("A"))),
        ("CHR", vec![b(-1)], Ok(t(""))),
        ("HEX", vec![b(255)], Ok(t("FF"))),
        ("HEX", vec![b(0)], Ok(t("0"))),
        ("HEX", vec![b(-1)], Ok(t("FFFFFFFFFFFFFFFF"))),
        ("HEX", vec![t("az")], Ok(t("617A"))),
        ("TO_HEX", vec![Datum::Bytes(Box::new([0, 255]))], Ok(t("00FF"))),
    ] {
        assert_eq!(called(name, &arguments), expected, "{name} of {arguments:?}");
    }
}

#[test]
fn time_functions() {
    // 2026-11-22 23:57:49.120, a Sunday.
    let now = Datum::Timestamp(1_795_391_869_120);
    for (part, expected) in [
        ("YEAR", 2026),
        ("quarter", 4),
        ("MONTH", 11),
        ("WEEK", 47),
        ("DAY", 22),
        ("DOY", 326),
        ("DOW", 1),
        ("HOUR", 23),
        ("MINUTE", 57),
        ("SECOND", 49),
        ("MILLISECOND", 120),
        ("EPOCH", 1_795_391_869),
    ] {
        assert_eq!(call(&extract(part).unwrap(), from_ref(&now)), Ok(b(expected)), "{part}");
    }
    let unit = |name: &str| TimeUnit::parse(name).unwrap();
    let day = 86_400_000;
    let midnight = 1_795_305_600_000;
    for (name, start, end) in [
        ("SECOND", 1_795_391_869_000, 1_795_391_870_000),
        ("HOUR", midnight + 23 * 3_600_000, midnight + day),
        ("DAY", midnight, midnight + day),
        ("WEEK", midnight, midnight + 7 * day),
        ("MONTH", midnight - 21 * day, midnight + 9 * day),
        ("QUARTER", midnight - 52 * day, midnight + 40 * day),
        ("YEAR", midnight - 325 * day, midnight + 40 * day),
    ] {
        assert_eq!(call(&floor_timestamp(unit(name)), from_ref(&now)), Ok(Datum::Timestamp(start)), "{name}");
        assert_eq!(call(&ceil_timestamp(unit(name)), from_ref(&now)), Ok(Datum::Timestamp(end)), "{name}");
    }
    let first = Datum::Timestamp(midnight);
    assert_eq!(call(&ceil_timestamp(unit("DAY")), from_ref(&first)), Ok(first.clone()));
    let added = |count, name| call(&timestamp_add(unit(name)), &[b(count), first.clone()]);
    assert_eq!(added(3, "MONTH"), Ok(Datum::Timestamp(midnight + 92 * day)));
    assert_eq!(added(-2, "HOUR"), Ok(Datum::Timestamp(midnight - 7_200_000)));
    assert_eq!(added(i64::MAX, "YEAR"), OVERFLOW);
    let end_of_january = Datum::Timestamp(30 * day);
    assert_eq!(call(&timestamp_add(unit("MONTH")), &[b(1), end_of_january]), Ok(Datum::Timestamp(58 * day)));
    let counted = |name| call(&timestamp_difference(unit(name)), &[first.clone(), now.clone()]);
    assert_eq!(counted("MINUTE"), Ok(b(23 * 60 + 57)));
    assert_eq!(counted("MONTH"), Ok(b(0)));
    for (name, arguments, expected) in [
        ("UNIX_TIMESTAMP", vec![Datum::Timestamp(-1)], Ok(b(-1))),
        ("HOUR", vec![now.clone()], Ok(b(23))),
        ("TO_TIMESTAMP_LTZ", vec![b(5)], Ok(Datum::Timestamp(5))),
        ("TO_TIMESTAMP_LTZ", vec![b(5), b(0)], Ok(Datum::Timestamp(5_000))),
        ("TO_TIMESTAMP_LTZ", vec![x(0.001), b(0)], Ok(Datum::Timestamp(1))),
        ("TO_TIMESTAMP_LTZ", vec![b(-1), b(6)], Ok(Datum::Timestamp(-1))),
        ("TO_TIMESTAMP_LTZ", vec![b(5), b(1)], OUT_OF_DOMAIN),
        ("TO_TIMESTAMP_LTZ", vec![b(i64::MAX), b(0)], OVERFLOW),
        ("TO_TIMESTAMP_LTZ", vec![x(1e300), b(3)], OVERFLOW),
        ("TO_TIMESTAMP", vec![text("2026-11-22 23:57:49.120")], Ok(now.clone())),
        ("TO_TIMESTAMP", vec![text("soon")], Err("invalid-cast")),
        ("DATE_FORMAT", vec![now.clone(), text("dd.MM.yyyy HH:mm")], Ok(text("22.11.2026 23:57"))),
        ("DATE_FORMAT", vec![now, text("EEE")], OUT_OF_DOMAIN),
    ] {
        assert_eq!(called(name, &arguments), expected, "{name} of {arguments:?}");
    }
}

#[test]
fn refusals_name_forms_and_neighbours() {
    let error = |name: &str, types: &[Option<SqlType>]| resolve(name, types).map(|_| ()).unwrap_err();
    let string = Some(SqlType::String);
    assert_eq!(
        error("sqrt", &[string]),
        "SQRT(STRING) is not defined; its forms are SQRT(DOUBLE) (CAST(x AS type) converts)"
    );
    assert!(error("CONCAT", &[]).contains("CONCAT(STRING, …)"));
    assert!(error("ROUND", &[None, string]).contains("ROUND(NULL, STRING) is not defined"));
    assert_eq!(error("SUBSTRNG", &[]), "there is no function SUBSTRNG; did you mean SUBSTRING, SUBSTR?");
    assert_eq!(error("frobnicate", &[]), "there is no function frobnicate");
    assert!(error("CONCAT", &[string; 256]).contains("256 arguments"));
    assert!(extract("CENTURY").map(|_| ()).unwrap_err().contains("DOY"));
    assert_eq!(resolve("GREATEST", &[None, Some(SqlType::Decimal)]).unwrap().returns, SqlType::Decimal);
}

#[test]
fn the_table_has_every_name_once() {
    let lines = all();
    assert!(lines.windows(2).all(|pair| pair[0].name < pair[1].name));
    assert!(lines.iter().all(|line| line.forms.starts_with(line.name) && line.about.ends_with('.')));
    let of = |name: &str| lines.iter().find(|line| line.name == name).unwrap().forms.clone();
    assert_eq!(of("LOCATE"), "LOCATE(STRING, STRING) | LOCATE(STRING, STRING, BIGINT)");
}

#[test]
fn texts_beyond_the_limit_fail_alone() {
    let most = text(&"a".repeat(TEXT_BYTES_MAX));
    assert_eq!(called("CONCAT", &[most.clone(), text("")]), Ok(most.clone()));
    assert_eq!(called("CONCAT", &[most.clone(), text("b")]), Err("text-max"));
    assert_eq!(called("REPLACE", &[most, text("a"), text("bb")]), Err("text-max"));
}
