//! A piece of the journal: some batches, shipped ahead of the checkpoint that will hold them.
//!
//! This is the normative description of what is inside the sealed object (see `sealed`): postcard of [`ShippedPiece`]. It
//! holds an excerpt of a segment, byte for byte (see `journal::excerpt`).
//!
//! Why pieces of the segment that is written, and not segments sealed early: a roll costs the writer a new preallocated
//! file and two syncs each time and leaves the device many small segments; a piece costs it nothing, the intake does not
//! know of it. And the bytes need no second format: what is restored is the beginning of the segment that was.
//!
//! Pieces of a run are chained: each names the seal of the one before it. A run goes on across restarts, and on a
//! replacement, where the journal there holds what the last piece holds (the hash says so); otherwise a new run begins at
//! the beginning of a segment.
//!
//! Limits: an object has at most [`PIECE_BYTES_MAX`] bytes and unpacks to at most `EXCERPT_BYTES_MAX`.

use serde::{Deserialize, Serialize};

use super::error::Unusable;
use super::paths::{Incarnation, PieceName, beginning};
use super::sealed::{self, Kind};
use super::{Archive, ArchiveError, Trust};
use crate::checkpoint::CheckpointId;
use crate::journal::{EXCERPT_BYTES_MAX, Excerpt};
use crate::remote::RemoteError;
use crate::runtime::Offset;

/// Longest object, in bytes.
pub(crate) const PIECE_BYTES_MAX: u64 = EXCERPT_BYTES_MAX as u64 + (2 << 20);
/// Most pieces that are looked at: four days of one each two seconds.
pub(crate) const PIECES_MAX: usize = 1 << 18;
const ZSTD_LEVEL: i32 = 3;

/// Some batches on a remote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShippedPiece {
    pub(crate) device: String,
    pub(crate) job: String,
    /// Who shipped it.
    pub(crate) incarnation: Incarnation,
    /// The history its batches belong to.
    pub(crate) lineage: CheckpointId,
    /// The seal of the piece it goes on behind; `None` for the first of a run, which begins a segment.
    pub(crate) previous: Option<[u8; 32]>,
    /// The seal of a manifest of the same history.
    pub(crate) behind: [u8; 32],
    /// Wall clock of the device when it was made, in milliseconds since 1970.
    pub(crate) shipped_ms: i64,
    /// Base offset of the segment it is of.
    pub(crate) segment: Offset,
    /// Its first byte in the segment.
    pub(crate) position: u64,
    /// Its length before packing.
    pub(crate) bytes: u32,
    /// BLAKE3 of the segment up to its end.
    pub(crate) hash: [u8; 32],
    /// Its last batch.
    pub(crate) through: Offset,
    /// Readings up to and with that, over the job's whole life.
    pub(crate) readings: u64,
    /// The last line in it of each client that asked for acknowledgements.
    pub(crate) clients: Vec<(String, u64)>,
    /// Its records, packed with zstd.
    pub(crate) packed: Vec<u8>,
}

/// A piece that was read and found good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) shipped: ShippedPiece,
    pub(crate) seal: [u8; 32],
    /// Its records.
    pub(crate) records: Vec<u8>,
}

impl Piece {
    /// The byte of the segment behind it.
    pub(crate) fn end(&self) -> u64 {
        self.shipped.position.saturating_add(u64::from(self.shipped.bytes))
    }
}

impl ShippedPiece {
    /// The records of `excerpt`, packed, and their length.
    pub(crate) fn pack(excerpt: &Excerpt) -> (Vec<u8>, u32) {
        let packed = zstd::bulk::compress(&excerpt.bytes, ZSTD_LEVEL)
            .expect("zstd packs anything into a buffer of the bound it states");
        (packed, u32::try_from(excerpt.bytes.len()).expect("an excerpt is below 65 MiB"))
    }

    /// The object, its name and its seal.
    pub(crate) fn encode(&self, trust: &Trust) -> (PieceName, Vec<u8>, [u8; 32]) {
        let payload = postcard::to_stdvec(self).expect("a piece is plain data");
        let (bytes, seal) = sealed::seal(Kind::Piece, &payload, trust);
        (self.name(seal.as_bytes()), bytes, *seal.as_bytes())
    }

    fn name(&self, seal: &[u8; 32]) -> PieceName {
        PieceName {
            incarnation: self.incarnation.number,
            through: self.through,
            segment: self.segment,
            seal: beginning(seal),
            previous: self.previous.as_ref().map(beginning).unwrap_or_default(),
        }
    }

