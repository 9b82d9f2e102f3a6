//! Accumulators: what state keeps of a group for one aggregate.
//!
//! Encoded with serde; the variants are numbered in the order below, which must not change: new ones go behind. An
//! accumulator takes at most [`ACCUMULATOR_BYTES_MAX`] bytes besides what is boxed, and says by itself what its result
//! is.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::metrics::RejectCause;
use crate::query::column::{Column, Values};
use crate::query::datum::Datum;
use crate::query::sql_type::SqlType;
use crate::query::vector::Vector;

use super::call::{Aggregate, AggregateFunction};
use super::distinct::DistinctValues;
use super::double_sum::DoubleSum;
use super::hyperloglog::HyperLogLog;
use super::moments::{Moments, Spread};
use super::quantile_sketch::QuantileSketch;
use super::text_list::TextList;

/// The size of an accumulator, in bytes, without what is boxed.
pub(super) const ACCUMULATOR_BYTES_MAX: usize = 48;
const _: () = assert!(size_of::<Accumulator>() <= ACCUMULATOR_BYTES_MAX, "state would grow");

/// Accumulators of two aggregates were merged.
const OTHER_AGGREGATE: RejectCause = RejectCause::new("other-aggregate");

/// What is kept of the rows of a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Accumulator {
    Count(u64),
    SumInteger(IntegerSum),
    AverageBigInt(IntegerSum),
    AverageDecimal(IntegerSum),
    SumDouble(DoubleSum),
    AverageDouble(DoubleSum),
    Minimum(Datum),
    Maximum(Datum),
    First(Datum),
    Last(Datum),
    Spread(Moments, Spread),
    Distinct(Box<DistinctValues>),
    ApproximateDistinct(Box<HyperLogLog>),
    Percentile(Box<QuantileSketch>),
    List(Box<TextList>),
    /// What is asked for, and by what it is chosen.
    MinimumBy(Box<(Datum, Datum)>),
    MaximumBy(Box<(Datum, Datum)>),
    /// A sum or an average of distinct values.
    OfDistinct(Box<(DistinctValues, Accumulator)>),
}

/// A sum of whole numbers, and how many they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IntegerSum {
    sum: i128,
    count: u64,
}

impl IntegerSum {
    fn add(&mut self, sum: i128, count: u64) -> Result<(), RejectCause> {
        self.sum = self.sum.checked_add(sum).ok_or(RejectCause::OVERFLOW)?;
        self.count += count;
        Ok(())
    }

    /// None of no value.
    fn average(self) -> Option<i128> {
        self.sum.checked_div(i128::from(self.count))
    }
}

impl Accumulator {
    /// Of no row.
    pub(crate) fn new(aggregate: &Aggregate) -> Self {
        use AggregateFunction as F;
        let argument = aggregate.argument_types().first().copied().unwrap_or(SqlType::BigInt);
        match &aggregate.function {
            F::Count => Self::Count(0),
            F::CountDistinct => {
                Self::Distinct(Box::new(DistinctValues::of_columns(aggregate.argument_types())))
            }
            F::Sum => Self::sum(argument),
            F::Average => Self::average(argument),
            F::SumDistinct => {
                Self::OfDistinct(Box::new((DistinctValues::new(argument), Self::sum(argument))))
            }
            F::AverageDistinct => {
                Self::OfDistinct(Box::new((DistinctValues::new(argument), Self::average(argument))))
            }
            F::Minimum => Self::Minimum(Datum::Null),
            F::Maximum => Self::Maximum(Datum::Null),
            F::First => Self::First(Datum::Null),
            F::Last => Self::Last(Datum::Null),
            F::Spread(spread) => Self::Spread(Moments::default(), *spread),
            F::ApproximateCountDistinct => Self::ApproximateDistinct(Box::default()),
            F::ApproximatePercentile(share) => Self::Percentile(Box::new(QuantileSketch::new(*share))),
            F::List(separator) => Self::List(Box::new(TextList::new(separator))),
            F::MinimumBy => Self::MinimumBy(Box::new((Datum::Null, Datum::Null))),
            F::MaximumBy => Self::MaximumBy(Box::new((Datum::Null, Datum::Null))),
        }
    }

