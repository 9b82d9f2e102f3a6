//! `tidegate test`: a job file run over samples, without any network and with a clock of its own.
//!
//! The engine is the one that `run` has. Each line of the samples is a batch, so that windows close as soon as they can. The clock follows
//! the samples: it stands at the highest event time that came, but for one that the source would quarantine as too far ahead; where there is
//! no event time it begins at 2000-01-01 00:00:00 UTC and takes a second for each line. Behind the last line all windows close.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;
use tracing::level_filters::LevelFilter;

use super::job::PlannedJob;
use super::logging;
use crate::board::Place;
use crate::disk::{RealDisk, read_whole};
use crate::query::QuerySource;
use crate::runtime::{JobError, Settings};
use crate::sink::{Collected, SinkSpec};
use crate::source::{END_OF_INPUT, RecordedBatch, RecordedInput, SourceSpec};
use crate::stream::Environment;

/// Most bytes of samples.
const SAMPLES_BYTES_MAX: u64 = 64 << 20;
/// Lines above which several go into a batch.
const SINGLE_LINES_MAX: usize = 20_000;
/// Lines of a batch then.
const BATCH_LINES: usize = 256;
/// Where the clock begins without event time: 2000-01-01 00:00:00 UTC, in milliseconds.
const CLOCK_START_MS: i64 = 946_684_800_000;
/// What it takes for a line without event time, in milliseconds.
const CLOCK_STEP_MS: i64 = 1_000;
/// How far it jumps behind the last line, so that windows of processing time close: 100 years, in milliseconds.
const CLOCK_END_MS: i64 = 100 * 366 * 86_400_000;
/// Differences that are shown.
const DIFFERENCES_MAX: usize = 10;

/// What `tidegate test` takes.
#[derive(Debug, Args)]
pub struct TestArguments {
    /// The job file
    pub job: PathBuf,

    /// A file of samples, a frame a line; NAME=FILE when there is more than one source
    #[arg(long, value_name = "[SOURCE=]FILE", required = true)]
    pub input: Vec<String>,

    /// Compare the results with those in a file, and end with 1 when they differ
    #[arg(long, value_name = "FILE")]
    pub expect: Option<PathBuf>,

    /// Show the results of this sink only
    #[arg(long, value_name = "NAME")]
    pub sink: Option<String>,

    /// Set a key of the file, such as checkpoint.interval=5s
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,

    /// The board it is for, instead of that in the file: the job must fit it. Samples run anywhere
    #[arg(long, value_name = "NAME")]
    pub board: Option<String>,
}

pub(super) fn test(arguments: &TestArguments) -> anyhow::Result<()> {
    let mut planned =
        PlannedJob::load(&arguments.job, &arguments.overrides, arguments.board.as_deref(), Place::Elsewhere)?;
    logging::start(LevelFilter::WARN);
    if let Some(name) = &arguments.sink
        && !planned.config.sinks.iter().any(|sink| sink.name.value == *name)
    {
        let names: Vec<&str> = planned.config.sinks.iter().map(|sink| sink.name.value.as_str()).collect();
        return Err(refused(format!("there is no sink {name}; there are {}", names.join(", "))));
    }
    let inputs = inputs(&planned.sources, &arguments.input)?;
    // Samples end.
    planned.job.end_all_sources();
    let collected: Vec<Collected> = planned.config.sinks.iter().map(|_| Collected::new()).collect();
    let sinks = collected.iter().map(|sink| SinkSpec::Memory(sink.clone())).collect();
    let environment = Environment::with_settings(&planned.config.name, Settings::default());
    let sources =
        inputs.into_iter().map(|batches| SourceSpec::Recorded(RecordedInput::new(batches))).collect();
    planned.job.build(&environment, sources, sinks);
    let report = environment.execute()?;
    let shown: Vec<(&str, String)> = planned
        .config
        .sinks
        .iter()
        .zip(&collected)
        .map(|(sink, collected)| (sink.name.value.as_str(), collected.text()))
        .filter(|(name, _)| arguments.sink.as_deref().is_none_or(|sink| sink == *name))
        .collect();
    let results = render(&shown);
    if let Some(expected) = &arguments.expect {
        compare(&results, expected)?;
    }
    let mut out = std::io::stdout().lock();
    out.write_all(results.as_bytes())?;
    for ((place, cause), count) in &report.rejected {
        tracing::warn!(%place, %cause, count, "readings rejected");
    }
    Ok(())
}

