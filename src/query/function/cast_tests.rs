//! Casts, pair by pair.

use proptest::prelude::*;

use super::cast::cast;
use super::test_values::{Outcome, evaluate_one, text};
use crate::query::datum::Datum;
use crate::query::sql_type::SqlType::{
    self, BigInt, Boolean, Bytes, Decimal, Double, Interval, String, Timestamp,
};

fn converted(value: &Datum, to: SqlType) -> Outcome {
    let from = value.sql_type().unwrap();
    let eval = cast(from, to).unwrap();
    evaluate_one(&[from], std::slice::from_ref(value), |a, n, f| eval(&a[0], n, f, false))
}

#[test]
fn values_convert() {
    const INVALID: Outcome = Err("invalid-cast");
    const OVERFLOW: Outcome = Err("overflow");
    let two_to_63 = 9_223_372_036_854_775_808.0;
    for (value, to, expected) in [
        (Datum::Double(-2.9), BigInt, Ok(Datum::BigInt(-2))),
        (Datum::Double(two_to_63), BigInt, OVERFLOW),
        (Datum::Double(-two_to_63), BigInt, Ok(Datum::BigInt(i64::MIN))),
        (Datum::Double(1e39), Decimal, OVERFLOW),
        (Datum::Double(1e20), Decimal, Ok(Datum::Decimal(100_000_000_000_000_000_000))),
        (Datum::BigInt(9_007_199_254_740_993), Double, Ok(Datum::Double(9_007_199_254_740_992.0))),
        (Datum::Decimal(i128::from(i64::MAX) + 1), BigInt, OVERFLOW),
        (Datum::Decimal(-3), BigInt, Ok(Datum::BigInt(-3))),
        (Datum::BigInt(-3), Decimal, Ok(Datum::Decimal(-3))),
        (Datum::Boolean(true), BigInt, Ok(Datum::BigInt(1))),
        (Datum::BigInt(-4), Boolean, Ok(Datum::Boolean(true))),
        (text(" +42 "), BigInt, Ok(Datum::BigInt(42))),
        (text("4.2"), BigInt, INVALID),
        (text(""), BigInt, INVALID),
        (text("9223372036854775808"), BigInt, OVERFLOW),
        (text("9223372036854775808"), Decimal, Ok(Datum::Decimal(9_223_372_036_854_775_808))),
        (text("-1.5e3"), Double, Ok(Datum::Double(-1_500.0))),
        (text("1e999"), Double, OVERFLOW),
        (text("inf"), Double, INVALID),
        (text("NaN"), Double, INVALID),
        (text("Yes"), Boolean, Ok(Datum::Boolean(true))),
        (text("maybe"), Boolean, INVALID),
        (text("1970-01-01 00:00:01"), Timestamp, Ok(Datum::Timestamp(1_000))),
        (text("1970-13-01"), Timestamp, INVALID),
        (Datum::Boolean(false), String, Ok(text("FALSE"))),
        (Datum::Double(3.0), String, Ok(text("3.0"))),
        (Datum::Decimal(i128::MIN), String, Ok(text("-170141183460469231731687303715884105728"))),
        (Datum::Timestamp(1_000), String, Ok(text("1970-01-01 00:00:01.000"))),
        (Datum::Interval(-1_000), String, Ok(text("-0 00:00:01.000"))),
        (Datum::Bytes(Box::new([0xFF])), String, Err("not-utf8")),
        (Datum::Bytes("ü".as_bytes().into()), String, Ok(text("ü"))),
        (text("ü"), Bytes, Ok(Datum::Bytes("ü".as_bytes().into()))),
    ] {
        assert_eq!(converted(&value, to), expected, "{value:?} as {to}");
    }
}

#[test]
fn refusals_say_what_to_use() {
    for (from, to, instead) in [
        (Timestamp, BigInt, "UNIX_TIMESTAMP"),
        (BigInt, Timestamp, "TO_TIMESTAMP_LTZ"),
        (Interval, BigInt, "TIMESTAMPDIFF"),
        (Bytes, Double, "STRING"),
    ] {
        let refused = cast(from, to).map(|_| ()).unwrap_err();
        assert!(refused.contains(instead), "{refused}");
    }
}

proptest! {
    #[test]
    fn texts_convert_back(number: i64, bits: u64, timestamp in -60_000_000_000_000..250_000_000_000_000_i64) {
        let double = f64::from_bits(bits);
        prop_assume!(double.is_finite());
        for value in [
            Datum::BigInt(number),
            Datum::Decimal(i128::from(number) << 60),
            Datum::Double(double),
            Datum::Timestamp(timestamp),
            Datum::Boolean(number % 2 == 0),
        ] {
            let text = converted(&value, String).unwrap();
            prop_assert_eq!(converted(&text, value.sql_type().unwrap()), Ok(value));
        }
    }
}
