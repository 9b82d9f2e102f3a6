//! The key of a row: the columns of its group, encoded.
//!
//! Column by column: 0 for NULL; else 1 and the value, `BOOLEAN` as a byte, `BIGINT`, `TIMESTAMP` and `INTERVAL` as a zigzag varint,
//! `DECIMAL` and `DOUBLE` as their bytes, little-endian (-0.0 as 0.0), `STRING` and `BYTES` as their length, a varint, and their bytes. Part of
//! the on-disk contract: saved state is found again by it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::column::{Column, Values};
use super::sql_type::SqlType;
use crate::state::key::{KeyEncoder, KeyHash, KeyTooLong, hash_encoded};

/// Longest key that lies inside the value, in bytes.
const INLINE_BYTES: usize = 22;

/// The encoded columns of a group.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct GroupKey(Repr);

#[derive(Clone, PartialEq, Eq)]
enum Repr {
    /// Behind `length` the bytes are zeros, so that keys are compared without looking at it.
    Inline {
        length: u8,
        bytes: [u8; INLINE_BYTES],
    },
    Spilled(Box<[u8]>),
}

impl GroupKey {
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { length, bytes } => &bytes[..usize::from(*length)],
            Repr::Spilled(bytes) => bytes,
        }
    }

    /// Appends the values to `columns`, one to each.
    ///
    /// # Panics
    /// When the columns are not of the types the key was made of: state is checked against the plan before it is opened.
    pub(crate) fn push_to(&self, columns: &mut [Column]) {
        let mut rest = self.bytes();
        for column in columns {
            read(&mut rest, column).expect("a key was encoded from columns of these types");
        }
    }
}

impl From<&[u8]> for GroupKey {
    #[inline]
    fn from(bytes: &[u8]) -> Self {
        if bytes.len() > INLINE_BYTES {
            return Self(Repr::Spilled(bytes.into()));
        }
        let mut inline = [0; INLINE_BYTES];
        inline[..bytes.len()].copy_from_slice(bytes);
        Self(Repr::Inline { length: bytes.len() as u8, bytes: inline })
    }
}

impl fmt::Debug for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.bytes().escape_ascii())
    }
}

impl Serialize for GroupKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.bytes())
    }
}

impl<'de> Deserialize<'de> for GroupKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl serde::de::Visitor<'_> for KeyVisitor {
            type Value = GroupKey;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the bytes of a key")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<GroupKey, E> {
                Ok(GroupKey::from(bytes))
            }
        }
        deserializer.deserialize_bytes(KeyVisitor)
    }
}

/// Puts keys together, value by value; one per subtask, reused for every row.
#[derive(Debug, Default)]
pub(crate) struct GroupKeyBuilder {
    /// A byte for the length, then the values.
    bytes: Vec<u8>,
}

impl GroupKeyBuilder {
    /// Begins a key.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.push(0);
    }

    /// Appends the value of `column` in `row`.
    #[inline]
    pub(crate) fn append(&mut self, column: &Column, row: usize) {
        append(column, row, &mut self.bytes);
    }

    /// The key so far, encoded.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(1..).unwrap_or_default()
    }

    /// Ends the key; returns it and its hash.
    ///
    /// # Errors
    /// The key is longer than keys may be.
    #[inline]
    pub(crate) fn end(&mut self, encoder: &mut KeyEncoder) -> Result<(GroupKey, KeyHash), KeyTooLong> {
        let length = self.bytes().len();
        if length > INLINE_BYTES {
            let key = GroupKey::from(self.bytes());
            let hash = encoder.hash(&key)?;
            return Ok((key, hash));
        }
        // Its encoded form is its length, one byte of a varint, and its bytes.
        self.bytes[0] = length as u8;
        let hash = hash_encoded(&self.bytes);
        // As many zeros as are needed at most, so that what is copied is of one length always.
        self.bytes.extend_from_slice(&[0; INLINE_BYTES]);
        let mut bytes = [0; INLINE_BYTES];
        bytes.copy_from_slice(&self.bytes[1..=INLINE_BYTES]);
        self.bytes.truncate(1 + length);
        Ok((GroupKey(Repr::Inline { length: length as u8, bytes }), hash))
    }
}

