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

use super::batch::Offset;
use super::beginning::{SavepointStart, state_fits};
use super::clock::SystemClocks;
use super::control::ControlSocket;
use super::error::{JobError, is_caused_by_full_disk};
use super::memory::MemoryPlan;
use super::open_journal::{OpenJournal, begins_at, open_journal, recover_journal, sequencing_start};
use super::open_sinks::{open_sinks, report_repeated};
use super::remote::{OpenRemote, OpenShipping};
use super::report::Restored;
use super::reserve::{FULL_DISK_PAUSE, Reserve};
use super::sequenced::{ReplayFrom, SequencingStart};
use super::service::fetch_progress;
use super::settings::{Backend, Settings, Start};
use super::stop::StopHandle;
use crate::checkpoint::{
    Capture, CheckpointError, CheckpointStore, Contents, HeapStore, Manifest, Pins, SinkPosition, Spool,
    remove_unfinished,
};
use crate::disk::{DirectoryLock, Disk, RealDisk};
use crate::sink::dead_letter::DeadLetters;
use crate::sink::{OpenSink, OutputNumbers};
use crate::source::{OpenSource, Place, SourceSpec};
use crate::state::{StateSetup, StoreFactory};
use crate::stream::Topology;

/// Pauses on a full disk before a restore from a remote is tried again.
const RESTORE_PAUSES: u32 = 25;
/// Frames that were given up and records that were refused.
pub(super) const DEAD_LETTER_FILE: &str = "dead-letter.jsonl";

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

/// The real disk, for jobs outside tests.
pub(crate) fn real_disk() -> Arc<dyn Disk> {
    Arc::new(RealDisk)
}
