//! The decoder of a source's frames: one of the formats, and what they have in common.

use super::csv::{CsvDecoder, CsvFormat};
use super::field::{FieldSpec, FieldType};
use super::json::JsonDecoder;
use super::row_sink::RowSink;
use super::senml::SenmlDecoder;
use super::text;
use crate::metrics::RejectCause;
use crate::query::column::Column;
use crate::query::sql_type::SqlType;

/// How a source's frames are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Format {
    /// An object, or an array of objects.
    Json,
    /// Columns between delimiters, with quotes as in RFC 4180.
    Csv(CsvFormat),
    /// Columns between blanks.
    Text,
    /// A JSON pack of RFC 8428.
    Senml,
    /// The frame itself.
    Raw,
}

/// Appends the rows of frames to the columns of the fields.
#[derive(Debug)]
pub(crate) struct Decoder {
    types: Vec<FieldType>,
    format: FormatDecoder,
}

#[derive(Debug)]
enum FormatDecoder {
    Json(JsonDecoder),
    Csv(CsvDecoder),
    Text,
    Senml(SenmlDecoder),
    Raw,
}

impl Decoder {
    /// A decoder of frames of `format` into columns of `fields`.
    ///
    /// # Errors
    /// A field the format does not have, or that has another type there; two fields in one place.
    pub(crate) fn new(format: Format, fields: &[FieldSpec]) -> Result<Self, String> {
        fields.iter().try_for_each(FieldSpec::check_type)?;
        let decoder = match format {
            Format::Json => FormatDecoder::Json(JsonDecoder::new(fields)?),
            Format::Csv(csv) => FormatDecoder::Csv(CsvDecoder::new(&csv, fields)?),
            Format::Text => FormatDecoder::Text,
            Format::Senml => FormatDecoder::Senml(SenmlDecoder::new(fields)?),
            Format::Raw => {
                check_raw(fields)?;
                FormatDecoder::Raw
            }
        };
        Ok(Self { types: fields.iter().map(FieldSpec::field_type).collect(), format: decoder })
    }

    /// Appends the rows of a frame to `columns`, which are the fields' in their order and all of one length; gives the
    /// number of rows. With an error the columns are as before.
    ///
    /// # Errors
    /// Why the frame is refused.
    #[inline]
    pub(crate) fn decode(
        &mut self,
        frame: &str,
        received_ms: i64,
        columns: &mut [Column],
    ) -> Result<u32, RejectCause> {
        let len = columns.first().map_or(0, Column::len);
        let sink = RowSink::new(columns, &self.types);
        let decoded = match &mut self.format {
            FormatDecoder::Json(json) => json.decode(frame, sink),
            FormatDecoder::Csv(csv) => csv.decode(frame, sink),
            FormatDecoder::Text => text::decode(frame, sink),
            FormatDecoder::Senml(senml) => senml.decode(frame, received_ms, sink),
            FormatDecoder::Raw => decode_raw(frame, sink),
        };
        decoded.map_err(|cause| {
            columns.iter_mut().for_each(|column| column.truncate(len));
            let is_blank = frame.bytes().all(|byte| byte.is_ascii_whitespace());
            if is_blank { RejectCause::EMPTY } else { cause }
        })
    }
}

fn check_raw(fields: &[FieldSpec]) -> Result<(), String> {
    match fields {
        [] => Ok(()),
        [field] if matches!(field.sql_type, SqlType::String | SqlType::Bytes) => Ok(()),
        [field] => Err(format!(
            "column {} is {}: the format raw gives the whole frame as STRING or BYTES",
            field.name, field.sql_type
        )),
        [_, second, ..] => {
            Err(format!("column {}: the format raw has one column, the whole frame", second.name))
        }
    }
}

fn decode_raw(frame: &str, mut sink: RowSink<'_>) -> Result<u32, RejectCause> {
    if sink.fields() > 0 {
        sink.push_raw(0, frame)?;
    }
    sink.end_row()?;
    Ok(1)
}
