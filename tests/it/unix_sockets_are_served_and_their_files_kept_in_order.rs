//! Processes of this machine send lines through Unix sockets, and the sockets' files outlive no job that ended in order.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};

use crate::support::{Demo, Running, WAIT_MAX, wait_until};

fn place() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("readings.sock");
    (directory, path)
}

fn listen(path: &Path) -> Demo {
    Demo::new().arg("--unix").arg(path)
}

fn receive(path: &Path) -> Demo {
    Demo::new().arg("--unix-datagram").arg(path)
}

fn start(demo: Demo) -> Running {
    let running = demo.start();
    wait_until(
        || !running.logs("listening").is_empty() || !running.logs("receiving").is_empty(),
        || "the program does not listen".to_owned(),
    );
    running
}

fn connect(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(WAIT_MAX)).unwrap();
    stream
}

fn sender(path: &Path) -> UnixDatagram {
    let sender = UnixDatagram::unbound().unwrap();
    sender.connect(path).unwrap();
    sender
}

#[test]
fn lines_come_however_they_are_cut() {
    let (_directory, path) = place();
    let running = start(listen(&path).in_memory());
    let mut client = connect(&path);
    client.write_all(b"1 3\n1").unwrap();
    let mut other = connect(&path);
    other.write_all(b"2 1\n2 3\n").unwrap();
    running.wait_for_outputs(1);
    client.write_all(b" 5\n1 7\r\n1 4\n1 ").unwrap();
    running.wait_for_outputs(4);
    client.write_all(b"2").unwrap();
    drop(client);
    running.wait_for_outputs(5);
    let ended = running.stop().in_order();
    assert_eq!(ended.stdout, "(2,2)\n(1,4)\n(1,5)\n(1,4)\n(1,4)\n");
    assert!(!path.exists(), "the file goes with the job");
}

#[test]
fn a_crowd_is_served_while_some_dawdle() {
    const CROWD: usize = 100;
    const READINGS: usize = 200;
    let (_directory, path) = place();
    let running = start(listen(&path).in_memory());
    let slow: Vec<UnixStream> = (0..50)
        .map(|_| {
            let mut client = connect(&path);
            client.write_all(b"1 ").unwrap();
            client
        })
        .collect();
    let mut crowd: Vec<UnixStream> = (0..CROWD).map(|_| connect(&path)).collect();
    for _ in 0..READINGS {
        for (key, client) in crowd.iter_mut().enumerate() {
            writeln!(client, "{key} {key}").unwrap();
        }
    }
    running.wait_for_outputs(CROWD * (READINGS - 1));
    drop(slow);
    let ended = running.stop().in_order();
    for key in 0..CROWD {
        let result = format!("({key},{key})");
        let count = ended.stdout.lines().filter(|line| *line == result).count();
        // The half lines of the slow ones are readings of nothing.
        assert_eq!(count, READINGS - 1, "key {key}");
    }
}

#[test]
fn those_above_the_limit_are_turned_away() {
    let (_directory, path) = place();
    let running = start(listen(&path).in_memory().args(["--connections-max", "1"]));
    let mut first = connect(&path);
    first.write_all(b"1 3\n1 5\n").unwrap();
    running.wait_for_outputs(1);
    assert_eq!(connect(&path).read(&mut [0; 1]).unwrap(), 0, "the second is turned away");
    running.wait_for_log("turned away");
    first.write_all(b"1 7\n").unwrap();
    running.wait_for_outputs(2);
    running.stop().in_order();
}

fn hello(path: &Path) -> (UnixStream, BufReader<UnixStream>, u64) {
    let mut client = connect(path);
    client.write_all(b"HELLO meter-3\n").unwrap();
    let mut answers = BufReader::new(client.try_clone().unwrap());
    let durable = answer(&mut answers);
    (client, answers, durable)
}

fn answer(answers: &mut BufReader<UnixStream>) -> u64 {
    let mut line = String::new();
    answers.read_line(&mut line).unwrap();
    line.trim_end().strip_prefix("DURABLE ").and_then(|number| number.parse().ok()).expect("an answer")
}

