//! A job of queries: its sources, plans and sinks. What they become is in `topology`.

use std::collections::BTreeSet;
use std::time::Duration;

use super::error::{QueryError, nearest};
use super::field::Field;
use super::format::{OutputFormat, RowEncoder};
use super::plan::{QueryPlan, WatermarkPer};
use super::planner::{PlanOptions, Relation, plan};
use super::source::QuerySource;
use super::topology::{LATE, names, types};

/// What to do about a schema that does not go with its format.
const FORMAT_HELP: &str =
    "raw has one column, senml has name, unit, value and others, csv and text have columns in their order";

/// The text of a query, and what it is told.
#[derive(Debug, Clone)]
pub(crate) struct QueryText {
    pub(crate) name: String,
    pub(crate) sql: String,
    pub(crate) options: QueryOptions,
}

/// What a query is told besides its text.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct QueryOptions {
    /// How long behind its end a window still takes rows.
    pub(crate) allowed_lateness: Duration,
    /// How long state that is not used is kept.
    pub(crate) state_ttl: Option<Duration>,
    /// Whose rows close a window.
    pub(crate) watermark_per: WatermarkPer,
}

/// A sink of a query.
#[derive(Debug, Clone)]
pub(crate) struct QuerySink {
    /// A query, a source, or a query and `.late`.
    pub(crate) from: String,
    pub(crate) format: OutputFormat,
}

impl QuerySink {
    /// The query or source it reads.
    fn relation(&self) -> &str {
        self.from.strip_suffix(LATE).unwrap_or(&self.from)
    }
}

/// The part of a job that something is wrong with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JobPart {
    /// The query of this number.
    Query(usize),
    /// What the sink of this number reads.
    Sink(usize),
    /// The format of the sink of this number.
    SinkFormat(usize),
    /// The source of this number.
    Source(usize),
}

/// A job whose queries are planned.
#[derive(Debug)]
pub(crate) struct QueryJob {
    pub(super) sources: Vec<QuerySource>,
    pub(super) plans: Vec<(QueryPlan, QueryOptions)>,
    /// Each with the columns it gets.
    pub(super) sinks: Vec<(QuerySink, Vec<Field>)>,
}

impl QueryJob {
    /// Plans the queries, in their order.
    ///
    /// # Errors
    /// Everything that is wrong, each with the part it is wrong with.
    pub(crate) fn plan(
        sources: Vec<QuerySource>,
        queries: &[QueryText],
        sinks: Vec<QuerySink>,
    ) -> Result<Self, Vec<(JobPart, QueryError)>> {
        let mut errors = Vec::new();
        let mut relations: Vec<Relation> = sources
            .iter()
            .map(|source| Relation {
                name: source.name.clone(),
                fields: Some(source.schema.fields(&source.name)),
                is_windowed: false,
            })
            .collect();
        for (at, source) in sources.iter().enumerate() {
            if let Err(message) = source.decoder() {
                errors.push((JobPart::Source(at), QueryError::new(message).help(FORMAT_HELP)));
            }
        }
        let mut plans = Vec::new();
        for (at, query) in queries.iter().enumerate() {
            let is_late = |sink: &QuerySink| sink.from.strip_suffix(LATE) == Some(&query.name);
            let options = PlanOptions {
                lateness_ms: i64::try_from(query.options.allowed_lateness.as_millis()).unwrap_or(i64::MAX),
                keeps_late: sinks.iter().any(is_late),
                watermark_per: query.options.watermark_per,
            };
            let mut is_windowed = false;
            let fields = match plan(&query.name, &query.sql, &relations, options) {
                Ok(plan) => {
                    let fields = plan.fields.clone();
                    is_windowed = plan.is_windowed;
                    plans.push((plan, query.options));
                    Some(fields)
                }
                Err(error) => {
                    errors.push((JobPart::Query(at), error));
                    None
                }
            };
            relations.push(Relation { name: query.name.clone(), fields, is_windowed });
        }
        let mut planned_sinks = Vec::new();
        for (at, sink) in sinks.into_iter().enumerate() {
            match sink_fields(&sink, &relations, &plans) {
                Ok(fields) => match RowEncoder::new(sink.format.clone(), &names(&fields), &types(&fields)) {
                    Ok(_) => planned_sinks.push((sink, fields)),
                    Err(message) => errors.push((
                        JobPart::SinkFormat(at),
                        QueryError::new(message).help("a template names columns in braces: {sensor}"),
                    )),
                },
                Err(error) => errors.push((JobPart::Sink(at), error)),
            }
        }
        // What is wrong with the cause is enough.
        errors.retain(|(_, error)| !error.is_consequence);
        if errors.is_empty() { Ok(Self { sources, plans, sinks: planned_sinks }) } else { Err(errors) }
    }

    /// The plans, in the order of the queries.
    pub(crate) fn plans(&self) -> impl Iterator<Item = &QueryPlan> {
        self.plans.iter().map(|(plan, _)| plan)
    }

    /// Steps that hold state, of the queries that are run: each is an operator of its own.
    pub(crate) fn keyed_steps(&self) -> usize {
        let read = self.read();
        let plans = self.plans().filter(|plan| read.contains(plan.name.as_str()));
        plans.map(|plan| plan.pipeline.keyed_steps()).sum()
    }

    /// The sinks, with the columns each gets.
    pub(crate) fn sinks(&self) -> &[(QuerySink, Vec<Field>)] {
        &self.sinks
    }

    /// Has each source's input end when its last line says so, as that of a file does.
    pub(crate) fn end_all_sources(&mut self) {
        self.sources.iter_mut().for_each(|source| source.is_file = true);
    }

    /// Sources and queries that no sink reads, not even through others.
    pub(crate) fn unread(&self) -> Vec<&str> {
        let read = self.read();
        let sources = self.sources.iter().map(|source| source.name.as_str());
        let names = sources.chain(self.plans().map(|plan| plan.name.as_str()));
        names.filter(|name| !read.contains(name)).collect()
    }

    /// Sources and queries that sinks read, also through others: a query reads what stands before it.
    pub(super) fn read(&self) -> BTreeSet<&str> {
        let mut read: BTreeSet<&str> = self.sinks.iter().map(|(sink, _)| sink.relation()).collect();
        for (plan, _) in self.plans.iter().rev() {
            if read.contains(plan.name.as_str()) {
                read.extend(plan.pipeline.relations());
            }
        }
        read
    }
}

fn sink_fields(
    sink: &QuerySink,
    relations: &[Relation],
    plans: &[(QueryPlan, QueryOptions)],
) -> Result<Vec<Field>, QueryError> {
    let Some(relation) = relations.iter().find(|relation| relation.name == sink.relation()) else {
        let known = || relations.iter().map(|relation| relation.name.as_str());
        let error = QueryError::new(format!("there is no query or source {}", sink.relation()));
        return Err(match nearest(sink.relation(), known()) {
            Some(near) => error.help(format!("did you mean {near}?")),
            None => error.help(format!("there are {}", known().collect::<Vec<_>>().join(", "))),
        });
    };
    let Some(fields) = &relation.fields else { return Err(QueryError::consequence()) };
    if sink.relation() == sink.from {
        return Ok(fields.clone());
    }
    let plan = plans.iter().map(|(plan, _)| plan).find(|plan| plan.name == relation.name);
    match plan.map(|plan| &plan.late_fields) {
        Some(late) if !late.is_empty() => Ok(late.clone()),
        _ => Err(QueryError::new(format!(
            "the query {} has no windows of event time, so no row is late for it",
            relation.name
        ))
        .help("take the query itself, or group by a window of event time")),
    }
}
