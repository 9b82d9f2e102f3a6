//! List and map state.

use super::bench::{Bench, Setting, encoded};
use crate::state::{ListStateDescriptor, MapState, MapStateDescriptor};

pub(super) fn lists_keep_their_order(setting: Setting) {
    let mut bench = Bench::new(setting, |states| states.list(&ListStateDescriptor::<u32>::new("l")).unwrap());
    assert_eq!(bench.with(1, |list| list.get()), [0u32; 0]);
    bench.with(1, |list| list.add(3));
    bench.with(1, |list| list.add_all([1, 2, 1]));
    bench.with(2, |list| list.add(9));
    bench.with(1, |list| list.add_all([]));
    assert_eq!(bench.with(1, |list| list.get()), [3, 1, 2, 1]);
    bench.with(1, |list| list.update([8, 7]));
    assert_eq!(bench.with(1, |list| list.get()), [8, 7]);
    assert_eq!(bench.with(2, |list| list.get()), [9]);
}

fn maps(setting: Setting) -> Bench<MapState<i64, String>> {
    Bench::new(setting, |states| states.map(&MapStateDescriptor::new("m")).unwrap())
}

pub(super) fn maps_iterate_in_the_order_of_encoded_keys(setting: Setting) {
    let mut bench = maps(setting);
    let mut keys = vec![0, -1, 1, 300, -300, 64, -64, i64::MAX, i64::MIN, 128];
    for key in &keys {
        bench.with(1, |map| map.put(key, key.to_string()));
    }
    bench.with(1, |map| map.put(&64, "again".into()));
    keys.sort_by_key(encoded);
    assert_eq!(bench.with(1, MapState::keys), keys);
    let values: Vec<String> =
        keys.iter().map(|key| if *key == 64 { "again".into() } else { key.to_string() }).collect();
    assert_eq!(bench.with(1, MapState::values), values);
    assert_eq!(bench.with(1, MapState::entries), keys.into_iter().zip(values).collect::<Vec<_>>());
    assert_eq!(bench.with(2, MapState::entries), []);
}

pub(super) fn map_values_can_be_null(setting: Setting) {
    let mut bench = Bench::new(setting, |states| {
        states.map(&MapStateDescriptor::<u8, Option<String>>::new("m")).unwrap()
    });
    bench.with(1, |map| {
        map.put(&1, None);
        map.put(&2, Some("two".into()));
    });
    assert_eq!(bench.with(1, |map| map.get(&1)), Some(None));
    assert!(bench.with(1, |map| map.contains(&1)));
    assert!(!bench.with(1, |map| map.contains(&3)));
    assert_eq!(bench.with(1, |map| map.entries()), [(1, None), (2, Some("two".into()))]);
    bench.with(1, |map| map.remove(&2));
    assert!(!bench.with(1, |map| map.is_empty()));
    bench.with(1, |map| map.remove(&1));
    assert!(bench.with(1, |map| map.is_empty()));
}

pub(super) fn emptied_lists_and_maps_are_gone(setting: Setting) {
    let mut bench = Bench::new(setting, |states| {
        let list = states.list(&ListStateDescriptor::<u32>::new("l")).unwrap();
        (list, states.map(&MapStateDescriptor::<u8, u8>::new("m")).unwrap())
    });
    bench.with(1, |(list, map)| {
        list.add(1);
        map.put(&1, 1);
    });
    assert_eq!(bench.key_count(), 1);
    bench.with(1, |(list, _)| list.update([]));
    assert_eq!(bench.key_count(), 1);
    bench.with(1, |(_, map)| map.remove(&1));
    assert_eq!(bench.key_count(), 0);
    bench.with(1, |(list, map)| {
        list.add(1);
        map.put(&1, 1);
        list.clear();
        map.clear();
        map.remove(&1);
    });
    assert_eq!(bench.key_count(), 0);
}
