//! `CAST` and `TRY_CAST`: a value as another type.
//!
//! | from | to | how |
//! |---|---|---|
//! | `BIGINT` | `DECIMAL` | exact |
//! | `BIGINT`, `DECIMAL` | `DOUBLE` | the nearest double |
//! | `DECIMAL` | `BIGINT` | `overflow` when it does not fit |
//! | `DOUBLE` | `BIGINT`, `DECIMAL` | toward zero; `overflow` when it does not fit |
//! | `BOOLEAN` | a number | 1 or 0 |
//! | a number | `BOOLEAN` | false when zero |
//! | any | `STRING` | see below |
//! | `STRING` | `BIGINT`, `DECIMAL` | sign and digits; spaces around are ignored |
//! | `STRING` | `DOUBLE` | a decimal number with or without exponent; not infinite or NaN |
//! | `STRING` | `BOOLEAN` | true, t, yes, y, 1, false, f, no, n, 0 in any case |
//! | `STRING` | `TIMESTAMP` | as `TO_TIMESTAMP` |
//! | `BYTES` | `STRING` | UTF-8, else `not-utf8` |
//! | `STRING` | `BYTES` | its UTF-8 |
//!
//! As text a boolean is `TRUE` or `FALSE`, a double the shortest text that reads back as it, a timestamp
//! `2026-11-22 23:57:49.120`. Other pairs are refused when the query is planned. A row that cannot be cast fails with
//! `CAST` and is NULL with `TRY_CAST`.

use crate::metrics::RejectCause;
use crate::query::column::{Blobs, Column, Values};
use crate::query::sql_type::SqlType;
use crate::query::vector::cause::INVALID_CAST;
use crate::query::vector::{Failures, Vector};

use super::decimal_digits::write_double;
use super::kernel::{column, is_null, map, nulls_of, rows, text_rows, try_map};
use super::time_format::{parse_timestamp, write_interval, write_timestamp};

