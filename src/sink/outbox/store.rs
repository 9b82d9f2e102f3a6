//! The store under an outbox: a sorted map on disk that survives up to some point in the order it was written.
//!
//! What is written is durable once [`OutboxStore::flush`] returns. After a crash the store holds what some prefix of the
//! writes left, which reaches at least to the last flush: never a later write without an earlier one. The outbox
//! stands on that order and on nothing else.

use std::io;
use std::ops::ControlFlow;

/// Takes an entry's key and value and says whether to go on.
pub(crate) type Visitor<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// A sorted map on disk. Calls may come from two threads; `flush` may run beside writes.
pub(crate) trait OutboxStore: Send + Sync {
    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>>;

    fn put(&self, key: &[u8], value: &[u8]) -> io::Result<()>;

    fn remove(&self, key: &[u8]) -> io::Result<()>;

    /// Visits the entries from `from` on, in the order of their keys.
    fn scan(&self, from: &[u8], visit: Visitor<'_>) -> io::Result<()>;

    /// Returns once all that was written before is durable.
    fn flush(&self) -> io::Result<()>;
}

/// A store in memory whose power can be cut.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct MemoryOutboxStore {
    inner: std::sync::Mutex<MemoryInner>,
}

#[cfg(test)]
type Entries = std::collections::BTreeMap<Vec<u8>, Vec<u8>>;

#[cfg(test)]
#[derive(Debug, Default)]
struct MemoryInner {
    entries: Entries,
    durable: Entries,
    /// Writes since the last flush.
    tail: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

#[cfg(test)]
impl MemoryOutboxStore {
    /// What is found after a power cut that kept `kept` of the writes since the last flush.
    pub(crate) fn cut(&self, kept: usize) -> Self {
        let inner = self.inner.lock().unwrap();
        let mut entries = inner.durable.clone();
        for (key, value) in inner.tail.iter().take(kept) {
            apply(&mut entries, key, value.as_deref());
        }
        let inner = MemoryInner { durable: entries.clone(), entries, ..MemoryInner::default() };
        Self { inner: std::sync::Mutex::new(inner) }
    }

    /// Writes since the last flush.
    pub(crate) fn unflushed(&self) -> usize {
        self.inner.lock().unwrap().tail.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.inner.lock().unwrap().entries.len()
    }
}

#[cfg(test)]
fn apply(entries: &mut Entries, key: &[u8], value: Option<&[u8]>) {
    match value {
        Some(value) => entries.insert(key.to_vec(), value.to_vec()),
        None => entries.remove(key),
    };
}

#[cfg(test)]
impl OutboxStore for MemoryOutboxStore {
    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok(self.inner.lock().unwrap().entries.get(key).cloned())
    }

    fn put(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let mut inner = self.inner.lock().unwrap();
        apply(&mut inner.entries, key, Some(value));
        inner.tail.push((key.to_vec(), Some(value.to_vec())));
        Ok(())
    }

    fn remove(&self, key: &[u8]) -> io::Result<()> {
        let mut inner = self.inner.lock().unwrap();
        apply(&mut inner.entries, key, None);
        inner.tail.push((key.to_vec(), None));
        Ok(())
    }

    fn scan(&self, from: &[u8], visit: Visitor<'_>) -> io::Result<()> {
        for (key, value) in self.inner.lock().unwrap().entries.range(from.to_vec()..) {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let mut inner = self.inner.lock().unwrap();
        inner.durable = inner.entries.clone();
        inner.tail.clear();
        Ok(())
    }
}
