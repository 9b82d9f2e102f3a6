//! A remote in memory, for tests: it can fail the n-th call in every way a real one does.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use super::{Listed, Put, RemoteError, RemoteName, RemoteStore};

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing was done.
    NotDone,
    /// It was done, and the reply was lost.
    ReplyLost,
    /// A write was cut after this many bytes and leaves them under the final name; other calls are not done.
    CutAfter(usize),
}

#[derive(Debug, Default)]
struct Inner {
    objects: BTreeMap<RemoteName, Vec<u8>>,
    calls: u64,
    /// The call that fails next, and how; every one from then on, when it stays down.
    fault: Option<(u64, Fault)>,
    is_down: bool,
    /// The bytes left until the connection is cut.
    cut_in: Option<u64>,
    bytes_put: u64,
    /// Objects that are listed and not there, and for how many reads.
    hidden: BTreeMap<RemoteName, u32>,
}

/// Objects in memory.
#[derive(Debug)]
pub(crate) struct MemoryStore {
    /// Whether a name that is taken is told from a new one.
    tells_taken: bool,
    inner: Mutex<Inner>,
}

impl MemoryStore {
    /// A remote that creates only what is absent.
    pub(crate) fn new() -> Self {
        Self { tells_taken: true, inner: Mutex::default() }
    }

    /// A remote that overwrites.
    pub(crate) fn overwriting() -> Self {
        Self { tells_taken: false, inner: Mutex::default() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no test panics inside")
    }

    /// Lets the call after `calls` more fail.
    pub(crate) fn fail_after(&self, calls: u64, fault: Fault) {
        let mut inner = self.inner();
        inner.fault = Some((inner.calls + calls, fault));
    }

    /// Cuts the connection after `bytes` more bytes were written; then nothing works until it is healed.
    pub(crate) fn cut_after_bytes(&self, bytes: u64) {
        self.inner().cut_in = Some(bytes);
    }

    /// Lets the next `reads` of an object find it gone.
    pub(crate) fn hide(&self, name: &RemoteName, reads: u32) {
        self.inner().hidden.insert(name.clone(), reads);
    }

    /// Lets every call fail, or work again.
    pub(crate) fn set_down(&self, is_down: bool) {
        let mut inner = self.inner();
        inner.is_down = is_down;
        if !is_down {
            inner.fault = None;
            inner.cut_in = None;
        }
    }

    /// Bytes of objects sent so far, also of those that were cut.
    pub(crate) fn bytes_put(&self) -> u64 {
        self.inner().bytes_put
    }

    pub(crate) fn calls(&self) -> u64 {
        self.inner().calls
    }

    /// The objects, to look at and to damage.
    pub(crate) fn with_objects<T>(&self, change: impl FnOnce(&mut BTreeMap<RemoteName, Vec<u8>>) -> T) -> T {
        change(&mut self.inner().objects)
    }
}

impl Inner {
    /// Counts a call; the fault it meets.
    fn begin(&mut self) -> Option<Fault> {
        self.calls += 1;
        if self.is_down {
            return Some(Fault::NotDone);
        }
        self.fault.take_if(|(at, _)| self.calls > *at).map(|(_, fault)| fault)
    }
}

fn broken(operation: &'static str, name: &RemoteName) -> RemoteError {
    RemoteError::Unavailable { operation, name: name.clone(), reason: "a fault of the test".to_owned() }
}

impl RemoteStore for MemoryStore {
    fn put_new(&self, name: &RemoteName, bytes: &[u8]) -> Result<Put, RemoteError> {
        let mut inner = self.inner();
        let fault = inner.begin();
        if fault == Some(Fault::NotDone) {
            return Err(broken("write", name));
        }
        if self.tells_taken && inner.objects.contains_key(name) {
            return Ok(Put::Exists);
        }
        let length = bytes.len() as u64;
        let cut = match (fault, inner.cut_in) {
            (Some(Fault::CutAfter(bytes)), _) => Some(bytes),
            (_, Some(left)) if left < length => {
                inner.is_down = true;
                Some(usize::try_from(left).unwrap())
            }
            _ => None,
        };
        inner.cut_in = inner.cut_in.map(|left| left.saturating_sub(length));
        let kept = &bytes[..cut.unwrap_or(bytes.len()).min(bytes.len())];
        inner.bytes_put += kept.len() as u64;
        inner.objects.insert(name.clone(), kept.to_vec());
        if cut.is_some() || fault.is_some() { Err(broken("write", name)) } else { Ok(Put::Created) }
    }

    fn get(&self, name: &RemoteName, limit: u64) -> Result<Vec<u8>, RemoteError> {
        let mut inner = self.inner();
        if inner.begin().is_some() {
            return Err(broken("read", name));
        }
        if let Some(reads) = inner.hidden.get_mut(name).filter(|reads| **reads > 0) {
            *reads -= 1;
            return Err(RemoteError::NotFound { name: name.clone() });
        }
        let bytes = inner.objects.get(name).ok_or_else(|| RemoteError::NotFound { name: name.clone() })?;
        if bytes.len() as u64 > limit {
            return Err(RemoteError::TooLong { name: name.clone(), limit });
        }
        Ok(bytes.clone())
    }

    fn list(&self, folder: &RemoteName, limit: usize) -> Result<Vec<Listed>, RemoteError> {
        let mut inner = self.inner();
        if inner.begin().is_some() {
            return Err(broken("list", folder));
        }
        let prefix = format!("{folder}/");
        let below = inner.objects.iter().filter(|(name, _)| name.as_str().starts_with(&prefix));
        let listed: Vec<Listed> =
            below.map(|(name, bytes)| Listed { name: name.clone(), bytes: bytes.len() as u64 }).collect();
        if listed.len() > limit {
            return Err(RemoteError::TooMany { folder: folder.clone(), limit });
        }
        Ok(listed)
    }

    fn delete(&self, name: &RemoteName) -> Result<(), RemoteError> {
        let mut inner = self.inner();
        let fault = inner.begin();
        if matches!(fault, Some(Fault::NotDone | Fault::CutAfter(_))) {
            return Err(broken("delete", name));
        }
        inner.objects.remove(name);
        if fault.is_some() { Err(broken("delete", name)) } else { Ok(()) }
    }

    fn address(&self) -> &str {
        "memory"
    }
}