/// Kills it at a random moment: what a client was told is durable, and where it goes on, must fit.
#[test]
fn a_killed_process_leaves_its_file_and_the_next_goes_on_there() {
    const LINES: u64 = 3000;
    const KILLS: u64 = 5;
    let (directory, path) = place();
    let demo = || listen(&path).journaled("always").args(["--ack", "lines"]);
    let start = || {
        start(
            demo()
                .arg("--output")
                .arg(directory.path().join("results"))
                .checkpoint_dir(&directory.path().join("data")),
        )
    };
    let mut running = start();
    let mut told = 0;
    for life in 0..=KILLS {
        let (mut client, mut answers, durable) = hello(&path);
        assert!(durable >= told, "{durable} lines after {told} were acknowledged");
        let until = LINES * (life + 1) / (KILLS + 1);
        for line in durable + 1..=LINES {
            writeln!(client, "{} {line}", line % 7).unwrap();
        }
        told = durable;
        while told < until {
            told = answer(&mut answers);
        }
        if life < KILLS {
            running.kill();
            assert!(path.symlink_metadata().unwrap().file_type().is_socket(), "the file is left");
            running = start();
            assert_eq!(running.logs("replacing a socket file").len(), 1);
        }
    }
    running.stop().in_order();
    assert!(!path.exists());
    let results = std::fs::read_to_string(directory.path().join("results")).unwrap();
    let mut model = crate::support::Averages::default();
    (1..=LINES).for_each(|line| model.add_bytes(format!("{} {line}\n", line % 7).as_bytes(), 64));
    assert_eq!(results, model.outputs);
}

#[test]
fn one_in_use_or_no_socket_is_refused_and_left_alone() {
    let (directory, path) = place();
    let holder = start(listen(&path).in_memory());
    for demo in [listen(&path), receive(&path)] {
        let ended = demo.in_memory().run();
        assert_eq!(ended.code, Some(69), "{}", ended.stderr);
        assert!(ended.stderr.contains("another process serves this socket"), "{}", ended.stderr);
    }
    connect(&path).write_all(b"1 3\n1 5\n").unwrap();
    holder.wait_for_outputs(1);
    holder.stop().in_order();

    let file = directory.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    let ended = listen(&file).in_memory().run();
    assert_eq!(ended.code, Some(69), "{}", ended.stderr);
    assert!(ended.stderr.contains("no socket"), "{}", ended.stderr);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");

    let long = directory.path().join("x".repeat(200));
    let ended = listen(&long).in_memory().run();
    assert_eq!(ended.code, Some(69), "{}", ended.stderr);
}

#[test]
fn the_mode_decides_who_may_connect() {
    let (_directory, path) = place();
    for (argument, mode) in [(None, 0o660), (Some("600"), 0o600), (Some("666"), 0o666)] {
        for demo in [listen(&path), receive(&path)] {
            let demo = argument.map(|mode| ["--unix-mode", mode]).into_iter().fold(demo, Demo::args);
            let running = start(demo.in_memory());
            let metadata = path.symlink_metadata().unwrap();
            assert_eq!(metadata.permissions().mode() & 0o7777, mode);
            assert!(metadata.nlink() == 1 && metadata.file_type().is_socket());
            running.stop().in_order();
        }
    }
}

#[test]
fn no_datagram_is_lost_however_fast_they_come() {
    const DATAGRAMS: usize = 50_000;
    let (_directory, path) = place();
    let running = start(receive(&path).in_memory());
    std::thread::scope(|scope| {
        for key in 0..2 {
            let sender = sender(&path);
            scope.spawn(move || {
                for _ in 0..DATAGRAMS / 2 {
                    sender.send(format!("{key} {key}").as_bytes()).unwrap();
                }
            });
        }
    });
    running.wait_for_outputs(DATAGRAMS - 2);
    let ended = running.stop().in_order();
    assert_eq!((ended.stdout.lines().count(), ended.rejected().len()), (DATAGRAMS - 2, 0));
    assert!(!path.exists());
}

#[test]
fn datagrams_that_cannot_be_read_are_counted() {
    let (_directory, path) = place();
    let running = start(receive(&path).in_memory().args(["--line-max", "1KiB"]));
    let sender = sender(&path);
    // Above what UDP could carry, too.
    for length in [1025, 2000, 100_000] {
        sender.send(&vec![b'x'; length]).unwrap();
        sender.send(b"").unwrap();
        sender.send(b"1 \xff").unwrap();
        sender.send(b"1 3\n1 3").unwrap();
    }
    running.wait_for_outputs(5);
    let ended = running.stop().in_order();
    let counts = ["message-too-long", "empty", "not-utf8"].map(|cause| ended.rejected_for(cause));
    assert_eq!(counts, [3, 3, 3], "{}", ended.stderr);
}

#[test]
fn a_killed_receiver_of_datagrams_leaves_its_file_and_the_next_goes_on_there() {
    let (_directory, path) = place();
    start(receive(&path).in_memory()).kill();
    assert!(path.symlink_metadata().is_ok());
    let running = start(receive(&path).in_memory());
    sender(&path).send(b"1 3\n1 5").unwrap();
    running.wait_for_outputs(1);
    running.stop().in_order();
    assert!(!path.exists());
}
