//! The journal of a job that starts: read, damage put aside, and from where on it is replayed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::batch::{Offset, Timestamp};
use super::error::JobError;
use super::opening::DEAD_LETTER_FILE;
use super::reserve::Reserve;
use super::sequenced::{ReplayFrom, SequencingStart};
use super::settings::{Compression, JournalSettings, Settings};
use crate::checkpoint::{CheckpointError, Contents};
use crate::disk::Disk;
use crate::journal::{JournalError, JournalWriter, Recovered, SegmentFormat, SegmentSettings, recover};
use crate::source::SourceSpec;
use crate::stream::Topology;

/// A journal that is ready to be written.
pub(crate) struct OpenJournal {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) directory: PathBuf,
    pub(crate) settings: JournalSettings,
    pub(crate) dead_letter: PathBuf,
    pub(crate) writer: JournalWriter,
    pub(crate) recovered: Recovered,
    pub(crate) reserve: Reserve,
}

/// Reads the journal; what is damaged is reported and moved out of the way.
pub(super) fn recover_journal(
    topology: &Topology,
    settings: &Settings,
    disk: &Arc<dyn Disk>,
    directory: Option<&Path>,
    needed: Offset,
) -> Result<Option<Recovered>, JobError> {
    let (Some(directory), Some(_)) = (directory, settings.journal) else { return Ok(None) };
    let journal = directory.join("journal");
    disk.create_directory(&journal)
        .map_err(|source| CheckpointError::Directory { path: journal.clone(), source })?;
    let recovered = recover(&**disk, &journal, &topology.job, needed)?;
    if recovered.torn_bytes > 0 {
        tracing::info!(
            bytes = recovered.torn_bytes,
            "the journal ends in a torn record: what was being written when the program or the power ended"
        );
    }
    if let Some(corruption) = &recovered.corruption {
        let lost = corruption.lost.map_or("unknown".to_owned(), |(from, to)| format!("{from}..={to}"));
        tracing::error!(
            segment = %corruption.segment.display(), byte = corruption.byte, reason = corruption.reason, lost,
            "the journal is damaged: what lies behind is moved to quarantine"
        );
        for path in &corruption.unusable {
            if let Some(name) = path.file_name() {
                let to = directory.join("quarantine").join(name);
                disk.rename(path, &to)
                    .map_err(|source| JournalError::Write { path: path.clone(), source })?;
            }
        }
        for changed in [directory.join("quarantine"), journal] {
            disk.sync_directory(&changed).map_err(|source| JournalError::Write { path: changed, source })?;
        }
    }
    Ok(Some(recovered))
}

/// Behind which batch the first attempt begins when that is not the checkpoint's.
pub(super) fn begins_at(
    contents: Option<&Contents>,
    recovered: Option<&Recovered>,
    last: Offset,
) -> ReplayFrom {
    let checkpointed = contents.map(|contents| (contents.manifest.offset, contents.manifest.readings));
    let first = recovered.and_then(|recovered| recovered.first);
    match (checkpointed, first) {
        (None, None) => ReplayFrom { offset: last, ..ReplayFrom::default() },
        (checkpointed, Some(first)) => {
            let (offset, readings) = checkpointed.unwrap_or_default();
            if first > offset.next() && last > offset {
                let (from, to) = (offset.next(), Offset(first.0 - 1));
                tracing::error!(lost = %format_args!("{from}..={to}"), "the journal begins behind the checkpoint");
                return ReplayFrom { offset: to, readings, ..ReplayFrom::default() };
            }
            ReplayFrom { offset, readings, ..ReplayFrom::default() }
        }
        (Some((offset, readings)), None) => ReplayFrom { offset, readings, ..ReplayFrom::default() },
    }
}

pub(super) fn sequencing_start(
    contents: Option<&Contents>,
    recovered: Option<&Recovered>,
    last: Offset,
) -> SequencingStart {
    let mut start = SequencingStart { last, ..SequencingStart::default() };
    if let Some(Contents { manifest, .. }) = contents {
        start.stamp = manifest.stamp;
        start.clients =
            manifest.clients.iter().map(|(client, lines)| (client.as_str().into(), *lines)).collect();
        start.sessions =
            manifest.sessions.iter().map(|(session, ids)| (session.as_str().into(), ids.clone())).collect();
    }
    if let Some(recovered) = recovered {
        start.stamp = start.stamp.max(recovered.last_stamp);
        for (client, lines) in &recovered.clients {
            let counted = start.clients.entry(Arc::clone(client)).or_default();
            *counted = (*lines).max(*counted);
        }
        for (session, events) in &recovered.sessions {
            let ids = start.sessions.entry(Arc::clone(session)).or_default();
            events.iter().for_each(|event| ids.apply(*event));
        }
    }
    start.stamp = start.stamp.max(Timestamp(0));
    start
}

pub(super) fn open_journal(
    topology: &Topology,
    settings: JournalSettings,
    disk: &Arc<dyn Disk>,
    directory: &Path,
    recovered: Recovered,
    (last, reserve): (Offset, &Reserve),
) -> OpenJournal {
    let dead_letter = directory.join(DEAD_LETTER_FILE);
    let directory = directory.join("journal");
    let segments = SegmentSettings {
        segment_bytes: settings.segment_bytes,
        compress: settings.compression == Compression::Lz4,
        format: if topology.sources.iter().any(|source| matches!(source, SourceSpec::Mqtt(_))) {
            SegmentFormat::Messages
        } else {
            SegmentFormat::Lines
        },
    };
    let writer = JournalWriter::new(Arc::clone(disk), &directory, &topology.job, segments, &recovered, last);
    let reserve = reserve.clone();
    OpenJournal { disk: Arc::clone(disk), directory, settings, dead_letter, writer, recovered, reserve }
}
