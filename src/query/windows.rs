//! Windows of one key: which a row belongs to, which are open, and when they are due.
//!
//! A plain state machine: it knows no timers and no rows, only times. A window is the half-open range from `start` to `end` in
//! milliseconds, and is due when time has reached its last millisecond, `end` - 1. Its semantics are those of Flink.

use serde::{Deserialize, Serialize};

use super::aggregate::Accumulator;
use super::plan::WindowKind;
use crate::metrics::RejectCause;

/// A window with rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct OpenWindow {
    pub(crate) start: i64,
    pub(crate) end: i64,
    /// It has given its results, and is kept for late rows.
    pub(crate) has_fired: bool,
    pub(crate) group: Vec<Accumulator>,
}

impl OpenWindow {
    /// Its last millisecond.
    pub(crate) fn time(&self) -> i64 {
        self.end.saturating_sub(1)
    }
}

/// The open windows of a key, by start.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct OpenWindows(pub(crate) Vec<OpenWindow>);

/// The starts and ends of the windows of fixed length that `time` is in, the newest first.
pub(crate) fn assign(kind: WindowKind, time: i64) -> impl Iterator<Item = (i64, i64)> {
    let (slide, size, offset) = match kind {
        WindowKind::Tumble { size_ms, offset_ms } => (size_ms, size_ms, offset_ms),
        WindowKind::Hop { slide_ms, size_ms, offset_ms } => (slide_ms, size_ms, offset_ms),
        // A session begins as one row's; a count window has no times.
        WindowKind::Session { gap_ms } => (i64::MAX, gap_ms, 0),
        WindowKind::Count { .. } => (i64::MAX, 0, 0),
    };
    let newest = match kind {
        WindowKind::Session { .. } => Some(time),
        _ => time.checked_sub(time.saturating_sub(offset).rem_euclid(slide)),
    };
    let starts = std::iter::successors(newest, move |start| start.checked_sub(slide));
    starts
        .take_while(move |start| time.checked_sub(*start).is_some_and(|behind| behind < size))
        .map(move |start| (start, start.saturating_add(size)))
}

impl OpenWindows {
    /// The window from `start` to `end`, opened when it is not there; and whether it is new.
    pub(crate) fn open(
        &mut self,
        (start, end): (i64, i64),
        group: impl FnOnce() -> Vec<Accumulator>,
    ) -> (&mut OpenWindow, bool) {
        // Most rows are of the newest window.
        let at = self.0.iter().rposition(|window| window.start <= start).map_or(0, |at| at + 1);
        let is_there = at > 0 && self.0[at - 1].start == start;
        if !is_there {
            self.0.insert(at, OpenWindow { start, end, has_fired: false, group: group() });
        }
        let at = if is_there { at - 1 } else { at };
        (&mut self.0[at], !is_there)
    }

    /// The session that a row from `start` to `end` would be in: its bounds with those of the sessions it joins.
    pub(crate) fn session(&self, (start, end): (i64, i64)) -> (i64, i64) {
        let joined = self.0.iter().filter(|window| window.start <= end && window.end >= start);
        joined.fold((start, end), |(start, end), window| (start.min(window.start), end.max(window.end)))
    }

    /// Whether there is a session between `start` and `end`.
    pub(crate) fn joins(&self, (start, end): (i64, i64)) -> bool {
        self.0.iter().any(|window| window.start <= end && window.end >= start)
    }

    /// Whether the window that begins at `start` is open.
    pub(crate) fn holds(&self, start: i64) -> bool {
        self.0.binary_search_by_key(&start, |window| window.start).is_ok()
    }

