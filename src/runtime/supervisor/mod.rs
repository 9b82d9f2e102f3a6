//! The job supervisor: starts the job, rewinds it when an operator fails or hangs, ends it in order.
//!
//! ```text
//!            start                failure            budget left, after the delay
//!  Starting ───────▶ Running ───────────────▶ Rewinding ───────────────▶ Running
//!                      │ all sources ended       │ budget spent
//!                      ▼                         ▼
//!                   Draining ──last checkpoint──▶ Ended
//! ```
//!
//! A rewind restores every subtask from the newest completed checkpoint and replays what came since from the journal;
//! sources and sinks keep their connections. Without a journal readings since that checkpoint are lost: they are
//! counted and logged.
//!
//! | what fails | how it is seen | what follows |
//! |---|---|---|
//! | an operator panics or returns an error | the subtask says so | rewind |
//! | an operator does not return | the watchdog: a batch takes longer than `batch_timeout` | its thread is abandoned, every subtask is deployed anew on other threads, rewind |
//! | an operator fails on the same batch again and again | `frame_attempts_max` failures, the last one frame by frame | the frame is skipped and kept in the dead-letter file, rewind |
//! | the restart budget is spent, or [`ABANDONED_THREADS_MAX`] threads are stuck | | the job ends with the cause |
//! | any other actor ends | `LIVENESS_INTERVAL` | the job ends |
//!
//! The watchdog sees everything a batch runs through: closures, `process`, formats, the drop of operators that failed.
//! While some thread waits for the disk of its state (`state::waiting`, ten minutes at most when that is full) it judges nobody.
//! It does not see what hangs while the job is restored (an `open`, the drop of operators that did not fail) or while a
//! checkpoint is written (serializing state).

mod actor;
mod failures;
mod job_actors;
mod rewinding;
mod watchdog;

pub(crate) use actor::{JobSupervisor, Orders, StartJob};
pub(crate) use failures::Failures;
pub(crate) use job_actors::JobActors;

/// Threads stuck in operators that a job bears; one more ends it.
pub(crate) const ABANDONED_THREADS_MAX: usize = 8;
