//! From plans to the topology of a job.
//!
//! ```text
//! source stage      Scan ─▶ Calc … ─▶ ToKeys          one for each source; Calcs of all queries that read it
//! keyed stage       KeyedRows ─▶ Calc … ─▶ EncodeRows  one for each keyed step
//! union stage       UnionRows ─▶ EncodeRows            where sinks read the rows of several stages
//! ```
//!
//! A union has no stage of its own as long as it can do without: its branches go on side by side, and a keyed step reads them all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::field::Field;
use super::format::{OutputFormat, RowEncoder};
use super::job::{QueryJob, QueryOptions};
use super::operator::{
    CalcOperator, ContinuousAggregate, EncodeRows, KeyedRowFunction, KeyedRows, KeyedRowsPart, Over, Scan,
    Side, ToKeys, ToUnion, UnionRows, WindowAggregate,
};
use super::plan::{Calc, Input, Pipeline, QueryPlan, Step, WatermarkPer};
use super::source::QuerySource;
use super::sql_type::SqlType;
use crate::operator::{PartPool, StreamTime, WatermarkStrategy};
use crate::sink::SinkSpec;
use crate::source::SourceSpec;
use crate::source::frame::SourceIndex;
use crate::state::StateTtl;
use crate::stream::{Environment, StageSlot, Target, TopologyBuilder};

/// Behind the name of a query, where a sink names what it reads: the rows that came too late for its windows.
pub(crate) const LATE: &str = ".late";
/// Behind the name of a query: the stage that puts the branches of a union together.
const UNION: &str = ".union";

/// Rows on their way through the topology.
#[derive(Debug, Clone)]
struct Stream {
    slot: StageSlot,
    side: Side,
    time: StreamTime,
    /// Of rows that come from a source: how far they are behind others.
    disorder: Option<WatermarkStrategy>,
    names: Vec<String>,
    types: Vec<SqlType>,
}

impl Stream {
    /// Renders its rows that are rejected.
    fn encoder(&self) -> RowEncoder {
        // Columns that are computed may have one text twice.
        let name = |(at, name): (usize, &String)| {
            if self.names[..at].contains(name) { format!("{name}#{at}") } else { name.clone() }
        };
        let names: Vec<String> = self.names.iter().enumerate().map(name).collect();
        RowEncoder::new(OutputFormat::Json, &names, &self.types)
            .expect("there are as many names as types, and all differ")
    }
}

/// The rows of a source or query: those of all these streams, whose columns have the same types.
type Branches = Vec<Stream>;

