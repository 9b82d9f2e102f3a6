//! Columns of a line, separated by blanks, and the types read from them.

use crate::metrics::RejectCause;
use crate::state::TextKey;

/// The columns of a line not read yet.
#[derive(Debug, Clone)]
pub struct Columns<'a> {
    line: &'a str,
    /// First byte not read yet; never inside a character.
    position: usize,
}

impl<'a> Columns<'a> {
    /// The columns of `line`: runs of anything but blanks (spaces and tabs).
    #[inline]
    pub fn new(line: &'a str) -> Self {
        Self { line, position: 0 }
    }

    /// The next column.
    ///
    /// # Errors
    /// [`RejectCause::MISSING_COLUMN`] when there is none.
    #[inline]
    pub fn next_column(&mut self) -> Result<&'a str, RejectCause> {
        let rest = &self.line[self.position..];
        let start = rest.bytes().position(|byte| !is_blank(byte)).ok_or(RejectCause::MISSING_COLUMN)?;
        let column = &rest[start..];
        let length = column.bytes().position(is_blank).unwrap_or(column.len());
        self.position += start + length;
        Ok(&column[..length])
    }

    /// True when only blanks are left.
    #[inline]
    fn is_blank(&self) -> bool {
        self.line.as_bytes().get(self.position..).is_none_or(|rest| rest.iter().all(|byte| is_blank(*byte)))
    }
}

#[inline]
fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// A type that one column is read as.
pub trait Column: Sized {
    /// Reads a column.
    ///
    /// # Errors
    /// The cause the line is rejected for.
    fn from_column(column: &str) -> Result<Self, RejectCause>;

    /// Reads the next column of a line. A type that can find the column's end while it reads overrides this.
    ///
    /// # Errors
    /// The cause the line is rejected for.
    #[inline]
    fn read(columns: &mut Columns<'_>) -> Result<Self, RejectCause> {
        Self::from_column(columns.next_column()?)
    }
}

/// Digits that fit an `i64` whatever they are.
const SAFE_DIGITS: usize = 18;

impl Columns<'_> {
    /// Reads a short integer in one pass over its bytes, or nothing: then it is read with every check.
    #[inline(always)]
    fn short_integer(&mut self) -> Option<i64> {
        let bytes = self.line.as_bytes();
        let mut at = self.position;
        while bytes.get(at).is_some_and(|byte| is_blank(*byte)) {
            at += 1;
        }
        let is_negative = bytes.get(at) == Some(&b'-');
        at += usize::from(is_negative);
        let start = at;
        let mut number = 0i64;
        while let Some(byte) = bytes.get(at) {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                if is_blank(*byte) {
                    break;
                }
                return None;
            }
            // Wraps only when there are too many digits, which is looked at behind the loop.
            number = number.wrapping_mul(10).wrapping_add(i64::from(digit));
            at += 1;
        }
        if at == start || at - start > SAFE_DIGITS {
            return None;
        }
        self.position = at;
        Some(if is_negative { -number } else { number })
    }
}

#[cold]
fn read_checked<T: Column>(columns: &mut Columns<'_>) -> Result<T, RejectCause> {
    T::from_column(columns.next_column()?)
}

macro_rules! integer_column {
    ($($integer:ty),*) => {$(
        impl Column for $integer {
            #[inline]
            fn from_column(column: &str) -> Result<Self, RejectCause> {
                use std::num::IntErrorKind;
                column.parse().map_err(|error: std::num::ParseIntError| match error.kind() {
                    IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => RejectCause::OVERFLOW,
                    _ => RejectCause::NOT_A_NUMBER,
                })
            }

            #[inline(always)]
            fn read(columns: &mut Columns<'_>) -> Result<Self, RejectCause> {
                let position = columns.position;
                if let Some(short) = columns.short_integer().and_then(|short| short.try_into().ok()) {
                    return Ok(short);
                }
                columns.position = position;
                read_checked(columns)
            }
        }
    )*};
}

integer_column!(i8, i16, i32, i64, i128, u8, u16, u32, u64, u128);

impl Column for f64 {
    /// Reads a finite number: `inf` and `NaN` are rejected, one of them would spoil an aggregate for ever.
    fn from_column(column: &str) -> Result<Self, RejectCause> {
        let number: f64 = column.parse().map_err(|_| RejectCause::NOT_A_NUMBER)?;
        if number.is_finite() {
            Ok(number)
        } else if column.bytes().any(|byte| byte.is_ascii_digit()) {
            Err(RejectCause::OVERFLOW)
        } else {
            Err(RejectCause::NOT_A_NUMBER)
        }
    }
}

