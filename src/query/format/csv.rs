//! The `csv` format: one line of columns as in RFC 4180.
//!
//! A column is a run of characters without delimiter and quote, or anything between two quotes, where `""` is a quote;
//! a line end within quotes cannot be, as a frame is a line. A column that is empty and not quoted is NULL; `""` is the
//! empty text. Blanks belong to a `STRING`; around values of other types they are taken away.
//!
//! Columns are the fields in their order, or have the names of a header that is known beforehand: then a field takes
//! the column of its path's name, other columns are skipped, and a line that is the header itself gives no row. So
//! which rows a line gives never depends on the lines before it. The number of columns must be right.

use super::cause;
use super::field::FieldSpec;
use super::row_sink::RowSink;
use crate::metrics::RejectCause;
use crate::query::sql_type::SqlType;

/// The delimiter unless there is another.
pub(crate) const CSV_DELIMITER: char = ',';

/// How lines of a `csv` source are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CsvFormat {
    /// An ASCII character that is in no number and no timestamp, and not the quote or a line end.
    pub(crate) delimiter: char,
    /// The names of a line's columns; empty when they are the fields in their order.
    pub(crate) header: Vec<String>,
}

impl Default for CsvFormat {
    fn default() -> Self {
        Self { delimiter: CSV_DELIMITER, header: Vec::new() }
    }
}

/// The byte of a delimiter.
///
/// # Errors
/// When it cannot be one.
pub(super) fn delimiter_byte(delimiter: char) -> Result<u8, String> {
    u8::try_from(delimiter)
        .ok()
        .filter(|byte| byte.is_ascii() && !byte.is_ascii_alphanumeric() && !b"\"\r\n+-.:".contains(byte))
        .ok_or_else(|| {
            format!(
                "the delimiter {delimiter:?} cannot be one: write an ASCII sign such as \",\", \";\" or a tab"
            )
        })
}

/// What a column of a line is for.
#[derive(Debug, Clone, Copy)]
enum Target {
    Skipped,
    /// The field with this index, a `STRING`.
    Text(usize),
    /// The field with this index, of another type.
    Value(usize),
}

/// Decodes lines of delimited columns.
#[derive(Debug)]
pub(super) struct CsvDecoder {
    delimiter: u8,
    /// One per column of a line.
    targets: Vec<Target>,
    header: Vec<String>,
    /// The text of a column with doubled quotes.
    unquoted: String,
}

