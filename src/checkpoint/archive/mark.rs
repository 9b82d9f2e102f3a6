//! What a device remembers of its archive: who it is there, and the newest generation it has seen.
//!
//! One small file beside the checkpoints, outside what a restore replaces: `remote/mark` in the job's folder. It is
//! replaced by rename. Without it (a new disk) nothing is known, and a restore says that it cannot tell whether the remote
//! was set back.
//!
//! Layout, little-endian: magic [u8; 8] "TGRMARK\0" | version u16 (1) | payload postcard [`Mark`] | hash [u8; 32], BLAKE3
//! of all bytes before it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ArchiveError;
use super::paths::Incarnation;
use crate::checkpoint::CheckpointId;
use crate::disk::{Disk, read_whole};

const MAGIC: [u8; 8] = *b"TGRMARK\0";
const VERSION: [u8; 2] = [1, 0];
const HASH_BYTES: usize = 32;
const MARK_BYTES_MAX: u64 = 4096;
/// Shipped checkpoints that are remembered, at most.
const SHIPPED_REMEMBERED: usize = 32;

/// What is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// The archive this is of: device and address.
    pub(crate) archive: String,
    /// Who this device is, or is becoming: written before it is opened on the remote.
    pub(crate) incarnations: Vec<Incarnation>,
    /// Incarnation of the newest checkpoint seen.
    pub(crate) incarnation: u32,
    /// Its generation.
    pub(crate) generation: u64,
    /// The day, in days since 1970, that `sent_bytes` is of.
    pub(crate) day: i64,
    /// Bytes sent on that day.
    pub(crate) sent_bytes: u64,
    /// The checkpoints shipped last from here, oldest first.
    pub(crate) shipped: Vec<CheckpointId>,
}

impl Mark {
    /// Notes the newest checkpoint there is on the remote; an older one changes nothing.
    pub(super) fn see(&mut self, incarnation: u32, generation: u64) {
        if (incarnation, generation) > (self.incarnation, self.generation) {
            (self.incarnation, self.generation) = (incarnation, generation);
        }
    }

    /// Notes a checkpoint that was shipped.
    pub(super) fn note_shipped(&mut self, id: CheckpointId) {
        self.shipped.push(id);
        let surplus = self.shipped.len().saturating_sub(SHIPPED_REMEMBERED);
        self.shipped.drain(..surplus);
    }
}

/// Where it is kept.
#[derive(Debug, Clone)]
pub(crate) struct MarkFile {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
}

impl MarkFile {
    /// The mark of the job whose folder is `directory`.
    pub(crate) fn of(disk: Arc<dyn Disk>, directory: &Path) -> Self {
        Self { disk, directory: directory.join("remote") }
    }

    fn path(&self) -> PathBuf {
        self.directory.join("mark")
    }

    /// What is remembered of `archive`. A damaged mark is reported, and as good as none.
    pub(crate) fn read(&self, archive: &str) -> Option<Mark> {
        let path = self.path();
        let bytes = match read_whole(&*self.disk, &path, MARK_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot read what is remembered of the remote");
                return None;
            }
        };
        let mark = decode(&bytes);
        if mark.is_none() {
            tracing::warn!(path = %path.display(), "what is remembered of the remote is damaged: it is passed over");
        }
        mark.filter(|mark| mark.archive == archive)
    }

    /// The checkpoints shipped last, to whichever remote.
    pub(crate) fn shipped(&self) -> Vec<CheckpointId> {
        let bytes = read_whole(&*self.disk, &self.path(), MARK_BYTES_MAX).unwrap_or_default();
        decode(&bytes).map(|mark| mark.shipped).unwrap_or_default()
    }

    /// Replaces what is remembered; it is durable when this returns.
    ///
    /// # Errors
    /// [`ArchiveError::Local`]; the older mark is still there.
    pub(crate) fn write(&self, mark: &Mark) -> Result<(), ArchiveError> {
        let path = self.path();
        let write = || -> io::Result<()> {
            self.disk.create_directory(&self.directory)?;
            let temporary = path.with_extension("tmp");
            match self.disk.remove(&temporary) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = self.disk.create_new(&temporary)?;
            file.write_all(&encode(mark))?;
            file.sync()?;
            self.disk.rename(&temporary, &path)?;
            self.disk.sync_directory(&self.directory)
        };
        write().map_err(|source| ArchiveError::Local { operation: "write", path: path.clone(), source })
    }
}

fn encode(mark: &Mark) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&VERSION);
    bytes.extend(postcard::to_stdvec(mark).expect("a mark is plain data"));
    let hash = blake3::hash(&bytes);
    bytes.extend_from_slice(hash.as_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Mark> {
    let (covered, hash) = bytes.split_last_chunk::<HASH_BYTES>()?;
    let payload = covered.strip_prefix(&MAGIC)?.strip_prefix(&VERSION)?;
    (blake3::hash(covered) == *hash).then(|| postcard::from_bytes(payload).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{FaultyDisk, RealDisk};

    fn mark(generation: u64) -> Mark {
        Mark { archive: "a".into(), generation, ..Mark::default() }
    }

    #[test]
    fn a_failure_at_any_step_leaves_one_of_the_two() {
        let directory = tempfile::tempdir().unwrap();
        let file = MarkFile::of(Arc::new(RealDisk), directory.path());
        assert_eq!(file.read("a"), None);
        file.write(&mark(1)).unwrap();
        assert_eq!(file.read("b"), None, "of another archive");
        for calls in 0..20 {
            let disk = FaultyDisk::healthy();
            disk.fail_after(calls);
            let outcome = MarkFile::of(Arc::new(disk), directory.path()).write(&mark(2));
            let found = file.read("a").unwrap();
            assert!(found == mark(2) || outcome.is_err() && found == mark(1));
            file.write(&mark(1)).unwrap();
        }
    }

    #[test]
    fn every_flip_and_cut_is_found() {
        let bytes = encode(&mark(3));
        assert_eq!(decode(&bytes), Some(mark(3)));
        for position in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[position] ^= 1;
            assert_eq!(decode(&flipped), None);
            assert_eq!(decode(&bytes[..position]), None);
        }
    }
}
