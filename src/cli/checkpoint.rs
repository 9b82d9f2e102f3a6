//! `tidegate checkpoint`: look at checkpoints, here or on a remote; changes nothing.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use tracing::level_filters::LevelFilter;

use super::arguments::{CheckpointAction, CheckpointCommand};
use super::running_average::JOB;
use super::{archive, logging};
use crate::checkpoint::{CheckpointId, History, Manifest, Restorer};
use crate::disk::{Disk, RealDisk};
use crate::remote::RemoteUri;
use crate::runtime::{OpenRemote, wall_time};

pub(super) fn run(command: &CheckpointCommand) -> anyhow::Result<()> {
    logging::start(LevelFilter::WARN);
    let id = command.id.map(CheckpointId);
    if RemoteUri::is_address(&command.place) {
        let remote = archive::open(&command.place, &command.archive, JOB)?;
        return match command.action {
            CheckpointAction::List => list_remote(&remote, id, command.json),
            CheckpointAction::Show => show_remote(&remote, id),
            CheckpointAction::Verify => verify_remote(&remote, id, command.json),
        };
    }
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let directory = Path::new(&command.place);
    let names = disk.list(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    let directory =
        if names.iter().any(|name| name == JOB) { directory.join(JOB) } else { directory.to_owned() };
    let history = History::read(disk, &directory, JOB)?;
    let manifests = history.manifests().iter().rev();
    let wanted = manifests.filter(|manifest| id.is_none_or(|id| id == manifest.id));
    let mut out = std::io::stdout().lock();
    let mut damaged = 0;
    for manifest in wanted {
        match command.action {
            CheckpointAction::List => line(manifest, "", command.json, &mut out)?,
            CheckpointAction::Show => show(manifest, &mut out)?,
            CheckpointAction::Verify => {
                let is_whole = history.contents(manifest.id).is_some();
                damaged += usize::from(!is_whole);
                verdict(manifest.id, is_whole, command.json, &mut out)?;
            }
        }
    }
    if damaged > 0 {
        bail!("{damaged} checkpoints in {} are damaged", directory.display());
    }
    Ok(())
}

fn restorer(remote: &OpenRemote) -> Restorer<'_> {
    // Nothing is written there.
    Restorer::new(&remote.archive, Arc::new(RealDisk), &PathBuf::new())
}

/// A line for each checkpoint on a remote, newest first.
pub(super) fn list_remote(remote: &OpenRemote, id: Option<CheckpointId>, json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for (name, read) in restorer(remote).list()? {
        let shipped = match read {
            Ok(shipped) => shipped,
            Err(error) => {
                tracing::warn!(%error, "a checkpoint cannot be used");
                continue;
            }
        };
        if id.is_none_or(|id| id == shipped.checkpoint.id) {
            let (generation, incarnation) = (name.generation, name.incarnation);
            let more = if json {
                format!(r#","generation":{generation},"incarnation":{incarnation}"#)
            } else {
                format!("  generation {generation}  incarnation {incarnation}")
            };
            line(&shipped.checkpoint, &more, json, &mut out)?;
        }
    }
    Ok(())
}

fn show_remote(remote: &OpenRemote, id: Option<CheckpointId>) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for (_, read) in restorer(remote).list()? {
        let Ok(shipped) = read else { continue };
        if id.is_none_or(|id| id == shipped.checkpoint.id) {
            show(&shipped.checkpoint, &mut out)?;
            writeln!(out, "  chunks {}", shipped.manifest.chunks().count())?;
        }
    }
    Ok(())
}

fn verify_remote(remote: &OpenRemote, id: Option<CheckpointId>, json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let mut restorer = restorer(remote);
    let mut damaged = 0;
    for (_, read) in restorer.list()? {
        let shipped = match read {
            Ok(shipped) => shipped,
            Err(error) => {
                tracing::warn!(%error, "a checkpoint cannot be used");
                damaged += 1;
                continue;
            }
        };
        if id.is_some_and(|id| id != shipped.checkpoint.id) {
            continue;
        }
        let verified = restorer.verify(&shipped);
        if let Err(error) = &verified {
            if error.may_pass() {
                verified?;
                continue;
            }
            tracing::warn!(checkpoint = %shipped.checkpoint.id, %error, "a checkpoint is damaged");
        }
        damaged += usize::from(verified.is_err());
        verdict(shipped.checkpoint.id, verified.is_ok(), json, &mut out)?;
    }
    if damaged > 0 {
        bail!("{damaged} checkpoints at {} are damaged", remote.archive.store.address());
    }
    Ok(())
}

fn line(manifest: &Manifest, more: &str, json: bool, out: &mut impl Write) -> anyhow::Result<()> {
    let Manifest { id, offset, readings, .. } = manifest;
    let (keys, bytes) = (manifest.key_count(), manifest.state_bytes());
    let age_ms = wall_time().0.saturating_sub(manifest.stamp.0).max(0);
    if json {
        writeln!(
            out,
            r#"{{"checkpoint":{id},"age_ms":{age_ms},"offset":{offset},"readings":{readings},"keys":{keys},"bytes":{bytes}{more}}}"#
        )?;
    } else {
        let age_s = age_ms / 1000;
        writeln!(
            out,
            "{id}  {age_s} s old  batch {offset}  {readings} readings  {keys} keys  {bytes} bytes{more}"
        )?;
    }
    Ok(())
}

fn show(manifest: &Manifest, out: &mut impl Write) -> anyhow::Result<()> {
    line(manifest, "", false, out)?;
    for part in &manifest.parts {
        let (groups, bytes) = (part.groups.len(), part.total_bytes());
        let hash = blake3::Hash::from_bytes(part.hash);
        writeln!(
            out,
            "  part {}  operator {}  {groups} key groups  {bytes} bytes  {hash}",
            part.name, part.operator
        )?;
    }
    for sink in &manifest.sinks {
        writeln!(out, "  sink {}  delivered through batch {}", sink.sink, sink.delivered)?;
    }
    Ok(())
}

fn verdict(id: CheckpointId, is_whole: bool, json: bool, out: &mut impl Write) -> anyhow::Result<()> {
    if json {
        writeln!(out, r#"{{"checkpoint":{id},"whole":{is_whole}}}"#)?;
    } else {
        writeln!(out, "checkpoint {id}: {}", if is_whole { "whole" } else { "damaged" })?;
    }
    Ok(())
}