    fn sum(argument: SqlType) -> Self {
        match argument {
            SqlType::Double => Self::SumDouble(DoubleSum::default()),
            _ => Self::SumInteger(IntegerSum::default()),
        }
    }

    fn average(argument: SqlType) -> Self {
        match argument {
            SqlType::Double => Self::AverageDouble(DoubleSum::default()),
            SqlType::Decimal => Self::AverageDecimal(IntegerSum::default()),
            _ => Self::AverageBigInt(IntegerSum::default()),
        }
    }

    /// Takes a row: its arguments are of the aggregate's types; none are of `COUNT(*)`.
    ///
    /// # Errors
    /// The cause the row fails with; then the accumulator is as it was.
    #[inline]
    pub(crate) fn add(&mut self, arguments: &[Vector<'_>], row: usize) -> Result<(), RejectCause> {
        if arguments.iter().any(|argument| argument.is_null(row)) {
            return Ok(());
        }
        match (self, arguments) {
            (Self::Count(count), _) => *count += 1,
            (Self::SumInteger(sum) | Self::AverageBigInt(sum) | Self::AverageDecimal(sum), [of, ..]) => {
                sum.add(whole(of, row), 1)?;
            }
            (Self::SumDouble(sum) | Self::AverageDouble(sum), [of, ..]) => sum.add(of.doubles().get(row))?,
            (Self::Minimum(kept), [of, ..]) => {
                if goes_before(kept, of, row, Ordering::Greater) {
                    *kept = of.datum(row);
                }
            }
            (Self::Maximum(kept), [of, ..]) => {
                if goes_before(kept, of, row, Ordering::Less) {
                    *kept = of.datum(row);
                }
            }
            (Self::First(kept), [of, ..]) => {
                if kept.is_null() {
                    *kept = of.datum(row);
                }
            }
            (Self::Last(kept), [of, ..]) => *kept = of.datum(row),
            (Self::Spread(moments, _), [of, ..]) => moments.add(of.doubles().get(row))?,
            (Self::Distinct(values), [of]) => values.add(of, row)?,
            (Self::Distinct(values), [_, _, ..]) => values.add_row(arguments, row)?,
            (Self::OfDistinct(kept), [of, ..]) => {
                let (values, total) = &mut **kept;
                if values.has_room_for(of, row)? {
                    total.add(arguments, row)?;
                    values.add(of, row)?;
                }
            }
            (Self::ApproximateDistinct(sketch), [of, ..]) => sketch.add(of, row),
            (Self::Percentile(sketch), [of, ..]) => sketch.add(of.doubles().get(row)),
            (Self::List(list), [of, ..]) => list.add(of.text(row))?,
            (Self::MinimumBy(kept), [of, by, ..]) => {
                if goes_before(&kept.1, by, row, Ordering::Greater) {
                    **kept = (of.datum(row), by.datum(row));
                }
            }
            (Self::MaximumBy(kept), [of, by, ..]) => {
                if goes_before(&kept.1, by, row, Ordering::Less) {
                    **kept = (of.datum(row), by.datum(row));
                }
            }
            // Too few arguments: the planner gives as many as the aggregate's types.
            (_, _) => return Err(OTHER_AGGREGATE),
        }
        Ok(())
    }

    /// Takes a row of an aggregate that counts rows.
    ///
    /// # Errors
    /// Never, of such an aggregate.
    #[inline]
    pub(crate) fn add_row(&mut self) -> Result<(), RejectCause> {
        let Self::Count(count) = self else { return Err(OTHER_AGGREGATE) };
        *count += 1;
        Ok(())
    }

    /// Takes a row whose one argument is this number: as [`add`](Self::add) does, without looking for it.
    ///
    /// # Errors
    /// The cause the row fails with; then the accumulator is as it was.
    #[inline]
    pub(crate) fn add_double(&mut self, value: f64) -> Result<(), RejectCause> {
        match self {
            Self::SumDouble(sum) | Self::AverageDouble(sum) => sum.add(value)?,
            Self::Minimum(Datum::Double(kept)) => {
                if value < *kept {
                    *kept = value;
                }
            }
            Self::Maximum(Datum::Double(kept)) => {
                if value > *kept {
                    *kept = value;
                }
            }
            Self::Minimum(kept @ Datum::Null) | Self::Maximum(kept @ Datum::Null) => {
                *kept = Datum::Double(value);
            }
            _ => return Err(OTHER_AGGREGATE),
        }
        Ok(())
    }

    /// Takes the rows of another group of the same aggregate, as if they had come after this one's.
    ///
    /// # Errors
    /// As of adding the rows; then the accumulator is as it was.
    pub(crate) fn merge(&mut self, other: &Self) -> Result<(), RejectCause> {
        match (self, other) {
            (Self::Count(count), Self::Count(other)) => *count += other,
            (Self::SumInteger(sum), Self::SumInteger(other))
            | (Self::AverageBigInt(sum), Self::AverageBigInt(other))
            | (Self::AverageDecimal(sum), Self::AverageDecimal(other)) => sum.add(other.sum, other.count)?,
            (Self::SumDouble(sum), Self::SumDouble(other))
            | (Self::AverageDouble(sum), Self::AverageDouble(other)) => sum.merge(other)?,
            (Self::Minimum(kept), Self::Minimum(other)) => {
                if order(kept, other).is_none_or(|order| order == Ordering::Greater) {
                    kept.clone_from(other);
                }
            }
            (Self::Maximum(kept), Self::Maximum(other)) => {
                if order(kept, other).is_none_or(|order| order == Ordering::Less) {
                    kept.clone_from(other);
                }
            }
            (Self::First(kept), Self::First(other)) => {
                if kept.is_null() {
                    kept.clone_from(other);
                }
            }
            (Self::Last(kept), Self::Last(other)) => {
                if !other.is_null() {
                    kept.clone_from(other);
                }
            }
            (Self::Spread(moments, _), Self::Spread(other, _)) => moments.merge(other)?,
            (Self::Distinct(values), Self::Distinct(other)) => values.merge(other)?,
            (Self::OfDistinct(kept), Self::OfDistinct(other)) => {
                let mut total = kept.1.clone();
                for value in other.0.beyond(&kept.0, total.is_of_doubles()) {
                    let sql_type = value.sql_type().unwrap_or(SqlType::BigInt);
                    total.add(&[Vector::Constant(&value, sql_type)], 0)?;
                }
                kept.0.merge(&other.0)?;
                kept.1 = total;
            }
            (Self::ApproximateDistinct(sketch), Self::ApproximateDistinct(other)) => sketch.merge(other),
            (Self::Percentile(sketch), Self::Percentile(other)) => sketch.merge(other),
            (Self::List(list), Self::List(other)) => list.merge(other)?,
            (Self::MinimumBy(kept), Self::MinimumBy(other)) => {
                if order(&kept.1, &other.1).is_none_or(|order| order == Ordering::Greater) {
                    kept.clone_from(other);
                }
            }
            (Self::MaximumBy(kept), Self::MaximumBy(other)) => {
                if order(&kept.1, &other.1).is_none_or(|order| order == Ordering::Less) {
                    kept.clone_from(other);
                }
            }
            (_, _) => return Err(OTHER_AGGREGATE),
        }
        Ok(())
    }

    fn is_of_doubles(&self) -> bool {
        matches!(self, Self::SumDouble(_) | Self::AverageDouble(_))
    }

    /// Appends the aggregate of the rows so far to a column of the aggregate's type.
    #[inline]
    pub(crate) fn push_result(&self, column: &mut Column) {
        match (self, &mut column.values) {
            (Self::Count(count), Values::BigInt(values)) => {
                values.push(i64::try_from(*count).unwrap_or(i64::MAX));
                column.pushed();
            }
            (Self::SumInteger(IntegerSum { sum, count: 1.. }), Values::Decimal(values)) => {
                values.push(*sum);
                column.pushed();
            }
            _ => column.push(&self.result()),
        }
    }

    /// The aggregate of the rows so far.
    pub(crate) fn result(&self) -> Datum {
        let double = |value: Option<f64>| value.map_or(Datum::Null, Datum::Double);
        let big_int = |value: u64| Datum::BigInt(i64::try_from(value).unwrap_or(i64::MAX));
        match self {
            Self::Count(count) => big_int(*count),
            Self::SumInteger(IntegerSum { count: 0, .. }) => Datum::Null,
            Self::SumInteger(sum) => Datum::Decimal(sum.sum),
            // The average of 64-bit numbers is one.
            Self::AverageBigInt(sum) => sum
                .average()
                .and_then(|average| i64::try_from(average).ok())
                .map_or(Datum::Null, Datum::BigInt),
            Self::AverageDecimal(sum) => sum.average().map_or(Datum::Null, Datum::Decimal),
            Self::SumDouble(sum) => double(sum.sum()),
            Self::AverageDouble(sum) => double(sum.average()),
            Self::Minimum(kept) | Self::Maximum(kept) | Self::First(kept) | Self::Last(kept) => kept.clone(),
            Self::Spread(moments, spread) => double(moments.spread(*spread)),
            Self::Distinct(values) => big_int(values.len() as u64),
            Self::OfDistinct(kept) => kept.1.result(),
            Self::ApproximateDistinct(sketch) => Datum::BigInt(sketch.estimate()),
            Self::Percentile(sketch) => double(sketch.quantile()),
            Self::List(list) => list.list().map_or(Datum::Null, |list| Datum::String(list.into())),
            Self::MinimumBy(kept) | Self::MaximumBy(kept) => kept.0.clone(),
        }
    }
}

fn whole(vector: &Vector<'_>, row: usize) -> i128 {
    match vector.sql_type() {
        SqlType::Decimal => vector.decimals().get(row),
        _ => i128::from(vector.integers().get(row)),
    }
}

/// True when nothing is kept, or what is compares so to the value of the row.
#[inline]
fn goes_before(kept: &Datum, vector: &Vector<'_>, row: usize, kept_is: Ordering) -> bool {
    let order = match kept {
        Datum::Null => return true,
        Datum::Boolean(kept) => kept.cmp(&vector.booleans().get(row)),
        Datum::BigInt(kept) | Datum::Timestamp(kept) | Datum::Interval(kept) => {
            kept.cmp(&vector.integers().get(row))
        }
        Datum::Decimal(kept) => kept.cmp(&vector.decimals().get(row)),
        Datum::Double(kept) => kept.partial_cmp(&vector.doubles().get(row)).unwrap_or(Ordering::Equal),
        Datum::String(kept) => (**kept).cmp(vector.text(row)),
        Datum::Bytes(kept) => (**kept).cmp(vector.blob(row)),
    };
    order == kept_is
}

/// The order of two values of one type; that of a value and NULL is such that the value is kept, by calling it equal,
/// or none where nothing is kept yet.
fn order(kept: &Datum, other: &Datum) -> Option<Ordering> {
    Some(match (kept, other) {
        (Datum::Null, _) => return None,
        (Datum::Boolean(kept), Datum::Boolean(other)) => kept.cmp(other),
        (Datum::BigInt(kept), Datum::BigInt(other))
        | (Datum::Timestamp(kept), Datum::Timestamp(other))
        | (Datum::Interval(kept), Datum::Interval(other)) => kept.cmp(other),
        (Datum::Decimal(kept), Datum::Decimal(other)) => kept.cmp(other),
        (Datum::Double(kept), Datum::Double(other)) => kept.partial_cmp(other).unwrap_or(Ordering::Equal),
        (Datum::String(kept), Datum::String(other)) => kept.cmp(other),
        (Datum::Bytes(kept), Datum::Bytes(other)) => kept.cmp(other),
        (_, _) => Ordering::Equal,
    })
}
