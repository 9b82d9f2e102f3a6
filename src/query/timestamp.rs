//! Timestamps: text to `TIMESTAMP(3)` and back, and the calendar under both.
//!
//! A timestamp is a number of milliseconds since 1970-01-01 00:00:00 UTC in the proleptic Gregorian calendar.
//!
//! Text read, a profile of ISO 8601 and RFC 3339:
//!   date      YYYY-MM-DD                  // alone: its midnight
//!   time      `T`, `t` or one blank, then HH:MM, HH:MM:SS or HH:MM:SS.fff
//!   fraction  behind `.` or `,`, one digit or more; what is below a millisecond is cut off
//!   zone      `Z`, `z`, +HH, +HHMM or +HH:MM (or `-`); none: UTC
//!
//! Limits: years 0000 to 9999 (of the text and of the instant in UTC); offsets below 24 hours; second 60 (a leap
//! second) is refused, it has no milliseconds of its own; hour 24 is refused.
//!
//! Text written: `2026-11-22T10:00:00.000Z`, 24 bytes. A year outside 0000 to 9999, which only arithmetic gives, is
//! written with its sign and as many digits as it needs; such a text is not read back.

use thiserror::Error;

/// Milliseconds of a second.
const SECOND_MS: i64 = 1_000;
/// Milliseconds of a minute.
const MINUTE_MS: i64 = 60 * SECOND_MS;
/// Milliseconds of an hour.
const HOUR_MS: i64 = 60 * MINUTE_MS;
/// Milliseconds of a day.
pub(crate) const DAY_MS: i64 = 24 * HOUR_MS;
/// Days of 400 years, after which the calendar repeats.
const ERA_DAYS: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH_DAYS: i64 = 719_468;

/// The first timestamp text and numbers are read as: 0000-01-01T00:00:00.000Z.
pub(crate) const TIMESTAMP_MIN_MS: i64 = -62_167_219_200_000;
/// The last timestamp text and numbers are read as: 9999-12-31T23:59:59.999Z.
pub(crate) const TIMESTAMP_MAX_MS: i64 = 253_402_300_799_999;

/// Bytes of the longest text of a timestamp: a sign, nine digits of the year, and the rest.
const TEXT_BYTES_MAX: usize = 30;
/// Bytes of the text of a timestamp in the years 0000 to 9999.
#[cfg(test)]
const TEXT_BYTES: usize = 24;

/// Why a text is no timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum TimestampError {
    /// It is not written as one.
    #[error(
        "not a timestamp at byte {position}: write it as 2026-11-22T10:00:00Z or 2026-11-22 10:00:00.000"
    )]
    Malformed { position: usize },
    /// A month, day, hour, minute, second or offset that there is not.
    #[error("not a timestamp: there is no such {part} (at byte {position})")]
    NoSuch { part: &'static str, position: usize },
    /// The instant is outside the years 0000 to 9999.
    #[error("the timestamp is outside the years 0000 to 9999 in UTC")]
    OutOfRange,
}

/// Days from 1970-01-01 to a date. The month is 1 to 12, the day 1 to 31, the year within ±300 million.
///
/// Counts years from March, so that the leap day is a year's last (H. Hinnant, "chrono-compatible low-level date
/// algorithms").
#[inline]
pub(crate) fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = i64::from((month + 9) % 12);
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    era * ERA_DAYS + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - EPOCH_DAYS
}

/// The year, month and day of a number of days since 1970-01-01, which is within ±100 thousand million.
#[inline]
pub(crate) fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let days = days + EPOCH_DAYS;
    let era = days.div_euclid(ERA_DAYS);
    let day_of_era = days.rem_euclid(ERA_DAYS);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / (ERA_DAYS - 1)) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, small(month), small(day))
}

/// A part of a date or a time, which is below 100.
#[inline]
fn small(part: i64) -> u32 {
    u32::try_from(part).expect("a part of a date or a time is not negative and below 100")
}

