//! What kernels are made of: loops over lanes, the NULL rows of arguments, texts within limits.
//!
//! Numeric kernels compute every row, also the NULL ones, and look at NULL only where a row fails; so the loops have
//! no branch but the operation's. Text kernels skip NULL rows.
//!
//! Limits: a text a function makes is at most [`TEXT_BYTES_MAX`], a column of them [`COLUMN_TEXT_BYTES_MAX`]; the row
//! beyond fails with [`TEXT_MAX`].

use crate::metrics::RejectCause;
use crate::query::column::{Column, Texts, Values};
use crate::query::sql_type::SqlType;
use crate::query::vector::{Failures, Lane, Vector};

/// The longest text a function makes, in bytes.
pub(crate) const TEXT_BYTES_MAX: usize = 1024 * 1024;
/// The most text a function makes for one batch, in bytes.
pub(crate) const COLUMN_TEXT_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// A function's text is longer than the limit.
pub(super) const TEXT_MAX: RejectCause = RejectCause::new("text-max");

/// Which rows are NULL in any of the vectors; empty when none is.
pub(super) fn nulls_of<'v>(vectors: impl IntoIterator<Item = &'v Vector<'v>>, len: usize) -> Vec<bool> {
    let mut nulls: Vec<bool> = Vec::new();
    for vector in vectors.into_iter().filter(|vector| !vector.has_no_nulls()) {
        nulls.resize(len, false);
        match vector {
            Vector::Constant(..) => nulls.fill(true),
            Vector::Borrowed(Column { nulls: of, .. }) | Vector::Owned(Column { nulls: of, .. }) => {
                nulls.iter_mut().zip(of).for_each(|(null, of)| *null |= of);
            }
        }
    }
    nulls
}

/// Whether `row` is NULL, of what [`nulls_of`] gives.
pub(super) fn is_null(nulls: &[bool], row: usize) -> bool {
    nulls.get(row).copied().unwrap_or(false)
}

/// `f` of each row.
#[inline(always)]
pub(super) fn map<A: Copy, R: Clone>(lane: Lane<'_, A>, len: usize, f: impl Fn(A) -> R) -> Vec<R> {
    match lane {
        Lane::Same(value) => vec![f(value); len],
        Lane::Each(values) => values.iter().map(|value| f(*value)).collect(),
    }
}

/// `f` of each row of two lanes.
#[inline(always)]
pub(super) fn zip<A: Copy, B: Copy, R: Clone>(
    left: Lane<'_, A>,
    right: Lane<'_, B>,
    len: usize,
    f: impl Fn(A, B) -> R,
) -> Vec<R> {
    match (left, right) {
        (Lane::Each(left), Lane::Each(right)) => left.iter().zip(right).map(|(a, b)| f(*a, *b)).collect(),
        (Lane::Each(left), Lane::Same(right)) => left.iter().map(|left| f(*left, right)).collect(),
        (Lane::Same(left), Lane::Each(right)) => right.iter().map(|right| f(left, *right)).collect(),
        (Lane::Same(left), Lane::Same(right)) => vec![f(left, right); len],
    }
}

/// `f` of each row; a row it is an error for fails, unless it is NULL.
#[inline(always)]
pub(super) fn try_map<A: Copy, R: Clone + Default>(
    lane: Lane<'_, A>,
    len: usize,
    nulls: &[bool],
    failures: &mut Failures,
    f: impl Fn(A) -> Result<R, RejectCause>,
) -> Vec<R> {
    try_zip(lane, Lane::Same(()), len, nulls, failures, |value, ()| f(value))
}

/// `f` of each row of two lanes; a row it is an error for fails, unless it is NULL.
///
/// The first pass only notes that there is an error; which rows it is for is asked in a second one, which is rare.
#[inline(always)]
pub(super) fn try_zip<A: Copy, B: Copy, R: Clone + Default>(
    left: Lane<'_, A>,
    right: Lane<'_, B>,
    len: usize,
    nulls: &[bool],
    failures: &mut Failures,
    f: impl Fn(A, B) -> Result<R, RejectCause>,
) -> Vec<R> {
    zip_flagged(
        left,
        right,
        len,
        nulls,
        failures,
        |left, right| match f(left, right) {
            Ok(value) => (value, false),
            Err(_) => (R::default(), true),
        },
        |left, right| f(left, right).err(),
    )
}

/// The first of what `f` gives of each row of two lanes; a row where the second is true fails with the cause that
/// `cause` gives, unless it is NULL.
///
/// The loops keep whether any row failed in a local variable: so they are made into vector instructions.
#[inline(always)]
pub(super) fn zip_flagged<A: Copy, B: Copy, R: Clone + Default>(
    left: Lane<'_, A>,
    right: Lane<'_, B>,
    len: usize,
    nulls: &[bool],
    failures: &mut Failures,
    f: impl Fn(A, B) -> (R, bool),
    cause: impl Fn(A, B) -> Option<RejectCause>,
) -> Vec<R> {
    let mut any = false;
    let mut values = vec![R::default(); len];
    match (left, right) {
        (Lane::Each(left), Lane::Each(right)) => {
            for ((value, left), right) in values.iter_mut().zip(left).zip(right) {
                let flagged;
                (*value, flagged) = f(*left, *right);
                any |= flagged;
            }
        }
        (Lane::Each(left), Lane::Same(right)) => {
            for (value, left) in values.iter_mut().zip(left) {
                let flagged;
                (*value, flagged) = f(*left, right);
                any |= flagged;
            }
        }
        (Lane::Same(left), Lane::Each(right)) => {
            for (value, right) in values.iter_mut().zip(right) {
                let flagged;
                (*value, flagged) = f(left, *right);
                any |= flagged;
            }
        }
        (Lane::Same(left), Lane::Same(right)) => {
            let value;
            (value, any) = f(left, right);
            values.fill(value);
        }
    }
    if any {
        for row in (0..len).filter(|row| !is_null(nulls, *row)) {
            if let Some(cause) = cause(left.get(row), right.get(row)) {
                failures.add(row, cause);
            }
        }
    }
    values
}

