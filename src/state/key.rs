//! Keys: what a stream can be partitioned by, their encoded form and their hash.
//!
//! A key is any serde type that is `Eq`. Its encoded form is postcard, at most [`KEY_BYTES_MAX`] bytes; its
//! hash is XXH3-64 of the encoded form with the fixed seed `KEY_HASH_SEED`. Both are part of the on-disk
//! contract: a checkpoint restored on another machine, or by a later release, must find every key in the same
//! key group.
//!
//! [`TextKey`] is the key type for device and metric names: up to 22 bytes lie inside the
//! value (a `heapless` string), so a reading does not cost an allocation; longer names spill to the heap.

use std::any::Any;
use std::fmt;
use std::hash::{Hash, Hasher};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Longest encoded key, in bytes. A reading with a longer key is rejected with cause `key-too-long`.
pub const KEY_BYTES_MAX: usize = 256;

/// Seed of the key hash. Fixed for the life of the format: it decides the key group of every key.
pub(crate) const KEY_HASH_SEED: u64 = 0x7469_6465_6761_7465;

/// Longest [`TextKey`] that is stored inline, in bytes.
pub(crate) const TEXT_KEY_INLINE_BYTES: usize = 22;

/// A type that a stream can be keyed by.
///
/// Implemented for every type that has what is asked: serde in both directions, a total equality, and nothing
/// borrowed or bound to a thread. Floating-point numbers are not keys (`NaN != NaN`): use their bits or round
/// them to an integer.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the key of a stream",
    label = "this closure returns the key",
    note = "a key derives `Serialize`, `Deserialize`, `PartialEq`, `Eq` and `Clone`, and owns its data",
    note = "for text use `tidegate::TextKey` (no allocation up to 22 bytes) or `String`"
)]
pub trait Key: Serialize + DeserializeOwned + Eq + Clone + Send + Sync + 'static {}

impl<T: Serialize + DeserializeOwned + Eq + Clone + Send + Sync + 'static> Key for T {}

/// Hash of an encoded key: XXH3-64 with `KEY_HASH_SEED`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyHash(pub(crate) u64);

/// The encoded form of a key does not fit [`KEY_BYTES_MAX`] bytes, or the key refused to serialize.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyTooLong;

/// Encodes keys into a buffer of fixed size; one per subtask, reused for every record.
#[derive(Debug)]
pub(crate) struct KeyEncoder {
    buffer: [u8; KEY_BYTES_MAX],
}

impl KeyEncoder {
    pub(crate) fn new() -> Self {
        Self { buffer: [0; KEY_BYTES_MAX] }
    }

    /// The encoded key, valid until the next call.
    pub(crate) fn encode<K: Key>(&mut self, key: &K) -> Result<&[u8], KeyTooLong> {
        match postcard::to_slice(key, &mut self.buffer) {
            Ok(bytes) => Ok(bytes),
            Err(_) => Err(KeyTooLong),
        }
    }

    /// The hash of the encoded key.
    #[inline]
    pub(crate) fn hash<K: Key>(&mut self, key: &K) -> Result<KeyHash, KeyTooLong> {
        match as_varint(key) {
            Some(varint) => Ok(hash_varint(varint)),
            None => self.encode(key).map(hash_encoded),
        }
    }
}

/// What postcard writes as a varint when `key` is one of the usual integers: decided at compile time for each type.
#[inline(always)]
fn as_varint<K: Key>(key: &K) -> Option<u64> {
    let key: &dyn Any = key;
    if let Some(key) = key.downcast_ref::<i64>() {
        // Zigzag: the sign goes to the lowest bit.
        return Some(((*key << 1) ^ (*key >> 63)).cast_unsigned());
    }
    if let Some(key) = key.downcast_ref::<i32>() {
        return Some(u64::from(((*key << 1) ^ (*key >> 31)).cast_unsigned()));
    }
    if let Some(key) = key.downcast_ref::<u64>() {
        return Some(*key);
    }
    key.downcast_ref::<u32>().map(|key| u64::from(*key))
}

/// The hash of a varint's bytes, without a trip through a buffer of unknown length.
#[inline(always)]
fn hash_varint(mut rest: u64) -> KeyHash {
    let mut bytes = [0u8; 10];
    let mut length = 0;
    loop {
        let low = (rest & 0x7F) as u8;
        rest >>= 7;
        bytes[length] = if rest == 0 { low } else { low | 0x80 };
        length += 1;
        if rest == 0 {
            return hash_encoded(&bytes[..length]);
        }
    }
}

