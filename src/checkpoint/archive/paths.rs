//! The names of an archive's objects. Nothing else builds or takes apart such a name.
//!
//! ```text
//! <device>/<job>/
//!   chunks/<first 2 hex digits>/<BLAKE3, 64 hex digits>     zstd of what has that hash; encrypted under a keyed hash
//!   manifests/<incarnation, 10 digits>-<generation, 20 digits>-<first 16 hex digits of the seal>
//!   incarnations/<number, 10 digits>-<id, 32 hex digits>
//!   claims/<number, 10 digits>                              the id of the incarnation that has this number
//!   journal/<incarnation, 10 digits>/<segment, 20 digits>-<last batch, 20 digits>-<seal, 16>-<seal of the one before, 16>
//! ```
//!
//! A device or job whose name is no segment (upper case, a blank) stands under its lower-case letters and a hash.

use crate::remote::{RemoteName, is_segment};
use crate::runtime::Offset;

/// Number of hexadecimal digits of a seal in a manifest's name.
const SEAL_DIGITS: usize = 16;

/// Names of one device's archive of one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ArchivePaths {
    root: RemoteName,
}

/// What a manifest's name says. Ordered oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ManifestName {
    pub(crate) incarnation: u32,
    pub(crate) generation: u64,
    /// The first 8 bytes of its seal.
    pub(crate) seal: [u8; 8],
}

/// What the name of a piece of the journal says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PieceName {
    pub(crate) incarnation: u32,
    /// The last batch in it.
    pub(crate) through: Offset,
    /// Base offset of the segment it is of.
    pub(crate) segment: Offset,
    /// The first 8 bytes of its seal.
    pub(crate) seal: [u8; 8],
    /// Those of the piece it goes on behind; zeros for the first of a run.
    pub(crate) previous: [u8; 8],
}

/// What an incarnation's name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub(crate) struct Incarnation {
    pub(crate) number: u32,
    pub(crate) id: [u8; 16],
}

impl ArchivePaths {
    pub(crate) fn new(device: &str, job: &str) -> Self {
        let root = format!("{}/{}", segment(device), segment(job));
        Self { root: RemoteName::parse(&root).expect("both are segments") }
    }

    pub(crate) fn root(&self) -> &RemoteName {
        &self.root
    }

    pub(crate) fn chunks(&self) -> RemoteName {
        self.root.join("chunks")
    }

    /// The chunk with this hash, which is keyed where chunks are encrypted (see `chunk`).
    pub(crate) fn chunk(&self, hash: &blake3::Hash) -> RemoteName {
        let hex = hash.to_hex();
        let (folder, _) = hex.split_at(2);
        self.chunks().join(folder).join(&hex)
    }

    /// The hash in a chunk's name.
    pub(crate) fn chunk_hash(&self, name: &RemoteName) -> Option<blake3::Hash> {
        let hash = blake3::Hash::from_hex(name.last()).ok()?;
        (self.chunk(&hash) == *name).then_some(hash)
    }

    pub(crate) fn manifests(&self) -> RemoteName {
        self.root.join("manifests")
    }

    pub(crate) fn manifest(&self, name: &ManifestName) -> RemoteName {
        let ManifestName { incarnation, generation, seal } = name;
        self.manifests().join(&format!("{incarnation:010}-{generation:020}-{}", hex(seal)))
    }

    pub(crate) fn manifest_name(&self, name: &RemoteName) -> Option<ManifestName> {
        let mut fields = name.last().split('-');
        let incarnation = fields.next()?.parse().ok()?;
        let generation = fields.next()?.parse().ok()?;
        let seal = from_hex(fields.next()?)?;
        let parsed = ManifestName { incarnation, generation, seal };
        (self.manifest(&parsed) == *name).then_some(parsed)
    }

    pub(crate) fn incarnations(&self) -> RemoteName {
        self.root.join("incarnations")
    }

    pub(crate) fn incarnation(&self, incarnation: &Incarnation) -> RemoteName {
        let Incarnation { number, id } = incarnation;
        self.incarnations().join(&format!("{number:010}-{}", hex(id)))
    }

    /// What an incarnation's number is claimed with.
    pub(crate) fn claim(&self, number: u32) -> RemoteName {
        self.root.join("claims").join(&format!("{number:010}"))
    }

    pub(crate) fn journal(&self) -> RemoteName {
        self.root.join("journal")
    }

    pub(crate) fn piece(&self, name: &PieceName) -> RemoteName {
        let PieceName { incarnation, through, segment, seal, previous } = name;
        let (seal, previous) = (hex(seal), hex(previous));
        let last = format!("{:020}-{:020}-{seal}-{previous}", segment.0, through.0);
        self.journal().join(&format!("{incarnation:010}")).join(&last)
    }

