//! The `text` format: a line of columns separated by runs of blanks (spaces and tabs), in the order of the fields.
//!
//! There is no NULL and there are no quotes: a text with a blank in it, also a timestamp, is two columns. A schema
//! without fields takes any line.

use super::row_sink::RowSink;
use crate::metrics::RejectCause;
use crate::stream::Columns;

/// Appends the row of a line.
#[inline]
pub(super) fn decode(line: &str, mut sink: RowSink<'_>) -> Result<u32, RejectCause> {
    let mut columns = Columns::new(line);
    for field in 0..sink.fields() {
        sink.push_cell(field, columns.next_column()?)?;
    }
    if sink.fields() > 0 && columns.next_column().is_ok() {
        return Err(RejectCause::EXTRA_COLUMN);
    }
    sink.end_row()?;
    Ok(1)
}
