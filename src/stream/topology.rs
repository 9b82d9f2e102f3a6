//! The topology: what the typed API builds and the runtime runs.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use crate::operator::{Chain, EncodedPart, Head, Middle, PartPool, SubtaskContext, Tail};
use crate::sink::SinkSpec;
use crate::source::SourceSpec;
use crate::state::StateError;

/// A job's sources, stages and sinks.
pub(crate) struct Topology {
    pub(crate) job: String,
    pub(crate) sources: Vec<SourceSpec>,
    pub(crate) stages: Vec<Stage>,
    pub(crate) sinks: Vec<Sink>,
}

/// One stage: a chain run by every one of its subtasks.
pub(crate) struct Stage {
    /// Unique within the job; the name its state is saved under.
    pub(crate) name: String,
    pub(crate) reads_source: bool,
    /// Where the parts of each tail go.
    pub(crate) targets: Vec<Target>,
    /// True when every stream that comes from the stage is read.
    pub(crate) is_read: bool,
    pub(crate) factory: Arc<dyn ChainFactory>,
}

/// One sink, with the spare buffers of the edge to it.
pub(crate) struct Sink {
    pub(crate) spec: SinkSpec,
    pub(crate) pool: Arc<PartPool<EncodedPart>>,
}

/// The receiver of a tail's parts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    /// A stage, as the stream of this number among those it reads.
    Stage {
        stage: usize,
        stream: usize,
    },
    Sink(usize),
}

/// Builds a stage's chain, once for each subtask and again after each failure.
pub(crate) trait ChainFactory: Send + Sync {
    /// Name of the stage.
    fn name(&self) -> &str;

    /// # Errors
    /// What an operator's `open` returned.
    fn build(&self, context: &SubtaskContext) -> Result<Chain, StateError>;
}

impl Stage {
    /// Number of streams each of `stages` reads from others of them.
    pub(crate) fn stream_counts(stages: &[Self]) -> Vec<usize> {
        let mut counts = vec![0; stages.len()];
        for target in stages.iter().flat_map(|stage| &stage.targets) {
            if let Target::Stage { stage, .. } = *target {
                counts[stage] += 1;
            }
        }
        counts
    }
}

impl Topology {
    /// # Errors
    /// A sentence that says what is missing.
    pub(crate) fn check(&self) -> Result<(), String> {
        let name_ok = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if self.job.is_empty() || self.job.starts_with('.') || !self.job.bytes().all(name_ok) {
            return Err(format!(
                "the job's name {:?} must consist of letters, digits, '-', '_' and '.', and not start with '.'",
                self.job
            ));
        }
        if self.sources.is_empty() {
            return Err(format!("the job {:?} has no source", self.job));
        }
        if self.sinks.is_empty() {
            return Err(format!(
                "the job {:?} has no sink: end a stream with `print` or `write_to_file`",
                self.job
            ));
        }
        let mut names = BTreeSet::new();
        for stage in &self.stages {
            if stage.targets.is_empty() || !stage.is_read {
                return Err(format!(
                    "a stream that comes from {:?} ends nowhere: give it a sink",
                    stage.name
                ));
            }
            if !names.insert(&stage.name) {
                return Err(format!("two operators are named {:?}: name one of them otherwise", stage.name));
            }
        }
        Ok(())
    }
}

type HeadFactory = Box<dyn Fn(&str, &SubtaskContext) -> Result<Box<dyn Head>, StateError> + Send + Sync>;
type MiddleFactory = Box<dyn Fn(&str, &SubtaskContext) -> Box<dyn Middle> + Send + Sync>;
type TailFactory = Box<dyn Fn(&str, &SubtaskContext) -> Box<dyn Tail> + Send + Sync>;

/// A topology under construction.
pub(crate) struct TopologyBuilder {
    sources: Vec<SourceSpec>,
    stages: Vec<StageBuilder>,
    sinks: Vec<Sink>,
}

