//! `tidegate outbox`: look at the outputs of a stopped job that wait, or send delivered ones again.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use crate::checkpoint::CheckpointError;
use crate::disk::{Disk, RealDisk};
use crate::sink::mqtt::place;
use crate::sink::outbox::{MalformedId, OutputId, Place};

/// Arguments of `tidegate outbox`.
#[derive(Debug, Args)]
pub struct OutboxCommand {
    /// What to do
    #[arg(value_enum)]
    pub action: OutboxAction,

    /// A data directory with one job, or the job's folder; the job must not be running
    pub directory: PathBuf,

    /// With `resend`: the first output, as INCARNATION/OFFSET/INDEX; `list` shows ids, messages carry them
    #[arg(long, value_name = "ID", required_if_eq("action", "resend"))]
    pub from: Option<String>,

    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// What to do with an outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutboxAction {
    /// One line a block of outputs, delivered ones first
    List,
    /// Let delivered outputs that are kept (`--outbox-retention`) wait again; the next start sends them
    Resend,
}

pub(super) fn run(command: &OutboxCommand) -> anyhow::Result<()> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let job = job_folder(&*disk, &command.directory)?;
    let _lock = disk.lock(&job.join("LOCK")).map_err(|source| match source.kind() {
        std::io::ErrorKind::WouldBlock => CheckpointError::Locked { path: job.clone() },
        _ => CheckpointError::Directory { path: job.clone(), source },
    })?;
    let folders = place::folders(&*disk, &job.join("sinks"))?;
    if folders.is_empty() {
        bail!("no sink in {} has an outbox", job.display());
    }
    let from = command.from.as_deref().map(read_id).transpose()?;
    let mut out = std::io::stdout().lock();
    for folder in folders {
        let mut outbox =
            place::look_at(&disk, &folder).with_context(|| format!("cannot open {}", folder.display()))?;
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        match (command.action, from) {
            (OutboxAction::Resend, Some(from)) => {
                let outputs =
                    outbox.resend(from).with_context(|| format!("cannot change {}", folder.display()))?;
                if command.json {
                    writeln!(
                        out,
                        r#"{{"sink":"{name}","waiting_again":{outputs},"waiting":{}}}"#,
                        outbox.waiting() + outputs
                    )?;
                } else {
                    writeln!(out, "{name}: {outputs} outputs wait again")?;
                }
            }
            (OutboxAction::List | OutboxAction::Resend, _) => list(&outbox, &name, command.json, &mut out)?,
        }
    }
    Ok(())
}

fn list(
    outbox: &crate::sink::outbox::Outbox,
    name: &str,
    json: bool,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let mut written = Ok(());
    outbox.list(&mut |block| {
        if written.is_err() {
            return;
        }
        let (first, last, count, bytes) = (block.first, block.last, block.count, block.bytes);
        let (place, number) = match block.place {
            Place::Waiting { begun } => ("waiting", i64::from(begun)),
            Place::Delivered { at } => ("delivered", at.0),
        };
        let stamp = block.stamp.0;
        written = if json {
            let figure = if place == "waiting" { "begun" } else { "delivered_ms" };
            writeln!(out, r#"{{"sink":"{name}","first":"{first}","last":"{last}","outputs":{count},"bytes":{bytes},"stamp_ms":{stamp},"place":"{place}","{figure}":{number}}}"#)
        } else {
            writeln!(out, "{first} to {last}  {count} outputs  {bytes} bytes  {place}")
        };
    })?;
    written?;
    let counts = outbox.counts();
    let (waiting, bytes) = (outbox.waiting(), outbox.bytes());
    let (dropped, expired, folded, refused) = (counts.dropped, counts.expired, counts.folded, counts.refused);
    if json {
        writeln!(
            out,
            r#"{{"sink":"{name}","waiting":{waiting},"bytes":{bytes},"dropped":{dropped},"expired":{expired},"folded":{folded},"refused":{refused}}}"#
        )?;
    } else {
        writeln!(
            out,
            "{name}: {waiting} outputs wait, {bytes} bytes; dropped {dropped}, expired {expired}, folded {folded}, refused {refused}"
        )?;
    }
    Ok(())
}

/// The folder of the job: the given one, or the only one in it with sinks.
fn job_folder(disk: &dyn Disk, given: &Path) -> anyhow::Result<PathBuf> {
    let names = disk.list(given).with_context(|| format!("cannot list {}", given.display()))?;
    if names.iter().any(|name| name == "sinks") {
        return Ok(given.to_owned());
    }
    let has_sinks = |name: &&String| {
        disk.list(&given.join(name)).is_ok_and(|names| names.iter().any(|name| name == "sinks"))
    };
    let mut jobs = names.iter().filter(has_sinks);
    match (jobs.next(), jobs.next()) {
        (Some(job), None) => Ok(given.join(job)),
        _ => bail!("no outbox in {}; give the folder of a job", given.display()),
    }
}

/// An id, also with the job's name in front, as messages carry it.
fn read_id(text: &str) -> Result<OutputId, MalformedId> {
    let without_job =
        text.split_once('/').map(|(_, rest)| rest).filter(|rest| rest.matches('/').count() == 2);
    without_job.unwrap_or(text).parse()
}
