//! State of one backend on another: all ordered pairs.

use std::io::Write;
use std::time::Duration;

use super::bench::{BACKENDS, Bench, Mode, Setting};
use super::values::Mean;
use crate::state::{
    AggregatingState, AggregatingStateDescriptor, ListState, ListStateDescriptor, MapState,
    MapStateDescriptor, OperatorListDescriptor, OperatorListState, Redistribution, ReducingState,
    ReducingStateDescriptor, StateRegistry, StateTtl, TimeDomain, ValueState, ValueStateDescriptor,
};

/// One state of each primitive.
pub(super) struct Everything {
    value: ValueState<i64>,
    fading: ValueState<String>,
    list: ListState<u16>,
    map: MapState<i64, Option<u8>>,
    sum: ReducingState<i64>,
    mean: AggregatingState<Mean>,
    sources: OperatorListState<u32>,
}

pub(super) fn everything(states: &mut StateRegistry) -> Everything {
    let ttl = StateTtl::new(Duration::from_millis(100));
    Everything {
        value: states.value(&ValueStateDescriptor::new("value")).unwrap(),
        fading: states.value(&ValueStateDescriptor::new("fading").ttl(ttl)).unwrap(),
        list: states.list(&ListStateDescriptor::new("list").ttl(ttl)).unwrap(),
        map: states.map(&MapStateDescriptor::new("map")).unwrap(),
        sum: states.reducing(&ReducingStateDescriptor::new("sum", |kept, added| kept + added)).unwrap(),
        mean: states.aggregating(&AggregatingStateDescriptor::new("mean", Mean)).unwrap(),
        sources: states
            .operator_list(&OperatorListDescriptor::new("sources", Redistribution::Split))
            .unwrap(),
    }
}

/// Keys of which each has something in some of the states.
pub(super) fn keys() -> Vec<i64> {
    (0..120).collect()
}

/// Fills empty state; it ends at time 90.
pub(super) fn fill(bench: &mut Bench<Everything>) {
    for (now, keys) in [(0, &keys()[..60]), (90, &keys()[60..])] {
        bench.at(now).batch(keys, |key, states| {
            states.value.update(key * 7);
            states.fading.update(format!("set at {now}"));
            states.list.add_all([1, 2]);
            if key % 2 == 0 {
                states.map.put(key, Some(3));
                states.map.put(&-key, None);
            }
            states.sum.add(*key);
            states.sum.add(1);
            states.mean.add(*key);
            states.mean.add(key + 2);
        });
        for key in keys {
            bench.set_timer(TimeDomain::EventTime, key * 2, key);
        }
    }
    bench.batch(&keys()[10..20], |_, states| states.value.clear());
    bench.subtasks[0].handles.sources.update([5, 6, 7]);
}

/// Looks whether the state is what `fill` left, at time 120.
pub(super) fn check(bench: &mut Bench<Everything>) {
    assert_eq!(bench.key_count(), 120);
    bench.at(120).batch(&keys(), |key, states| {
        assert_eq!(states.value.value(), (!(10..20).contains(key)).then_some(key * 7));
        assert_eq!(states.fading.value(), (*key >= 60).then(|| "set at 90".to_owned()));
        assert_eq!(states.list.get(), if *key >= 60 { vec![1, 2] } else { Vec::new() });
        assert_eq!(
            states.map.get(key),
            match key {
                0 => Some(None),
                _ => (key % 2 == 0).then_some(Some(3)),
            }
        );
        assert_eq!(states.map.contains(&-key), key % 2 == 0);
        assert_eq!(states.sum.get(), Some(key + 1));
        assert_eq!(states.mean.get(), Some(key + 1));
    });
    let expected: Vec<(i64, i64)> = keys().iter().map(|key| (key * 2, *key)).collect();
    assert_eq!(bench.take_due(TimeDomain::EventTime, i64::MAX), expected);
    let sources: Vec<u32> = bench.subtasks.iter().flat_map(|subtask| subtask.handles.sources.get()).collect();
    assert_eq!(sources, [5, 6, 7]);
}

#[test]
fn every_ordered_pair_of_backends_converts() {
    let mut pairs = 0;
    for from in BACKENDS {
        for to in BACKENDS.iter().filter(|to| *to != from) {
            println!("{from} to {to}");
            let mut bench = Bench::new(Setting { backend: *from, mode: Mode::Straight }, everything);
            fill(&mut bench);
            bench.restart(2);
            bench.checkpoint();
            let checkpoint = bench.newest();
            check(&mut bench.opened_elsewhere(*to, everything, &checkpoint.parts, 3).unwrap());
            check(&mut bench.opened_elsewhere(*to, everything, &checkpoint.parts, 1).unwrap());
            let full = bench.full_parts();
            check(&mut bench.opened_elsewhere(*to, everything, &full, 1).unwrap());
            pairs += 1;
        }
    }
    writeln!(std::io::stdout(), "state conversions: {pairs} ordered pairs of backends").unwrap();
}