/// Days of a month, 1 to 12.
#[inline]
pub(crate) fn days_of_month(year: i64, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Reads a text as a timestamp.
///
/// # Errors
/// Where and why it is none.
#[inline]
pub(crate) fn parse_timestamp(text: &str) -> Result<i64, TimestampError> {
    let mut reader = TextReader { bytes: text.as_bytes(), position: 0 };
    let mut ms = reader.date()? * DAY_MS;
    if !reader.is_at_end() {
        if !reader.skips_one_of(b"Tt ") {
            return Err(reader.malformed());
        }
        ms += reader.time_ms()?;
        ms -= reader.offset_ms()?;
    }
    if !reader.is_at_end() {
        return Err(reader.malformed());
    }
    if (TIMESTAMP_MIN_MS..=TIMESTAMP_MAX_MS).contains(&ms) { Ok(ms) } else { Err(TimestampError::OutOfRange) }
}

/// The bytes of a text not read yet.
struct TextReader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl TextReader<'_> {
    fn is_at_end(&self) -> bool {
        self.position == self.bytes.len()
    }

    #[cold]
    fn malformed(&self) -> TimestampError {
        TimestampError::Malformed { position: self.position }
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.position).copied()
    }

    /// Skips the next byte when it is one of `wanted`.
    #[inline]
    fn skips_one_of(&mut self, wanted: &[u8]) -> bool {
        let is_there = self.peek().is_some_and(|byte| wanted.contains(&byte));
        self.position += usize::from(is_there);
        is_there
    }

    #[inline]
    fn digit(&mut self) -> Option<u32> {
        let digit = self.peek()?.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        self.position += 1;
        Some(u32::from(digit))
    }

    /// A number of exactly `digits` digits, `low` to `high`.
    #[inline]
    fn number(
        &mut self,
        digits: usize,
        (low, high): (u32, u32),
        part: &'static str,
    ) -> Result<u32, TimestampError> {
        let position = self.position;
        let mut number = 0;
        for _ in 0..digits {
            number = number * 10 + self.digit().ok_or_else(|| self.malformed())?;
        }
        if number < low || number > high {
            return Err(TimestampError::NoSuch { part, position });
        }
        Ok(number)
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Result<(), TimestampError> {
        if self.skips_one_of(&[byte]) { Ok(()) } else { Err(self.malformed()) }
    }

    /// A date, in days since 1970-01-01.
    #[inline]
    fn date(&mut self) -> Result<i64, TimestampError> {
        let year = i64::from(self.number(4, (0, 9_999), "year")?);
        self.expect(b'-')?;
        let month = self.number(2, (1, 12), "month")?;
        self.expect(b'-')?;
        let day = self.number(2, (1, days_of_month(year, month)), "day")?;
        Ok(days_from_civil(year, month, day))
    }

    /// A time of day, in milliseconds.
    #[inline]
    fn time_ms(&mut self) -> Result<i64, TimestampError> {
        let hour = self.number(2, (0, 23), "hour")?;
        self.expect(b':')?;
        let minute = self.number(2, (0, 59), "minute")?;
        let mut ms = i64::from(hour) * HOUR_MS + i64::from(minute) * MINUTE_MS;
        if self.skips_one_of(b":") {
            ms += i64::from(self.number(2, (0, 59), "second")?) * SECOND_MS;
            if self.skips_one_of(b".,") {
                ms += self.fraction_ms()?;
            }
        }
        Ok(ms)
    }

    /// The digits behind a second, in milliseconds.
    #[inline]
    fn fraction_ms(&mut self) -> Result<i64, TimestampError> {
        let mut weight = i64::from(self.digit().ok_or_else(|| self.malformed())?) * 100;
        let mut ms = weight;
        weight = 10;
        while let Some(digit) = self.digit() {
            ms += i64::from(digit) * weight;
            weight /= 10;
        }
        Ok(ms)
    }

    /// The zone's offset from UTC, in milliseconds; 0 when there is none.
    #[inline]
    fn offset_ms(&mut self) -> Result<i64, TimestampError> {
        if self.is_at_end() || self.skips_one_of(b"Zz") {
            return Ok(0);
        }
        let sign = match self.peek() {
            Some(b'+') => 1,
            Some(b'-') => -1,
            _ => return Err(self.malformed()),
        };
        self.position += 1;
        let mut ms = i64::from(self.number(2, (0, 23), "offset")?) * HOUR_MS;
        if !self.is_at_end() {
            self.skips_one_of(b":");
            ms += i64::from(self.number(2, (0, 59), "offset")?) * MINUTE_MS;
        }
        Ok(sign * ms)
    }
}

/// Room for the text of one timestamp.
#[derive(Debug, Clone)]
pub(crate) struct TimestampText([u8; TEXT_BYTES_MAX]);

impl TimestampText {
    pub(crate) fn new() -> Self {
        Self([0; TEXT_BYTES_MAX])
    }

    /// The text of a timestamp; it replaces the one before.
    #[inline]
    pub(crate) fn of(&mut self, ms: i64) -> &str {
        let (year, month, day) = civil_from_days(ms.div_euclid(DAY_MS));
        let mut end = match u32::try_from(year) {
            Ok(year) if year <= 9_999 => {
                self.two_digits(0, year / 100);
                self.two_digits(2, year % 100);
                4
            }
            _ => self.long_year(year),
        };
        let ms = ms.rem_euclid(DAY_MS);
        let parts = [
            (b'-', month),
            (b'-', day),
            (b'T', small(ms / HOUR_MS)),
            (b':', small(ms % HOUR_MS / MINUTE_MS)),
            (b':', small(ms % MINUTE_MS / SECOND_MS)),
        ];
        for (before, part) in parts {
            self.0[end] = before;
            self.two_digits(end + 1, part);
            end += 3;
        }
        let fraction = u32::try_from(ms % SECOND_MS).expect("milliseconds of a second are below 1,000");
        self.0[end] = b'.';
        self.0[end + 1] = ascii_digit(fraction / 100);
        self.two_digits(end + 2, fraction % 100);
        self.0[end + 4] = b'Z';
        std::str::from_utf8(&self.0[..end + 5]).expect("digits and signs are ASCII")
    }

    #[inline]
    fn two_digits(&mut self, at: usize, number: u32) {
        self.0[at] = ascii_digit(number / 10);
        self.0[at + 1] = ascii_digit(number % 10);
    }

    /// Writes a year of more than four digits, or before 0000; gives the position behind it.
    #[cold]
    fn long_year(&mut self, year: i64) -> usize {
        self.0[0] = if year < 0 { b'-' } else { b'+' };
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(year.unsigned_abs()).as_bytes();
        let zeros = 4usize.saturating_sub(digits.len());
        self.0[1..=zeros].fill(b'0');
        self.0[1 + zeros..1 + zeros + digits.len()].copy_from_slice(digits);
        1 + zeros + digits.len()
    }
}

#[inline]
fn ascii_digit(digit: u32) -> u8 {
    b'0' + u8::try_from(digit % 10).expect("a digit is below 10")
}

#[cfg(test)]
#[path = "timestamp_tests.rs"]
mod tests;
