//! What an archive holds: its manifests and incarnations, read and judged.

use std::sync::Arc;

use super::chunk::Packing;
use super::error::Unusable;
use super::manifest::{MANIFEST_BYTES_MAX, Shipped, ShippedManifest};
use super::paths::{Incarnation, ManifestName};
use super::sealed::{self, Kind};
use super::{ArchiveError, ArchivePaths, Trust};
use crate::remote::{Put, RemoteError, RemoteName, RemoteStore};

/// Most manifests, and most incarnations, that are looked at.
const NAMES_MAX: usize = 10_000;
/// Longest incarnation object, in bytes.
const INCARNATION_BYTES_MAX: u64 = 4096;

/// One device's archive of one job.
#[derive(Debug, Clone)]
pub(crate) struct Archive {
    pub(crate) store: Arc<dyn RemoteStore>,
    pub(crate) device: String,
    pub(crate) job: String,
    pub(crate) paths: ArchivePaths,
    pub(crate) trust: Trust,
}

/// What became of a claim to an incarnation's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It is ours alone: the remote creates only what is absent.
    Exclusive,
    /// The remote overwrites: somebody else may have the same number.
    Shared,
    /// Somebody else has it.
    Taken,
}

/// What an incarnation's object says.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct IncarnationRecord {
    device: String,
    job: String,
    incarnation: Incarnation,
}

impl Archive {
    pub(crate) fn new(store: Arc<dyn RemoteStore>, device: &str, job: &str, trust: Trust) -> Self {
        let paths = ArchivePaths::new(device, job);
        Self { store, device: device.to_owned(), job: job.to_owned(), paths, trust }
    }

    /// How what is written is packed.
    pub(crate) fn packing(&self) -> Packing {
        Packing { cipher: self.trust.cipher.clone() }
    }

    /// What the mark of this archive is kept under.
    pub(crate) fn identity(&self) -> String {
        format!("{} {}", self.store.address(), self.paths.root())
    }

    /// The names of the manifests, newest first.
    ///
    /// # Errors
    /// The remote's.
    pub(crate) fn manifests(&self) -> Result<Vec<ManifestName>, RemoteError> {
        let listed = self.store.list(&self.paths.manifests(), NAMES_MAX)?;
        let mut names: Vec<ManifestName> =
            listed.iter().filter_map(|listed| self.paths.manifest_name(&listed.name)).collect();
        names.sort_unstable_by(|left, right| right.cmp(left));
        Ok(names)
    }

    /// A manifest, authenticated and consistent with its name.
    ///
    /// # Errors
    /// [`ArchiveError::Unusable`] when another one must do, and the remote's.
    pub(crate) fn manifest(&self, name: &ManifestName) -> Result<Shipped, ArchiveError> {
        let path = self.paths.manifest(name);
        let bytes = match self.store.get(&path, MANIFEST_BYTES_MAX) {
            Err(RemoteError::TooLong { .. }) => {
                return Err(ArchiveError::unusable(&path, Unusable::Contradiction("it is too long")));
            }
            bytes => bytes?,
        };
        let unusable = |reason| ArchiveError::unusable(&path, reason);
        let shipped = ShippedManifest::decode(&bytes, &self.trust).map_err(unusable)?;
        shipped.manifest.check_place(&self.device, &self.job, &self.paths).map_err(unusable)?;
        let says = ManifestName::new(
            shipped.manifest.incarnation.number,
            shipped.manifest.generation,
            &shipped.seal,
        );
        if says != *name {
            return Err(unusable(Unusable::Contradiction("it stands under another's name")));
        }
        Ok(shipped)
    }

    /// The incarnation that may ship: the highest number, of several with that number the smallest id. Every device finds
    /// the same one, also on a remote that overwrites. Objects that are not authentic do not count.
    ///
    /// # Errors
    /// The remote's.
    pub(crate) fn incarnation(&self) -> Result<Option<Incarnation>, RemoteError> {
        let mut found = self.incarnations()?;
        found.sort_unstable_by(|left, right| right.number.cmp(&left.number).then(left.id.cmp(&right.id)));
        for incarnation in found {
            if self.is_authentic(&incarnation)? {
                return Ok(Some(incarnation));
            }
        }
        Ok(None)
    }

