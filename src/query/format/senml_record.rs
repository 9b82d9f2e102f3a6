//! Records of SenML packs as they are written: RFC 8428, section 4.
//!
//! A label is there once; labels that are not known are skipped, but one that ends with `_` must be understood.

use std::borrow::Cow;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use super::cause;
use super::json::Skipped;
use crate::metrics::RejectCause;

/// A record as it is written.
#[derive(Default)]
pub(super) struct Record<'de> {
    pub(super) version: Option<f64>,
    pub(super) base_name: Option<Cow<'de, str>>,
    pub(super) base_unit: Option<Cow<'de, str>>,
    pub(super) base_time: Option<f64>,
    pub(super) base_value: Option<f64>,
    pub(super) base_sum: Option<f64>,
    pub(super) name: Option<Cow<'de, str>>,
    pub(super) unit: Option<Cow<'de, str>>,
    pub(super) value: Option<f64>,
    pub(super) string_value: Option<Cow<'de, str>>,
    pub(super) boolean_value: Option<bool>,
    pub(super) data: Option<Cow<'de, str>>,
    pub(super) sum: Option<f64>,
    pub(super) time: Option<f64>,
    pub(super) update_time: Option<f64>,
}

impl<'de> Record<'de> {
    /// Reads an object as a record; the cause is of what is JSON, but no record.
    pub(super) fn read<A: MapAccess<'de>>(mut map: A) -> Result<Result<Self, RejectCause>, A::Error> {
        let mut record = Self::default();
        while let Some(Text(label)) = map.next_key()? {
            let is_first = match &*label {
                "bver" => read(&mut map, &mut record.version)?,
                "bn" => read_text(&mut map, &mut record.base_name)?,
                "bu" => read_text(&mut map, &mut record.base_unit)?,
                "bt" => read(&mut map, &mut record.base_time)?,
                "bv" => read(&mut map, &mut record.base_value)?,
                "bs" => read(&mut map, &mut record.base_sum)?,
                "n" => read_text(&mut map, &mut record.name)?,
                "u" => read_text(&mut map, &mut record.unit)?,
                "v" => read(&mut map, &mut record.value)?,
                "vs" => read_text(&mut map, &mut record.string_value)?,
                "vb" => read(&mut map, &mut record.boolean_value)?,
                "vd" => read_text(&mut map, &mut record.data)?,
                "s" => read(&mut map, &mut record.sum)?,
                "t" => read(&mut map, &mut record.time)?,
                "ut" => read(&mut map, &mut record.update_time)?,
                label if label.ends_with('_') => return Ok(Err(cause::INVALID_SENML)),
                _ => map.next_value::<Skipped>().map(|_| true)?,
            };
            if !is_first {
                return Ok(Err(cause::DUPLICATE_KEY));
            }
        }
        Ok(Ok(record))
    }

    /// Number of its values; RFC 8428 allows one.
    pub(super) fn values(&self) -> usize {
        usize::from(self.value.is_some())
            + usize::from(self.string_value.is_some())
            + usize::from(self.boolean_value.is_some())
            + usize::from(self.data.is_some())
    }

    /// True when it only sets base values.
    pub(super) fn is_base_only(&self) -> bool {
        self.values() == 0
            && self.name.is_none()
            && self.unit.is_none()
            && self.sum.is_none()
            && self.time.is_none()
            && self.update_time.is_none()
    }
}

/// Reads a label's value; false when the label had one before.
fn read<'de, A: MapAccess<'de>, T: Deserialize<'de>>(
    map: &mut A,
    value: &mut Option<T>,
) -> Result<bool, A::Error> {
    let is_first = value.is_none();
    *value = Some(map.next_value()?);
    Ok(is_first)
}

fn read_text<'de, A: MapAccess<'de>>(
    map: &mut A,
    value: &mut Option<Cow<'de, str>>,
) -> Result<bool, A::Error> {
    let mut text = None;
    read::<A, Text<'de>>(map, &mut text)?;
    let is_first = value.is_none();
    *value = text.map(|Text(text)| text);
    Ok(is_first)
}

/// A text, borrowed from the frame unless it has escapes.
struct Text<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }
}
