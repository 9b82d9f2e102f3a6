//! Opening a job: what must be had before its actors start. Reads first, decides, then creates.
//!
//! ```text
//! <checkpoint directory>/<job>/
//!   LOCK          one process at a time
//!   manifests/ parts/    checkpoints (see `checkpoint::spool`)
//!   journal/      segments (see `journal`)
//!   reserve       disk kept for a start and a stop on a full disk (see `reserve`)
//!   sinks/        what sinks remember (see `sink::print`, `sink::mqtt`)
//!   dead-letter.jsonl    frames no operator could bear, and refused records
//!   quarantine/   damaged manifests and segments
//!   remote/       what is remembered of the remote, and what a restore fetches (see `checkpoint::archive`)
//!   savepoints/   savepoints without a path of their own (see `checkpoint::savepoint`)
//!   control.sock  see `control`
//!   work/         stores of the `sled` and `rocksdb` backends; emptied at every start
//! ```
//!
//! On a full disk the reserve is given up; when that does not help, or it was given up before, the start waits.
//!
//! What was saved is compared with what the job declares before anything is changed (see `beginning`).
//!
//! A job that starts empty begins with an empty checkpoint: it records where the sinks stood, so a crash before the
//! first real one finds the way back.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::batch::{Offset, Timestamp};
use super::beginning::{SavepointStart, state_fits};
use super::clock::SystemClocks;
use super::control::ControlSocket;
use super::error::{JobError, is_caused_by_full_disk};
use super::memory::MemoryPlan;
use super::remote::{OpenRemote, OpenShipping};
use super::report::Restored;
use super::reserve::{FULL_DISK_PAUSE, Reserve};
use super::sequencing::{ReplayFrom, SequencingStart};
use super::service::fetch_progress;
use super::settings::{Backend, Compression, JournalSettings, Settings, Start};
use super::stop::StopHandle;
use crate::checkpoint::{
    Capture, CheckpointError, CheckpointStore, Contents, HeapStore, Manifest, Pins, SinkPosition, Spool,
    remove_unfinished,
};
use crate::disk::{DirectoryLock, Disk, RealDisk};
use crate::journal::{JournalError, JournalWriter, Recovered, SegmentFormat, SegmentSettings, recover};
use crate::sink::dead_letter::DeadLetters;
use crate::sink::{OpenSink, OutputNumbers, SinkStart};
use crate::source::{OpenSource, Place, SourceSpec};
use crate::state::{StateSetup, StoreFactory};
use crate::stream::Topology;

/// Pauses on a full disk before a restore from a remote is tried again.
const RESTORE_PAUSES: u32 = 25;
/// Frames that were given up and records that were refused.
const DEAD_LETTER_FILE: &str = "dead-letter.jsonl";

/// What a job holds before its actors start.
pub(crate) struct Opened {
    /// How operators hold their state.
    pub(crate) state: Arc<StateSetup>,
    pub(crate) disk: Arc<dyn Disk>,
    /// Where savepoints without a path of their own go.
    pub(crate) savepoints: Option<PathBuf>,
    pub(crate) control: Option<ControlSocket>,
    pub(crate) store: Box<dyn CheckpointStore>,
    pub(crate) contents: Option<Arc<Contents>>,
    pub(crate) restored: Option<Restored>,
    pub(crate) journal: Option<OpenJournal>,
    pub(crate) shipping: Option<OpenShipping>,
    pub(crate) start: SequencingStart,
    /// Where replays begin at the earliest.
    pub(crate) begins_at: ReplayFrom,
    pub(crate) sources: Vec<OpenSource>,
    pub(crate) sinks: Vec<OpenSink>,
    /// Keeps the directory ours.
    pub(crate) lock: Option<DirectoryLock>,
}

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

