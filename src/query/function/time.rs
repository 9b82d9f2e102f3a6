//! Functions of timestamps: parts, rounding, counting, conversion from and to numbers and texts. All in UTC.
//!
//! `DOW` is 1 for Sunday to 7 for Saturday, `WEEK` the ISO 8601 week of the year, `EPOCH` whole seconds since 1970,
//! `MILLISECOND` those within the second. Weeks that timestamps are rounded to begin on Sunday, as in Flink.

use crate::metrics::RejectCause;
use crate::query::column::{Column, Values};
use crate::query::sql_type::SqlType::{BigInt, Double, String as Text, Timestamp};
use crate::query::vector::cause::OUT_OF_DOMAIN;
use crate::query::vector::{Failures, Vector};

use super::calendar::{DAY_MS, Date, HOUR_MS, MINUTE_MS, SECOND_MS, TimeUnit, add, ceil, difference, floor};
use super::kernel::{column, integers, nulls_of, rows, text_rows, try_zip};
use super::registry::{Eval, Function, ScalarFunction, form};
use super::time_format::{format_timestamp, parse_timestamp};

/// A part of timestamps.
struct Part {
    /// As `EXTRACT` takes it, and how the function of it is called.
    names: &'static [&'static str],
    eval: Eval,
}

macro_rules! part {
    ($names:expr, $f:expr) => {
        Part { names: $names, eval: |a, n, f| integers(a, BigInt, n, f, |timestamp| Ok($f(timestamp))) }
    };
}

const YEAR: Part = part!(&["YEAR"], |t| Date::of(t).year);
const QUARTER: Part = part!(&["QUARTER"], |t| (Date::of(t).month + 2) / 3);
const MONTH: Part = part!(&["MONTH"], |t| Date::of(t).month);
const WEEK: Part = part!(&["WEEK"], |t| Date::of(t).iso_week());
const DAY: Part = part!(&["DAY", "DAYOFMONTH"], |t| Date::of(t).day);
const DAY_OF_YEAR: Part = part!(&["DOY", "DAYOFYEAR"], |t| Date::of(t).day_of_year());
const DAY_OF_WEEK: Part = part!(&["DOW", "DAYOFWEEK"], |t| Date::of(t).day_of_week());
const HOUR: Part = part!(&["HOUR"], |t: i64| t.rem_euclid(DAY_MS) / HOUR_MS);
const MINUTE: Part = part!(&["MINUTE"], |t: i64| t.rem_euclid(HOUR_MS) / MINUTE_MS);
const SECOND: Part = part!(&["SECOND"], |t: i64| t.rem_euclid(MINUTE_MS) / SECOND_MS);
const MILLISECOND: Part = part!(&["MILLISECOND"], |t: i64| t.rem_euclid(SECOND_MS));
const EPOCH: Part = part!(&["EPOCH"], |t: i64| t.div_euclid(SECOND_MS));

const PARTS: [Part; 12] =
    [YEAR, QUARTER, MONTH, WEEK, DAY, DAY_OF_YEAR, DAY_OF_WEEK, HOUR, MINUTE, SECOND, MILLISECOND, EPOCH];

macro_rules! of_part {
    ($name:literal, $part:expr, $about:literal) => {
        Function {
            name: $name,
            aliases: &[],
            about: $about,
            forms: &[form(&[Timestamp], BigInt, $part.eval)],
        }
    };
}

pub(super) const FUNCTIONS: &[Function] = &[
    of_part!("YEAR", YEAR, "The year; as EXTRACT(YEAR FROM ts)."),
    of_part!("QUARTER", QUARTER, "The quarter of the year, 1 to 4."),
    of_part!("MONTH", MONTH, "The month, 1 to 12."),
    of_part!("WEEK", WEEK, "The ISO 8601 week of the year, 1 to 53."),
    of_part!("DAYOFYEAR", DAY_OF_YEAR, "The day of the year, 1 to 366."),
    of_part!("DAYOFMONTH", DAY, "The day of the month, 1 to 31."),
    of_part!("DAYOFWEEK", DAY_OF_WEEK, "The day of the week, 1 (Sunday) to 7."),
    of_part!("HOUR", HOUR, "The hour, 0 to 23."),
    of_part!("MINUTE", MINUTE, "The minute, 0 to 59."),
    of_part!("SECOND", SECOND, "The second, 0 to 59."),
    Function {
        name: "UNIX_TIMESTAMP",
        aliases: &[],
        about: "Whole seconds since 1970-01-01 00:00:00 UTC.",
        forms: &[form(&[Timestamp], BigInt, EPOCH.eval)],
    },
    Function {
        name: "TO_TIMESTAMP_LTZ",
        aliases: &[],
        about: "The timestamp of a number since 1970, in units of 10 to the power of minus the second argument \
                seconds: 0, 3 (when left out), 6 or 9.",
        forms: &[
            form(&[BigInt], Timestamp, |a, n, f| integers(a, Timestamp, n, f, Ok)),
            form(&[BigInt, BigInt], Timestamp, from_integers),
            form(&[Double, BigInt], Timestamp, from_doubles),
        ],
    },
    Function {
        name: "TO_TIMESTAMP",
        aliases: &[],
        about: "The timestamp of a text such as 2026-11-22 23:57:49.120, UTC unless it names an offset.",
        forms: &[form(&[Text], Timestamp, |a, n, f| {
            let nulls = nulls_of(a, n);
            let values = rows(&nulls, n, f, |row| parse_timestamp(a[0].text(row)));
            column(Timestamp, Values::BigInt(values), nulls)
        })],
    },
    Function {
        name: "DATE_FORMAT",
        aliases: &[],
        about: "The timestamp as text, in a pattern of yyyy MM dd HH mm ss SSS and 'text'.",
        forms: &[form(&[Timestamp, Text], Text, |a, n, f| {
            text_rows(a, n, f, |row, to| format_timestamp(to, a[1].text(row), a[0].integers().get(row)))
        })],
    },
];

