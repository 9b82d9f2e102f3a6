//! Time to live, on a clock the case sets.

use std::time::Duration;

use super::bench::{Bench, Setting};
use crate::state::{
    ListState, ListStateDescriptor, MapState, MapStateDescriptor, StateRegistry, StateTtl, TtlUpdate,
    TtlVisibility, ValueState, ValueStateDescriptor,
};

fn ttl() -> StateTtl {
    StateTtl::new(Duration::from_millis(100))
}

fn value(ttl: Option<StateTtl>) -> impl Fn(&mut StateRegistry) -> ValueState<i64> {
    move |states| {
        let descriptor = ValueStateDescriptor::new("v");
        let descriptor = match ttl {
            Some(ttl) => descriptor.ttl(ttl),
            None => descriptor,
        };
        states.value(&descriptor).unwrap()
    }
}

pub(super) fn writes_refresh_the_time_to_live(setting: Setting) {
    let mut bench = Bench::new(setting, value(Some(ttl())));
    bench.at(0).with(1, |value| value.update(7));
    assert_eq!(bench.at(20).with(1, ValueState::value), Some(7));
    bench.at(50).with(1, |value| value.update(8));
    assert_eq!(bench.at(120).with(1, ValueState::value), Some(8));
    bench.at(170).with(1, |value| value.update(9));
    assert_eq!(bench.at(220).with(1, ValueState::value), Some(9));
    assert_eq!(bench.at(300).with(1, ValueState::value), None);
    assert_eq!(bench.key_count(), 0, "the entry is really gone");
    assert_eq!(bench.checkpoint().key_count(), 0);
}

pub(super) fn reads_refresh_the_time_to_live_where_told(setting: Setting) {
    let mut bench = Bench::new(setting, value(Some(ttl().update(TtlUpdate::OnReadAndWrite))));
    bench.at(0).with(1, |value| value.update(7));
    assert_eq!(bench.at(50).with(1, ValueState::value), Some(7));
    assert_eq!(bench.at(120).with(1, ValueState::value), Some(7));
    assert_eq!(bench.at(250).with(1, ValueState::value), None);
    assert_eq!(bench.key_count(), 0);
}

pub(super) fn an_expired_value_is_returned_once_where_told(setting: Setting) {
    let lenient = ttl().visibility(TtlVisibility::ReturnExpiredIfNotCleanedUp).no_cleanup_in_compaction();
    let mut bench = Bench::new(setting, value(Some(lenient)));
    bench.at(0).with(1, |value| value.update(7));
    assert_eq!(bench.at(50).with(1, ValueState::value), Some(7));
    assert_eq!(bench.at(300).with(1, ValueState::value), Some(7));
    assert_eq!(bench.with(1, ValueState::value), None);
    assert_eq!(bench.key_count(), 0);
}

pub(super) fn the_longest_time_to_live_does_not_overflow(setting: Setting) {
    for duration in [Duration::MAX, Duration::from_millis(i64::MAX.unsigned_abs())] {
        let mut bench = Bench::new(setting, value(Some(StateTtl::new(duration))));
        bench.at(1_000).with(1, |value| value.update(7));
        assert_eq!(bench.at(1_000_000_000_000).with(1, ValueState::value), Some(7));
        assert_eq!(bench.at(i64::MAX - 1).with(1, ValueState::value), Some(7));
    }
}

pub(super) fn expired_values_do_not_reappear_when_the_clock_is_set_back(setting: Setting) {
    let mut bench = Bench::new(setting, value(Some(ttl())));
    bench.at(0).batch(&[1, 2], |key, value| value.update(*key));
    bench.at(290).with(3, |value| value.update(3));
    // Nobody has looked at the first two since they expired.
    bench.at(300).checkpoint();
    bench.restore(1);
    bench.at(10);
    assert_eq!(bench.with(1, ValueState::value), None);
    assert_eq!(bench.with(2, ValueState::value), None);
    assert_eq!(bench.with(3, ValueState::value), Some(3));
}

pub(super) fn incremental_clean_up_removes_all_expired(setting: Setting) {
    let mut bench = Bench::new(setting, value(Some(ttl().cleanup_incrementally(5, false))));
    let keys: Vec<i64> = (0..200).collect();
    bench.at(0).batch(&keys, |key, value| value.update(*key));
    assert_eq!(bench.key_count(), 200);
    bench.at(300);
    touch_unrelated_keys(&mut bench);
}

pub(super) fn incremental_clean_up_goes_on_while_a_snapshot_is_open(setting: Setting) {
    let mut bench = Bench::new(setting, value(Some(ttl().cleanup_incrementally(5, false))));
    let keys: Vec<i64> = (0..200).collect();
    bench.at(0).batch(&keys, |key, value| value.update(*key));
    bench.at(50);
    let held = bench.hold_open();
    bench.at(300);
    touch_unrelated_keys(&mut bench);
    assert_eq!(held.finish().key_count(), 200);
    bench.let_go();
    bench.restart(1);
    assert_eq!(bench.key_count(), 40);
}

