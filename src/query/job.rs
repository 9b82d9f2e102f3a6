//! A job of queries: its sources, plans and sinks, and the topology they become.
//!
//! ```text
//! source stage      Scan ─▶ Calc … ─▶ ToKeys          one for each source; Calcs of all queries that read it
//! keyed stage       KeyedRows ─▶ Calc … ─▶ EncodeRows  one for each keyed step
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::error::{QueryError, nearest};
use super::field::Field;
use super::format::{OutputFormat, RowEncoder};
use super::operator::{
    CalcOperator, ContinuousAggregate, EncodeRows, KeyedRowFunction, KeyedRows, KeyedRowsPart, Over, Scan,
    Side, ToKeys, WindowAggregate,
};
use super::plan::{Calc, QueryPlan, Step};
use super::planner::{PlanOptions, Relation, plan};
use super::source::QuerySource;
use super::sql_type::SqlType;
use crate::operator::{PartPool, StreamTime, WatermarkStrategy};
use crate::sink::SinkSpec;
use crate::source::SourceSpec;
use crate::source::frame::SourceIndex;
use crate::state::StateTtl;
use crate::stream::{Environment, StageSlot, Target, TopologyBuilder};

/// What to do about a schema that does not go with its format.
const FORMAT_HELP: &str =
    "raw has one column, senml has name, unit, value and others, csv and text have columns in their order";
/// Behind the name of a query: the rows that came too late for its windows.
const LATE: &str = ".late";

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
    sources: Vec<QuerySource>,
    plans: Vec<(QueryPlan, QueryOptions)>,
    /// Each with the columns it gets.
    sinks: Vec<(QuerySink, Vec<Field>)>,
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
            };
            let fields = match plan(&query.name, &query.sql, &relations, options) {
                Ok(plan) => {
                    let fields = plan.fields.clone();
                    plans.push((plan, query.options));
                    Some(fields)
                }
                Err(error) => {
                    errors.push((JobPart::Query(at), error));
                    None
                }
            };
            relations.push(Relation { name: query.name.clone(), fields });
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
        plans.flat_map(|plan| &plan.steps).filter(|step| !matches!(step, Step::Calc(_))).count()
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
    fn read(&self) -> BTreeSet<&str> {
        let mut read: BTreeSet<&str> = self.sinks.iter().map(|(sink, _)| sink.relation()).collect();
        for (plan, _) in self.plans.iter().rev() {
            if read.contains(plan.name.as_str()) {
                read.insert(&plan.input);
            }
        }
        read
    }

    /// Builds the topology in `environment`; `sources` and `sinks` say where each of them is, in their order. What nobody reads is left
    /// out.
    pub(crate) fn build(self, environment: &Environment, sources: Vec<SourceSpec>, sinks: Vec<SinkSpec>) {
        let mut builder = environment.builder();
        let mut streams: BTreeMap<String, Stream> = BTreeMap::new();
        let read = self.read();
        for (source, spec) in self.sources.iter().zip(sources) {
            if !read.contains(source.name.as_str()) {
                continue;
            }
            streams.insert(source.name.clone(), scan(&mut builder, source, spec));
        }
        for (plan, options) in self.plans.iter().filter(|(plan, _)| read.contains(plan.name.as_str())) {
            let mut stream = streams[&plan.input].clone();
            let mut keyed = 0;
            for step in &plan.steps {
                stream = match step {
                    Step::Calc(calc) => calc_stream(&mut builder, &stream, &plan.name, calc),
                    keyed_step => {
                        keyed += 1;
                        let name = operator(&plan.name, keyed);
                        let stream = keyed_stream(&mut builder, &stream, name, keyed_step, *options);
                        if let Step::Aggregate(aggregate) = keyed_step
                            && !aggregate.late.is_empty()
                        {
                            let late = Stream {
                                side: Side::Late,
                                names: names(&plan.late_fields),
                                types: types(&plan.late_fields),
                                ..stream.clone()
                            };
                            streams.insert(format!("{}{LATE}", plan.name), late);
                        }
                        stream
                    }
                };
            }
            streams.insert(plan.name.clone(), stream);
        }
        for ((sink, fields), spec) in self.sinks.into_iter().zip(sinks) {
            let stream = &streams[&sink.from];
            let (target, pool) = builder.add_sink(spec);
            let (format, side) = (sink.format, stream.side);
            let (names, types) = (names(&fields), types(&fields));
            let tail = move |_: &str, _: &_| {
                let encoder = RowEncoder::new(format.clone(), &names, &types)
                    .expect("it was made when the job was planned");
                Box::new(EncodeRows::new(encoder, side, Arc::clone(&pool))) as _
            };
            builder.add_tail(stream.slot, Box::new(tail), target);
        }
    }
}