/// `EXTRACT(part FROM timestamp)`.
///
/// # Errors
/// A text for the user: there is no such part.
pub(crate) fn extract(part: &str) -> Result<ScalarFunction, String> {
    let named = |of: &&Part| of.names.iter().any(|name| name.eq_ignore_ascii_case(part));
    let Some(found) = PARTS.iter().find(named) else {
        let names: Vec<_> = PARTS.iter().map(|part| part.names[0]).collect();
        return Err(format!("EXTRACT does not know {part}; it knows {}", names.join(", ")));
    };
    Ok(ScalarFunction { name: "EXTRACT", arguments: vec![Timestamp], returns: BigInt, eval: found.eval })
}

/// A kernel of each unit, of a function that takes the unit.
macro_rules! of_each_unit {
    ($unit:expr, $kernel:ident: $($each:ident)*) => {
        match $unit {
            $(TimeUnit::$each => (|a, n, f| $kernel(a, n, f, TimeUnit::$each)) as Eval,)*
        }
    };
    ($unit:expr, $kernel:ident) => {
        of_each_unit!($unit, $kernel: Millisecond Second Minute Hour Day Week Month Quarter Year)
    };
}

/// `FLOOR(timestamp TO unit)`.
pub(crate) fn floor_timestamp(unit: TimeUnit) -> ScalarFunction {
    let eval = of_each_unit!(unit, floored);
    ScalarFunction { name: "FLOOR", arguments: vec![Timestamp], returns: Timestamp, eval }
}

/// `CEIL(timestamp TO unit)`.
pub(crate) fn ceil_timestamp(unit: TimeUnit) -> ScalarFunction {
    let eval = of_each_unit!(unit, ceiled);
    ScalarFunction { name: "CEIL", arguments: vec![Timestamp], returns: Timestamp, eval }
}

/// `TIMESTAMPADD(unit, count, timestamp)`, of a count and a timestamp.
pub(crate) fn timestamp_add(unit: TimeUnit) -> ScalarFunction {
    let eval = of_each_unit!(unit, added);
    ScalarFunction { name: "TIMESTAMPADD", arguments: vec![BigInt, Timestamp], returns: Timestamp, eval }
}

/// `TIMESTAMPDIFF(unit, from, to)`, of two timestamps.
pub(crate) fn timestamp_difference(unit: TimeUnit) -> ScalarFunction {
    let eval = of_each_unit!(unit, counted);
    ScalarFunction { name: "TIMESTAMPDIFF", arguments: vec![Timestamp, Timestamp], returns: BigInt, eval }
}

fn fitting(result: Option<i64>) -> Result<i64, RejectCause> {
    result.ok_or(RejectCause::OVERFLOW)
}

fn floored(arguments: &[Vector<'_>], len: usize, failures: &mut Failures, unit: TimeUnit) -> Column {
    integers(arguments, Timestamp, len, failures, |timestamp| fitting(floor(timestamp, unit)))
}

fn ceiled(arguments: &[Vector<'_>], len: usize, failures: &mut Failures, unit: TimeUnit) -> Column {
    integers(arguments, Timestamp, len, failures, |timestamp| fitting(ceil(timestamp, unit)))
}

fn added(arguments: &[Vector<'_>], len: usize, failures: &mut Failures, unit: TimeUnit) -> Column {
    let nulls = nulls_of(arguments, len);
    let (counts, timestamps) = (arguments[0].integers(), arguments[1].integers());
    let sum = |count, timestamp| fitting(add(timestamp, count, unit));
    let values = try_zip(counts, timestamps, len, &nulls, failures, sum);
    column(Timestamp, Values::BigInt(values), nulls)
}

fn counted(arguments: &[Vector<'_>], len: usize, failures: &mut Failures, unit: TimeUnit) -> Column {
    let nulls = nulls_of(arguments, len);
    let (from, to) = (arguments[0].integers(), arguments[1].integers());
    let values = try_zip(from, to, len, &nulls, failures, |from, to| fitting(difference(from, to, unit)));
    column(BigInt, Values::BigInt(values), nulls)
}

fn from_integers(arguments: &[Vector<'_>], len: usize, failures: &mut Failures) -> Column {
    let nulls = nulls_of(arguments, len);
    let (numbers, precisions) = (arguments[0].integers(), arguments[1].integers());
    let values = try_zip(numbers, precisions, len, &nulls, failures, |number, precision| match precision {
        0 => number.checked_mul(SECOND_MS).ok_or(RejectCause::OVERFLOW),
        3 => Ok(number),
        6 => Ok(number.div_euclid(1_000)),
        9 => Ok(number.div_euclid(1_000_000)),
        _ => Err(OUT_OF_DOMAIN),
    });
    column(Timestamp, Values::BigInt(values), nulls)
}

fn from_doubles(arguments: &[Vector<'_>], len: usize, failures: &mut Failures) -> Column {
    let nulls = nulls_of(arguments, len);
    let (numbers, precisions) = (arguments[0].doubles(), arguments[1].integers());
    let values = try_zip(numbers, precisions, len, &nulls, failures, |number, precision| {
        let milliseconds = match precision {
            0 => number * 1e3,
            3 => number,
            6 => number / 1e3,
            9 => number / 1e6,
            _ => return Err(OUT_OF_DOMAIN),
        };
        // Rounded, for 0.001 of a second times 1000 may be just below a whole number.
        super::cast::to_integer(milliseconds.round())
    });
    column(Timestamp, Values::BigInt(values), nulls)
}
