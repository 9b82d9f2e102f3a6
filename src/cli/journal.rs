//! `tidegate journal`: look at a journal directory without touching it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};

use super::arguments::{JournalAction, JournalCommand};
use crate::checkpoint::History;
use crate::disk::{Disk, RealDisk};
use crate::journal::{JournalReader, Recovered, recover};
use crate::runtime::Offset;

pub(super) fn run(command: &JournalCommand) -> anyhow::Result<()> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let (directory, job) = locate(&*disk, &command.directory)?;
    let needed = needed(&disk, &directory, &job)?;
    let recovered = recover(&*disk, &directory, &job, needed)?;
    let mut out = std::io::stdout().lock();
    match &command.action {
        JournalAction::List => list(&recovered, command.json, &mut out)?,
        JournalAction::Verify => verify(&recovered, command.json, &mut out)?,
        JournalAction::Dump => dump(&disk, &directory, &recovered, command.json, &mut out)?,
    }
    if recovered.corruption.is_some() {
        bail!("the journal in {} is damaged", directory.display());
    }
    Ok(())
}

/// The first batch that the oldest kept checkpoint needs. What lies before it may have gaps: a power cut can bring back
/// some segments that were deleted and not others.
fn needed(disk: &Arc<dyn Disk>, journal: &Path, job: &str) -> anyhow::Result<Offset> {
    let Some(directory) = journal.parent() else { return Ok(Offset(0)) };
    let history = History::read(Arc::clone(disk), directory, job)?;
    Ok(history.manifests().first().map_or(Offset(0), |oldest| oldest.offset.next()))
}

/// The journal folder and the job's name, given the folder itself, the job's or one with a single job in it.
fn locate(disk: &dyn Disk, given: &Path) -> anyhow::Result<(PathBuf, String)> {
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    let given = std::path::absolute(given)?;
    if name(&given).as_deref() == Some("journal") {
        let job = given.parent().and_then(name).context("the journal lies in the folder of its job")?;
        return Ok((given, job));
    }
    let names = disk.list(&given).with_context(|| format!("cannot list {}", given.display()))?;
    if names.iter().any(|name| name == "journal") {
        let job = name(&given).context("the folder of a job has a name")?;
        return Ok((given.join("journal"), job));
    }
    match &*names {
        [job]
            if disk.list(&given.join(job)).is_ok_and(|names| names.iter().any(|name| name == "journal")) =>
        {
            Ok((given.join(job).join("journal"), job.clone()))
        }
        _ => bail!("no journal in {}; give the folder of a job", given.display()),
    }
}

fn list(recovered: &Recovered, json: bool, out: &mut impl Write) -> anyhow::Result<()> {
    for (index, segment) in recovered.segments.iter().enumerate() {
        let (base, bytes) = (segment.base, segment.bytes);
        let next = recovered.segments.get(index + 1).map(|next| next.base.0);
        let last = next.map_or(recovered.last.0, |next| next - 1);
        let file =
            segment.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let is_leftover = index < recovered.unread;
        if json {
            writeln!(
                out,
                r#"{{"segment":"{file}","first":{base},"last":{last},"bytes":{bytes},"leftover":{is_leftover}}}"#
            )?;
        } else {
            let mark = if is_leftover { "  leftover, no longer needed" } else { "" };
            writeln!(out, "{file}  batches {base}..={last}  {bytes} bytes{mark}")?;
        }
    }
    Ok(())
}

fn verify(recovered: &Recovered, json: bool, out: &mut impl Write) -> anyhow::Result<()> {
    let first = recovered.first.unwrap_or_default();
    let (last, torn) = (recovered.last, recovered.torn_bytes);
    let leftover = recovered.unread;
    let segments = recovered.segments.len() - leftover;
    match (&recovered.corruption, json) {
        (None, true) => {
            writeln!(
                out,
                r#"{{"whole":true,"segments":{segments},"first":{first},"last":{last},"torn_bytes":{torn},"leftover":{leftover}}}"#
            )?;
        }
        (None, false) => {
            writeln!(
                out,
                "whole: {segments} segments, batches {first}..={last}, {torn} bytes of a torn tail, {leftover} segments left over"
            )?;
        }
        (Some(corruption), _) => {
            let segment = corruption.segment.display();
            let (byte, reason) = (corruption.byte, corruption.reason);
            let lost = corruption.lost.map_or("unknown".to_owned(), |(from, to)| format!("{from}..={to}"));
            if json {
                writeln!(
                    out,
                    r#"{{"whole":false,"segment":"{segment}","byte":{byte},"reason":"{reason}","lost":"{lost}","usable_last":{last}}}"#
                )?;
            } else {
                writeln!(
                    out,
                    "damaged: {segment} at byte {byte}: {reason}; lost batches {lost}; usable up to {last}"
                )?;
            }
        }
    }
    Ok(())
}

fn dump(
    disk: &Arc<dyn Disk>,
    directory: &Path,
    recovered: &Recovered,
    json: bool,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let Some(first) = recovered.first else { return Ok(()) };
    let skips = BTreeMap::clone(&recovered.skips);
    let mut reader = JournalReader::open(Arc::clone(disk), directory, first, recovered.last, skips)?;
    while let Some((batch, skipped)) = reader.next_batch()? {
        let mut frame = 0;
        for chunk in &batch.chunks {
            for (index, line) in chunk.lines.split_inclusive(|byte| *byte == b'\n').enumerate() {
                let text = line.trim_ascii_end().escape_ascii();
                let (offset, stamp, origin) = (batch.offset, batch.stamp.0, &chunk.origin);
                let number = chunk.first_line + index as u64;
                let is_skipped = skipped.contains(&frame);
                if json {
                    // `escape_ascii` writes `\x..`, which JSON lacks: its backslashes are doubled.
                    let text = text.to_string().replace('\\', r"\\");
                    writeln!(
                        out,
                        r#"{{"offset":{offset},"stamp_ms":{stamp},"frame":{frame},"origin":"{origin}","line":{number},"skipped":{is_skipped},"text":"{text}"}}"#
                    )?;
                } else {
                    let mark = if is_skipped { "  skipped" } else { "" };
                    writeln!(out, "{offset}:{frame}  {stamp}  {origin}:{number}  {text}{mark}")?;
                }
                frame += 1;
            }
        }
    }
    Ok(())
}
