//! Snapshots that are open while the operator goes on.

use super::bench::{Bench, Setting};
use crate::state::{ValueState, ValueStateDescriptor};

fn numbers(setting: Setting) -> Bench<ValueState<i64>> {
    Bench::new(setting, |states| states.value(&ValueStateDescriptor::new("v")).unwrap())
}

pub(super) fn writes_after_a_snapshot_do_not_leak_into_it(setting: Setting) {
    let mut bench = numbers(setting);
    let keys: Vec<i64> = (0..300).collect();
    bench.batch(&keys[..200], |key, value| value.update(*key));
    let held = bench.hold_open();
    bench.batch(&keys[..150], |_, value| value.update(-1));
    bench.batch(&keys[50..100], |_, value| value.clear());
    bench.batch(&keys[200..], |_, value| value.update(-2));
    held.finish();
    bench.batch(&keys, |_, value| value.update(-3));
    bench.restore(2);
    assert_eq!(bench.key_count(), 200);
    bench.batch(&keys, |key, value| assert_eq!(value.value(), (*key < 200).then_some(*key)));
}

pub(super) fn a_snapshot_of_empty_state_restores(setting: Setting) {
    let mut bench = numbers(setting);
    assert_eq!(bench.checkpoint().key_count(), 0);
    for parallelism in [1, 3, 2] {
        bench.restart(parallelism);
        assert_eq!(bench.key_count(), 0);
        assert_eq!(bench.with(1, ValueState::value), None);
    }
    bench.with(1, |value| value.update(5));
    assert_eq!(bench.with(1, ValueState::value), Some(5));
}

pub(super) fn deletions_after_a_snapshot_stay_deleted(setting: Setting) {
    let mut bench = numbers(setting);
    let keys: Vec<i64> = (0..100).collect();
    bench.batch(&keys, |key, value| value.update(*key));
    bench.checkpoint();
    let held = bench.hold_open();
    bench.batch(&keys[..50], |_, value| value.clear());
    held.finish();
    bench.let_go();
    bench.checkpoint();
    bench.restore(1);
    assert_eq!(bench.key_count(), 50);
    bench.batch(&keys, |key, value| assert_eq!(value.value(), (*key >= 50).then_some(*key)));
}

pub(super) fn deletions_are_seen_while_a_snapshot_is_open(setting: Setting) {
    let mut bench = numbers(setting);
    let keys: Vec<i64> = (0..100).collect();
    bench.batch(&keys, |key, value| value.update(*key));
    bench.checkpoint();
    bench.batch(&keys[..50], |_, value| value.clear());
    let held = bench.hold_open();
    // Not yet written to a store, and read nevertheless.
    bench.batch(&keys, |key, value| assert_eq!(value.value(), (*key >= 50).then_some(*key)));
    bench.batch(&keys[..10], |key, value| value.update(key + 1000));
    held.finish();
    bench.let_go();
    bench.restart(2);
    bench.batch(&keys, |key, value| {
        let expected = if *key < 10 { Some(key + 1000) } else { (*key >= 50).then_some(*key) };
        assert_eq!(value.value(), expected);
    });
    assert_eq!(bench.key_count(), 60);
}

pub(super) fn an_abandoned_snapshot_loses_nothing(setting: Setting) {
    let mut bench = numbers(setting);
    let keys: Vec<i64> = (0..100).collect();
    bench.batch(&keys, |key, value| value.update(*key));
    drop(bench.hold());
    bench.batch(&keys[..20], |_, value| value.clear());
    let mut held = bench.hold();
    held.prepare();
    drop(held);
    bench.batch(&keys[20..40], |_, value| value.update(-1));
    drop(bench.hold());
    bench.restart(2);
    assert_eq!(bench.key_count(), 80);
    bench.batch(&keys, |key, value| {
        let expected = [None, Some(-1), Some(*key)][usize::from(*key >= 20) + usize::from(*key >= 40)];
        assert_eq!(value.value(), expected);
    });
}

pub(super) fn a_cache_of_a_few_rows_gives_the_same_answers(setting: Setting) {
    let mut bench = Bench::tiny(setting, |states| {
        let counts = states.value(&ValueStateDescriptor::<i64>::new("count").default_value(0)).unwrap();
        (counts, states.value(&ValueStateDescriptor::<String>::new("text")).unwrap())
    });
    let keys: Vec<i64> = (0..600).collect();
    for round in 1..=3 {
        for some in keys.chunks(60) {
            bench.batch(some, |key, (count, text)| {
                count.update(count.value().unwrap() + 1);
                if key % 3 == round % 3 { text.clear() } else { text.update(format!("{key} {round}")) }
            });
        }
    }
    bench.batch(&keys, |key, (count, text)| {
        assert_eq!(count.value(), Some(3));
        assert_eq!(text.value(), (key % 3 != 0).then(|| format!("{key} 3")), "{key}");
    });
    assert_eq!(bench.key_count(), 600);
    bench.batch(&keys, |_, (count, text)| {
        count.clear();
        text.clear();
    });
    assert_eq!(bench.key_count(), 0);
}
