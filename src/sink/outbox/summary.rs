//! Summaries: many numeric outputs of a key in one.
//!
//! An output is numeric when it is two columns, a key and a number, written as a tuple `(key,number)` or separated by
//! blanks or commas. All others are kept as they are.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::id::OutputId;
use crate::json;
use crate::runtime::Timestamp;

/// Numeric outputs of one key within one time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) key: String,
    /// When the first came.
    pub(crate) from: Timestamp,
    /// When the last came.
    pub(crate) until: Timestamp,
    /// How many.
    pub(crate) count: u64,
    pub(crate) min: f64,
    pub(crate) mean: f64,
    pub(crate) max: f64,
}

impl Summary {
    fn of(key: &str, value: f64, stamp: Timestamp) -> Self {
        Self { key: key.to_owned(), from: stamp, until: stamp, count: 1, min: value, mean: value, max: value }
    }

    fn take_in(&mut self, other: &Self) {
        let count = self.count + other.count;
        // Of the difference: a sum of many large values would not hold.
        self.mean += (other.mean - self.mean) * (other.count as f64 / count as f64);
        self.count = count;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.from = self.from.min(other.from);
        self.until = self.until.max(other.until);
    }

    /// The JSON object that is delivered.
    pub(super) fn append_to(&self, out: &mut Vec<u8>) {
        let mut text = String::from(r#"{"key":"#);
        json::push_text(&mut text, &self.key);
        let (Timestamp(from), Timestamp(until)) = (self.from, self.until);
        let Self { count, min, mean, max, .. } = self;
        out.extend_from_slice(text.as_bytes());
        write!(
            out,
            r#","from_ms":{from},"until_ms":{until},"count":{count},"min":{min},"mean":{mean},"max":{max}}}"#
        )
        .expect("memory takes all");
    }
}

/// Key and value of a numeric output.
fn numeric(line: &[u8]) -> Option<(Cow<'_, str>, f64)> {
    let columns: [Cow<'_, str>; 2] = columns(std::str::from_utf8(line).ok()?).try_into().ok()?;
    let [key, value] = columns;
    value.parse().ok().filter(|value: &f64| value.is_finite()).map(|value| (key, value))
}

/// The columns of an output: of a tuple `(a,b)` what is between its commas, of a JSON object the values of its members, of other text what is
/// between blanks or commas.
pub(crate) fn columns(line: &str) -> Vec<Cow<'_, str>> {
    let line = line.trim();
    if line.starts_with('{')
        && let Ok(Members(values)) = serde_json::from_str(line)
    {
        return values.into_iter().map(|value| member_text(value.get())).collect();
    }
    text_columns(line).into_iter().map(Cow::Borrowed).collect()
}

/// The values of an object's members, in their order.
struct Members<'a>(Vec<&'a RawValue>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut values = Vec::new();
                while let Some((IgnoredAny, value)) = map.next_entry()? {
                    values.push(value);
                }
                Ok(Members(values))
            }
        }
        deserializer.deserialize_map(MembersVisitor)
    }
}

/// A value as it is written; of a text what it says, of NULL nothing.
fn member_text(raw: &str) -> Cow<'_, str> {
    match raw {
        "null" => Cow::Borrowed(""),
        raw if raw.starts_with('"') => match serde_json::from_str::<String>(raw) {
            Ok(text) => Cow::Owned(text),
            Err(_) => Cow::Borrowed(raw),
        },
        raw => Cow::Borrowed(raw),
    }
}

fn text_columns(line: &str) -> Vec<&str> {
    let inner = line.strip_prefix('(').and_then(|line| line.strip_suffix(')'));
    match inner {
        Some(inner) => inner.split(',').map(str::trim).collect(),
        None => line.split([' ', '\t', ',']).filter(|column| !column.is_empty()).collect(),
    }
}

/// An output that is not numeric.
pub(super) type KeptLine = (OutputId, Vec<u8>);

