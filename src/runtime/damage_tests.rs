//! One damaged file of a crashed job, whichever and however: the next start gives the results of an uninterrupted run,
//! or says what is lost, and then just that is missing.
//!
//! The one thing that cannot be told is the loss of the journal's very end, which looks like a torn tail: lines that were
//! acknowledged are then asked for again. Nothing else may be taken back without a report.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::simulated_job::{RESULTS, expected, input, run_job};
use crate::disk::{Random, SimulatedDisk};
use crate::source::{Acknowledged, RecordedBatch};

/// Lines so long that the journal has several segments.
const LONG_LINE_BYTES: usize = 8_000;
const CASES_OF_A_CRASH: usize = 8;
const PAGE_BYTES: usize = 4096;

/// What is done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Harm {
    Flip,
    Zero,
    Cut,
    Garbage,
    Swap,
    Remove,
}

const HARMS: [Harm; 6] = [Harm::Flip, Harm::Zero, Harm::Cut, Harm::Garbage, Harm::Swap, Harm::Remove];

/// Everything that was logged.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs the job; returns what it logged too. What a start reports it logs on the thread it is started from.
fn run_logged(
    disk: &SimulatedDisk,
    batches: &[RecordedBatch],
    acknowledged: &Arc<Acknowledged>,
) -> (Result<(), String>, String) {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let outcome = tracing::subscriber::with_default(subscriber, || run_job(disk, batches, acknowledged));
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    (outcome.map(drop).map_err(|error| error.to_string()), log)
}

/// Damages one file; returns which, and at which byte.
fn damage(disk: &SimulatedDisk, harm: Harm, random: &mut Random) -> Option<(PathBuf, usize)> {
    let files: Vec<PathBuf> = disk
        .files()
        .into_iter()
        .filter(|path| path.starts_with("/data") && !path.ends_with("reserve"))
        .collect();
    let path = files[random.below(files.len() as u64) as usize].clone();
    let bytes = disk.content(&path).unwrap();
    // Preallocated zeros are most of a segment; what is written lies before them.
    let written = bytes.iter().rposition(|byte| *byte != 0)? + 1;
    let position = random.below(written as u64) as usize;
    match harm {
        Harm::Flip => disk.damage(&path, |bytes| bytes[position] ^= 1 << (position % 8)),
        Harm::Zero => disk.damage(&path, |bytes| {
            let end = bytes.len().min(position + PAGE_BYTES);
            bytes[position..end].fill(0);
        }),
        Harm::Cut => disk.damage(&path, |bytes| bytes.truncate(position)),
        Harm::Garbage => disk.damage(&path, |bytes| {
            let end = bytes.len().min(position + PAGE_BYTES);
            bytes[position..end].iter_mut().for_each(|byte| *byte = random.next() as u8);
        }),
        Harm::Swap => {
            let alike = |other: &&PathBuf| other.extension() == path.extension() && **other != path;
            let other = files.iter().find(alike)?;
            let others = disk.content(other).unwrap();
            disk.damage(other, |content| *content = bytes.clone());
            disk.damage(&path, |content| *content = others);
        }
        Harm::Remove => {
            disk.lose(&path);
        }
    }
    Some((path, position))
}

/// True when `results` are those of the input with one run of readings missing.
fn has_one_gap(results: &str, batches: &[RecordedBatch]) -> bool {
    let whole = expected(batches);
    let same = results.lines().zip(whole.lines()).take_while(|(result, whole)| result == whole).count();
    let Some(missing) = whole.lines().count().checked_sub(results.lines().count()) else { return false };
    let mut left = Vec::new();
    let mut number = 0;
    for batch in batches {
        let mut lines = Vec::new();
        for line in &batch.lines {
            if !(same..same + missing).contains(&number) {
                lines.push(line.clone());
            }
            number += 1;
        }
        left.push(RecordedBatch { stamp_ms: batch.stamp_ms, lines });
    }
    expected(&left) == results
}

