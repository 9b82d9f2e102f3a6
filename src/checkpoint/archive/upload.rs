//! One checkpoint on its way to the remote: cut, packed and sent chunk by chunk. What is there already is passed over, so a
//! broken upload goes on at the first missing chunk, also in another process.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufReader, Read};
use std::path::Path;

use fastcdc::v2020::StreamCDC;

use super::base::{BaseFolder, Previous, Unpacked};
use super::chunk::{ChunkSizes, Packing, cut, packed_bytes_max};
use super::manifest::{CHUNKS_MAX, PlainChunk, ShippedChunk, ShippedFile, files_of};
use super::{Archive, ArchiveError};
use crate::checkpoint::Manifest;
use crate::disk::Disk;
use crate::mutants::Mutant;
use crate::remote::{Put, RemoteError};

/// Bytes that are cut and passed over in one step.
const SCANNED_BYTES_MAX: u64 = 8 << 20;

/// What of a chunk is known to be on the remote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    /// A listing named it, with this length.
    Listed(u64),
    /// It was found good.
    Good,
}

/// The chunks on the remote, as far as they are known, by the hash in their names.
#[derive(Debug, Default)]
pub(crate) struct ChunkIndex {
    chunks: BTreeMap<[u8; 32], Presence>,
}

impl ChunkIndex {
    /// Asks the remote.
    ///
    /// # Errors
    /// The remote's.
    pub(crate) fn load(archive: &Archive) -> Result<Self, RemoteError> {
        let mut chunks = BTreeMap::new();
        for listed in archive.store.list(&archive.paths.chunks(), 2 * CHUNKS_MAX)? {
            if let Some(hash) = archive.paths.chunk_hash(&listed.name) {
                chunks.insert(*hash.as_bytes(), Presence::Listed(listed.bytes));
            }
        }
        Ok(Self { chunks })
    }

    pub(crate) fn hashes(&self) -> impl Iterator<Item = [u8; 32]> {
        self.chunks.keys().copied()
    }

    pub(crate) fn forget(&mut self, hash: &[u8; 32]) {
        self.chunks.remove(hash);
    }
}

/// How a chunk that was sent is looked at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// It is read back and compared.
    ReadBack,
    /// The remote's word that it was written is enough; a restore still checks every byte.
    Reply,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Advance {
    /// There is more to do.
    More,
    /// Every file is on the remote.
    Finished,
}

/// A chunk that must be on the remote before the next one is cut.
#[derive(Debug)]
struct Pending {
    chunk: ShippedChunk,
    /// The hash in its name.
    object: blake3::Hash,
    packed: Vec<u8>,
    /// Whether it belongs to a part: then it may be a base later.
    is_of_part: bool,
    /// A write of it failed: it may be there.
    is_doubtful: bool,
}

/// A file that is being cut.
struct Cutting {
    name: String,
    expected: (u64, [u8; 32]),
    hasher: Box<blake3::Hasher>,
    bytes: u64,
    chunks: Vec<ShippedChunk>,
    stream: StreamCDC<Box<dyn Read + Send>>,
}

/// An upload under way.
pub(crate) struct Upload {
    pub(crate) checkpoint: Manifest,
    packing: Packing,
    files: VecDeque<(String, (u64, [u8; 32]))>,
    cutting: Option<Cutting>,
    pending: Option<Pending>,
    done: Vec<ShippedFile>,
    /// What stood where before.
    previous: Previous,
    bases: Vec<Vec<PlainChunk>>,
    unpacked: Unpacked,
    /// Packed bytes sent since the last [`Upload::take_sent_bytes`].
    sent_bytes: u64,
}

/// Where the files are and how they are cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cutter<'a> {
    pub(crate) disk: &'a dyn Disk,
    pub(crate) parts: &'a Path,
    pub(crate) bases: &'a BaseFolder,
    pub(crate) sizes: ChunkSizes,
    pub(crate) verification: Verification,
}

impl Upload {
    pub(crate) fn new(checkpoint: Manifest, packing: Packing, previous: Previous) -> Self {
        let files = files_of(&checkpoint).into_iter().map(|(name, file)| (name.to_owned(), file)).collect();
        Self {
            checkpoint,
            packing,
            files,
            cutting: None,
            pending: None,
            done: Vec::new(),
            previous,
            bases: Vec::new(),
            unpacked: Unpacked::default(),
            sent_bytes: 0,
        }
    }

