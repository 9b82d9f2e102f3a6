//! `tidegate run`: a job from a file.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use tracing::level_filters::LevelFilter;

use super::board;
use super::job::PlannedJob;
use super::report::report;
use super::{allocator, logging, signals};
use crate::board::Place;
use crate::runtime::{JobError, NotifySocket, Start, StopHandle};
use crate::stream::Environment;

/// What `tidegate run` takes.
#[derive(Debug, Args)]
pub struct RunArguments {
    /// The job file; config/reference.toml shows every key
    pub job: PathBuf,

    /// Set a key of the file, such as checkpoint.interval=5s or source.readings.address=0.0.0.0:9000
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,

    /// The board it runs on, instead of that in the file; `detect` looks at this machine
    #[arg(long, value_name = "NAME")]
    pub board: Option<String>,

    /// Begin with empty state, whatever was saved
    #[arg(long, conflicts_with = "from_savepoint")]
    pub fresh: bool,

    /// Begin with the state of a savepoint
    #[arg(long, value_name = "DIR")]
    pub from_savepoint: Option<PathBuf>,

    /// Leave out what was saved of a query, so that it can be changed in any way, or was removed; can be given several times
    #[arg(long, value_name = "NAME")]
    pub reset_query: Vec<String>,

    /// Log warnings and errors only
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,

    /// Log what may help to find a fault
    #[arg(short, long)]
    pub verbose: bool,
}

pub(super) fn run(arguments: &RunArguments) -> anyhow::Result<()> {
    let planned =
        PlannedJob::load(&arguments.job, &arguments.overrides, arguments.board.as_deref(), Place::Here)?;
    logging::start(match (arguments.quiet, arguments.verbose) {
        (true, _) => LevelFilter::WARN,
        (_, true) => LevelFilter::DEBUG,
        _ => LevelFilter::INFO,
    });
    let mut settings = planned.config.settings()?;
    if settings.memory_max.is_some() {
        allocator::restart_frugally();
    }
    board::log(&planned.config.board);
    settings.start = match &arguments.from_savepoint {
        Some(path) => Start::Savepoint(path.clone()),
        None if arguments.fresh => Start::Empty,
        None => Start::NewestCheckpoint,
    };
    settings.notify = NotifySocket::from_environment();
    settings.reset_queries.clone_from(&arguments.reset_query);
    let stop = StopHandle::new();
    signals::watch(stop.clone()).context("cannot watch for signals")?;
    let (sources, sinks) = (planned.source_specs()?, planned.sink_specs()?);
    for unread in planned.job.unread() {
        tracing::warn!(name = unread, "nothing reads it: no query and no sink");
    }
    let environment = Environment::with_settings(&planned.config.name, settings);
    planned.job.build(&environment, sources, sinks);
    let outcome = environment.execute_until(stop).inspect_err(|error| {
        if matches!(error, JobError::Restore { .. }) {
            tracing::error!("a query that was changed in its keys, window or aggregates loses its state with --reset-query NAME");
        }
    });
    report(&outcome?);
    Ok(())
}
