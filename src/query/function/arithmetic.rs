//! Arithmetic: `+ - * / %` and negation.
//!
//! | left | right | operations | result |
//! |---|---|---|---|
//! | `BIGINT`, `DECIMAL`, `DOUBLE` | the same | `+ - * / %` | the same |
//! | `TIMESTAMP` | `INTERVAL` | `+ -` | `TIMESTAMP` |
//! | `INTERVAL` | `TIMESTAMP` | `+` | `TIMESTAMP` |
//! | `TIMESTAMP` | `TIMESTAMP` | `-` | `INTERVAL` |
//! | `INTERVAL` | `INTERVAL` | `+ -` | `INTERVAL` |
//! | `INTERVAL` | `BIGINT` | `*` (also swapped) | `INTERVAL` |
//!
//! Numbers of two types become the wider one. A row fails where the result does not fit its type (`overflow`) or the
//! divisor is zero (`division-by-zero`). Integers divide toward zero; a remainder has the sign of the dividend, also
//! of `DOUBLE`, where it is exact.

use crate::metrics::RejectCause;
use crate::query::column::{Column, Values};
use crate::query::sql_type::SqlType;
use crate::query::vector::cause::DIVISION_BY_ZERO;
use crate::query::vector::{Failures, Vector};

use super::kernel::{column, decimals, doubles, integers, nulls_of, zip_flagged};
use super::registry::widens;

/// Computes an operator of two operands for all rows.
pub(crate) type BinaryKernel = fn(&Vector<'_>, &Vector<'_>, usize, &mut Failures) -> Column;
/// Computes an operator of one operand for all rows.
pub(crate) type UnaryKernel = fn(&Vector<'_>, usize, &mut Failures) -> Column;

/// An arithmetic operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ArithmeticOp {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl ArithmeticOp {
    /// As SQL writes it.
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }
}

/// An operator found for its operands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BinaryOperator {
    /// The types the planner casts the operands to.
    pub(crate) left: SqlType,
    pub(crate) right: SqlType,
    pub(crate) returns: SqlType,
    pub(crate) eval: BinaryKernel,
}

/// The operator for operands of these types.
///
/// # Errors
/// A text for the user: the operator is not defined for them.
pub(crate) fn binary(op: ArithmeticOp, left: SqlType, right: SqlType) -> Result<BinaryOperator, String> {
    use ArithmeticOp::{Add, Multiply, Subtract};
    use SqlType::{BigInt, Interval, Timestamp};
    let (left, right) = match (left, right) {
        (left, right) if left.is_numeric() && right.is_numeric() => {
            let wider = if widens(left, right) { right } else { left };
            (wider, wider)
        }
        pair => pair,
    };
    let (returns, eval): (SqlType, BinaryKernel) = match (op, left, right) {
        (op, SqlType::BigInt, SqlType::BigInt) => (BigInt, big_int(op)),
        (op, SqlType::Decimal, SqlType::Decimal) => (SqlType::Decimal, decimal(op)),
        (op, SqlType::Double, SqlType::Double) => (SqlType::Double, double(op)),
        (Add, Timestamp, Interval) | (Add, Interval, Timestamp) => {
            (Timestamp, |a, b, n, f| integer_kernel(a, b, Timestamp, n, f, sum))
        }
        (Subtract, Timestamp, Interval) => {
            (Timestamp, |a, b, n, f| integer_kernel(a, b, Timestamp, n, f, difference))
        }
        (Subtract, Timestamp, Timestamp) | (Subtract, Interval, Interval) => {
            (Interval, |a, b, n, f| integer_kernel(a, b, Interval, n, f, difference))
        }
        (Add, Interval, Interval) => (Interval, |a, b, n, f| integer_kernel(a, b, Interval, n, f, sum)),
        (Multiply, Interval, BigInt) | (Multiply, BigInt, Interval) => {
            (Interval, |a, b, n, f| integer_kernel(a, b, Interval, n, f, i64::overflowing_mul))
        }
        (op, left, right) => {
            return Err(format!(
                "{left} {} {right} is not defined; operands are two numbers, TIMESTAMP and INTERVAL with + or -, \
                 or INTERVAL * BIGINT",
                op.symbol()
            ));
        }
    };
    Ok(BinaryOperator { left, right, returns, eval })
}