/// True when `results` end with those of the input without its first readings.
fn ends_with_a_late_start(results: &str, batches: &[RecordedBatch]) -> bool {
    let readings: usize = batches.iter().map(|batch| batch.lines.len()).sum();
    (1..readings).any(|missing| {
        let mut left = missing;
        let behind = |batch: &RecordedBatch| {
            let skipped = left.min(batch.lines.len());
            left -= skipped;
            RecordedBatch { stamp_ms: batch.stamp_ms, lines: batch.lines[skipped..].to_vec() }
        };
        let behind: Vec<RecordedBatch> = batches.iter().map(behind).collect();
        results.ends_with(&expected(&behind))
    })
}

#[test]
fn a_damaged_file_is_harmless_or_what_is_lost_is_said() {
    let crashes = std::env::var("TIDEGATE_DAMAGE_CRASHES").map_or(100, |text| text.parse().unwrap());
    let first = std::env::var("TIDEGATE_TEST_SEED").map_or(0, |text| text.parse().unwrap());
    let (mut harmless, mut reported, mut taken_back) = (0, 0, 0);
    for seed in first..first + crashes {
        let mut random = Random(seed);
        let batches = input(&mut random, LONG_LINE_BYTES);
        let crashed = SimulatedDisk::new();
        let acknowledged = Arc::default();
        crashed.cut_after(40 + random.below(120));
        // One that ends before is as good a directory to damage.
        drop(run_job(&crashed, &batches, &acknowledged));
        let crashed = crashed.after_power_cut(&mut random);
        for _ in 0..CASES_OF_A_CRASH {
            let disk = crashed.after_power_cut(&mut random);
            let harm = HARMS[random.below(HARMS.len() as u64) as usize];
            let Some((path, position)) = damage(&disk, harm, &mut random) else { continue };
            let acknowledged = acknowledged.branch();
            let (outcome, log) = run_logged(&disk, &batches, &acknowledged);
            let context = format!(
                "TIDEGATE_TEST_SEED={seed}, {harm:?} of {} at byte {position}; the log:\n{log}",
                path.display()
            );
            if let Err(error) = &outcome {
                panic!("{error}: {context}");
            }
            let is_reported = log.contains(" WARN ") || log.contains("ERROR ");
            let results = disk.content(Path::new(RESULTS)).unwrap_or_default();
            let results = String::from_utf8_lossy(&results);
            if results == expected(&batches) {
                harmless += 1;
            } else if log.contains("written to it again") {
                let is_repeated = results.ends_with(&expected(&batches));
                // Checkpoints share the parts of what did not change between them: one damaged file can take them all,
                // and the journal behind the oldest is gone.
                let begins_late = log.contains("lost=") && ends_with_a_late_start(&results, &batches);
                assert!(is_repeated || begins_late, "results are not only repeated: {context}");
            } else {
                assert!(log.contains("lost="), "results differ and nothing is said to be lost: {context}");
                assert!(has_one_gap(&results, &batches), "more differs than is missing: {context}");
            }
            reported += u64::from(is_reported);
            if acknowledged.was_taken_back() && !is_reported {
                taken_back += 1;
                let is_journal = path.extension().is_some_and(|extension| extension == "segment");
                assert!(is_journal, "acknowledged lines are taken back: {context}");
            }
        }
    }
    println!("harmless {harmless}, reported {reported}, ends of journals lost {taken_back}");
    assert!(harmless > 0 && reported > 0);
}

#[test]
fn a_gap_is_told_from_other_differences() {
    let batches = input(&mut Random(1), 0);
    let whole = expected(&batches);
    let without_first = RecordedBatch { stamp_ms: 0, lines: batches[0].lines[1..].to_vec() };
    let shortened: Vec<_> = std::iter::once(without_first).chain(batches[1..].iter().cloned()).collect();
    assert!(has_one_gap(&expected(&shortened), &batches));
    let doubled = format!("{whole}{}\n", whole.lines().last().unwrap());
    assert!(!has_one_gap(&doubled, &batches));
    let changed = whole.replacen("(1,1,", "(1,2,", 1);
    assert!(changed != whole && !has_one_gap(&changed, &batches));
}
