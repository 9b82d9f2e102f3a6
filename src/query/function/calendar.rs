//! The calendar of timestamps: proleptic Gregorian, UTC, days of 86,400 seconds.
//!
//! Timestamps are milliseconds since 1970-01-01 00:00:00; every 64-bit one has a date (the years reach from
//! -292,275,055 to 292,278,994). Days to dates and back: `query::timestamp`.

use crate::query::timestamp::{civil_from_days, days_from_civil, days_of_month};

pub(crate) const SECOND_MS: i64 = 1_000;
pub(crate) const MINUTE_MS: i64 = 60 * SECOND_MS;
pub(crate) const HOUR_MS: i64 = 60 * MINUTE_MS;
pub(crate) const DAY_MS: i64 = 24 * HOUR_MS;
const WEEK_MS: i64 = 7 * DAY_MS;
/// 1970-01-01 was a Thursday, four days after a Sunday.
const EPOCH_FROM_SUNDAY_MS: i64 = 4 * DAY_MS;
/// No timestamp is in a year that far from zero.
const YEARS_END: i64 = 300_000_000;

/// A unit of time that timestamps are rounded to and counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeUnit {
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    /// From Sunday.
    Week,
    Month,
    Quarter,
    Year,
}

impl TimeUnit {
    /// The unit of this name, in any case, also in the plural and as `SQL_TSI_…`.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let upper = name.to_ascii_uppercase();
        let name = upper.strip_prefix("SQL_TSI_").unwrap_or(&upper);
        Some(match name.strip_suffix('S').unwrap_or(name) {
            "MILLISECOND" => Self::Millisecond,
            "SECOND" => Self::Second,
            "MINUTE" => Self::Minute,
            "HOUR" => Self::Hour,
            "DAY" => Self::Day,
            "WEEK" => Self::Week,
            "MONTH" => Self::Month,
            "QUARTER" => Self::Quarter,
            "YEAR" => Self::Year,
            _ => return None,
        })
    }

    fn size(self) -> Size {
        match self {
            Self::Millisecond => Size::Milliseconds(1),
            Self::Second => Size::Milliseconds(SECOND_MS),
            Self::Minute => Size::Milliseconds(MINUTE_MS),
            Self::Hour => Size::Milliseconds(HOUR_MS),
            Self::Day => Size::Milliseconds(DAY_MS),
            Self::Week => Size::Milliseconds(WEEK_MS),
            Self::Month => Size::Months(1),
            Self::Quarter => Size::Months(3),
            Self::Year => Size::Months(12),
        }
    }
}

/// A month, or a day of one.
fn part(number: i64) -> u32 {
    u32::try_from(number).expect("months and days are small and not negative")
}

enum Size {
    Milliseconds(i64),
    Months(i64),
}

/// A date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Date {
    pub(super) year: i64,
    /// 1..=12
    pub(super) month: i64,
    /// 1..=31
    pub(super) day: i64,
}

impl Date {
    pub(super) fn of(timestamp: i64) -> Self {
        Self::of_days(timestamp.div_euclid(DAY_MS))
    }

    fn of_days(days: i64) -> Self {
        let (year, month, day) = civil_from_days(days);
        Self { year, month: i64::from(month), day: i64::from(day) }
    }

    /// Days from 1970-01-01, of a year that is not beyond what timestamps reach.
    fn days(self) -> i64 {
        days_from_civil(self.year, part(self.month), part(self.day))
    }

    /// Its first millisecond; none when no timestamp is that far.
    pub(super) fn timestamp(self) -> Option<i64> {
        (-YEARS_END..YEARS_END).contains(&self.year).then(|| self.days())?.checked_mul(DAY_MS)
    }

    /// Months from the start of the year 0.
    fn months(self) -> i64 {
        self.year * 12 + self.month - 1
    }

    /// The day of this number in a month counted from the start of the year 0, or its last one.
    fn in_month(months: i64, day: i64) -> Self {
        let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
        let last = i64::from(days_of_month(year, part(month)));
        Self { year, month, day: day.min(last) }
    }

    /// 1..=366
    pub(super) fn day_of_year(self) -> i64 {
        self.days() - Self { month: 1, day: 1, ..self }.days() + 1
    }

    /// The week of the year as ISO 8601 counts: from Monday, the first is that of the first Thursday.
    pub(super) fn iso_week(self) -> i64 {
        let thursday = Self::of_days(self.days() - (self.days() + 3).rem_euclid(7) + 3);
        (thursday.day_of_year() - 1) / 7 + 1
    }

    /// 1 for Sunday to 7 for Saturday.
    pub(super) fn day_of_week(self) -> i64 {
        (self.days() + 4).rem_euclid(7) + 1
    }
}