/// Opens everything `topology` needs. Waits on a full disk until there is space or `stop` is asked for.
///
/// # Errors
/// See [`JobError`]; nothing was taken in or given out by then.
pub(crate) fn open(
    topology: &Topology,
    settings: &Settings,
    disk: &Arc<dyn Disk>,
    stop: &StopHandle,
) -> Result<Opened, JobError> {
    let reserve = match (settings.backend.directory(), settings.journal) {
        (Some(directory), Some(journal)) => {
            Some(Reserve::new(Arc::clone(disk), &directory.join(&topology.job), journal.reserve_bytes))
        }
        _ => None,
    };
    let status = |text: &str| settings.notify.iter().for_each(|socket| socket.status(text));
    status("reading the saved state");
    let mut is_waiting = false;
    loop {
        let error = match open_once(topology, settings, disk, reserve.as_ref()) {
            Err(error) if is_caused_by_full_disk(&error) => error,
            outcome => return outcome,
        };
        let Some(reserve) = &reserve else { return Err(error) };
        if reserve.release() {
            tracing::error!(%error, "the disk is full: the reserve is given up, so that the job can start");
            continue;
        }
        if stop.is_asked() {
            return Err(error);
        }
        if !std::mem::replace(&mut is_waiting, true) {
            tracing::error!(%error, "the disk is full: the start waits for space");
            status("the disk is full: the start waits for space");
        }
        // A restore asks the remote again each time, and reads what it has.
        let pauses = if matches!(error, JobError::Remote(_)) { RESTORE_PAUSES } else { 1 };
        for _ in 0..pauses {
            if !stop.is_asked() {
                std::thread::sleep(FULL_DISK_PAUSE);
            }
        }
    }
}

