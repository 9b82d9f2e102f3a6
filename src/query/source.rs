//! A source as queries see it.

use super::format::{Decoder, FieldSpec, Format};
use super::schema::{Origin, Schema, SchemaColumn};

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
        Self { name: name.to_owned(), schema, format, fields, max_ahead_ms: None, idle_ms: None, is_file: false }
    }

    /// A decoder of its frames.
    ///
    /// # Errors
    /// A schema that does not go with the format.
    pub(crate) fn decoder(&self) -> Result<Decoder, String> {
        Decoder::new(self.format.clone(), &self.fields)
    }
}
