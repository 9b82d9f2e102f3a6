//! What comes into an outbox, what goes out, and what is done with.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::block::{self, Block};
use super::error::OutboxError;
use super::id::{Incarnation, OutputId};
use super::keys::{
    ADMITTED, BLOCK_OVERHEAD_BYTES, COUNTS, DELIVERED, PROGRESS, WAITING, id_of, in_flight_key, key,
};
use super::output::{Counts, InFlight, Lane, OpenBlock, Output, Phase, Ticket};
use super::settings::OutboxSettings;
use super::store::OutboxStore;
use crate::runtime::{Offset, Timestamp};

#[derive(Debug, Default)]
pub(super) struct LaneState {
    /// Where the next block is looked for.
    from: OutputId,
    current: Option<OutputId>,
}

/// Outputs that wait. See the module.
pub(crate) struct Outbox {
    pub(super) store: Arc<dyn OutboxStore>,
    pub(super) settings: OutboxSettings,
    pub(super) incarnation: Incarnation,
    /// The last batch that came in whole.
    pub(super) admitted: Offset,
    /// The same, as the store tells it: batches without outputs leave nothing there by themselves.
    pub(super) recorded: Offset,
    /// Of all blocks, also delivered ones.
    pub(super) bytes: u64,
    /// Outputs not done with.
    pub(super) waiting: u64,
    pub(super) counts: Counts,
    pub(super) open: BTreeMap<OutputId, OpenBlock>,
    /// First id that is not of the backlog.
    pub(super) boundary: OutputId,
    pub(super) backlog: LaneState,
    pub(super) live: LaneState,
    pub(super) in_flight: Vec<InFlight>,
    /// Outputs delivered since the job began.
    pub(super) delivered: u64,
    /// Blocks before this one need not be looked at to fold over the least time.
    pub(super) fold_from: OutputId,
}

impl Outbox {
    /// Removes a block's entries whatever they are.
    pub(super) fn forget(&self, id: OutputId) -> io::Result<()> {
        self.store.remove(&key(WAITING, id))?;
        self.store.remove(&key(PROGRESS, id))
    }

    /// The last batch that came in whole, of this incarnation.
    pub(crate) fn admitted(&self) -> Offset {
        self.admitted
    }

