//! What one key holds in one state: a value, a list or a map, and its encoded form.
//!
//! This is the normative description of the encoded forms, which are the same on every backend, in checkpoints and in
//! savepoints. Little-endian; `stamp` is the time of the last update in milliseconds and is there only when the
//! state's schema says that it has a time to live:
//!   value, reducing, aggregating   [stamp i64] postcard value or accumulator
//!   list, per element              [stamp i64] bytes u32, postcard element
//!   map, per entry, keys ascending key bytes u16, postcard key, [stamp i64] bytes u32, postcard value
//!
//! An empty list or map is absent. The framing can be walked without knowing the types, which the clean-up in
//! compactions does (see [`retain_unexpired`]).

use std::collections::BTreeMap;

use super::descriptor::{StateKind, StateValue};
use super::ttl::is_expired;

/// Turns the bytes of one item into a value, of the current version or by a migration.
pub(crate) type ItemDecoder<'a, V> = &'a dyn Fn(&[u8]) -> Result<V, postcard::Error>;

/// How cells are written: with stamps or without, and what has expired is left out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Encoding {
    /// Time to live and the present, both in milliseconds; `None` writes no stamps.
    pub(crate) ttl: Option<(i64, i64)>,
}

impl Encoding {
    fn drops(self, stamp: i64) -> bool {
        self.ttl.is_some_and(|(duration_ms, now)| is_expired(duration_ms, stamp, now))
    }

    fn stamp(self, stamp: i64, out: &mut Vec<u8>) {
        if self.ttl.is_some() {
            out.extend_from_slice(&stamp.to_le_bytes());
        }
    }
}

/// What one key holds in one state.
pub(crate) trait Cell: Clone + Send + Sync + 'static {
    /// The type of the value, element or map value.
    type Item: StateValue;

    /// Whether each element has a stamp of its own, instead of the cell having one.
    const HAS_ELEMENTS: bool;

    /// Appends the encoded form; `false`, with nothing appended, when nothing is left of it. `stamp` is the cell's.
    fn encode(&self, stamp: i64, encoding: Encoding, out: &mut Vec<u8>) -> Result<bool, postcard::Error>;

    /// Reads the encoded form; returns the cell and its stamp. What has no stamp gets `stamp`.
    fn decode(
        bytes: &[u8],
        has_stamps: bool,
        stamp: i64,
        item: ItemDecoder<'_, Self::Item>,
    ) -> Result<(Self, i64), postcard::Error>;

    /// True when the cell, or an element of it, has expired. `stamp` is the cell's.
    fn has_expired(&self, stamp: i64, duration_ms: i64, now: i64) -> bool;

    /// Removes expired elements; true when nothing is left. A cell without elements is called only when it has expired.
    fn purge(&mut self, duration_ms: i64, now: i64) -> bool;

    /// Bytes it takes on the heap besides its own size, guessed without looking into values.
    fn heap_bytes(&self) -> usize;
}

/// A cell that is one value.
#[derive(Debug, Clone)]
pub(crate) struct Single<V>(pub(crate) V);

/// One element of a list or map, with the time of its last update in milliseconds (0 without a time to live).
#[derive(Debug, Clone)]
pub(crate) struct Element<V> {
    pub(crate) stamp: i64,
    pub(crate) value: V,
}

/// A cell that is a list.
pub(crate) type List<V> = Vec<Element<V>>;

/// A cell that is a map, by the encoded form of its keys.
pub(crate) type Map<V> = BTreeMap<Box<[u8]>, Element<V>>;

impl<V: StateValue> Cell for Single<V> {
    type Item = V;
    const HAS_ELEMENTS: bool = false;

    fn encode(&self, stamp: i64, encoding: Encoding, out: &mut Vec<u8>) -> Result<bool, postcard::Error> {
        if encoding.drops(stamp) {
            return Ok(false);
        }
        encoding.stamp(stamp, out);
        append(&self.0, out)?;
        Ok(true)
    }

    fn decode(
        bytes: &[u8],
        has_stamps: bool,
        stamp: i64,
        item: ItemDecoder<'_, V>,
    ) -> Result<(Self, i64), postcard::Error> {
        let mut walk = Walk(bytes);
        let stamp = if has_stamps { walk.stamp()? } else { stamp };
        Ok((Self(item(walk.0)?), stamp))
    }

    fn has_expired(&self, stamp: i64, duration_ms: i64, now: i64) -> bool {
        is_expired(duration_ms, stamp, now)
    }

    fn purge(&mut self, _: i64, _: i64) -> bool {
        true
    }

    fn heap_bytes(&self) -> usize {
        0
    }
}

/// What an element of a list or an entry of a map takes besides the value: allocation and tree overhead, in bytes.
const ELEMENT_BYTES: usize = 16;

