//! The `json` format: an object, or an array of objects with a row each.
//!
//! One pass over the text: the parser calls back with each value, the tree of the fields' paths says which field's it
//! is, and it goes into that field's column at once. What no path leads to is parsed and dropped.
//!
//! | field       | JSON value                                                                                     |
//! |-------------|------------------------------------------------------------------------------------------------|
//! | `BOOLEAN`   | `true`, `false`                                                                                |
//! | `BIGINT`    | an integer of 64 bits; with a fraction or exponent `wrong-type`, from ±2^63 on `overflow`      |
//! | `DECIMAL`   | an integer within -2^63..2^64, wider ones as a text of digits                                  |
//! | `DOUBLE`    | any number                                                                                     |
//! | `STRING`    | a text                                                                                         |
//! | `TIMESTAMP` | a number of the field's unit, or a text as in [`timestamp`](crate::query::timestamp)           |
//! | `BYTES`     | a text of hexadecimal digits                                                                   |
//!
//! A member that is not there and `null` are NULL, on the way to the field too. A value in the place of an object or
//! array that a path goes through is `wrong-type`. A member that a path goes through, or ends at, may be there once.
//!
//! Limits: values nested 127 deep, of skipped members too; numbers within the doubles (1e400 is `overflow`, in skipped
//! members too). A text with an escape and a `BYTES` value cost an allocation, nothing else does
//! in a frame that is taken.

use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;

use super::field::FieldSpec;
use super::path_tree::{ObjectNode, PathNode, PathTree};
use super::row_sink::RowSink;
use super::{FRAME_ROWS_MAX, cause};
use crate::metrics::RejectCause;

/// Decodes JSON frames.
#[derive(Debug)]
pub(super) struct JsonDecoder {
    tree: PathTree,
    /// For each member of the tree the number of the row it was seen in last.
    marks: Vec<u64>,
    /// Number of the row at hand, from 1.
    row: u64,
}

impl JsonDecoder {
    pub(super) fn new(fields: &[FieldSpec]) -> Result<Self, String> {
        let tree = PathTree::new(fields)?;
        Ok(Self { marks: vec![0; tree.marks], tree, row: 0 })
    }

    /// Appends the rows of a frame.
    #[inline]
    pub(super) fn decode(&mut self, frame: &str, sink: RowSink<'_>) -> Result<u32, RejectCause> {
        let mut rows = Rows { sink, marks: &mut self.marks, row: &mut self.row, count: 0, cause: None };
        let mut parser = serde_json::Deserializer::from_str(frame);
        let parsed = parser.deserialize_any(FrameVisitor { object: &self.tree.root, rows: &mut rows });
        match parsed.and_then(|()| parser.end()) {
            Ok(()) => Ok(rows.count),
            Err(error) => Err(rows.cause.unwrap_or_else(|| cause_of(&error, frame))),
        }
    }
}

/// The cause of what the parser itself found.
#[cold]
pub(super) fn cause_of(error: &serde_json::Error, frame: &str) -> RejectCause {
    match error.classify() {
        Category::Data => cause::WRONG_TYPE,
        Category::Syntax if is_at_large_number(error, frame) => RejectCause::OVERFLOW,
        Category::Syntax | Category::Eof | Category::Io => cause::INVALID_JSON,
    }
}

/// True when the parser stopped at a number too large for a double: it does so at its last digit or right behind it.
fn is_at_large_number(error: &serde_json::Error, frame: &str) -> bool {
    let is_of_number = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E');
    let line = frame.split('\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let bytes = line.as_bytes();
    let places = (0..=2).filter_map(|back| error.column().checked_sub(back));
    let Some(at) = places.into_iter().find(|at| bytes.get(*at).is_some_and(is_of_number)) else {
        return false;
    };
    let start = bytes[..at].iter().rposition(|byte| !is_of_number(byte)).map_or(0, |before| before + 1);
    let end =
        bytes[at..].iter().position(|byte| !is_of_number(byte)).map_or(bytes.len(), |length| at + length);
    let number = line.get(start..end).and_then(|number| number.parse::<f64>().ok());
    number.is_some_and(f64::is_infinite)
}

/// The rows of one frame on their way into the columns.
struct Rows<'a> {
    sink: RowSink<'a>,
    marks: &'a mut [u64],
    row: &'a mut u64,
    /// Rows done.
    count: u32,
    /// Why the frame is refused, when it was not the parser that found it.
    cause: Option<RejectCause>,
}