impl QueryJob {
    /// Builds the topology in `environment`; `sources` and `sinks` say where each of them is, in their order. What nobody reads is left
    /// out.
    pub(crate) fn build(self, environment: &Environment, sources: Vec<SourceSpec>, sinks: Vec<SinkSpec>) {
        let mut builder = environment.builder();
        let mut relations: BTreeMap<String, Branches> = BTreeMap::new();
        let mut for_sinks: BTreeMap<String, Stream> = BTreeMap::new();
        let read = self.read();
        for (source, spec) in self.sources.iter().zip(sources) {
            if !read.contains(source.name.as_str()) {
                continue;
            }
            relations.insert(source.name.clone(), vec![scan(&mut builder, source, spec)]);
        }
        for (plan, options) in self.plans.iter().filter(|(plan, _)| read.contains(plan.name.as_str())) {
            let mut query = QueryStages { plan, options: *options, keyed: 0, late: None };
            let branches = query.pipeline(&mut builder, &relations, &plan.pipeline);
            if let Some(late) = query.late {
                for_sinks.insert(format!("{}{LATE}", plan.name), late);
            }
            relations.insert(plan.name.clone(), branches);
        }
        for (sink, _) in &self.sinks {
            if let Some(branches) = relations.get(&sink.from)
                && !for_sinks.contains_key(&sink.from)
            {
                for_sinks.insert(sink.from.clone(), together(&mut builder, &sink.from, branches));
            }
        }
        for ((sink, fields), spec) in self.sinks.into_iter().zip(sinks) {
            let stream = &for_sinks[&sink.from];
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

pub(super) fn names(fields: &[Field]) -> Vec<String> {
    fields.iter().map(|field| field.name.clone()).collect()
}

pub(super) fn types(fields: &[Field]) -> Vec<SqlType> {
    fields.iter().map(|field| field.sql_type).collect()
}

/// The name that the state of a query's keyed step of this number, from 1, is saved under.
fn operator(query: &str, number: usize) -> String {
    if number == 1 { query.to_owned() } else { format!("{query}.{number}") }
}

/// The stages of a query under construction.
struct QueryStages<'a> {
    plan: &'a QueryPlan,
    options: QueryOptions,
    /// Keyed steps so far.
    keyed: usize,
    /// The rows that were late for its windows, where they are kept.
    late: Option<Stream>,
}

impl QueryStages<'_> {
    fn pipeline(
        &mut self,
        builder: &mut TopologyBuilder,
        relations: &BTreeMap<String, Branches>,
        pipeline: &Pipeline,
    ) -> Branches {
        let mut branches: Branches = match &pipeline.input {
            Input::Relation(name) => relations[name].clone(),
            Input::Union(inputs) => {
                inputs.iter().flat_map(|input| self.pipeline(builder, relations, input)).collect()
            }
        };
        for step in &pipeline.steps {
            branches = match step {
                Step::Calc(calc) => {
                    let calc = |stream| calc_stream(builder, stream, &self.plan.name, calc);
                    branches.iter().map(calc).collect()
                }
                keyed_step => vec![self.keyed(builder, &branches, keyed_step)],
            };
        }
        branches
    }

    fn keyed(&mut self, builder: &mut TopologyBuilder, branches: &[Stream], step: &Step) -> Stream {
        self.keyed += 1;
        let name = operator(&self.plan.name, self.keyed);
        let stream = keyed_stream(builder, branches, &name, step, self.options);
        if let Step::Aggregate(aggregate) = step
            && !aggregate.late.is_empty()
        {
            let fields = &self.plan.late_fields;
            self.late = Some(Stream {
                side: Side::Late,
                names: names(fields),
                types: types(fields),
                ..stream.clone()
            });
        }
        stream
    }
}

fn scan(builder: &mut TopologyBuilder, source: &QuerySource, spec: SourceSpec) -> Stream {
    let index = SourceIndex(u16::try_from(builder.add_source(spec)).expect("a job has few sources"));
    let fields = source.schema.fields(&source.name);
    let disorder = source.schema.watermark.as_ref().map(|watermark| {
        let milliseconds = |ms: i64| Duration::from_millis(ms.cast_unsigned());
        let strategy = WatermarkStrategy::bounded_out_of_orderness(milliseconds(watermark.delay_ms));
        match source.idle_ms {
            None => strategy,
            Some(idle) => strategy.with_idleness(milliseconds(idle)),
        }
    });
    let shared = Arc::new(source.clone());
    let head = move |_: &str, context: &_| {
        let scan = Scan::new(index, Arc::clone(&shared), context)
            .expect("its decoder was made when the job was planned");
        Ok(Box::new(scan) as _)
    };
    let slot = builder.add_stage("scan", true, Box::new(head));
    builder.name_stage(slot.stage, source.name.clone());
    Stream {
        slot,
        side: Side::Results,
        time: disorder.map_or(StreamTime::None, StreamTime::Assigned),
        disorder,
        names: names(&fields),
        types: types(&fields),
    }
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
    Stream { slot, side: Side::Results, names: calc.names.clone(), types, ..stream.clone() }
}

fn keyed_stream(
    builder: &mut TopologyBuilder,
    branches: &[Stream],
    name: &str,
    step: &Step,
    options: QueryOptions,
) -> Stream {
    let ttl = options.state_ttl.map(StateTtl::new);
    // All have the same columns.
    let input = &branches[0];
    let input_types = input.types.clone();
    let disorder = disorder(branches);
    let mut inputs = KeyedInputs { branches, keys: Vec::new(), by_group: None };
    let (slot, types, names) = match step {
        Step::Aggregate(step) => {
            let step = Arc::new(step.clone());
            let (types, names) = (step.output_types(), step.output_names());
            inputs.keys = (0..step.key_types.len()).collect();
            let slot = match step.window {
                None => inputs.stage(builder, name, move || ContinuousAggregate::new(Arc::clone(&step), ttl)),
                Some(window) => {
                    if window.watermark_per == WatermarkPer::KeyGroup {
                        inputs.by_group = disorder;
                    }
                    let late_types: Vec<SqlType> = step.late.iter().map(|at| input_types[*at]).collect();
                    inputs.stage(builder, name, move || {
                        WindowAggregate::new(Arc::clone(&step), window, step.late.clone(), late_types.clone())
                    })
                }
            };
            (slot, types, names)
        }
        Step::Over(step) => {
            let results = step.calls.iter().map(|call| call.sql_type);
            let texts = step.calls.iter().map(|call| call.text.clone());
            let types: Vec<SqlType> = input_types.iter().copied().chain(results).collect();
            let names: Vec<String> = input.names.iter().cloned().chain(texts).collect();
            inputs.keys.clone_from(&step.keys);
            let step = Arc::new(step.clone());
            (
                inputs.stage(builder, name, move || Over::new(Arc::clone(&step), &input_types, ttl)),
                types,
                names,
            )
        }
        Step::Calc(_) => panic!("a calc has no key"),
    };
    let is_timed = branches.iter().any(|stream| stream.time != StreamTime::None);
    Stream {
        slot,
        side: Side::Results,
        time: if is_timed { StreamTime::Stage } else { StreamTime::None },
        // OVER gives its rows on at once.
        disorder: disorder.filter(|_| matches!(step, Step::Over(_))),
        names,
        types,
    }
}

/// How far the rows of several streams are behind others at most; none when it is not known of all.
fn disorder(branches: &[Stream]) -> Option<WatermarkStrategy> {
    let known: Option<Vec<WatermarkStrategy>> = branches.iter().map(|stream| stream.disorder).collect();
    known?.into_iter().reduce(WatermarkStrategy::widest)
}

/// What a keyed stage reads.
struct KeyedInputs<'a> {
    branches: &'a [Stream],
    /// Numbers of the columns.
    keys: Vec<usize>,
    /// Each key group has a watermark of its own.
    by_group: Option<WatermarkStrategy>,
}

