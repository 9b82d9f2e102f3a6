//! What is removed from the remote behind a checkpoint.

use std::time::Duration;

use super::{DELETED_IN_STEP_MAX, INCARNATIONS_KEPT, Litter, Shipping, Work};
use crate::checkpoint::archive::pace::Moment;
use crate::checkpoint::archive::paths::{Incarnation, ManifestName, PieceName};
use crate::checkpoint::archive::retention::{Known, manifests_to_delete, pieces_to_delete};
use crate::checkpoint::archive::upload::ChunkIndex;
use crate::checkpoint::archive::{ArchiveError, Unusable};
use crate::remote::RemoteError;

impl Shipping {
    /// Removes manifests beyond those that are kept and, now and then, looks for chunks nothing names.
    pub(super) fn tidy(&mut self, incarnation: Incarnation, now: Moment) -> Result<(), ArchiveError> {
        let names = self.archive.manifests()?;
        self.known.retain(|name, _| names.contains(name));
        for name in &names {
            if !self.known.contains_key(name) {
                let known = match self.archive.manifest(name) {
                    Ok(shipped) => Known::Usable {
                        chunks: shipped.objects().collect(),
                        shipped_ms: shipped.manifest.shipped_ms,
                        offset: shipped.checkpoint.offset,
                    },
                    Err(ArchiveError::Unusable { reason: Unusable::Version(_), .. }) => Known::Unknown,
                    Err(ArchiveError::Unusable { reason: Unusable::Torn, .. }) => Known::Torn,
                    Err(ArchiveError::Unusable { .. }) => Known::Useless,
                    Err(error) => return Err(error),
                };
                self.known.insert(*name, known);
            }
        }
        let outdated = manifests_to_delete(&names, &self.known, self.policy.retention, incarnation.number);
        if !outdated.is_empty() && !self.check_fence(incarnation)? {
            return Ok(());
        }
        let is_all = outdated.len() <= DELETED_IN_STEP_MAX;
        for name in outdated.into_iter().take(DELETED_IN_STEP_MAX) {
            self.archive.store.delete(&self.archive.paths.manifest(&name))?;
            self.status.removed += 1;
            self.known.remove(&name);
        }
        if !is_all {
            return Ok(());
        }
        let mut litter = Litter { pieces: self.outdated_pieces(&names, incarnation)?, chunks: Vec::new() };
        self.work = Work::Nothing;
        let is_due = |at: Duration| now.monotonic.saturating_sub(at) >= self.policy.grace / 4;
        if self.collected_at.is_none_or(is_due) {
            self.collected_at = Some(now.monotonic);
            self.drop_incarnations(incarnation)?;
            let index = ChunkIndex::load(&self.archive)?;
            litter.chunks =
                self.garbage.observe(index.hashes(), &self.known, now.monotonic, self.policy.grace);
        }
        if !litter.is_empty() {
            self.work = Work::Collecting(litter);
        }
        Ok(())
    }

    /// The pieces of the journal that carry on no checkpoint that stays.
    fn outdated_pieces(
        &mut self,
        names: &[ManifestName],
        incarnation: Incarnation,
    ) -> Result<Vec<PieceName>, ArchiveError> {
        if !self.has_pieces {
            return Ok(Vec::new());
        }
        let pieces: Vec<PieceName> = match self.archive.pieces() {
            Err(error @ RemoteError::TooMany { .. }) => {
                tracing::warn!(%error, "the journal on the remote is not tidied");
                return Ok(Vec::new());
            }
            pieces => pieces?.into_iter().map(|(name, _)| name).collect(),
        };
        self.has_pieces = !pieces.is_empty();
        Ok(pieces_to_delete(&pieces, names, &self.known, self.policy.retention, incarnation.number))
    }

    fn drop_incarnations(&self, own: Incarnation) -> Result<(), ArchiveError> {
        let outdated = self.archive.incarnations()?.into_iter();
        let outdated = outdated.filter(|other| other.number < own.number.saturating_sub(INCARNATIONS_KEPT));
        for other in outdated.take(DELETED_IN_STEP_MAX) {
            self.archive.store.delete(&self.archive.paths.claim(other.number))?;
            self.archive.store.delete(&self.archive.paths.incarnation(&other))?;
        }
        Ok(())
    }

    pub(super) fn collect(&mut self, incarnation: Incarnation) -> Result<(), ArchiveError> {
        if !self.check_fence(incarnation)? {
            return Ok(());
        }
        let (Work::Collecting(litter), Some(index)) = (&mut self.work, &mut self.index) else {
            return Ok(());
        };
        for _ in 0..DELETED_IN_STEP_MAX {
            if let Some(name) = litter.pieces.last() {
                self.archive.store.delete(&self.archive.paths.piece(name))?;
                self.status.removed += 1;
                litter.pieces.pop();
                continue;
            }
            let Some(hash) = litter.chunks.last() else { break };
            // Forgotten first: were its deletion not to be seen, it would be sent again.
            index.forget(hash);
            self.archive.store.delete(&self.archive.paths.chunk(&blake3::Hash::from_bytes(*hash)))?;
            self.status.removed += 1;
            litter.chunks.pop();
        }
        if litter.is_empty() {
            self.work = Work::Nothing;
        }
        Ok(())
    }
}
