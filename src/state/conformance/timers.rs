//! Timers as state: the queues.

use super::bench::{Bench, Setting};
use crate::state::{TimeDomain, ValueState, ValueStateDescriptor};

fn numbers(setting: Setting) -> Bench<ValueState<i64>> {
    Bench::new(setting, |states| states.value(&ValueStateDescriptor::new("v")).unwrap())
}

pub(super) fn timers_survive_once_each_and_in_order(setting: Setting) {
    let mut bench = numbers(setting);
    for (time, key) in [(30, 1), (10, 2), (20, 1), (10, 1), (10, 2), (-5, 7)] {
        bench.set_timer(TimeDomain::EventTime, time, &key);
    }
    bench.set_timer(TimeDomain::ProcessingTime, 10, &1);
    assert_eq!(bench.take_due(TimeDomain::EventTime, 20), [(-5, 7), (10, 1), (10, 2), (20, 1)]);
    assert_eq!(bench.take_due(TimeDomain::EventTime, 20), []);
    bench.restart(2);
    assert_eq!(bench.take_due(TimeDomain::ProcessingTime, 10), [(10, 1)]);
    assert_eq!(bench.take_due(TimeDomain::EventTime, 30), [(30, 1)]);
    bench.restart(1);
    assert_eq!(bench.take_due(TimeDomain::EventTime, i64::MAX), []);
}

pub(super) fn timers_keep_keys_without_state(setting: Setting) {
    let mut bench = numbers(setting);
    bench.with(1, |value| value.update(1));
    for key in 0..20 {
        bench.set_timer(TimeDomain::ProcessingTime, 5, &key);
    }
    bench.with(1, ValueState::clear);
    bench.restart(3);
    assert_eq!(bench.key_count(), 0);
    assert_eq!(bench.take_due(TimeDomain::ProcessingTime, 5).len(), 20);
}