impl<V: StateValue> Cell for List<V> {
    type Item = V;
    const HAS_ELEMENTS: bool = true;

    fn encode(&self, _: i64, encoding: Encoding, out: &mut Vec<u8>) -> Result<bool, postcard::Error> {
        let start = out.len();
        for element in self.iter().filter(|element| !encoding.drops(element.stamp)) {
            encoding.stamp(element.stamp, out);
            append_framed(&element.value, out)?;
        }
        Ok(out.len() > start)
    }

    fn decode(
        bytes: &[u8],
        has_stamps: bool,
        stamp: i64,
        item: ItemDecoder<'_, V>,
    ) -> Result<(Self, i64), postcard::Error> {
        let mut walk = Walk(bytes);
        let mut list = Self::new();
        while !walk.0.is_empty() {
            let stamp = if has_stamps { walk.stamp()? } else { stamp };
            list.push(Element { stamp, value: item(walk.framed()?)? });
        }
        Ok((list, stamp))
    }

    fn has_expired(&self, _: i64, duration_ms: i64, now: i64) -> bool {
        self.iter().any(|element| is_expired(duration_ms, element.stamp, now))
    }

    fn purge(&mut self, duration_ms: i64, now: i64) -> bool {
        self.retain(|element| !is_expired(duration_ms, element.stamp, now));
        self.is_empty()
    }

    fn heap_bytes(&self) -> usize {
        self.capacity() * size_of::<Element<V>>() + ELEMENT_BYTES
    }
}

impl<V: StateValue> Cell for Map<V> {
    type Item = V;
    const HAS_ELEMENTS: bool = true;

    fn encode(&self, _: i64, encoding: Encoding, out: &mut Vec<u8>) -> Result<bool, postcard::Error> {
        let start = out.len();
        for (key, element) in self.iter().filter(|(_, element)| !encoding.drops(element.stamp)) {
            let length = u16::try_from(key.len()).expect("a map key is at most 256 bytes");
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(key);
            encoding.stamp(element.stamp, out);
            append_framed(&element.value, out)?;
        }
        Ok(out.len() > start)
    }

    fn decode(
        bytes: &[u8],
        has_stamps: bool,
        stamp: i64,
        item: ItemDecoder<'_, V>,
    ) -> Result<(Self, i64), postcard::Error> {
        let mut walk = Walk(bytes);
        let mut map = Self::new();
        while !walk.0.is_empty() {
            let key = walk.map_key()?;
            let stamp = if has_stamps { walk.stamp()? } else { stamp };
            map.insert(key.into(), Element { stamp, value: item(walk.framed()?)? });
        }
        Ok((map, stamp))
    }

    fn has_expired(&self, _: i64, duration_ms: i64, now: i64) -> bool {
        self.values().any(|element| is_expired(duration_ms, element.stamp, now))
    }

    fn purge(&mut self, duration_ms: i64, now: i64) -> bool {
        self.retain(|_, element| !is_expired(duration_ms, element.stamp, now));
        self.is_empty()
    }

    fn heap_bytes(&self) -> usize {
        self.len() * (size_of::<(Box<[u8]>, Element<V>)>() + 2 * ELEMENT_BYTES)
    }
}

/// What is left of an encoded cell with stamps at `now`, without knowing its types.
pub(crate) enum Unexpired {
    /// All of it.
    All,
    /// Nothing.
    Nothing,
    /// Some elements.
    Some,
}

/// Walks an encoded cell with stamps and gives `keep` the elements that have not expired; `None` when it is not well
/// formed.
pub(crate) fn retain_unexpired(
    kind: StateKind,
    bytes: &[u8],
    duration_ms: i64,
    now: i64,
    keep: &mut dyn FnMut(&[u8]),
) -> Option<Unexpired> {
    let mut walk = Walk(bytes);
    if !matches!(kind, StateKind::List | StateKind::Map) {
        let stamp = walk.stamp().ok()?;
        return Some(if is_expired(duration_ms, stamp, now) { Unexpired::Nothing } else { Unexpired::All });
    }
    let (mut left, mut gone) = (0u64, 0u64);
    while !walk.0.is_empty() {
        let element = walk.0;
        if kind == StateKind::Map {
            walk.map_key().ok()?;
        }
        let stamp = walk.stamp().ok()?;
        walk.framed().ok()?;
        if is_expired(duration_ms, stamp, now) {
            gone += 1;
        } else {
            left += 1;
            keep(&element[..element.len() - walk.0.len()]);
        }
    }
    Some(match (left, gone) {
        (0, _) => Unexpired::Nothing,
        (_, 0) => Unexpired::All,
        _ => Unexpired::Some,
    })
}

