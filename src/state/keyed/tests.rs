use super::*;
use crate::state::key_group::GroupSet;
use crate::state::restore::SavedPart;
use crate::state::{ValueState, ValueStateDescriptor};

fn state(range: KeyGroupRange) -> (KeyedState<i64>, ValueState<i64>) {
    let (mut state, value) = declared(range);
    state.open(&[], 0, 1, 0).unwrap();
    (state, value)
}

fn declared(range: KeyGroupRange) -> (KeyedState<i64>, ValueState<i64>) {
    let mut state = empty(range);
    let handle = state.registry().value(&ValueStateDescriptor::new("v")).unwrap();
    (state, handle)
}

fn empty<K: Key>(range: KeyGroupRange) -> KeyedState<K> {
    KeyedState::new("op".into(), range, MaxParallelism::default(), Arc::new(StateSetup::heap()))
}

fn part(bytes: &[u8]) -> SavedPart {
    let groups = GroupSet::from(all());
    SavedPart { bytes: Arc::new(bytes.to_vec()), groups, has_lists: true, store: None }
}

fn all() -> KeyGroupRange {
    KeyGroupRange::of_subtask(0, 1, MaxParallelism::default())
}

fn go_to(state: &mut KeyedState<i64>, key: i64) {
    let hash = KeyEncoder::new().hash(&key).unwrap();
    let slot = state.slot(hash, &key);
    state.rows().move_to(slot);
}

fn saved(state: &mut KeyedState<i64>) -> (Vec<u8>, u64) {
    let mut bytes = Vec::new();
    let groups = state.snapshot().unwrap().write_full(&mut bytes).unwrap();
    (bytes, groups.iter().map(|group| group.keys).sum())
}

#[test]
fn unset_state_is_absent_for_each_key_and_leaves_no_row() {
    let (mut state, value) = state(all());
    for key in 0..100 {
        go_to(&mut state, key);
        assert_eq!(value.value(), None);
    }
    state.end_batch(0).unwrap();
    assert_eq!(state.key_count(), 0);
    assert_eq!(saved(&mut state).1, 0);
}

#[test]
fn cleared_keys_leave_and_their_rows_are_used_again() {
    let (mut state, value) = state(all());
    for round in 0..10 {
        for key in 0..1000 {
            go_to(&mut state, round * 1000 + key);
            assert_eq!(value.value(), None);
            value.update(key);
        }
        state.end_batch(0).unwrap();
        assert_eq!(state.key_count(), 1000);
        for key in 0..1000 {
            go_to(&mut state, round * 1000 + key);
            assert_eq!(value.value(), Some(key));
            value.clear();
        }
        state.end_batch(0).unwrap();
        assert_eq!(state.key_count(), 0);
    }
    let rows: usize = state.tables.iter_mut().map(|table| table.share().len()).sum();
    assert!(rows < 3000, "rows are reused, {rows} exist");
}

#[test]
fn a_snapshot_keeps_what_was_true_when_it_was_taken() {
    let (mut state, value) = state(all());
    for key in 0..500 {
        go_to(&mut state, key);
        value.update(key);
    }
    state.end_batch(0).unwrap();
    let snapshot = state.snapshot().unwrap();
    for key in 0..1000 {
        go_to(&mut state, key);
        value.update(-1);
    }
    state.end_batch(0).unwrap();
    let mut bytes = Vec::new();
    let groups = snapshot.write_full(&mut bytes).unwrap();
    assert_eq!(groups.iter().map(|group| group.keys).sum::<u64>(), 500);
    let (mut restored, value) = declared(all());
    restored.open(&[part(&bytes)], 0, 1, 0).unwrap();
    for key in 0..500 {
        go_to(&mut restored, key);
        assert_eq!(value.value(), Some(key));
    }
}

#[test]
fn restore_with_another_parallelism_splits_and_joins_the_groups() {
    let (mut one, value) = state(all());
    for key in 0..1000 {
        go_to(&mut one, key);
        value.update(key * 3);
    }
    one.end_batch(0).unwrap();
    let (whole, _) = saved(&mut one);
    let mut parts = Vec::new();
    let mut keys = 0;
    for index in 0..3 {
        let (mut third, _) = declared(KeyGroupRange::of_subtask(index, 3, MaxParallelism::default()));
        third.open(&[part(&whole)], index, 3, 0).unwrap();
        keys += third.key_count();
        parts.push(saved(&mut third).0);
    }
    assert_eq!(keys, 1000);
    let (mut joined, value) = declared(all());
    let parts: Vec<SavedPart> = parts.iter().map(|bytes| part(bytes)).collect();
    joined.open(&parts, 0, 1, 0).unwrap();
    assert_eq!(joined.key_count(), 1000);
    go_to(&mut joined, 77);
    assert_eq!(value.value(), Some(231));
}

#[test]
fn another_type_is_refused_by_name() {
    let (mut numbers, value) = state(all());
    go_to(&mut numbers, 1);
    value.update(1);
    let (bytes, _) = saved(&mut numbers);
    let mut other = empty::<i64>(all());
    other.registry().value(&ValueStateDescriptor::<String>::new("v")).unwrap();
    let message = other.open(&[part(&bytes)], 0, 1, 0).unwrap_err().to_string();
    assert!(message.contains(r#"state "v" of operator "op""#), "{message}");
    assert!(message.contains("i64") && message.contains("String"), "{message}");
    let mut rekeyed = empty::<u32>(all());
    rekeyed.registry().value(&ValueStateDescriptor::<i64>::new("v")).unwrap();
    assert!(matches!(rekeyed.open(&[part(&bytes)], 0, 1, 0), Err(StateError::KeyMismatch { .. })));
}

#[test]
fn every_cut_and_flip_of_a_part_is_an_error_or_loads_without_a_panic() {
    let (mut state, value) = state(all());
    for key in 0..50 {
        go_to(&mut state, key);
        value.update(key);
    }
    let (bytes, _) = saved(&mut state);
    for length in 0..bytes.len() {
        let (mut other, _) = declared(all());
        assert!(
            other.open(&[part(&bytes[..length])], 0, 1, 0).is_err(),
            "a part cut to {length} bytes loads"
        );
    }
    for position in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[position] ^= 0x55;
        let (mut other, _) = declared(all());
        drop(other.open(&[part(&flipped)], 0, 1, 0));
    }
}

#[test]
fn one_name_twice_is_refused() {
    let (mut state, _) = state(all());
    let again = state.registry().value(&ValueStateDescriptor::<u8>::new("v"));
    assert!(matches!(again, Err(StateError::DuplicateName { .. })));
}

#[test]
fn more_timers_than_memory_are_an_error() {
    let mut setup = StateSetup::heap();
    setup.bytes_max = 150_000;
    let mut state = KeyedState::<i64>::new("op".into(), all(), MaxParallelism::default(), Arc::new(setup));
    state.open(&[], 0, 1, 0).unwrap();
    for time in 0..1000 {
        state.timers.set(crate::state::TimeDomain::EventTime, time, &[1]);
    }
    state.end_batch(0).unwrap();
    state.timers.set(crate::state::TimeDomain::EventTime, 1000, &[1]);
    let error = state.end_batch(0).unwrap_err().to_string();
    assert!(error.contains("1001 timers") && error.contains("enough for 1000"), "{error}");
}