/// `-x` of this type.
///
/// # Errors
/// A text for the user: the type has no negative values.
pub(crate) fn negation(sql_type: SqlType) -> Result<UnaryKernel, String> {
    fn negated(value: i64) -> Result<i64, RejectCause> {
        value.checked_neg().ok_or(RejectCause::OVERFLOW)
    }
    use std::slice::from_ref;
    Ok(match sql_type {
        SqlType::BigInt => |a, n, f| integers(from_ref(a), SqlType::BigInt, n, f, negated),
        SqlType::Interval => |a, n, f| integers(from_ref(a), SqlType::Interval, n, f, negated),
        SqlType::Decimal => {
            |a, n, f| decimals(from_ref(a), n, f, |value| value.checked_neg().ok_or(RejectCause::OVERFLOW))
        }
        SqlType::Double => |a, n, f| doubles(from_ref(a), n, f, |value| Ok(-value)),
        other => return Err(format!("-x is not defined for {other}; x is a number or an INTERVAL")),
    })
}

fn big_int(op: ArithmeticOp) -> BinaryKernel {
    match op {
        ArithmeticOp::Add => |a, b, n, f| integer_kernel(a, b, SqlType::BigInt, n, f, sum),
        ArithmeticOp::Subtract => |a, b, n, f| integer_kernel(a, b, SqlType::BigInt, n, f, difference),
        ArithmeticOp::Multiply => {
            |a, b, n, f| integer_kernel(a, b, SqlType::BigInt, n, f, i64::overflowing_mul)
        }
        ArithmeticOp::Divide => |a, b, n, f| big_int_quotient(a, b, n, f, i64::checked_div),
        ArithmeticOp::Remainder => |a, b, n, f| {
            // The remainder by -1 is 0 also where the quotient does not fit.
            big_int_quotient(a, b, n, f, |a, b| if b == -1 { Some(0) } else { a.checked_rem(b) })
        },
    }
}

/// The sum, and whether it is another than the one that wrapped; without a branch or flag of the processor.
#[inline(always)]
fn sum(left: i64, right: i64) -> (i64, bool) {
    let sum = left.wrapping_add(right);
    (sum, (left ^ sum) & (right ^ sum) < 0)
}

/// The difference, and whether it is another than the one that wrapped.
#[inline(always)]
fn difference(left: i64, right: i64) -> (i64, bool) {
    let difference = left.wrapping_sub(right);
    (difference, (left ^ right) & (left ^ difference) < 0)
}

/// A kernel over 64-bit values.
#[inline(always)]
fn integer_kernel(
    left: &Vector<'_>,
    right: &Vector<'_>,
    returns: SqlType,
    len: usize,
    failures: &mut Failures,
    f: impl Fn(i64, i64) -> (i64, bool),
) -> Column {
    let nulls = nulls_of([left, right], len);
    let cause = |left, right| f(left, right).1.then_some(RejectCause::OVERFLOW);
    let values = zip_flagged(left.integers(), right.integers(), len, &nulls, failures, &f, cause);
    column(returns, Values::BigInt(values), nulls)
}

#[inline(always)]
fn big_int_quotient(
    left: &Vector<'_>,
    right: &Vector<'_>,
    len: usize,
    failures: &mut Failures,
    f: impl Fn(i64, i64) -> Option<i64>,
) -> Column {
    let nulls = nulls_of([left, right], len);
    let flagged = |left, right| f(left, right).map_or((0, true), |value| (value, false));
    let cause = |left, right| f(left, right).is_none().then_some(quotient_cause(right == 0));
    let values = zip_flagged(left.integers(), right.integers(), len, &nulls, failures, flagged, cause);
    column(SqlType::BigInt, Values::BigInt(values), nulls)
}

fn quotient_cause(by_zero: bool) -> RejectCause {
    if by_zero { DIVISION_BY_ZERO } else { RejectCause::OVERFLOW }
}

