//! Value, reducing and aggregating state.

use super::bench::{Bench, Setting};
use crate::state::{
    AggregateFunction, AggregatingStateDescriptor, ReducingStateDescriptor, TextKey, ValueState,
    ValueStateDescriptor,
};

fn numbers(setting: Setting) -> Bench<ValueState<i64>> {
    Bench::new(setting, |states| states.value(&ValueStateDescriptor::new("v")).unwrap())
}

pub(super) fn unset_reads_give_the_default_of_each_key(setting: Setting) {
    let mut bench = Bench::new(setting, |states| {
        let with = states.value(&ValueStateDescriptor::new("with").default_value(41)).unwrap();
        (with, states.value(&ValueStateDescriptor::<i64>::new("without")).unwrap())
    });
    for key in [1, 2, 3] {
        assert_eq!(bench.with(key, |(with, without)| (with.value(), without.value())), (Some(41), None));
    }
    bench.with(2, |(with, _)| with.update(7));
    assert_eq!(bench.with(2, |(with, _)| with.value()), Some(7));
    assert_eq!(bench.with(1, |(with, _)| with.value()), Some(41));
    bench.with(2, |(with, _)| with.clear());
    assert_eq!(bench.with(2, |(with, _)| with.value()), Some(41));
    assert_eq!(bench.key_count(), 0);
}

pub(super) fn a_changed_copy_of_a_default_stays_with_its_key(setting: Setting) {
    let mut bench = Bench::new(setting, |states| {
        states.value(&ValueStateDescriptor::new("v").default_value(vec![0u8])).unwrap()
    });
    let push = |value: &ValueState<Vec<u8>>, item| {
        let mut items = value.value().unwrap();
        items.push(item);
        value.update(items);
    };
    bench.with(1, |value| push(value, 1));
    bench.with(2, |value| push(value, 2));
    bench.with(1, |value| push(value, 3));
    let items = [1, 2, 3].map(|key| bench.with(key, |value| value.value().unwrap()));
    assert_eq!(items, [vec![0, 1, 3], vec![0, 2], vec![0]]);
}

pub(super) fn values_are_updated_and_cleared(setting: Setting) {
    let mut bench = numbers(setting);
    bench.with(1, |value| value.update(10));
    bench.with(1, |value| value.update(11));
    assert_eq!(bench.with(1, ValueState::value), Some(11));
    bench.with(1, ValueState::clear);
    assert_eq!(bench.with(1, ValueState::value), None);
    bench.with(1, |value| {
        value.update(12);
        value.clear();
        assert_eq!(value.value(), None);
        value.update(13);
    });
    assert_eq!(bench.with(1, ValueState::value), Some(13));
}

pub(super) fn a_cleared_key_is_gone_after_a_restore(setting: Setting) {
    let mut bench = numbers(setting);
    let keys: Vec<i64> = (0..50).collect();
    bench.batch(&keys, |key, value| value.update(*key));
    bench.restart(1);
    bench.batch(&keys[..30], |_, value| value.clear());
    bench.restart(2);
    assert_eq!(bench.key_count(), 20);
    bench.batch(&keys, |key, value| assert_eq!(value.value(), (*key >= 30).then_some(*key)));
    assert_eq!(bench.key_count(), 20);
}

pub(super) fn a_key_that_was_cleared_comes_back_empty(setting: Setting) {
    let mut bench = numbers(setting);
    for round in 0..4 {
        assert_eq!(bench.with(1, ValueState::value), None, "round {round}");
        bench.with(1, |value| value.update(round));
        bench.checkpoint();
        bench.with(1, ValueState::clear);
        bench.checkpoint();
    }
}

pub(super) fn named_states_are_independent_under_one_key(setting: Setting) {
    let mut bench = Bench::new(setting, |states| {
        ["a", "b", "c"].map(|name| states.value(&ValueStateDescriptor::<i64>::new(name)).unwrap())
    });
    bench.with(1, |[a, b, _]| {
        a.update(1);
        b.update(2);
    });
    bench.with(1, |[a, _, c]| {
        a.clear();
        c.update(3);
    });
    assert_eq!(bench.with(1, |states| states.each_ref().map(ValueState::value)), [None, Some(2), Some(3)]);
    bench.with(1, |[_, b, c]| {
        b.clear();
        c.clear();
    });
    assert_eq!(bench.key_count(), 0);
}

