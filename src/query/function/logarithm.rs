//! Powers, roots and logarithms, of doubles. What is not defined fails the row with `out-of-domain`.

use crate::metrics::RejectCause;
use crate::query::sql_type::SqlType::Double;
use crate::query::vector::cause::OUT_OF_DOMAIN;

use super::kernel::{double_pairs, doubles};
use super::registry::{Function, form};

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "POWER",
        aliases: &[],
        about: "x to the power of y.",
        forms: &[form(&[Double, Double], Double, |a, n, f| double_pairs(a, n, f, power))],
    },
    Function {
        name: "SQRT",
        aliases: &[],
        about: "The square root of x, which is not negative.",
        forms: &[form(&[Double], Double, |a, n, f| {
            doubles(a, n, f, |x| if x >= 0.0 { Ok(x.sqrt()) } else { Err(OUT_OF_DOMAIN) })
        })],
    },
    Function {
        name: "EXP",
        aliases: &[],
        about: "e to the power of x.",
        forms: &[form(&[Double], Double, |a, n, f| doubles(a, n, f, |x| Ok(libm::exp(x))))],
    },
    Function {
        name: "LN",
        aliases: &[],
        about: "The natural logarithm of x, which is above zero.",
        forms: &[form(&[Double], Double, |a, n, f| doubles(a, n, f, |x| of_positive(x, libm::log)))],
    },
    Function {
        name: "LOG10",
        aliases: &[],
        about: "The logarithm of x to base 10.",
        forms: &[form(&[Double], Double, |a, n, f| doubles(a, n, f, |x| of_positive(x, libm::log10)))],
    },
    Function {
        name: "LOG2",
        aliases: &[],
        about: "The logarithm of x to base 2.",
        forms: &[form(&[Double], Double, |a, n, f| doubles(a, n, f, |x| of_positive(x, libm::log2)))],
    },
    Function {
        name: "LOG",
        aliases: &[],
        about: "The natural logarithm of x, or with two arguments of y to base x.",
        forms: &[
            form(&[Double], Double, |a, n, f| doubles(a, n, f, |x| of_positive(x, libm::log))),
            form(&[Double, Double], Double, |a, n, f| double_pairs(a, n, f, logarithm)),
        ],
    },
];

fn of_positive(x: f64, f: impl Fn(f64) -> f64) -> Result<f64, RejectCause> {
    if x > 0.0 { Ok(f(x)) } else { Err(OUT_OF_DOMAIN) }
}

fn logarithm(base: f64, x: f64) -> Result<f64, RejectCause> {
    let divisor = of_positive(base, libm::log)?;
    if divisor == 0.0 {
        return Err(OUT_OF_DOMAIN);
    }
    Ok(of_positive(x, libm::log)? / divisor)
}

fn power(base: f64, exponent: f64) -> Result<f64, RejectCause> {
    let power = libm::pow(base, exponent);
    if power.is_nan() || (base == 0.0 && exponent < 0.0) { Err(OUT_OF_DOMAIN) } else { Ok(power) }
}
