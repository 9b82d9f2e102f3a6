//! Parts of texts and where they are: `POSITION`, `SUBSTRING`, `SPLIT_INDEX`, prefixes and suffixes.
//!
//! Places count characters, the first being 1. `SUBSTRING` from 0 is from 1, from a negative place counted from the
//! end, as in Flink. The fields of `SPLIT_INDEX` count from 0.

use crate::metrics::RejectCause;
use crate::query::column::{Column, Texts, Values};
use crate::query::sql_type::SqlType::{BigInt, Boolean, String as Text};
use crate::query::vector::cause::OUT_OF_DOMAIN;
use crate::query::vector::{Failures, Vector};

use super::kernel::{boolean_rows, column, integer_rows, nulls_of, text_rows};
use super::registry::{Function, form};
use super::text::{length, pushed};

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "POSITION",
        aliases: &["LOCATE"],
        about: "The place of the first text in the second, from the place given on; 0 when it is not there.",
        forms: &[
            form(&[Text, Text], BigInt, |a, n, f| {
                integer_rows(a, n, f, |row| Ok(position(a[0].text(row), a[1].text(row), 1)))
            }),
            form(&[Text, Text, BigInt], BigInt, |a, n, f| {
                integer_rows(a, n, f, |row| {
                    Ok(position(a[0].text(row), a[1].text(row), a[2].integers().get(row)))
                })
            }),
        ],
    },
    Function {
        name: "INSTR",
        aliases: &[],
        about: "The place of the second text in the first; 0 when it is not there.",
        forms: &[form(&[Text, Text], BigInt, |a, n, f| {
            integer_rows(a, n, f, |row| Ok(position(a[1].text(row), a[0].text(row), 1)))
        })],
    },
    Function {
        name: "SUBSTRING",
        aliases: &["SUBSTR"],
        about: "The text from a place on, at most so many characters.",
        forms: &[
            form(&[Text, BigInt], Text, |a, n, f| {
                text_rows(a, n, f, |row, to| {
                    pushed(to, substring(a[0].text(row), a[1].integers().get(row), i64::MAX)?)
                })
            }),
            form(&[Text, BigInt, BigInt], Text, |a, n, f| {
                text_rows(a, n, f, |row, to| {
                    let (from, most) = (a[1].integers().get(row), a[2].integers().get(row));
                    pushed(to, substring(a[0].text(row), from, most)?)
                })
            }),
        ],
    },
    Function {
        name: "LEFT",
        aliases: &[],
        about: "The first characters of a text, so many.",
        forms: &[form(&[Text, BigInt], Text, |a, n, f| {
            text_rows(a, n, f, |row, to| {
                let text = a[0].text(row);
                pushed(to, &text[..byte_of(text, count(a[1].integers().get(row)))])
            })
        })],
    },
    Function {
        name: "RIGHT",
        aliases: &[],
        about: "The last characters of a text, so many.",
        forms: &[form(&[Text, BigInt], Text, |a, n, f| {
            text_rows(a, n, f, |row, to| {
                let text = a[0].text(row);
                let skipped = text.chars().count().saturating_sub(count(a[1].integers().get(row)));
                pushed(to, &text[byte_of(text, skipped)..])
            })
        })],
    },
    Function {
        name: "SPLIT_INDEX",
        aliases: &[],
        about: "The field of a text that is split at each second text, counted from 0; NULL when there is none.",
        forms: &[form(&[Text, Text, BigInt], Text, split_index)],
    },
    Function {
        name: "STARTSWITH",
        aliases: &["STARTS_WITH"],
        about: "Whether the first text starts with the second.",
        forms: &[form(&[Text, Text], Boolean, |a, n, f| {
            boolean_rows(a, n, f, |row| Ok(a[0].text(row).starts_with(a[1].text(row))))
        })],
    },
    Function {
        name: "ENDSWITH",
        aliases: &["ENDS_WITH"],
        about: "Whether the first text ends with the second.",
        forms: &[form(&[Text, Text], Boolean, |a, n, f| {
            boolean_rows(a, n, f, |row| Ok(a[0].text(row).ends_with(a[1].text(row))))
        })],
    },
];

/// A number of characters: none when negative.
pub(super) fn count(count: i64) -> usize {
    usize::try_from(count.max(0)).unwrap_or(usize::MAX)
}

/// The byte before which there are `count` characters, or the text's end.
pub(super) fn byte_of(text: &str, count: usize) -> usize {
    // A character has at least a byte.
    if count >= text.len() {
        return text.len();
    }
    text.char_indices().nth(count).map_or(text.len(), |(byte, _)| byte)
}

/// The place of `wanted` in `text` at or behind the place `from`, or 0.
fn position(wanted: &str, text: &str, from: i64) -> i64 {
    if from < 1 {
        return 0;
    }
    let skipped = count(from - 1);
    let start = byte_of(text, skipped);
    let found = memchr::memmem::find(&text.as_bytes()[start..], wanted.as_bytes());
    // An empty text is found at the end, but not behind it.
    let is_behind = skipped > 0 && start == text.len() && text.chars().count() < skipped;
    match found {
        Some(at) if !is_behind => length(text[..start + at].chars().count() + 1),
        _ => 0,
    }
}

fn substring(text: &str, from: i64, most: i64) -> Result<&str, RejectCause> {
    if most < 0 {
        return Err(OUT_OF_DOMAIN);
    }
    let skipped = if from < 0 {
        let back = usize::try_from(from.unsigned_abs()).unwrap_or(usize::MAX);
        match text.chars().count().checked_sub(back) {
            Some(skipped) => skipped,
            None => return Ok(""),
        }
    } else {
        count(from - 1)
    };
    let rest = &text[byte_of(text, skipped)..];
    Ok(&rest[..byte_of(rest, count(most))])
}

fn split_index(arguments: &[Vector<'_>], len: usize, failures: &mut Failures) -> Column {
    let mut nulls = nulls_of(arguments, len);
    nulls.resize(len, false);
    let mut texts = Texts::default();
    for (row, null) in nulls.iter_mut().enumerate() {
        let (text, separator) = (arguments[0].text(row), arguments[1].text(row));
        let field = usize::try_from(arguments[2].integers().get(row)).ok();
        if !*null && separator.is_empty() {
            failures.add(row, OUT_OF_DOMAIN);
        }
        let found = match field {
            Some(field) if !*null && !separator.is_empty() => text.split(separator).nth(field),
            _ => None,
        };
        *null |= found.is_none();
        texts.push(found.unwrap_or_default());
    }
    column(Text, Values::String(texts), nulls)
}