/// A column of these.
pub(super) fn column(sql_type: SqlType, values: Values, nulls: Vec<bool>) -> Column {
    Column { sql_type, values, nulls }
}

/// A `STRING` column of what `write` appends for each row that is not NULL.
pub(super) fn text_rows(
    arguments: &[Vector<'_>],
    len: usize,
    failures: &mut Failures,
    write: impl Fn(usize, &mut String) -> Result<(), RejectCause>,
) -> Column {
    text_column(nulls_of(arguments, len), len, failures, write)
}

/// A `STRING` column of what `write` appends for each row that is not in `nulls`.
pub(super) fn text_column(
    nulls: Vec<bool>,
    len: usize,
    failures: &mut Failures,
    write: impl Fn(usize, &mut String) -> Result<(), RejectCause>,
) -> Column {
    let mut texts = Texts::default();
    for row in 0..len {
        texts.push_with(|buffer| {
            if is_null(&nulls, row) {
                return;
            }
            let start = buffer.len();
            let written = write(row, buffer).and_then(|()| {
                let fits = buffer.len() - start <= TEXT_BYTES_MAX && buffer.len() <= COLUMN_TEXT_BYTES_MAX;
                fits.then_some(()).ok_or(TEXT_MAX)
            });
            if let Err(cause) = written {
                buffer.truncate(start);
                failures.add(row, cause);
            }
        });
    }
    column(SqlType::String, Values::String(texts), nulls)
}

/// What `f` gives for each row that is not NULL.
pub(super) fn rows<R: Default>(
    nulls: &[bool],
    len: usize,
    failures: &mut Failures,
    f: impl Fn(usize) -> Result<R, RejectCause>,
) -> Vec<R> {
    (0..len)
        .map(|row| {
            if is_null(nulls, row) {
                return R::default();
            }
            f(row).unwrap_or_else(|cause| {
                failures.add(row, cause);
                R::default()
            })
        })
        .collect()
}

/// A `BIGINT` column of what `f` gives for each row that is not NULL.
pub(super) fn integer_rows(
    arguments: &[Vector<'_>],
    len: usize,
    failures: &mut Failures,
    f: impl Fn(usize) -> Result<i64, RejectCause>,
) -> Column {
    let nulls = nulls_of(arguments, len);
    column(SqlType::BigInt, Values::BigInt(rows(&nulls, len, failures, f)), nulls)
}

/// A `BOOLEAN` column of what `f` gives for each row that is not NULL.
pub(super) fn boolean_rows(
    arguments: &[Vector<'_>],
    len: usize,
    failures: &mut Failures,
    f: impl Fn(usize) -> Result<bool, RejectCause>,
) -> Column {
    let nulls = nulls_of(arguments, len);
    column(SqlType::Boolean, Values::Boolean(rows(&nulls, len, failures, f)), nulls)
}

/// A `BIGINT`, `TIMESTAMP` or `INTERVAL` column of `f` of the first argument.
#[inline(always)]
pub(super) fn integers(
    arguments: &[Vector<'_>],
    returns: SqlType,
    len: usize,
    failures: &mut Failures,
    f: impl Fn(i64) -> Result<i64, RejectCause>,
) -> Column {
    let nulls = nulls_of(arguments, len);
    let values = try_map(arguments[0].integers(), len, &nulls, failures, f);
    column(returns, Values::BigInt(values), nulls)
}

/// A `DECIMAL` column of `f` of the first argument.
#[inline(always)]
pub(super) fn decimals(
    arguments: &[Vector<'_>],
    len: usize,
    failures: &mut Failures,
    f: impl Fn(i128) -> Result<i128, RejectCause>,
) -> Column {
    let nulls = nulls_of(arguments, len);
    let values = try_map(arguments[0].decimals(), len, &nulls, failures, f);
    column(SqlType::Decimal, Values::Decimal(values), nulls)
}

/// A `DOUBLE` column of `f` of the first argument.
#[inline(always)]
pub(super) fn doubles(
    arguments: &[Vector<'_>],
    len: usize,
    failures: &mut Failures,
    f: impl Fn(f64) -> Result<f64, RejectCause>,
) -> Column {
    let nulls = nulls_of(arguments, len);
    let values = try_map(arguments[0].doubles(), len, &nulls, failures, |value| finite(f(value)?));
    column(SqlType::Double, Values::Double(values), nulls)
}

/// A `DOUBLE` column of `f` of the first two arguments.
#[inline(always)]
pub(super) fn double_pairs(
    arguments: &[Vector<'_>],
    len: usize,
    failures: &mut Failures,
    f: impl Fn(f64, f64) -> Result<f64, RejectCause>,
) -> Column {
    let nulls = nulls_of(arguments, len);
    let (left, right) = (arguments[0].doubles(), arguments[1].doubles());
    let values = try_zip(left, right, len, &nulls, failures, |left, right| finite(f(left, right)?));
    column(SqlType::Double, Values::Double(values), nulls)
}

/// The value when it is finite: a `DOUBLE` always is.
#[inline(always)]
pub(super) fn finite(value: f64) -> Result<f64, RejectCause> {
    if value.is_finite() { Ok(value) } else { Err(RejectCause::OVERFLOW) }
}