    pub(crate) fn piece_name(&self, name: &RemoteName) -> Option<PieceName> {
        let (folder, last) = name.parent_and_last()?;
        let mut fields = last.split('-');
        let segment = Offset(fields.next()?.parse().ok()?);
        let through = Offset(fields.next()?.parse().ok()?);
        let (seal, previous) = (from_hex(fields.next()?)?, from_hex(fields.next()?)?);
        let parsed = PieceName { incarnation: folder.parse().ok()?, through, segment, seal, previous };
        (self.piece(&parsed) == *name).then_some(parsed)
    }

    pub(crate) fn incarnation_of(&self, name: &RemoteName) -> Option<Incarnation> {
        let (number, id) = name.last().split_once('-')?;
        let parsed = Incarnation { number: number.parse().ok()?, id: from_hex(id)? };
        (self.incarnation(&parsed) == *name).then_some(parsed)
    }
}

impl ManifestName {
    pub(crate) fn new(incarnation: u32, generation: u64, seal: &blake3::Hash) -> Self {
        Self { incarnation, generation, seal: beginning(seal.as_bytes()) }
    }
}

/// What of a seal stands in names.
pub(super) fn beginning(seal: &[u8; 32]) -> [u8; SEAL_DIGITS / 2] {
    let (first, _) = seal.split_first_chunk().expect("a hash has 32 bytes");
    *first
}

/// A name as a segment of its own, the same for the same name.
fn segment(name: &str) -> String {
    if is_segment(name) && name.len() <= 40 {
        return name.to_owned();
    }
    let mut readable: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).take(24).collect();
    if readable.is_empty() {
        readable.push('x');
    }
    let hash = blake3::hash(name.as_bytes()).to_hex();
    // A plain name of this form is longer than 40 bytes, so the two cannot meet.
    format!("{readable}-{}", hash.get(..40).unwrap_or_default())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let paths = ArchivePaths::new("gateway-7", "running-average");
        let hash = blake3::hash(b"x");
        let chunk = paths.chunk(&hash);
        assert_eq!(chunk.as_str().split('/').nth(3), Some(&hash.to_hex()[..2]));
        assert_eq!(paths.chunk_hash(&chunk), Some(hash));
        let manifest = ManifestName::new(3, 17, &hash);
        let name = paths.manifest(&manifest);
        let seal = &hash.to_hex()[..16];
        assert_eq!(
            name.as_str(),
            format!("gateway-7/running-average/manifests/0000000003-00000000000000000017-{seal}")
        );
        assert_eq!(paths.manifest_name(&name), Some(manifest));
        let incarnation = Incarnation { number: 4, id: [0xAB; 16] };
        assert_eq!(paths.incarnation_of(&paths.incarnation(&incarnation)), Some(incarnation));
        let piece = PieceName {
            incarnation: u32::MAX,
            through: Offset(u64::MAX),
            segment: Offset(u64::MAX),
            seal: manifest.seal,
            previous: [0; 8],
        };
        let name = paths.piece(&piece);
        assert!(name.as_str().ends_with(&format!("-{seal}-0000000000000000")));
        assert_eq!(paths.piece_name(&name), Some(piece));
    }

    #[test]
    fn names_of_another_form_are_foreign() {
        let paths = ArchivePaths::new("a", "b");
        for last in ["1-2-3", "0000000001-00000000000000000001-00000000000000zz", "readme.txt", "0"] {
            let name = paths.manifests().join(last);
            assert_eq!(paths.manifest_name(&name), None, "{last}");
            assert_eq!(paths.incarnation_of(&name), None, "{last}");
            assert_eq!(paths.chunk_hash(&name), None, "{last}");
            assert_eq!(paths.piece_name(&paths.journal().join("0000000001").join(last)), None, "{last}");
        }
        let hash = blake3::hash(b"x");
        let elsewhere = paths.chunks().join("zz").join(&hash.to_hex());
        assert_eq!(paths.chunk_hash(&elsewhere), None, "a chunk in the wrong folder");
    }

    #[test]
    fn different_names_have_different_folders() {
        let names = ["a", "A", "a b", "ab", "../x", "", "ä", &"x".repeat(41), &"x".repeat(42)];
        let folders: std::collections::BTreeSet<_> =
            names.iter().map(|name| ArchivePaths::new(name, "job").root).collect();
        assert_eq!(folders.len(), names.len());
    }
}
