//! One key in a hundred changes between two checkpoints: the second one sends at most a tenth of the first, also when the
//! job was started again in between.
//!
//! `TIDEGATE_TEST_KEYS=1000000` does it with another number of keys than 100,000.

use std::collections::BTreeSet;

use crate::support::{Demo, Random, RemotePlace};

const KEYS: usize = 100_000;

/// What shipping the newest checkpoint sends.
fn shipped_bytes(place: &RemotePlace) -> u64 {
    let data = place.data().display().to_string();
    let shipped = place.run(&["checkpoint", "ship", &data, "--remote", &place.remote(), "--json"]);
    assert_eq!(shipped.0, Some(0), "{}", shipped.2);
    let number = shipped.1.split(r#""sent_bytes":"#).nth(1).unwrap();
    number.trim_end().trim_end_matches('}').parse().unwrap()
}

fn sends_few_bytes(backend: &str) {
    let mut random = Random::seeded();
    let keys = std::env::var("TIDEGATE_TEST_KEYS").map_or(KEYS, |keys| keys.parse().unwrap());
    let place = RemotePlace::new();
    let run = |readings: &[(i64, i64)]| {
        let lines: String = readings.iter().map(|(key, value)| format!("{key} {value}\n")).collect();
        Demo::run_on(lines, |demo| demo.checkpoint_dir(&place.data()).args(["--backend", backend]))
    };
    let all: Vec<(i64, i64)> =
        (1..=keys).map(|key| (i64::try_from(key).unwrap(), random.reading(1000).1)).collect();
    run(&all);
    let mut sent = vec![shipped_bytes(&place)];
    for _ in 0..3 {
        let mut changed = BTreeSet::new();
        while changed.len() < keys / 100 {
            changed.insert(random.reading(keys).0);
        }
        let readings: Vec<(i64, i64)> =
            changed.into_iter().map(|key| (key, random.reading(1000).1)).collect();
        run(&readings);
        sent.push(shipped_bytes(&place));
    }
    println!("{backend}: {keys} keys, bytes sent by checkpoint: {sent:?}");
    assert!(sent[1] * 10 <= sent[0], "{backend}: {sent:?}");
    let verified = place.run(&["checkpoint", "verify", &place.remote()]);
    assert_eq!((verified.0, verified.1.matches("whole").count()), (Some(0), 3), "{}", verified.2);
}

#[test]
fn of_file() {
    sends_few_bytes("file");
}

#[test]
fn of_rocksdb() {
    sends_few_bytes("rocksdb");
}

#[test]
fn of_sled() {
    sends_few_bytes("sled");
}