/// Appends the encoded value of `column` in `row`.
#[inline]
fn append(column: &Column, row: usize, out: &mut Vec<u8>) {
    if column.is_null(row) {
        out.push(0);
        return;
    }
    out.push(1);
    match &column.values {
        Values::Boolean(values) => out.push(u8::from(values[row])),
        Values::BigInt(values) => {
            let value = values[row];
            append_varint(((value << 1) ^ (value >> 63)).cast_unsigned(), out);
        }
        Values::Decimal(values) => out.extend_from_slice(&values[row].to_le_bytes()),
        // A sum with 0.0 turns -0.0 into it.
        Values::Double(values) => out.extend_from_slice(&(values[row] + 0.0).to_le_bytes()),
        Values::String(texts) => append_bytes(texts.get(row).as_bytes(), out),
        Values::Bytes(blobs) => append_bytes(blobs.get(row), out),
    }
}

#[inline]
fn append_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    append_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

#[inline]
fn append_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn read(rest: &mut &[u8], column: &mut Column) -> Option<()> {
    let (is_there, behind) = rest.split_first()?;
    *rest = behind;
    if *is_there == 0 {
        column.push_null();
        return Some(());
    }
    match (&mut column.values, column.sql_type) {
        (Values::Boolean(values), _) => values.push(take::<1>(rest)? != [0]),
        (Values::BigInt(values), _) => {
            let value = read_varint(rest)?;
            values.push((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
        (Values::Decimal(values), _) => values.push(i128::from_le_bytes(take(rest)?)),
        (Values::Double(values), _) => values.push(f64::from_le_bytes(take(rest)?)),
        (Values::String(texts), _) => texts.push(std::str::from_utf8(read_bytes(rest)?).ok()?),
        (Values::Bytes(blobs), SqlType::Bytes) => blobs.push(read_bytes(rest)?),
        (Values::Bytes(_), _) => return None,
    }
    column.pushed();
    Some(())
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(*bytes)
}

fn read_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(read_varint(rest)?).ok()?;
    let (bytes, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(bytes)
}

fn read_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let [byte] = take::<1>(rest)?;
        value |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::datum::Datum;

    #[test]
    fn what_is_encoded_is_read_again() {
        let rows = [
            vec![Datum::Null, Datum::BigInt(i64::MIN), Datum::String("ä".into()), Datum::Double(-1.5)],
            vec![Datum::Boolean(true), Datum::BigInt(300), Datum::String("x".repeat(40).into()), Datum::Null],
        ];
        let types = [SqlType::Boolean, SqlType::BigInt, SqlType::String, SqlType::Double];
        let mut columns: Vec<Column> = types.iter().map(|sql_type| Column::new(*sql_type)).collect();
        for row in &rows {
            columns.iter_mut().zip(row).for_each(|(column, datum)| column.push(datum));
        }
        let mut read: Vec<Column> = types.iter().map(|sql_type| Column::new(*sql_type)).collect();
        for row in 0..rows.len() {
            let mut bytes = Vec::new();
            columns.iter().for_each(|column| append(column, row, &mut bytes));
            let key = GroupKey::from(bytes.as_slice());
            let saved = postcard::to_allocvec(&key).unwrap();
            assert_eq!(postcard::from_bytes::<GroupKey>(&saved).unwrap(), key);
            key.push_to(&mut read);
        }
        for (row, datums) in rows.iter().enumerate() {
            let again: Vec<Datum> = read.iter().map(|column| column.datum(row)).collect();
            assert_eq!(&again, datums);
        }
    }

    #[test]
    fn a_key_that_is_put_together_is_the_key_of_its_bytes() {
        let mut texts = Column::new(SqlType::String);
        for length in [0, 1, 19, 20, 21, 22, 125, 126, 127, 128, 253, 300, 3] {
            texts.push(&Datum::String("x".repeat(length).into()));
        }
        let (mut builder, mut encoder) = (GroupKeyBuilder::default(), KeyEncoder::new());
        for row in 0..texts.len() {
            let mut bytes = Vec::new();
            append(&texts, row, &mut bytes);
            let key = GroupKey::from(bytes.as_slice());
            builder.clear();
            builder.append(&texts, row);
            let put_together = builder.end(&mut encoder);
            assert_eq!(builder.bytes(), bytes);
            assert_eq!(put_together, encoder.hash(&key).map(|hash| (key.clone(), hash)));
            assert_eq!(key.bytes(), bytes);
        }
    }

    #[test]
    fn the_form_is_pinned_because_saved_state_is_found_by_it() {
        let mut name = Column::new(SqlType::String);
        name.push(&Datum::String("s1".into()));
        let mut number = Column::new(SqlType::BigInt);
        number.push(&Datum::BigInt(-2));
        let mut bytes = Vec::new();
        append(&name, 0, &mut bytes);
        append(&number, 0, &mut bytes);
        assert_eq!(bytes, [1, 2, b's', b'1', 1, 3]);
        assert_eq!(size_of::<GroupKey>(), 24);
    }
}
