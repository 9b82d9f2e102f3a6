//! Approximate percentiles: a sketch of bins of equal relative width, after DDSketch (Masson, Rim and Lee, "DDSketch: a
//! fast and fully-mergeable quantile sketch with relative-error guarantees", 2019).
//!
//! The bin of a value is the top of its IEEE 754 bits: exponent and 6 bits of the mantissa, 64 bins from a power of two
//! to the next. No logarithm is taken, so the bins are the same on every processor.
//!
//! Limits: a result is within 1 % of the value of its rank (1/129 at most) while the values fill no more than
//! [`BINS_MAX`] bins; that is any values within a factor of 2^32, and usually far more. Beyond, each two neighbouring
//! bins become one, for the whole group, and the error doubles. At most 32 KiB a group. Magnitudes below 2^-1022 count
//! as 0.
//!
//! The width of the bins follows from the values alone, so a merged sketch equals that of all values.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

/// The most bins of a group.
pub(super) const BINS_MAX: usize = 2_048;
/// The bits of a double below its bin.
const FINE_BITS: u32 = 46;
/// The lowest bin: of the smallest normal double.
const BIN_MIN: u32 = 1 << (52 - FINE_BITS);
/// So often halved, the bins of all doubles of both signs are below the limit.
const HALVINGS_MAX: u32 = 7;

/// A sketch, with the percentile that is asked of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct QuantileSketch {
    /// 0.0..=1.0
    share: f64,
    /// How often two bins became one.
    halvings: u32,
    /// Bin and number of values, by bin: 0 for zero, negative for negative values, at least 1 in magnitude else.
    bins: Vec<(i32, u64)>,
}

impl QuantileSketch {
    pub(super) fn new(share: f64) -> Self {
        Self { share, halvings: 0, bins: Vec::new() }
    }

    pub(super) fn add(&mut self, value: f64) {
        self.add_to(halved(bin(value), self.halvings), 1);
        self.shrink();
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.halve_to(other.halvings);
        let further = self.halvings.saturating_sub(other.halvings);
        // Bins of the same width fall on the same bins.
        for (bin, count) in &other.bins {
            self.add_to(halved(*bin, further), *count);
        }
        self.shrink();
    }

    fn add_to(&mut self, bin: i32, count: u64) {
        match self.bins.binary_search_by_key(&bin, |(bin, _)| *bin) {
            Ok(at) => self.bins[at].1 += count,
            Err(at) => self.bins.insert(at, (bin, count)),
        }
    }

    fn shrink(&mut self) {
        while self.bins.len() > BINS_MAX && self.halvings < HALVINGS_MAX {
            self.halve_to(self.halvings + 1);
        }
    }

    fn halve_to(&mut self, halvings: u32) {
        let halvings = halvings.min(HALVINGS_MAX);
        let Some(further) = halvings.checked_sub(self.halvings).filter(|further| *further > 0) else {
            return;
        };
        self.halvings = halvings;
        self.bins.iter_mut().for_each(|(bin, _)| *bin = halved(*bin, further));
        self.bins.dedup_by(|(bin, count), (kept, kept_count)| {
            let same = bin == kept;
            if same {
                *kept_count += *count;
            }
            same
        });
    }

    /// The value below or at which the share of the values lies: that of rank `⌈share × count⌉`. None of no value.
    pub(super) fn quantile(&self) -> Option<f64> {
        let count: u64 = self.bins.iter().map(|(_, count)| count).sum();
        let rank = ((self.share * count as f64).ceil() as u64).clamp(1, count.max(1));
        let mut below = 0;
        let found = self.bins.iter().find(|(_, count)| {
            below += count;
            below >= rank
        });
        found.map(|(bin, _)| middle(*bin, self.halvings))
    }
}

fn bin(value: f64) -> i32 {
    let magnitude = i32::try_from(value.abs().to_bits() >> FINE_BITS).unwrap_or(i32::MAX);
    if magnitude < BIN_MIN.cast_signed() {
        return 0;
    }
    if value < 0.0 { -magnitude } else { magnitude }
}

/// The bin that takes this one's values when two become one so many times. Zero stays apart.
fn halved(bin: i32, times: u32) -> i32 {
    // Each keeps the number of its first bin, shifted, so that widths can be told from any number of halvings.
    let magnitude = (bin.unsigned_abs() >> times.min(HALVINGS_MAX)).max(u32::from(bin != 0)).cast_signed();
    if bin < 0 { -magnitude } else { magnitude }
}

/// The value whose relative distance to both ends of a bin is the same.
fn middle(bin: i32, halvings: u32) -> f64 {
    let start_of = |bin: u64| f64::from_bits(bin << (halvings.min(HALVINGS_MAX) + FINE_BITS));
    let magnitude = u64::from(bin.unsigned_abs());
    let (start, end) = (start_of(magnitude), start_of(magnitude + 1));
    let middle = if end.is_finite() && end > start {
        // 2 start end / (start + end), without overflow.
        start * (2.0 / (start / end + 1.0))
    } else {
        start
    };
    match bin.cmp(&0) {
        Ordering::Less => -middle,
        Ordering::Equal => 0.0,
        Ordering::Greater => middle,
    }
}
