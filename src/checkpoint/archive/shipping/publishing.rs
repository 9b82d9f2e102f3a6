//! From a checkpoint that waits to its manifest on the remote.

use std::collections::BTreeSet;

use super::{Chain, Publication, Shipping, Work};
use crate::checkpoint::archive::ArchiveError;
use crate::checkpoint::archive::base::Previous;
use crate::checkpoint::archive::journal_shipping::{JournalShipping, OwnManifest};
use crate::checkpoint::archive::manifest::{PlainChunk, ShippedChunk, ShippedManifest};
use crate::checkpoint::archive::pace::Moment;
use crate::checkpoint::archive::paths::{Incarnation, ManifestName};
use crate::checkpoint::archive::retention::Known;
use crate::checkpoint::archive::upload::{Advance, Cutter, Upload};
use crate::checkpoint::{Manifest, Reached};

impl Shipping {
    /// Takes the checkpoint that waits, unless it is on the remote already.
    pub(super) fn begin(&mut self) {
        let Some(checkpoint) = self.pins.take() else { return };
        if let Some(chain) = &self.chain
            && let Some(seal) = chain.previous
            && chain.checkpoint == checkpoint.encode()
        {
            self.own = Some(OwnManifest { seal, offset: checkpoint.offset, readings: checkpoint.readings });
            return self.pins.release();
        }
        let previous = self.chain.as_ref().and_then(|chain| {
            let (manifest, checkpoint) =
                (chain.manifest.as_ref()?, Manifest::decode(&chain.checkpoint).ok()?);
            Some(Previous::of(manifest, &checkpoint))
        });
        let upload = Upload::new(checkpoint, self.archive.packing(), previous.unwrap_or_default());
        self.work = Work::Uploading(Box::new(upload));
    }

    pub(super) fn upload(&mut self, incarnation: Incarnation, now: Moment) -> Result<(), ArchiveError> {
        let (Work::Uploading(upload), Some(index), Some(chain)) =
            (&mut self.work, &mut self.index, &self.chain)
        else {
            return Ok(());
        };
        let cutter = Cutter {
            disk: &*self.disk,
            parts: &self.parts,
            bases: &self.bases,
            sizes: self.policy.sizes,
            verification: self.policy.verification,
        };
        if upload.advance(&self.archive, index, cutter)? == Advance::More {
            return Ok(());
        }
        let sent_bytes = upload.take_sent_bytes();
        let Work::Uploading(upload) = std::mem::replace(&mut self.work, Work::Nothing) else { return Ok(()) };
        let (checkpoint, files, bases) = upload.into_files();
        let manifest = ShippedManifest {
            device: self.archive.device.clone(),
            job: self.archive.job.clone(),
            incarnation,
            generation: chain.generation + 1,
            previous: chain.previous,
            shipped_ms: now.wall_ms,
            checkpoint: checkpoint.encode(),
            files,
            bases,
            reached: self.pins.reached().unwrap_or_else(|| Reached::of(&checkpoint)),
            journal: self.journal.as_ref().and_then(JournalShipping::tip_seal),
        };
        let (bytes, seal) = manifest.encode(&self.archive.trust);
        let name = ManifestName::new(incarnation.number, manifest.generation, &seal);
        let (id, offset, readings) = (checkpoint.id, checkpoint.offset, checkpoint.readings);
        let publication = Publication { name, bytes, seal, manifest, id, offset, readings };
        self.work = Work::Publishing(Box::new(publication));
        self.count_sent(sent_bytes, now);
        Ok(())
    }

    pub(super) fn publish(&mut self, incarnation: Incarnation, now: Moment) -> Result<(), ArchiveError> {
        if !self.check_fence(incarnation)? {
            return Ok(());
        }
        let Work::Publishing(publication) = &self.work else { return Ok(()) };
        self.archive.put_verified(&self.archive.paths.manifest(&publication.name), &publication.bytes)?;
        let Work::Publishing(publication) = std::mem::replace(&mut self.work, Work::Tidying) else {
            return Ok(());
        };
        self.pins.release();
        let Publication { name, bytes, seal, manifest, id, offset, readings } = *publication;
        self.count_sent(bytes.len() as u64, now);
        let packing = self.archive.packing();
        let chunks = manifest.objects(&packing).collect();
        self.bases.retain(&bases_in(&manifest));
        self.known.insert(name, Known::Usable { chunks, shipped_ms: manifest.shipped_ms, offset });
        self.own = Some(OwnManifest { seal: *seal.as_bytes(), offset, readings });
        let generation = manifest.generation;
        self.chain = Some(Chain {
            generation,
            previous: Some(*seal.as_bytes()),
            checkpoint: manifest.checkpoint.clone(),
            manifest: Some(Box::new(manifest)),
            readings,
        });
        self.status.shipped += 1;
        self.status.newest = Some(id);
        self.next_upload_at = now.monotonic + self.policy.interval;
        self.behind_since = self.pins.is_waiting().then_some(now.monotonic);
        tracing::info!(
            checkpoint = %id, generation, sent_bytes = self.status.sent_bytes, skipped = self.pins.skipped(),
            "checkpoint shipped"
        );
        // Only now: a mark that is ahead of the remote would look like a remote that was set back.
        self.mark.see(incarnation.number, generation);
        self.mark.note_shipped(id);
        self.write_mark()
    }
}

/// The chunks of a manifest that are packed by themselves.
fn bases_in(manifest: &ShippedManifest) -> BTreeSet<PlainChunk> {
    let own = manifest.chunks().filter(|chunk| chunk.bases.is_none()).map(ShippedChunk::plain);
    own.chain(manifest.bases.iter().flatten().copied()).collect()
}
