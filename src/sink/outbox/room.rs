//! What is done when the outbox is full, or outputs are old.

use std::ops::ControlFlow;

use super::block::{self, Folded, FoldedContent, FoldedEntry};
use super::error::OutboxError;
use super::id::OutputId;
use super::keys::{BLOCK_OVERHEAD_BYTES, DELIVERED, WAITING, id_of, key};
use super::queue::Outbox;
use super::settings::WhenFull;
use super::summary::Folding;
use crate::runtime::Timestamp;

/// Bytes of blocks that are folded at once, at most.
const FOLD_BYTES: u64 = 256 << 10;
/// Longest time that a summary covers, in milliseconds: a day.
const BUCKET_MS_MAX: i64 = 86_400_000;
/// Share of the limit that is made free at once, so that not every batch makes room: a sixteenth.
const ROOM_SHARE: u64 = 16;
/// Before this the wall clock was not set, 2020-01-01: such outputs have no age.
const CLOCK_IS_SET: Timestamp = Timestamp(1_577_836_800_000);

/// Whether something was freed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Freed {
    Some,
    Nothing,
}

/// One way through the blocks to fold them.
struct Pass {
    /// Milliseconds that a summary covers at most.
    bucket_ms: i64,
    from: OutputId,
}

impl Pass {
    fn begin(outbox: &Outbox) -> Self {
        Self { bucket_ms: bucket_ms(outbox), from: outbox.fold_from }
    }
}

/// Milliseconds that a summary covers at first.
fn bucket_ms(outbox: &Outbox) -> i64 {
    i64::try_from(outbox.settings.bucket.as_millis()).unwrap_or(BUCKET_MS_MAX).clamp(1, BUCKET_MS_MAX)
}

/// A block nobody has begun with.
struct Untouched {
    id: OutputId,
    value: Vec<u8>,
}

impl Untouched {
    fn bytes(&self) -> u64 {
        self.value.len() as u64 + BLOCK_OVERHEAD_BYTES
    }
}

impl Outbox {
    /// Makes room for `needed` bytes, as the policy says.
    ///
    /// # Errors
    /// [`OutboxError::Full`] when the policy is to wait, or everything is on its way out.
    pub(super) fn make_room(&mut self, needed: u64, now: Timestamp) -> Result<(), OutboxError> {
        let bytes_max = self.settings.bytes_max;
        if self.bytes + needed <= bytes_max {
            return Ok(());
        }
        self.expire(now)?;
        // More than needed, so that the next batches need not look again.
        let goal = bytes_max.saturating_sub(needed + bytes_max / ROOM_SHARE);
        while self.bytes > goal && self.remove_delivered(Timestamp::MAX)? == Freed::Some {}
        if self.settings.when_full != WhenFull::Block && self.bytes + needed > bytes_max {
            let mut pass = Pass::begin(self);
            while self.bytes > goal && self.free_waiting(&mut pass)? == Freed::Some {}
        }
        // A batch that is larger than the outbox comes in when nothing else is there.
        if self.bytes + needed > bytes_max && self.bytes > 0 {
            return Err(OutboxError::Full { bytes_max });
        }
        Ok(())
    }

    fn free_waiting(&mut self, pass: &mut Pass) -> Result<Freed, OutboxError> {
        if self.settings.when_full == WhenFull::Summarise {
            loop {
                if self.fold(pass)? == Freed::Some {
                    return Ok(Freed::Some);
                }
                if pass.bucket_ms >= BUCKET_MS_MAX {
                    break;
                }
                pass.bucket_ms = pass.bucket_ms.saturating_mul(4).min(BUCKET_MS_MAX);
                pass.from = OutputId::default();
            }
        }
        let Some(oldest) = self.oldest_untouched()? else { return Ok(Freed::Nothing) };
        let count = block::header(&oldest.value).map_or(0, |header| header.count);
        self.counts.dropped += u64::from(count);
        self.write_counts()?;
        self.drop_block(oldest.id, oldest.bytes(), count)?;
        Ok(Freed::Some)
    }

    fn oldest_untouched(&self) -> Result<Option<Untouched>, OutboxError> {
        let mut found = None;
        self.store.scan(&[WAITING], &mut |key, value| match id_of(WAITING, key) {
            Some(id) if self.open.contains_key(&id) => ControlFlow::Continue(()),
            Some(id) => {
                found = Some(Untouched { id, value: value.to_vec() });
                ControlFlow::Break(())
            }
            None => ControlFlow::Break(()),
        })?;
        Ok(found)
    }