/// Writes and reads other keys, of all subtasks, until all expired ones must be gone.
fn touch_unrelated_keys(bench: &mut Bench<ValueState<i64>>) {
    let others: Vec<i64> = (1_000..1_040).collect();
    bench.batch(&others, |_, value| value.update(1));
    for _ in 0..6 {
        bench.batch(&others, |_, value| assert_eq!(value.value(), Some(1)));
    }
    assert_eq!(bench.key_count(), 40);
}

pub(super) fn a_time_to_live_can_be_enabled(setting: Setting) {
    let mut bench = Bench::new(setting, value(None));
    bench.at(0).with(1, |value| value.update(7));
    bench.at(1_000);
    let mut bench = bench.redeclared::<_, i64>(setting.backend, value(Some(ttl()))).unwrap();
    // It begins with the restore.
    assert_eq!(bench.at(1_050).with(1, ValueState::value), Some(7));
    assert_eq!(bench.at(1_100).with(1, ValueState::value), None);
}

pub(super) fn a_time_to_live_can_be_disabled(setting: Setting) {
    let mut bench = Bench::new(setting, value(Some(ttl())));
    bench.at(0).with(1, |value| value.update(7));
    bench.at(50);
    let mut bench = bench.redeclared::<_, i64>(setting.backend, value(None)).unwrap();
    assert_eq!(bench.at(1_000).with(1, ValueState::value), Some(7));
}

pub(super) fn a_time_to_live_can_be_changed(setting: Setting) {
    let mut bench = Bench::new(setting, value(Some(ttl())));
    bench.at(0).with(1, |value| value.update(7));
    bench.at(50);
    let longer = StateTtl::new(Duration::from_millis(500));
    let mut bench = bench.redeclared::<_, i64>(setting.backend, value(Some(longer))).unwrap();
    assert_eq!(bench.at(499).with(1, ValueState::value), Some(7));
    assert_eq!(bench.at(500).with(1, ValueState::value), None);
}

pub(super) fn list_elements_expire_one_by_one(setting: Setting) {
    let mut bench: Bench<ListState<u8>> =
        Bench::new(setting, |states| states.list(&ListStateDescriptor::new("l").ttl(ttl())).unwrap());
    bench.at(0).with(1, |list| list.add_all([1, 2]));
    bench.at(60).with(1, |list| list.add(3));
    assert_eq!(bench.at(99).with(1, ListState::get), [1, 2, 3]);
    bench.at(120).with(1, |list| list.add(4));
    assert_eq!(bench.with(1, ListState::get), [3, 4]);
    assert_eq!(bench.at(160).with(1, ListState::get), [4]);
    assert_eq!(bench.key_count(), 1);
    assert_eq!(bench.at(220).with(1, ListState::get), [0u8; 0]);
    assert_eq!(bench.key_count(), 0);
}

pub(super) fn map_entries_expire_one_by_one(setting: Setting) {
    let mut bench: Bench<MapState<u8, u8>> = Bench::new(setting, |states| {
        states.map(&MapStateDescriptor::new("m").ttl(ttl().update(TtlUpdate::OnReadAndWrite))).unwrap()
    });
    bench.at(0).with(1, |map| {
        map.put(&1, 10);
        map.put(&2, 20);
        map.put(&3, 30);
    });
    assert_eq!(bench.at(60).with(1, |map| map.get(&1)), Some(10));
    bench.at(90).with(1, |map| map.put(&2, 21));
    assert_eq!(bench.at(120).with(1, |map| map.get(&3)), None);
    assert_eq!(bench.with(1, MapState::entries), [(1, 10), (2, 21)]);
    assert!(bench.at(219).with(1, |map| map.contains(&1)));
    assert_eq!(bench.at(225).with(1, MapState::keys), [1]);
    assert!(bench.at(400).with(1, MapState::is_empty));
    assert_eq!(bench.key_count(), 0);
}

pub(super) fn expired_keys_leave_full_snapshots(setting: Setting) {
    let mut bench = Bench::new(setting, |states| {
        let list = states.list(&ListStateDescriptor::<u8>::new("l").ttl(ttl())).unwrap();
        (value(Some(ttl()))(states), list)
    });
    let keys: Vec<i64> = (0..50).collect();
    bench.at(0).batch(&keys, |key, (value, list)| {
        value.update(*key);
        list.add(1);
    });
    bench.at(80).batch(&keys[..10], |_, (_, list)| list.add(2));
    bench.checkpoint();
    bench.at(120);
    let parts = bench.full_parts();
    let mut full = bench
        .opened_elsewhere::<_, i64>(
            setting.backend,
            |states| {
                let list = states.list(&ListStateDescriptor::<u8>::new("l")).unwrap();
                (value(None)(states), list)
            },
            &parts,
            1,
        )
        .unwrap();
    assert_eq!(full.key_count(), 10);
    full.batch(&keys, |key, (value, list)| {
        assert_eq!(value.value(), None);
        assert_eq!(list.get(), if *key < 10 { vec![2] } else { Vec::new() });
    });
}
