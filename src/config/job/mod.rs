//! The job file: sources, queries in SQL, sinks, and the settings of the job that runs them, in TOML.
//!
//! ```text
//!   text ──document──▶ tree with places ──overrides──▶ the same, with --set ──sections──▶ JobConfig
//! ```
//!
//! The tree is the file as it stands; what it means is decided once, section by section, into types that cannot be wrong.
//! Every fault has a place, and all of them are said at once. Nothing is opened here but the job file itself: files with
//! keys and certificates, sockets and brokers come when the job starts, so that a job can be checked on any machine.
//!
//! Limits: a file of 1 MiB; 64 sources, 256 queries, 64 sinks; a schema or a query of 64 KiB.

mod advice;
mod board;
mod connector;
mod document;
mod file;
mod mqtt;
mod mqtt_source;
mod overrides;
mod query;
mod remote;
mod report;
mod runtime;
mod section;
mod sink;
mod socket;
mod source;
mod sql_text;
mod suggestion;
mod syntax;
mod template;
#[cfg(test)]
mod tests;
mod validated;
mod values;

pub(crate) use document::Located;
pub(crate) use file::load_job;
pub(crate) use query::{QueryConfig, WatermarkPer};
pub(crate) use sink::{Branch, SinkConnector, SinkFormat};
pub(crate) use source::{SourceConfig, SourceConnector, SourceFormat, TimestampUnit};
pub(crate) use suggestion::did_you_mean;
pub(crate) use template::{Template, TemplatePart};
pub(crate) use validated::JobConfig;