impl Rows<'_> {
    /// Ends parsing when there is a cause.
    #[inline]
    fn check<E: serde::de::Error>(&mut self, result: Result<(), RejectCause>) -> Result<(), E> {
        result.map_err(|cause| self.refuse(cause))
    }

    #[cold]
    fn refuse<E: serde::de::Error>(&mut self, cause: RejectCause) -> E {
        self.cause = Some(cause);
        E::custom(cause.as_str())
    }

    /// Reads an object as a row.
    #[inline]
    fn read_row<'de, A: MapAccess<'de>>(&mut self, object: &ObjectNode, map: A) -> Result<(), A::Error> {
        if self.count == FRAME_ROWS_MAX {
            return Err(self.refuse(cause::TOO_MANY_ROWS));
        }
        *self.row += 1;
        self.read_members(object, map)?;
        let ended = self.sink.end_row();
        self.check(ended)?;
        self.count += 1;
        Ok(())
    }

    #[inline]
    fn read_members<'de, A: MapAccess<'de>>(
        &mut self,
        object: &ObjectNode,
        mut map: A,
    ) -> Result<(), A::Error> {
        let mut expected = 0;
        while let Some(found) = map.next_key_seed(KeySeed { object, expected })? {
            let Some(index) = found else {
                map.next_value::<Skipped>()?;
                continue;
            };
            expected = index + 1;
            let member = &object.members[index];
            if std::mem::replace(&mut self.marks[member.mark], *self.row) == *self.row {
                return Err(self.refuse(cause::DUPLICATE_KEY));
            }
            map.next_value_seed(NodeSeed { node: &member.node, rows: self })?;
        }
        Ok(())
    }
}

/// What a visitor says it expected, for messages nobody sees: the cause is what is reported.
macro_rules! expecting {
    ($what:literal) => {
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str($what)
        }
    };
}

/// Reads a frame.
struct FrameVisitor<'n, 'r, 'a> {
    object: &'n ObjectNode,
    rows: &'r mut Rows<'a>,
}

impl<'de> Visitor<'de> for FrameVisitor<'_, '_, '_> {
    type Value = ();
    expecting!("an object or an array of objects");

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        self.rows.read_row(self.object, map)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(RowSeed { object: self.object, rows: &mut *self.rows })?.is_some() {}
        Ok(())
    }
}

/// Reads an object of the array a frame is.
struct RowSeed<'n, 'r, 'a> {
    object: &'n ObjectNode,
    rows: &'r mut Rows<'a>,
}

impl<'de> DeserializeSeed<'de> for RowSeed<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_, '_, '_> {
    type Value = ();
    expecting!("an object");

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        self.rows.read_row(self.object, map)
    }
}

/// Reads the name of a member: its index, or none when nothing wants it.
struct KeySeed<'n> {
    object: &'n ObjectNode,
    expected: usize,
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = Option<usize>;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = Option<usize>;
    expecting!("a member's name");

    #[inline]
    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.object.find(name, self.expected))
    }
}

/// Reads a value that fields want something of. Recursion ends where the paths end, or with the parser's limit.
struct NodeSeed<'n, 'r, 'a> {
    node: &'n PathNode,
    rows: &'r mut Rows<'a>,
}

impl<'de> DeserializeSeed<'de> for NodeSeed<'_, '_, '_> {
    type Value = ();

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.node {
            PathNode::Field(field) => {
                deserializer.deserialize_any(FieldVisitor { field: *field, rows: self.rows })
            }
            PathNode::Object(_) | PathNode::Array(_) => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for NodeSeed<'_, '_, '_> {
    type Value = ();
    expecting!("the object or array a path goes through");

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        match self.node {
            PathNode::Object(object) => self.rows.read_members(object, map),
            PathNode::Array(_) | PathNode::Field(_) => Err(self.rows.refuse(cause::WRONG_TYPE)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let PathNode::Array(elements) = self.node else {
            return Err(self.rows.refuse(cause::WRONG_TYPE));
        };
        let mut position = 0;
        for (index, node) in elements {
            while position < *index {
                if seq.next_element::<Skipped>()?.is_none() {
                    return Ok(());
                }
                position += 1;
            }
            if seq.next_element_seed(NodeSeed { node, rows: &mut *self.rows })?.is_none() {
                return Ok(());
            }
            position += 1;
        }
        while seq.next_element::<Skipped>()?.is_some() {}
        Ok(())
    }
}

/// Reads the value of a field.
struct FieldVisitor<'r, 'a> {
    field: usize,
    rows: &'r mut Rows<'a>,
}

impl FieldVisitor<'_, '_> {
    #[inline]
    fn push<E: serde::de::Error>(
        self,
        push: impl FnOnce(&mut RowSink<'_>, usize) -> Result<(), RejectCause>,
    ) -> Result<(), E> {
        let pushed = push(&mut self.rows.sink, self.field);
        self.rows.check(pushed)
    }
}

impl<'de> Visitor<'de> for FieldVisitor<'_, '_> {
    type Value = ();
    expecting!("the value of a field");

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.push(|sink, field| sink.push_boolean(field, value))
    }

    #[inline]
    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.push(|sink, field| sink.push_integer(field, value))
    }

    #[inline]
    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.push(|sink, field| match i64::try_from(value) {
            Ok(value) => sink.push_integer(field, value),
            Err(_) => sink.push_large_integer(field, value),
        })
    }

    #[inline]
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.push(|sink, field| sink.push_double(field, value))
    }

    #[inline]
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.push(|sink, field| sink.push_string(field, text))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.push(|sink, field| sink.push_null(field))
    }
}

/// A value nothing wants: parsed with every check, the limit of depth among them, and dropped.
pub(super) struct Skipped;

impl<'de> Deserialize<'de> for Skipped {
    #[inline]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Skipped {
    type Value = Self;
    expecting!("any value");

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<Skipped, Skipped>()?.is_some() {}
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
        while seq.next_element::<Skipped>()?.is_some() {}
        Ok(self)
    }
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
