//! Two hundred random mutations of a lines file: no panic, no hang, and every good line is counted.

use std::collections::BTreeMap;

use crate::support::{Averages, Demo, LineServer, Random, lines_of, send};

const MUTATIONS: u64 = 200;
const LINE_BYTES_MAX: usize = 64;
/// Over-long lines in a row after which the program ends a connection.
const OVER_LONG_IN_A_ROW_MAX: usize = 10;
/// Programs that run at once.
const WORKERS: u64 = 4;

#[test]
fn results_and_rejections_are_the_models() {
    let random = Random::seeded();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let random = &random;
                scope.spawn(move || {
                    for number in (0..MUTATIONS).filter(|number| number % WORKERS == worker) {
                        check(number, random.case(number));
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().expect("a case failed");
        }
    });
}

fn check(number: u64, mut random: Random) {
    let bytes = mutated_file(&mut random);
    let mut model = Averages::default();
    model.add_bytes(&bytes, LINE_BYTES_MAX);
    let server = LineServer::start();
    let running = Demo::connect(server.address())
        .in_memory()
        .args(["--quiet", "--line-max", "64", "--parallelism", ["1", "3"][random.within(0..2)]])
        .start();
    let mut connection = server.accept();
    // In pieces of any size: a read may end anywhere.
    let mut rest = &*bytes;
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(random.within(1..rest.len().min(700) + 1));
        send(&mut connection, piece);
        rest = later;
    }
    drop(connection);
    let ended = running.wait().in_order();
    let shown = bytes.escape_ascii();
    assert_eq!(by_key(&ended.stdout), by_key(&model.outputs), "case {number}: {shown}");
    let mut rejected = BTreeMap::new();
    for (_, cause, count) in ended.rejected() {
        *rejected.entry(cause).or_insert(0) += count;
    }
    let expected: BTreeMap<String, u64> =
        model.rejected.iter().map(|(cause, count)| ((*cause).to_owned(), *count)).collect();
    assert_eq!(rejected, expected, "case {number}: {shown}");
}

/// Results of each key in their order: subtasks may change the order of keys.
fn by_key(results: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut by_key = BTreeMap::<&str, Vec<&str>>::new();
    for line in results.lines() {
        let (key, average) = line.split_once(',').expect("a result is a pair");
        by_key.entry(key).or_default().push(average);
    }
    by_key
}

fn mutated_file(random: &mut Random) -> Vec<u8> {
    loop {
        let mut bytes = good_file(random);
        for _ in 0..random.within(1..9) {
            mutate(&mut bytes, random);
        }
        let longest_run = lines_of(&bytes).split(|line| line.len() <= LINE_BYTES_MAX).map(<[_]>::len).max();
        if longest_run.unwrap_or(0) < OVER_LONG_IN_A_ROW_MAX {
            return bytes;
        }
    }
}

fn good_file(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    for index in 0..200 {
        let (key, value) = random.reading(20);
        let line = match index % 40 {
            // Near the limits, so that a small change crosses them.
            0 => format!("{key} {}\n", i64::MAX - 1),
            1 => format!("{key} {}\r\n", i64::MIN + 1),
            2 => format!("{key} {value:>width$}\n", width = LINE_BYTES_MAX - 1 - key.to_string().len()),
            3 => format!("\t{key}\t {value} \r\n"),
            4 => format!("é {value}\n"),
            _ => format!("{key} {value}\n"),
        };
        bytes.extend_from_slice(line.as_bytes());
    }
    bytes
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    const SPECIAL: &[u8] = b"\n\r\0 \t-+0129\x7f\x80\xc3\xff";
    let start = random.within(0..bytes.len().max(1)).min(bytes.len());
    let end = (start + random.within(1..200)).min(bytes.len());
    let special = SPECIAL[random.within(0..SPECIAL.len())];
    match random.within(0..6) {
        0 if start < bytes.len() => bytes[start] ^= 1 << random.within(0..8),
        1 if start < bytes.len() => bytes[start] = special,
        2 => bytes.insert(start, special),
        3 => drop(bytes.drain(start..end)),
        4 => {
            let range = bytes[start..end].to_vec();
            let at = random.within(0..bytes.len() + 1);
            bytes.splice(at..at, range);
        }
        _ => bytes[start..end].iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = special),
    }
}