    /// The oldest run of blocks that can be folded: not begun with, of one incarnation, not folded over this time before.
    fn foldable(&self, pass: &Pass) -> Result<Vec<Untouched>, OutboxError> {
        let (mut run, mut bytes): (Vec<Untouched>, u64) = (Vec::new(), 0);
        self.store.scan(&key(WAITING, pass.from), &mut |key, value| {
            let Some(id) = id_of(WAITING, key) else { return ControlFlow::Break(()) };
            let is_foldable = !self.open.contains_key(&id)
                && block::header(value).is_ok_and(|header| {
                    header.folded.is_none_or(|(_, bucket_ms)| bucket_ms < pass.bucket_ms)
                })
                && run.first().is_none_or(|first| first.id.incarnation == id.incarnation);
            if !is_foldable {
                return if run.is_empty() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
            }
            bytes += value.len() as u64 + BLOCK_OVERHEAD_BYTES;
            run.push(Untouched { id, value: value.to_vec() });
            if bytes >= FOLD_BYTES { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(run)
    }

    /// Folds the oldest run. The folded block takes the place of the run's first in one write, and names what it replaces:
    /// whatever of the rest a crash leaves is removed at the next start.
    fn fold(&mut self, pass: &mut Pass) -> Result<Freed, OutboxError> {
        let run = self.foldable(pass)?;
        let (Some(first), Some(last)) = (run.first(), run.last()) else { return Ok(Freed::Nothing) };
        let mut folding = Folding::new(pass.bucket_ms);
        let (mut stamp, mut through) = (Timestamp::MIN, last.id);
        let (mut bytes, mut outputs) = (0, 0);
        for untouched in &run {
            bytes += untouched.bytes();
            let Ok(header) = block::header(&untouched.value) else { continue };
            stamp = stamp.max(header.stamp);
            through = through.max(header.folded.map_or(untouched.id, |(through, _)| through));
            outputs += u64::from(header.count);
            let block = block::Block::decode(untouched.id, &untouched.value);
            let Ok(block) = block else { continue };
            for position in 0..header.count {
                let id = block.output_id(position);
                through = through.max(id);
                match block.summary(position) {
                    Some(summary) => folding.summary(id, summary),
                    None => folding.line(id, block.payload(position), header.stamp),
                }
            }
        }
        let folded_outputs = folding.folded;
        let (summaries, kept) = folding.finish();
        let summaries = summaries.into_iter().map(|(id, summary)| (id, FoldedContent::Summary(summary)));
        let kept = kept.into_iter().map(|(id, line)| (id, FoldedContent::Kept(line)));
        let mut entries: Vec<_> = summaries.chain(kept).collect();
        entries.sort_by_key(|(id, _)| *id);
        let entries: Vec<_> = entries
            .into_iter()
            .map(|(id, content)| FoldedEntry { offset: id.offset, index: id.index, content })
            .collect();
        let count = entries.len() as u64;
        let value = block::encode_folded(&Folded { through, stamp, bucket_ms: pass.bucket_ms, entries });
        let folded_bytes = value.len() as u64 + BLOCK_OVERHEAD_BYTES;
        self.counts.folded += folded_outputs;
        self.write_counts()?;
        self.store.put(&key(WAITING, first.id), &value)?;
        for untouched in run.iter().skip(1) {
            self.store.remove(&key(WAITING, untouched.id))?;
        }
        self.bytes = (self.bytes + folded_bytes).saturating_sub(bytes);
        self.waiting = (self.waiting + count).saturating_sub(outputs);
        // A run that does not shrink is passed over from now on, until the time grows.
        pass.from = OutputId { index: last.id.index.saturating_add(1), ..last.id };
        if pass.bucket_ms == bucket_ms(self) {
            self.fold_from = pass.from;
        }
        Ok(Freed::Some)
    }

    /// Drops what has waited too long, and delivered blocks that were kept long enough.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn expire(&mut self, now: Timestamp) -> Result<(), OutboxError> {
        let before = |age: std::time::Duration| {
            let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
            Timestamp(now.0.saturating_sub(age))
        };
        let kept_since = before(self.settings.retention);
        while self.remove_delivered(kept_since)? == Freed::Some {}
        let Some(age_max) = self.settings.age_max else { return Ok(()) };
        while let Some(oldest) = self.oldest_untouched()? {
            let header = block::header(&oldest.value).ok();
            let has_expired =
                header.is_some_and(|header| header.stamp < before(age_max) && header.stamp >= CLOCK_IS_SET);
            let (Some(header), true) = (header, has_expired) else { break };
            self.counts.expired += u64::from(header.count);
            self.write_counts()?;
            self.drop_block(oldest.id, oldest.bytes(), header.count)?;
        }
        Ok(())
    }

    /// Removes the oldest delivered block, if it was delivered before `before`.
    fn remove_delivered(&mut self, before: Timestamp) -> Result<Freed, OutboxError> {
        let mut found = None;
        self.store.scan(&[DELIVERED], &mut |key, value| {
            let delivered = value.first_chunk::<8>().map_or(i64::MIN, |bytes| i64::from_le_bytes(*bytes));
            found = id_of(DELIVERED, key)
                .filter(|_| Timestamp(delivered) < before)
                .map(|id| (id, value.len() as u64 + BLOCK_OVERHEAD_BYTES));
            ControlFlow::Break(())
        })?;
        let Some((id, bytes)) = found else { return Ok(Freed::Nothing) };
        self.store.remove(&key(DELIVERED, id))?;
        self.bytes = self.bytes.saturating_sub(bytes);
        Ok(Freed::Some)
    }
}
