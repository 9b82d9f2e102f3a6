//! What comes into an outbox, what goes out, and what is done with.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::block::{self, Block, DamagedBlock};
use super::error::OutboxError;
use super::id::{ID_BYTES, Incarnation, OutputId};
use super::settings::OutboxSettings;
use super::store::OutboxStore;
use crate::runtime::{Offset, Timestamp};

/// What a block takes besides its value: its key, and what the store keeps of it.
pub(super) const BLOCK_OVERHEAD_BYTES: u64 = 85;

pub(super) const WAITING: u8 = b'b';
const PROGRESS: u8 = b'p';
const IN_FLIGHT: u8 = b'f';
pub(super) const DELIVERED: u8 = b'd';
const ADMITTED: &[u8] = b"ma";
const COUNTS: &[u8] = b"mc";

/// Names an output within the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Ticket {
    block: OutputId,
    position: u32,
}

/// An output on its way out.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    block: Arc<Block>,
    position: u32,
}

impl Output {
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket { block: self.block.id, position: self.position }
    }

    pub(crate) fn id(&self) -> OutputId {
        self.block.output_id(self.position)
    }

    /// Its bytes, without a line end.
    pub(crate) fn payload(&self) -> &[u8] {
        self.block.payload(self.position)
    }

    /// What is folded in it.
    pub(crate) fn summary(&self) -> Option<&super::summary::Summary> {
        self.block.summary(self.position)
    }
}

/// Which outputs are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// What waited when the connection was made.
    Backlog,
    /// What has come since.
    Live,
}

/// How far a QoS 2 publish has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// It may be at the broker.
    Published,
    /// The broker has it, and may have been told to release it.
    Received,
}

/// A QoS 2 publish of an earlier life of the process, not completed.
#[derive(Debug, Clone)]
pub(crate) struct InFlight {
    pub(crate) packet_id: u16,
    pub(crate) phase: Phase,
    pub(crate) output: Output,
}

/// Outputs that were not delivered as they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Dropped because the outbox was full.
    pub(crate) dropped: u64,
    /// Dropped because they were too old.
    pub(crate) expired: u64,
    /// Folded into summaries.
    pub(crate) folded: u64,
    /// Refused by the broker for good.
    pub(crate) refused: u64,
    /// In blocks that were damaged, where their number can be told.
    pub(crate) damaged_blocks: u64,
}

/// A block some outputs of which have been given out.
#[derive(Debug)]
pub(super) struct OpenBlock {
    block: Arc<Block>,
    /// Outputs from the first on that have been given out.
    taken: u32,
    /// Of them, those not done with.
    pending: BTreeSet<u32>,
    /// Some are done with that the store does not know of.
    is_dirty: bool,
    /// What the store knows of its progress is up to publishes of QoS 2.
    is_exact: bool,
    bytes: u64,
}

impl OpenBlock {
    fn new(block: Arc<Block>, taken: u32, bytes: u64) -> Self {
        Self { block, taken, pending: BTreeSet::new(), is_dirty: false, is_exact: false, bytes }
    }

    fn is_done(&self) -> bool {
        self.taken == self.block.header.count && self.pending.is_empty()
    }
}

#[derive(Debug, Default)]
struct LaneState {
    /// Where the next block is looked for.
    from: OutputId,
    current: Option<OutputId>,
}

/// Outputs that wait. See the module.
pub(crate) struct Outbox {
    pub(super) store: Arc<dyn OutboxStore>,
    pub(super) settings: OutboxSettings,
    incarnation: Incarnation,
    /// The last batch that came in whole.
    admitted: Offset,
    /// The same, as the store tells it: batches without outputs leave nothing there by themselves.
    recorded: Offset,
    /// Of all blocks, also delivered ones.
    pub(super) bytes: u64,
    /// Outputs not done with.
    pub(super) waiting: u64,
    pub(super) counts: Counts,
    pub(super) open: BTreeMap<OutputId, OpenBlock>,
    /// First id that is not of the backlog.
    boundary: OutputId,
    backlog: LaneState,
    live: LaneState,
    in_flight: Vec<InFlight>,
    /// Outputs delivered since the job began.
    delivered: u64,
    /// Blocks before this one need not be looked at to fold over the least time.
    pub(super) fold_from: OutputId,
}

