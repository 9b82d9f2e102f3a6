//! `tidegate checkpoint ship` and `prune`: what a running job does by itself, for one that is stopped.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::archive;
use super::arguments::CheckpointCommand;
use super::running_average::JOB;
use crate::checkpoint::{
    ArchiveError, CheckpointError, CheckpointId, Connectivity, History, Moment, Pins, Shipping, Spool, Turn,
};
use crate::disk::{DirectoryLock, Disk, RealDisk};
use crate::runtime::{JobError, OpenShipping, RemoteSettings, wall_time};

/// Failures in a row after which a remote is given up.
const FAILURES_MAX: u32 = 5;

/// Ships one checkpoint.
pub(super) fn ship(command: &CheckpointCommand, out: &mut impl Write) -> anyhow::Result<()> {
    let stopped = StoppedJob::of(command)?;
    let settings = remote_settings(command)?;
    let history = History::read(Arc::clone(&stopped.disk), &stopped.directory, JOB)?;
    let id = command.id.map(CheckpointId);
    let mut newest_first = history.manifests().iter().rev();
    let Some(manifest) = newest_first.find(|manifest| id.is_none_or(|id| id == manifest.id)) else {
        let shown = stopped.directory.display();
        return Err(JobError::Configuration(format!("{shown} holds no such checkpoint")).into());
    };
    let pins = Pins::default();
    pins.offer(manifest);
    let mut open = stopped.open(&settings, pins)?;
    let status = finish(&mut open.shipping, &settings)?;
    let (id, sent_bytes) = (manifest.id, status.sent_bytes);
    let is_new = status.shipped > 0;
    if command.json {
        writeln!(out, r#"{{"checkpoint":{id},"shipped":{is_new},"sent_bytes":{sent_bytes}}}"#)?;
    } else if is_new {
        writeln!(out, "checkpoint {id} is shipped: {sent_bytes} bytes sent")?;
    } else {
        writeln!(out, "checkpoint {id} is the newest on the remote already")?;
    }
    Ok(())
}

/// Removes older checkpoints.
pub(super) fn prune(command: &CheckpointCommand, out: &mut impl Write) -> anyhow::Result<()> {
    let stopped = StoppedJob::of(command)?;
    let removed = if command.remote.is_some() {
        // The lock and the incarnation keep everybody else from shipping meanwhile: what nothing names can go at once.
        let settings = RemoteSettings { grace: Duration::ZERO, ..remote_settings(command)? };
        let mut open = stopped.open(&settings, Pins::default())?;
        open.shipping.prune();
        finish(&mut open.shipping, &settings)?.removed
    } else {
        let StoppedJob { disk, directory, .. } = &stopped;
        let spool = Spool::open(Arc::clone(disk), directory, JOB, usize::from(command.retain))?;
        let before = file_count(&**disk, directory);
        spool.prune()?;
        before.saturating_sub(file_count(&**disk, directory))
    };
    if command.json {
        writeln!(out, r#"{{"removed":{removed}}}"#)?;
    } else {
        writeln!(out, "{removed} objects are removed")?;
    }
    Ok(())
}

fn file_count(disk: &dyn Disk, directory: &Path) -> u64 {
    let count = |folder| disk.list(&directory.join(folder)).map_or(0, |names| names.len() as u64);
    count("manifests") + count("parts")
}

fn remote_settings(command: &CheckpointCommand) -> anyhow::Result<RemoteSettings> {
    let Some(address) = &command.remote else {
        return Err(
            JobError::Configuration("where to ship to is missing: give --remote URI".to_owned()).into()
        );
    };
    let trust = archive::trust(&command.archive)?;
    trust.check().map_err(JobError::Configuration)?;
    let device = archive::device(&command.archive);
    let mut settings = RemoteSettings::new(address, device, trust).map_err(ArchiveError::from)?;
    settings.retention = archive::retention(&command.retention);
    settings.take_over = command.take_over;
    Ok(settings)
}

/// The folder of a job that does not run, and will not while this is held.
struct StoppedJob {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    _lock: DirectoryLock,
}

impl StoppedJob {
    fn of(command: &CheckpointCommand) -> Result<Self, CheckpointError> {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let directory = super::checkpoint::job_folder(&*disk, Path::new(&command.place))?;
        let lock = disk.lock(&directory.join("LOCK")).map_err(|source| match source.kind() {
            std::io::ErrorKind::WouldBlock => CheckpointError::Locked { path: directory.clone() },
            _ => CheckpointError::Directory { path: directory.clone(), source },
        })?;
        Ok(Self { disk, directory, _lock: lock })
    }

    fn open(&self, settings: &RemoteSettings, pins: Pins) -> Result<OpenShipping, JobError> {
        let remote = archive::open_with(settings, JOB)?;
        Ok(remote.shipping(settings, &self.disk, &self.directory, pins))
    }
}

/// Runs the shipping until nothing is left to do.
fn finish(
    shipping: &mut Shipping,
    settings: &RemoteSettings,
) -> Result<crate::checkpoint::ShippingStatus, ArchiveError> {
    let started = Instant::now();
    let now = || Moment { monotonic: started.elapsed(), wall_ms: wall_time().0 };
    let mut failures = 0;
    loop {
        match shipping.turn(now()) {
            Turn::Step => {
                shipping.step(now());
                match shipping.status(now()).connectivity {
                    Connectivity::Failing(reason) => {
                        failures += 1;
                        if failures == FAILURES_MAX {
                            return Err(ArchiveError::GaveUp { address: settings.address(), reason });
                        }
                    }
                    _ => failures = 0,
                }
            }
            Turn::WaitUntil(at) => std::thread::sleep(at.saturating_sub(started.elapsed())),
            Turn::Idle => return Ok(shipping.status(now())),
            Turn::Stopped => {
                return Err(ArchiveError::Fenced {
                    address: settings.address(),
                    device: settings.device.clone(),
                });
            }
        }
    }
}
