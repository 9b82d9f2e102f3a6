//! The manifests that are listed on a remote, and which of them a cut upload left.

use std::collections::BTreeSet;

use super::ArchiveError;
use super::error::Unusable;
use super::manifest::Shipped;
use super::paths::ManifestName;

/// A manifest, and what is wrong with it where it cannot be used.
pub(crate) type Entry = (ManifestName, Result<Shipped, ArchiveError>);

/// Of `entries`, newest first, those that a cut upload left: short, and never whole, for the one that came next was not
/// chained to it. Where nothing is whole only the first of all can be told from one that was damaged.
pub(crate) fn cut_uploads(entries: &[Entry]) -> BTreeSet<ManifestName> {
    let has_whole = entries.iter().any(|(_, read)| read.is_ok());
    let mut cut = BTreeSet::new();
    // Generation of the entry that came next, and the beginning of the seal that the next whole one is chained to.
    let mut next: Option<(u64, Option<[u8; 8]>)> = None;
    for (name, read) in entries {
        match read {
            Ok(shipped) => {
                let previous = shipped.manifest.previous.map(blake3::Hash::from_bytes);
                next = Some((name.generation, previous.map(|seal| ManifestName::new(0, 0, &seal).seal)));
            }
            Err(ArchiveError::Unusable { reason: Unusable::Torn, .. }) => {
                let was_never_whole = match next {
                    None => has_whole || name.generation == 1,
                    Some((generation, previous)) => {
                        generation == name.generation + 1 && previous != Some(name.seal)
                    }
                };
                if was_never_whole {
                    cut.insert(*name);
                }
                next = next.map(|(_, previous)| (name.generation, previous));
            }
            Err(_) => {}
        }
    }
    cut
}
