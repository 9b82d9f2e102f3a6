//! Encoding: a row of columns as the line a sink writes, without its end.
//!
//! | value       | `json`                                   | `csv`            | `text`, `template`               |
//! |-------------|------------------------------------------|------------------|----------------------------------|
//! | NULL        | `null`                                   | empty            | `NULL`                           |
//! | `BOOLEAN`   | `true`, `false`                          | the same         | the same                         |
//! | `BIGINT`, `DECIMAL`, `INTERVAL` (ms) | digits          | the same         | the same                         |
//! | `DOUBLE`    | shortest that is read back, 21.0 as such | the same         | the same                         |
//! | `TIMESTAMP` | `"2026-11-22T10:00:00.000Z"`             | without quotes   | without quotes                   |
//! | `STRING`    | with JSON's escapes                      | quoted if needed | as it is, line ends as blanks    |
//! | `BYTES`     | hexadecimal digits in quotes             | without quotes   | without quotes                   |
//!
//! A `csv` text is quoted when it is empty (NULL is not), begins or ends with a blank, or has the delimiter, a quote or
//! a line end in it; so are `BYTES` that are none. A row is made of texts known beforehand and values between them, whatever the format; a row
//! allocates nothing beyond the line.

use std::io::Write as _;

use super::csv::delimiter_byte;
use super::template::Template;
use crate::query::column::{Column, Values};
use crate::query::sql_type::SqlType;
use crate::query::timestamp::TimestampText;

/// How a sink's lines are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OutputFormat {
    /// An object, its members in the order of the columns.
    Json,
    /// Columns between delimiters, with quotes as in RFC 4180.
    Csv { delimiter: char },
    /// Columns separated by a blank.
    Text,
    /// A text with `{column}` in it.
    Template(String),
}

/// How single values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Json,
    Csv { delimiter: u8 },
    Plain,
}

/// Writes rows as lines.
#[derive(Debug)]
pub(crate) struct RowEncoder {
    style: Style,
    /// Each value, by its column, with the text before it.
    values: Vec<(String, usize)>,
    tail: String,
}

impl RowEncoder {
    /// An encoder of rows of columns with these names and types, which are equally many.
    ///
    /// # Errors
    /// A template that is wrong, a delimiter that cannot be one, two JSON members of one name.
    pub(crate) fn new(format: OutputFormat, names: &[String], types: &[SqlType]) -> Result<Self, String> {
        if names.len() != types.len() {
            return Err(format!("{} names of columns for {} columns", names.len(), types.len()));
        }
        let separated = |separator: char| -> Vec<(String, usize)> {
            let text_before = |index| if index == 0 { String::new() } else { separator.to_string() };
            (0..names.len()).map(|index| (text_before(index), index)).collect()
        };
        Ok(match format {
            OutputFormat::Json => json_encoder(names)?,
            OutputFormat::Csv { delimiter } => Self {
                style: Style::Csv { delimiter: delimiter_byte(delimiter)? },
                values: separated(delimiter),
                tail: String::new(),
            },
            OutputFormat::Text => Self { style: Style::Plain, values: separated(' '), tail: String::new() },
            OutputFormat::Template(text) => {
                let template = Template::parse(&text, names)?;
                Self { style: Style::Plain, values: template.columns, tail: template.tail }
            }
        })
    }

    /// Appends the line of a row to `out`. The columns are those the encoder was made for.
    pub(crate) fn encode(&self, columns: &[Column], row: usize, out: &mut Vec<u8>) {
        for (before, column) in &self.values {
            out.extend_from_slice(before.as_bytes());
            self.style.write(&columns[*column], row, out);
        }
        out.extend_from_slice(self.tail.as_bytes());
    }
}

fn json_encoder(names: &[String]) -> Result<RowEncoder, String> {
    let mut values = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        if names[..index].contains(name) {
            return Err(format!("two columns are named {name}: give one of them another name with AS"));
        }
        let before = if index == 0 { '{' } else { ',' };
        values.push((format!("{before}{}:", serde_json::Value::from(name.as_str())), index));
    }
    let tail = if names.is_empty() { "{}" } else { "}" };
    Ok(RowEncoder { style: Style::Json, values, tail: tail.to_owned() })
}

impl Style {
    #[inline]
    fn write(self, column: &Column, row: usize, out: &mut Vec<u8>) {
        if column.is_null(row) {
            out.extend_from_slice(self.null());
            return;
        }
        match &column.values {
            Values::Boolean(values) => out.extend_from_slice(if values[row] { b"true" } else { b"false" }),
            Values::BigInt(values) if column.sql_type == SqlType::Timestamp => {
                self.write_between_quotes(out, |out| {
                    out.extend_from_slice(TimestampText::new().of(values[row]).as_bytes());
                });
            }
            Values::BigInt(values) => {
                out.extend_from_slice(itoa::Buffer::new().format(values[row]).as_bytes());
            }
            Values::Decimal(values) => {
                out.extend_from_slice(itoa::Buffer::new().format(values[row]).as_bytes());
            }
            Values::Double(values) => {
                serde_json::to_writer(out, &values[row]).expect("a vector takes every byte");
            }
            Values::String(texts) => self.write_text(texts.get(row), out),
            Values::Bytes(blobs) if blobs.get(row).is_empty() && matches!(self, Self::Csv { .. }) => {
                out.extend_from_slice(b"\"\"");
            }
            Values::Bytes(blobs) => self.write_between_quotes(out, |out| {
                for byte in blobs.get(row) {
                    write!(out, "{byte:02x}").expect("a vector takes every byte");
                }
            }),
        }
    }

    fn null(self) -> &'static [u8] {
        match self {
            Self::Json => b"null",
            Self::Csv { .. } => b"",
            Self::Plain => b"NULL",
        }
    }

    /// Writes what needs no escapes, in quotes where the format has texts in quotes.
    #[inline]
    fn write_between_quotes(self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        if self == Self::Json {
            out.push(b'"');
            write(out);
            out.push(b'"');
        } else {
            write(out);
        }
    }

    #[inline]
    fn write_text(self, text: &str, out: &mut Vec<u8>) {
        match self {
            Self::Json => serde_json::to_writer(out, text).expect("a vector takes every byte"),
            Self::Csv { delimiter } => write_csv_text(text, delimiter, out),
            Self::Plain => {
                let is_line_end = |byte: u8| byte == b'\n' || byte == b'\r';
                out.extend(text.bytes().map(|byte| if is_line_end(byte) { b' ' } else { byte }));
            }
        }
    }
}

fn write_csv_text(text: &str, delimiter: u8, out: &mut Vec<u8>) {
    let is_special = |byte: u8| byte == delimiter || matches!(byte, b'"' | b'\r' | b'\n');
    let is_blank_outside = text.starts_with([' ', '\t']) || text.ends_with([' ', '\t']);
    if !text.is_empty() && !is_blank_outside && !text.bytes().any(is_special) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    for (index, piece) in text.split('"').enumerate() {
        out.extend_from_slice(if index == 0 { b"" } else { b"\"\"" });
        out.extend_from_slice(piece.as_bytes());
    }
    out.push(b'"');
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
