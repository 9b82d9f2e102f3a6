//! Texts made longer: `LPAD`, `RPAD`, `REPEAT`, within the limit of a function's text.

use crate::metrics::RejectCause;
use crate::query::column::Column;
use crate::query::sql_type::SqlType::{BigInt, String as Text};
use crate::query::vector::cause::OUT_OF_DOMAIN;
use crate::query::vector::{Failures, Vector};

use super::kernel::{TEXT_BYTES_MAX, TEXT_MAX, text_rows};
use super::registry::{Function, form};
use super::text_search::{byte_of, count};

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "LPAD",
        aliases: &[],
        about: "The text with the third (a space when left out) before it up to so many characters, or cut to them.",
        forms: &[
            form(&[Text, BigInt], Text, |a, n, f| padded(a, n, f, Side::Left)),
            form(&[Text, BigInt, Text], Text, |a, n, f| padded(a, n, f, Side::Left)),
        ],
    },
    Function {
        name: "RPAD",
        aliases: &[],
        about: "The text with the third (a space when left out) behind it up to so many characters, or cut to them.",
        forms: &[
            form(&[Text, BigInt], Text, |a, n, f| padded(a, n, f, Side::Right)),
            form(&[Text, BigInt, Text], Text, |a, n, f| padded(a, n, f, Side::Right)),
        ],
    },
    Function {
        name: "REPEAT",
        aliases: &[],
        about: "The text so many times; an empty text when that is not above zero.",
        forms: &[form(&[Text, BigInt], Text, |a, n, f| {
            text_rows(a, n, f, |row, to| repeat(to, a[0].text(row), count(a[1].integers().get(row))))
        })],
    },
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

fn padded(arguments: &[Vector<'_>], len: usize, failures: &mut Failures, side: Side) -> Column {
    text_rows(arguments, len, failures, |row, to| {
        let text = arguments[0].text(row);
        let wanted = usize::try_from(arguments[1].integers().get(row)).map_err(|_| OUT_OF_DOMAIN)?;
        let padding = arguments.get(2).map_or(" ", |padding| padding.text(row));
        let kept = &text[..byte_of(text, wanted)];
        let missing = wanted - kept.chars().count();
        if missing > 0 && padding.is_empty() {
            return Err(OUT_OF_DOMAIN);
        }
        if missing > TEXT_BYTES_MAX {
            return Err(TEXT_MAX);
        }
        if side == Side::Right {
            to.push_str(kept);
        }
        to.extend(padding.chars().cycle().take(missing));
        if side == Side::Left {
            to.push_str(kept);
        }
        Ok(())
    })
}

fn repeat(to: &mut String, text: &str, times: usize) -> Result<(), RejectCause> {
    if text.len().saturating_mul(times) > TEXT_BYTES_MAX {
        return Err(TEXT_MAX);
    }
    // An empty text would be repeated for nothing.
    let times = if text.is_empty() { 0 } else { times };
    (0..times).for_each(|_| to.push_str(text));
    Ok(())
}
