//! Bad lines are counted by cause and sampled in the log; the good ones around them are all processed.

use crate::support::{Averages, Demo, Ended, field};

const LINE_BYTES_MAX: usize = 1024;

fn run(bytes: &[u8]) -> Ended {
    Demo::run_on(bytes, |demo| demo.in_memory().args(["--line-max", "1KiB"]))
}

#[test]
fn each_cause_has_its_count() {
    let max = i64::MAX;
    let too_long = |length: usize| format!("1 {}", "1".repeat(length - 2)).into_bytes();
    let padded = |length: usize| format!("4 {:>width$}", 1, width = length - 2).into_bytes();
    let cases: [(&str, u64, Vec<Vec<u8>>); 9] = [
        ("empty", 3, vec![b"".to_vec(), b" \t ".to_vec(), b"\r".to_vec()]),
        ("nul", 2, vec![b"1 \0".to_vec(), b"\0".to_vec()]),
        ("not-utf8", 2, vec![b"1 \xff".to_vec(), b"\xc3 5".to_vec()]),
        ("missing-column", 1, vec![b"1".to_vec()]),
        ("extra-column", 2, vec![b"1 2 3".to_vec(), b"1 2 x".to_vec()]),
        ("not-a-number", 4, ["1 x", "x 1", "1 1.5", "1\u{a0}2"].map(|line| line.into()).to_vec()),
        (
            "overflow",
            4,
            [
                "9223372036854775808 1",
                "1 -9223372036854775809",
                "1 99999999999999999999999999",
                &format!("2 {max}"),
            ]
            .map(|line| line.into())
            .to_vec(),
        ),
        ("line-too-long", 3, vec![too_long(1025), too_long(5000), too_long(300_000)]),
        ("none", 0, vec![padded(1023), padded(1024), [padded(1024), b"\r".to_vec()].concat()]),
    ];
    let mut bytes = format!("1 3\n2 {max}\n").into_bytes();
    let mut model = Averages::default();
    let mut expected = Vec::new();
    for (cause, count, lines) in cases {
        for line in lines {
            // Good lines everywhere between.
            bytes.extend_from_slice(&[&line[..], b"\n1 5\n3 4\n"].concat());
        }
        if cause == "overflow" {
            // The fourth of them fits the type, but not the sum.
            expected.push(("average".to_owned(), cause.to_owned(), 1));
            expected.push(("readings".to_owned(), cause.to_owned(), count - 1));
        } else if cause == "line-too-long" {
            expected.push(("tcp".to_owned(), cause.to_owned(), count));
        } else if count > 0 {
            expected.push(("readings".to_owned(), cause.to_owned(), count));
        }
    }
    model.add_bytes(&bytes, LINE_BYTES_MAX);
    let ended = run(&bytes);
    assert_eq!(ended.stdout, model.outputs);
    expected.sort();
    let mut rejected = ended.rejected();
    rejected.sort();
    assert_eq!(rejected, expected);
    let total: u64 = expected.iter().map(|(_, _, count)| count).sum();
    assert_eq!(field(&ended.log("ended"), "rejected"), total.to_string());
    assert_eq!(model.rejected.values().sum::<u64>(), total, "the model judges as the cases say");
}

#[test]
fn a_sample_names_origin_line_and_text() {
    let ended = run(b"1 3\n1 5\nsensor \x1b[31m 7\n1 4\n");
    let sample = ended.log("reading rejected");
    assert_eq!(field(&sample, "line"), "3");
    assert!(sample.contains("127.0.0.1:") && sample.contains("cause=not-a-number"), "{sample}");
    assert!(sample.contains(r"reading=sensor \x1b[31m 7"), "control characters are escaped: {sample}");
}

#[test]
fn over_long_lines_in_a_row_cost_no_good_line() {
    let over_long = "x".repeat(2 * LINE_BYTES_MAX);
    let ended = run(format!("1 3\n{}1 5\n", format!("{over_long}\n").repeat(40)).as_bytes());
    assert_eq!(ended.stdout, "(1,4)\n", "the log:\n{}", ended.stderr);
    assert_eq!(ended.rejected(), [("tcp".to_owned(), "line-too-long".to_owned(), 40)]);
}

#[test]
fn an_over_long_line_is_shown_with_its_number() {
    let over_long = "x".repeat(2 * LINE_BYTES_MAX);
    let ended = run(format!("1 3\n{over_long}\n1 5\n{over_long}\n{over_long}\n1 7\n").as_bytes());
    let numbers: Vec<String> =
        ended.logs("reading rejected").iter().map(|line| field(line, "line")).collect();
    assert_eq!(numbers, ["2", "4", "5"]);
    assert_eq!(ended.stdout, "(1,4)\n(1,5)\n");
}

#[test]
fn the_log_shows_few_of_many() {
    let mut bytes = b"7 1\n".to_vec();
    for index in 0..10_000 {
        bytes.extend_from_slice(format!("bad {index}\n").as_bytes());
        bytes.extend_from_slice(format!("7 {index}\n").as_bytes());
    }
    let mut model = Averages::default();
    model.add_bytes(&bytes, LINE_BYTES_MAX);
    let ended = run(&bytes);
    assert_eq!(ended.stdout, model.outputs);
    assert_eq!(ended.rejected(), [("readings".to_owned(), "not-a-number".to_owned(), 10_000)]);
    // Five in a window of ten seconds; a slow machine may need a second one.
    let samples = ended.logs("reading rejected").len();
    assert!((5..=10).contains(&samples), "{samples} samples");
}
