//! Aggregates against naive models; merging and encoding at any point.

use proptest::prelude::*;

use super::{Accumulator, Aggregate, DISTINCT_VALUES_MAX, LIST_BYTES_MAX, all, is_aggregate, literal_count};
use crate::query::column::Column;
use crate::query::datum::Datum;
use crate::query::sql_type::SqlType::{self, BigInt, Decimal, Double, String, Timestamp};
use crate::query::vector::Vector;

fn aggregate(name: &str, of: &[SqlType], parameters: &[Datum]) -> Aggregate {
    let arguments: Vec<_> = of.iter().copied().map(Some).collect();
    Aggregate::resolve(name, &arguments, false, parameters).unwrap()
}

fn text(text: &str) -> Datum {
    Datum::String(text.into())
}

/// The accumulator of these rows, and the causes of those that failed.
fn accumulated(aggregate: &Aggregate, rows: &[Vec<Datum>]) -> (Accumulator, Vec<&'static str>) {
    let columns: Vec<Column> = aggregate
        .argument_types()
        .iter()
        .enumerate()
        .map(|(at, of)| {
            let mut column = Column::new(*of);
            rows.iter().for_each(|row| column.push(&row[at]));
            column
        })
        .collect();
    let vectors: Vec<Vector<'_>> = columns.iter().map(Vector::Borrowed).collect();
    let mut accumulator = Accumulator::new(aggregate);
    let mut causes = Vec::new();
    for (row, values) in rows.iter().enumerate() {
        let before = accumulator.clone();
        let added = accumulator.add(&vectors, row);
        if let Err(cause) = added {
            assert_eq!(accumulator, before, "a failed row changes nothing");
            causes.push(cause.as_str());
        }
        let mut short = before;
        let added_short = match values.as_slice() {
            [Datum::Double(value)] if aggregate.takes_doubles() => short.add_double(*value),
            values if aggregate.counts_rows() && values.iter().all(|value| !value.is_null()) => {
                short.add_row()
            }
            _ => continue,
        };
        assert_eq!((added_short, &short), (added, &accumulator), "the short way leads to the same place");
    }
    (accumulator, causes)
}

fn result(aggregate: &Aggregate, values: &[Datum]) -> Datum {
    let rows: Vec<Vec<Datum>> = values.iter().map(|value| vec![value.clone()]).collect();
    let (accumulator, causes) = accumulated(aggregate, &rows);
    assert_eq!(causes, [""; 0]);
    let bytes = postcard::to_stdvec(&accumulator).unwrap();
    assert_eq!(postcard::from_bytes::<Accumulator>(&bytes).unwrap(), accumulator);
    accumulator.result()
}

#[test]
fn groups_have_results() {
    let b = Datum::BigInt;
    let x = Datum::Double;
    let bigs = [b(3), Datum::Null, b(-4), b(3)];
    let doubles = [x(1.0), x(1e100), Datum::Null, x(1.0), x(-1e100)];
    let texts = [text("m"), Datum::Null, text("b"), text("z")];
    for (name, of, values, expected) in [
        ("COUNT", BigInt, &bigs[..], b(3)),
        ("SUM", BigInt, &bigs, Datum::Decimal(2)),
        ("AVG", BigInt, &[b(-7), b(2)], b(-2)),
        ("AVG", Decimal, &[Datum::Decimal(-7), Datum::Decimal(2)], Datum::Decimal(-2)),
        ("SUM", Double, &doubles, x(2.0)),
        ("AVG", Double, &doubles, x(0.5)),
        ("MIN", BigInt, &bigs, b(-4)),
        ("MAX", String, &texts, text("z")),
        ("MIN", Timestamp, &[Datum::Timestamp(4), Datum::Timestamp(3)], Datum::Timestamp(3)),
        ("FIRST_VALUE", String, &texts, text("m")),
        ("LAST_VALUE", String, &texts, text("z")),
        ("VAR_POP", Double, &[x(1.0), x(3.0)], x(1.0)),
        ("VARIANCE", Double, &[x(1.0), x(3.0)], x(2.0)),
        ("STDDEV_POP", Double, &[x(1.0), x(3.0)], x(1.0)),
        ("STDDEV_SAMP", Double, &[x(1.0)], Datum::Null),
        ("VAR_POP", Double, &[x(1.0)], x(0.0)),
        ("LISTAGG", String, &texts, text("m,b,z")),
        ("APPROX_COUNT_DISTINCT", BigInt, &bigs, b(2)),
    ] {
        assert_eq!(result(&aggregate(name, &[of], &[]), values), expected, "{name} of {of}");
    }
    assert_eq!(result(&aggregate("LISTAGG", &[String], &[text(" | ")]), &texts), text("m | b | z"));
    let distinct = Aggregate::resolve("count", &[Some(Double)], true, &[]).unwrap();
    assert_eq!(result(&distinct, &[x(0.0), x(-0.0), x(1.0), Datum::Null]), b(2));
    let (rows, _) = accumulated(&aggregate("COUNT", &[], &[]), &[vec![], vec![], vec![]]);
    assert_eq!(rows.result(), b(3));
    let by = [[text("a"), x(2.0)], [text("b"), x(1.0)], [text("c"), x(1.0)], [text("d"), Datum::Null]];
    let by: Vec<Vec<Datum>> = by.iter().map(|row| row.to_vec()).collect();
    assert_eq!(accumulated(&aggregate("MIN_BY", &[String, Double], &[]), &by).0.result(), text("b"));
    assert_eq!(accumulated(&aggregate("MAX_BY", &[String, Double], &[]), &by).0.result(), text("a"));
}

