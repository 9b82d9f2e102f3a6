//! The distinct values of a group, exactly.
//!
//! Limit: [`DISTINCT_VALUES_MAX`] values a group; the row with one more fails with `distinct-max`. `APPROX_COUNT_DISTINCT`
//! has no such limit.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::metrics::RejectCause;
use crate::query::sql_type::SqlType;
use crate::query::vector::Vector;

use super::value_bytes::with_bytes;

/// The most distinct values a group may have.
pub(crate) const DISTINCT_VALUES_MAX: usize = 65_536;
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
