//! Interval literals: `INTERVAL '5' SECOND`, `INTERVAL '1 02:30' DAY TO MINUTE`.

use sqlparser::ast::{DateTimeField, Expr, Interval, Value};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Its length in milliseconds.
///
/// # Errors
/// A sentence that says what is wrong.
pub(super) fn milliseconds(interval: &Interval) -> Result<i64, String> {
    let text = match interval.value.as_ref() {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::Number(text, _) => text.clone(),
            other => return Err(format!("{other} is not the number of an interval")),
        },
        other => {
            return Err(format!("{other} is not the number of an interval; write it as INTERVAL '5' SECOND"));
        }
    };
    let Some(leading) = &interval.leading_field else {
        return Err("the interval has no unit; write it as INTERVAL '5' SECOND".to_owned());
    };
    let (first, name) = unit(leading)?;
    let (is_negative, digits) = match text.trim().strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.trim()),
    };
    let length = match &interval.last_field {
        None => number(digits, first).ok_or_else(|| format!("'{text}' is not a number of {name}s"))?,
        Some(last) => {
            let (last, last_name) = unit(last)?;
            if last >= first {
                return Err(format!(
                    "an interval goes from the longer unit to the shorter, not {name} TO {last_name}"
                ));
            }
            parts(digits, first, last).ok_or_else(|| format!("'{text}' is not {name} TO {last_name}"))?
        }
    };
    Ok(if is_negative { -length } else { length })
}

fn unit(field: &DateTimeField) -> Result<(i64, &'static str), String> {
    use DateTimeField::{
        Day, Days, Hour, Hours, Millisecond, Milliseconds, Minute, Minutes, Second, Seconds, Week, Weeks,
    };
    Ok(match field {
        Week(_) | Weeks => (7 * DAY, "WEEK"),
        Day | Days => (DAY, "DAY"),
        Hour | Hours => (HOUR, "HOUR"),
        Minute | Minutes => (MINUTE, "MINUTE"),
        Second | Seconds => (SECOND, "SECOND"),
        Millisecond | Milliseconds => (1, "MILLISECOND"),
        other => {
            return Err(format!(
                "{other} is not a unit of intervals; WEEK, DAY, HOUR, MINUTE and SECOND are"
            ));
        }
    })
}

/// A number with at most three decimals, in units of `unit` milliseconds.
fn number(text: &str, unit: i64) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) || fraction.len() > 3 {
        return None;
    }
    let thousandths = format!("{fraction:0<3}").parse::<i64>().ok()?;
    let whole = whole.parse::<i64>().ok()?.checked_mul(unit)?;
    whole.checked_add(thousandths * unit / 1_000)
}

/// Days, hours, minutes and seconds from `first` down to `last`: `1 02:30:00.5`.
fn parts(text: &str, first: i64, last: i64) -> Option<i64> {
    let units = [DAY, HOUR, MINUTE, SECOND];
    let mut units = units.into_iter().filter(|unit| (last..=first).contains(unit));
    let mut length = 0i64;
    for part in text.split([' ', ':']) {
        let unit = units.next()?;
        if unit != SECOND && part.contains('.') {
            return None;
        }
        length = length.checked_add(number(part, unit)?)?;
    }
    units.next().is_none().then_some(length)
}

#[cfg(test)]
mod tests {
    use sqlparser::parser::Parser;

    use super::*;

    fn read(text: &str) -> Result<i64, String> {
        let mut parser = Parser::new(&crate::query::text::DIALECT).try_with_sql(text).unwrap();
        match parser.parse_expr().unwrap() {
            Expr::Interval(interval) => milliseconds(&interval),
            other => panic!("{other} is no interval"),
        }
    }

    #[test]
    fn intervals_are_read() {
        assert_eq!(read("INTERVAL '5' SECOND"), Ok(5_000));
        assert_eq!(read("INTERVAL '1.5' SECONDS"), Ok(1_500));
        assert_eq!(read("INTERVAL '-2' MINUTE"), Ok(-120_000));
        assert_eq!(read("INTERVAL '1 02:30' DAY TO MINUTE"), Ok(95_400_000));
        assert_eq!(read("INTERVAL '01:30.25' MINUTE TO SECOND"), Ok(90_250));
        assert_eq!(read("INTERVAL '2' WEEK"), Ok(14 * DAY));
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in [
            "INTERVAL '5' MONTH",
            "INTERVAL 'x' SECOND",
            "INTERVAL '1:2:3' MINUTE TO SECOND",
            "INTERVAL '99999999999999' DAY",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