#[test]
fn empty_groups_are_null_but_for_counts() {
    for line in all() {
        assert!(is_aggregate(&line.name.to_lowercase()));
        let of = match line.name {
            "MIN_BY" | "MAX_BY" => vec![String, Double],
            "LISTAGG" => vec![String],
            _ => vec![Double],
        };
        let parameters = [Datum::Double(0.5)];
        let parameters = &parameters[..usize::from(line.name == "APPROX_PERCENTILE")];
        let call = aggregate(line.name, &of, parameters);
        let nulls = vec![vec![Datum::Null; of.len()]; 3];
        let is_count = line.name.contains("COUNT");
        let expected = if is_count { Datum::BigInt(0) } else { Datum::Null };
        assert_eq!(accumulated(&call, &nulls).0.result(), expected, "{}", line.name);
        assert_eq!(accumulated(&call, &nulls).0, Accumulator::new(&call));
    }
}

#[test]
fn limits_fail_the_row() {
    let sum = aggregate("SUM", &[Decimal], &[]);
    let rows = [i128::MAX, 1, -1].map(|value| vec![Datum::Decimal(value)]);
    let (accumulator, causes) = accumulated(&sum, &rows);
    assert_eq!((accumulator.result(), causes), (Datum::Decimal(i128::MAX - 1), vec!["overflow"]));

    let sum = aggregate("SUM", &[Double], &[]);
    let rows = [f64::MAX, f64::MAX, -1.0].map(|value| vec![Datum::Double(value)]);
    assert_eq!(accumulated(&sum, &rows).1, ["overflow"]);
    assert_eq!(accumulated(&aggregate("VAR_POP", &[Double], &[]), &rows[..1]).1, [""; 0]);
    let rows = [f64::MAX, f64::MIN].map(|value| vec![Datum::Double(value)]);
    assert_eq!(accumulated(&aggregate("VAR_POP", &[Double], &[]), &rows).1, ["overflow"]);

    let list = aggregate("LISTAGG", &[String], &[]);
    let rows = [vec![text(&"a".repeat(LIST_BYTES_MAX - 1))], vec![text("b")], vec![text("")]];
    assert_eq!(accumulated(&list, &rows).1, ["list-max"]);
}

#[test]
fn distinct_values_are_limited() {
    let distinct = Aggregate::resolve("COUNT", &[Some(BigInt)], true, &[]).unwrap();
    let mut column = Column::new(BigInt);
    (0..=DISTINCT_VALUES_MAX as i64).for_each(|value| column.push(&Datum::BigInt(value)));
    column.push(&Datum::BigInt(0));
    let vectors = [Vector::Owned(column)];
    let mut full = Accumulator::new(&distinct);
    (0..DISTINCT_VALUES_MAX).for_each(|row| full.add(&vectors, row).unwrap());
    assert_eq!(full.add(&vectors, DISTINCT_VALUES_MAX).unwrap_err().as_str(), "distinct-max");
    full.add(&vectors, DISTINCT_VALUES_MAX + 1).unwrap();
    let mut other = Accumulator::new(&distinct);
    other.add(&vectors, DISTINCT_VALUES_MAX).unwrap();
    assert_eq!(other.merge(&full).unwrap_err().as_str(), "distinct-max");
    assert_eq!(other.result(), Datum::BigInt(1));
}

