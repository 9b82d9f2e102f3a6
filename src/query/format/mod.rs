//! Formats: the frames of sources to rows of columns, and rows to the lines of sinks.
//!
//! A source's schema names the columns that come from the frame ([`FieldSpec`]: name, place, type, NOT NULL). A
//! [`Decoder`] is made once per subtask and source and appends the rows of one frame to those columns, one per field
//! and in their order. A frame is taken whole or not at all: with an error nothing of it is left in any column.
//!
//! | format  | rows of a frame                          | a field's place              | NULL                     |
//! |---------|------------------------------------------|------------------------------|--------------------------|
//! | `json`  | 1; of an array of objects one each       | path: `data.temp`, `values[0]` | missing member, `null` |
//! | `csv`   | 1; 0 for a line that is the header       | position, or header name     | empty and not quoted     |
//! | `text`  | 1                                        | position                     | –                        |
//! | `senml` | one per record of the pack               | the names of [`senml`]       | what the record lacks    |
//! | `raw`   | 1                                        | the only field               | –                        |
//!
//! Causes a frame is refused for, besides those every source has (`empty`, `missing-column`, `extra-column`,
//! `not-a-number`, `overflow`), are in [`cause`].
//!
//! Limits: 4,096 rows of a frame ([`FRAME_ROWS_MAX`]); JSON nested 127 deep; the bytes of a frame are the source's.

mod cell;
mod csv;
mod decoder;
mod encode;
mod field;
mod json;
mod path;
mod path_tree;
mod row_sink;
mod senml;
mod senml_record;
mod template;
mod text;

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod speed_tests;
#[cfg(test)]
mod test_source;

pub(crate) use csv::CsvFormat;
pub(crate) use decoder::{Decoder, Format};
pub(crate) use encode::{OutputFormat, RowEncoder};
pub(crate) use field::{FieldSpec, TimestampUnit};
pub(crate) use path::FieldPath;

/// Most rows of one frame.
pub(crate) const FRAME_ROWS_MAX: u32 = 4_096;

/// Causes of refused frames that are the formats'.
pub(crate) mod cause {
    use crate::metrics::RejectCause;

    /// NULL, or nothing, for a field that is NOT NULL.
    pub(crate) const NULL_NOT_ALLOWED: RejectCause = RejectCause::new("null-not-allowed");
    /// A value of another type than the field's.
    pub(crate) const WRONG_TYPE: RejectCause = RejectCause::new("wrong-type");
    /// A member that a field is read from is there twice in one object.
    pub(crate) const DUPLICATE_KEY: RejectCause = RejectCause::new("duplicate-key");
    /// The frame is not JSON, or nested too deep.
    pub(crate) const INVALID_JSON: RejectCause = RejectCause::new("invalid-json");
    /// A quote that is not closed, or with text around it.
    pub(crate) const INVALID_CSV: RejectCause = RejectCause::new("invalid-csv");
    /// A text that is no timestamp.
    pub(crate) const INVALID_TIMESTAMP: RejectCause = RejectCause::new("invalid-timestamp");
    /// A text that is no hexadecimal digits of whole bytes.
    pub(crate) const INVALID_BYTES: RejectCause = RejectCause::new("invalid-bytes");
    /// More rows than a frame may have.
    pub(crate) const TOO_MANY_ROWS: RejectCause = RejectCause::new("too-many-rows");
    /// A SenML pack that breaks RFC 8428 otherwise: version, name, number of values, unknown mandatory label.
    pub(crate) const INVALID_SENML: RejectCause = RejectCause::new("invalid-senml");
}
