//! A job's remote: its settings, and opening it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::batch::Offset;
use super::error::JobError;
use crate::checkpoint::{
    Archive, ChunkSizes, Contents, Fetched, JournalShipping, Pins, Restorer, Retention, Shipping,
    ShippingPolicy, ShippingStart, Step, Trust, UploadLimits, Verification, Wanted,
};
use crate::disk::Disk;
use crate::journal::ExcerptReader;
use crate::remote::{IoRuntime, RemoteUri};

/// How often a restore says how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// Most checkpoints of each kind that are kept on a remote.
pub(crate) const RETAINED_MAX: usize = 1000;

/// Least time between two pieces of the journal.
pub(crate) const SHIP_JOURNAL_INTERVAL_MIN: Duration = Duration::from_millis(100);
/// That time unless told otherwise.
pub(crate) const SHIP_JOURNAL_INTERVAL: Duration = Duration::from_secs(5);

/// Where completed checkpoints are shipped to, and how.
#[derive(Debug, Clone)]
pub struct RemoteSettings {
    /// The remote.
    pub(crate) uri: RemoteUri,
    /// Name of this device there; a device that replaces it has the same.
    pub device: String,
    /// What of the remote is believed.
    pub trust: Trust,
    /// Limits on what is sent. Default: none.
    pub limits: UploadLimits,
    /// Least time between two checkpoints on the remote. Default 10 s.
    pub interval: Duration,
    /// Checkpoints kept on the remote, each number at most 1000.
    pub retention: Retention,
    /// How long a chunk stays that no checkpoint needs. Default 1 h.
    pub grace: Duration,
    /// Least time from one piece of the journal that is shipped to the next, at least 100 ms; `None` ships none of it.
    /// Default `None`.
    pub ship_journal: Option<Duration>,
    /// How what was sent is looked at again. Default: it is read back.
    pub verification: Verification,
    /// Ship although another device has taken over this identity. Default: no.
    pub take_over: bool,
    /// Restore also what is older than what this device has seen. Default: no.
    pub accept_rollback: bool,
    /// A restore wants the newest on the remote to be of this generation at least; 0 is any. Default 0.
    pub min_generation: u64,
    /// How long an orderly stop waits for the last checkpoint to be shipped. Default 10 s.
    pub stop_timeout: Duration,
}

impl RemoteSettings {
    /// Settings for the remote at `address`, with defaults.
    ///
    /// # Errors
    /// [`crate::RemoteError::Configuration`] when the address is wrong.
    pub fn new(address: &str, device: impl Into<String>, trust: Trust) -> Result<Self, crate::RemoteError> {
        Ok(Self {
            uri: address.parse()?,
            device: device.into(),
            trust,
            limits: UploadLimits::default(),
            interval: Duration::from_secs(10),
            retention: Retention::default(),
            grace: Duration::from_secs(3600),
            ship_journal: None,
            verification: Verification::ReadBack,
            take_over: false,
            accept_rollback: false,
            min_generation: 0,
            stop_timeout: Duration::from_secs(10),
        })
    }

    /// The remote's address.
    pub(crate) fn address(&self) -> String {
        self.uri.to_string()
    }

    pub(super) fn check(&self) -> Result<(), String> {
        self.trust.check()?;
        let Retention { newest, daily, weekly } = self.retention;
        if !(1..=RETAINED_MAX).contains(&newest) {
            return Err(format!("remote-retain is {newest}; it must be 1 to {RETAINED_MAX}"));
        }
        if daily.max(weekly) > RETAINED_MAX {
            return Err(format!("remote-retain-daily and -weekly must be at most {RETAINED_MAX}"));
        }
        if let Some(interval) = self.ship_journal.filter(|interval| *interval < SHIP_JOURNAL_INTERVAL_MIN) {
            return Err(format!(
                "ship-journal-interval is {interval:?}; it must be at least {SHIP_JOURNAL_INTERVAL_MIN:?}"
            ));
        }
        if self.device.is_empty() || self.device.len() > 256 {
            return Err("the device's name on the remote must have 1 to 256 bytes".to_owned());
        }
        Ok(())
    }
}

/// A remote that can be asked.
pub(crate) struct OpenRemote {
    pub(crate) runtime: Arc<IoRuntime>,
    pub(crate) archive: Archive,
}

/// What the shipper starts with.
pub(crate) struct OpenShipping {
    pub(crate) runtime: Arc<IoRuntime>,
    pub(crate) shipping: Box<Shipping>,
    pub(crate) stop_timeout: Duration,
    /// What reads the journal, where that is shipped too, and how often.
    pub(crate) journal: Option<(ExcerptReader, Duration)>,
}

impl OpenShipping {
    /// Ships the journal too, where that is asked for, as far as it is durable.
    pub(crate) fn follow(&mut self, durable: &watch::Receiver<Offset>) {
        if let Some((reader, interval)) = self.journal.take() {
            self.shipping.ship_journal(JournalShipping::new(reader, durable.clone(), interval));
        }
    }
}

impl OpenRemote {
    /// Prepares to use the remote; nothing is asked of it yet.
    ///
    /// # Errors
    /// [`JobError::Remote`].
    pub(crate) fn open(uri: &RemoteUri, device: &str, job: &str, trust: &Trust) -> Result<Self, JobError> {
        let runtime = IoRuntime::start().map_err(JobError::Runtime)?;
        let store = uri.open(&runtime).map_err(|error| JobError::Remote(error.into()))?;
        Ok(Self { runtime, archive: Archive::new(store, device, job, trust.clone()) })
    }

