//! A device that ships, and one that restores.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::checkpoint::archive::*;
use crate::checkpoint::{CheckpointId, CheckpointStore, Manifest, PartEntry, Pins, SinkPosition, Spool};
use crate::disk::{Disk, RealDisk};
use crate::remote::{MemoryStore, RemoteName, RemoteStore};
use crate::runtime::{Offset, Timestamp};
use crate::state::GroupBytes;

pub(super) const UNSIGNED: Trust = Trust { key: None, allow_unsigned: true, cipher: None };

/// A checkpoint with these parts.
pub(in crate::checkpoint::archive) fn checkpoint_of(id: u64, parts: &[(&str, &[u8])]) -> Manifest {
    let part = |(name, bytes): &(&str, &[u8])| PartEntry {
        name: (*name).to_owned(),
        operator: "average".into(),
        groups: vec![GroupBytes { group: 0, keys: 1, bytes: bytes.len() as u64 }],
        has_lists: false,
        bytes: bytes.len() as u64,
        hash: *blake3::hash(bytes).as_bytes(),
        store: None,
    };
    Manifest {
        id: CheckpointId(id),
        lineage: CheckpointId(1),
        job: "job".into(),
        offset: Offset(10 * id),
        stamp: Timestamp(1000),
        readings: id,
        parallelism: 1,
        parts: parts.iter().map(part).collect(),
        sinks: vec![SinkPosition { sink: "print".into(), delivered: Offset(10 * id), bytes: 0 }],
        clients: Vec::new(),
        sessions: Vec::new(),
    }
}

/// A device: a job's folder and what it ships with.
pub(super) struct Device {
    pub(super) directory: tempfile::TempDir,
    pub(super) pins: Pins,
    pub(super) shipping: Shipping,
    pub(super) now: Duration,
}

pub(super) fn policy() -> ShippingPolicy {
    ShippingPolicy {
        limits: UploadLimits::default(),
        interval: Duration::ZERO,
        retention: Retention::default(),
        grace: Duration::from_secs(60),
        sizes: ChunkSizes { min: 1 << 10, average: 4 << 10, max: 16 << 10 },
        verification: Verification::Reply,
        take_over: false,
        seed: 1,
    }
}

pub(super) fn archive(store: &Arc<MemoryStore>) -> Archive {
    Archive::new(Arc::clone(store) as Arc<dyn RemoteStore>, "device", "job", UNSIGNED)
}

impl Device {
    pub(super) fn new(store: &Arc<MemoryStore>) -> Self {
        Self::at(tempfile::tempdir().unwrap(), store)
    }

    pub(super) fn at(directory: tempfile::TempDir, store: &Arc<MemoryStore>) -> Self {
        Self::with(directory, store, policy())
    }

    pub(super) fn with(
        directory: tempfile::TempDir,
        store: &Arc<MemoryStore>,
        policy: ShippingPolicy,
    ) -> Self {
        Self::of(directory, archive(store), policy)
    }

    pub(super) fn of(directory: tempfile::TempDir, archive: Archive, policy: ShippingPolicy) -> Self {
        RealDisk.create_directory(&directory.path().join("parts")).unwrap();
        let pins = Pins::default();
        let shipping = Shipping::new(ShippingStart {
            archive,
            disk: Arc::new(RealDisk),
            directory: directory.path().to_owned(),
            pins: pins.clone(),
            policy,
        });
        Self { directory, pins, shipping, now: Duration::ZERO }
    }

    /// The process dies and starts again.
    pub(super) fn restarted(self, store: &Arc<MemoryStore>) -> Self {
        Self::at(self.directory, store)
    }

    pub(super) fn offer(&self, checkpoint: &Manifest, contents: &[&[u8]]) {
        for (part, bytes) in checkpoint.parts.iter().zip(contents) {
            write(&self.directory.path().join("parts").join(&part.name), bytes);
        }
        self.pins.offer(checkpoint);
    }

    pub(super) fn status(&self) -> ShippingStatus {
        self.shipping.status(Moment { monotonic: self.now, wall_ms: 1_000_000 })
    }

    /// Ships until nothing is left to do, or `steps` are over.
    pub(super) fn ship(&mut self, steps: usize) -> Turn {
        for _ in 0..steps {
            let now = Moment { monotonic: self.now, wall_ms: 1_000_000 };
            match self.shipping.turn(now) {
                Turn::Step => self.shipping.step(now),
                Turn::WaitUntil(at) => self.now = at,
                end => return end,
            }
        }
        Turn::Step
    }

    pub(super) fn ship_all(&mut self) {
        assert_eq!(self.ship(10_000), Turn::Idle, "{:?}", self.status());
    }
}

#[expect(clippy::disallowed_methods, reason = "tests make the files they look at")]
pub(super) fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
}

/// A checkpoint's id and the bytes of its parts.
pub(super) type Restored = (u64, Vec<Vec<u8>>);

/// Restores into an empty directory: the checkpoint and the bytes of its parts.
pub(super) fn restore(store: &Arc<MemoryStore>, wanted: Wanted) -> Result<Option<Restored>, ArchiveError> {
    let directory = tempfile::tempdir().unwrap();
    let archive = archive(store);
    let mut restorer = Restorer::new(&archive, Arc::new(RealDisk), directory.path()).without_pauses();
    if restorer.restore(wanted, &mut |_| ())?.is_none() {
        return Ok(None);
    }
    let mut spool = Spool::open(Arc::new(RealDisk), directory.path(), "job", 3).unwrap();
    let contents = spool.newest().unwrap().expect("what was restored is whole");
    let bytes = contents.parts.iter().map(|part| part.bytes.to_vec()).collect();
    Ok(Some((contents.manifest.id.0, bytes)))
}

pub(super) fn newest(store: &Arc<MemoryStore>) -> Option<Restored> {
    restore(store, Wanted::default()).unwrap()
}

pub(super) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

pub(super) fn names(store: &MemoryStore, folder: &str) -> Vec<RemoteName> {
    let folder = format!("/{folder}/");
    store.with_objects(|objects| {
        objects.keys().filter(|name| name.as_str().contains(&folder)).cloned().collect()
    })
}

pub(super) fn encrypted() -> Trust {
    let cipher = Some(ArchiveCipher::of_test(7));
    Trust { key: Some(ArchiveKey::of_test(1)), allow_unsigned: false, cipher }
}

pub(super) fn archive_with(store: &Arc<MemoryStore>, trust: Trust) -> Archive {
    Archive::new(Arc::clone(store) as Arc<dyn RemoteStore>, "device", "job", trust)
}

/// Restores by `archive` into `directory`: the checkpoint's id, or why not.
pub(super) fn restore_by(archive: &Archive, directory: &Path) -> Result<u64, ArchiveError> {
    let mut restorer = Restorer::new(archive, Arc::new(RealDisk), directory).without_pauses();
    Ok(restorer.restore(Wanted::default(), &mut |_| ())?.expect("something is there").shipped.checkpoint.id.0)
}
