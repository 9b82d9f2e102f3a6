//! When bytes may leave: limits a second and a day, and the hours of the day. Plain arithmetic on given times.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

pub(super) const DAY_MS: i64 = 86_400_000;
const MINUTE_MS: i64 = 60_000;

/// Hours of the day in which uploads are allowed, in UTC: `01:00-05:00`; the end may be behind midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadWindow {
    from_minute: u16,
    until_minute: u16,
}

impl FromStr for UploadWindow {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no window of the day; write for instance 01:00-05:00");
        let minute = |text: &str| -> Option<u16> {
            let (hour, minute) = text.trim().split_once(':')?;
            let (hour, minute) = (hour.parse::<u16>().ok()?, minute.parse::<u16>().ok()?);
            (hour < 24 && minute < 60).then_some(hour * 60 + minute)
        };
        let (from, until) = text.split_once('-').ok_or_else(wrong)?;
        let (from_minute, until_minute) =
            minute(from).zip(minute(until)).filter(|(from, until)| from != until).ok_or_else(wrong)?;
        Ok(Self { from_minute, until_minute })
    }
}

impl fmt::Display for UploadWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, until) = (self.from_minute, self.until_minute);
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, until / 60, until % 60)
    }
}

impl UploadWindow {
    /// Milliseconds until it is open; 0 while it is.
    fn opens_in_ms(&self, wall_ms: i64) -> i64 {
        let in_day = wall_ms.rem_euclid(DAY_MS);
        let (from, until) =
            (i64::from(self.from_minute) * MINUTE_MS, i64::from(self.until_minute) * MINUTE_MS);
        let is_open =
            if from < until { (from..until).contains(&in_day) } else { in_day >= from || in_day < until };
        if is_open { 0 } else { (from - in_day).rem_euclid(DAY_MS) }
    }
}

/// Limits on what is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UploadLimits {
    /// Most bytes a second, on average. Default: no limit.
    pub bytes_per_second: Option<u64>,
    /// Most bytes a day (UTC). Default: no limit.
    pub bytes_per_day: Option<u64>,
    /// When uploads are allowed at all. Default: always.
    pub window: Option<UploadWindow>,
}

/// A moment: time that never goes back, and what the wall clock says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) monotonic: Duration,
    pub(crate) wall_ms: i64,
}

impl Moment {
    pub(crate) fn day(&self) -> i64 {
        self.wall_ms.div_euclid(DAY_MS)
    }
}

/// Why nothing is sent just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pause {
    Second,
    Day,
    Window,
}

/// Keeps the limits.
#[derive(Debug)]
pub(crate) struct Pace {
    limits: UploadLimits,
    /// When what was sent fits the limit a second again.
    free_at: Duration,
    pub(crate) day: i64,
    pub(crate) sent_today: u64,
}

impl Pace {
    pub(crate) fn new(limits: UploadLimits, day: i64, sent_today: u64) -> Self {
        Self { limits, free_at: Duration::ZERO, day, sent_today }
    }

    /// Counts bytes sent.
    pub(crate) fn sent(&mut self, bytes: u64, now: Moment) {
        if now.day() != self.day {
            (self.day, self.sent_today) = (now.day(), 0);
        }
        self.sent_today = self.sent_today.saturating_add(bytes);
        if let Some(rate) = self.limits.bytes_per_second {
            let takes = Duration::from_millis(bytes.saturating_mul(1000) / rate.max(1));
            self.free_at = self.free_at.max(now.monotonic) + takes;
        }
    }

    /// `None` when bytes may leave now; otherwise how long not, and why.
    pub(crate) fn pause(&self, now: Moment) -> Option<(Duration, Pause)> {
        let ms = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
        let opens_in = self.limits.window.map_or(0, |window| window.opens_in_ms(now.wall_ms));
        if opens_in > 0 {
            return Some((ms(opens_in), Pause::Window));
        }
        if self.limits.bytes_per_day.is_some_and(|limit| now.day() == self.day && self.sent_today >= limit) {
            return Some((ms(DAY_MS - now.wall_ms.rem_euclid(DAY_MS)), Pause::Day));
        }
        let left = self.free_at.saturating_sub(now.monotonic);
        (!left.is_zero()).then_some((left, Pause::Second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64, wall_ms: i64) -> Moment {
        Moment { monotonic: Duration::from_secs(seconds), wall_ms }
    }

    #[test]
    fn a_rate_is_kept_on_average() {
        let limits = UploadLimits { bytes_per_second: Some(1000), ..UploadLimits::default() };
        let mut pace = Pace::new(limits, 0, 0);
        assert_eq!(pace.pause(at(5, 0)), None);
        pace.sent(3000, at(5, 0));
        assert_eq!(pace.pause(at(6, 0)), Some((Duration::from_secs(2), Pause::Second)));
        assert_eq!(pace.pause(at(8, 0)), None);
    }

    #[test]
    fn a_day_has_its_bytes() {
        let limits = UploadLimits { bytes_per_day: Some(100), ..UploadLimits::default() };
        let mut pace = Pace::new(limits, 0, 60);
        pace.sent(40, at(0, DAY_MS - 1000));
        assert_eq!(pace.pause(at(0, DAY_MS - 1000)), Some((Duration::from_secs(1), Pause::Day)));
        assert_eq!(pace.pause(at(1, DAY_MS)), None);
        pace.sent(40, at(1, DAY_MS));
        assert_eq!((pace.day, pace.sent_today), (1, 40));
    }

    #[test]
    fn a_window_may_span_midnight() {
        let hour = 3_600_000;
        for (text, open, closed) in [
            ("01:00-05:00", 2 * hour, 5 * hour),
            ("22:00-02:00", 23 * hour, 3 * hour),
            ("22:00-02:00", hour, 21 * hour),
        ] {
            let window: UploadWindow = text.parse().unwrap();
            assert_eq!(window.to_string(), text);
            assert_eq!(window.opens_in_ms(open), 0);
            assert_eq!(window.opens_in_ms(closed + window.opens_in_ms(closed)), 0);
            assert!(window.opens_in_ms(closed) > 0);
        }
        for text in ["", "1-5", "25:00-01:00", "01:00-01:00", "01:60-02:00"] {
            assert!(text.parse::<UploadWindow>().is_err(), "{text}");
        }
    }
}