    /// Every name of an incarnation, authentic or not.
    ///
    /// # Errors
    /// The remote's.
    pub(crate) fn incarnations(&self) -> Result<Vec<Incarnation>, RemoteError> {
        let listed = self.store.list(&self.paths.incarnations(), NAMES_MAX)?;
        Ok(listed.iter().filter_map(|listed| self.paths.incarnation_of(&listed.name)).collect())
    }

    fn is_authentic(&self, incarnation: &Incarnation) -> Result<bool, RemoteError> {
        let path = self.paths.incarnation(incarnation);
        let bytes = match self.store.get(&path, INCARNATION_BYTES_MAX) {
            Err(RemoteError::TooLong { .. } | RemoteError::NotFound { .. }) => return Ok(false),
            bytes => bytes?,
        };
        let record = sealed::open(Kind::Incarnation, &bytes, &self.trust)
            .ok()
            .and_then(|opened| postcard::from_bytes::<IncarnationRecord>(&opened.payload).ok());
        let is_authentic = record.is_some_and(|record| {
            record.incarnation == *incarnation && record.device == self.device && record.job == self.job
        });
        if !is_authentic {
            tracing::warn!(object = %path, "an incarnation on the remote is not authentic: it does not count");
        }
        Ok(is_authentic)
    }

    /// Claims an incarnation's number, where the remote creates only what is absent. What a remote says it can does not
    /// count: it is tried.
    ///
    /// # Errors
    /// The remote's; trying again is harmless. A claim that was cut is [`Claim::Taken`] then.
    pub(crate) fn claim(&self, incarnation: &Incarnation) -> Result<Claim, RemoteError> {
        let name = self.paths.claim(incarnation.number);
        // A number that was claimed where nobody enforces it is as good as any.
        for _ in 0..2 {
            if self.store.put_new(&name, &incarnation.id)? == Put::Exists {
                let is_ours = self.holds(&name, &incarnation.id)?;
                return Ok(if is_ours { Claim::Exclusive } else { Claim::Taken });
            }
        }
        Ok(Claim::Shared)
    }

    /// Opens an incarnation: its object is whole on the remote when this returns.
    ///
    /// # Errors
    /// The remote's; trying again is harmless.
    pub(crate) fn open_incarnation(&self, incarnation: Incarnation) -> Result<(), ArchiveError> {
        let record = IncarnationRecord { device: self.device.clone(), job: self.job.clone(), incarnation };
        let payload = postcard::to_stdvec(&record).expect("an incarnation is plain data");
        let (bytes, _) = sealed::seal(Kind::Incarnation, &payload, &self.trust);
        self.put_verified(&self.paths.incarnation(&incarnation), &bytes)
    }

    /// Writes an object and reads it back. A short one of the same name, left by a write that was cut, is replaced.
    ///
    /// # Errors
    /// The remote's; [`ArchiveError::Unusable`] when what is there cannot be replaced.
    pub(crate) fn put_verified(&self, name: &RemoteName, bytes: &[u8]) -> Result<(), ArchiveError> {
        for _ in 0..2 {
            if self.store.put_new(name, bytes)? == Put::Created && self.holds(name, bytes)? {
                return Ok(());
            }
            if self.holds(name, bytes)? {
                return Ok(());
            }
            self.store.delete(name)?;
        }
        Err(ArchiveError::unusable(name, Unusable::Damaged))
    }

    fn holds(&self, name: &RemoteName, bytes: &[u8]) -> Result<bool, RemoteError> {
        match self.store.get(name, bytes.len() as u64) {
            Ok(found) => Ok(found == bytes),
            Err(RemoteError::NotFound { .. } | RemoteError::TooLong { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
