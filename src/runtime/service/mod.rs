//! The service manager: told when the job runs, how it does and that it lives, as `sd_notify(3)` has it.
//!
//! - `socket`: the datagrams, and where they go. - `liveness`: whether the job lives; plain. - `watch`: the actor that asks
//!   the others, feeds the watchdog and says how the job does. - `reporter`: what the supervisor tells.
//!
//! ```text
//! STATUS=…       from the first thing that is read on: what is waited for, restored, or done
//! READY=1        everything is restored and the sources are started; a replay from the journal follows
//! WATCHDOG=1     each half of $WATCHDOG_USEC, while the job lives; systemd heeds it from READY=1 to the stop
//! STOPPING=1     nothing more is taken in: the input ended, or a stop was asked for
//! ```
//!
//! Without `$NOTIFY_SOCKET` there is none of this: no actor, no question, no datagram.
//!
//! The watchdog is fed by evidence, not by a timer. Each actor is asked, one question at a time, and answers from its mailbox,
//! behind what it has to do. It is fed while no question has waited for longer than its limit, and no commit of the
//! journal for longer than half of `$WATCHDOG_USEC`. A thread that stands still is noticed after half of `$WATCHDOG_USEC` at
//! the earliest, and the process ended after one and three quarters of it at the latest. What is looked at:
//!
//! | what takes long | its limit |
//! |---|---|
//! | the main thread (sources, sequencer, coordinator, this) stands still | nothing is sent at all |
//! | the journal's thread is in a write or sync that does not return | half of `$WATCHDOG_USEC` |
//! | the journal waits for space on its disk, or for its reserve | none: it answers, and says so |
//! | the journal is at its limit, and waits for a checkpoint | none: no commit is under way |
//! | the journal is synced at an interval | none: a batch counts as committed when it is written |
//! | a batch in an operator | twice `batch_timeout`: by then the supervisor has abandoned its thread. Without a `batch_timeout`, half of `$WATCHDOG_USEC` |
//! | state is restored after a failure, or waits for room in its store | [`RESTORE_MAX`](liveness::RESTORE_MAX), a quarter of an hour |
//! | standard output has a reader that takes nothing | none: it would take nothing from the next process either |
//! | a file sink, or an outbox, in a write or sync that does not return | half of `$WATCHDOG_USEC` |
//! | results wait for their broker, or for space | none: outbox and sink answer meanwhile |
//! | the remote is slow, full or gone; a source has nobody to read from | none: nothing here waits for them |
//! | the restore at the start, also from a remote | none: systemd heeds no watchdog before `READY=1` |
//! | draining, the last checkpoint and its shipping | none here: the service manager has a limit for the stop |
//!
//! Not seen: a checkpoint whose file is never written through. The journal then comes to its limit and sources are slowed.

mod liveness;
mod reporter;
mod socket;
mod watch;

pub(crate) use reporter::{Reporter, fetch_progress};
pub use socket::NotifySocket;
pub(crate) use watch::{LivenessWatch, WatchStart};
