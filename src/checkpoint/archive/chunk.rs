//! Chunks: files cut where their content says, so that a change moves few cuts, and packed with zstd.
//!
//! A chunk's name is the BLAKE3 of its bytes before packing: what is on the remote already is not sent again, and what
//! comes back is checked, whoever packed it.
//!
//! Limits: a chunk has at most [`CHUNK_BYTES_MAX`] bytes, unpacking stops at the length an authenticated manifest says.

use std::io::Read;

use fastcdc::v2020::StreamCDC;
use zstd::zstd_safe::CParameter;

use super::ArchiveCipher;
use super::manifest::PlainChunk;

/// Most bytes of a chunk of any archive.
pub(crate) const CHUNK_BYTES_MAX: u32 = 4 << 20;
const ZSTD_LEVEL: i32 = 3;
/// Window of zstd, as a power of two of bytes, that spans a chunk and its bases.
const BASE_WINDOW_LOG: u32 = 22;
/// A chunk packed to less than this share of its bytes is not packed again to see whether it gains by its bases.
const WORTH_SHARE: usize = 16;

/// Separates names of chunks that are packed on others from hashes of bytes.
const BASED_CONTEXT: &str = "tidegate archive 2026-11 chunks packed on bases";

/// Where files are cut, in bytes. A write that is cut off costs at most `max` again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkSizes {
    pub(crate) min: usize,
    pub(crate) average: usize,
    pub(crate) max: usize,
}

impl ChunkSizes {
    /// Those of devices. With others everything is sent anew.
    pub(crate) const DEFAULT: Self = Self { min: 64 << 10, average: 256 << 10, max: 512 << 10 };
}

/// The chunks of what a reader gives.
pub(crate) fn cut<R: Read>(reader: R, sizes: ChunkSizes) -> StreamCDC<R> {
    StreamCDC::new(reader, sizes.min, sizes.average, sizes.max)
}

/// Most bytes a chunk of `bytes` bytes may have when packed, by any release.
pub(crate) fn packed_bytes_max(bytes: u32) -> u64 {
    u64::from(bytes) + u64::from(bytes) / 128 + 1024
}

/// Tells the packed forms of one chunk apart.
fn identity(hash: &blake3::Hash, bases: &[PlainChunk]) -> blake3::Hash {
    if bases.is_empty() {
        return *hash;
    }
    let mut hasher = blake3::Hasher::new_derive_key(BASED_CONTEXT);
    hasher.update(hash.as_bytes());
    for base in bases {
        hasher.update(&base.hash);
    }
    hasher.finalize()
}

/// How chunks are packed and named: compressed, and encrypted where there is a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Packing {
    pub(crate) cipher: Option<ArchiveCipher>,
}

impl Packing {
    /// The hash in the name of the object that holds the chunk with this hash, packed on these bases.
    pub(crate) fn object(&self, hash: &blake3::Hash, bases: &[PlainChunk]) -> blake3::Hash {
        let hash = identity(hash, bases);
        self.cipher.as_ref().map_or(hash, |cipher| cipher.name_of(&hash))
    }

    /// Packs a chunk. The same release packs the same bytes alike.
    pub(crate) fn pack(&self, bytes: &[u8], hash: &blake3::Hash) -> Vec<u8> {
        let packed = zstd::bulk::compress(bytes, ZSTD_LEVEL)
            .expect("zstd packs anything into a buffer of the bound it states");
        self.encrypted(packed, hash, &[])
    }

    /// Packs a chunk on bases whose bytes are `dictionary`; `None` where that gains little.
    pub(crate) fn pack_on(
        &self,
        bytes: &[u8],
        hash: &blake3::Hash,
        bases: &[PlainChunk],
        dictionary: &[u8],
    ) -> Option<Vec<u8>> {
        let mut compressor = zstd::bulk::Compressor::with_dictionary(ZSTD_LEVEL, dictionary).ok()?;
        compressor.set_parameter(CParameter::WindowLog(BASE_WINDOW_LOG)).ok()?;
        let packed = compressor.compress(bytes).ok()?;
        if packed.len() > bytes.len() / WORTH_SHARE {
            let alone = zstd::bulk::compress(bytes, ZSTD_LEVEL).ok()?;
            if packed.len() > alone.len() / 2 {
                return None;
            }
        }
        Some(self.encrypted(packed, hash, bases))
    }

    fn encrypted(&self, packed: Vec<u8>, hash: &blake3::Hash, bases: &[PlainChunk]) -> Vec<u8> {
        match &self.cipher {
            None => packed,
            Some(cipher) => cipher.encrypt(&packed, identity(hash, bases).as_bytes()),
        }
    }

