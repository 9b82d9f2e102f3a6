//! `tidegate restore`: a checkpoint from a remote, by hand.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use tracing::level_filters::LevelFilter;

use super::arguments::RestoreArguments;
use super::progress::progress;
use super::running_average::JOB;
use super::{archive, checkpoint, logging};
use crate::checkpoint::{CheckpointId, Fetched, Reached, Replica, Restorer, Wanted};
use crate::disk::{Disk, RealDisk};
use crate::runtime::{JobError, is_caused_by_full_disk, report_journal, report_lost};

pub(super) fn run(arguments: &RestoreArguments) -> anyhow::Result<()> {
    logging::start(LevelFilter::INFO);
    let remote = archive::open(&arguments.remote, &arguments.archive, JOB)?;
    if arguments.list {
        return checkpoint::list_remote(&remote, None, arguments.json);
    }
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let directory = arguments.data_dir.as_deref().context("--data-dir is required")?.join(JOB);
    let id = arguments.id.map(CheckpointId);
    let mut out = std::io::stdout().lock();
    let mut restorer = Restorer::new(&remote.archive, Arc::clone(&disk), &directory);
    let wanted =
        Wanted { id, accept_rollback: arguments.accept_rollback, min_generation: arguments.min_generation };
    let nothing =
        || JobError::Configuration("the remote holds no checkpoint of this device and job".to_owned());
    if arguments.dry_run {
        let fetched = restorer.try_out(wanted, &mut *progress())?.ok_or_else(nothing)?;
        report_journal(&fetched);
        report_lost(&fetched);
        let (manifest, checkpoint) = (&fetched.shipped.manifest, &fetched.shipped.checkpoint);
        let (id, generation, bytes) = (checkpoint.id, manifest.generation, checkpoint.state_bytes());
        let (offset, readings) = (checkpoint.offset, checkpoint.readings);
        writeln!(
            out,
            "checkpoint {id} is whole: generation {generation}, {bytes} bytes, as of batch {offset}, after {readings} readings{}",
            carried_on(&fetched)
        )?;
        return Ok(());
    }
    disk.create_directory(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let _lock = disk.lock(&directory.join("LOCK")).with_context(|| {
        format!("cannot lock {}: a process that uses it must be stopped first", directory.display())
    })?;
    check_empty(&*disk, &directory)?;
    let restored = restorer.restore(wanted, &mut *progress()).map_err(|error| {
        // What to do about a full disk is said there.
        if is_caused_by_full_disk(&error) {
            JobError::Remote(error).into()
        } else {
            anyhow::Error::from(error)
        }
    })?;
    let fetched = restored.ok_or_else(nothing)?;
    report_journal(&fetched);
    report_lost(&fetched);
    let checkpoint = &fetched.shipped.checkpoint;
    let (id, offset, readings) = (checkpoint.id, checkpoint.offset, checkpoint.readings);
    writeln!(
        out,
        "restored checkpoint {id} as of batch {offset}, after {readings} readings{}",
        carried_on(&fetched)
    )?;
    Ok(())
}

/// What of the journal goes with a checkpoint.
fn carried_on(fetched: &Fetched) -> String {
    let Some(journal) = &fetched.journal else { return String::new() };
    let Replica { reached: Reached { offset, readings, .. }, pieces, bytes, .. } = journal;
    format!(
        "; the journal carries it on through batch {offset}, {readings} readings: {pieces} pieces, {bytes} bytes"
    )
}

/// What a device did since is not mixed with what is restored.
fn check_empty(disk: &dyn Disk, directory: &Path) -> anyhow::Result<()> {
    for folder in ["manifests", "journal"] {
        let names = match disk.list(&directory.join(folder)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            names => names.with_context(|| format!("cannot list {}", directory.display()))?,
        };
        if !names.is_empty() {
            let shown = directory.display();
            let why =
                format!("{shown} holds a job's {folder} already; move it away, or give another directory");
            return Err(JobError::Configuration(why).into());
        }
    }
    Ok(())
}
