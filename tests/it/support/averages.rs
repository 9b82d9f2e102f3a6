//! The running average, said plainly: what the program must make of any bytes.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::num::IntErrorKind::{NegOverflow, PosOverflow};

/// What the reference job does with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Reading(i64, i64),
    Rejected(&'static str),
}

/// Cuts bytes into lines as the program promises to: at `\n`, with or without a `\r` before it; what follows the
/// last one is a line too.
pub(crate) fn lines_of(bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    if lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    lines.into_iter().map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect()
}

/// Judges one line of at most `line_bytes_max` bytes.
pub(crate) fn verdict(line: &[u8], line_bytes_max: usize) -> Verdict {
    if line.len() > line_bytes_max {
        return Verdict::Rejected("line-too-long");
    }
    let Ok(text) = std::str::from_utf8(line) else { return Verdict::Rejected("not-utf8") };
    if text.contains('\0') {
        return Verdict::Rejected("nul");
    }
    let columns: Vec<&str> = text.split([' ', '\t']).filter(|column| !column.is_empty()).collect();
    let mut numbers = Vec::new();
    // Columns are judged from left to right, and only as many as there should be.
    for column in columns.iter().take(2) {
        match column.parse::<i64>() {
            Ok(number) => numbers.push(number),
            Err(error) if matches!(error.kind(), PosOverflow | NegOverflow) => {
                return Verdict::Rejected("overflow");
            }
            Err(_) => return Verdict::Rejected("not-a-number"),
        }
    }
    match (columns.len(), &*numbers) {
        (0, _) => Verdict::Rejected("empty"),
        (1, _) => Verdict::Rejected("missing-column"),
        (2, [key, value]) => Verdict::Reading(*key, *value),
        _ => Verdict::Rejected("extra-column"),
    }
}

/// Count and sum of each key, what was written, and what was rejected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Averages {
    state: BTreeMap<i64, (i64, i64)>,
    pub(crate) outputs: String,
    pub(crate) rejected: BTreeMap<&'static str, u64>,
}

impl Averages {
    /// The averages after `readings`.
    pub(crate) fn after(readings: &[(i64, i64)]) -> Self {
        let mut averages = Self::default();
        averages.add_all(readings);
        averages
    }

    pub(crate) fn add_all(&mut self, readings: &[(i64, i64)]) {
        for (key, value) in readings {
            self.add(*key, *value);
        }
    }

    pub(crate) fn add(&mut self, key: i64, value: i64) {
        let (count, sum) = self.state.get(&key).copied().unwrap_or_default();
        let Some(sum) = sum.checked_add(value) else { return self.reject("overflow") };
        let count = count + 1;
        self.state.insert(key, (count, sum));
        if count >= 2 {
            writeln!(self.outputs, "({key},{})", sum / count).expect("text takes all");
        }
    }

    /// Takes in whatever bytes a connection brings.
    pub(crate) fn add_bytes(&mut self, bytes: &[u8], line_bytes_max: usize) {
        for line in lines_of(bytes) {
            match verdict(line, line_bytes_max) {
                Verdict::Reading(key, value) => self.add(key, value),
                Verdict::Rejected(cause) => self.reject(cause),
            }
        }
    }

    /// Number of keys with state.
    pub(crate) fn key_count(&self) -> usize {
        self.state.len()
    }

    /// What is written from here on only; the state stays.
    pub(crate) fn without_outputs(mut self) -> Self {
        self.outputs.clear();
        self
    }

    fn reject(&mut self, cause: &'static str) {
        *self.rejected.entry(cause).or_default() += 1;
    }
}