    fn decode(bytes: &[u8], trust: &Trust) -> Result<Piece, Unusable> {
        let opened = sealed::open(Kind::Piece, bytes, trust)?;
        let shipped: Self = postcard::from_bytes(&opened.payload).map_err(|_| Unusable::Damaged)?;
        let length = usize::try_from(shipped.bytes).unwrap_or(usize::MAX);
        if length > EXCERPT_BYTES_MAX {
            return Err(Unusable::Contradiction("it is too long"));
        }
        // Fails, and stops, when there is more than it says.
        let records = zstd::bulk::decompress(&shipped.packed, length).ok();
        let records = records.filter(|records| records.len() == length);
        let records = records.ok_or(Unusable::Contradiction("its records do not unpack"))?;
        Ok(Piece { shipped, seal: *opened.seal.as_bytes(), records })
    }
}

impl Archive {
    /// The names of the pieces of the journal, in no order.
    ///
    /// # Errors
    /// The remote's.
    pub(crate) fn pieces(&self) -> Result<Vec<(PieceName, u64)>, RemoteError> {
        let listed = self.store.list(&self.paths.journal(), PIECES_MAX)?;
        let named = |listed: &crate::remote::Listed| {
            self.paths.piece_name(&listed.name).map(|name| (name, listed.bytes))
        };
        Ok(listed.iter().filter_map(named).collect())
    }

    /// A piece, authenticated and consistent with its name.
    ///
    /// # Errors
    /// [`ArchiveError::Unusable`] when the journal ends before it, and the remote's.
    pub(crate) fn piece(&self, name: &PieceName) -> Result<Piece, ArchiveError> {
        let path = self.paths.piece(name);
        let unusable = |reason| ArchiveError::unusable(&path, reason);
        let bytes = match self.store.get(&path, PIECE_BYTES_MAX) {
            Err(RemoteError::TooLong { .. }) => {
                return Err(unusable(Unusable::Contradiction("it is too long")));
            }
            bytes => bytes?,
        };
        let piece = ShippedPiece::decode(&bytes, &self.trust).map_err(unusable)?;
        let ShippedPiece { device, job, .. } = &piece.shipped;
        if *device != self.device || *job != self.job {
            return Err(unusable(Unusable::Elsewhere { device: device.clone(), job: job.clone() }));
        }
        if piece.shipped.name(&piece.seal) != *name {
            return Err(unusable(Unusable::Contradiction("it stands under another's name")));
        }
        Ok(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_payload() {
        let records = b"records".to_vec();
        let packed = zstd::bulk::compress(&records, ZSTD_LEVEL).unwrap();
        let shipped = ShippedPiece {
            device: "device".into(),
            job: "job".into(),
            incarnation: Incarnation { number: 2, id: [5; 16] },
            lineage: CheckpointId(6),
            previous: Some([9; 32]),
            behind: [8; 32],
            shipped_ms: 1000,
            segment: Offset(11),
            position: 72,
            bytes: 7,
            hash: [7; 32],
            through: Offset(40),
            readings: 9,
            clients: vec![("c".into(), 8)],
            packed: packed.clone(),
        };
        let mut golden = vec![6];
        golden.extend(b"device");
        golden.extend([3, b'j', b'o', b'b', 2]);
        golden.extend([5; 16]);
        golden.extend([6, 1]);
        golden.extend([9; 32]);
        golden.extend([8; 32]);
        golden.extend([0xD0, 0x0F, 11, 72, 7]);
        golden.extend([7; 32]);
        golden.extend([40, 9, 1, 1, b'c', 8, u8::try_from(packed.len()).unwrap()]);
        golden.extend(packed);
        assert_eq!(postcard::to_stdvec(&shipped).unwrap(), golden);
        let trust = Trust { key: None, allow_unsigned: true, cipher: None };
        let (name, bytes, seal) = shipped.encode(&trust);
        assert_eq!((name.through, name.previous), (Offset(40), [9; 8]));
        assert_eq!(ShippedPiece::decode(&bytes, &trust), Ok(Piece { shipped, seal, records }));
    }

    #[test]
    fn a_bomb_and_a_lying_length_are_refused() {
        let trust = Trust { key: None, allow_unsigned: true, cipher: None };
        let shipped = |bytes, unpacked| ShippedPiece {
            device: "device".into(),
            job: "job".into(),
            incarnation: Incarnation { number: 1, id: [0; 16] },
            lineage: CheckpointId(1),
            previous: None,
            behind: [0; 32],
            shipped_ms: 0,
            segment: Offset(1),
            position: 0,
            bytes,
            hash: [0; 32],
            through: Offset(1),
            readings: 0,
            clients: Vec::new(),
            packed: zstd::bulk::compress(&vec![0; unpacked], ZSTD_LEVEL).unwrap(),
        };
        for (bytes, unpacked) in [(1000, 64 << 20), (1000, 999), (u32::MAX, 1000)] {
            let (_, object, _) = shipped(bytes, unpacked).encode(&trust);
            let refused = ShippedPiece::decode(&object, &trust);
            assert!(matches!(refused, Err(Unusable::Contradiction(_))), "{bytes} {unpacked}: {refused:?}");
        }
    }
}