#[test]
fn sums_of_distinct_values_are_the_same_in_one_group_and_in_several() {
    for (of, values) in [
        (BigInt, [4, 2, 4, 9, 2].map(Datum::BigInt)),
        (Double, [4.5, 2.0, 4.5, -9.0, 2.0].map(Datum::Double)),
        (SqlType::Decimal, [4, 2, 4, 9, 2].map(Datum::Decimal)),
    ] {
        for name in ["SUM", "AVG"] {
            let aggregate = Aggregate::resolve(name, &[Some(of)], true, &[]).unwrap();
            let group = |values: &[Datum]| {
                let mut group = Accumulator::new(&aggregate);
                for value in values {
                    group.add(&[Vector::Constant(value, of)], 0).unwrap();
                }
                group
            };
            let whole = group(&values);
            let expected = match (name, &values[0]) {
                ("SUM", Datum::Double(_)) => Datum::Double(-2.5),
                ("SUM", _) => Datum::Decimal(15),
                (_, Datum::Double(_)) => Datum::Double(-2.5 / 3.0),
                (_, Datum::Decimal(_)) => Datum::Decimal(5),
                _ => Datum::BigInt(5),
            };
            assert_eq!(whole.result(), expected, "{name} {of}");
            for at in 0..=values.len() {
                let (left, right) = values.split_at(at);
                let mut merged = group(left);
                merged.merge(&group(right)).unwrap();
                assert_eq!(merged.result(), expected, "{name} {of}, merged");
            }
            let saved = postcard::to_stdvec(&whole).unwrap();
            assert_eq!(postcard::from_bytes::<Accumulator>(&saved).unwrap(), whole);
        }
    }
}

#[test]
fn rows_of_several_values_are_distinct_by_all_of_them() {
    let aggregate = Aggregate::resolve("COUNT", &[Some(String), Some(String)], true, &[]).unwrap();
    let mut group = Accumulator::new(&aggregate);
    let long = "x".repeat(1_000);
    for (left, right) in [("ab", "c"), ("a", "bc"), ("ab", "c"), (&long, ""), ("", &long), (&long, "")] {
        let [left, right] = [left, right].map(|text| Datum::String(text.into()));
        group.add(&[Vector::Constant(&left, String), Vector::Constant(&right, String)], 0).unwrap();
    }
    let text = Datum::String("a".into());
    group.add(&[Vector::Constant(&text, String), Vector::Constant(&Datum::Null, String)], 0).unwrap();
    assert_eq!(group.result(), Datum::BigInt(4));
}

#[test]
fn refusals_name_forms() {
    let error = |name: &str, of: &[Option<SqlType>], distinct: bool, parameters: &[Datum]| {
        Aggregate::resolve(name, of, distinct, parameters).unwrap_err()
    };
    assert_eq!(
        error("sum", &[Some(String)], false, &[]),
        "SUM(STRING) is not defined; its forms are SUM(number) | SUM(DISTINCT number)"
    );
    assert_eq!(
        error("STDDEV", &[Some(BigInt)], true, &[]),
        "STDDEV does not take DISTINCT; COUNT, SUM, AVG, MIN and MAX do"
    );
    assert_eq!(error("AVGG", &[], false, &[]), "there is no aggregate AVGG; did you mean AVG?");
    assert!(
        error("APPROX_PERCENTILE", &[Some(Double)], false, &[Datum::Double(95.0)]).contains("from 0 to 1")
    );
    assert!(error("COUNT", &[None, None], false, &[]).contains("COUNT(*)"));
    assert_eq!(literal_count("listagg", 2), 1);
    assert_eq!(literal_count("COUNT", 1), 0);
}

/// The variants' numbers are what states were written with.
#[test]
fn variants_keep_their_numbers() {
    let tag = |name: &str, of: SqlType, parameters: &[Datum]| {
        postcard::to_stdvec(&Accumulator::new(&aggregate(name, &[of], parameters))).unwrap()[0]
    };
    let single = ["COUNT", "SUM", "AVG"].map(|name| tag(name, BigInt, &[]));
    assert_eq!(single, [0, 1, 2]);
    assert_eq!(["SUM", "AVG"].map(|name| tag(name, Double, &[])), [4, 5]);
    let kept = ["MIN", "MAX", "FIRST_VALUE", "LAST_VALUE", "VAR_POP"].map(|name| tag(name, Double, &[]));
    assert_eq!(kept, [6, 7, 8, 9, 10]);
    assert_eq!(tag("AVG", Decimal, &[]), 3);
    assert_eq!(tag("APPROX_COUNT_DISTINCT", Double, &[]), 12);
    assert_eq!(tag("APPROX_PERCENTILE", Double, &[Datum::BigInt(1)]), 13);
    assert_eq!(tag("LISTAGG", String, &[]), 14);
    let by = postcard::to_stdvec(&Accumulator::new(&aggregate("MAX_BY", &[String, Double], &[]))).unwrap();
    assert_eq!(by, [16, 0, 0]);
    let distinct = Aggregate::resolve("COUNT", &[Some(BigInt)], true, &[]).unwrap();
    assert_eq!(postcard::to_stdvec(&Accumulator::new(&distinct)).unwrap(), [11, 0, 0]);
}

