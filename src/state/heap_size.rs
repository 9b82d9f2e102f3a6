//! How much a value points to: a serializer that adds up allocations instead of writing bytes.
//!
//! A value's own size is in its row; what it points to is not known to the type system. Serde walks it: a text, a
//! sequence and a map are one allocation or more each, with what they hold inside; anything else lies where its owner
//! lies. What cannot be seen that way is guessed low (boxes, spare capacity) or high (texts stored inline).

use std::any::Any;
use std::fmt;

use serde::ser::{self, Serialize};

use super::cell::{Element, List, Map, Single};
use super::descriptor::StateValue;
use super::key::TextKey;

/// Smallest block of glibc's allocator on 64-bit machines, in bytes.
const BLOCK_BYTES_MIN: usize = 32;
/// What the allocator adds to a block, in bytes.
const BLOCK_HEADER_BYTES: usize = 8;
/// Blocks are multiples of this, in bytes.
const BLOCK_STEP: usize = 16;
/// A pointer, a length and a capacity.
const HANDLE_BYTES: usize = 3 * size_of::<usize>();
/// Nodes of a tree, and hash tables, are two thirds full: an entry costs one and a half times itself, in halves.
const ENTRY_HALVES: usize = 3;

/// What the allocator takes for `bytes` bytes.
fn block(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        _ => (bytes + BLOCK_HEADER_BYTES).next_multiple_of(BLOCK_STEP).max(BLOCK_BYTES_MIN),
    }
}

/// Bytes `value` points to, without its own size.
pub(crate) fn pointed_to<T: Serialize + 'static>(value: &T) -> usize {
    if !std::mem::needs_drop::<T>() {
        return 0;
    }
    if let Some(text) = (value as &dyn Any).downcast_ref::<TextKey>() {
        return block(text.spilled_bytes());
    }
    // A value that cannot be serialized is found out at the next checkpoint.
    value.serialize(HeapSize { is_inside: false }).unwrap_or(0)
}

/// A cell whose values can be walked.
pub(crate) trait PointsTo {
    /// Bytes its values and map keys point to, without the cell's own table, list or tree.
    fn values_point_to(&self) -> usize;
}

impl<V: StateValue> PointsTo for Single<V> {
    fn values_point_to(&self) -> usize {
        pointed_to(&self.0)
    }
}

impl<V: StateValue> PointsTo for List<V> {
    fn values_point_to(&self) -> usize {
        self.iter().map(|Element { value, .. }| pointed_to(value)).sum()
    }
}

impl<V: StateValue> PointsTo for Map<V> {
    fn values_point_to(&self) -> usize {
        self.iter().map(|(key, Element { value, .. })| block(key.len()) + pointed_to(value)).sum()
    }
}

/// Adds up bytes on the heap; inside an allocation also those of the values themselves.
#[derive(Clone, Copy)]
struct HeapSize {
    is_inside: bool,
}

impl HeapSize {
    const INSIDE: Self = Self { is_inside: true };

    fn own(self, bytes: usize) -> Result<usize, fmt::Error> {
        Ok(if self.is_inside { bytes } else { 0 })
    }

    fn allocation(self, bytes: usize) -> Result<usize, fmt::Error> {
        Ok(self.own(HANDLE_BYTES)? + block(bytes))
    }

    fn fields(self) -> Walk {
        Walk { items: self, bytes: 0, handle_bytes: None }
    }
}

/// The parts of a value so far.
struct Walk {
    items: HeapSize,
    bytes: usize,
    /// For what is an allocation of its own: its handle's bytes where those count.
    handle_bytes: Option<usize>,
}

impl Walk {
    fn add<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), fmt::Error> {
        self.bytes += value.serialize(self.items)?;
        Ok(())
    }

    fn finish(self) -> usize {
        match self.handle_bytes {
            Some(handle) => handle + block(self.bytes),
            None => self.bytes,
        }
    }
}

macro_rules! plain {
    ($($function:ident $type:ty,)*) => {
        $(fn $function(self, _: $type) -> Result<usize, fmt::Error> {
            self.own(size_of::<$type>())
        })*
    };
}

