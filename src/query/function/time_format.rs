//! Timestamps and intervals as text.
//!
//! A timestamp is written `2026-11-22 23:57:49.120`, an interval `+1 02:03:04.005` (days, then hours to
//! milliseconds). Patterns of `DATE_FORMAT`, of which all other letters are refused:
//!
//! | letters | meaning |
//! |---|---|
//! | `yyyy` | year, at least 4 digits |
//! | `MM`, `M` | month, 2 digits or as many as needed |
//! | `dd`, `d` | day of the month |
//! | `HH`, `H` | hour, 0 to 23 |
//! | `mm`, `m` | minute |
//! | `ss`, `s` | second |
//! | `SSS` | millisecond |
//! | `'text'`, `''` | the text, a quote |

use crate::metrics::RejectCause;
use crate::query::vector::cause::{INVALID_CAST, OUT_OF_DOMAIN};

use super::calendar::{DAY_MS, Date, HOUR_MS, MINUTE_MS, SECOND_MS};

/// The longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 256;

/// The timestamp of a text: a date, or a date and time with a space or `T` between, as UTC or with an offset.
/// Digits below the millisecond are cut off.
pub(crate) fn parse_timestamp(text: &str) -> Result<i64, RejectCause> {
    crate::query::timestamp::parse_timestamp(text.trim()).map_err(|_| INVALID_CAST)
}

/// Appends a timestamp.
pub(crate) fn write_timestamp(to: &mut String, timestamp: i64) {
    let date = Date::of(timestamp);
    digits(to, date.year, 4);
    for (separator, number) in [('-', date.month), ('-', date.day)] {
        to.push(separator);
        digits(to, number, 2);
    }
    to.push(' ');
    time_of_day(to, timestamp.rem_euclid(DAY_MS));
}

/// Appends an interval.
pub(crate) fn write_interval(to: &mut String, interval: i64) {
    to.push(if interval < 0 { '-' } else { '+' });
    let day = DAY_MS.unsigned_abs();
    digits(to, i64::try_from(interval.unsigned_abs() / day).unwrap_or(i64::MAX), 1);
    to.push(' ');
    time_of_day(to, i64::try_from(interval.unsigned_abs() % day).unwrap_or(0));
}

fn time_of_day(to: &mut String, milliseconds: i64) {
    digits(to, milliseconds / HOUR_MS, 2);
    to.push(':');
    digits(to, milliseconds / MINUTE_MS % 60, 2);
    to.push(':');
    digits(to, milliseconds / SECOND_MS % 60, 2);
    to.push('.');
    digits(to, milliseconds % SECOND_MS, 3);
}

/// Appends a number with zeros before it up to so many digits.
fn digits(to: &mut String, number: i64, least: usize) {
    if number < 0 {
        to.push('-');
    }
    let mut buffer = itoa::Buffer::new();
    let text = buffer.format(number.unsigned_abs());
    (text.len()..least).for_each(|_| to.push('0'));
    to.push_str(text);
}

/// Checks a pattern of `DATE_FORMAT`.
///
/// # Errors
/// A text for the user: the pattern has letters that mean nothing here.
pub(crate) fn check_date_format(pattern: &str) -> Result<(), String> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(format!("a DATE_FORMAT pattern is at most {PATTERN_BYTES_MAX} bytes"));
    }
    write_pattern(&mut String::new(), pattern, 0).map_err(|letters| {
        format!(
            "DATE_FORMAT does not know {letters:?} in {pattern:?}; it knows yyyy, MM, M, dd, d, HH, H, mm, m, \
             ss, s, SSS, and text in single quotes"
        )
    })
}

/// Appends a timestamp in the format of a pattern that is checked here.
pub(super) fn format_timestamp(to: &mut String, pattern: &str, timestamp: i64) -> Result<(), RejectCause> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(OUT_OF_DOMAIN);
    }
    write_pattern(to, pattern, timestamp).map_err(|_| OUT_OF_DOMAIN)
}

/// Appends a timestamp; the error is the letters the pattern may not have.
fn write_pattern<'p>(to: &mut String, pattern: &'p str, timestamp: i64) -> Result<(), &'p str> {
    let date = Date::of(timestamp);
    let time = timestamp.rem_euclid(DAY_MS);
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        if first == '\'' {
            rest = quoted(to, &rest[1..]).ok_or(rest)?;
            continue;
        }
        let end = rest.find(|character| character != first).unwrap_or(rest.len());
        let letters;
        (letters, rest) = rest.split_at(end);
        match letters {
            "yyyy" => digits(to, date.year, 4),
            "MM" | "M" => digits(to, date.month, end),
            "dd" | "d" => digits(to, date.day, end),
            "HH" | "H" => digits(to, time / HOUR_MS, end),
            "mm" | "m" => digits(to, time / MINUTE_MS % 60, end),
            "ss" | "s" => digits(to, time / SECOND_MS % 60, end),
            "SSS" => digits(to, time % SECOND_MS, end),
            _ if first.is_ascii_alphabetic() => return Err(letters),
            text => to.push_str(text),
        }
    }
    Ok(())
}

/// Appends the text up to the next quote, and gives what is behind it; two quotes are one.
fn quoted<'p>(to: &mut String, rest: &'p str) -> Option<&'p str> {
    let (text, behind) = rest.split_once('\'')?;
    to.push_str(if text.is_empty() { "'" } else { text });
    Some(behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut String)) -> String {
        let mut text = String::new();
        write(&mut text);
        text
    }

    #[test]
    fn timestamps_and_intervals_have_texts() {
        assert_eq!(written(|to| write_timestamp(to, 1_795_391_869_120)), "2026-11-22 23:57:49.120");
        assert_eq!(written(|to| write_timestamp(to, -1)), "1969-12-31 23:59:59.999");
        assert_eq!(written(|to| write_timestamp(to, i64::MIN)), "-292275055-05-16 16:47:04.192");
        assert_eq!(written(|to| write_interval(to, 93_784_005)), "+1 02:03:04.005");
        assert_eq!(written(|to| write_interval(to, i64::MIN)), "-106751991167 07:12:55.808");
    }

    #[test]
    fn texts_are_read_as_timestamps() {
        for (text, expected) in [
            ("2026-11-22 23:57:49.120", Some(1_795_391_869_120)),
            ("2026-11-22T23:57:49.1209Z", Some(1_795_391_869_120)),
            (" 2026-11-23T00:57:49+01:00 ", Some(1_795_391_869_000)),
            ("1969-12-31T23:59:59.9999Z", Some(-1)),
            ("1970-01-02", Some(86_400_000)),
            ("1970-01-32", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(parse_timestamp(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn patterns_are_checked() {
        let pattern = "yyyy-MM-dd'T'HH:mm:ss.SSS'''Z' d/M";
        check_date_format(pattern).unwrap();
        let text = written(|to| format_timestamp(to, pattern, 86_400_005).unwrap());
        assert_eq!(text, "1970-01-02T00:00:00.005'Z 2/1");
        assert!(check_date_format("EEE, dd").unwrap_err().contains("EEE"));
        assert!(check_date_format("yyyy 'open").unwrap_err().contains("'open"));
        assert!(check_date_format("yyyyMMddMMM").unwrap_err().contains("MMM"));
    }
}
