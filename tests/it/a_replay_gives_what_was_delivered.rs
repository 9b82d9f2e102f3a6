//! `tidegate replay` gives, byte for byte, what the job delivered, up to any batch and from any batch on.

use std::path::Path;

use crate::support::{Demo, Random, replay, state_hash};

/// Runs the job on `readings` random readings; returns everything it has delivered into its file by then.
fn run(directory: &Path, random: &mut Random, readings: usize, parallelism: &str) -> String {
    let line = |random: &mut Random| {
        let (key, value) = random.reading(40);
        format!("{key} {value}\n")
    };
    let lines: String = (0..readings).map(|_| line(random)).collect();
    let results = directory.join("results");
    Demo::run_on(lines, |demo| {
        let demo = demo.journaled("always").args(["--interval", "1h", "--parallelism", parallelism]);
        demo.arg("--output").arg(&results).checkpoint_dir(&directory.join("data"))
    });
    std::fs::read_to_string(results).unwrap()
}

fn last_batch(summary: &str) -> usize {
    let line = summary.lines().next().unwrap();
    line.rsplit_once("to batch ").unwrap().1.parse().unwrap()
}

#[test]
fn also_when_the_number_of_subtasks_changed() {
    let mut random = Random::seeded();
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    // Beside the results of the first run there are those of the second, whose subtasks order them otherwise.
    run(directory.path(), &mut random, 60_000, "1");
    let delivered = run(directory.path(), &mut random, 60_000, "3");
    let whole = replay(&data, &[]).in_order();
    assert!(whole.stdout == delivered, "{} bytes instead of {}", whole.stdout.len(), delivered.len());
    assert!(
        whole.stderr.starts_with("replayed: from checkpoint 1 at offset 0 to batch "),
        "{}",
        whole.stderr
    );
    assert!(whole.stderr.contains("readings 120000, skipped 0, rejected 0, "), "{}", whole.stderr);
    let again = replay(&data.join("running-average"), &[]).in_order();
    assert_eq!((again.stdout == whole.stdout, &again.stderr), (true, &whole.stderr));

    let last = last_batch(&whole.stderr);
    assert!(last >= 4, "{last} batches");
    let mut before = 0;
    for until in 0..=last {
        let head = replay(&data, &["--until", &until.to_string()]).in_order();
        assert!(delivered.starts_with(&head.stdout) && head.stdout.len() >= before, "--until {until}");
        assert_eq!(last_batch(&head.stderr), until);
        before = head.stdout.len();
        if until < last {
            let tail = replay(&data, &["--from", &(until + 1).to_string()]).in_order();
            assert!(head.stdout + &tail.stdout == delivered, "--from {}", until + 1);
            assert_eq!(state_hash(&tail), state_hash(&whole));
        }
    }
    assert_eq!(before, delivered.len());

    // The state does not depend on the number of subtasks, and there is a file for the results.
    let to = directory.path().join("replayed");
    let other = replay(&data, &["--parallelism", "2", "--to", &to.display().to_string()]).in_order();
    assert_eq!((state_hash(&other), other.stdout.as_str()), (state_hash(&whole), ""));
    assert_eq!(std::fs::read(to).unwrap().len(), delivered.len());
}

#[test]
fn and_says_what_can_be_had() {
    let mut random = Random::seeded();
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    for _ in 0..6 {
        // Each run ends with a checkpoint, and three are kept.
        run(directory.path(), &mut random, 10, "1");
    }
    let whole = replay(&data, &["--json"]).in_order();
    assert!(whole.stderr.starts_with(r#"{"checkpoint":5,"offset":"#), "{}", whole.stderr);
    assert!(whole.stderr.contains(r#""gaps":[],"state":""#), "{}", whole.stderr);
    let number = |name: &str| -> usize {
        let (_, rest) = whole.stderr.split_once(&format!("\"{name}\":")).unwrap();
        rest.split([',', '}']).next().unwrap().parse().unwrap()
    };
    let (first, last) = (number("offset") + 1, number("last"));
    let range = format!("what is kept allows for batches {first} to {last}");
    for arguments in [["--until", "1"], ["--until", "1000"], ["--from", "1"], ["--from", "1000"]] {
        let refused = replay(&data, &arguments);
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(78), ""), "{arguments:?}");
        assert!(refused.stderr.contains(&range), "{arguments:?}: {}", refused.stderr);
    }
    let until = first.to_string();
    let reversed = replay(&data, &["--from", &last.to_string(), "--until", &until]);
    assert_eq!(reversed.code, Some(78), "{}", reversed.stderr);
    let nothing = replay(directory.path(), &[]);
    assert_eq!(nothing.code, Some(78));
    assert!(nothing.stderr.contains("holds neither checkpoints nor a journal"), "{}", nothing.stderr);
    assert_eq!(replay(&directory.path().join("missing"), &[]).code, Some(73));
    let inside = data.join("running-average/replayed");
    assert_eq!(replay(&data, &["--to", &inside.display().to_string()]).code, Some(78));
    assert_eq!(
        replay(&data, &["--to", &directory.path().join("results").display().to_string()]).code,
        Some(74)
    );
}