/// Casts a vector of the type asked for; the last argument is true for `TRY_CAST`.
pub(crate) type CastKernel = fn(&Vector<'_>, usize, &mut Failures, bool) -> Column;

/// The kernel that casts `from` to `to`.
///
/// # Errors
/// A text for the user: there is no such cast, and what to use.
pub(crate) fn cast(from: SqlType, to: SqlType) -> Result<CastKernel, String> {
    use SqlType::{BigInt, Boolean, Bytes, Decimal, Double, String, Timestamp};
    Ok(match (from, to) {
        (from, to) if from == to => |of, n, _, _| same(of, n),
        (BigInt, Decimal) => |of, n, _, _| decimal(of, n, map(of.integers(), n, i128::from)),
        (BigInt, Double) => |of, n, _, _| double(of, n, map(of.integers(), n, nearest_to_integer)),
        (BigInt, Boolean) => |of, n, _, _| boolean(of, n, map(of.integers(), n, |x| x != 0)),
        (Decimal, BigInt) => |of, n, f, is_try| {
            tried(of, n, f, is_try, |nulls, f| {
                let fitting = |x| i64::try_from(x).map_err(|_| RejectCause::OVERFLOW);
                (BigInt, Values::BigInt(try_map(of.decimals(), n, nulls, f, fitting)))
            })
        },
        (Decimal, Double) => |of, n, _, _| double(of, n, map(of.decimals(), n, nearest_to_decimal)),
        (Decimal, Boolean) => |of, n, _, _| boolean(of, n, map(of.decimals(), n, |x| x != 0)),
        (Double, BigInt) => |of, n, f, is_try| {
            tried(of, n, f, is_try, |nulls, f| {
                (BigInt, Values::BigInt(try_map(of.doubles(), n, nulls, f, to_integer)))
            })
        },
        (Double, Decimal) => |of, n, f, is_try| {
            tried(of, n, f, is_try, |nulls, f| {
                (Decimal, Values::Decimal(try_map(of.doubles(), n, nulls, f, to_decimal)))
            })
        },
        (Double, Boolean) => |of, n, _, _| boolean(of, n, map(of.doubles(), n, |x| x != 0.0)),
        (Boolean, BigInt) => {
            |of, n, _, _| column(BigInt, Values::BigInt(map(of.booleans(), n, i64::from)), nulls_of([of], n))
        }
        (Boolean, Decimal) => |of, n, _, _| decimal(of, n, map(of.booleans(), n, i128::from)),
        (Boolean, Double) => |of, n, _, _| double(of, n, map(of.booleans(), n, f64::from)),
        (String, BigInt) => |of, n, f, is_try| {
            tried(of, n, f, is_try, |nulls, f| {
                (BigInt, Values::BigInt(rows(nulls, n, f, |row| parse_whole(of.text(row)))))
            })
        },
        (String, Decimal) => |of, n, f, is_try| {
            tried(of, n, f, is_try, |nulls, f| {
                (Decimal, Values::Decimal(rows(nulls, n, f, |row| parse_whole(of.text(row)))))
            })
        },
        (String, Double) => |of, n, f, is_try| {
            tried(of, n, f, is_try, |nulls, f| {
                (Double, Values::Double(rows(nulls, n, f, |row| parse_double(of.text(row)))))
            })
        },
        (String, Boolean) => |of, n, f, is_try| {
            tried(of, n, f, is_try, |nulls, f| {
                (Boolean, Values::Boolean(rows(nulls, n, f, |row| parse_boolean(of.text(row)))))
            })
        },
        (String, Timestamp) => |of, n, f, is_try| {
            tried(of, n, f, is_try, |nulls, f| {
                (Timestamp, Values::BigInt(rows(nulls, n, f, |row| parse_timestamp(of.text(row)))))
            })
        },
        (String, Bytes) => |of, n, _, _| {
            let mut blobs = Blobs::default();
            (0..n).for_each(|row| blobs.push(of.text(row).as_bytes()));
            column(Bytes, Values::Bytes(blobs), nulls_of([of], n))
        },
        (from, String) => text(from),
        (from, to) => return Err(refusal(from, to)),
    })
}

/// The kernel that casts to `STRING`.
fn text(from: SqlType) -> CastKernel {
    /// A kernel of what is appended for a row.
    macro_rules! written {
        (|$of:ident, $row:ident, $to:ident| $write:expr) => {
            |$of, n, failures, _| {
                text_rows(std::slice::from_ref($of), n, failures, |$row, $to| {
                    $write;
                    Ok(())
                })
            }
        };
    }
    match from {
        SqlType::Boolean => {
            written!(|of, row, to| to.push_str(if of.booleans().get(row) { "TRUE" } else { "FALSE" }))
        }
        SqlType::BigInt => {
            written!(|of, row, to| to.push_str(itoa::Buffer::new().format(of.integers().get(row))))
        }
        SqlType::Decimal => {
            written!(|of, row, to| to.push_str(itoa::Buffer::new().format(of.decimals().get(row))))
        }
        SqlType::Double => written!(|of, row, to| write_double(to, of.doubles().get(row))),
        SqlType::Timestamp => written!(|of, row, to| write_timestamp(to, of.integers().get(row))),
        SqlType::Interval => written!(|of, row, to| write_interval(to, of.integers().get(row))),
        SqlType::String => |of, n, _, _| same(of, n),
        SqlType::Bytes => |of, n, failures, is_try| {
            let mut failed = Failures::default();
            let mut column = text_rows(std::slice::from_ref(of), n, &mut failed, |row, to| {
                to.push_str(std::str::from_utf8(of.blob(row)).map_err(|_| RejectCause::NOT_UTF8)?);
                Ok(())
            });
            settle(&mut column.nulls, n, failed, failures, is_try);
            column
        },
    }
}

fn refusal(from: SqlType, to: SqlType) -> String {
    let instead = match (from, to) {
        (SqlType::Timestamp, SqlType::BigInt | SqlType::Decimal | SqlType::Double) => {
            "; use UNIX_TIMESTAMP(ts) or EXTRACT(EPOCH FROM ts) for seconds"
        }
        (SqlType::BigInt | SqlType::Decimal | SqlType::Double, SqlType::Timestamp) => {
            "; use TO_TIMESTAMP_LTZ(number, precision), with precision 0 for seconds and 3 for milliseconds"
        }
        (SqlType::Interval, SqlType::BigInt | SqlType::Decimal | SqlType::Double) => {
            "; use TIMESTAMPDIFF(unit, from, to) to count the time between two timestamps"
        }
        _ => "; types convert to STRING and back, and numbers and BOOLEAN to each other",
    };
    format!("{from} cannot be cast to {to}{instead}")
}

fn same(of: &Vector<'_>, len: usize) -> Column {
    match of {
        Vector::Borrowed(column) => (*column).clone(),
        Vector::Owned(column) => column.clone(),
        Vector::Constant(datum, sql_type) => Vector::Constant(datum, *sql_type).into_column(len),
    }
}

fn decimal(of: &Vector<'_>, len: usize, values: Vec<i128>) -> Column {
    column(SqlType::Decimal, Values::Decimal(values), nulls_of([of], len))
}

fn double(of: &Vector<'_>, len: usize, values: Vec<f64>) -> Column {
    column(SqlType::Double, Values::Double(values), nulls_of([of], len))
}

fn boolean(of: &Vector<'_>, len: usize, values: Vec<bool>) -> Column {
    column(SqlType::Boolean, Values::Boolean(values), nulls_of([of], len))
}

/// What `compute` gives; rows it fails for fail, or with `TRY_CAST` are NULL.
#[inline(always)]
fn tried(
    of: &Vector<'_>,
    len: usize,
    failures: &mut Failures,
    is_try: bool,
    compute: impl FnOnce(&[bool], &mut Failures) -> (SqlType, Values),
) -> Column {
    let mut nulls = nulls_of([of], len);
    let mut failed = Failures::default();
    let (sql_type, values) = compute(&nulls, &mut failed);
    settle(&mut nulls, len, failed, failures, is_try);
    column(sql_type, values, nulls)
}

fn settle(nulls: &mut Vec<bool>, len: usize, failed: Failures, failures: &mut Failures, is_try: bool) {
    if failed.is_empty() {
        return;
    }
    if !is_try {
        failures.0.extend(failed.0);
        return;
    }
    nulls.resize(len, false);
    for (row, _) in failed.0 {
        debug_assert!(!is_null(nulls, row as usize), "a NULL row does not fail");
        if let Some(null) = nulls.get_mut(row as usize) {
            *null = true;
        }
    }
}

fn nearest_to_integer(value: i64) -> f64 {
    value as f64
}

/// The nearest double.
pub(crate) fn nearest_to_decimal(value: i128) -> f64 {
    value as f64
}

/// 2^63, the first double beyond `BIGINT`.
const INTEGERS_END: f64 = 9_223_372_036_854_775_808.0;
/// 2^127, the first double beyond 128 bits.
const DECIMALS_END: f64 = INTEGERS_END * INTEGERS_END * 2.0;

/// The whole number toward zero.
#[inline(always)]
pub(super) fn to_integer(value: f64) -> Result<i64, RejectCause> {
    if (-INTEGERS_END..INTEGERS_END).contains(&value) { Ok(value as i64) } else { Err(RejectCause::OVERFLOW) }
}

fn to_decimal(value: f64) -> Result<i128, RejectCause> {
    if (-DECIMALS_END..DECIMALS_END).contains(&value) {
        Ok(value as i128)
    } else {
        Err(RejectCause::OVERFLOW)
    }
}

fn parse_whole<T: std::str::FromStr<Err = std::num::ParseIntError>>(text: &str) -> Result<T, RejectCause> {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    text.trim().parse().map_err(|error: std::num::ParseIntError| match error.kind() {
        PosOverflow | NegOverflow => RejectCause::OVERFLOW,
        _ => INVALID_CAST,
    })
}

fn parse_double(text: &str) -> Result<f64, RejectCause> {
    let text = text.trim();
    // Else "inf" and "nan" would be numbers.
    if !text.bytes().any(|byte| byte.is_ascii_digit()) {
        return Err(INVALID_CAST);
    }
    let value: f64 = text.parse().map_err(|_| INVALID_CAST)?;
    if value.is_finite() { Ok(value) } else { Err(RejectCause::OVERFLOW) }
}

fn parse_boolean(text: &str) -> Result<bool, RejectCause> {
    const TRUE: [&str; 5] = ["true", "t", "yes", "y", "1"];
    const FALSE: [&str; 5] = ["false", "f", "no", "n", "0"];
    let text = text.trim();
    let is_one_of = |texts: [&str; 5]| texts.iter().any(|of| of.eq_ignore_ascii_case(text));
    if is_one_of(TRUE) {
        Ok(true)
    } else if is_one_of(FALSE) {
        Ok(false)
    } else {
        Err(INVALID_CAST)
    }
}
