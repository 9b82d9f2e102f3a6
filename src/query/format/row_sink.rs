//! Where decoded values go: the columns of the fields, one value per field and row.
//!
//! A column that has a value more than the rows done so far has its value of the row at hand; the others get NULL when
//! the row ends. So a row may be filled in any order, and nothing is kept of it besides the columns.

use super::cause;
use super::cell;
use super::field::FieldType;
use crate::metrics::RejectCause;
use crate::query::column::{Column, Values};
use crate::query::sql_type::SqlType;

/// -2^63 and 2^63 as doubles. The parser gives -2^63 itself as an integer: a double of that value is one below it.
const I64_MIN: f64 = -9_223_372_036_854_775_808.0;
const I64_END: f64 = 9_223_372_036_854_775_808.0;

/// The columns a frame's rows are appended to.
pub(super) struct RowSink<'a> {
    columns: &'a mut [Column],
    types: &'a [FieldType],
    /// Rows of the columns, without the one at hand.
    len: usize,
    /// Fields that have their value of the row at hand.
    filled: usize,
}

impl<'a> RowSink<'a> {
    /// `columns` and `types` are the fields', in the same order.
    #[inline]
    pub(super) fn new(columns: &'a mut [Column], types: &'a [FieldType]) -> Self {
        let len = columns.first().map_or(0, Column::len);
        Self { columns, types, len, filled: 0 }
    }

    /// Number of fields.
    #[inline]
    pub(super) fn fields(&self) -> usize {
        self.columns.len()
    }

    /// The field's column, for its value of the row at hand.
    #[inline]
    fn column(&mut self, field: usize) -> &mut Column {
        self.filled += 1;
        &mut self.columns[field]
    }

    #[inline]
    pub(super) fn push_null(&mut self, field: usize) -> Result<(), RejectCause> {
        if self.types[field].not_null {
            return Err(cause::NULL_NOT_ALLOWED);
        }
        self.column(field).push_null();
        Ok(())
    }

    #[inline]
    pub(super) fn push_boolean(&mut self, field: usize, value: bool) -> Result<(), RejectCause> {
        let column = self.column(field);
        let Values::Boolean(values) = &mut column.values else { return Err(cause::WRONG_TYPE) };
        values.push(value);
        column.pushed();
        Ok(())
    }

    #[inline]
    pub(super) fn push_integer(&mut self, field: usize, value: i64) -> Result<(), RejectCause> {
        let unit = self.types[field].timestamp_unit;
        let column = self.column(field);
        match &mut column.values {
            Values::BigInt(values) if column.sql_type == SqlType::Timestamp => {
                values.push(unit.ms_of_integer(value)?);
            }
            Values::BigInt(values) => values.push(value),
            Values::Double(values) => values.push(value as f64),
            Values::Decimal(values) => values.push(i128::from(value)),
            _ => return Err(cause::WRONG_TYPE),
        }
        column.pushed();
        Ok(())
    }

    /// An integer from 2^63 on.
    #[cold]
    pub(super) fn push_large_integer(&mut self, field: usize, value: u64) -> Result<(), RejectCause> {
        let column = self.column(field);
        match &mut column.values {
            Values::BigInt(_) => return Err(RejectCause::OVERFLOW),
            Values::Double(values) => values.push(value as f64),
            Values::Decimal(values) => values.push(i128::from(value)),
            _ => return Err(cause::WRONG_TYPE),
        }
        column.pushed();
        Ok(())
    }

    /// A finite number with a fraction or an exponent, or an integer outside 64 bits.
    #[inline]
    pub(super) fn push_double(&mut self, field: usize, value: f64) -> Result<(), RejectCause> {
        let unit = self.types[field].timestamp_unit;
        let column = self.column(field);
        match &mut column.values {
            Values::Double(values) => values.push(value),
            Values::BigInt(values) if column.sql_type == SqlType::Timestamp => {
                values.push(unit.ms_of_double(value)?);
            }
            // The parser gives the integer "-0" as a double.
            Values::BigInt(values) if is_minus_zero(value) => values.push(0),
            Values::Decimal(values) if is_minus_zero(value) => values.push(0),
            Values::BigInt(_) | Values::Decimal(_) if value <= I64_MIN || value >= I64_END => {
                return Err(RejectCause::OVERFLOW);
            }
            _ => return Err(cause::WRONG_TYPE),
        }
        column.pushed();
        Ok(())
    }

    /// The text of a JSON string.
    #[inline]
    pub(super) fn push_string(&mut self, field: usize, text: &str) -> Result<(), RejectCause> {
        let column = self.column(field);
        match &mut column.values {
            Values::String(texts) => texts.push(text),
            Values::BigInt(values) if column.sql_type == SqlType::Timestamp => {
                values.push(cell::timestamp_of_text(text)?);
            }
            Values::Decimal(values) => values.push(cell::decimal(text)?),
            Values::Bytes(blobs) => cell::push_hex(blobs, text)?,
            _ => return Err(cause::WRONG_TYPE),
        }
        column.pushed();
        Ok(())
    }

    /// The text of a column of a line, whatever the field's type.
    #[inline]
    pub(super) fn push_cell(&mut self, field: usize, text: &str) -> Result<(), RejectCause> {
        let unit = self.types[field].timestamp_unit;
        cell::push(self.column(field), unit, text)
    }

    /// A field's text written piece by piece; the field is a `STRING`.
    #[inline]
    pub(super) fn push_text_with(
        &mut self,
        field: usize,
        write: impl FnOnce(&mut String),
    ) -> Result<(), RejectCause> {
        let column = self.column(field);
        let Values::String(texts) = &mut column.values else { return Err(cause::WRONG_TYPE) };
        texts.push_with(write);
        column.pushed();
        Ok(())
    }

    /// A timestamp that is in milliseconds whatever the field's unit.
    pub(super) fn push_timestamp_ms(&mut self, field: usize, ms: i64) -> Result<(), RejectCause> {
        let column = self.column(field);
        let Values::BigInt(values) = &mut column.values else { return Err(cause::WRONG_TYPE) };
        values.push(ms);
        column.pushed();
        Ok(())
    }

    /// The whole frame as `STRING` or `BYTES`.
    pub(super) fn push_raw(&mut self, field: usize, text: &str) -> Result<(), RejectCause> {
        let column = self.column(field);
        match &mut column.values {
            Values::String(texts) => texts.push(text),
            Values::Bytes(blobs) => blobs.push(text.as_bytes()),
            _ => return Err(cause::WRONG_TYPE),
        }
        column.pushed();
        Ok(())
    }

    /// Ends the row: fields without a value are NULL.
    #[inline]
    pub(super) fn end_row(&mut self) -> Result<(), RejectCause> {
        if self.filled < self.columns.len() {
            self.fill_with_null()?;
        }
        self.filled = 0;
        self.len += 1;
        Ok(())
    }

    fn fill_with_null(&mut self) -> Result<(), RejectCause> {
        for (column, field_type) in self.columns.iter_mut().zip(self.types) {
            if column.len() == self.len {
                if field_type.not_null {
                    return Err(cause::NULL_NOT_ALLOWED);
                }
                column.push_null();
            }
        }
        Ok(())
    }
}

fn is_minus_zero(value: f64) -> bool {
    value == 0.0 && value.is_sign_negative()
}