pub(super) fn key(space: u8, id: OutputId) -> [u8; ID_BYTES + 1] {
    let mut key = [0; ID_BYTES + 1];
    key[0] = space;
    key[1..].copy_from_slice(&id.encode());
    key
}

/// The id in a key of `space`.
pub(super) fn id_of(space: u8, key: &[u8]) -> Option<OutputId> {
    let (first, id) = key.split_first()?;
    if *first == space && id.len() == ID_BYTES { OutputId::decode(id) } else { None }
}

impl Outbox {
    /// Opens what `store` holds, for outputs of `incarnation`.
    ///
    /// # Errors
    /// The store's. Blocks that are damaged are removed and counted.
    pub(crate) fn open(
        store: Arc<dyn OutboxStore>,
        settings: OutboxSettings,
        incarnation: Incarnation,
    ) -> Result<Self, OutboxError> {
        let mut outbox = Self {
            counts: read(&*store, COUNTS)?.unwrap_or_default(),
            store,
            settings,
            incarnation,
            admitted: Offset(0),
            recorded: Offset(0),
            bytes: 0,
            waiting: 0,
            open: BTreeMap::new(),
            boundary: OutputId::default(),
            backlog: LaneState::default(),
            live: LaneState::default(),
            in_flight: Vec::new(),
            delivered: 0,
            fold_from: OutputId::default(),
        };
        outbox.read_blocks()?;
        outbox.read_progress()?;
        outbox.read_in_flight()?;
        outbox.split_lanes();
        Ok(outbox)
    }

    /// Counts the blocks and removes what cannot be used.
    fn read_blocks(&mut self) -> Result<(), OutboxError> {
        let mut garbage: Vec<OutputId> = Vec::new();
        let mut damaged: Vec<(OutputId, DamagedBlock)> = Vec::new();
        // The blocks of a batch whose end has not been seen.
        let mut unended: Vec<(OutputId, u64, u32)> = Vec::new();
        let mut replaced_through = None;
        let mut last = None;
        let (mut bytes, mut waiting) = (0, 0);
        self.store.scan(&[WAITING], &mut |key, value| {
            let Some(id) = id_of(WAITING, key) else { return ControlFlow::Break(()) };
            // A crash between a fold and the removal of what was folded.
            if replaced_through.is_some_and(|through| id <= through) {
                garbage.push(id);
                return ControlFlow::Continue(());
            }
            let header = match block::header(value) {
                Ok(header) => header,
                Err(cause) => {
                    damaged.push((id, cause));
                    return ControlFlow::Continue(());
                }
            };
            replaced_through = header.folded.map(|(through, _)| through);
            let size = value.len() as u64 + BLOCK_OVERHEAD_BYTES;
            if unended
                .first()
                .is_some_and(|(first, ..)| (first.incarnation, first.offset) != (id.incarnation, id.offset))
            {
                unended.clear();
            }
            if header.is_last {
                unended.clear();
                last = Some(replaced_through.unwrap_or(id));
            } else {
                unended.push((id, size, header.count));
            }
            bytes += size;
            waiting += u64::from(header.count);
            ControlFlow::Continue(())
        })?;
        let recorded: Option<(Incarnation, Offset)> = read(&*self.store, ADMITTED)?;
        // Of a batch that is known to have come in whole, something else is missing.
        unended.retain(|(id, ..)| Some((id.incarnation, id.offset)) > recorded);
        for (id, size, count) in unended {
            bytes -= size;
            waiting -= u64::from(count);
            garbage.push(id);
        }
        for id in garbage {
            self.forget(id)?;
        }
        for (id, cause) in damaged {
            tracing::error!(block = %id, %cause, "outputs in the outbox are damaged: they are lost");
            self.counts.damaged_blocks += 1;
            self.write_counts()?;
            self.forget(id)?;
        }
        self.store.scan(&[DELIVERED], &mut |key, value| {
            if id_of(DELIVERED, key).is_none() {
                return ControlFlow::Break(());
            }
            bytes += value.len() as u64 + BLOCK_OVERHEAD_BYTES;
            ControlFlow::Continue(())
        })?;
        let seen = last.map(|id| (id.incarnation, id.offset)).max(recorded);
        self.admitted = match seen {
            Some((incarnation, offset)) if incarnation == self.incarnation => offset,
            _ => Offset(0),
        };
        self.recorded = self.admitted;
        (self.bytes, self.waiting) = (bytes, waiting);
        Ok(())
    }

