//! Doubles as decimal digits: the shortest that read back as the same double; their text and their rounding.
//!
//! Text: as Flink writes a `DOUBLE`: at least one digit on each side of the point (`21.5`, `3.0`), with an exponent
//! below 0.001 and from 10,000,000 on (`1.0E7`, `2.5E-4`).

use std::fmt::Write;

/// The most digits of the shortest text of a double.
const DIGITS_MAX: usize = 17;
/// The longest text of a double with an exponent, in bytes: sign, digits, point, `e-324`.
const EXPONENT_TEXT_BYTES_MAX: usize = 32;
/// Texts have no exponent from ten to this power on.
const PLAIN_EXPONENT_MIN: i32 = -3;
/// Texts have an exponent from ten to this power on.
const PLAIN_EXPONENT_END: i32 = 7;

/// The decimal digits of a finite double: `0.d₁d₂… × 10^point`.
struct Digits {
    negative: bool,
    digits: heapless::Vec<u8, DIGITS_MAX>,
    point: i32,
}

impl Digits {
    fn of(value: f64) -> Self {
        let mut text: heapless::String<EXPONENT_TEXT_BYTES_MAX> = heapless::String::new();
        write!(text, "{:e}", value.abs()).expect("a double's digits and exponent are below 32 bytes");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let digits = mantissa.bytes().filter(u8::is_ascii_digit).map(|digit| digit - b'0').take(DIGITS_MAX);
        let point = exponent.parse::<i32>().map_or(0, |exponent| exponent + 1);
        Self { negative: value.is_sign_negative(), digits: digits.collect(), point }
    }
}

/// What becomes of the digits that are cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rounding {
    /// To the nearest, a half away from zero.
    HalfUp,
    /// Toward zero.
    Down,
}

/// No double has a digit at this place behind the point or a later one, and none is as large as ten to this power.
const PLACES_MAX: i64 = 400;
/// Doubles below 2^40 are taken times a power of ten: the error of that is far below [`MIDDLE_WIDTH`].
const FAST_END: f64 = 1_099_511_627_776.0;
/// So near to a half or a whole the digits decide.
const MIDDLE_WIDTH: f64 = 1.0 / 256.0;
/// The powers of ten the product with which is exact enough.
const POWERS_OF_TEN: [f64; 16] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// The value rounded to `places` digits behind the decimal point (before it when negative), as its shortest decimal
/// text would be. May be infinite.
pub(super) fn round(value: f64, places: i64, rounding: Rounding) -> f64 {
    round_scaled(value, places, rounding).unwrap_or_else(|| round_digits(value, places, rounding))
}

/// The same by a multiplication, where that surely gives the same.
fn round_scaled(value: f64, places: i64, rounding: Rounding) -> Option<f64> {
    let power = *POWERS_OF_TEN.get(usize::try_from(places).ok()?)?;
    let scaled = value.abs() * power;
    if scaled >= FAST_END {
        return None;
    }
    let whole = scaled.floor();
    let fraction = scaled - whole;
    let doubtful = match rounding {
        Rounding::HalfUp => (fraction - 0.5).abs() < MIDDLE_WIDTH,
        Rounding::Down => !(MIDDLE_WIDTH..=1.0 - MIDDLE_WIDTH).contains(&fraction),
    };
    if doubtful {
        return None;
    }
    let rounded = if rounding == Rounding::HalfUp && fraction > 0.5 { whole + 1.0 } else { whole };
    // Both are exact, so the quotient is the double nearest to the decimal; the sum makes no zero negative.
    Some((rounded / power).copysign(value) + 0.0)
}

