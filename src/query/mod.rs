//! Queries: SQL text to operators over columns.
//!
//! A reading goes through these: a source's frames are decoded to columns ([`mod@format`], by the source's [`schema`]), each query's plan
//! ([`planner`], [`plan`]) becomes stages of operators ([`operator`]), which evaluate expressions ([`expression`], [`function`]) over
//! whole batches and keep aggregates ([`aggregate`], [`windows`]) as keyed state.
//!
//! ```text
//! schema, SQL ─▶ text ─▶ planner ─▶ plan ─▶ job ─▶ topology
//!                          │ names, types, casts: resolve
//! ```

mod accumulate;
mod aggregate;
mod column;
mod datum;
mod error;
mod explain;
mod expression;
mod field;
mod format;
mod function;
#[cfg(test)]
mod golden_tests;
mod group_key;
mod group_window;
mod interval;
mod job;
#[cfg(test)]
mod job_tests;
#[cfg(test)]
mod key_group_tests;
mod literal;
mod operator;
#[cfg(test)]
mod oracle_tests;
mod plan;
mod planned_calls;
mod planner;
mod resolve;
mod row_batch;
mod schema;
mod source;
mod sql_type;
mod text;
mod timestamp;
mod topology;
mod typed;
mod union;
#[cfg(test)]
mod union_tests;
mod unsupported;
mod uses;
mod vector;
mod windows;

pub(crate) use error::QueryError;
pub(crate) use format::{CsvFormat, FieldPath, Format, OutputFormat, TimestampUnit};
pub(crate) use job::{JobPart, QueryJob, QueryOptions, QuerySink, QueryText};
pub(crate) use plan::WatermarkPer;
pub(crate) use schema::Schema;
pub(crate) use source::QuerySource;
pub(crate) use topology::LATE;

/// One row of the documentation of functions: name, forms, what it is.
pub(crate) type FunctionLine = (&'static str, String, &'static str);

/// The functions and aggregates there are, each by name.
pub(crate) fn functions() -> (Vec<FunctionLine>, Vec<FunctionLine>) {
    let scalar = function::all().into_iter().map(|line| (line.name, line.forms, line.about));
    let aggregates = aggregate::all().into_iter().map(|line| (line.name, line.forms.to_owned(), line.about));
    (scalar.collect(), aggregates.collect())
}
