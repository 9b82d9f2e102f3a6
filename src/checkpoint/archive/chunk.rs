//! Chunks: files cut where their content says, so that a change moves few cuts, and packed with zstd.
//!
//! A chunk's name is the BLAKE3 of its bytes before packing: what is on the remote already is not sent again, and what
//! comes back is checked, whoever packed it.
//!
//! Limits: a chunk has at most [`CHUNK_BYTES_MAX`] bytes, unpacking stops at the length an authenticated manifest says.

use std::io::Read;

use fastcdc::v2020::StreamCDC;

use super::ArchiveCipher;

/// Most bytes of a chunk of any archive.
pub(crate) const CHUNK_BYTES_MAX: u32 = 4 << 20;
const ZSTD_LEVEL: i32 = 3;

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

/// How chunks are packed and named: compressed, and encrypted where there is a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Packing {
    pub(crate) cipher: Option<ArchiveCipher>,
}

impl Packing {
    /// The hash in the name of the object that holds the chunk with this hash.
    pub(crate) fn object(&self, hash: &blake3::Hash) -> blake3::Hash {
        self.cipher.as_ref().map_or(*hash, |cipher| cipher.name_of(hash))
    }

    /// Packs a chunk. The same release packs the same bytes alike.
    pub(crate) fn pack(&self, bytes: &[u8], hash: &blake3::Hash) -> Vec<u8> {
        let packed = zstd::bulk::compress(bytes, ZSTD_LEVEL)
            .expect("zstd packs anything into a buffer of the bound it states");
        match &self.cipher {
            None => packed,
            Some(cipher) => cipher.encrypt(&packed, hash.as_bytes()),
        }
    }

    /// The bytes of a packed chunk, if they are those that have this length and hash.
    pub(crate) fn unpack(&self, packed: &[u8], bytes: u32, hash: &blake3::Hash) -> Option<Vec<u8>> {
        let decrypted = match &self.cipher {
            None => None,
            Some(cipher) => Some(cipher.decrypt(packed, hash.as_bytes())?),
        };
        // Fails, and stops, when there is more than `bytes`.
        let unpacked = zstd::bulk::decompress(decrypted.as_deref().unwrap_or(packed), bytes as usize).ok()?;
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

    #[test]
    fn packed_chunks_come_back_and_others_do_not() {
        let encrypted = Packing { cipher: Some(ArchiveCipher::of_test(1)) };
        for packing in [Packing::default(), encrypted.clone()] {
            for bytes in [Vec::new(), vec![7; 1 << 20], noise(1 << 20, 1)] {
                let hash = blake3::hash(&bytes);
                let (packed, length) = (packing.pack(&bytes, &hash), u32::try_from(bytes.len()).unwrap());
                assert!(packed.len() as u64 <= packed_bytes_max(length));
                assert_eq!(packing.unpack(&packed, length, &hash), Some(bytes.clone()));
                assert_eq!(packing.unpack(&packed, length + 1, &hash), None);
                assert_eq!(packing.unpack(&packed, length, &blake3::hash(b"other")), None);
                assert_eq!(packing.unpack(&packed[..packed.len() - 1], length, &hash), None);
            }
        }
        let hash = blake3::hash(b"x");
        assert_ne!(encrypted.object(&hash), hash, "a name does not tell what is in it");
    }

    #[test]
    fn a_bomb_is_stopped_at_the_length_it_may_have() {
        let packing = Packing::default();
        let hash = blake3::hash(&[0; 1000]);
        let bomb = packing.pack(&vec![0; 64 << 20], &hash);
        assert!(bomb.len() < 8 << 10);
        assert_eq!(packing.unpack(&bomb, 1000, &hash), None);
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
