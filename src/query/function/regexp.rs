//! Regular expressions: `REGEXP`, `REGEXP_EXTRACT`, `REGEXP_REPLACE`.
//!
//! The syntax is that of the `regex-lite` crate: classes such as `\d` and `\w` are of ASCII, there are no references back and no looking
//! around, and so time is at most proportional to the length of the text times that of the pattern. A pattern is a literal: it is looked
//! at when the query is planned, and compiled once a batch.
//!
//! Limits: a compiled pattern takes at most [`PATTERN_BYTES_MAX`], and nests at most [`PATTERN_DEPTH_MAX`] groups.

use regex_lite::{Regex, RegexBuilder};

use crate::metrics::RejectCause;
use crate::query::column::{Column, Texts, Values};
use crate::query::sql_type::SqlType::{BigInt, Boolean, String as Text};
use crate::query::vector::cause::OUT_OF_DOMAIN;
use crate::query::vector::{Failures, Vector};

use super::kernel::{TEXT_BYTES_MAX, TEXT_MAX, boolean_rows, column, nulls_of, text_rows};
use super::registry::{Function, form};
use super::text::pushed;

/// The largest compiled pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 32 * 1024;
/// Groups inside each other.
const PATTERN_DEPTH_MAX: u32 = 32;

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "REGEXP",
        aliases: &["REGEXP_LIKE"],
        about: "Whether a part of the text matches the regular expression, a literal; as text REGEXP pattern.",
        forms: &[form(&[Text, Text], Boolean, |a, n, f| {
            let patterns = Patterns::of(&a[1]);
            boolean_rows(a, n, f, |row| patterns.with(row, |pattern| Ok(pattern.is_match(a[0].text(row)))))
        })],
    },
    Function {
        name: "REGEXP_EXTRACT",
        aliases: &[],
        about: "The first part of the text that matches the regular expression, or its group of that number; NULL when none does.",
        forms: &[form(&[Text, Text], Text, extract), form(&[Text, Text, BigInt], Text, extract)],
    },
    Function {
        name: "REGEXP_REPLACE",
        aliases: &[],
        about: "The text with each part that matches the regular expression replaced by the third text, which is taken as it is.",
        forms: &[form(&[Text, Text, Text], Text, |a, n, f| {
            let patterns = Patterns::of(&a[1]);
            text_rows(a, n, f, |row, to| {
                patterns.with(row, |pattern| replace(to, a[0].text(row), pattern, a[2].text(row)))
            })
        })],
    },
];

/// # Errors
/// A text for the user: what is wrong with the pattern.
pub(crate) fn check_pattern(pattern: &str) -> Result<(), String> {
    compile(pattern).map(drop).map_err(|error| format!("'{pattern}' is no regular expression: {error}"))
}

fn compile(pattern: &str) -> Result<Regex, regex_lite::Error> {
    RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).nest_limit(PATTERN_DEPTH_MAX).build()
}

/// The compiled patterns of the rows.
enum Patterns<'a> {
    /// All the same; none when it is NULL or no pattern.
    One(Option<Regex>),
    Each(&'a Vector<'a>),
}

impl<'a> Patterns<'a> {
    fn of(vector: &'a Vector<'a>) -> Self {
        match vector {
            Vector::Constant(..) if vector.is_null(0) => Self::One(None),
            Vector::Constant(..) => Self::One(compile(vector.text(0)).ok()),
            _ => Self::Each(vector),
        }
    }

    fn with<R>(
        &self,
        row: usize,
        with: impl FnOnce(&Regex) -> Result<R, RejectCause>,
    ) -> Result<R, RejectCause> {
        match self {
            Self::One(Some(pattern)) => with(pattern),
            Self::One(None) => Err(OUT_OF_DOMAIN),
            Self::Each(vector) => {
                compile(vector.text(row)).map_err(|_| OUT_OF_DOMAIN).and_then(|pattern| with(&pattern))
            }
        }
    }
}

fn extract(arguments: &[Vector<'_>], len: usize, failures: &mut Failures) -> Column {
    let patterns = Patterns::of(&arguments[1]);
    let mut nulls = nulls_of(arguments, len);
    let mut texts = Texts::default();
    for row in 0..len {
        if nulls.get(row) == Some(&true) {
            texts.push("");
            continue;
        }
        let text = arguments[0].text(row);
        let group = arguments.get(2).map_or(0, |group| group.integers().get(row));
        let found = patterns.with(row, |pattern| {
            let group = usize::try_from(group).map_err(|_| OUT_OF_DOMAIN)?;
            if group >= pattern.captures_len() {
                return Err(OUT_OF_DOMAIN);
            }
            if group == 0 {
                return Ok(pattern.find(text).map(|found| found.range()));
            }
            Ok(pattern.captures(text).and_then(|found| found.get(group)).map(|found| found.range()))
        });
        match found {
            Ok(Some(range)) => texts.push(&text[range]),
            Ok(None) => {
                nulls.resize(len, false);
                nulls[row] = true;
                texts.push("");
            }
            Err(cause) => {
                failures.add(row, cause);
                texts.push("");
            }
        }
    }
    column(Text, Values::String(texts), nulls)
}

fn replace(to: &mut String, text: &str, pattern: &Regex, by: &str) -> Result<(), RejectCause> {
    let (from, mut rest) = (to.len(), 0);
    for found in pattern.find_iter(text) {
        pushed(to, &text[rest..found.start()])?;
        pushed(to, by)?;
        rest = found.end();
        if to.len() - from > TEXT_BYTES_MAX {
            return Err(TEXT_MAX);
        }
    }
    pushed(to, &text[rest..])?;
    if to.len() - from > TEXT_BYTES_MAX { Err(TEXT_MAX) } else { Ok(()) }
}