fn open_once(
    topology: &Topology,
    settings: &Settings,
    disk: &Arc<dyn Disk>,
    reserve: Option<&Reserve>,
) -> Result<Opened, JobError> {
    let keeps_numbers = settings.backend.directory().is_some() && settings.journal.is_some();
    let numbers = if keeps_numbers { OutputNumbers::Kept } else { OutputNumbers::Lost };
    for sink in &topology.sinks {
        sink.spec.check(numbers).map_err(JobError::Configuration)?;
    }
    let savepoint = SavepointStart::read(topology, settings, disk)?;
    let directory = settings.backend.directory().map(|directory| directory.join(&topology.job));
    let folder = settings.data_directory().map(|directory| directory.join(&topology.job));
    let lock = folder.as_deref().map(|folder| lock(disk, folder)).transpose()?;
    let state = state_setup(topology, settings, disk, directory.as_deref())?;
    let pins = settings.remote.as_ref().map(|_| Pins::default());
    let mut store = open_store(disk, directory.as_deref(), &topology.job, settings, pins.as_ref())?;
    let mut contents = store.newest()?;
    let remote = open_remote(topology, settings)?;
    if contents.is_none()
        && settings.start == Start::NewestCheckpoint
        && let (Some(remote), Some(folder), Some(chosen)) = (&remote, &directory, &settings.remote)
        && remote.restore(
            disk,
            folder,
            (chosen, settings.journal.is_some()),
            fetch_progress(settings.notify.as_ref()),
            |contents| check_fits(topology, settings, disk, contents),
        )?
    {
        store = open_store(disk, directory.as_deref(), &topology.job, settings, pins.as_ref())?;
        contents = store.newest()?;
    }
    if let Some(contents) = &mut contents {
        forget(contents, &settings.reset_queries);
    }
    let mut last = contents.as_ref().map_or(Offset(0), |contents| contents.manifest.offset);
    if settings.start != Start::NewestCheckpoint {
        store.start_empty();
        contents = None;
    }
    if let Some(contents) = &contents {
        check_fits(topology, settings, disk, contents)?;
    }
    let cannot_use = |path: &Path| {
        let path = path.to_owned();
        move |source| CheckpointError::Directory { path, source }
    };
    state.clear_work();
    let savepoints = folder.as_ref().map(|folder| folder.join("savepoints"));
    if let Some(savepoints) = &savepoints {
        remove_unfinished(&**disk, savepoints).map_err(cannot_use(savepoints))?;
    }
    let open_source = |(index, source): (usize, &SourceSpec)| {
        source.clone().open(Place { job: &topology.job, directory: folder.as_deref(), source: index })
    };
    let sources = topology.sources.iter().enumerate().map(open_source).collect::<Result<_, _>>()?;
    let needed = match (&contents, &settings.start) {
        (Some(contents), _) => contents.manifest.offset.next(),
        (None, Start::NewestCheckpoint) => Offset(1),
        (None, Start::Empty | Start::Savepoint(_)) => Offset(u64::MAX),
    };
    let mut recovered = recover_journal(topology, settings, disk, directory.as_deref(), needed)?;
    if let Some(recovered) = &recovered {
        last = last.max(recovered.last);
    }
    let begins_with_savepoint = savepoint.is_some();
    let now = SystemClocks::new().read().wall;
    let restored = match (&savepoint, &contents) {
        (Some(savepoint), _) => Some(Restored::from_manifest(savepoint.manifest(), now)),
        (None, contents) => {
            contents.as_ref().map(|contents| Restored::from_manifest(&contents.manifest, now))
        }
    };
    if let Some(savepoint) = savepoint {
        last = last.max(savepoint.offset());
        contents = savepoint.begin_history(&mut *store, settings.parallelism, last)?;
        if let Some(recovered) = &mut recovered {
            recovered.clients.clear();
            recovered.sessions.clear();
        }
    }
    let replays = settings.start == Start::NewestCheckpoint;
    let begins_at = begins_at(contents.as_ref(), recovered.as_ref().filter(|_| replays), last);
    let goes_on = recovered.is_some() || begins_with_savepoint;
    let mut sinks = open_sinks(topology, disk, directory.as_deref(), contents.as_ref(), goes_on, last)?;
    if contents.is_none() && begins_at.offset < last {
        report_repeated(topology, &mut sinks, (begins_at.offset.next(), last))?;
    }
    let mut start = sequencing_start(contents.as_ref(), recovered.as_ref(), last);
    start.is_recorded = topology.sources.iter().any(|source| matches!(source, SourceSpec::Recorded(_)));
    let journal = match (settings.journal, recovered, &directory, reserve) {
        (Some(journal), Some(recovered), Some(directory), Some(reserve)) => {
            Some(open_journal(topology, journal, disk, directory, recovered, (last, reserve)))
        }
        _ => None,
    };
    let shipping = match (remote, &settings.remote, &directory, pins) {
        (Some(remote), Some(settings), Some(directory), Some(pins)) => {
            // A history that begins with a savepoint has offered its first checkpoint itself.
            if let Some(contents) = contents.as_ref().filter(|_| !begins_with_savepoint) {
                pins.offer(&contents.manifest);
            }
            Some(remote.shipping(settings, disk, directory, pins))
        }
        _ => None,
    };
    let control = match (&folder, &settings.control) {
        (Some(folder), Some(_)) => {
            let bound = ControlSocket::bind(Arc::clone(disk), folder);
            Some(bound.map_err(|source| JobError::Control { directory: folder.clone(), source })?)
        }
        _ => None,
    };
    let mut opened = Opened {
        state,
        disk: Arc::clone(disk),
        savepoints,
        control,
        store,
        contents: contents.map(Arc::new),
        restored,
        journal,
        shipping,
        start,
        begins_at,
        sources,
        sinks,
        lock,
    };
    if opened.contents.is_none() && opened.journal.is_some() {
        opened.begin_history(topology, settings.parallelism)?;
    }
    if let Some(reserve) = reserve
        && let Err(error) = reserve.keep()
    {
        tracing::error!(%error, "cannot keep disk in reserve; on a full disk nothing is taken in until there is space");
    }
    Ok(opened)
}

