//! One value of a row.

use serde::{Deserialize, Serialize};

use super::sql_type::SqlType;

/// One value, where values are taken singly: literals, what state keeps, what a window emits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Datum {
    Null,
    Boolean(bool),
    BigInt(i64),
    Decimal(i128),
    /// Finite.
    Double(f64),
    String(Box<str>),
    /// Milliseconds since 1970-01-01 00:00:00 UTC.
    Timestamp(i64),
    /// Milliseconds.
    Interval(i64),
    Bytes(Box<[u8]>),
}

impl Datum {
    /// Its type; none for NULL, which is of every type.
    pub(crate) fn sql_type(&self) -> Option<SqlType> {
        Some(match self {
            Self::Null => return None,
            Self::Boolean(_) => SqlType::Boolean,
            Self::BigInt(_) => SqlType::BigInt,
            Self::Decimal(_) => SqlType::Decimal,
            Self::Double(_) => SqlType::Double,
            Self::String(_) => SqlType::String,
            Self::Timestamp(_) => SqlType::Timestamp,
            Self::Interval(_) => SqlType::Interval,
            Self::Bytes(_) => SqlType::Bytes,
        })
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}