fn decimal(op: ArithmeticOp) -> BinaryKernel {
    match op {
        ArithmeticOp::Add => |a, b, n, f| decimal_kernel(a, b, n, f, i128::checked_add),
        ArithmeticOp::Subtract => |a, b, n, f| decimal_kernel(a, b, n, f, i128::checked_sub),
        ArithmeticOp::Multiply => |a, b, n, f| decimal_kernel(a, b, n, f, i128::checked_mul),
        ArithmeticOp::Divide => |a, b, n, f| {
            decimal_quotient(a, b, n, f, |a, b| match (i64::try_from(a), i64::try_from(b)) {
                // Most sums and counts fit 64 bits, where the processor divides itself.
                (Ok(a), Ok(b)) if b != 0 && b != -1 => Some(i128::from(a / b)),
                _ => a.checked_div(b),
            })
        },
        ArithmeticOp::Remainder => {
            |a, b, n, f| decimal_quotient(a, b, n, f, |a, b| if b == -1 { Some(0) } else { a.checked_rem(b) })
        }
    }
}

#[inline(always)]
fn decimal_kernel(
    left: &Vector<'_>,
    right: &Vector<'_>,
    len: usize,
    failures: &mut Failures,
    f: impl Fn(i128, i128) -> Option<i128>,
) -> Column {
    decimal_checked(left, right, len, failures, f, |_| RejectCause::OVERFLOW)
}

#[inline(always)]
fn decimal_quotient(
    left: &Vector<'_>,
    right: &Vector<'_>,
    len: usize,
    failures: &mut Failures,
    f: impl Fn(i128, i128) -> Option<i128>,
) -> Column {
    decimal_checked(left, right, len, failures, f, |right| quotient_cause(right == 0))
}

#[inline(always)]
fn decimal_checked(
    left: &Vector<'_>,
    right: &Vector<'_>,
    len: usize,
    failures: &mut Failures,
    f: impl Fn(i128, i128) -> Option<i128>,
    cause_by_right: impl Fn(i128) -> RejectCause,
) -> Column {
    let nulls = nulls_of([left, right], len);
    let flagged = |left, right| f(left, right).map_or((0, true), |value| (value, false));
    let cause = |left, right| f(left, right).is_none().then(|| cause_by_right(right));
    let values = zip_flagged(left.decimals(), right.decimals(), len, &nulls, failures, flagged, cause);
    column(SqlType::Decimal, Values::Decimal(values), nulls)
}

fn double(op: ArithmeticOp) -> BinaryKernel {
    fn none(_: f64) -> Option<RejectCause> {
        None
    }
    fn by_zero(divisor: f64) -> Option<RejectCause> {
        (divisor == 0.0).then_some(DIVISION_BY_ZERO)
    }
    match op {
        ArithmeticOp::Add => |a, b, n, f| double_kernel(a, b, n, f, |a, b| a + b, none),
        ArithmeticOp::Subtract => |a, b, n, f| double_kernel(a, b, n, f, |a, b| a - b, none),
        ArithmeticOp::Multiply => |a, b, n, f| double_kernel(a, b, n, f, |a, b| a * b, none),
        ArithmeticOp::Divide => |a, b, n, f| double_kernel(a, b, n, f, |a, b| a / b, by_zero),
        ArithmeticOp::Remainder => |a, b, n, f| double_kernel(a, b, n, f, |a, b| a % b, by_zero),
    }
}

/// A kernel over doubles: where the operands are finite a division by zero is not, so one test finds both failures.
#[inline(always)]
fn double_kernel(
    left: &Vector<'_>,
    right: &Vector<'_>,
    len: usize,
    failures: &mut Failures,
    f: impl Fn(f64, f64) -> f64,
    cause_by_right: impl Fn(f64) -> Option<RejectCause>,
) -> Column {
    let nulls = nulls_of([left, right], len);
    let flagged = |left, right| {
        let value = f(left, right);
        (value, !value.is_finite())
    };
    let cause = |left, right| {
        let failed = !f(left, right).is_finite();
        failed.then(|| cause_by_right(right).unwrap_or(RejectCause::OVERFLOW))
    };
    let values = zip_flagged(left.doubles(), right.doubles(), len, &nulls, failures, flagged, cause);
    column(SqlType::Double, Values::Double(values), nulls)
}
