//! The SQL types of columns and expressions.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A type, as Flink SQL names it. Every type has NULL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum SqlType {
    /// `BOOLEAN`.
    Boolean,
    /// `BIGINT`, 64 bits; the shorter integer types are read as it.
    BigInt,
    /// `DECIMAL(38, 0)`, 128 bits: what sums of integers are.
    Decimal,
    /// `DOUBLE`, always finite; `FLOAT` is read as it.
    Double,
    /// `STRING`; `VARCHAR` and `CHAR` of any length are read as it.
    String,
    /// `TIMESTAMP(3)`: milliseconds since 1970-01-01 00:00:00 UTC.
    Timestamp,
    /// `INTERVAL DAY TO SECOND(3)`, in milliseconds.
    Interval,
    /// `BYTES`.
    Bytes,
}

impl SqlType {
    /// True for the types arithmetic works on.
    pub(crate) fn is_numeric(self) -> bool {
        matches!(self, Self::BigInt | Self::Decimal | Self::Double)
    }
}

impl fmt::Display for SqlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Boolean => "BOOLEAN",
            Self::BigInt => "BIGINT",
            Self::Decimal => "DECIMAL(38, 0)",
            Self::Double => "DOUBLE",
            Self::String => "STRING",
            Self::Timestamp => "TIMESTAMP(3)",
            Self::Interval => "INTERVAL",
            Self::Bytes => "BYTES",
        })
    }
}
