//! A flush: the rows that changed since the last one, on their way from a subtask's cache into its store.
//!
//! The subtask encodes them at a barrier and goes on; a background thread writes them and fixes the store's contents
//! for the checkpoint. Until that is done nothing else may be written to the store, or the checkpoint would hold later
//! changes: the subtask waits when it must make room.
//!
//! ```text
//!   Waiting ──run──▶ Written ──release──▶ Done
//!      │ the snapshot is dropped unwritten
//!      ▼
//!   Abandoned ──run by the subtask──▶ Done
//! ```

use std::sync::{Arc, Condvar, Mutex};

use super::backend::{EntryBatch, Store, StoreError};
use super::waiting::Waiting;

/// Entries on their way into a store.
pub(crate) struct Flush {
    store: Arc<dyn Store>,
    waiting: Arc<Waiting>,
    progress: Mutex<Progress>,
    changed: Condvar,
}

enum Progress {
    Waiting(EntryBatch),
    Running,
    Written,
    Abandoned(EntryBatch),
    Done,
}

impl Flush {
    pub(crate) fn new(store: Arc<dyn Store>, waiting: Arc<Waiting>, entries: EntryBatch) -> Self {
        Self { store, waiting, progress: Mutex::new(Progress::Waiting(entries)), changed: Condvar::new() }
    }

    /// Writes the entries; the store stays as it is until [`Self::release`].
    pub(crate) fn run(&self) -> Result<(), StoreError> {
        let mut progress = self.lock();
        match std::mem::replace(&mut *progress, Progress::Running) {
            Progress::Waiting(mut entries) => {
                drop(progress);
                entries.sort();
                let written = write_patiently(&*self.store, &self.waiting, &entries);
                self.set(match &written {
                    Ok(()) => Progress::Written,
                    Err(_) => Progress::Waiting(entries),
                });
                written
            }
            other => {
                *progress = other;
                Ok(())
            }
        }
    }

    /// The checkpoint has what it needs, or is given up.
    pub(crate) fn release(&self) {
        let mut progress = self.lock();
        *progress = match std::mem::replace(&mut *progress, Progress::Done) {
            Progress::Waiting(entries) | Progress::Abandoned(entries) => Progress::Abandoned(entries),
            Progress::Running => unreachable!("who runs a flush releases it afterwards"),
            Progress::Written | Progress::Done => Progress::Done,
        };
        self.changed.notify_all();
    }

    /// Returns once the entries are in the store and it may be written to again.
    pub(crate) fn finish(&self) -> Result<(), StoreError> {
        let mut progress = self.lock();
        loop {
            match std::mem::replace(&mut *progress, Progress::Done) {
                Progress::Done => return Ok(()),
                Progress::Abandoned(mut entries) => {
                    drop(progress);
                    entries.sort();
                    let written = write_patiently(&*self.store, &self.waiting, &entries);
                    if written.is_err() {
                        self.set(Progress::Abandoned(entries));
                    }
                    return written;
                }
                other => *progress = other,
            }
            let _waits = self.waiting.begin();
            progress = self.changed.wait(progress).expect("no code panics while it holds a flush");
        }
    }

    /// Whether it holds nothing any more.
    pub(crate) fn is_done(&self) -> bool {
        matches!(*self.lock(), Progress::Done | Progress::Written)
    }

    fn set(&self, progress: Progress) {
        *self.lock() = progress;
        self.changed.notify_all();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.progress.lock().expect("no code panics while it holds a flush")
    }
}

/// Writes entries once there is room for them.
pub(crate) fn write_patiently(
    store: &dyn Store,
    waiting: &Waiting,
    entries: &EntryBatch,
) -> Result<(), StoreError> {
    waiting.for_room(|error: &StoreError| error.is_full, || store.write(entries))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::state::key_group::KeyGroup;
    use crate::state::{PinnedFiles, StoreError};

    /// Counts the entries written to it; fails as often as told.
    #[derive(Default)]
    struct Counter {
        written: Mutex<usize>,
        failures: Mutex<usize>,
    }

    impl Store for Counter {
        fn get_many(&self, _: &[&[u8]], _: &mut dyn FnMut(usize, &[u8])) -> Result<(), StoreError> {
            Ok(())
        }

        fn write(&self, entries: &EntryBatch) -> Result<(), StoreError> {
            let mut failures = self.failures.lock().unwrap();
            if *failures > 0 {
                *failures -= 1;
                let reason = "as told".to_owned();
                return Err(StoreError { store: "counter", path: PathBuf::new(), reason, is_full: false });
            }
            *self.written.lock().unwrap() += entries.len();
            Ok(())
        }

        fn scan(&self, _: &[u8], _: crate::state::backend::EntryVisitor<'_>) -> Result<(), StoreError> {
            Ok(())
        }

        fn pin(&self) -> Result<Option<PinnedFiles>, StoreError> {
            Ok(None)
        }
    }

    fn flush(failures: usize) -> (Arc<Counter>, Flush) {
        let store = Arc::new(Counter { failures: Mutex::new(failures), ..Counter::default() });
        let mut entries = EntryBatch::default();
        for key in 0..3u8 {
            entries.push(KeyGroup(0), &[key], |_| Ok::<bool, ()>(true)).unwrap();
        }
        (Arc::clone(&store), Flush::new(store, Arc::default(), entries))
    }

    #[test]
    fn entries_are_written_once_by_whoever_comes() {
        let (store, written) = flush(0);
        written.run().unwrap();
        written.run().unwrap();
        written.release();
        written.finish().unwrap();
        assert_eq!(*store.written.lock().unwrap(), 3);
        let (store, abandoned) = flush(0);
        abandoned.release();
        assert_eq!(*store.written.lock().unwrap(), 0);
        abandoned.finish().unwrap();
        abandoned.finish().unwrap();
        assert_eq!(*store.written.lock().unwrap(), 3);
    }

    #[test]
    fn entries_that_could_not_be_written_are_kept() {
        let (store, failing) = flush(2);
        assert!(failing.run().unwrap_err().to_string().contains("as told"));
        failing.release();
        assert!(failing.finish().unwrap_err().to_string().contains("as told"));
        failing.finish().unwrap();
        assert_eq!(*store.written.lock().unwrap(), 3);
    }

    #[test]
    fn the_subtask_waits_until_the_checkpoint_has_what_it_needs() {
        let (store, running) = flush(0);
        let running = Arc::new(running);
        let checkpoint = Arc::clone(&running);
        let thread = std::thread::spawn(move || {
            checkpoint.run().unwrap();
            let written = *store.written.lock().unwrap();
            checkpoint.release();
            written
        });
        running.finish().unwrap();
        assert_eq!(thread.join().unwrap(), 3);
    }
}
