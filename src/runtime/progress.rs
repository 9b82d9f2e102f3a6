//! Progress: what a subtask works on, shared with the supervisor, which looks at it from another thread.
//!
//! The subtask notes the begin and the end of each batch, or of each frame when a batch goes frame by frame; never each
//! record. The supervisor can close a subtask before it restores it: it ends what it is at, and begins nothing until it is
//! restored. And it can abandon one: that can neither begin nor end anything any more, so the results of what it was at
//! never leave it. The lock makes that exact: work has either ended or been abandoned.

use std::sync::{Mutex, MutexGuard};

use super::batch::Offset;

/// A batch, or one frame of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Work {
    pub(crate) offset: Offset,
    /// Number of the frame, when the batch goes frame by frame.
    pub(crate) frame: Option<u64>,
}

/// Number of a piece of work in its subtask, ascending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Beat(u64);

/// The subtask was closed or abandoned: what it has not ended is void.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Halted;

/// Whether a subtask may begin and end work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Standing {
    #[default]
    Open,
    /// It may end what it is at.
    Closed,
    Abandoned,
}

/// What a subtask works on.
#[derive(Debug, Default)]
pub(crate) struct Progress(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    beat: Beat,
    work: Option<Work>,
    standing: Standing,
}

impl Progress {
    /// The subtask begins `work`, and has ended what it was at before.
    ///
    /// # Errors
    /// It was closed or abandoned meanwhile.
    pub(crate) fn begin(&self, work: Work) -> Result<(), Halted> {
        let mut state = self.lock();
        match state.standing {
            Standing::Open => {
                state.beat.0 += 1;
                state.work = Some(work);
                Ok(())
            }
            Standing::Closed => {
                state.work = None;
                Err(Halted)
            }
            Standing::Abandoned => Err(Halted),
        }
    }

    /// The subtask has ended its work: what it led to may leave.
    ///
    /// # Errors
    /// It was abandoned meanwhile.
    pub(crate) fn end(&self) -> Result<(), Halted> {
        let mut state = self.lock();
        if state.standing == Standing::Abandoned {
            return Err(Halted);
        }
        state.work = None;
        Ok(())
    }

    /// The subtask was restored.
    pub(crate) fn open(&self) {
        let mut state = self.lock();
        if state.standing == Standing::Closed {
            state.standing = Standing::Open;
        }
    }

    /// Closes the subtask until it is restored. Returns what it is still at.
    pub(crate) fn close(&self) -> Option<Work> {
        let mut state = self.lock();
        if state.standing == Standing::Open {
            state.standing = Standing::Closed;
        }
        state.work
    }

    /// What a subtask that was not abandoned is at.
    pub(crate) fn current(&self) -> Option<(Beat, Work)> {
        let state = self.lock();
        state.work.filter(|_| state.standing != Standing::Abandoned).map(|work| (state.beat, work))
    }

    /// Abandons the subtask if it is still at this piece of work, which is returned.
    pub(crate) fn abandon_at(&self, beat: Beat) -> Option<Work> {
        let mut state = self.lock();
        let work = state.work.filter(|_| state.beat == beat && state.standing != Standing::Abandoned)?;
        state.standing = Standing::Abandoned;
        Some(work)
    }

    /// Abandons the subtask. Returns what it is, or was, in the middle of.
    pub(crate) fn abandon(&self) -> Option<Work> {
        let mut state = self.lock();
        state.standing = Standing::Abandoned;
        state.work
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no code panics while it notes progress")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORK: Work = Work { offset: Offset(3), frame: None };

    #[test]
    fn work_has_either_ended_or_been_abandoned() {
        let progress = Progress::default();
        progress.begin(WORK).unwrap();
        let (beat, work) = progress.current().unwrap();
        assert_eq!(work, WORK);
        progress.end().unwrap();
        assert_eq!(progress.abandon_at(beat), None);

        progress.begin(WORK).unwrap();
        assert_eq!(progress.abandon_at(beat), None, "the same batch again is other work");
        let (beat, _) = progress.current().unwrap();
        assert_eq!(progress.abandon_at(beat), Some(WORK));
        assert_eq!((progress.end(), progress.begin(WORK)), (Err(Halted), Err(Halted)));
        assert_eq!((progress.current(), progress.abandon()), (None, Some(WORK)));
    }

    #[test]
    fn an_idle_subtask_can_be_abandoned_too() {
        let progress = Progress::default();
        assert_eq!(progress.abandon(), None);
        assert_eq!(progress.begin(WORK), Err(Halted));
        progress.open();
        assert_eq!(progress.begin(WORK), Err(Halted), "for good");
    }

    #[test]
    fn a_closed_subtask_ends_what_it_is_at_and_begins_nothing_until_it_is_restored() {
        let progress = Progress::default();
        progress.begin(WORK).unwrap();
        assert_eq!(progress.close(), Some(WORK));
        assert!(progress.current().is_some(), "the watchdog still sees it");
        assert_eq!((progress.end(), progress.close()), (Ok(()), None));
        assert_eq!(progress.begin(WORK), Err(Halted));
        progress.open();
        progress.begin(WORK).unwrap();
        progress.close();
        assert_eq!(
            progress.begin(Work { frame: Some(1), ..WORK }),
            Err(Halted),
            "the next frame is not begun"
        );
        assert_eq!(progress.close(), None);
    }
}
