//! Aggregates in windows: each window gives its aggregates when it is due.

use std::sync::Arc;

use super::aggregate::descriptor;
use super::keyed::{KeyedRowFunction, RowContext};
use super::rows::Rows;
use crate::metrics::RejectCause;
use crate::operator::{NO_TIME, OperatorError};
use crate::query::accumulate::{Accumulate, Arguments, push_results};
use crate::query::column::Values;
use crate::query::group_key::GroupKey;
use crate::query::plan::{AggregateStep, Window, WindowKind};
use crate::query::row_batch::RowBatch;
use crate::query::sql_type::SqlType;
use crate::query::windows::{OpenWindow, OpenWindows, assign};
use crate::state::{TimeDomain, ValueStateDescriptor};

/// Name of the state.
const STATE: &str = "windows";
/// The row came behind the watermark, when its window was over.
const LATE: RejectCause = RejectCause::new("late");
/// Windows of one key that may be open at once.
const OPEN_WINDOWS_MAX: usize = 4_096;
/// The key has too many windows open.
const TOO_MANY_WINDOWS: RejectCause = RejectCause::new("windows-max");

pub(crate) struct WindowAggregate {
    step: Arc<AggregateStep>,
    window: Window,
    accumulate: Accumulate,
    /// Columns that late rows are given with; none where nobody reads them.
    late: Vec<usize>,
    late_types: Vec<SqlType>,
    late_rows: Vec<u32>,
    /// Timers to set for the row at hand.
    timers: Vec<i64>,
}

impl WindowAggregate {
    pub(crate) fn new(
        step: Arc<AggregateStep>,
        window: Window,
        late: Vec<usize>,
        late_types: Vec<SqlType>,
    ) -> Self {
        let accumulate = Accumulate::new(&step.calls);
        Self { step, window, accumulate, late, late_types, late_rows: Vec::new(), timers: Vec::new() }
    }

    /// Adds a row of time `time` to its windows. Windows that are due at `watermark` already give their results anew.
    fn add(
        &mut self,
        windows: &mut OpenWindows,
        arguments: &Arguments<'_>,
        (row, time): (usize, i64),
        watermark: i64,
        key: &GroupKey,
        out: &mut RowBatch,
    ) -> Result<(), RejectCause> {
        let lateness = self.window.lateness_ms;
        let is_over = |end: i64| end.saturating_sub(1).saturating_add(lateness) <= watermark;
        let emitter = Emitter { keys: self.step.key_types.len(), window: self.window };
        match self.window.kind {
            WindowKind::Count { rows } => return self.count(windows, arguments, row, rows, key, out),
            WindowKind::Session { .. } => {
                let Some(alone) = assign(self.window.kind, time).next() else { return Err(LATE) };
                let bounds = windows.session(alone);
                if is_over(bounds.1) {
                    return Err(LATE);
                }
                if windows.0.len() >= OPEN_WINDOWS_MAX && !windows.joins(bounds) {
                    return Err(TOO_MANY_WINDOWS);
                }
                let before = self.accumulate.is_fallible().then(|| windows.clone());
                let (window, is_new) = windows.join(bounds, || self.accumulate.group())?;
                if let Err(cause) = self.accumulate.add(&mut window.group, arguments, row) {
                    if let Some(before) = before {
                        *windows = before;
                    }
                    return Err(cause);
                }
                self.after_add(window, is_new, watermark, key, emitter, out);
            }
            WindowKind::Tumble { .. } | WindowKind::Hop { .. } => {
                let kind = self.window.kind;
                let open = || assign(kind, time).filter(|(_, end)| !is_over(*end));
                let room = OPEN_WINDOWS_MAX.saturating_sub(windows.0.len());
                if open().count() > room && open().filter(|(start, _)| !windows.holds(*start)).count() > room
                {
                    return Err(TOO_MANY_WINDOWS);
                }
                let mut is_late = true;
                let overlaps = matches!(self.window.kind, WindowKind::Hop { .. });
                let before = (overlaps && self.accumulate.is_fallible()).then(|| windows.clone());
                for bounds in open() {
                    is_late = false;
                    let (window, is_new) = windows.open(bounds, || self.accumulate.group());
                    if let Err(cause) = self.accumulate.add(&mut window.group, arguments, row) {
                        match before {
                            Some(before) => *windows = before,
                            None if is_new => windows.0.retain(|window| window.start != bounds.0),
                            None => {}
                        }
                        return Err(cause);
                    }
                    self.after_add(window, is_new, watermark, key, emitter, out);
                }
                if is_late {
                    return Err(LATE);
                }
            }
        }
        Ok(())
    }

    /// A window that has a row more: its timer, or, when it is due already, its results.
    fn after_add(
        &mut self,
        window: &mut OpenWindow,
        is_new: bool,
        watermark: i64,
        key: &GroupKey,
        emitter: Emitter,
        out: &mut RowBatch,
    ) {
        if self.window.is_event_time && window.time() <= watermark {
            window.has_fired = true;
            self.timers.push(window.time().saturating_add(self.window.lateness_ms));
            emitter.emit(key, window, out);
        } else if is_new {
            self.timers.push(window.time());
        }
    }

