//! Plans: a query as a row of steps over one relation.
//!
//! ```text
//! Calc        filter, then project: no state, any subtask
//! Aggregate   by key, continuous or in windows
//! Over        by key: each row with what was before it
//! ```

use std::fmt::Write as _;

use super::aggregate::Aggregate;
use super::expression::Expression;
use super::field::Field;
use super::sql_type::SqlType;

/// The plan of a query.
#[derive(Debug, Clone)]
pub(crate) struct QueryPlan {
    pub(crate) name: String,
    /// The source or query it reads.
    pub(crate) input: String,
    pub(crate) steps: Vec<Step>,
    /// The columns of its results.
    pub(crate) fields: Vec<Field>,
    /// The columns of rows that came too late for its windows; empty where they are not kept.
    pub(crate) late_fields: Vec<Field>,
}

/// One step; its rows are the next one's.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Calc(Calc),
    Aggregate(AggregateStep),
    Over(OverStep),
}

/// Filters rows, then computes columns of what is left.
#[derive(Debug, Clone)]
pub(crate) struct Calc {
    pub(crate) filter: Option<Expression>,
    pub(crate) project: Vec<Expression>,
    /// Names of the columns.
    pub(crate) names: Vec<String>,
}

/// Aggregates by key. Input: the keys first. Output: the keys, of windows their start, end and time, the aggregates.
#[derive(Debug, Clone)]
pub(crate) struct AggregateStep {
    pub(crate) key_types: Vec<SqlType>,
    pub(crate) key_texts: Vec<String>,
    pub(crate) calls: Vec<AggregateCall>,
    pub(crate) window: Option<Window>,
    /// Numbers of the input columns that late rows are given with.
    pub(crate) late: Vec<usize>,
}

/// One aggregate.
#[derive(Debug, Clone)]
pub(crate) struct AggregateCall {
    pub(crate) aggregate: Aggregate,
    /// Numbers of input columns.
    pub(crate) arguments: Vec<usize>,
    /// The input column that says whether a row counts.
    pub(crate) filter: Option<usize>,
    /// As SQL.
    pub(crate) text: String,
}

/// How rows are put into windows. Lengths in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) kind: WindowKind,
    pub(crate) is_event_time: bool,
    /// How long behind its end a window still takes rows.
    pub(crate) lateness_ms: i64,
}

/// The kinds of windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WindowKind {
    Tumble {
        size_ms: i64,
        offset_ms: i64,
    },
    Hop {
        slide_ms: i64,
        size_ms: i64,
        offset_ms: i64,
    },
    Session {
        gap_ms: i64,
    },
    /// So many rows of the key.
    Count {
        rows: u64,
    },
}

impl WindowKind {
    /// True for windows that rows open and close by their number.
    pub(crate) fn is_count(self) -> bool {
        matches!(self, Self::Count { .. })
    }

    /// Columns the window adds: `window_start`, `window_end`, `window_time`; a count window has none.
    pub(crate) fn column_count(self) -> usize {
        if matches!(self, Self::Count { .. }) { 0 } else { WINDOW_COLUMNS.len() }
    }
}

/// Names of the columns of a window.
pub(crate) const WINDOW_COLUMNS: [&str; 3] = ["window_start", "window_end", "window_time"];

/// Adds to each row what was before it. Output: the input's columns, then the results.
#[derive(Debug, Clone)]
pub(crate) struct OverStep {
    /// Numbers of the input columns that are the key.
    pub(crate) keys: Vec<usize>,
    pub(crate) key_types: Vec<SqlType>,
    pub(crate) key_texts: Vec<String>,
    pub(crate) calls: Vec<OverCall>,
}

/// One function with OVER.
#[derive(Debug, Clone)]
pub(crate) struct OverCall {
    pub(crate) function: OverFunction,
    pub(crate) sql_type: SqlType,
    pub(crate) text: String,
}

/// The functions there are with OVER.
#[derive(Debug, Clone)]
pub(crate) enum OverFunction {
    /// The value of the column `argument` so many rows before, or of `default` in this row.
    Lag { argument: usize, rows: usize, default: Option<usize> },
    /// How many rows of the key there were, with this one.
    RowNumber,
    /// 1 when no row of the key was newer than this one by the column `time`, NULL otherwise.
    IsNewest { time: usize },
    /// An aggregate over all rows so far, or over so many of the newest.
    Running { aggregate: Aggregate, arguments: Vec<usize>, rows: Option<usize> },
}

impl AggregateStep {
    /// Types of the output.
    pub(crate) fn output_types(&self) -> Vec<SqlType> {
        let window = self.window.map_or(0, |window| window.kind.column_count());
        let calls = self.calls.iter().map(|call| call.aggregate.returns());
        self.key_types
            .iter()
            .copied()
            .chain(std::iter::repeat_n(SqlType::Timestamp, window))
            .chain(calls)
            .collect()
    }

