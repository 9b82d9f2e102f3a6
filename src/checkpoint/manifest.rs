//! The manifest: what a checkpoint consists of. It is published last, so a checkpoint is whole or invisible.
//!
//! This is the normative description of the format.
//!
//! Layout, little-endian:
//!   magic          [u8; 8]   // "TGMANIF\0"
//!   version        u16       // 2; 3 with message sessions
//!   payload_bytes  u32       // 1..=16 MiB
//!   payload        postcard Manifest; in version 3 behind it postcard of its sessions
//!   hash           [u8; 32]  // BLAKE3 of all bytes before it; last in every version

use serde::{Deserialize, Serialize};

use super::CheckpointId;
use crate::mqtt::ReceivedIds;
use crate::runtime::{Offset, Timestamp};
use crate::state::GroupBytes;

const MAGIC: [u8; 8] = *b"TGMANIF\0";
const VERSION: u16 = 2;
const VERSION_WITH_SESSIONS: u16 = 3;
const PREFIX_BYTES: usize = 14;
const HASH_BYTES: usize = 32;

/// Longest manifest, in bytes; checked before anything is allocated.
pub(crate) const MANIFEST_BYTES_MAX: u64 = 16 << 20;

/// A checkpoint's contents and position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) id: CheckpointId,
    /// First checkpoint since the job was last started empty.
    pub(crate) lineage: CheckpointId,
    pub(crate) job: String,
    /// The state is as it was after this batch.
    pub(crate) offset: Offset,
    /// Processing time of that batch.
    pub(crate) stamp: Timestamp,
    /// Readings sealed into batches up to and with `offset`, over the job's whole life.
    pub(crate) readings: u64,
    /// Subtasks of each stage.
    pub(crate) parallelism: u32,
    pub(crate) parts: Vec<PartEntry>,
    pub(crate) sinks: Vec<SinkPosition>,
    /// Lines taken from each client that asked for acknowledgements.
    pub(crate) clients: Vec<(String, u64)>,
    /// The messages each MQTT session may get again.
    #[serde(skip)]
    pub(crate) sessions: Vec<(String, ReceivedIds)>,
}

/// One state part of a checkpoint. Another checkpoint may have written it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartEntry {
    /// File name; see [`is_part_name`].
    pub(crate) name: String,
    pub(crate) operator: String,
    /// The key groups whose state it holds, ascending; what it may hold of other groups is old.
    pub(crate) groups: Vec<GroupBytes>,
    /// Whether the operator lists in it count.
    pub(crate) has_lists: bool,
    pub(crate) bytes: u64,
    /// BLAKE3 of the part.
    pub(crate) hash: [u8; 32],
    /// The files that hold the entries of its groups, where those are not in the part.
    pub(crate) store: Option<StoreEntry>,
}

/// A store whose files belong to a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoreEntry {
    /// Name of the backend.
    pub(crate) kind: String,
    /// A table of one name has the same contents as long as the identity is the same.
    pub(crate) identity: u64,
    pub(crate) keys: u64,
    pub(crate) files: Vec<FileEntry>,
}

/// One file of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileEntry {
    /// Its name in the store's directory; as for parts, see [`is_file_name`].
    pub(crate) file: String,
    /// Its name among the parts.
    pub(crate) name: String,
    /// Whether it is never written to again.
    pub(crate) is_table: bool,
    pub(crate) bytes: u64,
    /// BLAKE3 of the file.
    pub(crate) hash: [u8; 32],
}

impl PartEntry {
    /// Number of keys it holds.
    pub(crate) fn keys(&self) -> u64 {
        let in_part = self.groups.iter().fold(0, |keys: u64, group| keys.saturating_add(group.keys));
        in_part.saturating_add(self.store.as_ref().map_or(0, |store| store.keys))
    }

