//! Whole numbers as decimal text, appended to a vector.
//!
//! Numbers below 10⁸ become eight digits in one register by multiplication, without a loop or a table, and are
//! appended with one store of fixed length: most readings are short, and digits written two by two into a buffer and
//! copied from there wait for the store to be visible to the load. Longer numbers go through `itoa`.
//!
//! Source of the algorithm: Paul Khuong, "How to print integers really fast" (2017).

/// Numbers below this have at most eight digits.
const EIGHT_DIGITS: u64 = 100_000_000;

/// Appends `number`.
#[inline(always)]
pub(super) fn append_unsigned(number: u64, out: &mut Vec<u8>) {
    if number < EIGHT_DIGITS {
        let (text, length) = short_decimal(number);
        let end = out.len() + length;
        out.extend_from_slice(&text.to_le_bytes());
        out.truncate(end);
    } else {
        out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }
}

/// Appends `number`.
#[inline(always)]
pub(super) fn append_signed(number: i64, out: &mut Vec<u8>) {
    if number < 0 {
        out.push(b'-');
    }
    append_unsigned(number.unsigned_abs(), out);
}

/// The digits of a number below 10⁸, first digit in the lowest byte, and how many there are.
#[inline(always)]
fn short_decimal(number: u64) -> (u64, usize) {
    // Two halves of four digits, one in each 32 bits; then quarters of two in 16; then single digits in bytes.
    let halves = (number / 10_000) | ((number % 10_000) << 32);
    let hundreds = ((halves * 10_486) >> 20) & 0x0000_007F_0000_007F;
    let quarters = hundreds | ((halves - 100 * hundreds) << 16);
    let tens = ((quarters * 103) >> 10) & 0x000F_000F_000F_000F;
    let digits = tens | ((quarters - 10 * tens) << 8);
    // Leading zeros are in the lowest bytes; the last digit always stays.
    let leading_bits = (digits | 1 << 56).trailing_zeros() & !7;
    ((digits | 0x3030_3030_3030_3030) >> leading_bits, 8 - (leading_bits / 8) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(number: i64) -> String {
        let mut out = b"x".to_vec();
        append_signed(number, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn agrees_with_the_standard_library() {
        let mut numbers: Vec<i64> = (-10_100..10_100).collect();
        for digits in 0..19 {
            let power = 10i64.pow(digits);
            numbers.extend([power - 1, power, power + 1, -power, 7 * (power / 3), 9 * (power / 10)]);
        }
        numbers.extend([i64::MIN, i64::MAX, 99_999_999, 100_000_000]);
        numbers.extend((0..100_000_000).step_by(7919));
        for number in numbers {
            assert_eq!(text(number), format!("x{number}"));
        }
    }
}
