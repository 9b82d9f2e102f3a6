//! `GREATEST`, `LEAST` of any number of values; NULL when one of them is NULL, as in Flink.

use std::cmp::Ordering;

use crate::query::column::{Column, Values};
use crate::query::sql_type::SqlType::{self, BigInt, Decimal, Double, Interval, String as Text, Timestamp};
use crate::query::vector::{Failures, Lane, Vector};

use super::kernel::{column, nulls_of, text_rows};
use super::registry::{Eval, Form, Function, variadic};

/// The forms of a function that keeps the operand on this side of the order.
macro_rules! forms {
    ($side:expr) => {
        &[
            variadic(&[BigInt], BigInt, |a, n, _| integers(a, n, BigInt, $side)) as Form,
            variadic(&[Decimal], Decimal, |a, n, _| {
                let values = folded(a, n, $side, |vector| vector.decimals(), |x, y| x.cmp(y));
                column(Decimal, Values::Decimal(values), nulls_of(a, n))
            }),
            variadic(&[Double], Double, |a, n, _| {
                let order = |x: &f64, y: &f64| x.partial_cmp(y).unwrap_or(Ordering::Equal);
                let values = folded(a, n, $side, |vector| vector.doubles(), order);
                column(Double, Values::Double(values), nulls_of(a, n))
            }),
            variadic(&[Text], Text, (|a, n, f| texts(a, n, f, $side)) as Eval),
            variadic(&[Timestamp], Timestamp, |a, n, _| integers(a, n, Timestamp, $side)),
            variadic(&[Interval], Interval, |a, n, _| integers(a, n, Interval, $side)),
        ]
    };
}

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "GREATEST",
        aliases: &[],
        about: "The greatest of the arguments; NULL when one is NULL.",
        forms: forms!(Ordering::Greater),
    },
    Function {
        name: "LEAST",
        aliases: &[],
        about: "The least of the arguments; NULL when one is NULL.",
        forms: forms!(Ordering::Less),
    },
];

fn folded<T: Copy>(
    arguments: &[Vector<'_>],
    len: usize,
    side: Ordering,
    lane: impl for<'v> Fn(&'v Vector<'_>) -> Lane<'v, T>,
    order: impl Fn(&T, &T) -> Ordering,
) -> Vec<T> {
    let mut values = match lane(&arguments[0]) {
        Lane::Same(value) => vec![value; len],
        Lane::Each(values) => values.to_vec(),
    };
    let take = |value: &mut T, other: T| {
        if order(&other, value) == side {
            *value = other;
        }
    };
    for argument in &arguments[1..] {
        match lane(argument) {
            Lane::Same(other) => values.iter_mut().for_each(|value| take(value, other)),
            Lane::Each(others) => {
                values.iter_mut().zip(others).for_each(|(value, other)| take(value, *other))
            }
        }
    }
    values
}

fn integers(arguments: &[Vector<'_>], len: usize, returns: SqlType, side: Ordering) -> Column {
    let values = folded(arguments, len, side, |vector| vector.integers(), |x, y| x.cmp(y));
    column(returns, Values::BigInt(values), nulls_of(arguments, len))
}

fn texts(arguments: &[Vector<'_>], len: usize, failures: &mut Failures, side: Ordering) -> Column {
    text_rows(arguments, len, failures, |row, to| {
        let texts = arguments.iter().map(|argument| argument.text(row));
        let kept = texts.reduce(|kept, text| if text.cmp(kept) == side { text } else { kept });
        to.push_str(kept.unwrap_or_default());
        Ok(())
    })
}
