//! Texts: length, case, trimming, joining, replacing, single characters.
//!
//! Lengths and places count characters (Unicode scalar values), the first being 1.

use crate::metrics::RejectCause;
use crate::query::column::Column;
use crate::query::sql_type::SqlType::{BigInt, Bytes, String as Text};
use crate::query::vector::{Failures, Vector};

use super::kernel::{
    COLUMN_TEXT_BYTES_MAX, TEXT_BYTES_MAX, TEXT_MAX, integer_rows, nulls_of, text_column, text_rows,
};
use super::registry::{Function, form, variadic};

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "CHAR_LENGTH",
        aliases: &["CHARACTER_LENGTH", "LENGTH"],
        about: "The number of characters.",
        forms: &[form(&[Text], BigInt, |a, n, f| {
            integer_rows(a, n, f, |row| Ok(length(a[0].text(row).chars().count())))
        })],
    },
    Function {
        name: "OCTET_LENGTH",
        aliases: &[],
        about: "The number of bytes.",
        forms: &[
            form(&[Text], BigInt, |a, n, f| integer_rows(a, n, f, |row| Ok(length(a[0].text(row).len())))),
            form(&[Bytes], BigInt, |a, n, f| integer_rows(a, n, f, |row| Ok(length(a[0].blob(row).len())))),
        ],
    },
    Function {
        name: "UPPER",
        aliases: &[],
        about: "The text in upper case.",
        forms: &[form(&[Text], Text, |a, n, f| text_rows(a, n, f, |row, to| upper(to, a[0].text(row))))],
    },
    Function {
        name: "LOWER",
        aliases: &[],
        about: "The text in lower case.",
        forms: &[form(&[Text], Text, |a, n, f| text_rows(a, n, f, |row, to| lower(to, a[0].text(row))))],
    },
    Function {
        name: "TRIM",
        aliases: &["BTRIM"],
        about: "The text without spaces, or the characters given, at both ends.",
        forms: &[
            form(&[Text], Text, |a, n, f| {
                text_rows(a, n, f, |row, to| pushed(to, a[0].text(row).trim_matches(' ')))
            }),
            form(&[Text, Text], Text, |a, n, f| {
                text_rows(a, n, f, |row, to| pushed(to, a[0].text(row).trim_matches(any_of(a[1].text(row)))))
            }),
        ],
    },
    Function {
        name: "LTRIM",
        aliases: &[],
        about: "The text without spaces, or the characters given, at its start.",
        forms: &[
            form(&[Text], Text, |a, n, f| {
                text_rows(a, n, f, |row, to| pushed(to, a[0].text(row).trim_start_matches(' ')))
            }),
            form(&[Text, Text], Text, |a, n, f| {
                text_rows(a, n, f, |row, to| {
                    pushed(to, a[0].text(row).trim_start_matches(any_of(a[1].text(row))))
                })
            }),
        ],
    },
    Function {
        name: "RTRIM",
        aliases: &[],
        about: "The text without spaces, or the characters given, at its end.",
        forms: &[
            form(&[Text], Text, |a, n, f| {
                text_rows(a, n, f, |row, to| pushed(to, a[0].text(row).trim_end_matches(' ')))
            }),
            form(&[Text, Text], Text, |a, n, f| {
                text_rows(a, n, f, |row, to| {
                    pushed(to, a[0].text(row).trim_end_matches(any_of(a[1].text(row))))
                })
            }),
        ],
    },
    Function {
        name: "CONCAT",
        aliases: &[],
        about: "The texts one behind the other; NULL when one is NULL.",
        forms: &[variadic(&[Text], Text, |a, n, f| {
            text_rows(a, n, f, |row, to| a.iter().try_for_each(|text| appended(to, text.text(row))))
        })],
    },
    Function {
        name: "CONCAT_WS",
        aliases: &[],
        about: "The texts behind the first one that are not NULL, with the first one between them.",
        forms: &[variadic(&[Text, Text], Text, concat_with_separator)],
    },
    Function {
        name: "REPLACE",
        aliases: &[],
        about: "The text with each occurrence of the second one replaced by the third; as it is when that is empty.",
        forms: &[form(&[Text, Text, Text], Text, |a, n, f| {
            text_rows(a, n, f, |row, to| replace(to, a[0].text(row), a[1].text(row), a[2].text(row)))
        })],
    },
    Function {
        name: "REVERSE",
        aliases: &[],
        about: "The characters from the last to the first.",
        forms: &[form(&[Text], Text, |a, n, f| {
            text_rows(a, n, f, |row, to| extended(to, a[0].text(row).chars().rev()))
        })],
    },
    Function {
        name: "ASCII",
        aliases: &[],
        about: "The code of the first character; 0 of an empty text.",
        forms: &[form(&[Text], BigInt, |a, n, f| {
            integer_rows(a, n, f, |row| {
                Ok(a[0].text(row).chars().next().map_or(0, |first| i64::from(u32::from(first))))
            })
        })],
    },
    Function {
        name: "CHR",
        aliases: &[],
        about: "The character of a code modulo 256; an empty text below zero.",
        forms: &[form(&[BigInt], Text, |a, n, f| {
            text_rows(a, n, f, |row, to| {
                let code = a[0].integers().get(row);
                extended(to, (code >= 0).then(|| char::from(code.to_le_bytes()[0])))
            })
        })],
    },
    Function {
        name: "HEX",
        aliases: &["TO_HEX"],
        about: "The hexadecimal digits of a number (as 64 bits), or of the bytes of a text.",
        forms: &[
            form(&[BigInt], Text, |a, n, f| {
                text_rows(a, n, f, |row, to| hex_number(to, a[0].integers().get(row)))
            }),
            form(&[Text], Text, |a, n, f| {
                text_rows(a, n, f, |row, to| hex_bytes(to, a[0].text(row).as_bytes()))
            }),
            form(&[Bytes], Text, |a, n, f| text_rows(a, n, f, |row, to| hex_bytes(to, a[0].blob(row)))),
        ],
    },
];

