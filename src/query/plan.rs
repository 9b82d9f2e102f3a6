//! Plans: a query as a row of steps over one relation, or over the rows of several pipelines.
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
    pub(crate) pipeline: Pipeline,
    /// Its rows are, or come from, results of windows of event time.
    pub(crate) is_windowed: bool,
    /// The columns of its results.
    pub(crate) fields: Vec<Field>,
    /// The columns of rows that came too late for its windows; empty where they are not kept.
    pub(crate) late_fields: Vec<Field>,
}

/// Steps over what they read.
#[derive(Debug, Clone)]
pub(crate) struct Pipeline {
    pub(crate) input: Input,
    pub(crate) steps: Vec<Step>,
}

/// What a pipeline reads.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    /// A source or a query.
    Relation(String),
    /// The rows of all of them, which have columns of the same types.
    Union(Vec<Pipeline>),
}

impl Pipeline {
    /// Steps that hold state, also of what it reads.
    pub(crate) fn keyed_steps(&self) -> usize {
        let own = self.steps.iter().filter(|step| !matches!(step, Step::Calc(_))).count();
        match &self.input {
            Input::Relation(_) => own,
            Input::Union(branches) => own + branches.iter().map(Self::keyed_steps).sum::<usize>(),
        }
    }

    /// The sources and queries it reads.
    pub(crate) fn relations(&self) -> Vec<&str> {
        match &self.input {
            Input::Relation(name) => vec![name],
            Input::Union(branches) => branches.iter().flat_map(Self::relations).collect(),
        }
    }

    /// Whether there is a step that `is_wanted`, also before a union.
    pub(crate) fn has_step(&self, is_wanted: fn(&Step) -> bool) -> bool {
        let is_before = match &self.input {
            Input::Relation(_) => false,
            Input::Union(branches) => branches.iter().any(|branch| branch.has_step(is_wanted)),
        };
        is_before || self.steps.iter().any(is_wanted)
    }
}

/// Whose rows a watermark is made from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum WatermarkPer {
    /// All of the source's: one watermark for all keys.
    #[default]
    Source,
    /// Those of the keys of a key group: one for each.
    KeyGroup,
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
    /// What closes it, of event time.
    pub(crate) watermark_per: WatermarkPer,
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

pub(super) fn typed(texts: &[String], types: &[SqlType]) -> String {
    let parts: Vec<String> =
        texts.iter().zip(types).map(|(text, sql_type)| format!("{text} {sql_type}")).collect();
    parts.join(", ")
}

impl Window {
    /// In words.
    pub(crate) fn describe(&self) -> String {
        let time = match (self.is_event_time, self.watermark_per) {
            (false, _) => "processing time",
            (true, WatermarkPer::Source) => "event time",
            (true, WatermarkPer::KeyGroup) => "the event time of each key group",
        };
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