    /// Brings the newest whole checkpoint into the job's folder, once `fits` has looked at it; true when there was one.
    /// `report` is told of each step, and so is the log.
    ///
    /// # Errors
    /// [`JobError::Remote`]: with state on a remote that cannot be had, starting empty would lose it. What `fits` returns.
    /// The local state is as it was.
    pub(crate) fn restore(
        &self,
        disk: &Arc<dyn Disk>,
        directory: &Path,
        (settings, keeps_journal): (&RemoteSettings, bool),
        mut report: impl FnMut(Step),
        fits: impl FnOnce(&Contents) -> Result<(), JobError>,
    ) -> Result<bool, JobError> {
        let address = self.archive.store.address();
        tracing::info!(remote = address, "nothing to restore from here: looking on the remote");
        let mut restorer = Restorer::new(&self.archive, Arc::clone(disk), directory);
        if !keeps_journal {
            restorer = restorer.without_journal();
        }
        let wanted = Wanted {
            id: None,
            accept_rollback: settings.accept_rollback,
            min_generation: settings.min_generation,
        };
        let mut log = progress_log();
        let mut report = |step| {
            log(step);
            report(step);
        };
        let Some(fetched) = restorer.fetch(wanted, &mut report).map_err(JobError::Remote)? else {
            tracing::info!(remote = address, "the remote holds no checkpoint of this device and job");
            return Ok(false);
        };
        fits(&restorer.contents(&fetched).map_err(JobError::Remote)?)?;
        restorer.install(&fetched).map_err(JobError::Remote)?;
        let (manifest, checkpoint) = (&fetched.shipped.manifest, &fetched.shipped.checkpoint);
        let restored = fetched.restored();
        tracing::warn!(
            remote = address, checkpoint = %checkpoint.id, generation = manifest.generation,
            offset = %restored.offset, readings = restored.readings,
            "restored from the remote: what was taken in behind this batch and is not in the journal here is lost"
        );
        report_journal(&fetched);
        for (client, lines) in &restored.clients {
            tracing::warn!(client, lines, "of this client, lines up to this one are in the restored state");
        }
        report_lost(&fetched);
        Ok(true)
    }

    /// The shipping of a job.
    pub(crate) fn shipping(
        self,
        settings: &RemoteSettings,
        disk: &Arc<dyn Disk>,
        directory: &Path,
        pins: Pins,
    ) -> OpenShipping {
        let mut seed = [0; 8];
        if let Err(error) = getrandom::fill(&mut seed) {
            tracing::debug!(%error, "no random seed for pauses");
        }
        let policy = ShippingPolicy {
            limits: settings.limits,
            interval: settings.interval,
            retention: settings.retention,
            grace: settings.grace,
            sizes: ChunkSizes::DEFAULT,
            verification: settings.verification,
            take_over: settings.take_over,
            seed: u64::from_le_bytes(seed),
        };
        let start = ShippingStart {
            archive: self.archive,
            disk: Arc::clone(disk),
            directory: directory.to_owned(),
            pins,
            policy,
        };
        let shipping = Box::new(Shipping::new(start));
        let reader = |interval| (ExcerptReader::new(Arc::clone(disk), directory.join("journal")), interval);
        let journal = settings.ship_journal.map(reader);
        OpenShipping { runtime: self.runtime, shipping, stop_timeout: settings.stop_timeout, journal }
    }
}

/// Says what of the journal is restored.
pub(crate) fn report_journal(fetched: &Fetched) {
    if let Some(journal) = &fetched.journal {
        let offset = fetched.shipped.checkpoint.offset;
        tracing::info!(
            checkpointed = %offset, through = %journal.reached.offset, pieces = journal.pieces, bytes = journal.bytes,
            "the journal on the remote carries the checkpoint on"
        );
    }
}

/// Says what is lost with a restored checkpoint, as far as the remote knows.
pub(crate) fn report_lost(fetched: &Fetched) {
    let heard_ms = fetched.heard_ms;
    let Some(lost) = fetched.lost() else {
        tracing::info!(
            heard_ms,
            "the remote knows of nothing behind what is restored; what came in later than this is not known"
        );
        return;
    };
    let (from, through) = lost.batches;
    tracing::warn!(
        batches = %format_args!("{from}..={through}"), readings = lost.readings, heard_ms,
        "lost, unless the journal or the senders still have it: what the device had taken in when the remote last heard \
         from it; what came in later is not known"
    );
    for (client, from, through) in lost.clients {
        tracing::warn!(client, lines = %format_args!("{from}..={through}"), "lost of this client");
    }
}

/// Says now and then how far a restore is, how fast, and how long it will take.
pub(crate) fn progress_log() -> impl FnMut(Step) {
    let started = std::time::Instant::now();
    let (mut whole, mut said) = (0_u64, started);
    move |step| match step {
        Step::Chosen { id, bytes } => {
            whole = bytes;
            tracing::info!(checkpoint = %id, bytes, "fetching a checkpoint");
        }
        Step::Fetched { bytes } if said.elapsed() >= PROGRESS_INTERVAL => {
            said = std::time::Instant::now();
            let rate = bytes / started.elapsed().as_secs().max(1);
            let left_s = whole.saturating_sub(bytes) / rate.max(1);
            tracing::info!(bytes, of = whole, bytes_per_second = rate, left_s, "fetching");
        }
        Step::Fetched { .. } => {}
    }
}
