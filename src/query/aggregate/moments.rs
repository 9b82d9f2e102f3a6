//! Variance and standard deviation in one pass: Welford, "Note on a Method for Calculating Corrected Sums of Squares
//! and Products" (1962); merged as Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing
//! Sample Variances" (1979).

use serde::{Deserialize, Serialize};

use crate::metrics::RejectCause;

/// Number, mean and summed squared deviations of values. All are finite.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Moments {
    count: u64,
    mean: f64,
    squares: f64,
}

/// What is asked of the moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Spread {
    VariancePopulation,
    VarianceSample,
    DeviationPopulation,
    DeviationSample,
}

impl Moments {
    pub(super) fn add(&mut self, value: f64) -> Result<(), RejectCause> {
        let count = self.count + 1;
        let off = value - self.mean;
        let mean = self.mean + off / count as f64;
        self.replace_with(Self { count, mean, squares: self.squares + off * (value - mean) })
    }

    pub(super) fn merge(&mut self, other: &Self) -> Result<(), RejectCause> {
        if self.count == 0 || other.count == 0 {
            if self.count == 0 {
                *self = *other;
            }
            return Ok(());
        }
        let count = self.count + other.count;
        let off = other.mean - self.mean;
        let weight = other.count as f64 / count as f64;
        let mean = self.mean + off * weight;
        let squares = self.squares + other.squares + off * off * (self.count as f64 * weight);
        self.replace_with(Self { count, mean, squares })
    }

    fn replace_with(&mut self, next: Self) -> Result<(), RejectCause> {
        if !(next.mean.is_finite() && next.squares.is_finite()) {
            return Err(RejectCause::OVERFLOW);
        }
        *self = next;
        Ok(())
    }

    /// None of no value, and of a single one for a sample.
    pub(super) fn spread(&self, spread: Spread) -> Option<f64> {
        let fewer = match spread {
            Spread::VariancePopulation | Spread::DeviationPopulation => 0,
            Spread::VarianceSample | Spread::DeviationSample => 1,
        };
        let divisor = self.count.checked_sub(fewer).filter(|divisor| *divisor > 0)?;
        // Rounding must not give a negative variance.
        let variance = (self.squares / divisor as f64).max(0.0);
        Some(match spread {
            Spread::VariancePopulation | Spread::VarianceSample => variance,
            Spread::DeviationPopulation | Spread::DeviationSample => variance.sqrt(),
        })
    }
}
