//! Shapes: what a type's name says of its postcard form, and that form as JSON.
//!
//! Known are Rust's numbers, `bool`, `char`, `String`, [`TextKey`](crate::TextKey), `()`, and tuples, arrays, `Option`,
//! `Vec`, `Box`, `BTreeMap` and `HashMap` of what is known. A type of a job's own is not: its fields are not in its name.

use std::fmt::Write;

use crate::json;

/// Names and lists nested deeper than this are not looked into.
const DEPTH_MAX: usize = 32;

/// How values of a type are encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One byte, 0 or 1.
    Bool,
    /// One byte.
    Byte,
    /// One byte, signed.
    SignedByte,
    /// A varint.
    Unsigned,
    /// A zigzag varint.
    Signed,
    /// Four bytes.
    Float,
    /// Eight bytes.
    Double,
    /// Length and UTF-8.
    Text,
    /// A byte, then the value unless it is 0.
    Option(Box<Shape>),
    /// One behind the other.
    Tuple(Vec<Shape>),
    /// As many as the number says.
    Array(Box<Shape>, usize),
    /// A varint, then as many.
    List(Box<Shape>),
    /// A varint, then as many pairs.
    Map(Box<Shape>, Box<Shape>),
}

impl Shape {
    /// The shape of the type called `name`, if it is known.
    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::nested(name.trim(), 0)
    }

    fn nested(name: &str, depth: usize) -> Option<Self> {
        if depth > DEPTH_MAX {
            return None;
        }
        let inner = |name: &str| Self::nested(name.trim(), depth + 1);
        if let Some(items) = name.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
            return split(items).into_iter().map(inner).collect::<Option<_>>().map(Self::Tuple);
        }
        if let Some(array) = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let (item, length) = array.rsplit_once(';')?;
            return Some(Self::Array(Box::new(inner(item)?), length.trim().parse().ok()?));
        }
        if let Some((path, arguments)) = name.split_once('<') {
            let arguments = split(arguments.strip_suffix('>')?);
            return match (path.rsplit("::").next()?, &*arguments) {
                ("Option", [value]) => Some(Self::Option(Box::new(inner(value)?))),
                ("Vec", [item]) => Some(Self::List(Box::new(inner(item)?))),
                ("Box", [value]) => inner(value),
                ("BTreeMap", [key, value]) | ("HashMap", [key, value, ..]) => {
                    Some(Self::Map(Box::new(inner(key)?), Box::new(inner(value)?)))
                }
                _ => None,
            };
        }
        Some(match name {
            "bool" => Self::Bool,
            "u8" => Self::Byte,
            "i8" => Self::SignedByte,
            "u16" | "u32" | "u64" | "u128" | "usize" => Self::Unsigned,
            "i16" | "i32" | "i64" | "i128" | "isize" => Self::Signed,
            "f32" => Self::Float,
            "f64" => Self::Double,
            // A character is written as a text of one.
            "char" | "str" | "alloc::string::String" | "tidegate::state::key::TextKey" => Self::Text,
            _ => return None,
        })
    }

    /// A whole value as JSON; `None` when the bytes are not one of this shape. A map is a list of pairs.
    pub(crate) fn json(&self, bytes: &[u8]) -> Option<String> {
        let (mut rest, mut out) = (bytes, String::new());
        self.append_json(&mut rest, &mut out)?;
        rest.is_empty().then_some(out)
    }

    fn append_json(&self, bytes: &mut &[u8], out: &mut String) -> Option<()> {
        match self {
            Self::Bool => out.push_str(match take::<1>(bytes)? {
                [0] => "false",
                [1] => "true",
                _ => return None,
            }),
            Self::Byte => write!(out, "{}", take::<1>(bytes)?[0]).ok()?,
            Self::SignedByte => write!(out, "{}", take::<1>(bytes)?[0].cast_signed()).ok()?,
            Self::Unsigned => write!(out, "{}", varint(bytes)?).ok()?,
            Self::Signed => write!(out, "{}", signed(varint(bytes)?)).ok()?,
            Self::Float => float(f64::from(f32::from_le_bytes(take(bytes)?)), out),
            Self::Double => float(f64::from_le_bytes(take(bytes)?), out),
            Self::Text => {
                let length = usize::try_from(varint(bytes)?).ok()?;
                let (text, rest) = bytes.split_at_checked(length)?;
                *bytes = rest;
                out.push_str(&json::text(std::str::from_utf8(text).ok()?));
            }
            Self::Option(value) => match take::<1>(bytes)? {
                [0] => out.push_str("null"),
                [1] => value.append_json(bytes, out)?,
                _ => return None,
            },
            Self::Tuple(items) => {
                sequence(out, items.iter(), |item, out| item.append_json(bytes, out))?;
            }
            Self::Array(item, length) => {
                sequence(out, 0..*length, |_, out| item.append_json(bytes, out))?;
            }
            Self::List(item) => {
                let length = count(bytes)?;
                sequence(out, 0..length, |_, out| item.append_json(bytes, out))?;
            }
            Self::Map(key, value) => {
                let length = count(bytes)?;
                sequence(out, 0..length, |_, out| {
                    sequence(out, [key, value], |shape, out| shape.append_json(bytes, out))
                })?;
            }
        }
        Some(())
    }

    /// The encoded form of a value given as text: a number, a truth value, or text as it is.
    pub(crate) fn encode(&self, text: &str) -> Option<Vec<u8>> {
        Some(match self {
            Self::Bool => vec![u8::from(text.parse::<bool>().ok()?)],
            Self::Byte => vec![text.parse().ok()?],
            Self::SignedByte => vec![text.parse::<i8>().ok()?.cast_unsigned()],
            Self::Unsigned => postcard::to_stdvec(&text.parse::<u128>().ok()?).ok()?,
            Self::Signed => postcard::to_stdvec(&text.parse::<i128>().ok()?).ok()?,
            Self::Text => postcard::to_stdvec(text).ok()?,
            _ => return None,
        })
    }
}

