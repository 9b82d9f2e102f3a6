//! What the supervisor tells the service manager, and a restore from the remote.

use std::time::{Duration, Instant};

use actix::prelude::*;

use super::socket::NotifySocket;
use super::watch::{Activity, LivenessWatch, WatchSubtasks};
use crate::checkpoint::{Manifest, Step};
use crate::runtime::Offset;
use crate::runtime::sequencer::notify;
use crate::runtime::subtask::Subtask;

/// How often a restore from the remote says how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// Tells the service manager what becomes of a job, and those who watch over it.
pub(crate) struct Reporter {
    socket: NotifySocket,
    watch: Addr<LivenessWatch>,
    is_ready: bool,
    is_stopping: bool,
}

impl Reporter {
    pub(crate) fn new(socket: NotifySocket, watch: Addr<LivenessWatch>) -> Self {
        Self { socket, watch, is_ready: false, is_stopping: false }
    }

    /// These are the subtasks from now on, each with its place.
    pub(crate) fn subtasks(&self, subtasks: Vec<(String, Addr<Subtask>)>) {
        notify(&self.watch, WatchSubtasks { subtasks });
    }

    /// Subtasks are restored.
    pub(crate) fn restoring(&self, from: Option<&Manifest>) {
        notify(&self.watch, Activity::Restoring);
        // A history begins with an empty checkpoint.
        match from.filter(|manifest| manifest.offset > Offset(0)) {
            None => self.socket.status("starting with empty state"),
            Some(manifest) => {
                let (id, keys) = (manifest.id, manifest.key_count());
                self.socket.status(&format!("restoring checkpoint {id}, {keys} keys"));
            }
        }
    }

    /// Everything is restored, and the sources are started.
    pub(crate) fn running(&mut self) {
        notify(&self.watch, Activity::Running);
        if !std::mem::replace(&mut self.is_ready, true) {
            self.socket.ready("running");
        }
    }

    /// Nothing is taken in any more, for this reason.
    pub(crate) fn stopping(&mut self, why: &str) {
        if !std::mem::replace(&mut self.is_stopping, true) {
            notify(&self.watch, Activity::Ending);
            self.socket.stopping(&format!("stopping: {why}"));
        }
    }

    /// The job has ended.
    pub(crate) fn ended(&self) {
        notify(&self.watch, Activity::Ending);
    }
}

/// Says now and then how far a restore from the remote is.
pub(crate) fn fetch_progress(socket: Option<&NotifySocket>) -> impl FnMut(Step) {
    let socket = socket.cloned();
    let (mut checkpoint, mut whole, mut said) = (String::new(), 0, None::<Instant>);
    move |step| {
        let Some(socket) = &socket else { return };
        let bytes = match step {
            Step::Chosen { id, bytes } => {
                (checkpoint, whole, said) = (id.to_string(), bytes, None);
                0
            }
            Step::Fetched { bytes } => bytes,
        };
        if said.is_none_or(|said| said.elapsed() >= PROGRESS_INTERVAL) {
            said = Some(Instant::now());
            let (bytes, whole) = (bytes >> 10, whole >> 10);
            socket.status(&format!(
                "restoring checkpoint {checkpoint} from the remote, {bytes} of {whole} KiB"
            ));
        }
    }
}
