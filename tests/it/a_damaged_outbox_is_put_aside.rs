//! An outbox whose files are damaged never prevents a start: it is put aside, said so, and what replay makes again is
//! delivered.

use crate::support::{Broker, Demo, Random, files_below};

#[test]
fn whatever_byte_it_is() {
    let Some(mut broker) = Broker::start() else { return };
    broker.stop();
    let url = broker.url();
    let mut random = Random::seeded();
    for trial in 0..6 {
        let directory = tempfile::tempdir().unwrap();
        let publishing = |demo: Demo| {
            demo.journaled("always").checkpoint_dir(directory.path()).args([
                "--publish",
                &url,
                "--interval",
                "1h",
            ])
        };
        let lines: String = (0..2000).map(|number| format!("{} {number}\n", number % 7)).collect();
        Demo::run_on(lines.as_str(), publishing);
        let files = files_below(directory.path());
        let (file, bytes) = files
            .iter()
            .filter(|(path, _)| path.to_string_lossy().contains("/outbox/"))
            .max_by_key(|(_, bytes)| bytes.len())
            .unwrap();
        let (file, mut bytes) = (directory.path().join(file), bytes.clone());
        if trial == 0 {
            bytes.fill(0xA5);
        } else {
            for _ in 0..40 {
                let index = random.within(0..bytes.len());
                bytes[index] ^= 0x55;
            }
        }
        std::fs::write(file, bytes).unwrap();
        // Later readings come out, whatever is left of the earlier ones.
        let ended = Demo::run_on("1 5\n2 5\n", publishing);
        let left = ended.log("left the outbox");
        println!("{left}");
        let waiting: u64 = crate::support::field(&left, "waiting").parse().unwrap();
        assert!(waiting >= 2, "{left}");
        if trial == 0 {
            // Which of the two depends on what sled makes of it.
            let is_told = ["the outbox is damaged and put aside", "the outbox has lost what it held"];
            assert!(is_told.iter().any(|text| !ended.logs(text).is_empty()), "{}", ended.stderr);
        }
    }
}
