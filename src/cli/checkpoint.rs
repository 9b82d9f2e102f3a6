//! `tidegate checkpoint`: look at checkpoints, here or on a remote. `ship` and `prune`, which change something, are in
//! `ship`.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::bail;
use tracing::level_filters::LevelFilter;

use super::arguments::{CheckpointAction, CheckpointCommand};
use super::running_average::JOB;
use super::{archive, logging, ship};
use crate::checkpoint::{
    CheckpointError, CheckpointId, History, Manifest, MarkFile, PieceListing, Replica, Restorer, cut_uploads,
    files_of,
};
use crate::disk::{Disk, RealDisk};
use crate::remote::RemoteUri;
use crate::runtime::{JobError, OpenRemote, wall_time};

pub(super) fn run(command: &CheckpointCommand) -> anyhow::Result<()> {
    logging::start(LevelFilter::WARN);
    let id = command.id.map(CheckpointId);
    if RemoteUri::is_address(&command.place) {
        let remote = archive::open(&command.place, &command.archive, JOB)?;
        return match command.action {
            CheckpointAction::List => list_remote(&remote, id, command.json),
            CheckpointAction::Show => show_remote(&remote, id, command.json),
            CheckpointAction::Verify => verify_remote(&remote, id, command.json),
            CheckpointAction::Ship | CheckpointAction::Prune => {
                let why = "give the data directory of a stopped job, and its remote with --remote";
                Err(JobError::Configuration(why.to_owned()).into())
            }
        };
    }
    let mut out = std::io::stdout().lock();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let directory = match command.action {
        CheckpointAction::Ship => return ship::ship(command, &mut out),
        CheckpointAction::Prune => return ship::prune(command, &mut out),
        _ => job_folder(&*disk, Path::new(&command.place))?,
    };
    let history = History::read(Arc::clone(&disk), &directory, JOB)?;
    let shipped = MarkFile::of(disk, &directory).shipped();
    let mut damaged = 0;
    let mut newest_first = history.manifests().iter().rev().peekable();
    while let Some(manifest) = newest_first.next() {
        if id.is_some_and(|id| id != manifest.id) {
            continue;
        }
        let new_bytes = new_bytes(manifest, newest_first.peek().copied());
        let is_shipped = shipped.contains(&manifest.id);
        match command.action {
            CheckpointAction::List if command.json => {
                let more = format!(r#","new_bytes":{new_bytes},"shipped":{is_shipped}"#);
                line(manifest, &more, true, &mut out)?;
            }
            CheckpointAction::List => {
                let is_shipped = if is_shipped { "shipped" } else { "not shipped" };
                line(manifest, &format!("  {new_bytes} bytes new  {is_shipped}"), false, &mut out)?;
            }
            CheckpointAction::Show => show(manifest, "", command.json, &mut out)?,
            CheckpointAction::Verify | CheckpointAction::Ship | CheckpointAction::Prune => {
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

/// The job's folder that `place` is or holds.
pub(super) fn job_folder(disk: &dyn Disk, place: &Path) -> Result<PathBuf, CheckpointError> {
    let failed = |source| CheckpointError::Directory { path: place.to_owned(), source };
    let is_data_directory = disk.list(place).map_err(failed)?.iter().any(|name| name == JOB);
    Ok(if is_data_directory { place.join(JOB) } else { place.to_owned() })
}

/// Bytes of the files of a checkpoint that the one before it does not have.
fn new_bytes(manifest: &Manifest, before: Option<&Manifest>) -> u64 {
    let known = before.map(files_of).unwrap_or_default();
    let new = files_of(manifest).into_iter().filter(|(name, file)| known.get(name) != Some(file));
    new.map(|(_, (bytes, _))| bytes).sum()
}

fn restorer(remote: &OpenRemote) -> Restorer<'_> {
    // Nothing is written there.
    Restorer::new(&remote.archive, Arc::new(RealDisk), &PathBuf::new())
}

/// A line for each checkpoint on a remote, newest first.
pub(super) fn list_remote(remote: &OpenRemote, id: Option<CheckpointId>, json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let listed = restorer(remote).list()?;
    let mut usable = Vec::new();
    for (name, read) in listed {
        match read {
            Ok(shipped) => usable.push((name, shipped)),
            Err(error) => tracing::warn!(%error, "a checkpoint cannot be used"),
        }
    }
    for (index, (name, shipped)) in usable.iter().enumerate() {
        if id.is_some_and(|id| id != shipped.checkpoint.id) {
            continue;
        }
        let before: BTreeSet<[u8; 32]> =
            usable.get(index + 1).map(|(_, before)| before.objects().collect()).unwrap_or_default();
        let chunks = shipped.objects().zip(shipped.manifest.chunks());
        let new = chunks.filter(|(object, _)| !before.contains(object));
        let new_bytes: u64 = new.map(|(_, chunk)| u64::from(chunk.bytes)).sum();
        let (generation, incarnation) = (name.generation, name.incarnation);
        let more = if json {
            format!(
                r#","new_bytes":{new_bytes},"shipped":true,"generation":{generation},"incarnation":{incarnation}"#
            )
        } else {
            format!("  {new_bytes} bytes new  generation {generation}  incarnation {incarnation}")
        };
        line(&shipped.checkpoint, &more, json, &mut out)?;
    }
    if let Some(PieceListing { pieces, bytes, through }) = restorer(remote).list_journal()?
        && id.is_none()
    {
        if json {
            writeln!(out, r#"{{"journal_pieces":{pieces},"bytes":{bytes},"through":{through}}}"#)?;
        } else {
            writeln!(out, "journal  {pieces} pieces  {bytes} bytes  through batch {through}")?;
        }
    }
    Ok(())
}

fn show_remote(remote: &OpenRemote, id: Option<CheckpointId>, json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let mut restorer = restorer(remote);
    for (_, read) in restorer.list()? {
        let Ok(shipped) = read else { continue };
        if id.is_none_or(|id| id == shipped.checkpoint.id) {
            let journal = restorer.look_at_journal(&shipped)?;
            let through = journal.as_ref().map(|journal| journal.reached.offset);
            let more = through.map(|through| format!(r#","journal_through":{through}"#)).unwrap_or_default();
            show(&shipped.checkpoint, &more, json, &mut out)?;
            if !json {
                writeln!(out, "  chunks {}", shipped.manifest.chunks().count())?;
            }
            if let Some(Replica { reached, pieces, bytes, .. }) = journal.filter(|_| !json) {
                let through = reached.offset;
                writeln!(out, "  journal through batch {through}  {pieces} pieces  {bytes} bytes")?;
            }
        }
    }
    Ok(())
}

fn verify_remote(remote: &OpenRemote, id: Option<CheckpointId>, json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let mut restorer = restorer(remote);
    let mut damaged = 0;
    let listed = restorer.list()?;
    let cut = cut_uploads(&listed);
    for (name, read) in listed {
        let shipped = match read {
            Ok(shipped) => shipped,
            Err(error) if cut.contains(&name) => {
                tracing::warn!(
                    %error,
                    "an upload was cut before it was whole; no restore uses it, and it is removed with the next upload or by prune"
                );
                continue;
            }
            Err(error) => {
                tracing::warn!(%error, "a checkpoint cannot be used");
                damaged += 1;
                continue;
            }
        };
        if id.is_some_and(|id| id != shipped.checkpoint.id) {
            continue;
        }
        let verified = restorer.verify(&shipped, &mut |_| ());
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
    if id.is_none() {
        let (whole, pieces) = restorer.verify_journal()?;
        for error in &pieces {
            tracing::warn!(%error, "a piece of the journal is damaged");
        }
        let found = pieces.len();
        if json && whole + found > 0 {
            writeln!(out, r#"{{"journal_pieces":{},"damaged":{found}}}"#, whole + found)?;
        } else if whole + found > 0 {
            writeln!(out, "journal: {} pieces, {found} damaged", whole + found)?;
        }
        if found > 0 {
            let address = remote.archive.store.address();
            bail!("{damaged} checkpoints and {found} pieces of the journal at {address} are damaged");
        }
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

fn show(manifest: &Manifest, more: &str, json: bool, out: &mut impl Write) -> anyhow::Result<()> {
    if json {
        // Names of files are lower case letters, digits and `-._`; those of operators are quoted as text.
        let files = files_of(manifest).into_iter().map(|(name, (bytes, hash))| {
            let hash = blake3::Hash::from_bytes(hash);
            format!(r#"{{"name":"{name}","bytes":{bytes},"blake3":"{hash}"}}"#)
        });
        let files: Vec<String> = files.collect();
        return line(manifest, &format!(r#","files":[{}]{more}"#, files.join(",")), true, out);
    }
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