impl KeyedInputs<'_> {
    fn stage<F: KeyedRowFunction + 'static>(
        self,
        builder: &mut TopologyBuilder,
        name: &str,
        function: impl Fn() -> F + Send + Sync + 'static,
    ) -> StageSlot {
        let pool: Arc<PartPool<Box<KeyedRowsPart>>> = Arc::new(PartPool::default());
        let (head_pool, input, by_group) = (Arc::clone(&pool), self.branches[0].clone(), self.by_group);
        let times: Vec<StreamTime> = self.branches.iter().map(|stream| stream.time).collect();
        let head = move |name: &str, context: &_| {
            let (encoder, pool) = (input.encoder(), Arc::clone(&head_pool));
            Ok(Box::new(KeyedRows::open(name, function(), encoder, (&times, by_group), context, pool)?) as _)
        };
        let slot = builder.add_stage("query", false, Box::new(head));
        builder.name_stage(slot.stage, name.to_owned());
        for (stream, branch) in self.branches.iter().enumerate() {
            let (keys, types, pool) = (self.keys.clone(), branch.types.clone(), Arc::clone(&pool));
            let tail = move |name: &str, context: &_| {
                let edge = (Arc::clone(&pool), stream);
                Box::new(ToKeys::new(name, keys.clone(), types.clone(), context, edge)) as _
            };
            builder.add_tail(branch.slot, Box::new(tail), Target::Stage { stage: slot.stage, stream });
        }
        slot
    }
}

/// One stream of the rows of all `branches` of a relation, for a sink: in the order of the branches within a batch.
fn together(builder: &mut TopologyBuilder, relation: &str, branches: &[Stream]) -> Stream {
    if let [only] = branches {
        return only.clone();
    }
    let types = branches[0].types.clone();
    let head_types = types.clone();
    let head = move |_: &str, _: &_| Ok(Box::new(UnionRows::new(&head_types)) as _);
    let slot = builder.add_stage("union", false, Box::new(head));
    builder.name_stage(slot.stage, format!("{relation}{UNION}"));
    for (stream, branch) in branches.iter().enumerate() {
        let (types, side) = (types.clone(), branch.side);
        let tail = move |_: &str, context: &_| Box::new(ToUnion::new(&types, side, context)) as _;
        builder.add_tail(branch.slot, Box::new(tail), Target::Stage { stage: slot.stage, stream });
    }
    Stream { slot, side: Side::Results, time: StreamTime::None, disorder: None, ..branches[0].clone() }
}