    /// Bytes of it and its files.
    pub(crate) fn total_bytes(&self) -> u64 {
        let files = self.store.iter().flat_map(|store| &store.files);
        files.fold(self.bytes, |bytes, file| bytes.saturating_add(file.bytes))
    }

    /// Names among the parts, of it and its files.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let files = self.store.iter().flat_map(|store| &store.files);
        std::iter::once(self.name.as_str()).chain(files.map(|file| file.name.as_str()))
    }

    fn is_well_named(&self) -> bool {
        let files = self.store.iter().flat_map(|store| &store.files);
        self.names().all(is_part_name) && files.map(|file| file.file.as_str()).all(is_file_name)
    }
}

/// How far a sink had delivered when the barrier passed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SinkPosition {
    pub(crate) sink: String,
    /// Results of batches up to this one are delivered; never before the manifest's offset.
    pub(crate) delivered: Offset,
    /// Length of what it writes to, in bytes, where that has one.
    pub(crate) bytes: u64,
}

/// Why bytes are not a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ManifestError {
    #[error("not a tidegate manifest")]
    Foreign,
    #[error("manifest format version {0} is unknown to this release")]
    Version(u16),
    #[error("manifest is cut short or damaged")]
    Damaged,
}

impl Manifest {
    pub(crate) fn key_count(&self) -> u64 {
        self.parts.iter().fold(0, |keys, part| keys.saturating_add(part.keys()))
    }

    pub(crate) fn state_bytes(&self) -> u64 {
        self.parts.iter().fold(0, |bytes, part| bytes.saturating_add(part.total_bytes()))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut payload = postcard::to_stdvec(self).expect("a manifest is plain data");
        let mut version = VERSION;
        if !self.sessions.is_empty() {
            version = VERSION_WITH_SESSIONS;
            payload = postcard::to_extend(&self.sessions, payload).expect("sessions are plain data");
        }
        let payload_bytes = u32::try_from(payload.len()).expect("a manifest is below 16 MiB");
        let mut bytes = Vec::with_capacity(PREFIX_BYTES + payload.len() + HASH_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&version.to_le_bytes());
        bytes.extend_from_slice(&payload_bytes.to_le_bytes());
        bytes.extend_from_slice(&payload);
        let hash = blake3::hash(&bytes);
        bytes.extend_from_slice(hash.as_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let (magic, rest) = bytes.split_first_chunk::<8>().ok_or(ManifestError::Foreign)?;
        if *magic != MAGIC {
            return Err(ManifestError::Foreign);
        }
        // The hash comes last in every version, so a damaged version number is told from another release's.
        let (covered, hash) = bytes.split_last_chunk::<HASH_BYTES>().ok_or(ManifestError::Damaged)?;
        if blake3::hash(covered) != *hash {
            return Err(ManifestError::Damaged);
        }
        let (version, rest) = rest.split_first_chunk::<2>().ok_or(ManifestError::Damaged)?;
        let version = u16::from_le_bytes(*version);
        if version != VERSION && version != VERSION_WITH_SESSIONS {
            return Err(ManifestError::Version(version));
        }
        let (length, rest) = rest.split_first_chunk::<4>().ok_or(ManifestError::Damaged)?;
        let (payload, _) = rest.split_last_chunk::<HASH_BYTES>().ok_or(ManifestError::Damaged)?;
        if payload.len() != u32::from_le_bytes(*length) as usize {
            return Err(ManifestError::Damaged);
        }
        let (mut manifest, rest): (Self, _) =
            postcard::take_from_bytes(payload).map_err(|_| ManifestError::Damaged)?;
        if version == VERSION_WITH_SESSIONS {
            manifest.sessions = postcard::from_bytes(rest).map_err(|_| ManifestError::Damaged)?;
        }
        if manifest.parts.iter().all(PartEntry::is_well_named) {
            Ok(manifest)
        } else {
            Err(ManifestError::Damaged)
        }
    }
}

/// True for a name a part may have: 1..=80 of `a-z 0-9 . _ -`, not starting with a dot, dash or underscore.
pub(crate) fn is_part_name(name: &str) -> bool {
    let starts_well =
        name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-');
    starts_well && name.len() <= 80 && name.bytes().all(allowed)
}

/// True for a name a file of a store may have: 1..=80 of `A-Z a-z 0-9 . _ -`, not starting with a dot.
pub(crate) fn is_file_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !name.is_empty() && !name.starts_with('.') && name.len() <= 80 && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::{Event, Qos};

