//! Sums of doubles, compensated: Neumaier, "Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen"
//! (1974). The error does not grow with the number of values.

use serde::{Deserialize, Serialize};

use crate::metrics::RejectCause;

/// A sum and the number of its values. Sum and compensation together are finite.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct DoubleSum {
    sum: f64,
    compensation: f64,
    count: u64,
}

impl DoubleSum {
    #[inline]
    pub(super) fn add(&mut self, value: f64) -> Result<(), RejectCause> {
        let mut next = *self;
        next.add_term(value);
        next.count += 1;
        self.replace_with(next)
    }

    pub(super) fn merge(&mut self, other: &Self) -> Result<(), RejectCause> {
        let mut next = *self;
        next.add_term(other.sum);
        next.add_term(other.compensation);
        next.count += other.count;
        self.replace_with(next)
    }

    fn add_term(&mut self, value: f64) {
        let sum = self.sum + value;
        let lost =
            if self.sum.abs() >= value.abs() { (self.sum - sum) + value } else { (value - sum) + self.sum };
        self.sum = sum;
        self.compensation += lost;
    }

    fn replace_with(&mut self, next: Self) -> Result<(), RejectCause> {
        if !(next.sum + next.compensation).is_finite() {
            return Err(RejectCause::OVERFLOW);
        }
        *self = next;
        Ok(())
    }

    /// None of no value.
    pub(super) fn sum(&self) -> Option<f64> {
        (self.count > 0).then_some(self.sum + self.compensation)
    }

    /// None of no value.
    pub(super) fn average(&self) -> Option<f64> {
        // A count is far below 2^53.
        self.sum().map(|sum| sum / self.count as f64)
    }
}
