//! `[[query]]`: one statement of SQL.

use std::time::Duration;

use super::document::Located;
use super::section::{Keys, Section};
use super::source::sql;
use super::sql_text::SqlText;

pub(super) const QUERY_KEYS: Keys = Keys {
    section: "query",
    common: &["name", "sql", "allowed-lateness", "state-ttl", "watermark-per"],
    of_type: &[],
};

/// A query. What it gives is a table of its name.
#[derive(Debug)]
pub(crate) struct QueryConfig {
    pub(crate) name: Located<String>,
    pub(crate) sql: SqlText,
    /// How long a window still takes late readings; by default not at all.
    pub(crate) allowed_lateness: Duration,
    /// Time-to-live of its state; by default that of `[state]`.
    pub(crate) state_ttl: Option<Duration>,
    /// Whose readings close a window.
    pub(crate) watermark_per: WatermarkPer,
}

/// What has a watermark of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum WatermarkPer {
    /// A source, with all its keys.
    #[default]
    Source,
    /// A key group of the query.
    KeyGroup,
}

/// One `[[query]]`; `ttl` is that of `[state]`.
pub(super) fn query(section: &mut Section<'_>, ttl: Option<Duration>) -> Option<QueryConfig> {
    let name = section.name("name", "averages");
    if let Some(name) = &name {
        section.title = format!("query `{}`", name.value);
    }
    section.check_keys(&QUERY_KEYS, None);
    let allowed_lateness = section.duration("allowed-lateness", Duration::ZERO).unwrap_or_default();
    let state_ttl = section.duration("state-ttl", Duration::from_millis(1)).or(ttl);
    let kinds = [("source", WatermarkPer::Source), ("key-group", WatermarkPer::KeyGroup)];
    let watermark_per =
        section.choice("watermark-per", &kinds).map_or_else(WatermarkPer::default, |kind| kind.value);
    let text = section.required("sql", "SELECT sensor, temperature FROM readings")?;
    let sql = sql(section, "sql", text)?;
    Some(QueryConfig { name: name?, sql, allowed_lateness, state_ttl, watermark_per })
}
