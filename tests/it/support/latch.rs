//! A latch that operators hang in.

use std::sync::{Arc, Condvar, Mutex};

/// Holds whoever comes until it is opened.
#[derive(Debug, Clone, Default)]
pub(crate) struct Latch(Arc<(Mutex<State>, Condvar)>);

#[derive(Debug, Default)]
struct State {
    is_open: bool,
    came: usize,
    left: usize,
}

impl Latch {
    /// Returns once it is open.
    pub(crate) fn hold(&self) {
        let (state, opened) = &*self.0;
        let mut state = state.lock().unwrap();
        state.came += 1;
        state = opened.wait_while(state, |state| !state.is_open).unwrap();
        state.left += 1;
    }

    pub(crate) fn open(&self) {
        self.0.0.lock().unwrap().is_open = true;
        self.0.1.notify_all();
    }

    /// How many came.
    pub(crate) fn came(&self) -> usize {
        self.0.0.lock().unwrap().came
    }

    /// How many were let go.
    pub(crate) fn left(&self) -> usize {
        self.0.0.lock().unwrap().left
    }
}
