//! Arithmetic and comparisons against 128-bit arithmetic and the order of values.

use proptest::prelude::*;

use super::arithmetic::{ArithmeticOp, binary, negation};
use super::comparison::{ComparisonOp, comparison};
use super::test_values::{Outcome, evaluate_one, text, value_or_null};
use crate::query::datum::Datum;
use crate::query::sql_type::SqlType::{self, BigInt, Decimal, Double, Interval, String, Timestamp};

const OVERFLOW: Outcome = Err("overflow");
const BY_ZERO: Outcome = Err("division-by-zero");

fn computed(op: ArithmeticOp, left: &Datum, right: &Datum) -> Outcome {
    let of = |datum: &Datum| datum.sql_type().unwrap_or(BigInt);
    let found = binary(op, of(left), of(right)).unwrap();
    let operands = [left.clone(), right.clone()];
    evaluate_one(&[found.left, found.right], &operands, |a, n, f| (found.eval)(&a[0], &a[1], n, f))
}

#[test]
fn results_that_do_not_fit_fail() {
    use ArithmeticOp::{Add, Divide, Multiply, Remainder, Subtract};
    let b = Datum::BigInt;
    let d = Datum::Decimal;
    let x = Datum::Double;
    for (op, left, right, expected) in [
        (Divide, b(-7), b(2), Ok(b(-3))),
        (Remainder, b(-7), b(2), Ok(b(-1))),
        (Remainder, b(7), b(-2), Ok(b(1))),
        (Divide, b(i64::MIN), b(-1), OVERFLOW),
        (Remainder, b(i64::MIN), b(-1), Ok(b(0))),
        (Divide, b(1), b(0), BY_ZERO),
        (Remainder, b(1), b(0), BY_ZERO),
        (Divide, Datum::Null, b(0), Ok(Datum::Null)),
        (Add, b(i64::MAX), b(1), OVERFLOW),
        (Subtract, b(i64::MIN), b(1), OVERFLOW),
        (Multiply, b(i64::MIN), b(-1), OVERFLOW),
        (Divide, d(-7), d(2), Ok(d(-3))),
        (Divide, d(i128::MIN), d(-1), OVERFLOW),
        (Divide, d(1), d(0), BY_ZERO),
        (Remainder, d(i128::MIN), d(-1), Ok(d(0))),
        (Remainder, d(5), d(0), BY_ZERO),
        (Multiply, d(i128::MAX), d(2), OVERFLOW),
        (Add, x(f64::MAX), x(f64::MAX), OVERFLOW),
        (Divide, x(1.0), x(0.0), BY_ZERO),
        (Divide, x(0.0), x(-0.0), BY_ZERO),
        (Remainder, x(-7.5), x(2.0), Ok(x(-1.5))),
        (Remainder, x(1.0), x(0.0), BY_ZERO),
        (Divide, x(f64::MAX), x(0.5), OVERFLOW),
        (Add, Datum::Timestamp(5), Datum::Interval(7), Ok(Datum::Timestamp(12))),
        (Add, Datum::Interval(5), Datum::Timestamp(7), Ok(Datum::Timestamp(12))),
        (Subtract, Datum::Timestamp(5), Datum::Timestamp(7), Ok(Datum::Interval(-2))),
        (Subtract, Datum::Timestamp(i64::MIN), Datum::Interval(1), OVERFLOW),
        (Multiply, Datum::Interval(5), b(-3), Ok(Datum::Interval(-15))),
        (Multiply, b(3), Datum::Interval(5), Ok(Datum::Interval(15))),
    ] {
        assert_eq!(computed(op, &left, &right), expected, "{left:?} {} {right:?}", op.symbol());
    }
}