impl Opened {
    /// Writes the empty checkpoint a history begins with.
    ///
    /// # Errors
    /// A full disk is one: without this checkpoint a crash would not find the way back to where the sinks stood.
    fn begin_history(&mut self, topology: &Topology, parallelism: usize) -> Result<(), JobError> {
        let positions = topology.sinks.iter().zip(&mut self.sinks).map(|(sink, opened)| {
            let bytes = opened.writer.sync()?;
            Ok(SinkPosition { sink: sink.spec.name(), delivered: opened.delivered, bytes })
        });
        let id = self.store.next_id();
        let written = positions
            .collect::<io::Result<Vec<_>>>()
            .map_err(|source| CheckpointError::Write { path: PathBuf::from("the sinks"), source });
        let written = written.and_then(|sinks| {
            let manifest = Manifest {
                id,
                lineage: id,
                job: topology.job.clone(),
                offset: self.begins_at.offset,
                stamp: self.start.stamp,
                readings: 0,
                parallelism: u32::try_from(parallelism).expect("a job has few subtasks"),
                parts: Vec::new(),
                sinks,
                clients: Vec::new(),
                sessions: Vec::new(),
            };
            self.store.write(Capture { manifest, snapshots: Vec::new() })
        });
        match written {
            Ok(manifest) => self.contents = Some(Arc::new(Contents { manifest, parts: Vec::new() })),
            Err(error) if is_caused_by_full_disk(&error) => return Err(error.into()),
            Err(error) => tracing::warn!(%error, "cannot write the first checkpoint: going on without"),
        }
        Ok(())
    }
}

fn lock(disk: &Arc<dyn Disk>, directory: &Path) -> Result<DirectoryLock, CheckpointError> {
    let locked = disk.create_directory(directory).and_then(|()| disk.lock(&directory.join("LOCK")));
    locked.map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => CheckpointError::Locked { path: directory.to_owned() },
        _ => CheckpointError::Directory { path: directory.to_owned(), source },
    })
}

/// How operators hold their state.
fn state_setup(
    topology: &Topology,
    settings: &Settings,
    disk: &Arc<dyn Disk>,
    directory: Option<&Path>,
) -> Result<Arc<StateSetup>, JobError> {
    let holders = topology.stages.iter().filter(|stage| !stage.reads_source).count() * settings.parallelism;
    let plan = MemoryPlan::of(settings, holders);
    let factory: Option<Arc<dyn StoreFactory>> = match &settings.backend {
        Backend::Memory | Backend::File { .. } => None,
        #[cfg(feature = "sled")]
        Backend::Sled { .. } => Some(Arc::new(crate::state::SledFactory::new(plan.store))),
        #[cfg(feature = "rocksdb")]
        Backend::RocksDb { .. } => Some(Arc::new(crate::state::RocksDbFactory::new(plan.store))),
        #[cfg(not(all(feature = "sled", feature = "rocksdb")))]
        missing => unreachable!("the settings were checked for {missing:?}"),
    };
    let work = directory.map(|directory| directory.join("work")).unwrap_or_default();
    let mut setup = StateSetup::new(Arc::clone(disk), factory, work);
    setup.bytes_max = plan.state_bytes;
    setup.keys_max = settings.keys_max;
    setup.policy = settings.key_limit_policy;
    setup.dead_letters =
        directory.map(|directory| DeadLetters::new(Arc::clone(disk), directory.join(DEAD_LETTER_FILE)));
    Ok(Arc::new(setup))
}

fn open_remote(topology: &Topology, settings: &Settings) -> Result<Option<OpenRemote>, JobError> {
    let open = |remote: &super::remote::RemoteSettings| {
        OpenRemote::open(&remote.uri, &remote.device, &topology.job, &remote.trust)
    };
    settings.remote.as_ref().map(open).transpose()
}

fn open_store(
    disk: &Arc<dyn Disk>,
    directory: Option<&Path>,
    job: &str,
    settings: &Settings,
    pins: Option<&Pins>,
) -> Result<Box<dyn CheckpointStore>, CheckpointError> {
    Ok(match directory {
        None => Box::new(HeapStore::default()),
        Some(directory) => {
            let mut spool = Spool::open(Arc::clone(disk), directory, job, settings.checkpoints_retained)?;
            if let Some(pins) = pins {
                spool.offer_to(pins.clone());
            }
            Box::new(spool)
        }
    })
}

