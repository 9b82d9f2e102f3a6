//! The whole program and the whole library, seen from outside: one scenario a file.
//!
//! `TIDEGATE_TEST_SEED=<number>` repeats the random choices of a failed run; the number is in its output.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "scenarios look at and damage files behind the program's back, and their helpers may fail"
)]

mod a_board_gives_its_defaults_or_refuses_the_job;
#[cfg(feature = "remotes")]
mod a_board_whose_power_is_cut_carries_on;
mod a_broker_that_refuses_outputs_is_waited_for;
mod a_checkpoint_that_is_too_slow_is_given_up;
mod a_damaged_checkpoint_falls_back_to_the_one_before;
mod a_damaged_file_is_harmless_or_reported;
mod a_damaged_journal_is_reported_and_the_job_starts;
mod a_damaged_outbox_is_put_aside;
mod a_damaged_store_is_rebuilt;
#[cfg(feature = "remotes")]
mod a_device_that_burnt_down_goes_on_elsewhere;
#[cfg(feature = "remotes")]
mod a_device_that_comes_back_ships_no_more;
mod a_directory_is_free_when_its_job_has_ended;
mod a_failing_operator_is_rewound_and_others_live_on;
mod a_finished_job_leaves_no_threads;
mod a_flood_of_retained_messages_is_taken_in_once;
mod a_fresh_start_ignores_checkpoints;
mod a_full_disk_does_not_stop_the_job;
mod a_full_disk_is_waited_for;
mod a_full_disk_under_a_store_is_waited_for;
mod a_full_outbox_keeps_to_its_policy;
mod a_full_remote_does_not_stop_the_job;
mod a_hanging_operator_does_not_hang_the_job;
mod a_hostile_remote_is_refused;
mod a_journal_never_passes_its_limit;
mod a_key_bomb_stays_within_its_memory;
mod a_killed_process_carries_on_from_its_checkpoint;
mod a_killed_process_loses_and_repeats_no_timer;
mod a_killed_process_loses_and_repeats_nothing;
mod a_killed_process_with_many_keys_answers_again;
mod a_last_will_is_published_for_a_killed_process;
#[cfg(feature = "remotes")]
mod a_link_that_is_cut_leaves_no_half_checkpoint;
#[cfg(feature = "remotes")]
mod a_link_that_swallows_everything_does_not_stop_the_job;
#[cfg(feature = "remotes")]
mod a_lost_device_loses_seconds_not_an_interval;
mod a_lost_directory_is_restored_from_the_remote;
mod a_poison_frame_is_skipped_and_kept;
mod a_poison_frame_is_skipped_wherever_it_fails;
mod a_power_cut_loses_nothing_acknowledged;
#[cfg(feature = "remotes")]
mod a_remote_that_refuses_us_is_one_clear_line;
mod a_replay_does_without_what_is_damaged;
mod a_replay_gives_what_was_delivered;
mod a_replay_leaves_the_directory_as_it_is;
mod a_replay_skips_what_was_skipped;
mod a_restore_onto_a_full_disk_is_finished_later;
mod a_restore_that_does_not_fit_changes_nothing;
mod a_savepoint_is_taken_of_a_running_job;
mod a_savepoint_starts_on_any_backend_and_parallelism;
mod a_savepoint_that_cannot_be_used_is_refused;
mod a_second_signal_ends_a_stuck_process;
mod a_sequence_in_the_payload_makes_results_exact;
mod a_server_that_comes_back_is_read_on;
mod a_shared_subscription_gives_each_message_to_one;
mod a_silent_key_group_closes_its_windows;
#[cfg(feature = "remotes")]
mod a_slow_link_does_not_slow_the_intake;
mod a_small_change_sends_few_bytes;
mod a_stop_signal_drains_what_was_read;
mod a_timer_fires_though_no_reading_comes;
mod a_timer_that_fails_each_time_ends_the_job;
mod a_topic_filter_the_broker_refuses_is_said;
mod a_topic_that_is_not_utf8_harms_nothing;
mod a_union_waits_for_its_slowest_stream;
mod a_wall_clock_that_jumps_never_takes_stamps_back;
mod a_wrong_clock_is_its_own_affair;
mod an_acknowledged_mqtt_message_is_counted_once_whatever_breaks;
mod an_mqtt_frame_knows_its_message;
#[cfg(feature = "remotes")]
mod an_outage_of_the_remote_is_waited_out;
#[cfg(feature = "remotes")]
mod an_ssh_is_left_by_nobody;
#[cfg(all(feature = "rocksdb", feature = "sled"))]
mod arm_programs_agree_with_this_one;
mod bad_lines_are_counted_by_cause;
mod checkpoints_are_shipped_and_pruned_by_hand;
mod datagrams_are_received_or_counted;
#[cfg(feature = "remotes")]
mod dropped_packets_stop_nothing;
mod errors_are_one_line_and_a_documented_exit_code;
mod every_output_reaches_the_broker_whatever_is_killed;
mod failures_end_the_job_when_the_budget_is_spent;
mod foreign_files_never_prevent_a_start;
mod job_files_are_checked_and_tried;
mod leftover_segments_are_not_damage;
mod many_clients_are_served_at_once;
mod mqtt_brokers_that_refuse_or_vanish_are_waited_for;
mod mqtt_messages_give_the_reference_averages;
mod mutated_lines_never_harm_the_good_ones;
mod new_keys_over_the_limit_are_met_by_policy;
mod other_brokers_work_too;
mod outputs_wait_for_their_broker;
mod results_do_not_depend_on_threads_or_parallelism;
mod saved_state_can_be_looked_at;
mod saved_state_is_carried_over_by_a_migration;
mod saved_state_that_does_not_fit_is_refused;
mod support;
mod the_memory_backend_leaves_no_files;
mod the_reference_job_prints_running_averages;
mod the_service_manager_is_told_when_the_job_runs;
mod the_watchdog_is_fed_only_while_the_job_lives;
mod timers_fire_in_order_whatever_happens_to_the_job;
mod tls_clients_are_let_in_by_their_certificate;
mod unix_sockets_are_served_and_their_files_kept_in_order;
mod windows_are_exact_whatever_is_killed;
mod wrong_sql_is_refused_with_its_place;
