//! `tidegate check` and `tidegate explain`: what a job file would do. Both open nothing but the file; `check` looks at this machine
//! where the job is for a certain board, and at its memory where the job has a limit.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::job::PlannedJob;
use super::{board, memory_plan};
use crate::board::Place;
use crate::runtime::JobError;

/// What `tidegate check` takes.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// The job file
    pub job: PathBuf,

    /// Set a key of the file, such as checkpoint.interval=5s
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,

    /// The board it is to run on, instead of that in the file; `detect` looks at this machine
    #[arg(long, value_name = "NAME")]
    pub board: Option<String>,

    /// It is to run on another machine than this one: compare it with the board's profile only
    #[arg(long)]
    pub elsewhere: bool,
}

/// What `tidegate explain` takes.
#[derive(Debug, Args)]
pub struct ExplainArguments {
    /// The job file
    pub job: PathBuf,

    /// The query; without it all of them
    pub query: Option<String>,

    /// Set a key of the file, such as checkpoint.interval=5s
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

pub(super) fn check(arguments: &CheckArguments) -> anyhow::Result<()> {
    let place = if arguments.elsewhere { Place::Elsewhere } else { Place::Here };
    let planned = PlannedJob::load(&arguments.job, &arguments.overrides, arguments.board.as_deref(), place)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "job {}", planned.config.name)?;
    for source in &planned.sources {
        write!(out, "{}", source.describe())?;
    }
    for plan in planned.job.plans() {
        write!(out, "{}", plan.explain())?;
    }
    for (sink, (taken, fields)) in planned.config.sinks.iter().zip(planned.job.sinks()) {
        let columns: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
        writeln!(out, "sink {}\n  takes {} ({})", sink.name.value, taken.from, columns.join(", "))?;
    }
    board::describe(&planned.config.board, &mut out)?;
    writeln!(out, "state\n  {}", planned.config.backend().name())?;
    let (settings, overhead) = planned.config.outline();
    memory_plan::show(&settings, &overhead, planned.job.keyed_steps(), "", &mut out)?;
    for doubt in planned.config.board.doubts() {
        writeln!(out, "warning: this machine is not as its profile says: {doubt}")?;
    }
    if let Some(doubt) = board::memory_doubt(&planned.config.board, &settings, place) {
        writeln!(out, "warning: {doubt}")?;
    }
    for unread in planned.job.unread() {
        writeln!(out, "warning: nothing reads {unread}, so it is not run")?;
    }
    writeln!(out, "ok")?;
    Ok(())
}

pub(super) fn explain(arguments: &ExplainArguments) -> anyhow::Result<()> {
    let planned = PlannedJob::load(&arguments.job, &arguments.overrides, None, Place::Elsewhere)?;
    let mut out = std::io::stdout().lock();
    let mut is_there = arguments.query.is_none();
    for plan in planned.job.plans() {
        if arguments.query.as_ref().is_none_or(|query| *query == plan.name) {
            write!(out, "{}", plan.explain())?;
            is_there = true;
        }
    }
    if !is_there {
        let names: Vec<&str> = planned.job.plans().map(|plan| plan.name.as_str()).collect();
        let query = arguments.query.as_deref().unwrap_or_default();
        let message = format!("there is no query {query}; there are {}", names.join(", "));
        return Err(JobError::Configuration(message).into());
    }
    Ok(())
}
