//! The whole job on a simulated disk: the power is cut at a random call, again and again, and the results must be those
//! of an uninterrupted run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::job::run_on;
use super::job_handle::JobHandle;
use super::restart::RestartStrategy;
use super::settings::{Backend, JournalSettings, Settings};
use crate::disk::{Disk, Random, SimulatedDisk};
use crate::source::{RecordedBatch, RecordedInput};
use crate::state::ValueStateDescriptor;
use crate::stream::Environment;

const RESULTS: &str = "/out/results";
const KEYS: u64 = 5;
const LIVES_MAX: usize = 4;

fn input(random: &mut Random) -> Vec<RecordedBatch> {
    let reading = |random: &mut Random| format!("{} {}", random.below(KEYS), random.below(100));
    (0..10 + random.below(30))
        .map(|index| RecordedBatch {
            stamp_ms: i64::try_from(index).unwrap(),
            lines: (0..1 + random.below(6)).map(|_| reading(random)).collect(),
        })
        .collect()
}

fn expected(batches: &[RecordedBatch]) -> String {
    let mut sums = BTreeMap::<i64, (i64, i64)>::new();
    let mut results = String::new();
    for line in batches.iter().flat_map(|batch| &batch.lines) {
        let (key, value) = line.split_once(' ').unwrap();
        let (key, value): (i64, i64) = (key.parse().unwrap(), value.parse().unwrap());
        let (count, sum) = sums.entry(key).or_default();
        (*count, *sum) = (*count + 1, *sum + value);
        results.push_str(&format!("({key},{},{sum})\n", *count));
    }
    results
}

/// Runs the job until its input ends or the power is cut; true when it ended in order.
fn live(disk: &SimulatedDisk, batches: &[RecordedBatch]) -> bool {
    let settings = Settings {
        threads: 1,
        batches_in_flight: 3,
        backend: Backend::File { directory: PathBuf::from("/data") },
        journal: Some(JournalSettings { segment_bytes: 64 << 10, ..JournalSettings::default() }),
        checkpoint_interval: Duration::from_millis(10),
        restart: RestartStrategy::None,
        ..Settings::default()
    };
    let environment = Environment::with_settings("simulated", settings);
    environment
        .recorded(RecordedInput::new(batches).sent_by("recording"))
        .parse::<(i64, i64)>()
        .key_by(|(key, _)| *key)
        .flat_map(ValueStateDescriptor::new("sum"), |(key, value), state, out| {
            let (count, sum): (i64, i64) = state.value().unwrap_or_default();
            state.update((count + 1, sum + value));
            out.collect((key, count + 1, sum + value));
        })
        .write_to_file(RESULTS);
    let (topology, settings) = environment.build();
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    run_on(&disk, topology, settings, &JobHandle::new()).is_ok()
}

#[test]
fn results_are_those_of_an_uninterrupted_run_whenever_the_power_is_cut() {
    let seeds = std::env::var("TIDEGATE_JOB_SEEDS").map_or(2000, |text| text.parse().unwrap());
    let first = std::env::var("TIDEGATE_TEST_SEED").map_or(0, |text| text.parse().unwrap());
    let mut cuts = 0;
    for seed in first..first + seeds {
        let mut random = Random(seed);
        let batches = input(&mut random);
        let mut disk = SimulatedDisk::new();
        for _ in 0..LIVES_MAX {
            disk.cut_after(random.below(150));
            let ended = live(&disk, &batches);
            if ended {
                break;
            }
            cuts += 1;
            disk = disk.after_power_cut(&mut random);
        }
        disk.cut_after(u64::MAX);
        assert!(live(&disk, &batches), "TIDEGATE_TEST_SEED={seed}: the job does not end");
        let results = disk.content(Path::new(RESULTS)).unwrap_or_default();
        assert_eq!(String::from_utf8_lossy(&results), expected(&batches), "TIDEGATE_TEST_SEED={seed}");
    }
    assert!(cuts >= seeds, "{cuts} cuts in {seeds} runs");
}