/// Folds outputs.
#[derive(Debug, Default)]
pub(super) struct Folding {
    bucket_ms: i64,
    /// By key and bucket, with the id of the first output.
    summaries: BTreeMap<(String, i64), (OutputId, Summary)>,
    kept: Vec<KeptLine>,
    /// Numeric outputs that were taken in.
    pub(super) folded: u64,
}

impl Folding {
    pub(super) fn new(bucket_ms: i64) -> Self {
        Self { bucket_ms: bucket_ms.max(1), ..Self::default() }
    }

    pub(super) fn line(&mut self, id: OutputId, line: &[u8], stamp: Timestamp) {
        match numeric(line) {
            Some((key, value)) => {
                self.folded += 1;
                self.summary(id, &Summary::of(&key, value, stamp));
            }
            None => self.kept.push((id, line.to_vec())),
        }
    }

    pub(super) fn summary(&mut self, id: OutputId, summary: &Summary) {
        let bucket = (summary.key.clone(), summary.from.0.div_euclid(self.bucket_ms));
        match self.summaries.get_mut(&bucket) {
            Some((_, folded)) => folded.take_in(summary),
            None => drop(self.summaries.insert(bucket, (id, summary.clone()))),
        }
    }

    /// The summaries, and what was kept, each with the id of its first output.
    pub(super) fn finish(self) -> (Vec<(OutputId, Summary)>, Vec<KeptLine>) {
        (self.summaries.into_values().collect(), self.kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_members_of_an_object_are_its_columns() {
        let line = r#"{"truck":"T 1","box":7,"note":null,"mean":-1.50,"tags":["a",1]}"#;
        assert_eq!(columns(line), ["T 1", "7", "", "-1.50", r#"["a",1]"#]);
        assert_eq!(numeric(br#"{"k":"a","n":2}"#), Some((Cow::Borrowed("a"), 2.0)));
        assert_eq!(columns("{broken 1"), ["{broken", "1"]);
    }

    #[test]
    fn two_columns_with_a_number_are_numeric() {
        assert_eq!(numeric(b"(7,-3)"), Some((Cow::Borrowed("7"), -3.0)));
        assert_eq!(numeric(b"room-1 20.5"), Some((Cow::Borrowed("room-1"), 20.5)));
        assert_eq!(numeric(b"a, 1e3"), Some((Cow::Borrowed("a"), 1000.0)));
        for line in [&b"(7,alarm)"[..], b"(1,2,3)", b"7", b"", b"\xFF 1", b"a inf", b"a NaN", b"(7)"] {
            assert_eq!(numeric(line), None, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn summaries_of_parts_are_the_summary_of_the_whole() {
        let id = OutputId::default();
        let values = [3.0, -1.5, 8.25, 0.0, 2.5];
        let mut whole = Folding::new(1000);
        let mut parts = Folding::new(1000);
        for chunk in values.chunks(2) {
            let mut part = Folding::new(1000);
            for value in chunk {
                let line = format!("(k,{value})");
                whole.line(id, line.as_bytes(), Timestamp(500));
                part.line(id, line.as_bytes(), Timestamp(500));
            }
            for (id, summary) in part.finish().0 {
                parts.summary(id, &summary);
            }
        }
        let (whole, parts) = (whole.finish().0, parts.finish().0);
        assert_eq!(whole.len(), 1);
        let ((_, whole), (_, parts)) = (&whole[0], &parts[0]);
        assert_eq!((whole.count, whole.min, whole.max), (5, -1.5, 8.25));
        assert_eq!((parts.count, parts.min, parts.max), (5, -1.5, 8.25));
        assert!((whole.mean - 2.45).abs() < 1e-9 && (parts.mean - 2.45).abs() < 1e-9);
        let mut text = Vec::new();
        Summary::of("a\"b", 1.5, Timestamp(7)).append_to(&mut text);
        let expected = r#"{"key":"a\"b","from_ms":7,"until_ms":7,"count":1,"min":1.5,"mean":1.5,"max":1.5}"#;
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }
}
