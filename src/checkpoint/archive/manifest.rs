//! The manifest of a shipped checkpoint: which chunks its files are made of.
//!
//! This is the normative description of what is inside the sealed object (see `sealed`): postcard of
//! [`ShippedManifest`]. It holds the checkpoint's own manifest as it is on the device.
//!
//! Limits: an object has at most [`MANIFEST_BYTES_MAX`] bytes and names at most [`CHUNKS_MAX`] chunks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::base::BASES_MAX;
use super::chunk::{CHUNK_BYTES_MAX, Packing};
use super::error::Unusable;
use super::paths::Incarnation;
use super::sealed::{self, Kind};
use super::{ArchivePaths, Trust};
use crate::checkpoint::{Manifest, Reached};

/// Longest manifest object, in bytes.
pub(crate) const MANIFEST_BYTES_MAX: u64 = 32 << 20;
/// Most chunks of a checkpoint: with chunks of 256 KiB, 64 GiB.
pub(crate) const CHUNKS_MAX: usize = 1 << 18;

/// A checkpoint on a remote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShippedManifest {
    pub(crate) device: String,
    pub(crate) job: String,
    /// Who shipped it.
    pub(crate) incarnation: Incarnation,
    /// One more than that of the newest one before it.
    pub(crate) generation: u64,
    /// The seal of the one before it.
    pub(crate) previous: Option<[u8; 32]>,
    /// Wall clock of the device when it was shipped, in milliseconds since 1970.
    pub(crate) shipped_ms: i64,
    /// The checkpoint's manifest, encoded.
    pub(crate) checkpoint: Vec<u8>,
    pub(crate) files: Vec<ShippedFile>,
    /// How far the device had come when this was shipped: what lies between this and the checkpoint is lost with it.
    pub(crate) reached: Reached,
    /// What chunks are packed on (see `base`); the first of each is the one at the chunk's own place.
    pub(crate) bases: Vec<Vec<PlainChunk>>,
    /// The seal of the last piece of its history's journal that was on the remote when this was shipped.
    pub(crate) journal: Option<[u8; 32]>,
}

/// A file of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShippedFile {
    /// Its name among the parts.
    pub(crate) name: String,
    pub(crate) chunks: Vec<ShippedChunk>,
}

/// A chunk of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShippedChunk {
    pub(crate) hash: [u8; 32],
    /// Length before packing.
    pub(crate) bytes: u32,
    /// What it is packed on: an index into the manifest's bases.
    pub(crate) bases: Option<u32>,
}

/// A chunk that is packed by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct PlainChunk {
    pub(crate) hash: [u8; 32],
    /// Length before packing.
    pub(crate) bytes: u32,
}

impl PlainChunk {
    pub(crate) fn hash(&self) -> blake3::Hash {
        blake3::Hash::from_bytes(self.hash)
    }
}

impl ShippedChunk {
    pub(crate) fn plain(&self) -> PlainChunk {
        PlainChunk { hash: self.hash, bytes: self.bytes }
    }

    pub(crate) fn hash(&self) -> blake3::Hash {
        blake3::Hash::from_bytes(self.hash)
    }
}

/// A manifest that was read and found good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shipped {
    pub(crate) manifest: ShippedManifest,
    pub(crate) seal: blake3::Hash,
    /// What `manifest.checkpoint` encodes.
    pub(crate) checkpoint: Manifest,
    /// How its chunks are packed.
    pub(crate) packing: Packing,
}

impl Shipped {
    /// The hashes in the names of its chunks.
    pub(crate) fn objects(&self) -> impl Iterator<Item = [u8; 32]> {
        self.manifest.objects(&self.packing)
    }
}

/// Length and BLAKE3 of each file of a checkpoint, by its name among the parts.
pub(crate) fn files_of(checkpoint: &Manifest) -> BTreeMap<&str, (u64, [u8; 32])> {
    entries_of(checkpoint).collect()
}

fn entries_of(checkpoint: &Manifest) -> impl Iterator<Item = (&str, (u64, [u8; 32]))> {
    let parts = checkpoint.parts.iter().map(|part| (part.name.as_str(), (part.bytes, part.hash)));
    let stores = checkpoint.parts.iter().filter_map(|part| part.store.as_ref());
    let files = stores.flat_map(|store| &store.files);
    parts.chain(files.map(|file| (file.name.as_str(), (file.bytes, file.hash))))
}

