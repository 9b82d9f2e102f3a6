//! Opening an outbox: what a crash left of batches is removed, what was in flight is found again.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::block::{self, Block, DamagedBlock};
use super::error::OutboxError;
use super::id::{Incarnation, OutputId};
use super::keys::{
    ADMITTED, BLOCK_OVERHEAD_BYTES, COUNTS, DELIVERED, IN_FLIGHT, PROGRESS, WAITING, id_of, in_flight_key,
    key, read,
};
use super::output::{InFlight, OpenBlock, Output, Phase, Ticket};
use super::queue::{LaneState, Outbox};
use super::settings::OutboxSettings;
use super::store::OutboxStore;
use crate::runtime::Offset;

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

    pub(super) fn load(&self, id: OutputId) -> Result<Option<(Arc<Block>, u64)>, OutboxError> {
        let Some(value) = self.store.get(&key(WAITING, id))? else { return Ok(None) };
        match Block::decode(id, &value) {
            Ok(block) => Ok(Some((Arc::new(block), value.len() as u64 + BLOCK_OVERHEAD_BYTES))),
            Err(cause) => {
                tracing::error!(block = %id, %cause, "outputs in the outbox are damaged: they are lost");
                Ok(None)
            }
        }
    }
}