impl ser::Serializer for HeapSize {
    type Ok = usize;
    type Error = fmt::Error;
    type SerializeSeq = Walk;
    type SerializeTuple = Walk;
    type SerializeTupleStruct = Walk;
    type SerializeTupleVariant = Walk;
    type SerializeMap = Walk;
    type SerializeStruct = Walk;
    type SerializeStructVariant = Walk;

    plain! {
        serialize_bool bool, serialize_char char,
        serialize_i8 i8, serialize_i16 i16, serialize_i32 i32, serialize_i64 i64, serialize_i128 i128,
        serialize_u8 u8, serialize_u16 u16, serialize_u32 u32, serialize_u64 u64, serialize_u128 u128,
        serialize_f32 f32, serialize_f64 f64,
    }

    fn serialize_str(self, text: &str) -> Result<usize, fmt::Error> {
        self.allocation(text.len())
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<usize, fmt::Error> {
        self.allocation(bytes.len())
    }

    fn serialize_none(self) -> Result<usize, fmt::Error> {
        self.own(size_of::<usize>())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<usize, fmt::Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<usize, fmt::Error> {
        Ok(0)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<usize, fmt::Error> {
        Ok(0)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<usize, fmt::Error> {
        self.own(1)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<usize, fmt::Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<usize, fmt::Error> {
        value.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Walk, fmt::Error> {
        Ok(Walk { items: Self::INSIDE, bytes: 0, handle_bytes: Some(self.own(HANDLE_BYTES)?) })
    }

    fn serialize_tuple(self, _: usize) -> Result<Walk, fmt::Error> {
        Ok(self.fields())
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Walk, fmt::Error> {
        Ok(self.fields())
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Walk, fmt::Error> {
        Ok(self.fields())
    }

    fn serialize_map(self, entries: Option<usize>) -> Result<Walk, fmt::Error> {
        self.serialize_seq(entries)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Walk, fmt::Error> {
        Ok(self.fields())
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Walk, fmt::Error> {
        Ok(self.fields())
    }

    fn is_human_readable(&self) -> bool {
        // As the checkpoints' format.
        false
    }
}

macro_rules! walk {
    ($($trait:ident $function:ident,)*) => {
        $(impl ser::$trait for Walk {
            type Ok = usize;
            type Error = fmt::Error;

            fn $function<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), fmt::Error> {
                self.add(value)
            }

            fn end(self) -> Result<usize, fmt::Error> {
                Ok(self.finish())
            }
        })*
    };
}

walk! {
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field,
}

macro_rules! walk_named {
    ($($trait:ident,)*) => {
        $(impl ser::$trait for Walk {
            type Ok = usize;
            type Error = fmt::Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                _: &'static str,
                value: &T,
            ) -> Result<(), fmt::Error> {
                self.add(value)
            }

            fn end(self) -> Result<usize, fmt::Error> {
                Ok(self.finish())
            }
        })*
    };
}

walk_named! { SerializeStruct, SerializeStructVariant, }

impl ser::SerializeMap for Walk {
    type Ok = usize;
    type Error = fmt::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), fmt::Error> {
        self.add(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), fmt::Error> {
        self.add(value)
    }

    fn end(mut self) -> Result<usize, fmt::Error> {
        self.bytes = self.bytes * ENTRY_HALVES / 2;
        Ok(self.finish())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_lies_in_a_row_points_to_nothing() {
        assert_eq!(pointed_to(&(1i64, [2u8; 4], Some(3.0f64))), 0);
        assert_eq!(pointed_to(&(String::new(), 1i64)), 0);
        assert_eq!(pointed_to(&TextKey::from("boiler-7")), 0);
    }

    #[test]
    fn each_allocation_counts_with_what_lies_in_it() {
        assert_eq!(pointed_to(&"x".repeat(40)), 48);
        assert_eq!(pointed_to(&("x".repeat(40), 1i64)), 48);
        assert_eq!(pointed_to(&TextKey::from(&*"x".repeat(40))), 48);
        assert_eq!(pointed_to(&vec![1i64; 100]), 816, "whatever the numbers are");
        let texts = vec!["x".repeat(40); 10];
        assert_eq!(pointed_to(&texts), block(10 * (HANDLE_BYTES + 48)));
        let map: BTreeMap<i64, i64> = (0..100).map(|key| (key, key)).collect();
        assert_eq!(pointed_to(&map), block(100 * 16 * 3 / 2));
    }
}
