//! The `senml` format: JSON packs of RFC 8428, a row for each record, with its base values resolved.
//!
//! The fields there are, by name (or by a path of one member, when the column is named otherwise):
//!
//! | field           | type           | from                                                                       |
//! |-----------------|----------------|----------------------------------------------------------------------------|
//! | `name`          | `STRING`       | `bn` and `n` joined; letters, digits and `-:./_`, a letter or digit first  |
//! | `unit`          | `STRING`       | `u`, else `bu`                                                             |
//! | `value`         | `DOUBLE`       | `bv` + `v`, where there is `v`                                             |
//! | `string_value`  | `STRING`       | `vs`                                                                       |
//! | `boolean_value` | `BOOLEAN`      | `vb`                                                                       |
//! | `data`          | `STRING`       | `vd`, base64url as it came                                                 |
//! | `sum`           | `DOUBLE`       | `bs` + `s`, where there is `s`                                             |
//! | `time`          | `TIMESTAMP(3)` | `bt` + `t` in seconds; below 2^28 relative to when the frame was received  |
//! | `update_time`   | `DOUBLE`       | `ut`, in seconds                                                           |
//!
//! A record has one value at most, and none only beside a sum; one that sets base values and nothing else gives no row.
//! Labels that are not known are skipped, but one that ends with `_` refuses the pack, as does a version above 10. The
//! order of a pack's records is kept.
//!
//! Limits: as of `json`; 4,096 records of a pack, those without a row among them.

use std::borrow::Cow;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::field::{FieldSpec, is_timestamp, nearest_ms};
use super::json::cause_of;
use super::row_sink::RowSink;
use super::senml_record::Record;
use super::{FRAME_ROWS_MAX, cause};
use crate::metrics::RejectCause;
use crate::query::sql_type::SqlType;

/// Times from here on are seconds since 1970, those below relative to now: RFC 8428, section 4.5.3.
const ABSOLUTE_TIME_MIN_SECONDS: f64 = 268_435_456.0;
/// The newest version of the data model that is understood.
const VERSION_MAX: f64 = 10.0;

/// A field of a resolved record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SenmlField {
    Name,
    Unit,
    Value,
    StringValue,
    BooleanValue,
    Data,
    Sum,
    Time,
    UpdateTime,
}

/// The fields there are.
const FIELDS: [(&str, SqlType, SenmlField); 9] = [
    ("name", SqlType::String, SenmlField::Name),
    ("unit", SqlType::String, SenmlField::Unit),
    ("value", SqlType::Double, SenmlField::Value),
    ("string_value", SqlType::String, SenmlField::StringValue),
    ("boolean_value", SqlType::Boolean, SenmlField::BooleanValue),
    ("data", SqlType::String, SenmlField::Data),
    ("sum", SqlType::Double, SenmlField::Sum),
    ("time", SqlType::Timestamp, SenmlField::Time),
    ("update_time", SqlType::Double, SenmlField::UpdateTime),
];

/// Decodes SenML packs.
#[derive(Debug)]
pub(super) struct SenmlDecoder {
    fields: Vec<SenmlField>,
}

impl SenmlDecoder {
    pub(super) fn new(fields: &[FieldSpec]) -> Result<Self, String> {
        fields.iter().map(senml_field).collect::<Result<_, _>>().map(|fields| Self { fields })
    }

    /// Appends the rows of a pack that was received at `received_ms`.
    pub(super) fn decode(
        &mut self,
        frame: &str,
        received_ms: i64,
        sink: RowSink<'_>,
    ) -> Result<u32, RejectCause> {
        let mut pack = Pack {
            fields: &self.fields,
            received_ms,
            sink,
            base: Base::default(),
            records: 0,
            rows: 0,
            cause: None,
        };
        let mut parser = serde_json::Deserializer::from_str(frame);
        let parsed = parser.deserialize_any(PackVisitor { pack: &mut pack });
        match parsed.and_then(|()| parser.end()) {
            Ok(()) => Ok(pack.rows),
            Err(error) => Err(pack.cause.unwrap_or_else(|| cause_of(&error, frame))),
        }
    }
}

fn senml_field(field: &FieldSpec) -> Result<SenmlField, String> {
    let known = || FIELDS.map(|(name, sql_type, _)| format!("{name} {sql_type}")).join(", ");
    let Some((name, sql_type, senml_field)) =
        FIELDS.into_iter().find(|(name, ..)| field.path.only_member() == Some(name))
    else {
        return Err(format!("column {}: senml has no {}: there are {}", field.name, field.path, known()));
    };
    if sql_type != field.sql_type {
        return Err(format!("column {}: {name} of senml is {sql_type}, not {}", field.name, field.sql_type));
    }
    Ok(senml_field)
}

/// Base values, as the records so far have set them.
#[derive(Default)]
struct Base<'de> {
    name: Cow<'de, str>,
    unit: Option<Cow<'de, str>>,
    time: f64,
    value: f64,
    sum: f64,
}

/// The rows of one pack on their way into the columns.
struct Pack<'a, 'de> {
    fields: &'a [SenmlField],
    received_ms: i64,
    sink: RowSink<'a>,
    base: Base<'de>,
    records: u32,
    rows: u32,
    /// Why the pack is refused, when it was not the parser that found it.
    cause: Option<RejectCause>,
}