    /// Joins the sessions between `start` and `end` to one; returns it, and whether its bounds are new. The order of merging is that of
    /// time.
    ///
    /// # Errors
    /// The cause their aggregates cannot be merged for; then all is as it was.
    pub(crate) fn join(
        &mut self,
        (start, end): (i64, i64),
        group: impl FnOnce() -> Vec<Accumulator>,
    ) -> Result<(&mut OpenWindow, bool), RejectCause> {
        let from = self.0.iter().position(|window| window.end >= start).unwrap_or(self.0.len());
        let count = self.0[from..].iter().take_while(|window| window.start <= end).count();
        let joined = &self.0[from..from + count];
        if let [only] = joined
            && (only.start, only.end) == (start, end)
        {
            return Ok((&mut self.0[from], false));
        }
        let mut merged = OpenWindow { start, end, has_fired: false, group: Vec::new() };
        for window in joined {
            if merged.group.is_empty() {
                merged.group.clone_from(&window.group);
                continue;
            }
            for (accumulator, other) in merged.group.iter_mut().zip(&window.group) {
                accumulator.merge(other)?;
            }
        }
        if joined.is_empty() {
            merged.group = group();
        }
        self.0.splice(from..from + count, [merged]);
        Ok((&mut self.0[from], true))
    }

    /// Takes out the windows that are over at `time`, and gives those that are due to `fire`, by their ends.
    pub(crate) fn fire(&mut self, time: i64, lateness_ms: i64, mut fire: impl FnMut(&OpenWindow)) {
        let mut due: Vec<usize> =
            (0..self.0.len()).filter(|at| !self.0[*at].has_fired && self.0[*at].time() <= time).collect();
        due.sort_by_key(|at| (self.0[*at].end, self.0[*at].start));
        for at in due {
            fire(&self.0[at]);
            self.0[at].has_fired = true;
        }
        self.0.retain(|window| !(window.has_fired && window.time().saturating_add(lateness_ms) <= time));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(kind: WindowKind, time: i64) -> Vec<(i64, i64)> {
        assign(kind, time).collect()
    }

    #[test]
    fn a_time_is_in_the_windows_that_hold_it() {
        let tumble = WindowKind::Tumble { size_ms: 10, offset_ms: 0 };
        assert_eq!(spans(tumble, 0), [(0, 10)]);
        assert_eq!(spans(tumble, 9), [(0, 10)]);
        assert_eq!(spans(tumble, -1), [(-10, 0)]);
        assert_eq!(spans(WindowKind::Tumble { size_ms: 10, offset_ms: 3 }, 2), [(-7, 3)]);
        let hop = WindowKind::Hop { slide_ms: 5, size_ms: 15, offset_ms: 0 };
        assert_eq!(spans(hop, 12), [(10, 25), (5, 20), (0, 15)]);
        assert_eq!(spans(WindowKind::Session { gap_ms: 7 }, 12), [(12, 19)]);
        assert_eq!(spans(WindowKind::Count { rows: 3 }, 12), []);
        for time in [i64::MIN, i64::MIN + 1, i64::MAX] {
            assert!(spans(hop, time).len() <= 3 && spans(tumble, time).len() <= 1);
        }
    }

    fn session(windows: &mut OpenWindows, time: i64) -> (i64, i64) {
        let bounds = windows.session((time, time + 10));
        windows.join(bounds, Vec::new).map(|(window, _)| (window.start, window.end)).unwrap()
    }

    #[test]
    fn sessions_join_when_a_row_closes_the_gap() {
        let mut windows = OpenWindows::default();
        assert_eq!(session(&mut windows, 0), (0, 10));
        assert_eq!(session(&mut windows, 25), (25, 35));
        assert_eq!(session(&mut windows, 50), (50, 60));
        assert_eq!(windows.0.len(), 3);
        assert_eq!(session(&mut windows, 10), (0, 20), "touching is enough");
        assert_eq!(session(&mut windows, 18), (0, 35));
        assert_eq!(windows.0.len(), 2);
    }

    #[test]
    fn windows_fire_by_their_ends_and_stay_for_late_rows() {
        let mut windows = OpenWindows::default();
        for bounds in [(10, 20), (0, 10), (20, 30)] {
            assert!(windows.open(bounds, Vec::new).1);
            assert!(!windows.open(bounds, Vec::new).1);
        }
        let mut fired = Vec::new();
        windows.fire(19, 5, |window| fired.push(window.end));
        assert_eq!(fired, [10, 20]);
        assert_eq!(windows.0.iter().map(|window| window.end).collect::<Vec<_>>(), [20, 30]);
        windows.fire(24, 5, |_| panic!("fired before"));
        assert_eq!(windows.0.len(), 1);
    }
}