impl ShippedManifest {
    /// The object, and its seal.
    pub(crate) fn encode(&self, trust: &Trust) -> (Vec<u8>, blake3::Hash) {
        let payload = postcard::to_stdvec(self).expect("a manifest is plain data");
        sealed::seal(Kind::Manifest, &payload, trust)
    }

    /// Reads an object; what it says is consistent in itself when this returns `Ok`.
    ///
    /// # Errors
    /// [`Unusable`].
    pub(crate) fn decode(bytes: &[u8], trust: &Trust) -> Result<Shipped, Unusable> {
        let opened = sealed::open(Kind::Manifest, bytes, trust)?;
        let manifest: Self = postcard::from_bytes(&opened.payload).map_err(|_| Unusable::Damaged)?;
        let checkpoint = Manifest::decode(&manifest.checkpoint)
            .map_err(|_| Unusable::Contradiction("its checkpoint is damaged"))?;
        if checkpoint.job != manifest.job {
            return Err(Unusable::Contradiction("its checkpoint is of another job"));
        }
        manifest.check_files(&checkpoint)?;
        let packing = Packing { cipher: trust.cipher.clone().filter(|_| opened.is_encrypted) };
        Ok(Shipped { manifest, seal: opened.seal, checkpoint, packing })
    }

    /// The files are those of the checkpoint, each once, and their chunks have their lengths.
    fn check_files(&self, checkpoint: &Manifest) -> Result<(), Unusable> {
        let expected = files_of(checkpoint);
        // Parts may share a file, but then it is the same to both.
        if entries_of(checkpoint).any(|(name, file)| expected.get(name) != Some(&file)) {
            return Err(Unusable::Contradiction("its checkpoint has two files of one name"));
        }
        let names: BTreeMap<&str, ()> = self.files.iter().map(|file| (file.name.as_str(), ())).collect();
        if names.len() != self.files.len() || names.len() != expected.len() {
            return Err(Unusable::Contradiction("it names a file twice, or not all, or too many"));
        }
        if self.files.iter().map(|file| file.chunks.len()).sum::<usize>() > CHUNKS_MAX {
            return Err(Unusable::Contradiction("it names too many chunks"));
        }
        let is_base = |base: &PlainChunk| (1..=CHUNK_BYTES_MAX).contains(&base.bytes);
        let are_bases =
            |bases: &Vec<PlainChunk>| (1..=BASES_MAX).contains(&bases.len()) && bases.iter().all(is_base);
        let are_known = |chunk: &ShippedChunk| {
            chunk.bases.is_none_or(|bases| usize::try_from(bases).is_ok_and(|bases| bases < self.bases.len()))
        };
        if self.bases.len() > CHUNKS_MAX || !self.bases.iter().all(are_bases) || !self.chunks().all(are_known)
        {
            return Err(Unusable::Contradiction("what its chunks are packed on cannot be"));
        }
        for file in &self.files {
            let Some((bytes, _)) = expected.get(file.name.as_str()) else {
                return Err(Unusable::Contradiction("it names a file its checkpoint does not have"));
            };
            let is_bounded = file.chunks.iter().all(|chunk| (1..=CHUNK_BYTES_MAX).contains(&chunk.bytes));
            if !is_bounded || file.chunks.iter().map(|chunk| u64::from(chunk.bytes)).sum::<u64>() != *bytes {
                return Err(Unusable::Contradiction("the lengths of its chunks are not those of its files"));
            }
        }
        Ok(())
    }

    /// Checks that it is of this device and job.
    ///
    /// # Errors
    /// [`Unusable::Elsewhere`].
    pub(crate) fn check_place(&self, device: &str, job: &str, paths: &ArchivePaths) -> Result<(), Unusable> {
        debug_assert_eq!(*paths, ArchivePaths::new(device, job));
        if self.device == device && self.job == job {
            return Ok(());
        }
        Err(Unusable::Elsewhere { device: self.device.clone(), job: self.job.clone() })
    }

    /// What a chunk is packed on; nothing for one that is packed by itself.
    pub(crate) fn bases_of(&self, chunk: &ShippedChunk) -> &[PlainChunk] {
        let bases = chunk.bases.and_then(|bases| self.bases.get(bases as usize));
        bases.map(Vec::as_slice).unwrap_or_default()
    }

    /// The hashes in the names of all objects it needs.
    pub(crate) fn objects(&self, packing: &Packing) -> impl Iterator<Item = [u8; 32]> {
        let chunks = self.chunks().map(|chunk| packing.object(&chunk.hash(), self.bases_of(chunk)));
        let bases = self.bases.iter().flatten().map(|base| packing.object(&base.hash(), &[]));
        chunks.chain(bases).map(|object| *object.as_bytes())
    }

