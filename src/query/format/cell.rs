//! Cells: the text of one column of a line as a value of the column's type.
//!
//! | type        | text                                                                                    |
//! |-------------|-----------------------------------------------------------------------------------------|
//! | `BOOLEAN`   | `true`, `false`, in any case                                                            |
//! | `BIGINT`    | digits with an optional sign                                                            |
//! | `DECIMAL`   | the same, 38 digits; more of them as far as 128 bits hold                               |
//! | `DOUBLE`    | digits with an optional sign, fraction, exponent; `inf` and `NaN` are refused           |
//! | `TIMESTAMP` | a number of the field's unit, or a text as in [`timestamp`](crate::query::timestamp)    |
//! | `STRING`    | as it is                                                                                |
//! | `BYTES`     | hexadecimal digits, two a byte                                                          |

use super::cause;
use super::field::TimestampUnit;
use crate::metrics::RejectCause;
use crate::query::column::{Blobs, Column, Values};
use crate::query::sql_type::SqlType;
use crate::query::timestamp::{TimestampError, parse_timestamp};
use crate::stream::Column as _;

/// Digits that fit an `i64` whatever they are.
const SAFE_DIGITS: usize = 18;

/// Appends the value of a text to a column. With an error nothing is appended.
#[inline]
pub(super) fn push(column: &mut Column, unit: TimestampUnit, text: &str) -> Result<(), RejectCause> {
    match &mut column.values {
        Values::BigInt(values) if column.sql_type == SqlType::BigInt => values.push(bigint(text)?),
        Values::BigInt(values) => values.push(timestamp(unit, text)?),
        Values::Double(values) => values.push(f64::from_column(text)?),
        Values::String(texts) => texts.push(text),
        Values::Boolean(values) => values.push(boolean(text)?),
        Values::Decimal(values) => values.push(decimal(text)?),
        Values::Bytes(blobs) => push_hex(blobs, text)?,
    }
    column.pushed();
    Ok(())
}

#[inline]
fn bigint(text: &str) -> Result<i64, RejectCause> {
    short_integer(text).map_or_else(|| i64::from_column(text), Ok)
}

/// A short integer in one pass over its bytes, or nothing: then it is read with every check.
#[inline]
fn short_integer(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    if digits.is_empty() || digits.len() > SAFE_DIGITS {
        return None;
    }
    let mut number = 0;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number * 10 + i64::from(digit);
    }
    Some(if digits.len() < bytes.len() { -number } else { number })
}

/// An integer of 128 bits.
pub(super) fn decimal(text: &str) -> Result<i128, RejectCause> {
    i128::from_column(text)
}

fn boolean(text: &str) -> Result<bool, RejectCause> {
    if text.eq_ignore_ascii_case("true") {
        Ok(true)
    } else if text.eq_ignore_ascii_case("false") {
        Ok(false)
    } else {
        Err(cause::WRONG_TYPE)
    }
}

fn timestamp(unit: TimestampUnit, text: &str) -> Result<i64, RejectCause> {
    match bigint(text) {
        Ok(number) => unit.ms_of_integer(number),
        Err(RejectCause::OVERFLOW) => Err(RejectCause::OVERFLOW),
        Err(_) => match f64::from_column(text) {
            Ok(number) => unit.ms_of_double(number),
            Err(RejectCause::OVERFLOW) => Err(RejectCause::OVERFLOW),
            Err(_) => timestamp_of_text(text),
        },
    }
}

/// The timestamp a text is.
#[inline]
pub(super) fn timestamp_of_text(text: &str) -> Result<i64, RejectCause> {
    parse_timestamp(text).map_err(|error| match error {
        TimestampError::OutOfRange => RejectCause::OVERFLOW,
        TimestampError::Malformed { .. } | TimestampError::NoSuch { .. } => cause::INVALID_TIMESTAMP,
    })
}