    /// Names of the output, for people.
    pub(crate) fn output_names(&self) -> Vec<String> {
        let window = self.window.map_or(0, |window| window.kind.column_count());
        let window = WINDOW_COLUMNS.iter().take(window).map(|name| (*name).to_owned());
        let calls = self.calls.iter().map(|call| call.text.clone());
        self.key_texts.iter().cloned().chain(window).chain(calls).collect()
    }

    /// What decides whether saved state can be gone on with.
    pub(crate) fn signature(&self) -> String {
        let mut text = format!("keys ({})", typed(&self.key_texts, &self.key_types));
        if let Some(window) = self.window {
            write!(text, ", {}", window.describe()).expect("a string takes all");
        }
        let calls: Vec<&str> = self.calls.iter().map(|call| call.text.as_str()).collect();
        write!(text, ", aggregates ({})", calls.join(", ")).expect("a string takes all");
        text
    }
}

impl OverStep {
    /// What decides whether saved state can be gone on with.
    pub(crate) fn signature(&self) -> String {
        let calls: Vec<String> =
            self.calls.iter().map(|call| format!("{} {}", call.text, call.sql_type)).collect();
        format!("keys ({}), over ({})", typed(&self.key_texts, &self.key_types), calls.join(", "))
    }
}

fn typed(texts: &[String], types: &[SqlType]) -> String {
    let parts: Vec<String> =
        texts.iter().zip(types).map(|(text, sql_type)| format!("{text} {sql_type}")).collect();
    parts.join(", ")
}

impl Window {
    /// In words.
    pub(crate) fn describe(&self) -> String {
        let time = if self.is_event_time { "event time" } else { "processing time" };
        let seconds = |ms: i64| format!("{} s", ms as f64 / 1_000.0);
        match self.kind {
            WindowKind::Tumble { size_ms, offset_ms: 0 } => {
                format!("tumbling windows of {} of {time}", seconds(size_ms))
            }
            WindowKind::Tumble { size_ms, offset_ms } => {
                format!("tumbling windows of {} from {} of {time}", seconds(size_ms), seconds(offset_ms))
            }
            WindowKind::Hop { slide_ms, size_ms, .. } => {
                format!("windows of {} each {} of {time}", seconds(size_ms), seconds(slide_ms))
            }
            WindowKind::Session { gap_ms } => format!("sessions with gaps of {} of {time}", seconds(gap_ms)),
            WindowKind::Count { rows } => format!("windows of {rows} rows"),
        }
    }
}

impl QueryPlan {
    /// The plan for people: a step a line, with types, key and state.
    pub(crate) fn explain(&self) -> String {
        let mut text = format!("query {}\n  reads {}\n", self.name, self.input);
        for step in &self.steps {
            match step {
                Step::Calc(calc) => {
                    if let Some(filter) = &calc.filter {
                        writeln!(text, "  filter {}", filter.text).expect("a string takes all");
                    }
                    let columns: Vec<String> = calc
                        .project
                        .iter()
                        .zip(&calc.names)
                        .map(|(column, name)| match &column.text {
                            text if text == name => format!("{name} {}", column.sql_type),
                            text => format!("{name} {} = {text}", column.sql_type),
                        })
                        .collect();
                    writeln!(text, "  project {}", columns.join(", ")).expect("a string takes all");
                }
                Step::Aggregate(step) => {
                    let kind = step
                        .window
                        .map_or("aggregate, one result a row".to_owned(), |window| window.describe());
                    writeln!(text, "  {kind}").expect("a string takes all");
                    writeln!(text, "    key    {}", key(&step.key_texts, &step.key_types))
                        .expect("a string takes all");
                    for call in &step.calls {
                        let returns = call.aggregate.returns();
                        writeln!(text, "    state  {} gives {returns}", call.text)
                            .expect("a string takes all");
                    }
                    if let Some(window) = step.window.filter(|window| window.lateness_ms > 0) {
                        writeln!(text, "    takes rows up to {} ms late", window.lateness_ms)
                            .expect("a string takes all");
                    }
                }
                Step::Over(step) => {
                    writeln!(text, "  each row with what was before it").expect("a string takes all");
                    writeln!(text, "    key    {}", key(&step.key_texts, &step.key_types))
                        .expect("a string takes all");
                    for call in &step.calls {
                        writeln!(text, "    state  {} gives {}", call.text, call.sql_type)
                            .expect("a string takes all");
                    }
                }
            }
        }
        let columns: Vec<String> =
            self.fields.iter().map(|field| format!("{} {}", field.name, field.sql_type)).collect();
        writeln!(text, "  gives {}", columns.join(", ")).expect("a string takes all");
        text
    }
}

fn key(texts: &[String], types: &[SqlType]) -> String {
    if texts.is_empty() { "none: all rows together".to_owned() } else { typed(texts, types) }
}
