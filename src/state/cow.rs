//! A vector that can be shared with a snapshot without stopping its writer.
//!
//! `share` hands out the current contents in constant time; the next write after it copies the vector once,
//! unless the snapshot has been dropped by then. The check on each write is one predictable branch: no atomic
//! operation on the data path.

use std::sync::Arc;

/// A copy-on-write vector: owned by its writer until a snapshot shares it.
#[derive(Debug)]
pub(crate) enum CowVec<T> {
    Owned(Vec<T>),
    Shared(Arc<Vec<T>>),
}

impl<T: Clone> CowVec<T> {
    pub(crate) fn new() -> Self {
        Self::Owned(Vec::new())
    }

    #[inline]
    pub(crate) fn as_slice(&self) -> &[T] {
        match self {
            Self::Owned(items) => items,
            Self::Shared(items) => items,
        }
    }

    /// The vector for writing; copies it when a snapshot still reads the shared contents.
    #[inline]
    pub(crate) fn to_mut(&mut self) -> &mut Vec<T> {
        if let Self::Shared(_) = self {
            self.unshare();
        }
        match self {
            Self::Owned(items) => items,
            Self::Shared(_) => unreachable!("unshare leaves the vector owned"),
        }
    }

    /// Whether it was written to since it was last shared.
    pub(crate) fn is_changed(&self) -> bool {
        matches!(self, Self::Owned(items) if !items.is_empty())
    }

    #[cold]
    fn unshare(&mut self) {
        if let Self::Shared(shared) = std::mem::replace(self, Self::new()) {
            *self = Self::Owned(Arc::try_unwrap(shared).unwrap_or_else(|shared| (*shared).clone()));
        }
    }

    /// The current contents, immutable from now on.
    pub(crate) fn share(&mut self) -> Arc<Vec<T>> {
        match std::mem::replace(self, Self::new()) {
            Self::Owned(items) => {
                let shared = Arc::new(items);
                *self = Self::Shared(Arc::clone(&shared));
                shared
            }
            Self::Shared(shared) => {
                *self = Self::Shared(Arc::clone(&shared));
                shared
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_after_sharing_do_not_leak_into_the_snapshot() {
        let mut numbers = CowVec::new();
        numbers.to_mut().extend([1, 2, 3]);
        let snapshot = numbers.share();
        numbers.to_mut()[0] = 9;
        assert_eq!(*snapshot, [1, 2, 3]);
        assert_eq!(numbers.as_slice(), [9, 2, 3]);
    }

    #[test]
    fn a_dropped_snapshot_costs_no_copy() {
        let mut numbers = CowVec::new();
        numbers.to_mut().extend([1, 2, 3]);
        let before = numbers.as_slice().as_ptr();
        drop(numbers.share());
        numbers.to_mut()[0] = 9;
        assert_eq!(numbers.as_slice().as_ptr(), before);
    }
}