/// A JSON list of what `append` appends for each item.
fn sequence<T>(
    out: &mut String,
    items: impl IntoIterator<Item = T>,
    mut append: impl FnMut(T, &mut String) -> Option<()>,
) -> Option<()> {
    out.push('[');
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        append(item, out)?;
    }
    out.push(']');
    Some(())
}

/// JSON has no number for what is not finite.
fn float(value: f64, out: &mut String) {
    let written = if value.is_finite() { write!(out, "{value:?}") } else { write!(out, "\"{value}\"") };
    written.expect("a string takes all");
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

/// A number of items. Bounded, since an item may take no bytes and a count may lie.
fn count(bytes: &mut &[u8]) -> Option<usize> {
    usize::try_from(varint(bytes)?).ok().filter(|count| *count <= 1 << 24)
}

fn varint(bytes: &mut &[u8]) -> Option<u128> {
    let mut value: u128 = 0;
    for shift in (0..128).step_by(7) {
        let [byte] = take(bytes)?;
        value |= u128::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn signed(zigzag: u128) -> i128 {
    (zigzag >> 1).cast_signed() ^ -((zigzag & 1).cast_signed())
}

/// Splits a list of type names at the commas that are not inside another type's brackets.
fn split(names: &str) -> Vec<&str> {
    let (mut depth, mut start, mut split) = (0usize, 0, Vec::new());
    for (index, byte) in names.bytes().enumerate() {
        match byte {
            b'<' | b'(' | b'[' => depth += 1,
            b'>' | b')' | b']' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                split.push(&names[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    // A tuple of one ends with a comma.
    split.extend(Some(&names[start..]).filter(|rest| !rest.trim().is_empty()));
    split
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{StateValue, TextKey};
    use std::collections::BTreeMap;

    #[track_caller]
    fn shown<V: StateValue>(value: V, json: &str) {
        let shape = Shape::of(std::any::type_name::<V>()).expect("the type is known");
        let bytes = postcard::to_stdvec(&value).unwrap();
        assert_eq!(shape.json(&bytes).as_deref(), Some(json));
        assert_eq!(shape.json(&[&bytes[..], &[0]].concat()), None, "a byte too many");
        if let Some(cut) = bytes.len().checked_sub(1) {
            assert_eq!(shape.json(&bytes[..cut]), None, "a byte too few");
        }
    }

    #[test]
    fn known_types_are_shown_as_json() {
        shown((3i64, -7i128, u64::MAX), "[3,-7,18446744073709551615]");
        shown((i128::MIN, u128::MAX, i8::MIN, 200u8), &format!("[{},{},-128,200]", i128::MIN, u128::MAX));
        shown("a\"\n".to_owned(), "\"a\\\"\\u000a\"");
        shown(TextKey::from("boiler"), "\"boiler\"");
        shown((Some(1.5f32), None::<bool>, f64::NAN), "[1.5,null,\"NaN\"]");
        shown(vec![(1u16, 'é'), (2, 'x')], "[[1,\"é\"],[2,\"x\"]]");
        shown(BTreeMap::from([(1u32, vec![true]), (2, vec![])]), "[[1,[true]],[2,[]]]");
        shown(([1u8, 2, 3], Box::new((4i32,))), "[[1,2,3],[4]]");
    }

    #[test]
    fn unknown_types_are_not_guessed() {
        for name in ["my::State", "(i64, my::State)", "alloc::vec::Vec<my::State>", "[u8; n]", "(", "Vec<u8"]
        {
            assert_eq!(Shape::of(name), None, "{name}");
        }
    }

    #[test]
    fn numbers_and_text_are_encoded_as_keys_are() {
        let encode = |name: &str, text: &str| Shape::of(name).unwrap().encode(text);
        assert_eq!(encode("i64", "-5"), Some(postcard::to_stdvec(&-5i64).unwrap()));
        assert_eq!(encode("u32", "300"), Some(postcard::to_stdvec(&300u32).unwrap()));
        assert_eq!(encode("u8", "200"), Some(vec![200]));
        assert_eq!(encode("tidegate::state::key::TextKey", "ab"), Some(vec![2, b'a', b'b']));
        assert_eq!(encode("i64", "x"), None);
        assert_eq!(encode("(i64, i64)", "1"), None);
    }
}
