//! What was saved against what is declared.

use super::bench::{Bench, Setting};
use crate::state::{
    ListStateDescriptor, MapState, MapStateDescriptor, ReducingStateDescriptor, StateError, StateRegistry,
    ValueState, ValueStateDescriptor,
};

fn value<V: crate::state::StateValue>(states: &mut StateRegistry) -> ValueState<V> {
    states.value(&ValueStateDescriptor::new("v")).unwrap()
}

/// A bench with numbers under the keys 1..=9.
fn numbers(setting: Setting) -> Bench<ValueState<i64>> {
    let mut bench = Bench::new(setting, value::<i64>);
    bench.batch(&[1, 2, 3, 4, 5, 6, 7, 8, 9], |key, value| value.update(*key));
    bench
}

/// The message of the refusal to restore `bench` as `declare` says.
fn refusal<H: 'static, H2: 'static>(
    bench: &mut Bench<H>,
    declare: impl Fn(&mut StateRegistry) -> H2 + 'static,
) -> String {
    let backend = bench.setting.backend;
    match bench.redeclared::<H2, i64>(backend, declare) {
        Ok(_) => panic!("state of another schema restores"),
        Err(error) => error.to_string(),
    }
}

pub(super) fn another_value_type_is_refused_by_name(setting: Setting) {
    let message = refusal(&mut numbers(setting), value::<String>);
    assert!(message.contains(r#"state "v" of operator "op""#), "{message}");
    assert!(message.contains("i64") && message.contains("String"), "{message}");
}

pub(super) fn another_kind_of_state_is_refused_by_name(setting: Setting) {
    let mut bench = numbers(setting);
    let list = refusal(&mut bench, |states| states.list(&ListStateDescriptor::<i64>::new("v")).unwrap());
    assert!(list.contains(r#""v""#) && list.contains("value state") && list.contains("list state"), "{list}");
    let reducing = refusal(&mut bench, |states| {
        states.reducing(&ReducingStateDescriptor::new("v", |kept: i64, added| kept + added)).unwrap()
    });
    assert!(reducing.contains("reducing state"), "{reducing}");
}

pub(super) fn another_key_type_is_refused(setting: Setting) {
    let outcome = numbers(setting).redeclared::<_, u32>(setting.backend, value::<i64>);
    assert!(matches!(outcome.map(drop), Err(StateError::KeyMismatch { .. })));
}

pub(super) fn an_unknown_version_is_refused(setting: Setting) {
    let message = refusal(&mut numbers(setting), |states| {
        states.value(&ValueStateDescriptor::<i64>::new("v").version(2)).unwrap()
    });
    assert!(message.contains("version 1") && message.contains("version 2"), "{message}");
    // A migration from another version, or from another type, does not help.
    for version in [1, 3] {
        let message = refusal(&mut numbers(setting), move |states| {
            let descriptor = ValueStateDescriptor::<i64>::new("v").version(2);
            states.value(&descriptor.migrate_from(version, |old: u8| i64::from(old))).unwrap()
        });
        assert!(message.contains("version 1"), "{message}");
    }
}

pub(super) fn a_refused_restore_leaves_the_checkpoint_usable(setting: Setting) {
    let mut bench = numbers(setting);
    refusal(&mut bench, value::<String>);
    let mut again: Bench<ValueState<i64>> = bench.redeclared(setting.backend, value::<i64>).unwrap();
    again.batch(&[1, 5, 9], |key, value| assert_eq!(value.value(), Some(*key)));
}

pub(super) fn older_versions_are_migrated(setting: Setting) {
    let mut bench = Bench::new(setting, |states| {
        let map = states.map(&MapStateDescriptor::<u8, u16>::new("m")).unwrap();
        (value::<i64>(states), map)
    });
    bench.batch(&[1, 2, 3], |key, (value, map)| {
        value.update(*key);
        map.put(&7, 70);
    });
    let newer = |states: &mut StateRegistry| {
        let value = ValueStateDescriptor::<String>::new("v").version(3);
        let value = value.migrate_from(1, |old: i64| format!("{old} from 1"));
        let value = value.migrate_from(2, |old: Vec<i64>| format!("{old:?} from 2"));
        let map =
            MapStateDescriptor::<u8, String>::new("m").version(2).migrate_from(1, |old: u16| old.to_string());
        (states.value(&value).unwrap(), states.map(&map).unwrap())
    };
    let mut newer: Bench<(ValueState<String>, MapState<u8, String>)> =
        bench.redeclared(setting.backend, newer).unwrap();
    newer.with(2, |(value, _)| value.update("new".into()));
    for (key, text) in [(1, "1 from 1"), (2, "new"), (3, "3 from 1")] {
        assert_eq!(newer.with(key, |(value, _)| value.value()).as_deref(), Some(text));
        assert_eq!(newer.with(key, |(_, map)| map.get(&7)).as_deref(), Some("70"));
    }
    assert_eq!(newer.key_count(), 3);
}

pub(super) fn a_state_added_later_starts_empty(setting: Setting) {
    let added = |states: &mut StateRegistry| {
        let added = states.value(&ValueStateDescriptor::<u8>::new("added").default_value(5)).unwrap();
        (added, value::<i64>(states))
    };
    let mut bench = numbers(setting).redeclared::<_, i64>(setting.backend, added).unwrap();
    bench.with(2, |(added, _)| added.update(6));
    for key in [1, 2, 3] {
        let expected = (Some(if key == 2 { 6 } else { 5 }), Some(key));
        assert_eq!(bench.with(key, |(added, value)| (added.value(), value.value())), expected);
    }
}

pub(super) fn a_state_no_longer_declared_is_refused_by_name(setting: Setting) {
    let message = refusal(&mut numbers(setting), |states| {
        states.value(&ValueStateDescriptor::<i64>::new("other")).unwrap()
    });
    assert!(message.contains(r#"state "v" of operator "op""#) && message.contains("nothing of that name"));
}

pub(super) fn states_may_be_declared_in_another_order(setting: Setting) {
    let pair = |first: &'static str, second: &'static str| {
        move |states: &mut StateRegistry| {
            [first, second].map(|name| states.value(&ValueStateDescriptor::<i64>::new(name)).unwrap())
        }
    };
    let mut bench = Bench::new(setting, pair("a", "b"));
    bench.with(1, |[a, b]| {
        a.update(1);
        b.update(2);
    });
    let mut turned = bench.redeclared::<_, i64>(setting.backend, pair("b", "a")).unwrap();
    assert_eq!(turned.with(1, |states| states.each_ref().map(ValueState::value)), [Some(2), Some(1)]);
}
