//! Numbers: `ABS`, `SIGN`, `MOD`, angles and their functions, `PI`.

use crate::metrics::RejectCause;
use crate::query::column::{Column, Values};
use crate::query::sql_type::SqlType::{BigInt, Decimal, Double};
use crate::query::vector::cause::OUT_OF_DOMAIN;
use crate::query::vector::{Failures, Vector};

use super::arithmetic::{ArithmeticOp, binary};
use super::kernel::{column, decimals, double_pairs, doubles, integers};
use super::registry::{Function, form};

/// A function of a double that is defined for all of them.
macro_rules! of_double {
    ($name:literal, $aliases:expr, $about:literal, $f:expr) => {
        Function {
            name: $name,
            aliases: $aliases,
            about: $about,
            forms: &[form(&[Double], Double, |a, n, f| doubles(a, n, f, |x| Ok($f(x))))],
        }
    };
}

/// A function of a double in -1..=1.
macro_rules! of_ratio {
    ($name:literal, $about:literal, $f:expr) => {
        Function {
            name: $name,
            aliases: &[],
            about: $about,
            forms: &[form(&[Double], Double, |a, n, f| {
                doubles(a, n, f, |x| if x.abs() <= 1.0 { Ok($f(x)) } else { Err(OUT_OF_DOMAIN) })
            })],
        }
    };
}

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "ABS",
        aliases: &[],
        about: "x without its sign.",
        forms: &[
            form(&[BigInt], BigInt, |a, n, f| {
                integers(a, BigInt, n, f, |x| x.checked_abs().ok_or(RejectCause::OVERFLOW))
            }),
            form(&[Decimal], Decimal, |a, n, f| {
                decimals(a, n, f, |x| x.checked_abs().ok_or(RejectCause::OVERFLOW))
            }),
            form(&[Double], Double, |a, n, f| doubles(a, n, f, |x| Ok(x.abs()))),
        ],
    },
    Function {
        name: "SIGN",
        aliases: &[],
        about: "-1, 0 or 1, as x is below, at or above zero.",
        forms: &[
            form(&[BigInt], BigInt, |a, n, f| integers(a, BigInt, n, f, |x| Ok(x.signum()))),
            form(&[Decimal], Decimal, |a, n, f| decimals(a, n, f, |x| Ok(x.signum()))),
            form(&[Double], Double, |a, n, f| {
                doubles(a, n, f, |x| Ok(if x == 0.0 { 0.0 } else { x.signum() }))
            }),
        ],
    },
    Function {
        name: "MOD",
        aliases: &[],
        about: "The remainder of x divided by y, with the sign of x; as x % y.",
        forms: &[
            form(&[BigInt, BigInt], BigInt, remainder),
            form(&[Decimal, Decimal], Decimal, remainder),
            form(&[Double, Double], Double, remainder),
        ],
    },
    Function {
        name: "PI",
        aliases: &[],
        about: "The ratio of a circle's circumference to its diameter.",
        forms: &[form(&[], Double, |_, n, _| {
            column(Double, Values::Double(vec![std::f64::consts::PI; n]), Vec::new())
        })],
    },
    of_double!("SIN", &[], "The sine of an angle in radians.", libm::sin),
    of_double!("COS", &[], "The cosine of an angle in radians.", libm::cos),
    of_double!("TAN", &[], "The tangent of an angle in radians.", libm::tan),
    of_ratio!("ASIN", "The angle in radians of a sine in -1 to 1.", libm::asin),
    of_ratio!("ACOS", "The angle in radians of a cosine in -1 to 1.", libm::acos),
    of_double!("ATAN", &[], "The angle in radians of a tangent.", libm::atan),
    Function {
        name: "ATAN2",
        aliases: &[],
        about: "The angle in radians of the point (x, y), as ATAN2(y, x).",
        forms: &[form(&[Double, Double], Double, |a, n, f| {
            double_pairs(a, n, f, |y, x| Ok(libm::atan2(y, x)))
        })],
    },
    of_double!("DEGREES", &[], "An angle in radians as degrees.", |x: f64| x
        * (180.0 / std::f64::consts::PI)),
    of_double!("RADIANS", &[], "An angle in degrees as radians.", |x: f64| x
        * (std::f64::consts::PI / 180.0)),
];

fn remainder(arguments: &[Vector<'_>], len: usize, failures: &mut Failures) -> Column {
    let (left, right) = (&arguments[0], &arguments[1]);
    let operator = binary(ArithmeticOp::Remainder, left.sql_type(), right.sql_type());
    (operator.expect("MOD has forms for two numbers of one type only").eval)(left, right, len, failures)
}
