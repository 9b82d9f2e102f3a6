//! The whole job on a simulated disk: the power is cut at a random call, again and again, and the results must be those
//! of an uninterrupted run. The job keeps sums and sets timers of both clocks.

use std::path::Path;
use std::sync::Arc;

use super::simulated_job::{RESULTS, expected, input, run_job};
use crate::disk::{Random, SimulatedDisk};
use crate::source::Acknowledged;

const LIVES_MAX: usize = 4;
/// So many seeds apart are those whose lines fill the journal, so that checkpoints come in the middle of the flow.
const LONG_LINES_EVERY: u64 = 4;
const LONG_LINE_BYTES: usize = 8_000;

#[test]
fn results_are_those_of_an_uninterrupted_run_whenever_the_power_is_cut() {
    let seeds = std::env::var("TIDEGATE_JOB_SEEDS").map_or(2000, |text| text.parse().unwrap());
    let first = std::env::var("TIDEGATE_TEST_SEED").map_or(0, |text| text.parse().unwrap());
    let mut cuts = 0;
    for seed in first..first + seeds {
        let mut random = Random(seed);
        let padding = if seed.is_multiple_of(LONG_LINES_EVERY) { LONG_LINE_BYTES } else { 0 };
        let batches = input(&mut random, padding);
        let mut disk = SimulatedDisk::new();
        let acknowledged = Arc::new(Acknowledged::default());
        for _ in 0..LIVES_MAX {
            disk.cut_after(random.below(150));
            if run_job(&disk, &batches, &acknowledged).is_ok() {
                break;
            }
            cuts += 1;
            disk = disk.after_power_cut(&mut random);
        }
        disk.cut_after(u64::MAX);
        run_job(&disk, &batches, &acknowledged)
            .unwrap_or_else(|error| panic!("TIDEGATE_TEST_SEED={seed}: {error}"));
        assert!(!acknowledged.was_taken_back(), "TIDEGATE_TEST_SEED={seed}: something acknowledged was lost");
        let results = disk.content(Path::new(RESULTS)).unwrap_or_default();
        assert_eq!(String::from_utf8_lossy(&results), expected(&batches), "TIDEGATE_TEST_SEED={seed}");
    }
    assert!(cuts >= seeds, "{cuts} cuts in {seeds} runs");
}

#[test]
fn a_recovery_that_is_cut_at_any_call_again_and_again_converges() {
    let first = std::env::var("TIDEGATE_TEST_SEED").map_or(1, |text| text.parse().unwrap());
    for seed in first..first + 3 {
        let mut random = Random(seed);
        let batches = input(&mut random, LONG_LINE_BYTES);
        let crashed = SimulatedDisk::new();
        let acknowledged = Arc::<Acknowledged>::default();
        crashed.cut_after(60 + random.below(60));
        assert!(run_job(&crashed, &batches, &acknowledged).is_err(), "the first life is longer than that");
        let crashed = crashed.after_power_cut(&mut random);
        for calls in 0.. {
            let acknowledged = acknowledged.branch();
            let mut disk = crashed.after_power_cut(&mut random);
            disk.cut_after(calls);
            let is_whole = run_job(&disk, &batches, &acknowledged).is_ok();
            for _ in 0..random.below(3) {
                disk = disk.after_power_cut(&mut random);
                disk.cut_after(random.below(calls + 10));
                // It may end in order: then there is nothing left to do.
                drop(run_job(&disk, &batches, &acknowledged));
            }
            let disk = disk.after_power_cut(&mut random);
            let context = format!("TIDEGATE_TEST_SEED={seed}, cut after {calls} calls");
            run_job(&disk, &batches, &acknowledged).unwrap_or_else(|error| panic!("{context}: {error}"));
            assert!(!acknowledged.was_taken_back(), "{context}: something acknowledged was lost");
            let results = disk.content(Path::new(RESULTS)).unwrap_or_default();
            assert_eq!(String::from_utf8_lossy(&results), expected(&batches), "{context}");
            if is_whole {
                break;
            }
        }
    }
}