/// The lines of the sinks; with more than one of them behind the sink's name and a tab.
fn render(sinks: &[(&str, String)]) -> String {
    match sinks {
        [(_, only)] => only.clone(),
        sinks => sinks
            .iter()
            .flat_map(|(name, text)| text.lines().map(move |line| format!("{name}\t{line}\n")))
            .collect(),
    }
}

/// The batches of each source, in the order of the job file.
fn inputs(sources: &[QuerySource], given: &[String]) -> anyhow::Result<Vec<Vec<RecordedBatch>>> {
    let names = || sources.iter().map(|source| source.name.as_str()).collect::<Vec<_>>().join(", ");
    let mut files: Vec<Option<PathBuf>> = vec![None; sources.len()];
    for input in given {
        let named = input
            .split_once('=')
            .and_then(|(name, file)| Some((sources.iter().position(|source| source.name == name)?, file)));
        let (at, file) = match named {
            Some(named) => named,
            None if sources.len() == 1 => (0, input.as_str()),
            None => {
                let message = format!(
                    "--input {input}: say which source it is for, as NAME=FILE; there are {}",
                    names()
                );
                return Err(refused(message));
            }
        };
        if files[at].replace(PathBuf::from(file)).is_some() {
            return Err(refused(format!(
                "--input {input}: there is a second file for the source {}",
                sources[at].name
            )));
        }
    }
    sources
        .iter()
        .zip(files)
        .map(|(source, file)| match file {
            Some(file) => Ok(batches(source, &lines(&file)?)),
            None => Ok(batches(source, &[])),
        })
        .collect()
}

/// An argument that cannot be used.
fn refused(message: String) -> anyhow::Error {
    JobError::Configuration(message).into()
}

fn lines(path: &Path) -> anyhow::Result<Vec<String>> {
    let cannot = |why: &dyn std::fmt::Display| refused(format!("cannot read {}: {why}", path.display()));
    let bytes = read_whole(&RealDisk, path, SAMPLES_BYTES_MAX).map_err(|error| cannot(&error))?;
    let text = String::from_utf8(bytes).map_err(|error| cannot(&error.utf8_error()))?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn batches(source: &QuerySource, lines: &[String]) -> Vec<RecordedBatch> {
    let size = if lines.len() > SINGLE_LINES_MAX { BATCH_LINES } else { 1 };
    let mut clock: Option<i64> = None;
    let mut decoder = source.decoder().ok();
    let mut batches = Vec::with_capacity(lines.len() / size + 2);
    for chunk in lines.chunks(size) {
        for line in chunk {
            let time = decoder
                .as_mut()
                .and_then(|decoder| source.event_time(decoder, line, clock.unwrap_or(CLOCK_START_MS)));
            clock = Some(match (clock, time) {
                (None, Some(time)) => time,
                (None, None) => CLOCK_START_MS,
                (Some(clock), Some(time)) => {
                    if time <= source.latest(clock) {
                        clock.max(time)
                    } else {
                        clock
                    }
                }
                (Some(clock), None) if source.schema.watermark.is_some() => clock,
                (Some(clock), None) => clock + CLOCK_STEP_MS,
            });
        }
        batches.push(RecordedBatch { stamp_ms: clock.unwrap_or(CLOCK_START_MS), lines: chunk.to_vec() });
    }
    let end = clock.unwrap_or(CLOCK_START_MS).saturating_add(CLOCK_END_MS);
    batches.push(RecordedBatch { stamp_ms: end, lines: vec![END_OF_INPUT.to_owned()] });
    batches
}

/// Compares the results with those in a file, line by line.
fn compare(results: &str, expected: &Path) -> anyhow::Result<()> {
    let wanted = lines(expected)?;
    let found: Vec<&str> = results.lines().collect();
    let mut differences = Vec::new();
    for at in 0..wanted.len().max(found.len()) {
        let (wanted, found) = (wanted.get(at).map(String::as_str), found.get(at).copied());
        if wanted != found {
            let show = |line: Option<&str>| line.map_or("(no line)".to_owned(), str::to_owned);
            differences.push(format!(
                "line {}:\n  expected {}\n  found    {}",
                at + 1,
                show(wanted),
                show(found)
            ));
        }
    }
    if differences.is_empty() {
        return Ok(());
    }
    let more = differences.len().saturating_sub(DIFFERENCES_MAX);
    differences.truncate(DIFFERENCES_MAX);
    if more > 0 {
        differences.push(format!("and {more} more lines"));
    }
    bail!(UnexpectedResults(format!(
        "the results are not those in {}\n{}",
        expected.display(),
        differences.join("\n")
    )))
}

/// The results are not those that were expected.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct UnexpectedResults(String);