/// The latest start of a unit that is not after the timestamp.
pub(super) fn floor(timestamp: i64, unit: TimeUnit) -> Option<i64> {
    match unit.size() {
        Size::Milliseconds(WEEK_MS) => {
            // In 128 bits: the shift to the Sunday before 1970 could overflow.
            let shifted = i128::from(timestamp) + i128::from(EPOCH_FROM_SUNDAY_MS);
            let start = shifted - shifted.rem_euclid(i128::from(WEEK_MS)) - i128::from(EPOCH_FROM_SUNDAY_MS);
            i64::try_from(start).ok()
        }
        Size::Milliseconds(size) => timestamp.checked_sub(timestamp.rem_euclid(size)),
        Size::Months(size) => {
            let months = Date::of(timestamp).months();
            Date::in_month(months - months.rem_euclid(size), 1).timestamp()
        }
    }
}

/// The earliest start of a unit that is not before the timestamp.
pub(super) fn ceil(timestamp: i64, unit: TimeUnit) -> Option<i64> {
    let start = floor(timestamp, unit)?;
    if start == timestamp { Some(start) } else { add(start, 1, unit) }
}

/// The timestamp so many units later. Months keep the day and time, or take the month's last day.
pub(super) fn add(timestamp: i64, count: i64, unit: TimeUnit) -> Option<i64> {
    match unit.size() {
        Size::Milliseconds(size) => timestamp.checked_add(count.checked_mul(size)?),
        Size::Months(size) => {
            let date = Date::of(timestamp);
            let months = date.months().checked_add(count.checked_mul(size)?)?;
            Date::in_month(months, date.day).timestamp()?.checked_add(timestamp.rem_euclid(DAY_MS))
        }
    }
}

/// How many whole units lie from `from` to `to`; negative when `to` is before.
pub(super) fn difference(from: i64, to: i64, unit: TimeUnit) -> Option<i64> {
    match unit.size() {
        Size::Milliseconds(size) => {
            i64::try_from((i128::from(to) - i128::from(from)) / i128::from(size)).ok()
        }
        Size::Months(size) => {
            let within = |timestamp: i64| (Date::of(timestamp).day, timestamp.rem_euclid(DAY_MS));
            let months = Date::of(to).months() - Date::of(from).months();
            let months = match months {
                1.. if within(to) < within(from) => months - 1,
                ..=-1 if within(to) > within(from) => months + 1,
                months => months,
            };
            Some(months / size)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UNITS: [TimeUnit; 9] = [
        TimeUnit::Millisecond,
        TimeUnit::Second,
        TimeUnit::Minute,
        TimeUnit::Hour,
        TimeUnit::Day,
        TimeUnit::Week,
        TimeUnit::Month,
        TimeUnit::Quarter,
        TimeUnit::Year,
    ];

    proptest! {
        #[test]
        fn dates_are_those_of_another_calendar(timestamp in -300_000_000_000_000..250_000_000_000_000_i64) {
            let date = Date::of(timestamp);
            let other = jiff::Timestamp::from_millisecond(timestamp).unwrap();
            let other = jiff::tz::TimeZone::UTC.to_datetime(other).date();
            prop_assert_eq!(
                (date.year, date.month, date.day),
                (i64::from(other.year()), i64::from(other.month()), i64::from(other.day()))
            );
            prop_assert_eq!(date.day_of_year(), i64::from(other.day_of_year()));
            prop_assert_eq!(date.iso_week(), i64::from(other.iso_week_date().week()));
            let weekday = i64::from(other.weekday().to_sunday_zero_offset()) + 1;
            prop_assert_eq!(date.day_of_week(), weekday);
            prop_assert_eq!(date.timestamp(), Some(timestamp - timestamp.rem_euclid(DAY_MS)));
        }

        #[test]
        fn units_enclose_every_timestamp(timestamp: i64, other: i64, count: i64) {
            for unit in UNITS {
                if let (Some(floor), Some(ceil)) = (floor(timestamp, unit), ceil(timestamp, unit)) {
                    prop_assert!(floor <= timestamp && timestamp <= ceil);
                    prop_assert!(difference(floor, ceil, unit).unwrap() <= 1);
                }
                // Only that these panic for nothing.
                let _ = (add(timestamp, count, unit), difference(timestamp, other, unit));
                let near = count % 10_000;
                if let Some(later) = add(timestamp, near, unit) {
                    let counted = difference(timestamp, later, unit).unwrap();
                    // A month's last day may stand for a later day of the month before.
                    prop_assert!(counted == near || counted == near - near.signum());
                }
            }
        }
    }

    #[test]
    fn every_timestamp_has_a_date() {
        for timestamp in [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX] {
            let date = Date::of(timestamp);
            assert!((-YEARS_END..YEARS_END).contains(&date.year));
            assert!((1..=12).contains(&date.month) && (1..=31).contains(&date.day));
            assert!((1..=53).contains(&date.iso_week()));
        }
    }
}
