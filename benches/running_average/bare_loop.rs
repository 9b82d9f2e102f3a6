//! The floor: one thread, no engine. What a careful person would write for exactly this job.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

const BUFFER_BYTES: usize = 256 * 1024;

/// Reads lines from `address` until it closes, writes averages to `output`.
pub(crate) fn run(address: &str, output: &Path) {
    let mut stream = TcpStream::connect(address).unwrap();
    let mut out = File::create(output).unwrap();
    let mut state: HashMap<i64, (i64, i64), foldhash::fast::RandomState> = HashMap::default();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut held = 0;
    let mut results = Vec::with_capacity(2 * BUFFER_BYTES);
    loop {
        let read = stream.read(&mut buffer[held..]).unwrap();
        if read == 0 {
            break;
        }
        let filled = held + read;
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', &buffer[..filled]) {
            line(&buffer[start..end], &mut state, &mut results);
            start = end + 1;
        }
        buffer.copy_within(start..filled, 0);
        held = filled - start;
        if results.len() >= BUFFER_BYTES {
            out.write_all(&results).unwrap();
            results.clear();
        }
    }
    out.write_all(&results).unwrap();
}

fn line(
    line: &[u8],
    state: &mut HashMap<i64, (i64, i64), foldhash::fast::RandomState>,
    results: &mut Vec<u8>,
) {
    let blank = line.iter().position(|byte| *byte == b' ').unwrap();
    let (Some(key), Some(value)) = (number(&line[..blank]), number(&line[blank + 1..])) else { return };
    let (count, sum) = state.entry(key).or_insert((0, 0));
    let Some(added) = sum.checked_add(value) else { return };
    *sum = added;
    *count += 1;
    if *count >= 2 {
        let mut digits = itoa::Buffer::new();
        results.push(b'(');
        results.extend_from_slice(digits.format(key).as_bytes());
        results.push(b',');
        results.extend_from_slice(digits.format(*sum / *count).as_bytes());
        results.extend_from_slice(b")\n");
    }
}

/// A number as `str::parse` reads it, without looking at the text twice.
fn number(digits: &[u8]) -> Option<i64> {
    let (negative, digits) = match digits {
        [b'-', rest @ ..] => (true, rest),
        all => (false, all),
    };
    let mut number: i64 = 0;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(i64::from(digit))?;
    }
    (!digits.is_empty()).then_some(if negative { -number } else { number })
}
