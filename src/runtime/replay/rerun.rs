//! The chains of a job, run in this thread: every stage in order, every subtask in order, batch by batch.
//!
//! The parts take the way they take between actors: a subtask gets one part from each subtask of the stage before, in
//! their order, and a sink merges the parts of its inputs in that order.

use std::sync::Arc;

use super::report::StateHash;
use crate::checkpoint::Contents;
use crate::metrics::JobMetrics;
use crate::operator::{AnyPart, Chain, EncodedPart, FrameInput, OperatorError, SubtaskContext};
use crate::runtime::batch::BatchHeader;
use crate::runtime::error::JobError;
use crate::runtime::settings::Settings;
use crate::runtime::subtask::{guard, place, restored_chain};
use crate::source::frame::Frames;
use crate::state::{StateDigest, StateSetup};
use crate::stream::{Stage, Target, Topology};

/// Takes a batch's results of one sink: its name, the bytes and the number of records.
pub(super) type TakeBatch<'a> = &'a mut dyn FnMut(&str, &[u8], u64) -> Result<(), JobError>;

/// A job without actors.
pub(super) struct Rerun<'a> {
    topology: &'a Topology,
    parallelism: usize,
    /// By stage and subtask.
    chains: Vec<Vec<Chain>>,
    results: Vec<u8>,
}

impl<'a> Rerun<'a> {
    /// Builds the chains of every subtask with the state in `contents`.
    ///
    /// # Errors
    /// [`JobError::Restore`] when it does not fit, [`JobError::Open`] when an operator cannot be opened.
    pub(super) fn restore(
        topology: &'a Topology,
        settings: &Settings,
        parallelism: usize,
        metrics: &Arc<JobMetrics>,
        contents: Option<Contents>,
    ) -> Result<Self, JobError> {
        let state = Arc::new(StateSetup::heap());
        let chain = |factory, index| {
            let max_parallelism = settings.max_parallelism;
            let context = SubtaskContext {
                index,
                parallelism,
                max_parallelism,
                metrics: Arc::clone(metrics),
                state: Arc::clone(&state),
            };
            restored_chain(factory, &context, contents.as_ref()).map_err(|cause| match (cause, &contents) {
                (OperatorError::State(source), Some(contents)) => {
                    JobError::Restore { checkpoint: contents.manifest.id, source: Box::new(source) }
                }
                (OperatorError::State(source), None) => JobError::Open(Box::new(source)),
                (cause, _) => JobError::RestartsExhausted {
                    failures: 1,
                    place: "restore".to_owned(),
                    cause: Box::new(cause),
                },
            })
        };
        let stage = |stage: &'a Stage| {
            (0..parallelism).map(|index| chain(&*stage.factory, index)).collect::<Result<Vec<_>, _>>()
        };
        let chains = topology.stages.iter().map(stage).collect::<Result<_, _>>()?;
        Ok(Self { topology, parallelism, chains, results: Vec::new() })
    }

    /// Runs one batch and gives out what every sink gets of it.
    ///
    /// # Errors
    /// [`JobError::OperatorFailed`]; what `take` returns.
    pub(super) fn batch(
        &mut self,
        header: BatchHeader,
        frames: &Arc<Frames>,
        take: TakeBatch<'_>,
    ) -> Result<(), JobError> {
        let topology = self.topology;
        // By stage and subtask: parts, each with the number of the input it is for.
        let mut stage_inputs: Vec<Vec<Vec<(usize, AnyPart)>>> =
            topology.stages.iter().map(|_| (0..self.parallelism).map(|_| Vec::new()).collect()).collect();
        let mut sink_inputs: Vec<Vec<AnyPart>> = topology.sinks.iter().map(|_| Vec::new()).collect();
        for (number, stage) in topology.stages.iter().enumerate() {
            let inputs = std::mem::take(&mut stage_inputs[number]);
            for (index, (chain, mut parts)) in self.chains[number].iter_mut().zip(inputs).enumerate() {
                parts.sort_by_key(|(input, _)| *input);
                let mut parts: Vec<AnyPart> = parts.into_iter().map(|(_, part)| part).collect();
                if stage.reads_source {
                    parts.push(Box::new(FrameInput { frames: Arc::clone(frames), only: None }));
                }
                let outputs =
                    guard(|| chain.run(&header, parts)).map_err(|cause| JobError::OperatorFailed {
                        offset: header.offset,
                        place: place(&*stage.factory, index, self.parallelism),
                        cause: Box::new(cause),
                    })?;
                for (target, parts) in stage.targets.iter().zip(outputs) {
                    match *target {
                        Target::Sink(sink) => sink_inputs[sink].extend(parts),
                        Target::Stage { stage: later, stream } => {
                            let input = stream * self.parallelism + index;
                            let receivers = stage_inputs[later].iter_mut();
                            receivers.zip(parts).for_each(|(inputs, part)| inputs.push((input, part)));
                        }
                    }
                }
            }
        }
        for (sink, parts) in topology.sinks.iter().zip(sink_inputs) {
            self.results.clear();
            let mut records = 0;
            for part in parts {
                let mut part: EncodedPart = *part.downcast().expect("an encoder sends encoded parts");
                self.results.append(&mut part.bytes);
                records += part.records;
                sink.pool.put(part);
            }
            take(&sink.spec.name(), &self.results, records)?;
        }
        Ok(())
    }

    /// Hash of the state of all operators.
    ///
    /// # Errors
    /// [`JobError::Open`] when a state cannot be written.
    pub(super) fn state_hash(&mut self) -> Result<StateHash, JobError> {
        let mut digest = StateDigest::default();
        for chains in &mut self.chains {
            let snapshots = chains.iter_mut().filter_map(|chain| chain.head().snapshot().transpose());
            let snapshots: Vec<_> =
                snapshots.collect::<Result<_, _>>().map_err(|source| JobError::Open(Box::new(source)))?;
            let parts = snapshots.iter().map(|snapshot| {
                let mut part = Vec::new();
                guard(|| snapshot.write_full(&mut part).map_err(OperatorError::failed))?;
                Ok(part)
            });
            let place = || "the state's hash".to_owned();
            let parts = parts.collect::<Result<Vec<_>, OperatorError>>().map_err(|cause| {
                JobError::RestartsExhausted { failures: 1, place: place(), cause: Box::new(cause) }
            })?;
            if let Some(first) = snapshots.first() {
                digest
                    .operator(first.operator(), &parts)
                    .map_err(|source| JobError::Open(Box::new(source)))?;
            }
        }
        Ok(StateHash(digest.finish()))
    }
}
