//! Inspection: what saved parts hold, read without the job's types.
//!
//! Saved values do not describe themselves, but parts name the Rust types they were written from: what consists of
//! numbers, text, options, tuples, lists and maps is shown as JSON, everything else as hexadecimal bytes with its type.

mod part_stream;
mod rendering;
mod shape;

pub(crate) use part_stream::{PartItem, PartStream};
pub(crate) use rendering::Renderer;
pub(crate) use shape::Shape;

use std::ops::ControlFlow;

use super::backend::{Store, StoreError, split_store_key};
use super::key_group::{GroupSet, KeyGroup};

/// Takes a key group, a key and its entry.
pub(crate) type VisitEntry<'a> = &'a mut dyn FnMut(KeyGroup, &[u8], &[u8]) -> ControlFlow<()>;

/// Visits the entries a saved store holds of `groups`, in key order.
///
/// # Errors
/// The store's.
pub(crate) fn visit_store(
    store: &dyn Store,
    groups: &GroupSet,
    visit: VisitEntry<'_>,
) -> Result<(), StoreError> {
    store.scan(&[], &mut |store_key, entry| match split_store_key(store_key) {
        Some((group, key)) if groups.contains(group.0) => visit(group, key, entry),
        _ => ControlFlow::Continue(()),
    })
}
