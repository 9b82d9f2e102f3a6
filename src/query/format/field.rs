//! Fields: the columns of a source's schema that come from its frames.

use super::path::FieldPath;
use crate::metrics::RejectCause;
use crate::query::sql_type::SqlType;
use crate::query::timestamp::{TIMESTAMP_MAX_MS, TIMESTAMP_MIN_MS};

/// What a number in the place of a timestamp counts, since 1970-01-01 00:00:00 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum TimestampUnit {
    /// Seconds, `"s"`.
    Seconds,
    /// Milliseconds, `"ms"`.
    #[default]
    Milliseconds,
    /// Microseconds, `"us"`.
    Microseconds,
    /// Nanoseconds, `"ns"`.
    Nanoseconds,
}

impl TimestampUnit {
    /// A number of the unit in milliseconds; what is below a millisecond is cut off, towards the past.
    #[inline]
    pub(super) fn ms_of_integer(self, number: i64) -> Result<i64, RejectCause> {
        let ms = match self {
            Self::Seconds => number.checked_mul(1_000).ok_or(RejectCause::OVERFLOW)?,
            Self::Milliseconds => number,
            Self::Microseconds => number.div_euclid(1_000),
            Self::Nanoseconds => number.div_euclid(1_000_000),
        };
        if is_timestamp(ms) { Ok(ms) } else { Err(RejectCause::OVERFLOW) }
    }

    /// A number of the unit with a fraction in milliseconds, to the nearest.
    pub(super) fn ms_of_double(self, number: f64) -> Result<i64, RejectCause> {
        let ms = match self {
            Self::Seconds => number * 1e3,
            Self::Milliseconds => number,
            Self::Microseconds => number / 1e3,
            Self::Nanoseconds => number / 1e6,
        };
        nearest_ms(ms)
    }
}

/// True for the instants a frame may have.
#[inline]
pub(super) fn is_timestamp(ms: i64) -> bool {
    (TIMESTAMP_MIN_MS..=TIMESTAMP_MAX_MS).contains(&ms)
}

/// The timestamp nearest to a number of milliseconds.
pub(super) fn nearest_ms(ms: f64) -> Result<i64, RejectCause> {
    let ms = libm::round(ms);
    // Both bounds are below 2^53, so exact as doubles; a NaN is in no range.
    if (TIMESTAMP_MIN_MS as f64..=TIMESTAMP_MAX_MS as f64).contains(&ms) {
        Ok(ms as i64)
    } else {
        Err(RejectCause::OVERFLOW)
    }
}

/// A column of a source's schema that comes from the frame.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FieldSpec {
    /// The column's name.
    pub(crate) name: String,
    /// Where it is in the frame; formats by position take no notice.
    pub(crate) path: FieldPath,
    pub(crate) sql_type: SqlType,
    /// True when a frame without it is refused.
    pub(crate) not_null: bool,
    /// What a number means, of a `TIMESTAMP`.
    pub(crate) timestamp_unit: TimestampUnit,
}

impl FieldSpec {
    /// A field found by the column's name, that may be NULL.
    pub(crate) fn new(name: &str, sql_type: SqlType) -> Self {
        Self {
            name: name.to_owned(),
            path: FieldPath::member(name),
            sql_type,
            not_null: false,
            timestamp_unit: TimestampUnit::default(),
        }
    }

    pub(super) fn field_type(&self) -> FieldType {
        FieldType { not_null: self.not_null, timestamp_unit: self.timestamp_unit }
    }

    /// Refuses the types no frame holds.
    pub(super) fn check_type(&self) -> Result<(), String> {
        if self.sql_type == SqlType::Interval {
            return Err(format!(
                "column {}: a frame holds no INTERVAL; declare BIGINT, and make an interval of it in the query",
                self.name
            ));
        }
        Ok(())
    }
}

/// What is looked at of a field for each row, besides its column's type.
#[derive(Debug, Clone, Copy)]
pub(super) struct FieldType {
    pub(super) not_null: bool,
    pub(super) timestamp_unit: TimestampUnit,
}