#[test]
fn numbers_of_two_types_become_the_wider() {
    let found = binary(ArithmeticOp::Divide, Decimal, BigInt).unwrap();
    assert_eq!((found.left, found.right, found.returns), (Decimal, Decimal, Decimal));
    let found = binary(ArithmeticOp::Add, Decimal, Double).unwrap();
    assert_eq!((found.left, found.right, found.returns), (Double, Double, Double));
    let refused = binary(ArithmeticOp::Add, Timestamp, BigInt).unwrap_err();
    assert!(refused.starts_with("TIMESTAMP(3) + BIGINT is not defined"), "{refused}");
    assert!(binary(ArithmeticOp::Add, String, String).is_err());
    assert!(negation(String).unwrap_err().contains("STRING"));
}

#[test]
fn negation_is_checked() {
    let negated = |of: SqlType, value: Datum| {
        let eval = negation(of).unwrap();
        evaluate_one(&[of], &[value], |a, n, f| eval(&a[0], n, f))
    };
    assert_eq!(negated(BigInt, Datum::BigInt(5)), Ok(Datum::BigInt(-5)));
    assert_eq!(negated(BigInt, Datum::BigInt(i64::MIN)), OVERFLOW);
    assert_eq!(negated(Interval, Datum::Interval(5)), Ok(Datum::Interval(-5)));
    assert_eq!(negated(Decimal, Datum::Decimal(i128::MIN)), OVERFLOW);
    assert_eq!(negated(Double, Datum::Double(0.5)), Ok(Datum::Double(-0.5)));
}

fn compared(op: ComparisonOp, of: SqlType, left: &Datum, right: &Datum) -> Outcome {
    let eval = comparison(op, of);
    evaluate_one(&[of, of], &[left.clone(), right.clone()], |a, n, f| eval(&a[0], &a[1], n, f))
}

#[test]
fn null_is_distinct_from_values_only() {
    use ComparisonOp::{Equal, IsDistinctFrom, IsNotDistinctFrom};
    let (null, a) = (Datum::Null, text("a"));
    for (left, right, distinct) in
        [(&null, &null, false), (&null, &a, true), (&a, &null, true), (&a, &a, false)]
    {
        assert_eq!(compared(IsDistinctFrom, String, left, right), Ok(Datum::Boolean(distinct)));
        assert_eq!(compared(IsNotDistinctFrom, String, left, right), Ok(Datum::Boolean(!distinct)));
    }
    assert_eq!(compared(Equal, String, &null, &null), Ok(Datum::Null));
    let zeros = (Datum::Double(0.0), Datum::Double(-0.0));
    assert_eq!(compared(Equal, Double, &zeros.0, &zeros.1), Ok(Datum::Boolean(true)));
    assert_eq!(compared(ComparisonOp::Less, String, &text("Z"), &text("a")), Ok(Datum::Boolean(true)));
    assert_eq!(
        compared(ComparisonOp::GreaterOrEqual, String, &text("ü"), &text("z")),
        Ok(Datum::Boolean(true))
    );
}

proptest! {
    #[test]
    fn integers_agree_with_wider_ones(left in value_or_null(BigInt), right in value_or_null(BigInt)) {
        let (Datum::BigInt(a), Datum::BigInt(b)) = (&left, &right) else { return Ok(()) };
        let (a, b) = (i128::from(*a), i128::from(*b));
        for (op, exact) in [
            (ArithmeticOp::Add, Some(a + b)),
            (ArithmeticOp::Subtract, Some(a - b)),
            (ArithmeticOp::Multiply, Some(a * b)),
            (ArithmeticOp::Divide, a.checked_div(b)),
            (ArithmeticOp::Remainder, a.checked_rem(b)),
        ] {
            let expected = match exact {
                None => BY_ZERO,
                Some(exact) => i64::try_from(exact).map_or(OVERFLOW, |value| Ok(Datum::BigInt(value))),
            };
            prop_assert_eq!(computed(op, &left, &right), expected);
        }
        let (left, right) = (Datum::Decimal(a), Datum::Decimal(b));
        let expected = a.checked_div(b).map_or(BY_ZERO, |value| Ok(Datum::Decimal(value)));
        prop_assert_eq!(computed(ArithmeticOp::Divide, &left, &right), expected);
    }
}