struct StageBuilder {
    name: String,
    reads_source: bool,
    head: HeadFactory,
    middles: Vec<(usize, MiddleFactory)>,
    tails: Vec<(usize, TailFactory)>,
    targets: Vec<Target>,
}

/// A slot of a stage's chain: what an operator produced.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StageSlot {
    pub(crate) stage: usize,
    pub(crate) slot: usize,
}

impl TopologyBuilder {
    pub(crate) fn new() -> Self {
        Self { sources: Vec::new(), stages: Vec::new(), sinks: Vec::new() }
    }

    pub(crate) fn add_source(&mut self, source: SourceSpec) -> usize {
        self.sources.push(source);
        self.sources.len() - 1
    }

    /// Adds a stage; `kind` names it until the user does.
    pub(crate) fn add_stage(&mut self, kind: &str, reads_source: bool, head: HeadFactory) -> StageSlot {
        let stage = self.stages.len();
        self.stages.push(StageBuilder {
            name: format!("{kind}-{}", stage + 1),
            reads_source,
            head,
            middles: Vec::new(),
            tails: Vec::new(),
            targets: Vec::new(),
        });
        StageSlot { stage, slot: 0 }
    }

    pub(crate) fn name_stage(&mut self, stage: usize, name: String) {
        self.stages[stage].name = name;
    }

    pub(crate) fn add_middle(&mut self, input: StageSlot, middle: MiddleFactory) -> StageSlot {
        let middles = &mut self.stages[input.stage].middles;
        middles.push((input.slot, middle));
        StageSlot { stage: input.stage, slot: middles.len() }
    }

    pub(crate) fn add_tail(&mut self, input: StageSlot, tail: TailFactory, target: Target) {
        let stage = &mut self.stages[input.stage];
        stage.tails.push((input.slot, tail));
        stage.targets.push(target);
    }

    pub(crate) fn add_sink(&mut self, spec: SinkSpec) -> (Target, Arc<PartPool<EncodedPart>>) {
        let pool = Arc::new(PartPool::default());
        self.sinks.push(Sink { spec, pool: Arc::clone(&pool) });
        (Target::Sink(self.sinks.len() - 1), pool)
    }

    pub(crate) fn build(self, job: String) -> Topology {
        let stages = self.stages.into_iter().map(StageBuilder::build).collect();
        Topology { job, sources: self.sources, stages, sinks: self.sinks }
    }
}

impl StageBuilder {
    fn build(self) -> Stage {
        let reads = |slot| {
            self.middles.iter().any(|(input, _)| *input == slot)
                || self.tails.iter().any(|(input, _)| *input == slot)
        };
        Stage {
            is_read: (0..=self.middles.len()).all(reads),
            name: self.name.clone(),
            reads_source: self.reads_source,
            targets: self.targets,
            factory: Arc::new(StageFactory {
                name: self.name,
                head: self.head,
                middles: self.middles,
                tails: self.tails,
            }),
        }
    }
}

struct StageFactory {
    name: String,
    head: HeadFactory,
    middles: Vec<(usize, MiddleFactory)>,
    tails: Vec<(usize, TailFactory)>,
}

impl ChainFactory for StageFactory {
    fn name(&self) -> &str {
        &self.name
    }

    fn build(&self, context: &SubtaskContext) -> Result<Chain, StateError> {
        let head = (self.head)(&self.name, context)?;
        let middles =
            self.middles.iter().map(|(input, middle)| (*input, middle(&self.name, context))).collect();
        let tails = self.tails.iter().map(|(input, tail)| (*input, tail(&self.name, context))).collect();
        Ok(Chain::new(head, middles, tails))
    }
}

/// The user's value, of which every subtask gets a clone. Behind a lock, so that it need not be `Sync`.
pub(crate) struct Prototype<F>(Mutex<F>);

impl<F: Clone> Prototype<F> {
    pub(crate) fn new(value: F) -> Self {
        Self(Mutex::new(value))
    }

    pub(crate) fn instance(&self) -> F {
        // A clone that panicked left the prototype as it was.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}