pub(super) fn keys_are_independent(setting: Setting) {
    let mut bench = numbers(setting);
    let keys: Vec<i64> = (-200..200).collect();
    bench.batch(&keys, |key, value| value.update(key * 3));
    bench.batch(&keys[..100], |_, value| value.clear());
    bench.batch(&keys[100..150], |_, value| value.update(0));
    bench.batch(&keys, |key, value| {
        let expected = [None, Some(0), Some(key * 3)][usize::from(*key >= -100) + usize::from(*key >= -50)];
        assert_eq!(value.value(), expected, "{key}");
    });
    assert_eq!(bench.key_count(), 300);
}

pub(super) fn text_keys_and_long_values(setting: Setting) {
    let mut bench: Bench<ValueState<String>, TextKey> =
        Bench::keyed(setting, |states| states.value(&ValueStateDescriptor::new("v")).unwrap());
    let names = ["", "a", "a\0", "ü", &"k".repeat(254)];
    for (length, name) in names.iter().enumerate() {
        bench.with(TextKey::from(*name), |value| value.update("x".repeat(length * 50_000)));
    }
    for (length, name) in names.iter().enumerate() {
        let value = bench.with(TextKey::from(*name), ValueState::value);
        assert_eq!(value.map(|value| value.len()), Some(length * 50_000));
    }
}

pub(super) fn reducing_state_keeps_one_value(setting: Setting) {
    let mut bench = Bench::new(setting, |states| {
        states.reducing(&ReducingStateDescriptor::new("r", |kept: i64, added| kept * 10 + added)).unwrap()
    });
    assert_eq!(bench.with(1, |state| state.get()), None);
    for digit in [1, 2, 3] {
        bench.with(1, |state| state.add(digit));
    }
    assert_eq!(bench.with(1, |state| state.get()), Some(123));
    bench.with(1, |state| state.clear());
    assert_eq!(bench.with(1, |state| state.get()), None);
}

/// The mean of numbers.
#[derive(Clone)]
pub(super) struct Mean;

impl AggregateFunction for Mean {
    type In = i64;
    type Accumulator = (i64, u32);
    type Out = i64;

    fn create(&self) -> Self::Accumulator {
        (0, 0)
    }

    fn add(&self, accumulator: &mut Self::Accumulator, input: i64) {
        *accumulator = (accumulator.0 + input, accumulator.1 + 1);
    }

    fn result(&self, accumulator: &Self::Accumulator) -> i64 {
        accumulator.0 / i64::from(accumulator.1)
    }
}

pub(super) fn aggregating_state_keeps_an_accumulator(setting: Setting) {
    let mut bench = Bench::new(setting, |states| {
        states.aggregating(&AggregatingStateDescriptor::new("mean", Mean)).unwrap()
    });
    assert_eq!(bench.with(1, |state| state.get()), None);
    for number in [10, 20, 60] {
        bench.with(1, |state| state.add(number));
    }
    assert_eq!(bench.with(1, |state| state.get()), Some(30));
    bench.with(1, |state| state.clear());
    assert_eq!(bench.with(1, |state| state.get()), None);
}

pub(super) fn key_counts_are_exact(setting: Setting) {
    let mut bench = numbers(setting);
    let keys: Vec<i64> = (0..100).collect();
    bench.batch(&keys, |key, value| value.update(*key));
    assert_eq!(bench.key_count(), 100);
    bench.restart(2);
    assert_eq!(bench.key_count(), 100);
    bench.batch(&keys[..40], |_, value| value.clear());
    bench.with(1000, ValueState::value);
    assert_eq!(bench.key_count(), 60);
    bench.batch(&keys[20..60], |_, value| value.update(1));
    assert_eq!(bench.key_count(), 80);
    assert_eq!(bench.checkpoint().key_count(), 80);
    bench.restore(3);
    assert_eq!(bench.key_count(), 80);
}