/// Adding hashes of a fixed seed, so the estimates are always the same.
#[test]
fn distinct_estimates_are_near() {
    let call = aggregate("APPROX_COUNT_DISTINCT", &[BigInt], &[]);
    for count in [10_i64, 100, 250, 260, 1_000, 5_000, 20_000, 300_000] {
        let mut column = Column::new(BigInt);
        (0..count).for_each(|value| column.push(&Datum::BigInt(value * 7)));
        let vectors = [Vector::Owned(column)];
        let of = |rows: std::ops::Range<usize>| {
            let mut accumulator = Accumulator::new(&call);
            rows.for_each(|row| accumulator.add(&vectors, row).unwrap());
            accumulator
        };
        let accumulator = of(0..count as usize);
        for cut in [5, count as usize / 2, count as usize - 5] {
            let mut merged = of(0..cut);
            merged.merge(&of(cut..count as usize)).unwrap();
            assert_eq!(merged, accumulator, "cut at {cut} of {count}");
        }
        let Datum::BigInt(estimate) = accumulator.result() else { panic!("not a BIGINT") };
        // Three standard errors.
        let off = (estimate - count).abs() as f64 / count as f64;
        assert!(off < 0.069, "{estimate} of {count}");
        assert!(postcard::to_stdvec(&accumulator).unwrap().len() <= 2_100);
    }
}

fn numbers() -> impl Strategy<Value = Vec<f64>> {
    let number = prop_oneof![
        -1e6..1e6_f64,
        (-5..5_i32).prop_map(f64::from),
        Just(0.0),
        1e-300..1e-290_f64,
        any::<f64>()
            .prop_filter("finite", |value| value.abs() < 1e150 && (*value == 0.0 || value.is_normal())),
    ];
    proptest::collection::vec(number, 0..60)
}

/// Each aggregate of one argument, of values made from these numbers.
fn cases(numbers: &[f64]) -> Vec<(Aggregate, Vec<Datum>)> {
    let doubles: Vec<Datum> = numbers.iter().map(|value| Datum::Double(*value)).collect();
    let bigs: Vec<Datum> = numbers.iter().map(|value| Datum::BigInt(*value as i64)).collect();
    let texts: Vec<Datum> = numbers.iter().map(|value| text(&(*value as i8).to_string())).collect();
    let mut cases = Vec::new();
    for line in all() {
        let doubles_only = ["STDDEV", "VAR", "APPROX_P"].iter().any(|prefix| line.name.starts_with(prefix));
        let parameters = [Datum::Double(0.25)];
        let parameters = &parameters[..usize::from(line.name == "APPROX_PERCENTILE")];
        if line.name.ends_with("_BY") {
            continue;
        }
        if line.name != "LISTAGG" {
            cases.push((aggregate(line.name, &[Double], parameters), doubles.clone()));
        }
        if !doubles_only && line.name != "LISTAGG" {
            cases.push((aggregate(line.name, &[BigInt], &[]), bigs.clone()));
        }
        if !doubles_only && !matches!(line.name, "SUM" | "AVG") {
            cases.push((aggregate(line.name, &[String], &[]), texts.clone()));
        }
    }
    for (of, values) in [(Double, &doubles), (BigInt, &bigs), (String, &texts)] {
        cases.push((Aggregate::resolve("COUNT", &[Some(of)], true, &[]).unwrap(), values.clone()));
    }
    cases
}

fn is_rounded(call: &Aggregate) -> bool {
    use super::call::AggregateFunction as F;
    let is_double = call.argument_types() == [Double];
    matches!(call.function, F::Sum | F::Average if is_double) || matches!(call.function, F::Spread(_))
}

