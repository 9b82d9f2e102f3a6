//! The distinct values of a group, exactly.
//!
//! Limit: [`DISTINCT_VALUES_MAX`] values a group; the row with one more fails with `distinct-max`. `APPROX_COUNT_DISTINCT`
//! has no such limit.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::metrics::RejectCause;
use crate::query::datum::Datum;
use crate::query::sql_type::SqlType;
use crate::query::vector::Vector;

use super::value_bytes::with_bytes;

/// The most distinct values a group may have.
pub(crate) const DISTINCT_VALUES_MAX: usize = 65_536;
/// Bytes of the values of a row that are looked up without an allocation.
const SHORT_BYTES: usize = 256;
/// A group has too many distinct values to count them exactly.
const DISTINCT_MAX: RejectCause = RejectCause::new("distinct-max");

/// Distinct values, ordered: the same set has the same bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum DistinctValues {
    /// `BIGINT`, `TIMESTAMP`, `INTERVAL`, `BOOLEAN`; the bits of a `DOUBLE`.
    Integers(BTreeSet<i64>),
    /// The bytes of other values.
    Bytes(BTreeSet<Box<[u8]>>),
}

impl DistinctValues {
    pub(super) fn new(of: SqlType) -> Self {
        match of {
            SqlType::Decimal | SqlType::String | SqlType::Bytes => Self::Bytes(BTreeSet::new()),
            _ => Self::Integers(BTreeSet::new()),
        }
    }

    /// Of one column its values; of several the bytes of them all.
    pub(super) fn of_columns(types: &[SqlType]) -> Self {
        match types {
            [only] => Self::new(*only),
            _ => Self::Bytes(BTreeSet::new()),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Integers(values) => values.len(),
            Self::Bytes(values) => values.len(),
        }
    }

    pub(super) fn add(&mut self, vector: &Vector<'_>, row: usize) -> Result<(), RejectCause> {
        let full = self.len() >= DISTINCT_VALUES_MAX;
        match self {
            Self::Integers(values) => {
                let value = integer(vector, row);
                if full && !values.contains(&value) {
                    return Err(DISTINCT_MAX);
                }
                values.insert(value);
                Ok(())
            }
            Self::Bytes(values) => with_bytes(vector, row, |bytes| {
                if !values.contains(bytes) {
                    if full {
                        return Err(DISTINCT_MAX);
                    }
                    values.insert(bytes.into());
                }
                Ok(())
            }),
        }
    }

    /// Adds the values of several columns as one: each behind its length, so that no two rows have the same bytes.
    pub(super) fn add_row(&mut self, vectors: &[Vector<'_>], row: usize) -> Result<(), RejectCause> {
        let full = self.len() >= DISTINCT_VALUES_MAX;
        let Self::Bytes(values) = self else { return Err(DISTINCT_MAX) };
        let mut short: heapless::Vec<u8, SHORT_BYTES> = heapless::Vec::new();
        let mut long: Vec<u8> = Vec::new();
        for vector in vectors {
            with_bytes(vector, row, |bytes| {
                for part in [&(bytes.len() as u64).to_le_bytes()[..], bytes] {
                    if long.is_empty() && short.extend_from_slice(part).is_ok() {
                        continue;
                    }
                    if long.is_empty() {
                        long.extend_from_slice(&short);
                    }
                    long.extend_from_slice(part);
                }
            });
        }
        let bytes: &[u8] = if long.is_empty() { &short } else { &long };
        if !values.contains(bytes) {
            if full {
                return Err(DISTINCT_MAX);
            }
            values.insert(bytes.into());
        }
        Ok(())
    }

    /// Whether the value is a new one.
    ///
    /// # Errors
    /// It is, and there are too many already.
    pub(super) fn has_room_for(&self, vector: &Vector<'_>, row: usize) -> Result<bool, RejectCause> {
        let is_new = match self {
            Self::Integers(values) => !values.contains(&integer(vector, row)),
            Self::Bytes(values) => with_bytes(vector, row, |bytes| !values.contains(bytes)),
        };
        if is_new && self.len() >= DISTINCT_VALUES_MAX { Err(DISTINCT_MAX) } else { Ok(is_new) }
    }

    /// The numbers that are not in `other`; `is_double` says how those of 64 bits are meant.
    pub(super) fn beyond(&self, other: &Self, is_double: bool) -> Vec<Datum> {
        match (self, other) {
            (Self::Integers(values), Self::Integers(others)) => {
                let datum = |value: &i64| match is_double {
                    true => Datum::Double(f64::from_bits(value.cast_unsigned())),
                    false => Datum::BigInt(*value),
                };
                values.difference(others).map(datum).collect()
            }
            (Self::Bytes(values), Self::Bytes(others)) => {
                let beyond = values.difference(others).filter_map(|bytes| bytes[..].try_into().ok());
                beyond.map(|bytes| Datum::Decimal(i128::from_le_bytes(bytes))).collect()
            }
            // A set of another type can only be an empty group's.
            _ => Vec::new(),
        }
    }

    pub(super) fn merge(&mut self, other: &Self) -> Result<(), RejectCause> {
        match (self, other) {
            (Self::Integers(values), Self::Integers(others)) => merge(values, others),
            (Self::Bytes(values), Self::Bytes(others)) => merge(values, others),
            // A set of another type can only be an empty group's.
            _ => Ok(()),
        }
    }
}

fn integer(vector: &Vector<'_>, row: usize) -> i64 {
    match vector.sql_type() {
        SqlType::Boolean => i64::from(vector.booleans().get(row)),
        SqlType::Double => (vector.doubles().get(row) + 0.0).to_bits().cast_signed(),
        _ => vector.integers().get(row),
    }
}

fn merge<T: Ord + Clone>(values: &mut BTreeSet<T>, others: &BTreeSet<T>) -> Result<(), RejectCause> {
    let new = others.difference(values).count();
    if values.len() + new > DISTINCT_VALUES_MAX {
        return Err(DISTINCT_MAX);
    }
    values.extend(others.iter().cloned());
    Ok(())
}