/// Walks the framing of an encoded cell.
pub(super) struct Walk<'a>(pub(super) &'a [u8]);

impl<'a> Walk<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], postcard::Error> {
        let (taken, rest) =
            self.0.split_at_checked(length).ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], postcard::Error> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn stamp(&mut self) -> Result<i64, postcard::Error> {
        self.array().map(i64::from_le_bytes)
    }

    pub(super) fn framed(&mut self) -> Result<&'a [u8], postcard::Error> {
        let length = u32::from_le_bytes(self.array()?);
        self.take(length as usize)
    }

    pub(super) fn map_key(&mut self) -> Result<&'a [u8], postcard::Error> {
        let length = u16::from_le_bytes(self.array()?);
        self.take(usize::from(length))
    }
}

fn append<V: StateValue>(value: &V, out: &mut Vec<u8>) -> Result<(), postcard::Error> {
    postcard::serialize_with_flavor(value, Appender(out))
}

fn append_framed<V: StateValue>(value: &V, out: &mut Vec<u8>) -> Result<(), postcard::Error> {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    append(value, out)?;
    let length = u32::try_from(out.len() - start - 4).map_err(|_| postcard::Error::SerializeBufferFull)?;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// Lets postcard append to a vector that is used again for the next value.
struct Appender<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Appender<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Encoding = Encoding { ttl: Some((100, 200)) };
    const PLAIN: Encoding = Encoding { ttl: None };

    fn number(bytes: &[u8]) -> Result<u8, postcard::Error> {
        postcard::from_bytes(bytes)
    }

    #[test]
    fn golden_bytes() {
        let mut out = Vec::new();
        assert!(Single(7u8).encode(3, PLAIN, &mut out).unwrap());
        assert_eq!(out, [7]);
        out.clear();
        assert!(Single(7u8).encode(258, TTL, &mut out).unwrap());
        assert_eq!(out, [2, 1, 0, 0, 0, 0, 0, 0, 7]);
        out.clear();
        let list: List<u8> = vec![Element { stamp: 258, value: 8 }, Element { stamp: 100, value: 9 }];
        assert!(list.encode(0, TTL, &mut out).unwrap());
        assert_eq!(out, [2, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 8]);
        out.clear();
        let map: Map<u8> = [(Box::from([5u8].as_slice()), Element { stamp: 258, value: 8 })].into();
        assert!(map.encode(0, TTL, &mut out).unwrap());
        assert_eq!(out, [1, 0, 5, 2, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 8]);
        let (map, _) = Map::<u8>::decode(&out, true, 0, &number).unwrap();
        assert_eq!(map[[5u8].as_slice()].value, 8);
    }

    #[test]
    fn expired_cells_and_elements_are_not_written() {
        let mut out = Vec::new();
        assert!(!Single(7u8).encode(100, TTL, &mut out).unwrap());
        let list: List<u8> = vec![Element { stamp: 100, value: 9 }];
        assert!(!list.encode(0, TTL, &mut out).unwrap());
        assert!(out.is_empty());
    }

    #[test]
    fn the_untyped_walk_keeps_what_the_typed_one_keeps() {
        let list: List<u8> =
            (0..10).map(|index| Element { stamp: 96 + i64::from(index), value: index }).collect();
        let mut all = Vec::new();
        assert!(list.encode(0, Encoding { ttl: Some((100, 0)) }, &mut all).unwrap());
        let mut left = Vec::new();
        assert!(list.encode(0, TTL, &mut left).unwrap());
        let walk = |bytes: &[u8], duration_ms, now| {
            let mut kept = Vec::new();
            let keep = &mut |element: &[u8]| kept.extend_from_slice(element);
            retain_unexpired(StateKind::List, bytes, duration_ms, now, keep).map(|outcome| (outcome, kept))
        };
        let Some((Unexpired::Some, kept)) = walk(&all, 100, 200) else { panic!("some are left") };
        assert!(!left.is_empty() && left.len() < all.len());
        assert_eq!(kept, left);
        assert!(matches!(walk(&all, 100, 500), Some((Unexpired::Nothing, _))));
        assert!(matches!(walk(&all, 1000, 500), Some((Unexpired::All, _))));
        assert!(walk(&all[..all.len() - 1], 100, 200).is_none());
    }

    #[test]
    fn cut_cells_are_errors() {
        let list: List<u8> = vec![Element { stamp: 150, value: 9 }; 3];
        let mut bytes = Vec::new();
        assert!(list.encode(0, TTL, &mut bytes).unwrap());
        for length in (1..bytes.len()).filter(|length| length % 13 != 0) {
            assert!(List::<u8>::decode(&bytes[..length], true, 0, &number).is_err(), "cut to {length}");
        }
    }
}