proptest! {
    #[test]
    fn merging_is_adding_and_encoding_changes_nothing(numbers in numbers(), cut: prop::sample::Index) {
        for (call, values) in cases(&numbers) {
            let rows: Vec<Vec<Datum>> = values.into_iter().map(|value| vec![value]).collect();
            let (first, second) = rows.split_at(cut.index(rows.len() + 1));
            let (whole, _) = accumulated(&call, &rows);
            let mut merged = accumulated(&call, first).0;
            merged = postcard::from_bytes(&postcard::to_stdvec(&merged).unwrap()).unwrap();
            merged.merge(&accumulated(&call, second).0).unwrap();
            if !is_rounded(&call) {
                prop_assert_eq!(&merged, &whole, "{:?}", call);
            }
            match (merged.result(), whole.result()) {
                (Datum::Double(merged), Datum::Double(whole)) => {
                    // What cancels leaves the rounding of the largest value, of variances that of its square.
                    let largest = numbers.iter().fold(1.0_f64, |largest, value| largest.max(value.abs()));
                    let scale = if is_rounded(&call) { largest.max(largest * largest) } else { 0.0 };
                    prop_assert!((merged - whole).abs() <= 1e-12 * scale, "{:?}: {} {}", call, merged, whole);
                }
                (merged, whole) => prop_assert_eq!(merged, whole),
            }
        }
    }

    #[test]
    fn results_are_the_models(numbers in proptest::collection::vec(-1_000_000..1_000_000_i64, 1..80)) {
        let values: Vec<Datum> = numbers.iter().map(|value| Datum::BigInt(*value)).collect();
        let doubles: Vec<f64> = numbers.iter().map(|value| *value as f64).collect();
        let of = |name| result(&aggregate(name, &[BigInt], &[]), &values);
        let sum: i64 = numbers.iter().sum();
        let count = numbers.len() as f64;
        prop_assert_eq!(of("SUM"), Datum::Decimal(i128::from(sum)));
        prop_assert_eq!(of("AVG"), Datum::BigInt(sum / numbers.len() as i64));
        prop_assert_eq!(of("MIN"), Datum::BigInt(*numbers.iter().min().unwrap()));
        prop_assert_eq!(of("MAX"), Datum::BigInt(*numbers.iter().max().unwrap()));
        prop_assert_eq!(of("FIRST_VALUE"), Datum::BigInt(numbers[0]));
        prop_assert_eq!(of("LAST_VALUE"), Datum::BigInt(*numbers.last().unwrap()));
        let variance = aggregate("VAR_POP", &[Double], &[]);
        let as_doubles: Vec<Datum> = doubles.iter().map(|value| Datum::Double(*value)).collect();
        let Datum::Double(variance) = result(&variance, &as_doubles) else { panic!("not a DOUBLE") };
        let mean = doubles.iter().sum::<f64>() / count;
        let expected = doubles.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        prop_assert!((variance - expected).abs() <= 1e-9 * expected.max(1.0));
    }

    #[test]
    fn percentiles_are_within_one_percent(numbers in numbers(), share in 0.0..=1.0_f64) {
        prop_assume!(!numbers.is_empty());
        let call = aggregate("APPROX_PERCENTILE", &[Double], &[Datum::Double(share)]);
        let values: Vec<Datum> = numbers.iter().map(|value| Datum::Double(*value)).collect();
        let Datum::Double(found) = result(&call, &values) else { panic!("not a DOUBLE") };
        let mut sorted = numbers;
        sorted.sort_by(f64::total_cmp);
        let rank = ((share * sorted.len() as f64).ceil() as usize).clamp(1, sorted.len());
        let exact = sorted[rank - 1];
        prop_assert!((found - exact).abs() <= 0.01 * exact.abs(), "{} for {}", found, exact);
    }
}

/// Values over the whole range of doubles: the bins become wider, and merging still is adding.
#[test]
fn sketches_of_any_values_stay_small() {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let values: Vec<f64> =
        std::iter::repeat_with(|| f64::from_bits(next())).filter(|of| of.is_finite()).take(40_000).collect();
    let call = aggregate("APPROX_PERCENTILE", &[Double], &[Datum::Double(0.9)]);
    let of = |values: &[f64]| {
        let mut column = Column::new(Double);
        values.iter().for_each(|value| column.push(&Datum::Double(*value)));
        let vectors = [Vector::Owned(column)];
        let mut accumulator = Accumulator::new(&call);
        (0..values.len()).for_each(|row| accumulator.add(&vectors, row).unwrap());
        accumulator
    };
    let whole = of(&values);
    assert!(postcard::to_stdvec(&whole).unwrap().len() < 16_384);
    for cut in [0, 100, 20_000, 39_000] {
        let mut merged = of(&values[..cut]);
        merged.merge(&of(&values[cut..])).unwrap();
        assert_eq!(merged, whole, "cut at {cut}");
    }
    let Datum::Double(found) = whole.result() else { panic!("not a DOUBLE") };
    let mut sorted = values;
    sorted.sort_by(f64::total_cmp);
    // Bins of two octaves at most.
    let ratio = found / sorted[35_999];
    assert!((0.25..4.0).contains(&ratio), "{ratio}");
}