/// Leaves out what was saved of the queries `names`: their operators have their names, or those and a number.
fn forget(contents: &mut Contents, names: &[String]) {
    let is_of = |operator: &str, name: &str| {
        operator.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    for name in names {
        let is_kept: Vec<bool> =
            contents.manifest.parts.iter().map(|part| !is_of(&part.operator, name)).collect();
        if is_kept.iter().all(|is_kept| *is_kept) {
            tracing::warn!(query = name, "nothing was saved of it that could be left out");
            continue;
        }
        tracing::warn!(query = name, "its saved state is left out, as was asked for");
        let (mut manifest, mut parts) = (is_kept.iter(), is_kept.iter());
        contents.manifest.parts.retain(|_| manifest.next() == Some(&true));
        contents.parts.retain(|_| parts.next() == Some(&true));
    }
}

/// Refuses a checkpoint whose state is not that of the job.
fn check_fits(
    topology: &Topology,
    settings: &Settings,
    disk: &Arc<dyn Disk>,
    contents: &Contents,
) -> Result<(), JobError> {
    check_state_is_wanted(topology, Some(contents))?;
    state_fits(topology, settings, disk, contents)
        .map_err(|source| JobError::Restore { checkpoint: contents.manifest.id, source })
}

/// Refuses state that no operator would take.
pub(super) fn check_state_is_wanted(
    topology: &Topology,
    contents: Option<&Contents>,
) -> Result<(), JobError> {
    let Some(Contents { manifest, .. }) = contents else { return Ok(()) };
    let is_wanted =
        |operator: &str| topology.stages.iter().any(|stage| stage.name == operator && !stage.reads_source);
    match manifest.parts.iter().find(|part| !is_wanted(&part.operator)) {
        None => Ok(()),
        Some(part) => Err(JobError::Configuration(format!(
            "checkpoint {} holds state of the operator {:?}, which the job {:?} does not have; \
             run the job it belongs to, start empty, or have it left out with --reset-query",
            manifest.id, part.operator, topology.job
        ))),
    }
}

/// Reads the journal; what is damaged is reported and moved out of the way.
fn recover_journal(
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
fn begins_at(contents: Option<&Contents>, recovered: Option<&Recovered>, last: Offset) -> ReplayFrom {
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

fn sequencing_start(
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

fn open_sinks(
    topology: &Topology,
    disk: &Arc<dyn Disk>,
    directory: Option<&Path>,
    contents: Option<&Contents>,
    goes_on: bool,
    last: Offset,
) -> Result<Vec<OpenSink>, JobError> {
    let remembered = directory.filter(|_| goes_on).map(|directory| directory.join("sinks"));
    let open = |sink: &crate::stream::Sink| {
        let name = sink.spec.name();
        // Without a journal nothing is replayed: what was delivered stays.
        let restored = contents
            .filter(|_| goes_on)
            .and_then(|contents| contents.manifest.sinks.iter().find(|position| position.sink == name));
        let mut opened = sink
            .spec
            .open(&SinkStart { job: &topology.job, disk, positions: remembered.as_deref(), restored, last })
            .map_err(|source| JobError::Sink { sink: name, source })?;
        // After a declared loss the offsets behind it are given again.
        opened.delivered = opened.delivered.min(last);
        Ok(opened)
    };
    topology.sinks.iter().map(open).collect()
}

/// Says of sinks that hold results already that they get some again: no checkpoint is left that says where they stood.
fn report_repeated(
    topology: &Topology,
    sinks: &mut [OpenSink],
    (from, through): (Offset, Offset),
) -> Result<(), JobError> {
    for (sink, opened) in topology.sinks.iter().zip(sinks) {
        let name = sink.spec.name();
        match opened.writer.sync() {
            Ok(0) => {}
            Ok(bytes) => tracing::error!(
                sink = name, bytes, again = %format_args!("{from}..={through}"),
                "no checkpoint is left that says where the sink stood: results it has may be written to it again"
            ),
            Err(source) => return Err(JobError::Sink { sink: name, source }),
        }
    }
    Ok(())
}

fn open_journal(
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

/// The real disk, for jobs outside tests.
pub(crate) fn real_disk() -> Arc<dyn Disk> {
    Arc::new(RealDisk)
}
