//! The conformance suite of keyed state: cases that are written once and run on every backend.
//!
//! Each case runs in three modes: straight through; with a checkpoint and a restore between any two steps; and so with
//! another parallelism each time. A backend whose cases have all passed in one run is printed with their number.

mod bench;
mod collections;
mod conversions;
mod fixtures;
mod increments;
mod random;
mod rescaling;
mod schema;
mod snapshots;
mod time_to_live;
mod timers;
mod values;

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

use bench::{Backend, MODES, Setting};

macro_rules! suite {
    ($($case:ident in $file:ident,)*) => {
        /// Cases of the suite.
        const CASES: usize = [$(stringify!($case)),*].len();

        backends! { [memory Memory] [file File] $($case in $file,)* }
        #[cfg(feature = "sled")]
        backends! { [sled Sled] $($case in $file,)* }
        #[cfg(feature = "rocksdb")]
        backends! { [rocksdb RocksDb] $($case in $file,)* }
    };
}

macro_rules! backends {
    ([$name:ident $backend:ident] [$($more:tt)*] $($cases:tt)*) => {
        backends! { [$name $backend] $($cases)* }
        backends! { [$($more)*] $($cases)* }
    };
    ([$name:ident $backend:ident] $($case:ident in $file:ident,)*) => {
        mod $name {
            static PASSED: super::AtomicUsize = super::AtomicUsize::new(0);
            $(
                #[test]
                fn $case() {
                    super::run(super::Backend::$backend, super::$file::$case, &PASSED);
                }
            )*
        }
    };
}

suite! {
    unset_reads_give_the_default_of_each_key in values,
    a_changed_copy_of_a_default_stays_with_its_key in values,
    values_are_updated_and_cleared in values,
    a_cleared_key_is_gone_after_a_restore in values,
    a_key_that_was_cleared_comes_back_empty in values,
    named_states_are_independent_under_one_key in values,
    keys_are_independent in values,
    text_keys_and_long_values in values,
    reducing_state_keeps_one_value in values,
    aggregating_state_keeps_an_accumulator in values,
    key_counts_are_exact in values,
    lists_keep_their_order in collections,
    maps_iterate_in_the_order_of_encoded_keys in collections,
    map_values_can_be_null in collections,
    emptied_lists_and_maps_are_gone in collections,
    writes_after_a_snapshot_do_not_leak_into_it in snapshots,
    a_snapshot_of_empty_state_restores in snapshots,
    deletions_after_a_snapshot_stay_deleted in snapshots,
    deletions_are_seen_while_a_snapshot_is_open in snapshots,
    an_abandoned_snapshot_loses_nothing in snapshots,
    a_cache_of_a_few_rows_gives_the_same_answers in snapshots,
    ten_key_groups_split_into_two_halves in rescaling,
    operator_lists_are_split in rescaling,
    operator_lists_are_united in rescaling,
    another_value_type_is_refused_by_name in schema,
    another_kind_of_state_is_refused_by_name in schema,
    another_key_type_is_refused in schema,
    an_unknown_version_is_refused in schema,
    a_refused_restore_leaves_the_checkpoint_usable in schema,
    older_versions_are_migrated in schema,
    a_state_added_later_starts_empty in schema,
    a_state_no_longer_declared_is_refused_by_name in schema,
    states_may_be_declared_in_another_order in schema,
    writes_refresh_the_time_to_live in time_to_live,
    reads_refresh_the_time_to_live_where_told in time_to_live,
    an_expired_value_is_returned_once_where_told in time_to_live,
    the_longest_time_to_live_does_not_overflow in time_to_live,
    expired_values_do_not_reappear_when_the_clock_is_set_back in time_to_live,
    incremental_clean_up_removes_all_expired in time_to_live,
    incremental_clean_up_goes_on_while_a_snapshot_is_open in time_to_live,
    a_time_to_live_can_be_enabled in time_to_live,
    a_time_to_live_can_be_disabled in time_to_live,
    a_time_to_live_can_be_changed in time_to_live,
    list_elements_expire_one_by_one in time_to_live,
    map_entries_expire_one_by_one in time_to_live,
    expired_keys_leave_full_snapshots in time_to_live,
    timers_survive_once_each_and_in_order in timers,
    timers_keep_keys_without_state in timers,
}

fn run(backend: Backend, case: fn(Setting), passed: &AtomicUsize) {
    for mode in MODES {
        println!("{backend}, {mode:?}");
        case(Setting { backend, mode });
    }
    if passed.fetch_add(1, Ordering::Relaxed) + 1 == CASES {
        // Not through `println!`, which the test harness keeps to itself when a test passes.
        writeln!(std::io::stdout(), "state conformance, {backend}: {CASES} cases").unwrap();
    }
}
