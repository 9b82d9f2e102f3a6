//! A source as queries see it.

use super::column::Column;
use super::datum::Datum;
use super::format::{Decoder, FieldPath, FieldSpec, Format, TimestampUnit};
use super::schema::{Origin, Schema, SchemaColumn};
use super::sql_type::SqlType;

/// A clock that stands before this was never set: 2025-01-01 00:00:00 UTC, in milliseconds.
const CLOCK_SET_MS: i64 = 1_735_689_600_000;

/// A source of rows.
#[derive(Debug, Clone)]
pub(crate) struct QuerySource {
    pub(crate) name: String,
    pub(crate) schema: Schema,
    pub(crate) format: Format,
    /// The schema's columns that come from the frame, in their order.
    pub(crate) fields: Vec<FieldSpec>,
    /// Event time further ahead of the clock is rejected, in milliseconds.
    pub(crate) max_ahead_ms: Option<i64>,
    /// A source without rows for so long does not hold the watermark back, in milliseconds.
    pub(crate) idle_ms: Option<i64>,
    /// The input ends.
    pub(crate) is_file: bool,
}

impl QuerySource {
    /// A source whose columns are found by their names.
    pub(crate) fn new(name: &str, schema: Schema, format: Format) -> Self {
        let is_of_frame = |column: &&SchemaColumn| matches!(column.origin, Origin::Frame);
        let field = |column: &SchemaColumn| FieldSpec {
            not_null: column.is_required,
            ..FieldSpec::new(&column.name, column.sql_type)
        };
        let fields = schema.columns.iter().filter(is_of_frame).map(field).collect();
        Self {
            name: name.to_owned(),
            schema,
            format,
            fields,
            max_ahead_ms: None,
            idle_ms: None,
            is_file: false,
        }
    }

    /// Has the column `column` come from `path` of the frame. False when no column of that name comes from the frame.
    pub(crate) fn set_path(&mut self, column: &str, path: FieldPath) -> bool {
        let field = self.fields.iter_mut().find(|field| field.name == column);
        field.is_some_and(|field| {
            field.path = path;
            true
        })
    }

    /// Its columns, for people.
    pub(crate) fn describe(&self) -> String {
        let mut text = format!("source {}\n", self.name);
        for column in &self.schema.columns {
            let from = match &column.origin {
                Origin::Frame => String::new(),
                Origin::Metadata(metadata) => format!(" from the metadata '{metadata}'"),
                Origin::Computed(expression) => format!(" = {}", expression.text),
            };
            text.push_str(&format!("  {} {}{from}\n", column.name, column.sql_type));
        }
        if let Some(watermark) = &self.schema.watermark {
            let name = &self.schema.columns[watermark.column].name;
            text.push_str(&format!(
                "  event time {name}, rows up to {} ms out of order\n",
                watermark.delay_ms
            ));
        }
        text
    }

    /// What a number in the place of a timestamp counts.
    pub(crate) fn set_timestamp_unit(&mut self, unit: TimestampUnit) {
        let instants = self.fields.iter_mut().filter(|field| field.sql_type == SqlType::Timestamp);
        instants.for_each(|field| field.timestamp_unit = unit);
    }

    /// The latest event time of the rows of a frame; none when it has no rows, or the source no event time that comes from the frame.
    pub(crate) fn event_time(&self, decoder: &mut Decoder, frame: &str, now_ms: i64) -> Option<i64> {
        let watermark = self.schema.watermark.as_ref()?;
        let name = &self.schema.columns[watermark.column].name;
        let at = self.fields.iter().position(|field| field.name == *name)?;
        let mut columns: Vec<Column> = self.fields.iter().map(|field| Column::new(field.sql_type)).collect();
        let rows = decoder.decode(frame, now_ms, &mut columns).ok()?;
        let times = (0..rows as usize).filter_map(|row| match columns[at].datum(row) {
            Datum::Timestamp(time) => Some(time),
            _ => None,
        });
        times.max()
    }

    /// The latest event time a row may have when the clock says `now`. A clock that was never set says nothing about rows: a board
    /// without a battery for it begins in 1970.
    pub(crate) fn latest(&self, now: i64) -> i64 {
        match self.max_ahead_ms {
            Some(ahead) if now >= CLOCK_SET_MS => now.saturating_add(ahead),
            _ => i64::MAX,
        }
    }

    /// A decoder of its frames.
    ///
    /// # Errors
    /// A schema that does not go with the format.
    pub(crate) fn decoder(&self) -> Result<Decoder, String> {
        Decoder::new(self.format.clone(), &self.fields)
    }
}
