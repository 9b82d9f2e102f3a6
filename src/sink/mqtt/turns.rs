//! Whose turn it is: outputs of the backlog, at a limited rate, or those that have come in since the connection was made.

use std::time::Instant;

use crate::sink::outbox::{Lane, Outbox, OutboxError, Output};

/// One of so many outputs is of the backlog while there are new ones.
const BACKLOG_SHARE: u32 = 8;

/// Takes outputs out of an outbox, of both lanes by turns.
#[derive(Debug)]
pub(super) struct Turns {
    /// Outputs of the backlog in a second, at most.
    rate: f64,
    /// Outputs of the backlog that may leave now.
    tokens: f64,
    refilled: Instant,
    /// Outputs since the last one of the backlog.
    since_backlog: u32,
}

impl Turns {
    pub(super) fn new(backlog_rate: u32) -> Self {
        Self { rate: f64::from(backlog_rate), tokens: 0.0, refilled: Instant::now(), since_backlog: 0 }
    }

    /// A connection begins.
    pub(super) fn begin(&mut self) {
        self.tokens = 0.0;
        self.refilled = Instant::now();
    }

    /// The next output: a new one, or one of the backlog when it is its turn.
    pub(super) fn next(
        &mut self,
        outbox: &mut Outbox,
        is_ending: bool,
    ) -> Result<Option<Output>, OutboxError> {
        let may_take_backlog = self.tokens >= 1.0 || is_ending;
        if may_take_backlog && self.since_backlog >= BACKLOG_SHARE {
            self.since_backlog = 0;
            if let Some(output) = outbox.take(Lane::Backlog)? {
                self.tokens -= 1.0;
                return Ok(Some(output));
            }
        }
        if let Some(output) = outbox.take(Lane::Live)? {
            self.since_backlog += 1;
            return Ok(Some(output));
        }
        if may_take_backlog && let Some(output) = outbox.take(Lane::Backlog)? {
            self.tokens -= 1.0;
            return Ok(Some(output));
        }
        Ok(None)
    }

    /// Gives the backlog its share of time: what is not used within a fifth of a second is lost.
    pub(super) fn refill(&mut self) {
        let elapsed = self.refilled.elapsed();
        self.refilled += elapsed;
        self.tokens =
            (self.tokens + self.rate * elapsed.as_secs_f64()).clamp(-1.0, (self.rate / 5.0).max(1.0));
    }
}