/// The name that the state of a query's keyed step of this number, from 1, is saved under.
fn operator(query: &str, number: usize) -> String {
    if number == 1 { query.to_owned() } else { format!("{query}.{number}") }
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

fn names(fields: &[Field]) -> Vec<String> {
    fields.iter().map(|field| field.name.clone()).collect()
}

fn types(fields: &[Field]) -> Vec<SqlType> {
    fields.iter().map(|field| field.sql_type).collect()
}

/// Rows on their way through the topology.
#[derive(Debug, Clone)]
struct Stream {
    slot: StageSlot,
    side: Side,
    time: StreamTime,
    names: Vec<String>,
    types: Vec<SqlType>,
}

impl Stream {
    /// Renders its rows that are rejected.
    fn encoder(&self) -> RowEncoder {
        // Columns that are computed may have one text twice.
        let names: Vec<String> = self
            .names
            .iter()
            .enumerate()
            .map(
                |(at, name)| {
                    if self.names[..at].contains(name) { format!("{name}#{at}") } else { name.clone() }
                },
            )
            .collect();
        RowEncoder::new(OutputFormat::Json, &names, &self.types)
            .expect("there are as many names as types, and all differ")
    }
}

fn scan(builder: &mut TopologyBuilder, source: &QuerySource, spec: SourceSpec) -> Stream {
    let index = SourceIndex(u16::try_from(builder.add_source(spec)).expect("a job has few sources"));
    let fields = source.schema.fields(&source.name);
    let time = match &source.schema.watermark {
        None => StreamTime::None,
        Some(watermark) => {
            let milliseconds = |ms: i64| Duration::from_millis(ms.cast_unsigned());
            let strategy = WatermarkStrategy::bounded_out_of_orderness(milliseconds(watermark.delay_ms));
            StreamTime::Assigned(match source.idle_ms {
                None => strategy,
                Some(idle) => strategy.with_idleness(milliseconds(idle)),
            })
        }
    };
    let shared = Arc::new(source.clone());
    let head = move |_: &str, context: &_| {
        let scan = Scan::new(index, Arc::clone(&shared), context)
            .expect("its decoder was made when the job was planned");
        Ok(Box::new(scan) as _)
    };
    let slot = builder.add_stage("scan", true, Box::new(head));
    builder.name_stage(slot.stage, source.name.clone());
    Stream { slot, side: Side::Results, time, names: names(&fields), types: types(&fields) }
}

fn calc_stream(builder: &mut TopologyBuilder, stream: &Stream, query: &str, calc: &Calc) -> Stream {
    let shared = Arc::new(calc.clone());
    let (input, query) = (stream.clone(), query.to_owned());
    let middle = move |_: &str, context: &_| {
        Box::new(CalcOperator::new(
            &query,
            Arc::clone(&shared),
            input.side,
            input.encoder(),
            &input.types,
            context,
        )) as _
    };
    let slot = builder.add_middle(stream.slot, Box::new(middle));
    let types = calc.project.iter().map(|column| column.sql_type).collect();
    Stream { slot, side: Side::Results, time: stream.time, names: calc.names.clone(), types }
}

fn keyed_stream(
    builder: &mut TopologyBuilder,
    stream: &Stream,
    name: String,
    step: &Step,
    options: QueryOptions,
) -> Stream {
    let ttl = options.state_ttl.map(StateTtl::new);
    let input_types = stream.types.clone();
    let (keys, types, names): (Vec<usize>, Vec<SqlType>, Vec<String>) = match step {
        Step::Aggregate(step) => {
            ((0..step.key_types.len()).collect(), step.output_types(), step.output_names())
        }
        Step::Over(step) => {
            let results = step.calls.iter().map(|call| call.sql_type);
            let texts = step.calls.iter().map(|call| call.text.clone());
            let types = input_types.iter().copied().chain(results).collect();
            (step.keys.clone(), types, stream.names.iter().cloned().chain(texts).collect())
        }
        Step::Calc(_) => panic!("a calc has no key"),
    };
    let slot = match step {
        Step::Aggregate(step) => {
            let step = Arc::new(step.clone());
            match step.window {
                None => keyed_stage(builder, stream, &name, keys, move || {
                    ContinuousAggregate::new(Arc::clone(&step), ttl)
                }),
                Some(window) => {
                    let late_types: Vec<SqlType> = step.late.iter().map(|at| input_types[*at]).collect();
                    keyed_stage(builder, stream, &name, keys, move || {
                        WindowAggregate::new(Arc::clone(&step), window, step.late.clone(), late_types.clone())
                    })
                }
            }
        }
        Step::Over(step) => {
            let step = Arc::new(step.clone());
            keyed_stage(builder, stream, &name, keys, move || Over::new(Arc::clone(&step), &input_types, ttl))
        }
        Step::Calc(_) => panic!("a calc has no key"),
    };
    let time = if stream.time == StreamTime::None { StreamTime::None } else { StreamTime::Stage };
    Stream { slot, side: Side::Results, time, names, types }
}

fn keyed_stage<F: KeyedRowFunction + 'static>(
    builder: &mut TopologyBuilder,
    stream: &Stream,
    name: &str,
    keys: Vec<usize>,
    function: impl Fn() -> F + Send + Sync + 'static,
) -> StageSlot {
    let pool: Arc<PartPool<Box<KeyedRowsPart>>> = Arc::new(PartPool::default());
    let (head_pool, input, time) = (Arc::clone(&pool), stream.clone(), stream.time);
    let head = move |name: &str, context: &_| {
        let head = KeyedRows::open(name, function(), input.encoder(), time, context, Arc::clone(&head_pool))?;
        Ok(Box::new(head) as _)
    };
    let slot = builder.add_stage("query", false, Box::new(head));
    builder.name_stage(slot.stage, name.to_owned());
    let types = stream.types.clone();
    let tail = move |name: &str, context: &_| {
        Box::new(ToKeys::new(name, keys.clone(), types.clone(), context, Arc::clone(&pool))) as _
    };
    builder.add_tail(stream.slot, Box::new(tail), Target::Stage { stage: slot.stage, stream: 0 });
    slot
}
