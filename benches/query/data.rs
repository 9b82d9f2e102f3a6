//! The readings of the bench: random, from a fixed seed.

use std::io::Write as _;

pub(crate) const SEED: u64 = 0x7469_6465;
pub(crate) const SENSORS: u64 = 1_000;
/// Event time of the first reading, in milliseconds.
const FIRST_MS: u64 = 1_790_000_000_000;
/// One reading a millisecond.
const STEP_MS: u64 = 1;
/// A reading is at most so far behind its place, in milliseconds: within the watermark's delay.
const DISORDER_MS: u64 = 4_000;

/// JSON lines, event time rising but for the disorder. Temperatures are quarters of a degree from 10 to 34.75: sums of them are
/// exact, however they are made.
pub(crate) fn readings(lines: u64) -> Vec<u8> {
    let mut state = SEED;
    let mut data = Vec::new();
    for line in 0..lines {
        // SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut random = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        random = (random ^ (random >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        random ^= random >> 31;
        let sensor = (random >> 40) % SENSORS;
        let temperature = 10.0 + (random % 100) as f64 / 4.0;
        // One reading in eight is late.
        let behind = if (random >> 8) & 7 == 0 { (random >> 16) % DISORDER_MS } else { 0 };
        let ts = FIRST_MS + line * STEP_MS - behind;
        writeln!(data, r#"{{"sensor":"s{sensor}","temperature":{temperature:?},"ts":{ts}}}"#).unwrap();
    }
    data
}
