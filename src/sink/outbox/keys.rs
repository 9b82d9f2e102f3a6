//! Keys of the store's entries; `mod.rs` has the table.

use std::io;

use serde::Deserialize;

use super::id::{ID_BYTES, OutputId};
use super::store::OutboxStore;

/// What a block takes besides its value: its key, and what the store keeps of it.
pub(super) const BLOCK_OVERHEAD_BYTES: u64 = 85;

pub(super) const WAITING: u8 = b'b';
pub(super) const PROGRESS: u8 = b'p';
pub(super) const IN_FLIGHT: u8 = b'f';
pub(super) const DELIVERED: u8 = b'd';
pub(super) const ADMITTED: &[u8] = b"ma";
pub(super) const COUNTS: &[u8] = b"mc";

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

pub(super) fn in_flight_key(packet_id: u16) -> [u8; 3] {
    let [low, high] = packet_id.to_le_bytes();
    [IN_FLIGHT, high, low]
}

pub(super) fn read<T: for<'de> Deserialize<'de>>(
    store: &dyn OutboxStore,
    key: &[u8],
) -> io::Result<Option<T>> {
    // What cannot be read any more was of another version or is damaged: as good as absent.
    Ok(store.get(key)?.and_then(|value| postcard::from_bytes(&value).ok()))
}
