//! `tidegate replay`: the reference job again, over what a directory holds of it.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::bail;
use tracing::level_filters::LevelFilter;

use super::arguments::ReplayArguments;
use super::logging;
use super::mqtt::ExactnessName;
use super::running_average::{JOB, running_averages};
use super::sequenced_average::sequenced_averages;
use crate::checkpoint::CheckpointError;
use crate::disk::{Disk, DurableFile, RealDisk};
use crate::runtime::{JobError, Offset, Replay, ReplayReport};
use crate::source::{RecordedBatch, RecordedInput};
use crate::stream::Environment;

/// What `--to` takes for standard output.
const STDOUT: &str = "stdout";
/// Results are written in pieces of this many bytes.
const WRITE_BUFFER_BYTES: usize = 128 * 1024;

pub(super) fn run(arguments: &ReplayArguments) -> anyhow::Result<()> {
    logging::start(LevelFilter::WARN);
    let directory = job_directory(&RealDisk, &arguments.data_dir)?;
    let replay = Replay {
        from: arguments.from.map(Offset),
        until: arguments.until.map(Offset),
        parallelism: arguments.parallelism.map(usize::from),
        ..Replay::of(&directory)
    };
    let environment = Environment::new(JOB);
    let no_input: [RecordedBatch; 0] = [];
    let lines = environment.recorded(RecordedInput::new(no_input));
    match arguments.exactness {
        Some(ExactnessName::Sequence) => sequenced_averages(lines),
        _ => running_averages(lines),
    }
    .print();
    let mut out = BufWriter::with_capacity(WRITE_BUFFER_BYTES, Output::open(&arguments.to, &directory)?);
    let report = environment.replay(replay, |_, results| out.write_all(results))?;
    let cannot_write = |source| JobError::Sink { sink: arguments.to.display().to_string(), source };
    out.flush().and_then(|()| out.get_mut().finish()).map_err(cannot_write)?;
    summarise(&report, arguments.json)?;
    if let Some(gap) = report.gaps.first() {
        bail!("the journal in {} has gaps, the first at batches {gap}", directory.display());
    }
    Ok(())
}

/// The job's folder, given that or the checkpoint directory it lies in.
fn job_directory(disk: &dyn Disk, given: &Path) -> Result<PathBuf, JobError> {
    let names =
        disk.list(given).map_err(|source| CheckpointError::Directory { path: given.to_owned(), source })?;
    Ok(if names.iter().any(|name| name == JOB) { given.join(JOB) } else { given.to_owned() })
}

/// Where results go.
enum Output {
    Stdout(io::Stdout),
    File(Box<dyn DurableFile>),
}

impl Output {
    /// A file must be new, and lie outside the directory that is replayed.
    fn open(to: &Path, directory: &Path) -> Result<Self, JobError> {
        if to == Path::new(STDOUT) {
            return Ok(Self::Stdout(io::stdout()));
        }
        let absolute = std::path::absolute(to).ok();
        let parent = absolute.as_deref().and_then(Path::parent).and_then(|parent| parent.canonicalize().ok());
        if let (Some(parent), Ok(directory)) = (parent, directory.canonicalize())
            && parent.starts_with(&directory)
        {
            return Err(JobError::Configuration(format!(
                "{} lies in the directory that is replayed, which is only read; give another place",
                to.display()
            )));
        }
        let file = RealDisk.create_new(to);
        let cannot_create = |source| JobError::Sink { sink: format!("file {}", to.display()), source };
        file.map(Self::File).map_err(cannot_create)
    }

    fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(stdout) => stdout.flush(),
            Self::File(file) => file.sync(),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(stdout) => stdout.write(bytes),
            Self::File(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(stdout) => stdout.flush(),
            Self::File(file) => file.flush(),
        }
    }
}

/// Says on standard error what was replayed.
fn summarise(report: &ReplayReport, json: bool) -> io::Result<()> {
    let mut out = io::stderr().lock();
    let ReplayReport { offset, last, batches, readings, skipped, results, state, .. } = report;
    let rejected: u64 = report.rejected.values().sum();
    let gaps = report.gaps.iter().map(|gap| format!("\"{gap}\"")).collect::<Vec<_>>().join(",");
    let checkpoint = report.checkpoint.map(|checkpoint| checkpoint.to_string());
    if json {
        let checkpoint = checkpoint.unwrap_or_else(|| "null".to_owned());
        return writeln!(
            out,
            r#"{{"checkpoint":{checkpoint},"offset":{offset},"last":{last},"batches":{batches},"readings":{readings},"skipped":{skipped},"rejected":{rejected},"results":{results},"gaps":[{gaps}],"state":"{state}"}}"#
        );
    }
    let from = checkpoint.map_or("empty state".to_owned(), |number| format!("checkpoint {number}"));
    let gaps = if gaps.is_empty() { "none".to_owned() } else { gaps.replace('"', "") };
    writeln!(out, "replayed: from {from} at offset {offset} to batch {last}")?;
    writeln!(
        out,
        "batches {batches}, readings {readings}, skipped {skipped}, rejected {rejected}, results {results}, gaps {gaps}"
    )?;
    writeln!(out, "state {state}")
}