/// Appends the bytes of hexadecimal digits.
pub(super) fn push_hex(blobs: &mut Blobs, text: &str) -> Result<(), RejectCause> {
    let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|nibble| u8::try_from(nibble).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return Err(cause::INVALID_BYTES);
    }
    let blob: Option<Vec<u8>> =
        pairs.iter().map(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?)).collect();
    blobs.push(&blob.ok_or(cause::INVALID_BYTES)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::datum::Datum;

    fn read(sql_type: SqlType, text: &str) -> Result<Datum, RejectCause> {
        let mut column = Column::new(sql_type);
        let result = push(&mut column, TimestampUnit::Seconds, text);
        assert_eq!(column.len(), usize::from(result.is_ok()));
        result.map(|()| column.datum(0))
    }

    #[test]
    fn texts_are_read_by_type() {
        for (sql_type, text, datum) in [
            (SqlType::Boolean, "True", Datum::Boolean(true)),
            (SqlType::Boolean, "false", Datum::Boolean(false)),
            (SqlType::BigInt, "-0", Datum::BigInt(0)),
            (SqlType::BigInt, "+7", Datum::BigInt(7)),
            (SqlType::BigInt, "-999999999999999999", Datum::BigInt(-999_999_999_999_999_999)),
            (SqlType::BigInt, "9223372036854775807", Datum::BigInt(i64::MAX)),
            (SqlType::BigInt, "-9223372036854775808", Datum::BigInt(i64::MIN)),
            (SqlType::BigInt, "00000000000000000000001", Datum::BigInt(1)),
            (SqlType::Decimal, "170141183460469231731687303715884105727", Datum::Decimal(i128::MAX)),
            (SqlType::Double, "1e-3", Datum::Double(0.001)),
            (SqlType::Double, "7", Datum::Double(7.0)),
            (SqlType::Timestamp, "7", Datum::Timestamp(7_000)),
            (SqlType::Timestamp, "-1.0005", Datum::Timestamp(-1_001)),
            (SqlType::Timestamp, "1970-01-01T00:00:01Z", Datum::Timestamp(1_000)),
            (SqlType::String, " a ", Datum::String(" a ".into())),
            (SqlType::Bytes, "00fF", Datum::Bytes([0, 255].into())),
            (SqlType::Bytes, "", Datum::Bytes([].into())),
        ] {
            assert_eq!(read(sql_type, text), Ok(datum), "{sql_type} {text:?}");
        }
    }

    #[test]
    fn wrong_texts_have_their_causes() {
        for (sql_type, text, cause) in [
            (SqlType::Boolean, "1", cause::WRONG_TYPE),
            (SqlType::BigInt, "", RejectCause::NOT_A_NUMBER),
            (SqlType::BigInt, "-", RejectCause::NOT_A_NUMBER),
            (SqlType::BigInt, "1.0", RejectCause::NOT_A_NUMBER),
            (SqlType::BigInt, "9223372036854775808", RejectCause::OVERFLOW),
            (SqlType::Decimal, "170141183460469231731687303715884105728", RejectCause::OVERFLOW),
            (SqlType::Double, "1e400", RejectCause::OVERFLOW),
            (SqlType::Double, "NaN", RejectCause::NOT_A_NUMBER),
            (SqlType::Double, "-inf", RejectCause::NOT_A_NUMBER),
            (SqlType::Double, "x", RejectCause::NOT_A_NUMBER),
            (SqlType::Timestamp, "x", cause::INVALID_TIMESTAMP),
            (SqlType::Timestamp, "NaN", cause::INVALID_TIMESTAMP),
            (SqlType::Timestamp, "9223372036854775807", RejectCause::OVERFLOW),
            (SqlType::Timestamp, "1e300", RejectCause::OVERFLOW),
            (SqlType::Timestamp, "9999-12-31T23:59:59-01:00", RejectCause::OVERFLOW),
            (SqlType::Bytes, "0", cause::INVALID_BYTES),
            (SqlType::Bytes, "0g", cause::INVALID_BYTES),
            (SqlType::Bytes, "é", cause::INVALID_BYTES),
        ] {
            assert_eq!(read(sql_type, text), Err(cause), "{sql_type} {text:?}");
        }
    }
}
