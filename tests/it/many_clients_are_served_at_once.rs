//! A listening job serves many clients at once, turns away those above its limit, and drops idle ones.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use crate::support::{Averages, Demo, Random, WAIT_MAX, field, send};

const CLIENTS: usize = 20;
const CLIENT_KEYS: i64 = 5;
const CLIENT_READINGS: usize = 2000;

fn connect(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(address).expect("the program listens");
    client.set_nodelay(true).expect("a socket takes options");
    client.set_read_timeout(Some(WAIT_MAX)).expect("a socket takes options");
    client
}

/// Waits until the program ends the connection; false when the socket's read timeout passes first.
fn was_ended(client: &mut TcpStream) -> bool {
    loop {
        match client.read(&mut [0; 16]) {
            Ok(length) => return length == 0,
            // Children of other scenarios end meanwhile.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }
}

#[test]
fn twenty_in_parallel_each_with_its_own_keys() {
    for parallelism in ["1", "3"] {
        let random = Random::seeded();
        let running = Demo::listen().in_memory().args(["--parallelism", parallelism]).start();
        let address = running.listening_at();
        let together = Barrier::new(CLIENTS);
        let all: Vec<Vec<(i64, i64)>> = (0..CLIENTS as u64)
            .map(|client| {
                let mut random = random.case(client);
                let first_key = client as i64 * CLIENT_KEYS;
                let reading = |_| {
                    let (key, value) = random.reading(CLIENT_KEYS as usize);
                    (first_key + key, value)
                };
                (0..CLIENT_READINGS).map(reading).collect()
            })
            .collect();
        std::thread::scope(|scope| {
            for readings in &all {
                let together = &together;
                scope.spawn(move || {
                    let mut connection = connect(address);
                    together.wait();
                    let lines: String =
                        readings.iter().map(|(key, value)| format!("{key} {value}\n")).collect();
                    for piece in lines.as_bytes().chunks(1001) {
                        send(&mut connection, piece);
                    }
                    together.wait();
                });
            }
        });
        let model = Averages::after(&all.concat());
        running.wait_for_outputs(model.outputs.lines().count());
        let ended = running.stop().in_order();
        assert_eq!(by_key(&ended.stdout), by_key(&model.outputs), "{parallelism} subtasks");
        assert_eq!(field(&ended.log("ended"), "readings"), (CLIENTS * CLIENT_READINGS).to_string());
    }
}

/// One line at a time from each: the most messages for the fewest readings.
#[test]
fn a_crowd_that_sends_line_by_line() {
    const CROWD: i64 = 200;
    const ROUNDS: usize = 100;
    let running = Demo::listen().in_memory().start();
    let address = running.listening_at();
    let mut clients: Vec<TcpStream> = (0..CROWD).map(|_| connect(address)).collect();
    for _ in 0..ROUNDS {
        for (key, client) in (0..CROWD).zip(&mut clients) {
            send(client, format!("{key} {key}\n"));
        }
    }
    running.wait_for_outputs(CROWD as usize * (ROUNDS - 1));
    let ended = running.stop().in_order();
    let results = by_key(&ended.stdout);
    for key in 0..CROWD {
        let expected = vec![format!("{key})"); ROUNDS - 1];
        assert_eq!(results[format!("({key}").as_str()], expected, "key {key}");
    }
}

fn by_key(results: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut by_key = BTreeMap::<&str, Vec<&str>>::new();
    for line in results.lines() {
        let (key, average) = line.split_once(',').expect("a result is a pair");
        by_key.entry(key).or_default().push(average);
    }
    by_key
}

#[test]
fn those_above_the_limit_are_turned_away_while_the_others_go_on() {
    let running = Demo::listen().in_memory().args(["--connections-max", "2"]).start();
    let address = running.listening_at();
    let (mut first, mut second) = (connect(address), connect(address));
    send(&mut first, "1 3\n1 5\n");
    send(&mut second, "2 3\n2 5\n");
    running.wait_for_outputs(2);

    let mut third = connect(address);
    assert!(was_ended(&mut third), "the third is turned away");
    running.wait_for_log("turned away");
    send(&mut first, "1 7\n");
    send(&mut second, "2 7\n");
    running.wait_for_outputs(4);

    // A place that is given up is there for the next.
    drop(first);
    let start = Instant::now();
    loop {
        assert!(start.elapsed() < WAIT_MAX, "the free place is not given to anyone");
        let mut next = connect(address);
        next.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        if !was_ended(&mut next) {
            send(&mut next, "3 3\n3 5\n");
            running.wait_for_outputs(5);
            break;
        }
    }
    drop(second);
    let ended = running.stop().in_order();
    let mut results: Vec<&str> = ended.stdout.lines().collect();
    results.sort_unstable();
    assert_eq!(results, ["(1,4)", "(1,5)", "(2,4)", "(2,5)", "(3,4)"]);
}

#[test]
fn an_idle_one_is_disconnected_and_a_busy_one_is_not() {
    let running = Demo::listen().in_memory().args(["--idle-timeout", "1s"]).start();
    let address = running.listening_at();
    let (mut idle, mut busy) = (connect(address), connect(address));
    let start = Instant::now();
    send(&mut idle, "1 3\n1 5\n");
    // The pace of the busy one, and the clock it needs.
    idle.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut sent = 0;
    while !was_ended(&mut idle) {
        assert!(start.elapsed() < WAIT_MAX, "the idle client stays connected");
        send(&mut busy, "2 4\n");
        sent += 1;
    }
    assert!(start.elapsed() >= Duration::from_secs(1), "after {:?}", start.elapsed());
    send(&mut busy, "2 4\n2 4\n");
    running.wait_for_outputs(1 + sent + 2 - 1);
    let closed = running.wait_for_log("connection closed by us");
    assert_eq!(field(&closed, "reason"), "Idle");
    let ended = running.stop().in_order();
    assert_eq!(ended.logs("connection closed by us").len(), 1);
}
