//! SIGTERM and Ctrl-C stop the reading, drain what was read, and leave a last checkpoint to carry on from.

use std::io::{Read, Write};
use std::net::TcpStream;

use rustix::process::Signal;

use crate::support::{Averages, Demo, LineServer, Random, field, full_stream, send, wait_until};

#[test]
fn with_an_idle_connection_that_stays_open() {
    for signal in [Signal::TERM, Signal::INT] {
        let directory = tempfile::tempdir().unwrap();
        let server = LineServer::start();
        // The interval is too long to help: only the last checkpoint can save the state.
        let demo = || Demo::new().args(["--interval", "1h"]).checkpoint_dir(directory.path());
        let connect = |server: &LineServer| demo().arg("--connect").arg(server.address().to_string()).start();
        let running = connect(&server);
        let mut connection = server.accept();
        send(&mut connection, "1 3\n1 5\n1 7\n2 10\n1 ");
        running.wait_for_outputs(2);
        running.signal(signal);
        let ended = running.wait().in_order();
        assert_eq!(ended.stdout, "(1,4)\n(1,5)\n");
        assert_eq!(ended.rejected(), [], "the unfinished line is not judged");
        ended.log("checkpoint completed");
        assert_eq!(field(&ended.log("ended"), "readings"), "4");

        let server = LineServer::start();
        let running = connect(&server);
        let mut connection = server.accept();
        send(&mut connection, "1 1\n2 30\n");
        running.wait_for_outputs(2);
        let ended = running.stop().in_order();
        let restored = ended.log("restored");
        assert_eq!(
            (field(&restored, "readings"), field(&restored, "keys")),
            ("4".to_owned(), "2".to_owned())
        );
        assert_eq!(ended.stdout, "(1,4)\n(2,20)\n");
    }
}

#[test]
fn in_the_middle_of_the_flow() {
    let mut random = Random::seeded();
    let readings: Vec<_> = (0..500_000).map(|_| random.reading(1000)).collect();
    let lines: String = readings.iter().map(|(key, value)| format!("{key} {value}\n")).collect();
    let directory = tempfile::tempdir().unwrap();
    let server = LineServer::start();
    let running = Demo::connect(server.address())
        .args(["--parallelism", "1", "--interval", "1h"])
        .checkpoint_dir(directory.path())
        .start();
    let sending = std::thread::spawn(move || {
        let mut connection = server.accept();
        for repetition in 0.. {
            // The job stops reading: what the kernel holds is lost with the connection.
            if connection.write_all(lines.as_bytes()).is_err() {
                return repetition;
            }
        }
        unreachable!("the sending ends when the program does");
    });
    running.wait_for_outputs(10_000);
    let ended = running.stop().in_order();
    let repetitions: usize = sending.join().unwrap();

    let read: usize = field(&ended.log("ended"), "readings").parse().unwrap();
    assert!(read <= (repetitions + 1) * readings.len());
    let seen: Vec<_> = readings.iter().copied().cycle().take(read).collect();
    let mut model = Averages::after(&seen);
    assert!(
        ended.stdout == model.outputs,
        "every reading taken in has its result, in order, and no other has"
    );

    let probe: Vec<_> = (1..=1000).zip(5..).collect();
    let lines: String = probe.iter().map(|(key, value)| format!("{key} {value}\n")).collect();
    let ended = Demo::run_on(lines, |demo| demo.checkpoint_dir(directory.path()));
    assert_eq!(field(&ended.log("restored"), "readings"), read.to_string());
    model = model.without_outputs();
    model.add_all(&probe);
    assert_eq!(ended.stdout, model.outputs);
}

#[test]
fn while_the_results_wait_for_their_reader() {
    let (stdout, mut reader) = full_stream();
    let server = LineServer::start();
    let running = Demo::connect(server.address()).in_memory().stdout(stdout).start();
    let mut connection = server.accept();
    let readings: Vec<_> = (0..5000).map(|index| (index % 10, index)).collect();
    // Bit by bit, so that some of it is in every place where lines can wait.
    for some in readings.chunks(100) {
        send(&mut connection, some.iter().map(|(key, value)| format!("{key} {value}\n")).collect::<String>());
        wait_until(|| unread_bytes(&connection) == Some(0), || "the program stopped reading".to_owned());
    }
    running.signal(Signal::TERM);
    running.wait_for_log("stopping");
    let mut results = String::new();
    reader.read_to_string(&mut results).unwrap();
    running.wait().in_order();
    assert_eq!(results.trim_start_matches('\n'), Averages::after(&readings).outputs);
}

/// Bytes that were sent over `connection` and lie in the kernel: not sent, or not read by the other end. `None` when
/// the kernel's table changed while it was read.
fn unread_bytes(connection: &TcpStream) -> Option<u64> {
    let hexadecimal = |address: std::net::SocketAddr| format!(":{:04X}", address.port());
    let ours = hexadecimal(connection.local_addr().unwrap());
    let theirs = hexadecimal(connection.peer_addr().unwrap());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let queued = |line: &str, of: &str, to: &str| {
        let mut columns = line.split_whitespace().skip(1);
        let matches = columns.next()?.ends_with(of) && columns.next()?.ends_with(to);
        let (unsent, unread) = columns.nth(1)?.split_once(':')?;
        let parse = |number| u64::from_str_radix(number, 16).ok();
        matches.then_some(parse(unsent)? + parse(unread)?)
    };
    let both = |line: &str| queued(line, &ours, &theirs).or_else(|| queued(line, &theirs, &ours));
    let queues: Vec<u64> = table.lines().filter_map(both).collect();
    // Both ends are in it.
    (queues.len() == 2).then(|| queues.iter().sum())
}

#[test]
fn before_a_server_was_ever_reached() {
    let address = LineServer::start().address();
    let running = Demo::new()
        .arg("--connect")
        .arg(address.to_string())
        .args(["--retry-for", "forever"])
        .in_memory()
        .start();
    running.wait_for_log("cannot connect: trying again");
    assert_eq!(running.stop().in_order().stdout, "");
}

#[test]
fn a_listening_job_without_clients() {
    let running = Demo::listen().in_memory().start();
    running.listening_at();
    assert_eq!(running.stop().in_order().stdout, "");
}
