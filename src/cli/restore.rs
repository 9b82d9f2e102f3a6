//! `tidegate restore`: a checkpoint from a remote, by hand.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use tracing::level_filters::LevelFilter;

use super::arguments::RestoreArguments;
use super::running_average::JOB;
use super::{archive, checkpoint, logging};
use crate::checkpoint::{ArchiveError, CheckpointId, Restorer, Wanted};
use crate::disk::{Disk, RealDisk};
use crate::runtime::{JobError, progress_log};

pub(super) fn run(arguments: &RestoreArguments) -> anyhow::Result<()> {
    logging::start(LevelFilter::INFO);
    let remote = archive::open(&arguments.remote, &arguments.archive, JOB)?;
    if arguments.list {
        return checkpoint::list_remote(&remote, None, false);
    }
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let directory = arguments.data_dir.as_deref().context("--data-dir is required")?.join(JOB);
    let id = arguments.id.map(CheckpointId);
    let mut out = std::io::stdout().lock();
    let mut restorer = Restorer::new(&remote.archive, Arc::clone(&disk), &directory);
    if arguments.dry_run {
        for (name, read) in restorer.list()? {
            let shipped = match read {
                Ok(shipped) if id.is_some_and(|id| id != shipped.checkpoint.id) => continue,
                Ok(shipped) => shipped,
                Err(error) => {
                    tracing::warn!(%error, "a checkpoint is passed over");
                    continue;
                }
            };
            match restorer.verify(&shipped) {
                Ok(()) => {
                    let (id, bytes) = (shipped.checkpoint.id, shipped.checkpoint.state_bytes());
                    let generation = name.generation;
                    writeln!(out, "checkpoint {id} is whole: generation {generation}, {bytes} bytes")?;
                    return Ok(());
                }
                Err(error @ ArchiveError::Unusable { .. }) => {
                    tracing::warn!(checkpoint = %shipped.checkpoint.id, %error, "a checkpoint is damaged");
                }
                Err(error) => return Err(error.into()),
            }
        }
        bail!("no checkpoint on the remote can be restored");
    }
    disk.create_directory(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let _lock = disk.lock(&directory.join("LOCK")).with_context(|| {
        format!("cannot lock {}: a process that uses it must be stopped first", directory.display())
    })?;
    check_empty(&*disk, &directory)?;
    let wanted = Wanted { id, accept_rollback: arguments.accept_rollback };
    match restorer.restore(wanted, &mut progress_log())? {
        None => bail!("the remote holds no checkpoint of this device and job"),
        Some(shipped) => {
            let (id, offset, readings) =
                (shipped.checkpoint.id, shipped.checkpoint.offset, shipped.checkpoint.readings);
            writeln!(out, "restored checkpoint {id} as of batch {offset}, after {readings} readings")?;
            Ok(())
        }
    }
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
