//! Exit codes, those of BSD's sysexits where one fits. Listed in `--help` and the README.

use super::dry_run::UnexpectedResults;
use super::logging::has_colours;
use crate::checkpoint::{ArchiveError, CheckpointError, InspectionError, SavepointError};
use crate::config::{Colours, ConfigError, Diagnostics};
use crate::remote::RemoteError;
use crate::runtime::{ControlError, JobError};
use crate::state::StateError;

const UNEXPECTED: u8 = 1;
const UNAVAILABLE: u8 = 69;
const SOFTWARE: u8 = 70;
const CANNOT_CREATE: u8 = 73;
const IO_ERROR: u8 = 74;
const CONFIGURATION: u8 = 78;

/// The code the process ends with after `error`.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    if let Some(job) = error.downcast_ref::<JobError>() {
        return job_exit_code(job);
    }
    if error.is::<UnexpectedResults>() {
        return UNEXPECTED;
    }
    if let Some(archive) = error.downcast_ref::<ArchiveError>() {
        return archive_exit_code(archive);
    }
    if let Some(checkpoint) = error.downcast_ref::<CheckpointError>() {
        return checkpoint_exit_code(checkpoint);
    }
    match error.downcast_ref::<InspectionError>() {
        Some(
            InspectionError::Savepoint(SavepointError::Damaged { .. }) | InspectionError::NoneWhole { .. },
        ) => return SOFTWARE,
        Some(InspectionError::Directory(_)) => return CANNOT_CREATE,
        Some(_) => return CONFIGURATION,
        None => {}
    }
    match error.downcast_ref::<ControlError>() {
        Some(ControlError::NotRunning { .. }) => return UNAVAILABLE,
        Some(ControlError::NoAnswer { .. } | ControlError::Refused(_)) => return IO_ERROR,
        Some(ControlError::Path { .. }) => return CONFIGURATION,
        None => {}
    }
    if error.is::<ConfigError>() || error.is::<Diagnostics>() { CONFIGURATION } else { SOFTWARE }
}

/// What ended the command: one line that begins with `error:`, or for a job file several of them with their places.
pub fn message(error: &anyhow::Error) -> String {
    if let Some(faults) = error.downcast_ref::<Diagnostics>() {
        return faults.render(if has_colours() { Colours::Ansi } else { Colours::Never });
    }
    // These name their cause themselves; a context does not.
    let names_cause = error.is::<JobError>()
        || error.is::<ArchiveError>()
        || error.is::<ControlError>()
        || error.is::<InspectionError>();
    if names_cause { format!("error: {error}") } else { format!("error: {error:#}") }
}

fn archive_exit_code(error: &ArchiveError) -> u8 {
    match error {
        ArchiveError::Key { .. }
        | ArchiveError::RolledBack { .. }
        | ArchiveError::Absent { .. }
        | ArchiveError::Fenced { .. }
        | ArchiveError::Remote(RemoteError::Configuration(_)) => CONFIGURATION,
        ArchiveError::Remote(_) | ArchiveError::GaveUp { .. } => UNAVAILABLE,
        ArchiveError::Unusable { .. } | ArchiveError::NothingWhole { .. } => SOFTWARE,
        ArchiveError::Local { .. } => CANNOT_CREATE,
    }
}

fn checkpoint_exit_code(error: &CheckpointError) -> u8 {
    match error {
        CheckpointError::Directory { .. } | CheckpointError::Locked { .. } => CANNOT_CREATE,
        _ => IO_ERROR,
    }
}

fn job_exit_code(error: &JobError) -> u8 {
    match error {
        JobError::Configuration(_)
        | JobError::Restore { .. }
        | JobError::Open(_)
        | JobError::Savepoint(_)
        | JobError::NotHeld { .. } => CONFIGURATION,
        JobError::Source { .. } | JobError::Unreachable { .. } => UNAVAILABLE,
        JobError::Control { .. } => CANNOT_CREATE,
        JobError::Checkpoint(checkpoint) => checkpoint_exit_code(checkpoint),
        JobError::Remote(archive) => archive_exit_code(archive),
        JobError::Sink { .. } | JobError::LastCheckpoint(_) | JobError::Journal(_) => IO_ERROR,
        JobError::State { source, .. } if matches!(**source, StateError::Store(_)) => IO_ERROR,
        JobError::State { .. }
        | JobError::RestartsExhausted { .. }
        | JobError::ThreadsStuck { .. }
        | JobError::OperatorFailed { .. }
        | JobError::ActorLost(_)
        | JobError::Runtime(_) => SOFTWARE,
    }
}
