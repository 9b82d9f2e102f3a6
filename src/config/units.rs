//! Sizes and durations as people write them: `64KiB`, `2s`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// Why a text is not a size or a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnitError {
    /// The number in front is missing or malformed.
    #[error("{text:?} does not begin with a whole number; write for instance {example}")]
    Number {
        /// The text.
        text: String,
        /// A text that would do.
        example: &'static str,
    },
    /// The unit behind the number is unknown.
    #[error("{text:?} has no known unit: use one of {units}")]
    Unit {
        /// The text.
        text: String,
        /// The known units.
        units: &'static str,
    },
    /// The value does not fit.
    #[error("{text:?} is too large")]
    TooLarge {
        /// The text.
        text: String,
    },
}

fn split<'a>(text: &'a str, example: &'static str) -> Result<(u64, &'a str), UnitError> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(UnitError::Number { text: text.to_owned(), example });
    }
    let number = number.parse().map_err(|_| UnitError::TooLarge { text: text.to_owned() })?;
    Ok((number, unit.trim()))
}

/// A number of bytes: `512`, `64KiB`, `1MiB`, `2GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// As the length of something in memory; the longest there is where it is longer.
    pub fn in_memory(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (number, unit) = split(text, "64KiB")?;
        let shift = match unit {
            "" | "B" => 0,
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            _ => return Err(UnitError::Unit { text: text.to_owned(), units: "B, KiB, MiB, GiB" }),
        };
        let bytes = number.checked_mul(1 << shift);
        bytes.map(Self).ok_or_else(|| UnitError::TooLarge { text: text.to_owned() })
    }
}

/// A size for people: `512B`, `8.5MiB`, `2GiB`; cut to a tenth of its unit.
pub(crate) fn size_text(bytes: u64) -> String {
    let unit = [(30, "GiB"), (20, "MiB"), (10, "KiB")].into_iter().find(|(shift, _)| bytes >> shift > 0);
    let Some((shift, name)) = unit else { return format!("{bytes}B") };
    let (whole, rest) = (bytes >> shift, bytes & ((1 << shift) - 1));
    if rest == 0 {
        return format!("{whole}{name}");
    }
    let tenths = rest.saturating_mul(10) >> shift;
    format!("{whole}.{tenths}{name}")
}

/// A length of time: `100ms`, `2s`, `5m`, `1h`, `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval(pub Duration);

impl FromStr for Interval {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (number, unit) = split(text, "2s")?;
        let factor_ms = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(UnitError::Unit { text: text.to_owned(), units: "ms, s, m, h, d" }),
        };
        let interval_ms = number.checked_mul(factor_ms);
        interval_ms
            .map(|interval_ms| Self(Duration::from_millis(interval_ms)))
            .ok_or_else(|| UnitError::TooLarge { text: text.to_owned() })
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

macro_rules! deserialize_text {
    ($($unit:ty),*) => {$(
        impl<'de> Deserialize<'de> for $unit {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

deserialize_text!(ByteSize, Interval);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_read_as_written() {
        assert_eq!("64KiB".parse(), Ok(ByteSize(65_536)));
        assert_eq!("512".parse(), Ok(ByteSize(512)));
        assert_eq!("2s".parse(), Ok(Interval(Duration::from_secs(2))));
        assert_eq!("1500 ms".parse(), Ok(Interval(Duration::from_millis(1500))));
        assert_eq!("2m".parse(), Ok(Interval(Duration::from_secs(120))));
        assert_eq!("7d".parse(), Ok(Interval(Duration::from_secs(7 * 86_400))));
    }

    #[test]
    fn sizes_are_shown_in_the_unit_that_suits_them() {
        let shown =
            [0, 1023, 1024, 8_912_896, 320 << 20, (320 << 20) + 1, 3_885_396 << 10, 8 << 30, u64::MAX];
        let expected =
            ["0B", "1023B", "1KiB", "8.5MiB", "320MiB", "320.0MiB", "3.7GiB", "8GiB", "17179869183.9GiB"];
        assert_eq!(shown.map(size_text), expected);
    }

    #[test]
    fn faults_say_what_would_do() {
        let messages = [
            "KiB".parse::<ByteSize>().unwrap_err().to_string(),
            "64KB".parse::<ByteSize>().unwrap_err().to_string(),
            "-1s".parse::<Interval>().unwrap_err().to_string(),
            "2".parse::<Interval>().unwrap_err().to_string(),
            "99999999999999999999s".parse::<Interval>().unwrap_err().to_string(),
        ];
        assert_eq!(
            messages,
            [
                "\"KiB\" does not begin with a whole number; write for instance 64KiB",
                "\"64KB\" has no known unit: use one of B, KiB, MiB, GiB",
                "\"-1s\" does not begin with a whole number; write for instance 2s",
                "\"2\" has no known unit: use one of ms, s, m, h, d",
                "\"99999999999999999999s\" is too large",
            ]
        );
    }
}
