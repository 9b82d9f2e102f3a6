//! Rendering: keys and entries of one part as JSON.

use std::fmt::Write;

use super::Shape;
use crate::json;
use crate::state::cell::Walk;
use crate::state::descriptor::{StateKind, StateSchema};
use crate::state::list_state::SavedList;
use crate::state::part::{PartHeader, split_state};

/// Renders what a part, or the store beside it, holds.
pub(crate) struct Renderer {
    key: Option<Shape>,
    key_type: String,
    states: Vec<StateRenderer>,
}

struct StateRenderer {
    schema: StateSchema,
    /// Of a map's keys.
    map_key: ItemRenderer,
    item: ItemRenderer,
}

/// Renders values of one type.
struct ItemRenderer {
    type_name: String,
    shape: Option<Shape>,
}

impl ItemRenderer {
    fn of(type_name: &str) -> Self {
        Self { type_name: type_name.to_owned(), shape: Shape::of(type_name) }
    }

    /// JSON of the value, or its type and bytes.
    fn json(&self, bytes: &[u8]) -> String {
        let known = self.shape.as_ref().and_then(|shape| shape.json(bytes));
        known.unwrap_or_else(|| {
            format!(r#"{{"type":{},"hex":"{}"}}"#, json::text(&self.type_name), hex(bytes))
        })
    }
}

impl Renderer {
    pub(crate) fn of(header: &PartHeader) -> Self {
        let state = |schema: &StateSchema| {
            let (map_key, item) = match schema.kind {
                StateKind::Map => schema.type_name.split_once(" to ").unwrap_or(("", &schema.type_name)),
                _ => ("", &*schema.type_name),
            };
            StateRenderer {
                schema: schema.clone(),
                map_key: ItemRenderer::of(map_key),
                item: ItemRenderer::of(item),
            }
        };
        Self {
            key: Shape::of(&header.key_type),
            key_type: header.key_type.clone(),
            states: header.states.iter().map(state).collect(),
        }
    }

    /// A key as JSON, or as hexadecimal bytes.
    pub(crate) fn key(&self, bytes: &[u8]) -> String {
        let known = self.key.as_ref().and_then(|shape| shape.json(bytes));
        known.unwrap_or_else(|| format!(r#"{{"hex":"{}"}}"#, hex(bytes)))
    }

    /// The encoded form of a key given as text: for a key type that is a number or text what it says, for others, and
    /// for any after `hex:`, the encoded form in hexadecimal digits.
    ///
    /// # Errors
    /// What is expected instead.
    pub(crate) fn parse_key(&self, text: &str) -> Result<Vec<u8>, String> {
        let digits = text.strip_prefix("hex:");
        let encoded = match (digits, &self.key) {
            (Some(digits), _) => unhex(digits),
            (None, Some(shape)) => shape.encode(text),
            (None, None) => None,
        };
        encoded.ok_or_else(|| {
            format!("the key {text:?} is not of type {}; or give its encoded form as hex:0a1b", self.key_type)
        })
    }

    /// An entry as a JSON object of its states; what is absent is left out. `None` when it is malformed.
    pub(crate) fn entry(&self, mut entry: &[u8]) -> Option<String> {
        let mut out = String::from("{");
        for state in &self.states {
            let Some(cell) = split_state(&mut entry)? else { continue };
            if out.len() > 1 {
                out.push(',');
            }
            write!(out, "{}:", json::text(&state.schema.name)).ok()?;
            state.append(cell, &mut out)?;
        }
        out.push('}');
        Some(out)
    }

    /// An operator's list as a JSON list.
    pub(crate) fn list(list: &SavedList) -> String {
        let item = ItemRenderer::of(&list.type_name);
        let items: Vec<String> = list.items.iter().map(|bytes| item.json(bytes)).collect();
        format!("[{}]", items.join(","))
    }
}

impl StateRenderer {
    fn append(&self, cell: &[u8], out: &mut String) -> Option<()> {
        let mut walk = Walk(cell);
        let stamp = |walk: &mut Walk<'_>| match self.schema.has_ttl {
            true => walk.stamp().ok().map(Some),
            false => Some(None),
        };
        if !matches!(self.schema.kind, StateKind::List | StateKind::Map) {
            let stamp = stamp(&mut walk)?;
            out.push_str(&stamped(stamp, self.item.json(walk.0)));
            return Some(());
        }
        out.push('[');
        let mut is_first = true;
        while !walk.0.is_empty() {
            if !std::mem::take(&mut is_first) {
                out.push(',');
            }
            let map_key = match self.schema.kind {
                StateKind::Map => Some(walk.map_key().ok()?),
                _ => None,
            };
            let stamp = stamp(&mut walk)?;
            let value = stamped(stamp, self.item.json(walk.framed().ok()?));
            match map_key {
                Some(key) => write!(out, "[{},{value}]", self.map_key.json(key)).ok()?,
                None => out.push_str(&value),
            }
        }
        out.push(']');
        Some(())
    }
}

fn stamped(stamp: Option<i64>, value: String) -> String {
    match stamp {
        None => value,
        Some(stamp) => format!(r#"{{"updated_ms":{stamp},"value":{value}}}"#),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    if !digits.is_ascii() || digits.len() % 2 == 1 {
        return None;
    }
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).ok()).collect()
}
