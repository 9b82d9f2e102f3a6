//! The files of a checkpoint on a remote: fetched and verified, chunk by chunk.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::Path;

use super::ArchiveError;
use super::chunk::packed_bytes_max;
use super::error::Unusable;
use super::manifest::{PlainChunk, Shipped, ShippedChunk, ShippedFile, files_of};
use super::restore::{Restorer, local};
use super::restored::Step;
use crate::checkpoint::part_file::check_file;
use crate::disk::{Disk, DurableFile};
use crate::remote::RemoteError;

impl Restorer<'_> {
    pub(super) fn fetch_files(
        &mut self,
        shipped: &Shipped,
        progress: &mut dyn FnMut(Step),
    ) -> Result<(), ArchiveError> {
        let id = shipped.checkpoint.id;
        progress(Step::Chosen { id, bytes: shipped.checkpoint.state_bytes() });
        let incoming = self.incoming();
        self.disk.create_directory(&incoming).map_err(local("create", &incoming))?;
        let mut fetched_bytes = 0;
        for file in &shipped.manifest.files {
            self.take_part(&incoming, file, shipped)?;
            self.fetch_file(&incoming.join(&file.name), file, shipped, &mut |bytes| {
                fetched_bytes += bytes;
                progress(Step::Fetched { bytes: fetched_bytes });
            })?;
        }
        Ok(())
    }

    /// Takes a file from the local parts where it is there and whole.
    fn take_part(&self, incoming: &Path, file: &ShippedFile, shipped: &Shipped) -> Result<(), ArchiveError> {
        let (from, to) = (self.parts().join(&file.name), incoming.join(&file.name));
        let Some(expected) = files_of(&shipped.checkpoint).get(file.name.as_str()).copied() else {
            return Ok(());
        };
        if self.disk.open(&to).is_ok() || check_file(&*self.disk, &from, &file.name, expected).is_err() {
            return Ok(());
        }
        self.disk.link(&from, &to).map_err(local("link", &to))
    }

    /// Fetches a file. What is there of it already, from an attempt that was cut, is checked and kept.
    fn fetch_file(
        &mut self,
        path: &Path,
        file: &ShippedFile,
        shipped: &Shipped,
        fetched: &mut dyn FnMut(u64),
    ) -> Result<(), ArchiveError> {
        let mut hasher = blake3::Hasher::new();
        let kept = kept_chunks(&*self.disk, path, file, &mut hasher).map_err(local("read", path))?;
        let kept_bytes: u64 = file.chunks.iter().take(kept).map(|chunk| u64::from(chunk.bytes)).sum();
        fetched(kept_bytes);
        let mut out: Box<dyn DurableFile> = self.disk.append(path).map_err(local("write", path))?;
        self.disk.truncate(path, kept_bytes).map_err(local("cut", path))?;
        for chunk in file.chunks.iter().skip(kept) {
            let bytes = self.fetch_chunk(shipped, chunk)?;
            hasher.update(&bytes);
            out.write_all(&bytes).map_err(local("write", path))?;
            fetched(bytes.len() as u64);
        }
        self.check_hash(file, &hasher, &files_of(&shipped.checkpoint))?;
        out.sync().map_err(local("sync", path))
    }

    fn fetch_chunk(&mut self, shipped: &Shipped, chunk: &ShippedChunk) -> Result<Vec<u8>, ArchiveError> {
        let bases = shipped.manifest.bases_of(chunk);
        let mut dictionary = Vec::new();
        for base in bases {
            let bytes = match self.unpacked.get(base) {
                Some(bytes) => bytes,
                None => {
                    let fetched = self.fetch_on(shipped, base, &[], &[])?;
                    self.unpacked.insert(*base, fetched)
                }
            };
            dictionary.extend_from_slice(&bytes);
        }
        self.fetch_on(shipped, &chunk.plain(), bases, &dictionary)
    }

    /// Fetches a chunk that is packed on `bases`, whose bytes are `dictionary`.
    fn fetch_on(
        &mut self,
        shipped: &Shipped,
        chunk: &PlainChunk,
        bases: &[PlainChunk],
        dictionary: &[u8],
    ) -> Result<Vec<u8>, ArchiveError> {
        let archive = self.archive;
        let hash = chunk.hash();
        let name = archive.paths.chunk(&shipped.packing.object(&hash, bases));
        let packed = match self.retry(|| Ok(archive.store.get(&name, packed_bytes_max(chunk.bytes))?)) {
            Err(ArchiveError::Remote(RemoteError::NotFound { .. })) => {
                return Err(ArchiveError::unusable(
                    &name,
                    Unusable::Contradiction("a manifest names it and it is missing"),
                ));
            }
            Err(ArchiveError::Remote(RemoteError::TooLong { .. })) => {
                return Err(ArchiveError::unusable(&name, Unusable::Damaged));
            }
            packed => packed?,
        };
        let unpacked = shipped.packing.unpack(&packed, chunk.bytes, &hash, bases, dictionary);
        unpacked.ok_or_else(|| ArchiveError::unusable(&name, Unusable::Damaged))
    }

    /// Reads every byte of a checkpoint; nothing is kept.
    ///
    /// # Errors
    /// [`ArchiveError::Unusable`] when it is not whole, and the remote's.
    pub(crate) fn verify(
        &mut self,
        shipped: &Shipped,
        verified: &mut dyn FnMut(u64),
    ) -> Result<(), ArchiveError> {
        let hashes = files_of(&shipped.checkpoint);
        let mut verified_bytes = 0;
        for file in &shipped.manifest.files {
            let mut hasher = blake3::Hasher::new();
            for chunk in &file.chunks {
                hasher.update(&self.fetch_chunk(shipped, chunk)?);
                verified_bytes += u64::from(chunk.bytes);
                verified(verified_bytes);
            }
            self.check_hash(file, &hasher, &hashes)?;
        }
        Ok(())
    }

    fn check_hash(
        &self,
        file: &ShippedFile,
        hasher: &blake3::Hasher,
        hashes: &BTreeMap<&str, (u64, [u8; 32])>,
    ) -> Result<(), ArchiveError> {
        let is_good = hashes.get(file.name.as_str()).is_some_and(|(_, hash)| hasher.finalize() == *hash);
        if is_good {
            return Ok(());
        }
        let reason = Unusable::Contradiction("its chunks do not make up its files");
        Err(ArchiveError::unusable(&self.archive.paths.manifests(), reason))
    }
}

/// Number of chunks at the beginning of a file that are right; they are hashed.
fn kept_chunks(
    disk: &dyn Disk,
    path: &Path,
    file: &ShippedFile,
    hasher: &mut blake3::Hasher,
) -> io::Result<usize> {
    let mut reader = match disk.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        opened => opened?.0,
    };
    for (kept, chunk) in file.chunks.iter().enumerate() {
        let mut bytes = Vec::new();
        reader.by_ref().take(u64::from(chunk.bytes)).read_to_end(&mut bytes)?;
        if bytes.len() != chunk.bytes as usize || blake3::hash(&bytes) != chunk.hash() {
            return Ok(kept);
        }
        hasher.update(&bytes);
    }
    Ok(file.chunks.len())
}
