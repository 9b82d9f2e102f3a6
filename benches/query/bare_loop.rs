//! The floor: one thread, no engine. What a careful person would write for exactly these queries, with the engine's JSON parser.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

const BUFFER_BYTES: usize = 256 * 1024;
const MINUTE_MS: i64 = 60_000;
/// What the watermark is behind the latest event time.
const DELAY_MS: i64 = 5_000;

#[derive(Deserialize)]
struct Reading<'a> {
    sensor: &'a str,
    temperature: f64,
    ts: i64,
}

/// One of the two queries.
pub(crate) trait Query: Default {
    fn line(&mut self, line: &[u8], results: &mut Vec<u8>);
    fn end_block(&mut self, results: &mut Vec<u8>);
    fn end(&mut self, results: &mut Vec<u8>);
}

/// Runs a query over the lines of `input`.
pub(crate) fn run<Q: Query>(input: &Path, output: &Path) {
    let (mut input, mut out) = (File::open(input).unwrap(), File::create(output).unwrap());
    let mut query = Q::default();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut held = 0;
    let mut results = Vec::with_capacity(2 * BUFFER_BYTES);
    loop {
        let read = input.read(&mut buffer[held..]).unwrap();
        if read == 0 {
            break;
        }
        let filled = held + read;
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', &buffer[..filled]) {
            query.line(&buffer[start..end], &mut results);
            start = end + 1;
        }
        query.end_block(&mut results);
        buffer.copy_within(start..filled, 0);
        held = filled - start;
        if results.len() >= BUFFER_BYTES {
            out.write_all(&results).unwrap();
            results.clear();
        }
    }
    query.end(&mut results);
    out.write_all(&results).unwrap();
}

fn write_row(row: &impl Serialize, results: &mut Vec<u8>) {
    serde_json::to_writer(&mut *results, row).unwrap();
    results.push(b'\n');
}

/// Filter and projection.
#[derive(Default)]
pub(crate) struct Fahrenheit;

#[derive(Serialize)]
struct FahrenheitRow<'a> {
    sensor: &'a str,
    f: f64,
}

impl Query for Fahrenheit {
    fn line(&mut self, line: &[u8], results: &mut Vec<u8>) {
        let Ok(reading) = serde_json::from_slice::<Reading<'_>>(line) else { return };
        if reading.temperature > 20.0 {
            write_row(
                &FahrenheitRow { sensor: reading.sensor, f: reading.temperature * 1.8 + 32.0 },
                results,
            );
        }
    }

    fn end_block(&mut self, _: &mut Vec<u8>) {}

    fn end(&mut self, _: &mut Vec<u8>) {}
}

/// Aggregates of each sensor in each minute.
#[derive(Default)]
pub(crate) struct Minutes {
    /// Groups of the open windows, by start.
    open: Vec<(i64, HashMap<String, Group, RandomState>)>,
    latest: i64,
}

struct Group {
    sum: f64,
    least: f64,
    greatest: f64,
    count: u64,
}

#[derive(Serialize)]
struct MinuteRow<'a> {
    sensor: &'a str,
    window_end: &'a str,
    average: f64,
    least: f64,
    greatest: f64,
    readings: u64,
}

impl Minutes {
    fn close(&mut self, watermark: i64, results: &mut Vec<u8>) {
        while let Some(due) = self.open.iter().position(|(start, _)| start + MINUTE_MS - 1 <= watermark) {
            let (start, groups) = self.open.remove(due);
            let end = jiff::Timestamp::from_millisecond(start + MINUTE_MS).unwrap();
            let window_end = end.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
            for (sensor, group) in &groups {
                let row = MinuteRow {
                    sensor,
                    window_end: &window_end,
                    average: group.sum / group.count as f64,
                    least: group.least,
                    greatest: group.greatest,
                    readings: group.count,
                };
                write_row(&row, results);
            }
        }
    }
}

impl Query for Minutes {
    fn line(&mut self, line: &[u8], _: &mut Vec<u8>) {
        let Ok(reading) = serde_json::from_slice::<Reading<'_>>(line) else { return };
        let start = reading.ts - reading.ts.rem_euclid(MINUTE_MS);
        let at = self.open.iter().rposition(|(open, _)| *open == start).unwrap_or_else(|| {
            self.open.push((start, HashMap::default()));
            self.open.len() - 1
        });
        let group = self.open[at].1.entry_ref(reading.sensor).or_insert(Group {
            sum: 0.0,
            least: f64::INFINITY,
            greatest: f64::NEG_INFINITY,
            count: 0,
        });
        group.sum += reading.temperature;
        group.least = group.least.min(reading.temperature);
        group.greatest = group.greatest.max(reading.temperature);
        group.count += 1;
        self.latest = self.latest.max(reading.ts);
    }

    fn end_block(&mut self, results: &mut Vec<u8>) {
        self.close(self.latest - DELAY_MS, results);
    }

    fn end(&mut self, results: &mut Vec<u8>) {
        self.close(i64::MAX, results);
    }
}