/// A length as a `BIGINT`.
pub(super) fn length(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

/// Appends a text.
pub(super) fn pushed(to: &mut String, text: &str) -> Result<(), RejectCause> {
    to.push_str(text);
    Ok(())
}

fn extended(to: &mut String, characters: impl IntoIterator<Item = char>) -> Result<(), RejectCause> {
    to.extend(characters);
    Ok(())
}

fn upper(to: &mut String, text: &str) -> Result<(), RejectCause> {
    if !text.is_ascii() {
        return extended(to, text.chars().flat_map(char::to_uppercase));
    }
    let start = to.len();
    to.push_str(text);
    to[start..].make_ascii_uppercase();
    Ok(())
}

fn lower(to: &mut String, text: &str) -> Result<(), RejectCause> {
    if !text.is_ascii() {
        return extended(to, text.chars().flat_map(char::to_lowercase));
    }
    let start = to.len();
    to.push_str(text);
    to[start..].make_ascii_lowercase();
    Ok(())
}

/// Appends a text, where the whole stays within the limit of a column: for functions of many arguments.
fn appended(to: &mut String, text: &str) -> Result<(), RejectCause> {
    if to.len() + text.len() > COLUMN_TEXT_BYTES_MAX + TEXT_BYTES_MAX {
        return Err(TEXT_MAX);
    }
    pushed(to, text)
}

fn any_of(characters: &str) -> impl Fn(char) -> bool + Copy {
    move |character| characters.contains(character)
}

fn concat_with_separator(arguments: &[Vector<'_>], len: usize, failures: &mut Failures) -> Column {
    let nulls = nulls_of(&arguments[..1], len);
    text_column(nulls, len, failures, |row, to| {
        let separator = arguments[0].text(row);
        let mut texts = arguments[1..].iter().filter(|text| !text.is_null(row));
        if let Some(first) = texts.next() {
            appended(to, first.text(row))?;
        }
        texts.try_for_each(|text| {
            appended(to, separator)?;
            appended(to, text.text(row))
        })
    })
}

fn replace(to: &mut String, text: &str, from: &str, by: &str) -> Result<(), RejectCause> {
    if from.is_empty() {
        return pushed(to, text);
    }
    let start = to.len();
    let mut pieces = text.split(from);
    to.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        if to.len() - start > TEXT_BYTES_MAX {
            return Err(TEXT_MAX);
        }
        appended(to, by)?;
        to.push_str(piece);
    }
    Ok(())
}

const HEX_DIGITS: [char; 16] =
    ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];

fn hex_bytes(to: &mut String, bytes: &[u8]) -> Result<(), RejectCause> {
    if bytes.len() > TEXT_BYTES_MAX {
        return Err(TEXT_MAX);
    }
    extended(to, bytes.iter().flat_map(|byte| [hex_digit(byte >> 4), hex_digit(byte & 0xF)]))
}

fn hex_digit(nibble: u8) -> char {
    HEX_DIGITS.get(usize::from(nibble)).copied().unwrap_or('0')
}

fn hex_number(to: &mut String, number: i64) -> Result<(), RejectCause> {
    let digits = (64 - number.leading_zeros()).div_ceil(4).max(1);
    let nibbles = (0..digits).rev().map(|place| ((number >> (4 * place)) & 0xF).to_le_bytes()[0]);
    extended(to, nibbles.map(hex_digit))
}
