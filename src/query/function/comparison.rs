//! Comparisons: `= <> < <= > >=`, `IS DISTINCT FROM`, `IS NOT DISTINCT FROM`, of two values of one type.
//!
//! Texts and byte strings compare by their bytes, which for texts is the order of their code points; `FALSE` is below
//! `TRUE`; `-0.0` equals `0.0`. NULL on a side gives NULL, but for the last two, where NULL equals NULL.

use crate::query::column::{Column, Texts, Values};
use crate::query::datum::Datum;
use crate::query::sql_type::SqlType;
use crate::query::vector::{Failures, Lane, Vector};

use super::arithmetic::BinaryKernel;
use super::kernel::{column, nulls_of, zip};

/// A comparison operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ComparisonOp {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    IsDistinctFrom,
    IsNotDistinctFrom,
}

/// The kernel of an operator for two operands of this type.
pub(crate) fn comparison(op: ComparisonOp, sql_type: SqlType) -> BinaryKernel {
    match op {
        ComparisonOp::Equal => of_type::<Equal>(sql_type),
        ComparisonOp::NotEqual => of_type::<NotEqual>(sql_type),
        ComparisonOp::Less => of_type::<Less>(sql_type),
        ComparisonOp::LessOrEqual => of_type::<LessOrEqual>(sql_type),
        ComparisonOp::Greater => of_type::<Greater>(sql_type),
        ComparisonOp::GreaterOrEqual => of_type::<GreaterOrEqual>(sql_type),
        ComparisonOp::IsDistinctFrom => {
            |left, right, len, failures| distinct(left, right, len, failures, true)
        }
        ComparisonOp::IsNotDistinctFrom => {
            |left, right, len, failures| distinct(left, right, len, failures, false)
        }
    }
}

trait Comparison {
    fn holds<T: PartialOrd + ?Sized>(left: &T, right: &T) -> bool;
}

macro_rules! comparisons {
    ($($name:ident $operator:tt),*) => {$(
        struct $name;
        impl Comparison for $name {
            #[inline(always)]
            fn holds<T: PartialOrd + ?Sized>(left: &T, right: &T) -> bool {
                left $operator right
            }
        }
    )*};
}
comparisons!(Equal ==, NotEqual !=, Less <, LessOrEqual <=, Greater >, GreaterOrEqual >=);

fn of_type<C: Comparison>(sql_type: SqlType) -> BinaryKernel {
    match sql_type {
        SqlType::Boolean => |a, b, n, _| compared::<C, bool>(a, b, a.booleans(), b.booleans(), n),
        SqlType::BigInt | SqlType::Timestamp | SqlType::Interval => {
            |a, b, n, _| compared::<C, i64>(a, b, a.integers(), b.integers(), n)
        }
        SqlType::Decimal => |a, b, n, _| compared::<C, i128>(a, b, a.decimals(), b.decimals(), n),
        SqlType::Double => |a, b, n, _| compared::<C, f64>(a, b, a.doubles(), b.doubles(), n),
        SqlType::String => |a, b, n, _| texts_compared::<C>(a, b, n),
        SqlType::Bytes => |a, b, n, _| {
            let values = (0..n).map(|row| C::holds(a.blob(row), b.blob(row))).collect();
            column(SqlType::Boolean, Values::Boolean(values), nulls_of([a, b], n))
        },
    }
}

#[inline(always)]
fn compared<C: Comparison, T: Copy + PartialOrd>(
    left: &Vector<'_>,
    right: &Vector<'_>,
    left_lane: Lane<'_, T>,
    right_lane: Lane<'_, T>,
    len: usize,
) -> Column {
    let values = zip(left_lane, right_lane, len, |left, right| C::holds(&left, &right));
    column(SqlType::Boolean, Values::Boolean(values), nulls_of([left, right], len))
}

/// The texts of a vector: one for all rows, or one for each.
enum TextLane<'a> {
    Same(&'a str),
    Each(&'a Texts),
}

fn text_lane<'a>(vector: &'a Vector<'_>) -> TextLane<'a> {
    match vector {
        Vector::Borrowed(Column { values: Values::String(texts), .. })
        | Vector::Owned(Column { values: Values::String(texts), .. }) => TextLane::Each(texts),
        Vector::Constant(Datum::String(text), _) => TextLane::Same(text),
        _ => TextLane::Same(""),
    }
}

fn texts_compared<C: Comparison>(left: &Vector<'_>, right: &Vector<'_>, len: usize) -> Column {
    let values: Vec<bool> = match (text_lane(left), text_lane(right)) {
        (TextLane::Each(left), TextLane::Each(right)) => {
            left.iter().zip(right.iter()).map(|(left, right)| C::holds(left, right)).collect()
        }
        (TextLane::Each(left), TextLane::Same(right)) => {
            left.iter().map(|left| C::holds(left, right)).collect()
        }
        (TextLane::Same(left), TextLane::Each(right)) => {
            right.iter().map(|right| C::holds(left, right)).collect()
        }
        (TextLane::Same(left), TextLane::Same(right)) => vec![C::holds(left, right); len],
    };
    column(SqlType::Boolean, Values::Boolean(values), nulls_of([left, right], len))
}

/// `IS DISTINCT FROM` when `distinct`, else `IS NOT DISTINCT FROM`.
fn distinct(
    left: &Vector<'_>,
    right: &Vector<'_>,
    len: usize,
    failures: &mut Failures,
    distinct: bool,
) -> Column {
    let op = if distinct { ComparisonOp::NotEqual } else { ComparisonOp::Equal };
    let mut compared = comparison(op, left.sql_type())(left, right, len, failures);
    let nulls = std::mem::take(&mut compared.nulls);
    if let Values::Boolean(values) = &mut compared.values {
        for (row, (value, _)) in values.iter_mut().zip(nulls).enumerate().filter(|(_, (_, null))| *null) {
            *value = (left.is_null(row) != right.is_null(row)) == distinct;
        }
    }
    compared
}
