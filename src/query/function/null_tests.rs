//! NULL in any argument gives NULL, and no argument makes a kernel panic.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::arithmetic::{ArithmeticOp, binary, negation};
use super::calendar::TimeUnit;
use super::cast::cast;
use super::comparison::{ComparisonOp, comparison};
use super::registry::{ScalarFunction, all_forms};
use super::test_values::{TYPES, evaluate, value, value_or_null};
use super::{ceil_timestamp, extract, floor_timestamp, timestamp_add, timestamp_difference};
use crate::query::datum::Datum;
use crate::query::sql_type::SqlType;

const UNITS: [&str; 9] =
    ["millisecond", "SECOND", "minutes", "HOUR", "DAY", "WEEK", "SQL_TSI_MONTH", "QUARTER", "YEARS"];

fn every_function() -> Vec<ScalarFunction> {
    let units = UNITS.into_iter().map(|unit| TimeUnit::parse(unit).unwrap());
    let parts =
        ["YEAR", "month", "DAY", "HOUR", "MINUTE", "SECOND", "MILLISECOND", "EPOCH", "DOW", "DOY", "WEEK"];
    all_forms()
        .into_iter()
        .chain(units.clone().map(floor_timestamp))
        .chain(units.clone().map(ceil_timestamp))
        .chain(units.clone().map(timestamp_add))
        .chain(units.map(timestamp_difference))
        .chain(parts.into_iter().chain(["QUARTER"]).map(|part| extract(part).unwrap()))
        .collect()
}

fn rows(of: &[SqlType]) -> impl Strategy<Value = Vec<Vec<Datum>>> {
    let row: Vec<BoxedStrategy<Datum>> = of.iter().map(|of| value_or_null(*of)).collect();
    proptest::collection::vec(row, 1..12)
}

/// Runs a kernel over random rows: a panic, a wrong type or a difference between columns and constants fails the test.
fn survives(of: &[SqlType], cases: u32, test: impl Fn(&[Vec<Datum>])) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let all = TestRunner::new(config).run(&rows(of), |rows| {
        test(&rows);
        Ok(())
    });
    all.unwrap();
}

#[test]
fn null_in_any_argument_gives_null() {
    let mut runner = TestRunner::deterministic();
    let mut tested = 0;
    for function in every_function() {
        for null in 0..function.arguments.len() {
            if function.name == "CONCAT_WS" && null > 0 {
                continue;
            }
            let row: Vec<Datum> = function
                .arguments
                .iter()
                .enumerate()
                .map(|(at, of)| match at == null {
                    true => Datum::Null,
                    false => value(*of).new_tree(&mut runner).unwrap().current(),
                })
                .collect();
            let outcome = evaluate(&function.arguments, &[row], function.eval);
            assert_eq!(outcome, [Ok(Datum::Null)], "{} with NULL at {null}", function.name);
            tested += 1;
        }
    }
    assert!(tested > 150, "{tested}");
}

#[test]
fn functions_survive_any_argument() {
    for function in every_function() {
        survives(&function.arguments, 48, |rows| {
            for outcome in evaluate(&function.arguments, rows, function.eval).into_iter().flatten() {
                let of = outcome.sql_type();
                assert!(of.is_none_or(|of| of == function.returns), "{} gave {outcome:?}", function.name);
                assert!(!matches!(outcome, Datum::Double(value) if !value.is_finite()), "{}", function.name);
            }
        });
    }
}

#[test]
fn operators_survive_any_operand() {
    use ArithmeticOp::{Add, Divide, Multiply, Remainder, Subtract};
    use ComparisonOp as C;
    for left in TYPES {
        for right in TYPES {
            for op in [Add, Subtract, Multiply, Divide, Remainder] {
                let Ok(found) = binary(op, left, right) else { continue };
                survives(&[found.left, found.right], 24, |rows| {
                    let outcomes = evaluate(&[found.left, found.right], rows, |a, n, f| {
                        (found.eval)(&a[0], &a[1], n, f)
                    });
                    for (row, outcome) in rows.iter().zip(outcomes) {
                        let has_null = row.iter().any(Datum::is_null);
                        assert_eq!(outcome == Ok(Datum::Null), has_null, "{row:?}");
                        let of = outcome.ok().and_then(|value| value.sql_type());
                        assert!(of.is_none_or(|of| of == found.returns));
                    }
                });
            }
        }
        let ordered = [
            C::Equal,
            C::NotEqual,
            C::Less,
            C::LessOrEqual,
            C::Greater,
            C::GreaterOrEqual,
            C::IsDistinctFrom,
        ];
        for op in ordered.into_iter().chain([C::IsNotDistinctFrom]) {
            let eval = comparison(op, left);
            survives(&[left, left], 24, |rows| {
                for (row, outcome) in
                    rows.iter().zip(evaluate(&[left, left], rows, |a, n, f| eval(&a[0], &a[1], n, f)))
                {
                    let has_null = row.iter().any(Datum::is_null);
                    let knows_null = matches!(op, C::IsDistinctFrom | C::IsNotDistinctFrom);
                    assert_eq!(outcome == Ok(Datum::Null), has_null && !knows_null, "{row:?}");
                    assert!(outcome.is_ok());
                }
            });
        }
        if let Ok(eval) = negation(left) {
            survives(&[left], 24, |rows| {
                evaluate(&[left], rows, |a, n, f| eval(&a[0], n, f));
            });
        }
    }
}

#[test]
fn casts_survive_any_value() {
    for from in TYPES {
        for to in TYPES {
            let Ok(eval) = cast(from, to) else { continue };
            survives(&[from], 64, |rows| {
                let strict = evaluate(&[from], rows, |a, n, f| eval(&a[0], n, f, false));
                let tried = evaluate(&[from], rows, |a, n, f| eval(&a[0], n, f, true));
                for (strict, tried) in strict.into_iter().zip(tried) {
                    assert!(strict.as_ref().ok().and_then(Datum::sql_type).is_none_or(|of| of == to));
                    assert_eq!(tried, Ok(strict.unwrap_or(Datum::Null)));
                }
            });
        }
    }
}
