//! What an outbox holds, for people, and sending it again.

use std::ops::ControlFlow;

use super::block::Block;
use super::error::OutboxError;
use super::id::OutputId;
use super::keys::{DELIVERED, WAITING, id_of, key};
use super::queue::Outbox;
use crate::runtime::Timestamp;

/// Where a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// It waits, with so many outputs of it delivered or on their way.
    Waiting { begun: u32 },
    /// It is delivered, and kept.
    Delivered { at: Timestamp },
}

/// A block, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedBlock {
    /// Of its first output.
    pub(crate) first: OutputId,
    /// Of its last output.
    pub(crate) last: OutputId,
    pub(crate) count: u32,
    pub(crate) bytes: u64,
    /// When its outputs came.
    pub(crate) stamp: Timestamp,
    pub(crate) place: Place,
}

impl Outbox {
    /// Lists delivered blocks, then those that wait, each in order.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn list(&self, visit: &mut dyn FnMut(ListedBlock)) -> Result<(), OutboxError> {
        for space in [DELIVERED, WAITING] {
            self.store.scan(&[space], &mut |key, value| {
                let Some(id) = id_of(space, key) else { return ControlFlow::Break(()) };
                let (place, value) = match value.split_first_chunk::<8>() {
                    Some((at, value)) if space == DELIVERED => {
                        (Place::Delivered { at: Timestamp(i64::from_le_bytes(*at)) }, value)
                    }
                    _ => (Place::Waiting { begun: self.taken(id) }, value),
                };
                if let Ok(block) = Block::decode(id, value)
                    && let Some(last) = block.header.count.checked_sub(1)
                {
                    visit(ListedBlock {
                        first: block.output_id(0),
                        last: block.output_id(last),
                        count: block.header.count,
                        bytes: value.len() as u64,
                        stamp: block.header.stamp,
                        place,
                    });
                }
                ControlFlow::Continue(())
            })?;
        }
        Ok(())
    }

    /// Makes delivered outputs from `from` on wait again, and says how many there are. Those that wait anyway stay.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn resend(&mut self, from: OutputId) -> Result<u64, OutboxError> {
        let mut blocks = Vec::new();
        self.store.scan(&[DELIVERED], &mut |key, value| {
            let Some(id) = id_of(DELIVERED, key) else { return ControlFlow::Break(()) };
            let decoded = value.get(8..).and_then(|value| Some((value, Block::decode(id, value).ok()?)));
            if let Some((value, block)) = decoded {
                let begun = block.position_of(from);
                if begun < block.header.count {
                    blocks.push((id, value.to_vec(), begun, block.header.count));
                }
            }
            ControlFlow::Continue(())
        })?;
        let mut outputs = 0;
        for (id, value, begun, count) in blocks {
            self.store.put(&key(WAITING, id), &value)?;
            if begun > 0 {
                self.write_begun(id, begun)?;
            }
            self.store.remove(&key(DELIVERED, id))?;
            outputs += u64::from(count - begun);
        }
        self.store.flush()?;
        Ok(outputs)
    }
}