    /// Outputs not delivered yet.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting
    }

    /// What the outbox takes, by its own count.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Outputs delivered since the job began.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// When the outputs that wait longest came in.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn oldest(&self) -> Result<Option<Timestamp>, OutboxError> {
        let mut found = None;
        self.store.scan(&[WAITING], &mut |key, value| {
            if id_of(WAITING, key).is_some() {
                found = block::header(value).ok().map(|header| header.stamp);
            }
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    pub(crate) fn store(&self) -> Arc<dyn OutboxStore> {
        Arc::clone(&self.store)
    }

    /// Takes in the outputs of a batch.
    ///
    /// # Errors
    /// [`OutboxError::Full`] when they must wait; then nothing of them is in here.
    pub(crate) fn admit(
        &mut self,
        offset: Offset,
        results: &[u8],
        now: Timestamp,
    ) -> Result<(), OutboxError> {
        if results.is_empty() || offset <= self.admitted {
            self.admitted = self.admitted.max(offset);
            return Ok(());
        }
        let blocks = block::split(results).count() as u64;
        // 19: what a block's value has before its lines.
        self.make_room(results.len() as u64 + blocks * (BLOCK_OVERHEAD_BYTES + 19), now)?;
        self.put_blocks(offset, results, now)?;
        (self.admitted, self.recorded) = (offset, offset);
        Ok(())
    }

    /// Lets the store tell through which batch all came in, also where the last ones had no outputs.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn record_admitted(&mut self) -> Result<(), OutboxError> {
        if self.recorded < self.admitted { self.write_admitted() } else { Ok(()) }
    }

    fn put_blocks(&mut self, offset: Offset, results: &[u8], stamp: Timestamp) -> Result<(), OutboxError> {
        let mut index = 0;
        for (lines, count, is_last) in block::split(results) {
            let value = block::encode_lines(lines, count, stamp, is_last);
            let id = OutputId { incarnation: self.incarnation, offset, index };
            self.store.put(&key(WAITING, id), &value)?;
            self.bytes += value.len() as u64 + BLOCK_OVERHEAD_BYTES;
            self.waiting += u64::from(count);
            index += count;
        }
        Ok(())
    }

    /// A connection begins: what waits now is the backlog.
    pub(crate) fn split_lanes(&mut self) {
        self.boundary = OutputId { incarnation: self.incarnation, offset: self.admitted.next(), index: 0 };
        self.backlog = LaneState::default();
        self.live = LaneState { from: self.boundary, current: None };
        self.open.retain(|_, open| open.taken > 0);
    }

    /// The next output of a lane.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn take(&mut self, lane: Lane) -> Result<Option<Output>, OutboxError> {
        let Some(id) = self.next_block(lane)? else { return Ok(None) };
        let open = self.open.get_mut(&id).expect("the lane's block is open");
        let position = open.taken;
        open.taken += 1;
        open.pending.insert(position);
        Ok(Some(Output { block: Arc::clone(&open.block), position }))
    }

    /// The block the next output of a lane is in; opens it.
    fn next_block(&mut self, lane: Lane) -> Result<Option<OutputId>, OutboxError> {
        let until = match lane {
            Lane::Backlog => self.boundary,
            // A batch that is just coming in is not to be seen; it does so under the same lock.
            Lane::Live => OutputId { incarnation: Incarnation(u64::MAX), ..OutputId::default() },
        };
        loop {
            let state = match lane {
                Lane::Backlog => &mut self.backlog,
                Lane::Live => &mut self.live,
            };
            if let Some(current) = state.current {
                if self.open.get(&current).is_some_and(|open| open.taken < open.block.header.count) {
                    return Ok(Some(current));
                }
                state.from = OutputId { index: current.index.saturating_add(1), ..current };
                state.current = None;
            }
            let mut found = None;
            self.store.scan(&key(WAITING, state.from), &mut |key, value| {
                found = id_of(WAITING, key).filter(|id| *id < until).map(|id| (id, value.to_vec()));
                ControlFlow::Break(())
            })?;
            let Some((id, value)) = found else { return Ok(None) };
            state.current = Some(id);
            if self.open.contains_key(&id) {
                continue;
            }
            match Block::decode(id, &value) {
                Ok(block) => {
                    let bytes = value.len() as u64 + BLOCK_OVERHEAD_BYTES;
                    self.open.insert(id, OpenBlock::new(Arc::new(block), 0, bytes));
                }
                Err(cause) => {
                    tracing::error!(block = %id, %cause, "outputs in the outbox are damaged: they are lost");
                    self.counts.damaged_blocks += 1;
                    self.write_counts()?;
                    self.bytes = self.bytes.saturating_sub(value.len() as u64 + BLOCK_OVERHEAD_BYTES);
                    self.forget(id)?;
                }
            }
        }
    }

    /// An output is done with: delivered, or refused for good.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn done(&mut self, ticket: Ticket, now: Timestamp) -> Result<(), OutboxError> {
        let Some(open) = self.open.get_mut(&ticket.block) else { return Ok(()) };
        if !open.pending.remove(&ticket.position) {
            return Ok(());
        }
        self.delivered += 1;
        open.is_dirty = true;
        self.waiting -= 1;
        if open.is_done() {
            self.remove_block(ticket.block, Some(now))?;
        }
        Ok(())
    }

    /// An output was refused by the broker for good.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn refused(&mut self, ticket: Ticket, now: Timestamp) -> Result<(), OutboxError> {
        self.counts.refused += 1;
        self.write_counts()?;
        let delivered = self.delivered;
        let outcome = self.done(ticket, now);
        self.delivered = delivered;
        outcome
    }

    /// Remembers what is done with of blocks that are not done with, so that a restart sends little again.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn write_progress(&mut self) -> Result<(), OutboxError> {
        for (id, open) in self.open.iter_mut().filter(|(_, open)| open.is_dirty && !open.is_exact) {
            let delivered = open.pending.first().copied().unwrap_or(open.taken);
            self.store.put(&key(PROGRESS, *id), &delivered.to_le_bytes())?;
            open.is_dirty = false;
        }
        Ok(())
    }

    /// A QoS 2 publish is about to leave, or its release. Durable once the store is flushed.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn write_in_flight(
        &mut self,
        packet_id: u16,
        ticket: Ticket,
        phase: Phase,
    ) -> Result<(), OutboxError> {
        let value = postcard::to_stdvec(&(ticket, phase)).expect("memory takes all");
        self.store.put(&in_flight_key(packet_id), &value)?;
        if let (Phase::Published, Some(open)) = (phase, self.open.get_mut(&ticket.block)) {
            // Behind the entry: a crash in between sends it again, which is right, since nothing has left yet.
            let taken = ticket.position + 1;
            self.store.put(&key(PROGRESS, ticket.block), &taken.to_le_bytes())?;
            open.is_exact = true;
        }
        Ok(())
    }

    /// A QoS 2 publish is completed.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn complete(
        &mut self,
        packet_id: u16,
        ticket: Ticket,
        now: Timestamp,
    ) -> Result<(), OutboxError> {
        self.store.remove(&in_flight_key(packet_id))?;
        self.done(ticket, now)
    }

    /// QoS 2 publishes of an earlier life of the process, in the order they left.
    pub(crate) fn in_flight(&mut self) -> Vec<InFlight> {
        std::mem::take(&mut self.in_flight)
    }

    /// Removes a block that is done with; keeps it aside when delivered blocks are kept.
    pub(super) fn remove_block(
        &mut self,
        id: OutputId,
        delivered: Option<Timestamp>,
    ) -> Result<(), OutboxError> {
        let Some(open) = self.open.remove(&id) else { return Ok(()) };
        self.write_admitted_before_removal(id)?;
        match delivered.filter(|_| !self.settings.retention.is_zero()) {
            Some(Timestamp(now)) => {
                if let Some(value) = self.store.get(&key(WAITING, id))? {
                    let value = [&now.to_le_bytes()[..], &value].concat();
                    self.store.put(&key(DELIVERED, id), &value)?;
                    self.bytes += 8;
                }
            }
            None => self.bytes = self.bytes.saturating_sub(open.bytes),
        }
        Ok(self.forget(id)?)
    }

    /// Removes a block that nobody has begun with, `count` outputs of it undelivered.
    pub(super) fn drop_block(&mut self, id: OutputId, bytes: u64, count: u32) -> Result<(), OutboxError> {
        self.write_admitted_before_removal(id)?;
        self.bytes = self.bytes.saturating_sub(bytes);
        self.waiting = self.waiting.saturating_sub(u64::from(count));
        Ok(self.forget(id)?)
    }

    /// Before the last block that says so is gone: the batch came in whole.
    fn write_admitted_before_removal(&mut self, id: OutputId) -> Result<(), OutboxError> {
        if id.incarnation == self.incarnation { self.write_admitted() } else { Ok(()) }
    }

    fn write_admitted(&mut self) -> Result<(), OutboxError> {
        let value = postcard::to_stdvec(&(self.incarnation, self.admitted)).expect("memory takes all");
        self.store.put(ADMITTED, &value)?;
        self.recorded = self.admitted;
        Ok(())
    }

    pub(super) fn write_counts(&self) -> Result<(), OutboxError> {
        Ok(self.store.put(COUNTS, &postcard::to_stdvec(&self.counts).expect("memory takes all"))?)
    }

    /// Says of a block that is not open that outputs before `begun` are done with.
    pub(super) fn write_begun(&self, id: OutputId, begun: u32) -> Result<(), OutboxError> {
        Ok(self.store.put(&key(PROGRESS, id), &begun.to_le_bytes())?)
    }

    /// How far a block that has been begun with is delivered.
    pub(super) fn taken(&self, id: OutputId) -> u32 {
        self.open.get(&id).map_or(0, |open| open.taken)
    }
}