/// A column of a line.
enum Cell<'a> {
    Bare(&'a str),
    /// Between quotes, with every quote in it doubled.
    Quoted(&'a str),
}

impl CsvDecoder {
    pub(super) fn new(format: &CsvFormat, fields: &[FieldSpec]) -> Result<Self, String> {
        let target = |field: usize| match fields[field].sql_type {
            SqlType::String => Target::Text(field),
            _ => Target::Value(field),
        };
        let mut targets: Vec<Target> = (0..fields.len()).map(target).collect();
        if !format.header.is_empty() {
            targets = vec![Target::Skipped; format.header.len()];
            for (index, field) in fields.iter().enumerate() {
                let place = &mut targets[header_position(&format.header, field)?];
                if let Target::Text(other) | Target::Value(other) = place {
                    return Err(format!(
                        "columns {} and {} are both read from {}: declare one of them",
                        fields[*other].name, field.name, field.path
                    ));
                }
                *place = target(index);
            }
        }
        let delimiter = delimiter_byte(format.delimiter)?;
        Ok(Self { delimiter, targets, header: format.header.clone(), unquoted: String::new() })
    }

    /// Appends the row of a line.
    pub(super) fn decode(&mut self, line: &str, mut sink: RowSink<'_>) -> Result<u32, RejectCause> {
        if line.is_empty() {
            return Err(RejectCause::EMPTY);
        }
        if self.is_header(line) {
            return Ok(0);
        }
        let mut rest = Some(line);
        for target in &self.targets {
            let (cell, behind) = split_cell(rest.ok_or(RejectCause::MISSING_COLUMN)?, self.delimiter)?;
            rest = behind;
            let (field, is_text) = match *target {
                Target::Skipped => continue,
                Target::Text(field) => (field, true),
                Target::Value(field) => (field, false),
            };
            let text = match cell {
                Cell::Bare("") => {
                    sink.push_null(field)?;
                    continue;
                }
                Cell::Bare(text) => text,
                Cell::Quoted(text) => without_doubled_quotes(text, &mut self.unquoted),
            };
            sink.push_cell(field, if is_text { text } else { text.trim_matches([' ', '\t']) })?;
        }
        if rest.is_some() && !self.targets.is_empty() {
            return Err(RejectCause::EXTRA_COLUMN);
        }
        sink.end_row()?;
        Ok(1)
    }

    fn is_header(&mut self, line: &str) -> bool {
        let mut rest = Some(line);
        for name in &self.header {
            let Some(Ok((cell, behind))) = rest.map(|rest| split_cell(rest, self.delimiter)) else {
                return false;
            };
            let text = match cell {
                Cell::Bare(text) => text,
                Cell::Quoted(text) => without_doubled_quotes(text, &mut self.unquoted),
            };
            if text != name {
                return false;
            }
            rest = behind;
        }
        rest.is_none()
    }
}

fn header_position(header: &[String], field: &FieldSpec) -> Result<usize, String> {
    let names = header.join(", ");
    let name = field
        .path
        .only_member()
        .ok_or_else(|| format!("column {}: a path in csv is a header's name: {names}", field.name))?;
    let mut positions = header.iter().enumerate().filter(|(_, other)| *other == name).map(|(index, _)| index);
    match (positions.next(), positions.next()) {
        (Some(position), None) => Ok(position),
        (None, _) => Err(format!("column {}: no {name} in the header: there are {names}", field.name)),
        (Some(_), Some(_)) => Err(format!("column {}: {name} is in the header twice: {names}", field.name)),
    }
}

/// The first column of a rest of a line, and the rest behind its delimiter, when there is one.
#[inline]
fn split_cell(rest: &str, delimiter: u8) -> Result<(Cell<'_>, Option<&str>), RejectCause> {
    if rest.starts_with('"') {
        return split_quoted(rest, delimiter);
    }
    let end = rest.bytes().position(|byte| byte == delimiter || byte == b'"').unwrap_or(rest.len());
    let (cell, behind) = rest.split_at(end);
    match behind.as_bytes().first() {
        None => Ok((Cell::Bare(cell), None)),
        Some(byte) if *byte == delimiter => Ok((Cell::Bare(cell), Some(&behind[1..]))),
        Some(_) => Err(cause::INVALID_CSV),
    }
}

fn split_quoted(rest: &str, delimiter: u8) -> Result<(Cell<'_>, Option<&str>), RejectCause> {
    let bytes = rest.as_bytes();
    let mut at = 1;
    loop {
        at += memchr::memchr(b'"', &bytes[at..]).ok_or(cause::INVALID_CSV)?;
        match bytes.get(at + 1) {
            Some(b'"') => at += 2,
            None => return Ok((Cell::Quoted(&rest[1..at]), None)),
            Some(byte) if *byte == delimiter => {
                return Ok((Cell::Quoted(&rest[1..at]), Some(&rest[at + 2..])));
            }
            Some(_) => return Err(cause::INVALID_CSV),
        }
    }
}

fn without_doubled_quotes<'a>(text: &'a str, buffer: &'a mut String) -> &'a str {
    if !text.contains('"') {
        return text;
    }
    buffer.clear();
    for (index, piece) in text.split("\"\"").enumerate() {
        buffer.push_str(if index == 0 { "" } else { "\"" });
        buffer.push_str(piece);
    }
    buffer
}

#[cfg(test)]
#[path = "csv_tests.rs"]
mod tests;