fn round_digits(value: f64, places: i64, rounding: Rounding) -> f64 {
    let mut of = Digits::of(value);
    // In -800..=800: doubles have exponents in -324..=309.
    let places = i32::try_from(places.clamp(-PLACES_MAX, PLACES_MAX)).unwrap_or(0);
    let Ok(kept) = usize::try_from(of.point + places) else {
        return 0.0;
    };
    let Some(first_cut) = of.digits.get(kept).copied() else {
        return value + 0.0;
    };
    of.digits.truncate(kept);
    let mut significand = of.digits.iter().fold(0_u64, |number, digit| number * 10 + u64::from(*digit));
    if rounding == Rounding::HalfUp && first_cut >= 5 {
        significand += 1;
    }
    let mut text: heapless::String<EXPONENT_TEXT_BYTES_MAX> = heapless::String::new();
    write!(text, "{significand}e{}", -places).expect("20 digits and an exponent are below 32 bytes");
    let rounded: f64 = text.parse().unwrap_or(0.0);
    if of.negative { 0.0 - rounded } else { rounded }
}

/// Appends the text of a double.
pub(crate) fn write_double(to: &mut String, value: f64) {
    let Digits { negative, digits, point } = Digits::of(value);
    if negative {
        to.push('-');
    }
    let exponent = point - 1;
    let zero = digits.iter().all(|digit| *digit == 0);
    let plain = zero || (PLAIN_EXPONENT_MIN..PLAIN_EXPONENT_END).contains(&exponent);
    let (point, exponent) = if plain { (point, None) } else { (1, Some(exponent)) };
    // The digit at a place counted from the first: zero before it and behind the last.
    let digit = |at: i32| {
        let digit = usize::try_from(at).ok().and_then(|at| digits.get(at)).copied().unwrap_or(0);
        char::from(b'0' + digit)
    };
    let digits_end = i32::try_from(digits.len()).unwrap_or(0);
    if point < 1 {
        to.push('0');
    }
    to.extend((0..point).map(digit));
    to.push('.');
    to.extend((point..digits_end.max(point + 1)).map(digit));
    if let Some(exponent) = exponent {
        to.push('E');
        to.push_str(itoa::Buffer::new().format(exponent));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(value: f64) -> String {
        let mut text = String::new();
        write_double(&mut text, value);
        text
    }

    #[test]
    fn texts_are_as_flink_writes_them() {
        for (value, expected) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (-21.5, "-21.5"),
            (0.001, "0.001"),
            (0.012_5, "0.0125"),
            (0.000_25, "2.5E-4"),
            (9_999_999.0, "9999999.0"),
            (1_234_567.25, "1234567.25"),
            (1e7, "1.0E7"),
            (1.5e300, "1.5E300"),
            (f64::MAX, "1.7976931348623157E308"),
            (5e-324, "5.0E-324"),
            (100.0, "100.0"),
        ] {
            assert_eq!(text(value), expected);
        }
    }

    #[test]
    fn halves_of_the_shortest_text_round_away_from_zero() {
        for (value, places, expected) in [
            (2.675, 2, 2.68),
            (-2.675, 2, -2.68),
            (2.5, 0, 3.0),
            (-0.3, 0, 0.0),
            (1_250.0, -2, 1_300.0),
            (49.0, -2, 0.0),
            (50.0, -2, 100.0),
            (1e300, 5, 1e300),
            (1e300, -301, 0.0),
            (9.99, 1, 10.0),
            (5e-324, 323, 1e-323),
            (123.456, 400_000_000_000, 123.456),
            (123.456, i64::MIN, 0.0),
        ] {
            assert_eq!(round(value, places, Rounding::HalfUp), expected, "{value} {places}");
        }
        assert_eq!(round(f64::MAX, -308, Rounding::HalfUp), f64::INFINITY);
        assert_eq!(round(2.679, 2, Rounding::Down), 2.67);
        assert_eq!(round(-1.1, 1, Rounding::Down), -1.1);
        assert_eq!(round(-1_999.0, -3, Rounding::Down), -1_000.0);
    }

    proptest! {
        #[test]
        fn texts_read_back(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            prop_assert_eq!(text(value).parse::<f64>().unwrap().to_bits(), bits);
        }

        #[test]
        fn scaling_rounds_as_the_digits(value in -1e9..1e9_f64, places in -3..18_i64, down: bool) {
            let rounding = if down { Rounding::Down } else { Rounding::HalfUp };
            if let Some(rounded) = round_scaled(value, places, rounding) {
                prop_assert_eq!(rounded.to_bits(), round_digits(value, places, rounding).to_bits());
            }
        }
    }
}
