//! The runtime: the actors that move batches, and the plain decisions they are thin shells around.
//!
//! ```text
//!  source ─chunks─▶ Sequencer ─batches─▶ Subtask … Subtask ─parts─▶ SinkActor ─delivered─▶ Sequencer (credit)
//!                      ▲ barrier             │ snapshots                │ position
//!                      └──── CheckpointCoordinator ◀───────────────────┘
//!                               JobSupervisor watches all of them
//! ```
//!
//! | actor | thread | plain part |
//! |---|---|---|
//! | `SourceActor` | main | `source::line_framer` |
//! | `Sequencer` | main | `sequencing`, `pacing`, `ticks`, `clock` |
//! | `JournalActor` | the journal thread | `journal` |
//! | `Shipper` | main, calls to the remote on the remote's own threads | `checkpoint::archive::shipping` |
//! | `CheckpointCoordinator` | main, files on one blocking thread | `checkpoint::pending` |
//! | `JobSupervisor` | main | `restart`, `supervisor::failures`, `supervisor::watchdog` |
//! | `LivenessWatch` | main, only under a service manager | `service::liveness` |
//! | `Subtask` | worker `(stage + index) % threads` | `operator::chain`, `alignment` |
//! | `SinkActor` | the sink thread | `alignment` |
//!
//! So a job has `threads` + 5 threads at most, whatever its size: main, sink, journal and two for files
//! and names; with a remote up to nine for it; and those stuck in operators that never return (see `supervisor`). A batch moves in one message for each pair of subtasks it passes between. Every sender limits itself, so no mailbox can outgrow what its senders may have under way: the
//! sequencer keeps at most `batches_in_flight` batches under way, a connection one chunk. A slow sink slows the sources.
//!
//! Only this module knows actix.

mod alignment;
mod batch;
mod beginning;
mod clock;
mod control;
mod coordinator;
#[cfg(test)]
mod damage_tests;
mod deployment;
mod error;
#[cfg(test)]
mod fault_tests;
mod job;
mod job_handle;
mod journal_actor;
mod memory;
mod memory_watch;
mod messages;
mod open_journal;
mod open_sinks;
mod opening;
mod pacing;
mod progress;
mod remote;
mod replay;
mod report;
mod reserve;
mod restart;
mod sequenced;
mod sequencer;
mod sequencing;
mod service;
mod settings;
mod shipper;
#[cfg(test)]
mod simulated_job;
#[cfg(test)]
mod simulation_tests;
mod sink_actor;
mod source_actor;
mod stop;
mod subtask;
mod supervisor;
mod ticks;
#[cfg(test)]
mod timer_simulation_tests;

pub(crate) use batch::BatchHeader;
pub use batch::{Offset, Timestamp};
pub(crate) use clock::wall_time;
pub(crate) use control::{ControlError, SOCKET_NAME, ask_for_savepoint};
pub use error::JobError;
pub(crate) use error::is_caused_by_full_disk;
pub(crate) use job::run;
#[cfg(test)]
pub(crate) use job::run_on;
pub use job_handle::{AfterSavepoint, JobHandle, PendingSavepoint};
pub(crate) use memory::{MEMORY_MIN, MemoryOverhead, MemoryPlan};
pub use remote::RemoteSettings;
pub(crate) use remote::{OpenRemote, OpenShipping, progress_log, report_journal, report_lost};
pub(crate) use remote::{
    RETAINED_MAX as REMOTE_RETAINED_LIMIT, SHIP_JOURNAL_INTERVAL, SHIP_JOURNAL_INTERVAL_MIN,
};
pub(crate) use replay::replay;
pub use replay::{Gap, Replay, ReplayReport, StateHash};
pub use report::{JobReport, Restored};
pub use restart::RestartStrategy;
pub use service::NotifySocket;
pub(crate) use settings::{
    BATCH_BYTES_LIMIT, BATCH_BYTES_MIN, BATCH_FRAMES_LIMIT, BATCH_TIMEOUT_MIN, BATCHES_IN_FLIGHT_LIMIT,
    CHECKPOINT_INTERVAL_MIN, CHECKPOINTS_RETAINED_LIMIT, PARALLELISM_LIMIT, RESERVE_BYTES_LIMIT,
    SEGMENT_BYTES_LIMIT, SEGMENT_BYTES_MIN, THREADS_LIMIT,
};
pub use settings::{Backend, Compression, JournalSettings, JournalSync, Settings, Start};
pub(crate) use source_actor::{ChunkLimits, Outlet, OutletClosed};
pub use stop::StopHandle;