    fn count(
        &mut self,
        windows: &mut OpenWindows,
        arguments: &Arguments<'_>,
        row: usize,
        rows: u64,
        key: &GroupKey,
        out: &mut RowBatch,
    ) -> Result<(), RejectCause> {
        // The one window's end counts its rows.
        let (window, is_new) = windows.open((0, 0), || self.accumulate.group());
        if let Err(cause) = self.accumulate.add(&mut window.group, arguments, row) {
            if is_new {
                windows.0.clear();
            }
            return Err(cause);
        }
        window.end += 1;
        if window.end.cast_unsigned() >= rows {
            Emitter { keys: self.step.key_types.len(), window: self.window }.emit(key, window, out);
            windows.0.clear();
        }
        Ok(())
    }
}

/// Puts the results of windows into columns.
#[derive(Debug, Clone, Copy)]
struct Emitter {
    keys: usize,
    window: Window,
}

impl Emitter {
    fn emit(self, key: &GroupKey, window: &OpenWindow, out: &mut RowBatch) {
        let (keys, rest) = out.columns.split_at_mut(self.keys);
        key.push_to(keys);
        let (bounds, results) = rest.split_at_mut(self.window.kind.column_count());
        for (column, time) in bounds.iter_mut().zip([window.start, window.end, window.time()]) {
            if let Values::BigInt(values) = &mut column.values {
                values.push(time);
                column.pushed();
            }
        }
        push_results(&window.group, results);
        out.len += 1;
    }
}

impl KeyedRowFunction for WindowAggregate {
    type State = OpenWindows;

    fn descriptor(&self) -> ValueStateDescriptor<Self::State> {
        descriptor(STATE, self.step.signature(), None)
    }

    fn domain(&self) -> TimeDomain {
        if self.window.is_event_time { TimeDomain::EventTime } else { TimeDomain::ProcessingTime }
    }

    fn types(&self) -> (Vec<SqlType>, Vec<SqlType>) {
        (self.step.output_types(), self.late_types.clone())
    }

    fn process(
        &mut self,
        rows: &RowBatch,
        context: &mut RowContext<'_, Self::State>,
        out: &mut Rows,
    ) -> Result<(), OperatorError> {
        let arguments = self.accumulate.arguments(rows);
        let stamp = context.header.stamp.0;
        self.late_rows.clear();
        for row in 0..rows.len {
            if !context.move_to(row) {
                continue;
            }
            let (time, watermark) = if self.window.is_event_time {
                (rows.times[row], context.watermark(row))
            } else {
                (stamp, i64::MIN)
            };
            let key = &context.keys[row];
            let added = context.state.modify(|state| {
                let mut windows = state.take().unwrap_or_default();
                let added = self.add(&mut windows, &arguments, (row, time), watermark, key, &mut out.rows);
                *state = Some(windows).filter(|windows| !windows.0.is_empty());
                added
            });
            if context.is_timed() {
                // What a row leads to at once has its time.
                let last = if self.window.is_event_time || self.window.kind.is_count() {
                    rows.times[row]
                } else {
                    NO_TIME
                };
                out.rows.times.resize(out.rows.len, last);
            }
            while let Some(timer) = self.timers.pop() {
                context.set_timer(timer, key);
            }
            match added {
                Ok(()) => {}
                Err(LATE) if !self.late.is_empty() => {
                    self.late_rows.push(u32::try_from(row).expect("a batch is below 4 G rows"));
                }
                Err(cause) => context.reject(rows, row, cause),
            }
        }
        for (to, from) in out.late.columns.iter_mut().zip(&self.late) {
            to.extend_rows(&rows.columns[*from], &self.late_rows);
        }
        if context.is_timed() {
            out.late.times.extend(self.late_rows.iter().map(|row| rows.times[*row as usize]));
        }
        out.late.len += self.late_rows.len();
        Ok(())
    }

    fn fire(&mut self, time: i64, key: &GroupKey, context: &mut RowContext<'_, Self::State>, out: &mut Rows) {
        let lateness = self.window.lateness_ms;
        let emitter = Emitter { keys: self.step.key_types.len(), window: self.window };
        let is_event_time = self.window.is_event_time;
        let is_timed = context.is_timed();
        context.state.modify(|state| {
            let Some(windows) = state else { return };
            windows.fire(time, lateness, |window| {
                emitter.emit(key, window, &mut out.rows);
                if is_timed {
                    out.rows.times.push(if is_event_time { window.time() } else { NO_TIME });
                }
                if lateness > 0 {
                    self.timers.push(window.time().saturating_add(lateness));
                }
            });
            if windows.0.is_empty() {
                *state = None;
            }
        });
        while let Some(timer) = self.timers.pop() {
            context.set_timer(timer, key);
        }
    }
}