impl Column for String {
    fn from_column(column: &str) -> Result<Self, RejectCause> {
        Ok(column.to_owned())
    }
}

impl Column for TextKey {
    fn from_column(column: &str) -> Result<Self, RejectCause> {
        Ok(Self::from(column))
    }
}

/// A record read from a whole line: a tuple with a [`Column`] for each column.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be read from the columns of a line",
    note = "`parse` reads tuples of numbers and text, such as `parse::<(i64, f64)>()`",
    note = "for other records use `try_map(|line| …)`"
)]
pub trait FromColumns: Sized {
    /// Reads all columns of a line.
    ///
    /// # Errors
    /// The cause the line is rejected for.
    fn from_columns(columns: &mut Columns<'_>) -> Result<Self, RejectCause>;
}

macro_rules! tuple_columns {
    ($($column:ident)+) => {
        impl<$($column: Column),+> FromColumns for ($($column,)+) {
            #[inline]
            fn from_columns(columns: &mut Columns<'_>) -> Result<Self, RejectCause> {
                if columns.is_blank() {
                    return Err(RejectCause::EMPTY);
                }
                let record = ($($column::read(columns)?,)+);
                if columns.is_blank() { Ok(record) } else { Err(RejectCause::EXTRA_COLUMN) }
            }
        }
    };
}

tuple_columns!(A);
tuple_columns!(A B);
tuple_columns!(A B C);
tuple_columns!(A B C D);
tuple_columns!(A B C D E);
tuple_columns!(A B C D E F);

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(line: &str) -> Result<(i64, i64), RejectCause> {
        FromColumns::from_columns(&mut Columns::new(line))
    }

    #[test]
    fn blanks_separate_and_surround() {
        for line in ["1 3", "1\t3", "  1   3  ", "\t1 \t 3\t", "+1 3", "01 3"] {
            assert_eq!(pair(line), Ok((1, 3)), "{line:?}");
        }
        assert_eq!(pair("-9223372036854775808 9223372036854775807"), Ok((i64::MIN, i64::MAX)));
    }

    #[test]
    fn the_one_pass_reading_agrees_with_the_standard_librarys() {
        for text in [
            "0",
            "-0",
            "-1",
            "999999999999999999",
            "-999999999999999999",
            "1000000000000000000",
            "-",
            "+5",
            "--1",
            "1-",
            "0x1",
            "",
            "9223372036854775807",
            "-9223372036854775808",
            "9223372036854775808",
            "00000000000000000000001",
        ] {
            let read = i64::read(&mut Columns::new(text));
            assert_eq!(read.ok(), text.parse().ok(), "{text:?}");
            // The standard library refuses "-0" as an unsigned number; here it is 0 whatever the type.
            let unsigned = if text == "-0" { Ok(0) } else { text.parse() };
            assert_eq!(u8::read(&mut Columns::new(text)).ok(), unsigned.ok(), "{text:?} as u8");
        }
    }

    #[test]
    fn every_fault_has_its_cause() {
        for (line, cause) in [
            ("", RejectCause::EMPTY),
            (" \t", RejectCause::EMPTY),
            ("1", RejectCause::MISSING_COLUMN),
            ("1 2 3", RejectCause::EXTRA_COLUMN),
            ("1 x", RejectCause::NOT_A_NUMBER),
            ("1 1.5", RejectCause::NOT_A_NUMBER),
            ("1 -", RejectCause::NOT_A_NUMBER),
            ("1\u{a0}2", RejectCause::NOT_A_NUMBER),
            ("9223372036854775808 1", RejectCause::OVERFLOW),
            ("1 -9223372036854775809", RejectCause::OVERFLOW),
        ] {
            assert_eq!(pair(line), Err(cause), "{line:?}");
        }
        assert_eq!(f64::from_column("1e400"), Err(RejectCause::OVERFLOW));
        assert_eq!(f64::from_column("NaN"), Err(RejectCause::NOT_A_NUMBER));
        assert_eq!(f64::from_column("inf"), Err(RejectCause::NOT_A_NUMBER));
    }
}