/// The hash of a key that is already encoded.
#[inline]
pub(crate) fn hash_encoded(encoded: &[u8]) -> KeyHash {
    KeyHash(xxh3_64_with_seed(encoded, KEY_HASH_SEED))
}

/// A text key: inline up to 22 bytes, on the heap above. 24 bytes in size.
///
/// Serializes as a plain string, so it can replace `String` under existing state.
#[derive(Clone)]
pub struct TextKey(Repr);

#[derive(Clone)]
enum Repr {
    Inline(heapless::String<TEXT_KEY_INLINE_BYTES, u8>),
    Spilled(Box<str>),
}

impl TextKey {
    /// The key as text.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Inline(text) => text.as_str(),
            Repr::Spilled(text) => text,
        }
    }

    /// Bytes of it on the heap.
    pub(crate) fn spilled_bytes(&self) -> usize {
        match &self.0 {
            Repr::Inline(_) => 0,
            Repr::Spilled(text) => text.len(),
        }
    }
}

impl From<&str> for TextKey {
    fn from(text: &str) -> Self {
        match heapless::String::try_from(text) {
            Ok(inline) => Self(Repr::Inline(inline)),
            Err(_) => Self(Repr::Spilled(text.into())),
        }
    }
}

impl PartialEq for TextKey {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for TextKey {}

impl PartialOrd for TextKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for TextKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for TextKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Debug for TextKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for TextKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for TextKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for TextKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl serde::de::Visitor<'_> for TextVisitor {
            type Value = TextKey;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<TextKey, E> {
                Ok(TextKey::from(text))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_key_is_three_words_and_spills_above_the_inline_limit() {
        assert_eq!(size_of::<TextKey>(), 24);
        let inline = TextKey::from("a".repeat(TEXT_KEY_INLINE_BYTES).as_str());
        assert!(matches!(inline.0, Repr::Inline(_)));
        let spilled = TextKey::from("a".repeat(TEXT_KEY_INLINE_BYTES + 1).as_str());
        assert!(matches!(spilled.0, Repr::Spilled(_)));
        assert_eq!(spilled.as_str().len(), TEXT_KEY_INLINE_BYTES + 1);
    }

    #[test]
    fn text_key_encodes_like_a_string() {
        let mut keys = KeyEncoder::new();
        let text = keys.encode(&TextKey::from("boiler-7")).unwrap().to_vec();
        assert_eq!(text, keys.encode(&"boiler-7".to_owned()).unwrap());
        assert_eq!(postcard::from_bytes::<TextKey>(&text).unwrap().as_str(), "boiler-7");
    }

    #[test]
    fn hash_is_pinned_because_it_decides_the_key_group() {
        let mut keys = KeyEncoder::new();
        assert_eq!(keys.encode(&1i64).unwrap(), [2]);
        assert_eq!(keys.hash(&1i64).unwrap(), hash_encoded(&[2]));
        assert_eq!(keys.hash(&1i64).unwrap(), KeyHash(xxh3_64_with_seed(&[2], 0x7469_6465_6761_7465)));
    }

    #[test]
    fn the_short_way_for_integers_gives_the_hash_of_their_encoding() {
        let mut keys = KeyEncoder::new();
        for shift in 0..64 {
            for number in [1u64 << shift, (1 << shift) - 1, !(1 << shift)] {
                let signed = number.cast_signed();
                assert_eq!(keys.hash(&number).unwrap(), keys.encode(&number).map(hash_encoded).unwrap());
                assert_eq!(keys.hash(&signed).unwrap(), keys.encode(&signed).map(hash_encoded).unwrap());
                let (short, signed) = (number as u32, signed as i32);
                assert_eq!(keys.hash(&short).unwrap(), keys.encode(&short).map(hash_encoded).unwrap());
                assert_eq!(keys.hash(&signed).unwrap(), keys.encode(&signed).map(hash_encoded).unwrap());
            }
        }
    }

    #[test]
    fn a_key_above_the_limit_is_refused() {
        let mut keys = KeyEncoder::new();
        assert_eq!(keys.hash(&"k".repeat(KEY_BYTES_MAX)), Err(KeyTooLong));
        assert!(keys.hash(&"k".repeat(KEY_BYTES_MAX - 2)).is_ok());
    }
}
