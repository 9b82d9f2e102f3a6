//! What state is taken for against what the process then takes, by type of key and value.
//!
//! Memory is a process's own, so each case runs in one of its own: this test program, called for [`program`] alone. The
//! allocator is set as `tidegate` sets it where memory is limited.
#![expect(clippy::disallowed_methods, reason = "reads /proc")]

use std::process::Command;
use std::sync::Arc;

use super::key::KeyEncoder;
use super::keyed::KeyedState;
use super::{
    Key, KeyGroupRange, ListStateDescriptor, MapStateDescriptor, MaxParallelism, Slot, StateRegistry,
    StateSetup, TextKey, TimeDomain, ValueStateDescriptor,
};

const CASE: &str = "TIDEGATE_FOOTPRINT_CASE";
const BATCH_KEYS: i64 = 4096;
/// Estimate and memory may differ by this much: the estimate averages over the doubling of tables, and guesses at what
/// values point to.
const RATIO_MIN: f64 = 0.7;
const RATIO_MAX: f64 = 1.4;

/// Runs `case` in a process of its own; its estimate against what it took.
fn ratio(case: &str) -> f64 {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--nocapture", "--exact", "state::footprint_tests::program"])
        .env(CASE, case)
        .envs([("MALLOC_ARENA_MAX", "2"), ("MALLOC_MMAP_THRESHOLD_", "131072")])
        .env("MALLOC_TRIM_THRESHOLD_", "131072")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find_map(|line| line.split_once("footprint ")).unwrap().1;
    let numbers: Vec<u64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
    let [keys, estimated, taken] = *numbers else { panic!("{line}") };
    #[expect(clippy::cast_precision_loss, reason = "a ratio")]
    let ratio = estimated as f64 / taken as f64;
    println!("{case}: {} bytes a key, estimated {}: {ratio:.2}", taken / keys, estimated / keys);
    ratio
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

/// Fills a state with `keys` keys, batch by batch.
fn fill<K: Key, H>(
    keys: i64,
    key: impl Fn(i64) -> K,
    declare: impl FnOnce(&mut StateRegistry) -> H,
    set: impl Fn(&H, i64),
) -> KeyedState<K> {
    let range = KeyGroupRange::of_subtask(0, 1, MaxParallelism::default());
    let setup = Arc::new(StateSetup::heap());
    let mut state = KeyedState::new("operator".into(), range, MaxParallelism::default(), setup);
    let handle = declare(state.registry());
    state.open(&[], 0, 1, 0).unwrap();
    let mut encoder = KeyEncoder::new();
    let mut slots = Vec::new();
    for start in (0..keys).step_by(usize::try_from(BATCH_KEYS).unwrap()) {
        let numbers = start..keys.min(start + BATCH_KEYS);
        let batch: Vec<K> = numbers.clone().map(&key).collect();
        let hashes: Vec<_> = batch.iter().map(|key| encoder.hash(key).unwrap()).collect();
        state.begin_batch(0);
        state.resolve(&hashes, &batch, &mut slots).unwrap();
        for (slot, number) in slots.iter().zip(numbers) {
            assert_ne!(*slot, Slot::REFUSED);
            state.rows().move_to(*slot);
            set(&handle, number);
        }
        state.end_batch(batch.len()).unwrap();
    }
    state
}

/// Prints keys, estimate and memory.
fn report<K: Key>(keys: i64, build: impl FnOnce() -> KeyedState<K>) {
    let before = resident_bytes();
    let state = build();
    println!("footprint {keys} {} {}", state.memory_bytes(), resident_bytes() - before);
    drop(state);
}

fn text(number: i64, length: usize) -> String {
    format!("{number:0length$}")
}

fn value<V: super::StateValue>(registry: &mut StateRegistry) -> super::ValueState<V> {
    registry.value(&ValueStateDescriptor::new("value")).unwrap()
}

#[test]
#[ignore = "the process the others start"]
fn program() {
    let Ok(case) = std::env::var(CASE) else { return };
    // A size at which tables have just doubled, and one at which they are about to.
    let keys = if case.ends_with("-doubled") { 280_000 } else { 240_000 };
    let few = keys / 8;
    match case.trim_end_matches("-doubled") {
        "numbers" => report(keys, || fill(keys, |key| key, value, |state, _| state.update((1i64, 2i64)))),
        "inline-text-keys" => report(keys, || {
            fill(keys, |key| TextKey::from(&*text(key, 20)), value, |state, number| state.update(number))
        }),
        "long-text-keys" => report(keys, || {
            fill(keys, |key| TextKey::from(&*text(key, 60)), value, |state, number| state.update(number))
        }),
        "string-keys" => {
            report(keys, || fill(keys, |key| text(key, 24), value, |state, number| state.update(number)));
        }
        "text-key-values" => report(keys, || {
            let name = |number| TextKey::from(&*text(number, 40));
            fill(keys, |key| key, value, |state, number| state.update(name(number)))
        }),
        "texts" => {
            report(keys, || fill(keys, |key| key, value, |state, number| state.update(text(number, 100))))
        }
        "short-texts" => {
            report(keys, || fill(keys, |key| key, value, |state, number| state.update(text(number, 8))))
        }
        "vectors" => {
            report(keys, || fill(keys, |key| key, value, |state, number| state.update(vec![number; 16])))
        }
        "lists" => report(few, || {
            let declare = |registry: &mut StateRegistry| {
                registry.list(&ListStateDescriptor::<i64>::new("list")).unwrap()
            };
            fill(few, |key| key, declare, |state, number| (0..20).for_each(|item| state.add(number + item)))
        }),
        "lists-of-texts" => report(few, || {
            let declare = |registry: &mut StateRegistry| {
                registry.list(&ListStateDescriptor::<String>::new("list")).unwrap()
            };
            fill(
                few,
                |key| key,
                declare,
                |state, number| {
                    (0..10).for_each(|item| state.add(text(number + item, 30)));
                },
            )
        }),
        "maps" => report(few, || {
            let declare = |registry: &mut StateRegistry| {
                registry.map(&MapStateDescriptor::<i64, i64>::new("map")).unwrap()
            };
            fill(
                few,
                |key| key,
                declare,
                |state, number| {
                    (0..20).for_each(|entry| state.put(&(number * 100 + entry), entry));
                },
            )
        }),
        "maps-of-texts" => report(few, || {
            let declare = |registry: &mut StateRegistry| {
                registry.map(&MapStateDescriptor::<String, String>::new("map")).unwrap()
            };
            fill(
                few,
                |key| key,
                declare,
                |state, number| {
                    (0..5).for_each(|entry| state.put(&text(number + entry, 20), text(entry, 30)));
                },
            )
        }),
        "timers" => report(keys, || {
            let mut state = fill(keys, |key| key, value, |state, number| state.update(number));
            let mut encoder = KeyEncoder::new();
            for key in 0..keys {
                let encoded = encoder.encode(&key).unwrap();
                state.timers().set(TimeDomain::EventTime, key * 7 % 1000, encoded);
            }
            state
        }),
        case => panic!("no case {case}"),
    }
}

#[track_caller]
fn assert_estimated_well(cases: &[&str]) {
    let ratios: Vec<(&str, f64)> = cases.iter().map(|case| (*case, ratio(case))).collect();
    for (case, ratio) in ratios {
        assert!((RATIO_MIN..=RATIO_MAX).contains(&ratio), "{case}: estimate over memory is {ratio:.2}");
    }
}

#[test]
fn numbers_are_taken_for_what_they_take() {
    assert_estimated_well(&["numbers", "numbers-doubled"]);
}

#[test]
fn keys_of_text_are_taken_for_what_they_take() {
    assert_estimated_well(&["inline-text-keys", "long-text-keys", "string-keys"]);
}

#[test]
fn values_that_point_elsewhere_are_taken_for_what_they_take() {
    assert_estimated_well(&["short-texts", "texts", "text-key-values", "vectors"]);
}

#[test]
fn lists_and_maps_are_taken_for_what_they_take() {
    assert_estimated_well(&["lists", "lists-of-texts", "maps", "maps-of-texts"]);
}

#[test]
fn timers_are_taken_for_what_they_take() {
    assert_estimated_well(&["timers"]);
}
