//! The `text` format: a line of columns separated by runs of blanks (spaces and tabs), in the order of the fields.
//!
//! There is no NULL and there are no quotes: a text with a blank in it, also a timestamp, is two columns. A schema
//! without fields takes any line.

use super::row_sink::RowSink;
use crate::metrics::RejectCause;

/// Appends the row of a line.
#[inline]
pub(super) fn decode(line: &str, mut sink: RowSink<'_>) -> Result<u32, RejectCause> {
    let mut rest = line;
    for field in 0..sink.fields() {
        let start = rest.bytes().position(|byte| !is_blank(byte)).ok_or(RejectCause::MISSING_COLUMN)?;
        rest = &rest[start..];
        let end = rest.bytes().position(is_blank).unwrap_or(rest.len());
        sink.push_cell(field, &rest[..end])?;
        rest = &rest[end..];
    }
    if sink.fields() > 0 && !rest.bytes().all(is_blank) {
        return Err(RejectCause::EXTRA_COLUMN);
    }
    sink.end_row()?;
    Ok(1)
}

#[inline]
fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}