    fn manifest() -> Manifest {
        Manifest {
            id: CheckpointId(3),
            lineage: CheckpointId(1),
            job: "job".into(),
            offset: Offset(9),
            stamp: Timestamp(1000),
            readings: 70,
            parallelism: 2,
            parts: vec![PartEntry {
                name: "p-1".into(),
                operator: "average".into(),
                groups: vec![GroupBytes { group: 1, keys: 2, bytes: 3 }],
                has_lists: true,
                bytes: 5,
                hash: [7; 32],
                store: Some(StoreEntry {
                    kind: "r".into(),
                    identity: 6,
                    keys: 1,
                    files: vec![FileEntry {
                        file: "A".into(),
                        name: "a".into(),
                        is_table: true,
                        bytes: 8,
                        hash: [9; 32],
                    }],
                }),
            }],
            sinks: vec![SinkPosition { sink: "print".into(), delivered: Offset(9), bytes: 4 }],
            clients: vec![("c".into(), 5)],
            sessions: Vec::new(),
        }
    }

    #[test]
    fn golden_bytes() {
        let bytes = manifest().encode();
        let mut golden = b"TGMANIF\0".to_vec();
        golden.extend([2, 0, 119, 0, 0, 0]);
        golden.extend([3, 1, 3, b'j', b'o', b'b', 9, 0xD0, 0x0F, 70, 2]);
        golden.extend([1, 3, b'p', b'-', b'1', 7]);
        golden.extend(b"average");
        golden.extend([1, 1, 2, 3, 1, 5]);
        golden.extend([7; 32]);
        golden.extend([1, 1, b'r', 6, 1, 1, 1, b'A', 1, b'a', 1, 8]);
        golden.extend([9; 32]);
        golden.extend([1, 5]);
        golden.extend(b"print");
        golden.extend([9, 4, 1, 1, b'c', 5]);
        golden.extend(blake3::hash(&golden).as_bytes());
        assert_eq!(bytes, golden);
        assert_eq!(Manifest::decode(&bytes), Ok(manifest()));
    }

    #[test]
    fn sessions_are_in_a_version_of_their_own() {
        let mut ids = ReceivedIds::default();
        ids.apply(Event::Received { qos: Qos::ExactlyOnce, packet_id: 5, hash: 6 });
        let manifest = Manifest { sessions: vec![("s".into(), ids)], ..manifest() };
        let bytes = manifest.encode();
        assert_eq!(bytes[8..10], [3, 0]);
        assert!(bytes[..bytes.len() - HASH_BYTES].ends_with(&[1, 1, b's', 0, 1, 5, 6, 0]));
        assert_eq!(Manifest::decode(&bytes), Ok(manifest));
    }

    #[test]
    fn every_flip_and_cut_is_detected() {
        let bytes = manifest().encode();
        for position in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[position] ^= 1;
            assert!(Manifest::decode(&flipped).is_err(), "flip at {position}");
            assert!(Manifest::decode(&bytes[..position]).is_err(), "cut to {position}");
        }
    }

    #[test]
    fn a_part_name_cannot_leave_its_directory() {
        for name in ["", ".", "..", "../x", "a/b", "/a", "A", "-a", "a\0", &"a".repeat(81)] {
            assert!(!is_part_name(name), "{name:?}");
        }
        assert!(is_part_name("00000000000000000001-0-average.part"));
    }
}