    /// The files and what they are packed on, once it is finished.
    pub(crate) fn into_files(self) -> (Manifest, Vec<ShippedFile>, Vec<Vec<PlainChunk>>) {
        (self.checkpoint, self.done, self.bases)
    }

    pub(crate) fn take_sent_bytes(&mut self) -> u64 {
        std::mem::take(&mut self.sent_bytes)
    }

    /// Sends one chunk, or passes over some that are there.
    ///
    /// # Errors
    /// The remote's: the same step is tried again by the next call. [`ArchiveError::Local`]: the upload cannot go on.
    pub(crate) fn advance(
        &mut self,
        archive: &Archive,
        index: &mut ChunkIndex,
        cutter: Cutter<'_>,
    ) -> Result<Advance, ArchiveError> {
        let mut scanned = 0;
        while scanned < SCANNED_BYTES_MAX {
            if self.pending.is_some() {
                if self.send(archive, index, cutter)? {
                    return Ok(Advance::More);
                }
                continue;
            }
            match self.next_chunk(cutter)? {
                None => return Ok(Advance::Finished),
                Some((chunk, data)) => {
                    scanned += data.len() as u64;
                    self.pack(chunk, &data, index, cutter.bases);
                }
            }
        }
        Ok(Advance::More)
    }

    /// Packs a chunk, unless it is known to be on the remote.
    fn pack(&mut self, chunk: ShippedChunk, data: &[u8], index: &ChunkIndex, folder: &BaseFolder) {
        let hash = chunk.hash();
        let alone = self.packing.object(&hash, &[]);
        if index.chunks.get(alone.as_bytes()) == Some(&Presence::Good) {
            return;
        }
        let part = self.cutting.as_ref().and_then(|cutting| {
            let entry = self.checkpoint.parts.iter().find(|entry| entry.name == cutting.name)?;
            entry.store.is_none().then(|| (entry, cutting.bytes - data.len() as u64))
        });
        let is_of_part = part.is_some();
        let is_listed = index.chunks.contains_key(alone.as_bytes());
        if let Some((entry, at)) = part.filter(|_| !is_listed) {
            let mut dictionary = Vec::new();
            let mut bases = self.previous.bases(entry, at, data.len() as u64);
            bases.retain(|base| {
                let bytes =
                    self.unpacked.get(base).or_else(|| Some(self.unpacked.insert(*base, folder.read(base)?)));
                bytes.as_ref().inspect(|bytes| dictionary.extend_from_slice(bytes)).is_some()
            });
            let packed = Some(()).filter(|()| !bases.is_empty());
            let packed = packed.and_then(|()| self.packing.pack_on(data, &hash, &bases, &dictionary));
            if let (Some(packed), Some(cutting)) = (packed, &mut self.cutting) {
                let object = self.packing.object(&hash, &bases);
                let number = u32::try_from(self.bases.len()).expect("a checkpoint has few chunks");
                self.bases.push(bases);
                let chunk = ShippedChunk { bases: Some(number), ..chunk };
                if let Some(last) = cutting.chunks.last_mut() {
                    *last = chunk;
                }
                if index.chunks.get(object.as_bytes()) != Some(&Presence::Good) {
                    self.pending =
                        Some(Pending { chunk, object, packed, is_of_part: false, is_doubtful: false });
                }
                return;
            }
        }
        let packed = self.packing.pack(data, &hash);
        self.pending = Some(Pending { chunk, object: alone, packed, is_of_part, is_doubtful: false });
    }

    /// Makes sure of the pending chunk; true when it was sent.
    fn send(
        &mut self,
        archive: &Archive,
        index: &mut ChunkIndex,
        cutter: Cutter<'_>,
    ) -> Result<bool, ArchiveError> {
        let Some(pending) = &mut self.pending else { return Ok(false) };
        let hash = *pending.object.as_bytes();
        let packing = &self.packing;
        let packed_bytes = pending.packed.len() as u64;
        let is_there = match index.chunks.get(&hash) {
            Some(Presence::Good) => true,
            // The name is the hash of what was to be written; what was cut off is shorter.
            Some(Presence::Listed(bytes)) if *bytes == packed_bytes => true,
            // Another release may have packed it otherwise.
            Some(Presence::Listed(_)) => keep_if_good(archive, packing, pending)?,
            None if pending.is_doubtful => keep_if_good(archive, packing, pending)?,
            None => false,
        };
        if is_there {
            if pending.is_of_part {
                cutter.bases.keep(&pending.chunk.plain(), &pending.packed);
            }
            index.chunks.insert(hash, Presence::Good);
            self.pending = None;
            return Ok(false);
        }
        index.forget(&hash);
        pending.is_doubtful = true;
        let name = archive.paths.chunk(&pending.object);
        self.sent_bytes += packed_bytes;
        let put = match archive.store.put_new(&name, &pending.packed) {
            Err(_) if Mutant::ManifestBeforeChunks.is_on() => Put::Created,
            put => put?,
        };
        let is_good = match put {
            Put::Created if cutter.verification == Verification::Reply => true,
            Put::Created | Put::Exists => keep_if_good(archive, packing, pending)?,
        };
        if is_good {
            if pending.is_of_part {
                cutter.bases.keep(&pending.chunk.plain(), &pending.packed);
            }
            index.chunks.insert(hash, Presence::Good);
            self.pending = None;
            return Ok(true);
        }
        let reason = "what was written is not what is read back".to_owned();
        Err(RemoteError::Unavailable { operation: "write", name, reason }.into())
    }

