//! The lines that are sent: random, from a fixed seed.

pub(crate) const SEED: u64 = 0x7469_6465;

/// `key value` lines from a fixed seed.
pub(crate) fn readings(lines: u64, keys: u64) -> Vec<u8> {
    let mut state = SEED;
    let mut data = Vec::new();
    let mut number = itoa::Buffer::new();
    for _ in 0..lines {
        // SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut random = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        random = (random ^ (random >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        random ^= random >> 31;
        data.extend_from_slice(number.format((random >> 32) % keys).as_bytes());
        data.push(b' ');
        data.extend_from_slice(number.format(random & 1023).as_bytes());
        data.push(b'\n');
    }
    data
}
