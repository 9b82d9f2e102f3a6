//! `CEIL`, `FLOOR`, `ROUND`, `TRUNCATE` of numbers.
//!
//! `ROUND` takes a half away from zero. Doubles round as their shortest decimal text does, so `ROUND(2.675, 2)` is
//! 2.68. A number of places below zero rounds before the decimal point.

use crate::metrics::RejectCause;
use crate::query::column::{Column, Values};
use crate::query::sql_type::SqlType::{self, BigInt, Decimal, Double};
use crate::query::vector::{Failures, Vector};

use super::decimal_digits::{Rounding, round};
use super::kernel::{column, decimals, doubles, finite, integers, nulls_of, try_zip};
use super::registry::{Form, Function, form};

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "CEIL",
        aliases: &["CEILING"],
        about: "The smallest whole number that is not below x.",
        forms: &[
            form(&[BigInt], BigInt, unchanged_integers),
            form(&[Decimal], Decimal, unchanged_decimals),
            form(&[Double], Double, |a, n, f| doubles(a, n, f, |x| Ok(x.ceil()))),
        ],
    },
    Function {
        name: "FLOOR",
        aliases: &[],
        about: "The largest whole number that is not above x.",
        forms: &[
            form(&[BigInt], BigInt, unchanged_integers),
            form(&[Decimal], Decimal, unchanged_decimals),
            form(&[Double], Double, |a, n, f| doubles(a, n, f, |x| Ok(x.floor()))),
        ],
    },
    Function {
        name: "ROUND",
        aliases: &[],
        about: "x rounded to n decimal places (0 when left out), a half away from zero.",
        forms: ROUND,
    },
    Function {
        name: "TRUNCATE",
        aliases: &[],
        about: "x with the digits behind n decimal places (0 when left out) cut off.",
        forms: TRUNCATE,
    },
];

const ROUND: &[Form] = &[
    form(&[BigInt], BigInt, unchanged_integers),
    form(&[Decimal], Decimal, unchanged_decimals),
    form(&[Double], Double, |a, n, f| doubles(a, n, f, |x| Ok(round(x, 0, Rounding::HalfUp)))),
    form(&[BigInt, BigInt], BigInt, |a, n, f| integer_places(a, n, f, Rounding::HalfUp)),
    form(&[Decimal, BigInt], Decimal, |a, n, f| decimal_places(a, n, f, Rounding::HalfUp)),
    form(&[Double, BigInt], Double, |a, n, f| double_places(a, n, f, Rounding::HalfUp)),
];

const TRUNCATE: &[Form] = &[
    form(&[BigInt], BigInt, unchanged_integers),
    form(&[Decimal], Decimal, unchanged_decimals),
    form(&[Double], Double, |a, n, f| doubles(a, n, f, |x| Ok(x.trunc()))),
    form(&[BigInt, BigInt], BigInt, |a, n, f| integer_places(a, n, f, Rounding::Down)),
    form(&[Decimal, BigInt], Decimal, |a, n, f| decimal_places(a, n, f, Rounding::Down)),
    form(&[Double, BigInt], Double, |a, n, f| double_places(a, n, f, Rounding::Down)),
];

fn unchanged_integers(arguments: &[Vector<'_>], len: usize, failures: &mut Failures) -> Column {
    integers(arguments, BigInt, len, failures, Ok)
}

fn unchanged_decimals(arguments: &[Vector<'_>], len: usize, failures: &mut Failures) -> Column {
    decimals(arguments, len, failures, Ok)
}

fn double_places(
    arguments: &[Vector<'_>],
    len: usize,
    failures: &mut Failures,
    rounding: Rounding,
) -> Column {
    let nulls = nulls_of(arguments, len);
    let (numbers, places) = (arguments[0].doubles(), arguments[1].integers());
    let values =
        try_zip(numbers, places, len, &nulls, failures, |x, places| finite(round(x, places, rounding)));
    column(Double, Values::Double(values), nulls)
}

fn decimal_places(
    arguments: &[Vector<'_>],
    len: usize,
    failures: &mut Failures,
    rounding: Rounding,
) -> Column {
    let nulls = nulls_of(arguments, len);
    let (numbers, places) = (arguments[0].decimals(), arguments[1].integers());
    let values = try_zip(numbers, places, len, &nulls, failures, |x, places| whole(x, places, rounding));
    column(Decimal, Values::Decimal(values), nulls)
}

fn integer_places(
    arguments: &[Vector<'_>],
    len: usize,
    failures: &mut Failures,
    rounding: Rounding,
) -> Column {
    let nulls = nulls_of(arguments, len);
    let (numbers, places) = (arguments[0].integers(), arguments[1].integers());
    let values = try_zip(numbers, places, len, &nulls, failures, |x, places| {
        let rounded = whole(i128::from(x), places, rounding)?;
        i64::try_from(rounded).map_err(|_| RejectCause::OVERFLOW)
    });
    column(SqlType::BigInt, Values::BigInt(values), nulls)
}

/// A whole number rounded to places before the decimal point.
fn whole(number: i128, places: i64, rounding: Rounding) -> Result<i128, RejectCause> {
    if places >= 0 {
        return Ok(number);
    }
    let power = u32::try_from(places.unsigned_abs()).ok().and_then(|power| 10_i128.checked_pow(power));
    // Ten to the 39th is beyond 128 bits, and its half beyond every number but those from 5e38 on, of which none is.
    let Some(power) = power else {
        return Ok(0);
    };
    let cut = number % power;
    let down = number - cut;
    if rounding == Rounding::HalfUp && cut.unsigned_abs() >= power.unsigned_abs().div_ceil(2) {
        return down.checked_add(power * number.signum()).ok_or(RejectCause::OVERFLOW);
    }
    Ok(down)
}
