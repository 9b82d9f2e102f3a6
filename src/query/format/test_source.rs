//! A source for tests: frames in, rows of single values out.

use super::decoder::{Decoder, Format};
use super::field::FieldSpec;
use crate::metrics::RejectCause;
use crate::query::column::Column;
use crate::query::datum::Datum;
use crate::query::sql_type::SqlType;

/// When every frame is received: 2026-11-22T10:00:00.000Z.
pub(super) const RECEIVED_MS: i64 = 1_795_341_600_000;

pub(super) struct TestSource {
    decoder: Decoder,
    pub(super) columns: Vec<Column>,
}

impl TestSource {
    pub(super) fn new(format: Format, fields: &[FieldSpec]) -> Self {
        let columns = fields.iter().map(|field| Column::new(field.sql_type)).collect();
        Self { decoder: Decoder::new(format, fields).unwrap(), columns }
    }

    /// Decodes behind what is there; checks that a refused frame leaves nothing.
    pub(super) fn decode(&mut self, frame: &str) -> Result<u32, RejectCause> {
        let before = self.columns.first().map_or(0, Column::len);
        let result = self.decoder.decode(frame, RECEIVED_MS, &mut self.columns);
        let rows = result.unwrap_or(0) as usize;
        for column in &self.columns {
            assert_eq!(column.len(), before + rows, "{frame:?}");
            assert!(column.nulls.is_empty() || column.nulls.len() == column.len(), "{frame:?}");
        }
        result
    }

    /// The rows of one frame; they are taken out again.
    pub(super) fn rows(&mut self, frame: &str) -> Result<Vec<Vec<Datum>>, RejectCause> {
        let before = self.columns.first().map_or(0, Column::len);
        let rows = self.decode(frame)? as usize;
        let data = (before..before + rows)
            .map(|row| self.columns.iter().map(|column| column.datum(row)).collect())
            .collect();
        self.columns.iter_mut().for_each(|column| column.truncate(before));
        Ok(data)
    }
}

/// Fields with a name, a path and a type each.
pub(super) fn fields(specs: &[(&str, &str, SqlType)]) -> Vec<FieldSpec> {
    specs
        .iter()
        .map(|(name, path, sql_type)| FieldSpec {
            path: super::path::FieldPath::parse(path).unwrap(),
            ..FieldSpec::new(name, *sql_type)
        })
        .collect()
}

pub(super) fn text(text: &str) -> Datum {
    Datum::String(text.into())
}