impl<'de> Pack<'_, 'de> {
    #[cold]
    fn refuse<E: serde::de::Error>(&mut self, cause: RejectCause) -> E {
        self.cause = Some(cause);
        E::custom(cause.as_str())
    }

    fn add(&mut self, mut record: Record<'de>) -> Result<(), RejectCause> {
        self.records += 1;
        if self.records > FRAME_ROWS_MAX {
            return Err(cause::TOO_MANY_ROWS);
        }
        if record.version.is_some_and(|version| !(1.0..=VERSION_MAX).contains(&version)) {
            return Err(cause::INVALID_SENML);
        }
        self.take_base(&mut record);
        if record.is_base_only() {
            return Ok(());
        }
        if record.values() > 1 || (record.values() == 0 && record.sum.is_none()) {
            return Err(cause::INVALID_SENML);
        }
        self.check_name(record.name.as_deref().unwrap_or_default())?;
        for (index, field) in self.fields.iter().enumerate() {
            self.push(index, *field, &record)?;
        }
        self.sink.end_row()?;
        self.rows += 1;
        Ok(())
    }

    fn take_base(&mut self, record: &mut Record<'de>) {
        if let Some(name) = record.base_name.take() {
            self.base.name = name;
        }
        if let Some(unit) = record.base_unit.take() {
            self.base.unit = Some(unit);
        }
        self.base.time = record.base_time.unwrap_or(self.base.time);
        self.base.value = record.base_value.unwrap_or(self.base.value);
        self.base.sum = record.base_sum.unwrap_or(self.base.sum);
    }

    fn check_name(&self, name: &str) -> Result<(), RejectCause> {
        let mut bytes = self.base.name.bytes().chain(name.bytes());
        let is_name = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric())
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"-:./_".contains(&byte));
        if is_name { Ok(()) } else { Err(cause::INVALID_SENML) }
    }

    fn push(&mut self, index: usize, field: SenmlField, record: &Record<'de>) -> Result<(), RejectCause> {
        let unit = record.unit.as_deref().or(self.base.unit.as_deref());
        match field {
            SenmlField::Name => {
                let (base, name) = (&self.base.name, record.name.as_deref().unwrap_or_default());
                self.sink.push_text_with(index, |text| {
                    text.push_str(base);
                    text.push_str(name);
                })
            }
            SenmlField::Unit => push_text(&mut self.sink, index, unit),
            SenmlField::StringValue => push_text(&mut self.sink, index, record.string_value.as_deref()),
            SenmlField::Data => push_text(&mut self.sink, index, record.data.as_deref()),
            SenmlField::BooleanValue => match record.boolean_value {
                Some(value) => self.sink.push_boolean(index, value),
                None => self.sink.push_null(index),
            },
            SenmlField::Value => push_sum(&mut self.sink, index, self.base.value, record.value),
            SenmlField::Sum => push_sum(&mut self.sink, index, self.base.sum, record.sum),
            SenmlField::UpdateTime => push_sum(&mut self.sink, index, 0.0, record.update_time),
            SenmlField::Time => {
                let ms = self.time_ms(record.time)?;
                self.sink.push_timestamp_ms(index, ms)
            }
        }
    }

    /// The instant of a record with this time.
    fn time_ms(&self, time: Option<f64>) -> Result<i64, RejectCause> {
        let seconds = self.base.time + time.unwrap_or(0.0);
        let ms = nearest_ms(seconds * 1e3)?;
        if seconds < ABSOLUTE_TIME_MIN_SECONDS {
            let ms = self.received_ms.saturating_add(ms);
            if is_timestamp(ms) { Ok(ms) } else { Err(RejectCause::OVERFLOW) }
        } else {
            Ok(ms)
        }
    }
}

fn push_text(sink: &mut RowSink<'_>, index: usize, text: Option<&str>) -> Result<(), RejectCause> {
    match text {
        Some(text) => sink.push_string(index, text),
        None => sink.push_null(index),
    }
}

fn push_sum(sink: &mut RowSink<'_>, index: usize, base: f64, number: Option<f64>) -> Result<(), RejectCause> {
    match number.map(|number| base + number) {
        Some(sum) if sum.is_finite() => sink.push_double(index, sum),
        Some(_) => Err(RejectCause::OVERFLOW),
        None => sink.push_null(index),
    }
}

/// Reads a pack.
struct PackVisitor<'r, 'a, 'de> {
    pack: &'r mut Pack<'a, 'de>,
}

impl<'de> Visitor<'de> for PackVisitor<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(RecordSeed { pack: &mut *self.pack })?.is_some() {}
        Ok(())
    }
}

/// Reads a record of a pack.
struct RecordSeed<'r, 'a, 'de> {
    pack: &'r mut Pack<'a, 'de>,
}

impl<'de> DeserializeSeed<'de> for RecordSeed<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for RecordSeed<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a record")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let record = Record::read(map)?;
        record.and_then(|record| self.pack.add(record)).map_err(|cause| self.pack.refuse(cause))
    }
}

#[cfg(test)]
#[path = "senml_tests.rs"]
mod tests;
