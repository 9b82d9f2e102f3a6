//! One value of a row as bytes: what distinct values are told apart by, and what is hashed.
//!
//! Layout: booleans 1 byte; `BIGINT`, `TIMESTAMP`, `INTERVAL` and `DOUBLE` 8 bytes, little-endian (`-0.0` as `0.0`);
//! `DECIMAL` 16 bytes; texts and byte strings as they are. Values of one type only are compared.

use crate::query::sql_type::SqlType;
use crate::query::vector::Vector;

/// Calls `with` with the bytes of a value that is not NULL.
pub(super) fn with_bytes<R>(vector: &Vector<'_>, row: usize, with: impl FnOnce(&[u8]) -> R) -> R {
    match vector.sql_type() {
        SqlType::Boolean => with(&[u8::from(vector.booleans().get(row))]),
        SqlType::BigInt | SqlType::Timestamp | SqlType::Interval => {
            with(&vector.integers().get(row).to_le_bytes())
        }
        // The sum makes a negative zero positive.
        SqlType::Double => with(&(vector.doubles().get(row) + 0.0).to_bits().to_le_bytes()),
        SqlType::Decimal => with(&vector.decimals().get(row).to_le_bytes()),
        SqlType::String => with(vector.text(row).as_bytes()),
        SqlType::Bytes => with(vector.blob(row)),
    }
}