    /// Cuts the next chunk; `None` when all files are done.
    fn next_chunk(&mut self, cutter: Cutter<'_>) -> Result<Option<(ShippedChunk, Vec<u8>)>, ArchiveError> {
        loop {
            let Some(cutting) = &mut self.cutting else {
                let Some((name, expected)) = self.files.pop_front() else { return Ok(None) };
                self.cutting = Some(Cutting::begin(name, expected, cutter)?);
                continue;
            };
            let failed = |name: &str, source| ArchiveError::Local {
                operation: "ship",
                path: cutter.parts.join(name),
                source,
            };
            match cutting.stream.next() {
                Some(Ok(piece)) => {
                    cutting.hasher.update(&piece.data);
                    cutting.bytes += piece.data.len() as u64;
                    let bytes = u32::try_from(piece.data.len()).expect("a chunk is at most 4 MiB");
                    let chunk =
                        ShippedChunk { hash: *blake3::hash(&piece.data).as_bytes(), bytes, bases: None };
                    cutting.chunks.push(chunk);
                    return Ok(Some((chunk, piece.data)));
                }
                Some(Err(error)) => return Err(failed(&cutting.name, io::Error::from(error))),
                None => {
                    let is_whole = (cutting.bytes, *cutting.hasher.finalize().as_bytes()) == cutting.expected;
                    if !is_whole {
                        let damaged =
                            io::Error::new(io::ErrorKind::InvalidData, "it does not match its hash");
                        return Err(failed(&cutting.name, damaged));
                    }
                }
            }
            if let Some(Cutting { name, chunks, .. }) = self.cutting.take() {
                self.done.push(ShippedFile { name, chunks });
            }
        }
    }
}

impl Cutting {
    fn begin(name: String, expected: (u64, [u8; 32]), cutter: Cutter<'_>) -> Result<Self, ArchiveError> {
        let path = cutter.parts.join(&name);
        let (file, _) = cutter.disk.open(&path).map_err(|source| ArchiveError::Local {
            operation: "ship",
            path: path.clone(),
            source,
        })?;
        // A file that grew is not read without end.
        let reader: Box<dyn Read + Send> = Box::new(BufReader::new(file.take(expected.0.saturating_add(1))));
        let stream = cut(reader, cutter.sizes);
        let hasher = Box::new(blake3::Hasher::new());
        Ok(Self { name, expected, hasher, bytes: 0, chunks: Vec::new(), stream })
    }
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload").field("checkpoint", &self.checkpoint.id).finish_non_exhaustive()
    }
}

/// True when the chunk is there and good; one that is not is removed.
fn keep_if_good(archive: &Archive, packing: &Packing, pending: &Pending) -> Result<bool, ArchiveError> {
    let Pending { chunk, object, packed, .. } = pending;
    let name = archive.paths.chunk(object);
    let is_good = match archive.store.get(&name, packed_bytes_max(chunk.bytes)) {
        // Another release may have packed it otherwise.
        Ok(found) => {
            let unpacks = || {
                packing.unpack(&found, chunk.bytes, &chunk.hash(), &[], &[]).is_some()
                    && chunk.bases.is_none()
            };
            found == *packed || unpacks()
        }
        Err(RemoteError::NotFound { .. }) => return Ok(false),
        Err(RemoteError::TooLong { .. }) => false,
        Err(error) => return Err(error.into()),
    };
    if !is_good {
        archive.store.delete(&name)?;
    }
    Ok(is_good)
}