    fn read_progress(&mut self) -> Result<(), OutboxError> {
        let mut found = Vec::new();
        self.store.scan(&[PROGRESS], &mut |key, value| {
            let (Some(id), Ok(taken)) = (id_of(PROGRESS, key), value.try_into()) else {
                return ControlFlow::Break(());
            };
            found.push((id, u32::from_le_bytes(taken)));
            ControlFlow::Continue(())
        })?;
        for (id, taken) in found {
            match self.load(id)? {
                Some((block, bytes)) => {
                    let taken = taken.min(block.header.count);
                    self.waiting -= u64::from(taken);
                    self.open.insert(id, OpenBlock::new(block, taken, bytes));
                }
                None => self.forget(id)?,
            }
        }
        Ok(())
    }

    fn read_in_flight(&mut self) -> Result<(), OutboxError> {
        let mut found = Vec::new();
        self.store.scan(&[IN_FLIGHT], &mut |key, value| {
            let [IN_FLIGHT, high, low] = *key else { return ControlFlow::Break(()) };
            let packet_id = u16::from(high) << 8 | u16::from(low);
            found.push((packet_id, postcard::from_bytes::<(Ticket, Phase)>(value)));
            ControlFlow::Continue(())
        })?;
        for (packet_id, decoded) in found {
            let open = decoded
                .ok()
                .and_then(|(ticket, phase)| Some((ticket, phase, self.open.get_mut(&ticket.block)?)));
            match open {
                Some((ticket, phase, open)) if ticket.position < open.taken => {
                    open.is_exact = true;
                    if open.pending.insert(ticket.position) {
                        self.waiting += 1;
                    }
                    let output = Output { block: Arc::clone(&open.block), position: ticket.position };
                    self.in_flight.push(InFlight { packet_id, phase, output });
                }
                _ => {
                    tracing::warn!(
                        packet_id,
                        "the outbox no longer has what was in flight: it is not sent again"
                    );
                    self.store.remove(&in_flight_key(packet_id))?;
                }
            }
        }
        self.in_flight.sort_by_key(|in_flight| in_flight.output.ticket());
        let done: Vec<OutputId> =
            self.open.iter().filter(|(_, open)| open.is_done()).map(|(id, _)| *id).collect();
        for id in done {
            self.remove_block(id, None)?;
        }
        Ok(())
    }

    fn load(&self, id: OutputId) -> Result<Option<(Arc<Block>, u64)>, OutboxError> {
        let Some(value) = self.store.get(&key(WAITING, id))? else { return Ok(None) };
        match Block::decode(id, &value) {
            Ok(block) => Ok(Some((Arc::new(block), value.len() as u64 + BLOCK_OVERHEAD_BYTES))),
            Err(cause) => {
                tracing::error!(block = %id, %cause, "outputs in the outbox are damaged: they are lost");
                Ok(None)
            }
        }
    }

    /// Removes a block's entries whatever they are.
    fn forget(&self, id: OutputId) -> io::Result<()> {
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

fn in_flight_key(packet_id: u16) -> [u8; 3] {
    let [low, high] = packet_id.to_le_bytes();
    [IN_FLIGHT, high, low]
}

fn read<T: for<'de> Deserialize<'de>>(store: &dyn OutboxStore, key: &[u8]) -> io::Result<Option<T>> {
    // What cannot be read any more was of another version or is damaged: as good as absent.
    Ok(store.get(key)?.and_then(|value| postcard::from_bytes(&value).ok()))
}
