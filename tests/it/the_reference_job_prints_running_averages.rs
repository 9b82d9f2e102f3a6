//! The reference job prints each key's running average, however its lines are written.

use crate::support::Demo;

fn printed(lines: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let ended = Demo::run_on(lines, |demo| demo.checkpoint_dir(directory.path()));
    assert_eq!(ended.rejected(), []);
    ended.stdout
}

const RESULTS: &str = "(1,4)\n(1,5)\n(1,4)\n(1,4)\n";

#[test]
fn as_in_the_issue() {
    assert_eq!(printed("1 3\n1 5\n1 7\n1 4\n1 2\n"), RESULTS);
}

#[test]
fn a_last_line_without_its_end_counts() {
    assert_eq!(printed("1 3\n1 5\n1 7\n1 4\n1 2"), RESULTS);
}

#[test]
fn lines_may_end_in_carriage_return_and_line_feed() {
    assert_eq!(printed("1 3\r\n1 5\r\n1 7\n1 4\r\n1 2\r\n"), RESULTS);
}

#[test]
fn blanks_and_tabs_separate_and_surround_columns() {
    assert_eq!(printed("1\t3\n  1   5  \n\t1 \t7\t\n1  4\n1\t\t2\n"), RESULTS);
}

#[test]
fn keys_are_apart_and_numbers_may_be_negative() {
    let lines = "-1 -3\n2 9223372036854775807\n-1 -4\n2 -9223372036854775807\n2 -1\n-1 +8\n";
    // Division of integers rounds towards zero.
    assert_eq!(printed(lines), "(-1,-3)\n(2,0)\n(2,0)\n(-1,0)\n");
}
