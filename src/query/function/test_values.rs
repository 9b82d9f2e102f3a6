//! What the tests of kernels share: values of every type, and one kernel called in every way.

use proptest::prelude::*;

use crate::query::column::Column;
use crate::query::datum::Datum;
use crate::query::sql_type::SqlType;
use crate::query::vector::{Failures, Vector};

/// What a row gives: a value, or the cause it fails with.
pub(super) type Outcome = Result<Datum, &'static str>;

pub(super) const TYPES: [SqlType; 8] = [
    SqlType::Boolean,
    SqlType::BigInt,
    SqlType::Decimal,
    SqlType::Double,
    SqlType::String,
    SqlType::Timestamp,
    SqlType::Interval,
    SqlType::Bytes,
];

/// A value of a type, or NULL, at its limits as often as in its middle.
pub(super) fn value_or_null(of: SqlType) -> BoxedStrategy<Datum> {
    prop_oneof![1 => Just(Datum::Null), 6 => value(of)].boxed()
}

pub(super) fn value(of: SqlType) -> BoxedStrategy<Datum> {
    let integer = || {
        prop_oneof![
            -3..20_i64,
            any::<i64>(),
            Just(i64::MIN),
            Just(i64::MAX),
            -2_000_000_000_000..2_000_000_000_000_i64
        ]
    };
    match of {
        SqlType::Boolean => any::<bool>().prop_map(Datum::Boolean).boxed(),
        SqlType::BigInt => integer().prop_map(Datum::BigInt).boxed(),
        SqlType::Timestamp => integer().prop_map(Datum::Timestamp).boxed(),
        SqlType::Interval => integer().prop_map(Datum::Interval).boxed(),
        SqlType::Decimal => prop_oneof![-3..20_i128, any::<i128>(), Just(i128::MIN), Just(i128::MAX)]
            .prop_map(Datum::Decimal)
            .boxed(),
        SqlType::Double => prop_oneof![
            -3.0..20.0_f64,
            any::<f64>().prop_filter("finite", |value| value.is_finite()),
            (-3..4_i32).prop_map(f64::from),
            Just(f64::MAX),
            Just(f64::MIN),
            Just(-0.0),
            Just(5e-324),
        ]
        .prop_map(Datum::Double)
        .boxed(),
        SqlType::String => prop_oneof![
            "[ aüß€%_/1.-]{0,6}",
            ".{0,9}",
            "yyyy-MM-dd",
            "-?[0-9]{1,21}(\\.[0-9]+)?(e[0-9]{1,3})?"
        ]
        .prop_map(|text| Datum::String(text.into()))
        .boxed(),
        SqlType::Bytes => {
            proptest::collection::vec(any::<u8>(), 0..5).prop_map(|bytes| Datum::Bytes(bytes.into())).boxed()
        }
    }
}

pub(super) fn column_of(of: SqlType, values: &[Datum]) -> Column {
    let mut column = Column::new(of);
    values.iter().for_each(|value| column.push(value));
    column
}

/// What each row gives.
pub(super) fn outcomes(column: &Column, len: usize, failures: &Failures) -> Vec<Outcome> {
    assert_eq!(column.len(), len);
    assert!(column.nulls.is_empty() || column.nulls.len() == len);
    (0..len)
        .map(|row| {
            let failure = failures.0.iter().find(|(failed, _)| *failed as usize == row);
            failure.map_or_else(|| Ok(column.datum(row)), |(_, cause)| Err(cause.as_str()))
        })
        .collect()
}

/// What a kernel gives for these rows of arguments, after asserting that it gives the same for columns as for each row
/// by itself, with any of the arguments constant.
pub(super) fn evaluate(
    types: &[SqlType],
    rows: &[Vec<Datum>],
    eval: impl Fn(&[Vector<'_>], usize, &mut Failures) -> Column,
) -> Vec<Outcome> {
    let columns: Vec<Column> = types
        .iter()
        .enumerate()
        .map(|(at, of)| column_of(*of, &rows.iter().map(|row| row[at].clone()).collect::<Vec<_>>()))
        .collect();
    let mut failures = Failures::default();
    let vectors: Vec<Vector<'_>> = columns.iter().map(Vector::Borrowed).collect();
    let whole = outcomes(&eval(&vectors, rows.len(), &mut failures), rows.len(), &failures);
    for (row, expected) in rows.iter().zip(&whole) {
        for constant in 0..=types.len() {
            let vectors: Vec<Vector<'_>> = types
                .iter()
                .zip(row)
                .enumerate()
                .map(|(at, (of, value))| match at == constant || constant == types.len() {
                    true => Vector::Constant(value, *of),
                    false => Vector::Owned(column_of(*of, &[value.clone(), value.clone()])),
                })
                .collect();
            let mut failures = Failures::default();
            let singly = outcomes(&eval(&vectors, 2, &mut failures), 2, &failures);
            assert_eq!(singly, [expected.clone(), expected.clone()], "of {row:?}");
        }
    }
    whole
}

/// What a kernel gives for one row.
pub(super) fn evaluate_one(
    types: &[SqlType],
    row: &[Datum],
    eval: impl Fn(&[Vector<'_>], usize, &mut Failures) -> Column,
) -> Outcome {
    evaluate(types, &[row.to_vec()], eval).remove(0)
}

pub(super) fn text(text: &str) -> Datum {
    Datum::String(text.into())
}
