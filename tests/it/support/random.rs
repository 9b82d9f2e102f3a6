//! Random choices that can be repeated: splitmix64 from a seed that every failure shows.

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

/// A generator of random numbers (Steele, Lea, Flood: splitmix64).
#[derive(Debug, Clone)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    /// Seeded from `TIDEGATE_TEST_SEED`, or anew for each run. Prints the seed: the harness shows it with a failure.
    pub(crate) fn seeded() -> Self {
        let given = std::env::var("TIDEGATE_TEST_SEED").ok();
        let seed = match given {
            Some(text) => text.parse().expect("TIDEGATE_TEST_SEED is a number"),
            None => RandomState::new().hash_one("seed"),
        };
        println!("repeat with TIDEGATE_TEST_SEED={seed}");
        Self { state: seed }
    }

    /// A generator of its own for case `number`, so that one case can be looked at without the others.
    pub(crate) fn case(&self, number: u64) -> Self {
        Self { state: self.state ^ number.wrapping_mul(0xD134_2543_DE82_EF95) }
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number in `range`, which is not empty.
    pub(crate) fn within(&mut self, range: Range<usize>) -> usize {
        let width = (range.end - range.start) as u64;
        range.start + usize::try_from(self.number() % width).expect("a width fits")
    }

    /// A key of `keys` many, from 1 on, and a value of either sign.
    pub(crate) fn reading(&mut self, keys: usize) -> (i64, i64) {
        let key = i64::try_from(self.within(0..keys)).expect("few keys") + 1;
        let value = i64::try_from(self.within(0..2001)).expect("small values") - 1000;
        (key, value)
    }
}