    /// The bytes of a packed chunk, if they are those that have this length and hash.
    pub(crate) fn unpack(
        &self,
        packed: &[u8],
        bytes: u32,
        hash: &blake3::Hash,
        bases: &[PlainChunk],
        dictionary: &[u8],
    ) -> Option<Vec<u8>> {
        let decrypted = match &self.cipher {
            None => None,
            Some(cipher) => Some(cipher.decrypt(packed, identity(hash, bases).as_bytes())?),
        };
        // Fails, and stops, when there is more than `bytes`.
        let mut decompressor = match bases {
            [] => zstd::bulk::Decompressor::new(),
            _ => zstd::bulk::Decompressor::with_dictionary(dictionary),
        }
        .ok()?;
        let unpacked =
            decompressor.decompress(decrypted.as_deref().unwrap_or(packed), bytes as usize).ok()?;
        (unpacked.len() == bytes as usize && blake3::hash(&unpacked) == *hash).then_some(unpacked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that no packer makes shorter.
    fn noise(length: usize, seed: u64) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    fn unpack(packing: &Packing, packed: &[u8], bytes: u32, hash: &blake3::Hash) -> Option<Vec<u8>> {
        packing.unpack(packed, bytes, hash, &[], &[])
    }

    #[test]
    fn a_chunk_that_resembles_its_bases_is_small_and_needs_them() {
        for packing in [Packing::default(), Packing { cipher: Some(ArchiveCipher::of_test(1)) }] {
            let base = noise(300_000, 1);
            let mut bytes = base.clone();
            for at in (0..bytes.len()).step_by(3000) {
                bytes[at] ^= 1;
            }
            let hash = blake3::hash(&bytes);
            let bases = [PlainChunk { hash: *blake3::hash(&base).as_bytes(), bytes: 300_000 }];
            let packed = packing.pack_on(&bytes, &hash, &bases, &base).unwrap();
            assert!(packed.len() < 3000, "{}", packed.len());
            assert_eq!(packing.unpack(&packed, 300_000, &hash, &bases, &base), Some(bytes.clone()));
            assert_eq!(packing.unpack(&packed, 300_000, &hash, &bases, &noise(300_000, 2)), None);
            assert_eq!(packing.unpack(&packed, 300_000, &hash, &[], &[]), None);
            assert_ne!(packing.object(&hash, &bases), packing.object(&hash, &[]));
            assert_eq!(packing.pack_on(&noise(300_000, 3), &hash, &bases, &base), None, "gains nothing");
        }
    }

    #[test]
    fn packed_chunks_come_back_and_others_do_not() {
        let encrypted = Packing { cipher: Some(ArchiveCipher::of_test(1)) };
        for packing in [Packing::default(), encrypted.clone()] {
            for bytes in [Vec::new(), vec![7; 1 << 20], noise(1 << 20, 1)] {
                let hash = blake3::hash(&bytes);
                let (packed, length) = (packing.pack(&bytes, &hash), u32::try_from(bytes.len()).unwrap());
                assert!(packed.len() as u64 <= packed_bytes_max(length));
                assert_eq!(unpack(&packing, &packed, length, &hash), Some(bytes.clone()));
                assert_eq!(unpack(&packing, &packed, length + 1, &hash), None);
                assert_eq!(unpack(&packing, &packed, length, &blake3::hash(b"other")), None);
                assert_eq!(unpack(&packing, &packed[..packed.len() - 1], length, &hash), None);
            }
        }
        let hash = blake3::hash(b"x");
        assert_ne!(encrypted.object(&hash, &[]), hash, "a name does not tell what is in it");
    }

    #[test]
    fn a_bomb_is_stopped_at_the_length_it_may_have() {
        let packing = Packing::default();
        let hash = blake3::hash(&[0; 1000]);
        let bomb = packing.pack(&vec![0; 64 << 20], &hash);
        assert!(bomb.len() < 8 << 10);
        assert_eq!(unpack(&packing, &bomb, 1000, &hash), None);
    }

    #[test]
    fn an_insertion_changes_few_chunks() {
        let sizes = ChunkSizes { min: 2 << 10, average: 8 << 10, max: 32 << 10 };
        let mut bytes = noise(1 << 20, 2);
        let hashes = |bytes: &[u8]| -> std::collections::BTreeSet<[u8; 32]> {
            cut(bytes, sizes).map(|chunk| *blake3::hash(&chunk.unwrap().data).as_bytes()).collect()
        };
        let before = hashes(&bytes);
        bytes.splice(500_000..500_000, noise(100, 3));
        let after = hashes(&bytes);
        let new = after.difference(&before).count();
        assert!(before.len() > 60 && new <= 3, "{new} of {} chunks are new", after.len());
    }
}
