//! How fast frames are decoded and rows encoded, beside what the parser alone needs. Run by hand, in release:
//! `cargo test --release speed -- --ignored --nocapture --test-threads=1`.

use std::hint::black_box;
use std::time::Instant;

use serde::Deserialize;

use super::decoder::{Decoder, Format};
use super::encode::{OutputFormat, RowEncoder};
use super::field::FieldSpec;
use super::test_source::fields;
use crate::query::column::Column;
use crate::query::sql_type::SqlType;

/// Frames of a run.
const FRAMES: usize = 1_000_000;
/// Frames of a batch: then the columns are emptied.
const BATCH_FRAMES: usize = 1_024;
/// Runs, of which the best counts.
const RUNS: usize = 5;

#[derive(Deserialize)]
struct Reading<'a> {
    sensor: &'a str,
    temperature: f64,
    ts: i64,
}

fn print_best(what: &str, mut run: impl FnMut()) {
    let mut best = f64::INFINITY;
    for _ in 0..RUNS {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
    }
    println!("{what:40} {:6.2} M rows/s", FRAMES as f64 / best / 1e6);
}

fn decode_all(format: Format, fields: &[FieldSpec], frames: &[String]) {
    let mut decoder = Decoder::new(format, fields).unwrap();
    let mut columns: Vec<_> = fields.iter().map(|field| Column::new(field.sql_type)).collect();
    for batch in frames.chunks(BATCH_FRAMES) {
        columns.iter_mut().for_each(Column::clear);
        for frame in batch {
            decoder.decode(frame, 0, &mut columns).unwrap();
        }
        black_box(&columns);
    }
}

#[test]
#[ignore = "a measurement: run by hand, in release, on an idle machine"]
fn speed_of_decoding_and_encoding() {
    let frame = |index: usize| {
        let (degrees, tenth) = (15 + index % 20, index % 10);
        format!(
            "{{\"sensor\":\"s{}\",\"temperature\":{degrees}.{tenth},\"ts\":{}}}",
            index % 1_000,
            1_732_270_000_000 + index
        )
    };
    let frames: Vec<String> = (0..FRAMES).map(frame).collect();
    print_best("serde_json, borrowed struct", || {
        for frame in &frames {
            let reading: Reading<'_> = serde_json::from_str(frame).unwrap();
            black_box((reading.sensor, reading.temperature, reading.ts));
        }
    });
    print_best("serde_json, struct into columns", || {
        let (mut texts, mut doubles, mut times) = (Vec::new(), Vec::new(), Vec::new());
        for frame in &frames {
            if doubles.len() == BATCH_FRAMES {
                texts.clear();
                doubles.clear();
                times.clear();
            }
            let reading: Reading<'_> = serde_json::from_str(frame).unwrap();
            texts.extend_from_slice(reading.sensor.as_bytes());
            doubles.push(reading.temperature);
            times.push(reading.ts);
        }
        black_box((texts, doubles, times));
    });
    let specs = fields(&[
        ("sensor", "sensor", SqlType::String),
        ("temperature", "temperature", SqlType::Double),
        ("ts", "ts", SqlType::Timestamp),
    ]);
    print_best("json, all three columns", || decode_all(Format::Json, &specs, &frames));
    print_best("json, one column", || decode_all(Format::Json, &specs[1..2], &frames));

    let pairs: Vec<String> = (0..FRAMES).map(|index| format!("{} {}", index % 10, index)).collect();
    let integers = fields(&[("key", "key", SqlType::BigInt), ("value", "value", SqlType::BigInt)]);
    print_best("text, two integers", || decode_all(Format::Text, &integers, &pairs));
    let lines: Vec<String> = pairs.iter().map(|line| line.replace(' ', ",")).collect();
    let csv = || Format::Csv(super::csv::CsvFormat::default());
    print_best("csv, two integers", || decode_all(csv(), &integers, &lines));

    let mut decoder = Decoder::new(Format::Json, &specs).unwrap();
    let mut columns: Vec<_> = specs.iter().map(|field| Column::new(field.sql_type)).collect();
    frames[..BATCH_FRAMES].iter().for_each(|frame| assert_eq!(decoder.decode(frame, 0, &mut columns), Ok(1)));
    let names: Vec<_> = specs.iter().map(|field| field.name.clone()).collect();
    let types: Vec<_> = specs.iter().map(|field| field.sql_type).collect();
    let encoder = RowEncoder::new(OutputFormat::Json, &names, &types).unwrap();
    let mut out = Vec::new();
    print_best("json, encoding three columns", || {
        for row in 0..FRAMES {
            if row % BATCH_FRAMES == 0 {
                out.clear();
            }
            encoder.encode(&columns, row % BATCH_FRAMES, &mut out);
        }
        black_box(&out);
    });
}