    pub(crate) fn chunks(&self) -> impl Iterator<Item = &ShippedChunk> {
        self.files.iter().flat_map(|file| &file.chunks)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::device::checkpoint_of;
    use super::*;
    use crate::runtime::Offset;

    const TRUST: Trust = Trust { key: None, allow_unsigned: true, cipher: None };

    fn manifest() -> ShippedManifest {
        let checkpoint = checkpoint_of(3, &[("a.part", b"12345"), ("b.part", b"")]);
        let chunk = |bytes: &[u8]| ShippedChunk {
            hash: *blake3::hash(bytes).as_bytes(),
            bytes: u32::try_from(bytes.len()).unwrap(),
            bases: None,
        };
        let based = ShippedChunk { bases: Some(0), ..chunk(b"345") };
        ShippedManifest {
            device: "device".into(),
            job: "job".into(),
            incarnation: Incarnation { number: 2, id: [5; 16] },
            generation: 7,
            previous: Some([9; 32]),
            shipped_ms: 1000,
            checkpoint: checkpoint.encode(),
            files: vec![
                ShippedFile { name: "a.part".into(), chunks: vec![chunk(b"12"), based] },
                ShippedFile { name: "b.part".into(), chunks: Vec::new() },
            ],
            reached: Reached { offset: Offset(40), readings: 9, clients: vec![("c".into(), 8)] },
            bases: vec![vec![PlainChunk { hash: [3; 32], bytes: 5 }]],
            journal: Some([4; 32]),
        }
    }

    fn decode(manifest: &ShippedManifest) -> Result<Shipped, Unusable> {
        ShippedManifest::decode(&manifest.encode(&TRUST).0, &TRUST)
    }

    #[test]
    fn golden_payload() {
        let manifest = manifest();
        let mut golden = vec![6];
        golden.extend(b"device");
        golden.extend([3, b'j', b'o', b'b', 2]);
        golden.extend([5; 16]);
        golden.extend([7, 1]);
        golden.extend([9; 32]);
        golden.extend([0xD0, 0x0F]);
        let checkpoint = &manifest.checkpoint;
        assert!((128..1 << 14).contains(&checkpoint.len()), "two bytes of length");
        golden.extend([checkpoint.len() as u8 | 0x80, u8::try_from(checkpoint.len() >> 7).unwrap()]);
        golden.extend(checkpoint);
        golden.extend([2, 6]);
        golden.extend(b"a.part");
        golden.push(2);
        golden.extend(blake3::hash(b"12").as_bytes());
        golden.extend([2, 0]);
        golden.extend(blake3::hash(b"345").as_bytes());
        golden.extend([3, 1, 0, 6]);
        golden.extend(b"b.part");
        golden.push(0);
        golden.extend([40, 9, 1, 1, b'c', 8, 1, 1]);
        golden.extend([3; 32]);
        golden.extend([5, 1]);
        golden.extend([4; 32]);
        assert_eq!(postcard::to_stdvec(&manifest).unwrap(), golden);
        assert_eq!(decode(&manifest).unwrap().manifest, manifest);
    }

    #[test]
    fn one_that_contradicts_itself_is_refused() {
        type Harm = fn(&mut ShippedManifest);
        let harms: [Harm; 13] = [
            |manifest| manifest.files[0].name = "../../etc/passwd".into(),
            |manifest| manifest.files[0].name = "b.part".into(),
            |manifest| manifest.files[0].chunks[0].bytes = 3,
            |manifest| manifest.files[0].chunks[0].bytes = u32::MAX,
            |manifest| manifest.files[1].chunks.push(ShippedChunk { hash: [0; 32], bytes: 0, bases: None }),
            |manifest| manifest.files[0].chunks[0].bases = Some(1),
            |manifest| manifest.bases[0].clear(),
            |manifest| manifest.bases[0][0].bytes = u32::MAX,
            |manifest| manifest.bases[0] = vec![manifest.bases[0][0]; 5],
            |manifest| drop(manifest.files.pop()),
            |manifest| manifest.job = "other".into(),
            |manifest| manifest.checkpoint[20] ^= 1,
            |manifest| manifest.files.push(ShippedFile { name: "c.part".into(), chunks: Vec::new() }),
        ];
        for (number, harm) in harms.iter().enumerate() {
            let mut harmed = manifest();
            harm(&mut harmed);
            assert!(matches!(decode(&harmed), Err(Unusable::Contradiction(_))), "harm {number}");
        }
    }
}
