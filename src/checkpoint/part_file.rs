//! Files of parts and manifests: written with their hash, and verified whole before anything of them is used.
//!
//! Shared by the spool and by savepoints; who writes decides on names, order and directory syncs.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use super::Manifest;
use super::manifest::{MANIFEST_BYTES_MAX, ManifestError, PartEntry, StoreEntry};
use crate::disk::{Disk, DurableFile, read_whole};
use crate::state::{GroupBytes, SavedFile, SavedPart, SavedStore};

const BUFFER_BYTES: usize = 128 * 1024;

/// Why a checkpoint is not whole.
pub(super) enum Damage {
    /// It can never be used: set it aside.
    Permanent(String),
    /// It could not be read this time, or only another release or job can: leave it where it is.
    Unreadable(String),
}

impl Damage {
    pub(super) fn into_reason(self) -> String {
        let (Self::Permanent(reason) | Self::Unreadable(reason)) = self;
        reason
    }
}

/// What was written of a part.
pub(super) struct PartDigest {
    pub(super) groups: Vec<GroupBytes>,
    pub(super) bytes: u64,
    pub(super) hash: [u8; 32],
}

/// Creates a part file, writes it and syncs it.
pub(super) fn write_part(
    disk: &dyn Disk,
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<Vec<GroupBytes>>,
) -> io::Result<PartDigest> {
    let file = disk.create_new(path)?;
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, HashedFile::new(file));
    let groups = write(&mut out)?;
    let mut hashed = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    hashed.file.sync()?;
    Ok(PartDigest { groups, bytes: hashed.bytes, hash: *hashed.hasher.finalize().as_bytes() })
}

/// Reads a manifest of whatever job.
pub(super) fn read_manifest(disk: &dyn Disk, path: &Path) -> Result<Manifest, Damage> {
    let bytes = read_whole(disk, path, MANIFEST_BYTES_MAX).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => Damage::Permanent(error.to_string()),
        _ => Damage::Unreadable(error.to_string()),
    })?;
    Manifest::decode(&bytes).map_err(|error| match error {
        ManifestError::Version(_) => Damage::Unreadable(error.to_string()),
        ManifestError::Foreign | ManifestError::Damaged => Damage::Permanent(error.to_string()),
    })
}

/// Reads and verifies the parts a manifest names, in its order.
pub(super) fn read_parts(
    disk: &dyn Disk,
    directory: &Path,
    manifest: &Manifest,
) -> Result<Vec<SavedPart>, Damage> {
    let read = |entry: &PartEntry| {
        let bytes = read_whole(disk, &directory.join(&entry.name), entry.bytes)
            .map_err(|error| damaged(&entry.name, &error))?;
        check_bytes(&entry.name, bytes.len() as u64, entry.bytes)?;
        check_hash(&entry.name, blake3::hash(&bytes), entry.hash)?;
        Ok(SavedPart {
            bytes: Arc::new(bytes),
            groups: entry.groups.iter().map(|group| group.group).collect(),
            has_lists: entry.has_lists,
            store: entry.store.as_ref().map(|store| read_store(disk, directory, store)).transpose()?,
        })
    };
    manifest.parts.iter().map(read).collect()
}

/// Checks the files of a store; they are read, not kept in memory.
pub(super) fn read_store(
    disk: &dyn Disk,
    directory: &Path,
    entry: &StoreEntry,
) -> Result<SavedStore, Damage> {
    let mut files = Vec::with_capacity(entry.files.len());
    for file in &entry.files {
        let path = directory.join(&file.name);
        check_file(disk, &path, &file.name, (file.bytes, file.hash))?;
        files.push(SavedFile { name: file.file.clone(), path, is_table: file.is_table });
    }
    Ok(SavedStore { kind: entry.kind.clone(), identity: entry.identity, keys: entry.keys, files })
}

/// Verifies a file without keeping it in memory.
pub(super) fn check_file(
    disk: &dyn Disk,
    path: &Path,
    name: &str,
    (bytes, hash): (u64, [u8; 32]),
) -> Result<(), Damage> {
    let (found_bytes, found_hash) = digest(disk, path).map_err(|error| damaged(name, &error))?;
    check_bytes(name, found_bytes, bytes)?;
    check_hash(name, found_hash, hash)
}

/// Length in bytes and hash of a file.
pub(super) fn digest(disk: &dyn Disk, path: &Path) -> io::Result<(u64, blake3::Hash)> {
    let (file, _) = disk.open(path)?;
    let mut hasher = blake3::Hasher::new();
    let bytes = io::copy(&mut io::BufReader::with_capacity(BUFFER_BYTES, file), &mut hasher)?;
    Ok((bytes, hasher.finalize()))
}

fn damaged(name: &str, error: &io::Error) -> Damage {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::InvalidData => {
            Damage::Permanent(format!("part {name}: {error}"))
        }
        _ => Damage::Unreadable(format!("part {name}: {error}")),
    }
}

fn check_bytes(name: &str, found: u64, expected: u64) -> Result<(), Damage> {
    if found == expected {
        return Ok(());
    }
    Err(Damage::Permanent(format!("part {name} has {found} bytes instead of {expected}")))
}

fn check_hash(name: &str, found: blake3::Hash, expected: [u8; 32]) -> Result<(), Damage> {
    if found == expected {
        return Ok(());
    }
    Err(Damage::Permanent(format!("part {name} does not match its hash")))
}

/// A file that hashes and counts what is written to it.
struct HashedFile {
    file: Box<dyn DurableFile>,
    hasher: Box<blake3::Hasher>,
    bytes: u64,
}

impl HashedFile {
    fn new(file: Box<dyn DurableFile>) -> Self {
        Self { file, hasher: Box::new(blake3::Hasher::new()), bytes: 0 }
    }
}

impl Write for HashedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        let (done, _) = bytes.split_at(written);
        self.hasher.update(done);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
