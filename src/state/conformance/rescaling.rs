//! Another parallelism: which subtask gets what.

use super::bench::{Bench, Setting, keys_of};
use crate::state::{
    OperatorListDescriptor, OperatorListState, Redistribution, ValueState, ValueStateDescriptor,
};

pub(super) fn ten_key_groups_split_into_two_halves(setting: Setting) {
    let mut bench: Bench<ValueState<i64>> =
        Bench::new(setting, |states| states.value(&ValueStateDescriptor::new("v")).unwrap());
    let keys: Vec<i64> = (0..10).flat_map(|group| keys_of(group, 3)).collect();
    bench.batch(&keys, |key, value| value.update(*key));
    bench.restart(2);
    let counts: Vec<usize> = bench.subtasks.iter().map(|subtask| subtask.state.key_count()).collect();
    assert_eq!(counts, [15, 15]);
    let mut parts = bench.full_parts();
    let upper = parts.pop().unwrap();
    let lower = parts.pop().unwrap();
    for (part, groups) in [(lower, 0..5), (upper, 5..10)] {
        let half: Bench<ValueState<i64>> = bench
            .opened_elsewhere(
                setting.backend,
                |states| states.value(&ValueStateDescriptor::new("v")).unwrap(),
                &[part],
                1,
            )
            .unwrap();
        let mut half = half;
        assert_eq!(half.key_count(), 15);
        let keys: Vec<i64> = groups.flat_map(|group| keys_of(group, 3)).collect();
        half.batch(&keys, |key, value| assert_eq!(value.value(), Some(*key)));
    }
}

fn lists(setting: Setting, redistribution: Redistribution) -> Bench<OperatorListState<u32>> {
    Bench::new(setting, move |states| {
        states.operator_list(&OperatorListDescriptor::new("l", redistribution)).unwrap()
    })
}

fn all(bench: &Bench<OperatorListState<u32>>) -> Vec<Vec<u32>> {
    bench.subtasks.iter().map(|subtask| subtask.handles.get()).collect()
}

pub(super) fn operator_lists_are_split(setting: Setting) {
    let mut bench = lists(setting, Redistribution::Split);
    bench.subtasks[0].handles.update([1, 2, 3, 4, 5]);
    bench.step();
    bench.restart(2);
    assert_eq!(all(&bench), [vec![1, 2], vec![3, 4, 5]]);
    bench.subtasks[0].handles.add(9);
    bench.restart(3);
    assert_eq!(all(&bench), [vec![1, 2], vec![9, 3], vec![4, 5]]);
    bench.restart(1);
    assert_eq!(all(&bench), [vec![1, 2, 9, 3, 4, 5]]);
}

pub(super) fn operator_lists_are_united(setting: Setting) {
    let mut bench = lists(setting, Redistribution::Union);
    bench.subtasks[0].handles.update([1, 2]);
    bench.restart(2);
    assert_eq!(all(&bench), [[1, 2], [1, 2]]);
    bench.subtasks[0].handles.update([3]);
    bench.subtasks[1].handles.update([4]);
    bench.restart(1);
    assert_eq!(all(&bench), [[3, 4]]);
}
