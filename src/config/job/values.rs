//! Values of a section that are numbers, sizes, durations, or one of a few words.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::document::{Located, Value};
use super::section::Section;
use super::suggestion::{choices_list, nearest};
use crate::config::diagnostics::Diagnostic;
use crate::config::units::{ByteSize, Interval, UnitError};

/// Longest duration: a hundred years, so that sums of times in milliseconds cannot overflow.
const DURATION_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

impl Section<'_> {
    /// A size such as `"64KiB"`, in bytes.
    pub(super) fn size(&self, key: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let text = self.string_as(key, "a size", "\"64KiB\"")?;
        let bytes = match text.value.parse::<ByteSize>() {
            Ok(ByteSize(bytes)) => bytes,
            Err(error) => {
                let is_bounded = matches!(error, UnitError::TooLarge { .. }) && *range.end() < u64::MAX;
                let example = if is_bounded { size_text(*range.end()) } else { "64KiB".to_owned() };
                self.wrong_value(key, &text.at, &error.to_string(), &example);
                return None;
            }
        };
        self.within(key, &text, bytes, &range, |bytes| format!("{:?}", size_text(bytes)))
    }

    /// A duration such as `"5s"`.
    pub(super) fn duration(&self, key: &str, min: Duration) -> Option<Duration> {
        self.duration_of(key, self.string_as(key, "a duration", "\"5s\"")?, min)
    }

    /// Reads a text as a duration.
    pub(super) fn duration_of(&self, key: &str, text: Located<String>, min: Duration) -> Option<Duration> {
        match text.value.parse::<Interval>() {
            Ok(Interval(duration)) => {
                self.within(key, &text, duration, &(min..=DURATION_MAX), |bound| format!("{bound:?}"))
            }
            Err(error) => {
                self.wrong_value(key, &text.at, &error.to_string(), "5s");
                None
            }
        }
    }

    fn within<T: PartialOrd + Copy>(
        &self,
        key: &str,
        text: &Located<String>,
        value: T,
        range: &RangeInclusive<T>,
        show: impl Fn(T) -> String,
    ) -> Option<T> {
        if range.contains(&value) {
            return Some(value);
        }
        let bound = if value < *range.start() { *range.start() } else { *range.end() };
        let side = if value < *range.start() { "at least" } else { "at most" };
        let fault = Diagnostic::new(format!("`{key}` of {} is out of range", self.title)).at(&text.at);
        self.report(
            fault
                .label(format!("must be {side} {}", show(bound)))
                .help(format!("give {side} {}", show(bound))),
        );
        None
    }

    /// A whole number.
    pub(super) fn integer(&self, key: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let node = self.node(key)?;
        let (low, high) = (*range.start(), *range.end());
        let Value::Integer(value) = node.value else {
            self.wrong_type(key, node, "an integer", &low.max(1).to_string());
            return None;
        };
        let value = value.and_then(|value| u64::try_from(value).ok()).filter(|value| range.contains(value));
        if value.is_none() {
            let fault = Diagnostic::new(format!("`{key}` of {} is out of range", self.title)).at(&node.at);
            let bounds =
                if high >= i64::MAX as u64 { format!("at least {low}") } else { format!("{low} to {high}") };
            self.report(fault.label(format!("must be {bounds}")).help(format!("give {bounds}")));
        }
        value
    }

    /// The same, as `usize`; `high` bounds it.
    pub(super) fn count(&self, key: &str, low: usize, high: usize) -> Option<usize> {
        self.integer(key, low as u64..=high as u64).and_then(|value| usize::try_from(value).ok())
    }

    pub(super) fn boolean(&self, key: &str) -> Option<bool> {
        let node = self.node(key)?;
        match node.value {
            Value::Boolean(value) => Some(value),
            _ => {
                self.wrong_type(key, node, "true or false", "true");
                None
            }
        }
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, key: &str, choices: &[(&'static str, T)]) -> Option<Located<T>> {
        let example = choices.first().map_or("", |(word, _)| word);
        let text = self.string(key, example)?;
        if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text.value) {
            return Some(text.map(|_| *value));
        }
        let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
        let fault =
            Diagnostic::new(format!("`{key}` of {} is {:?}, which it cannot be", self.title, text.value));
        let help = match nearest(&text.value, words.iter().copied()) {
            Some(nearest) => format!("did you mean {nearest:?}? It may be {}", choices_list(&words)),
            None => format!("it may be {}", choices_list(&words)),
        };
        self.report(fault.at(&text.at).label("unknown value").help(help));
        None
    }
}

/// A size as people write it.
fn size_text(bytes: u64) -> String {
    for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes != 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    format!("{bytes}B")
}
