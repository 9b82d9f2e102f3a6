//! `tidegate savepoint` takes one of a running job, which goes on or stops with it; `--from-savepoint` starts from it.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::support::{CheckpointFolder, Demo, Ended, Running, files_below, tidegate, wait_until};

fn savepoint(data: &Path, arguments: &[&str]) -> Ended {
    let fixed = ["savepoint".as_ref(), "--data-dir".as_ref(), data.as_os_str()];
    tidegate(fixed.into_iter().chain(arguments.iter().map(|argument| argument.as_ref())))
}

fn path_of(taken: &Ended) -> PathBuf {
    PathBuf::from(taken.stdout.trim_end())
}

/// Sends lines and waits until there are `outputs` results in all.
fn feed(running: &Running, client: &mut TcpStream, lines: &str, outputs: usize) {
    client.write_all(lines.as_bytes()).unwrap();
    running.wait_for_outputs(outputs);
}

#[test]
fn while_it_goes_on() {
    let home = tempfile::tempdir().unwrap();
    // Longer than the path of a socket may be.
    let data = home.path().join("a-long-name-".repeat(12));
    let folder = CheckpointFolder::of_demo(&data);
    let running = Demo::listen().journaled("always").args(["--interval", "1h"]).checkpoint_dir(&data).start();
    let mut client = TcpStream::connect(running.listening_at()).unwrap();
    feed(&running, &mut client, "1 3\n1 5\n", 1);
    let socket = folder.path().join("control.sock");
    let metadata = std::fs::metadata(&socket).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    let first = savepoint(&data, &[]).in_order();
    assert_eq!(path_of(&first), folder.path().join("savepoints/000001"));
    assert!(first.stderr.contains("readings 2, keys 1"), "{}", first.stderr);
    let bytes = files_below(&path_of(&first));
    feed(&running, &mut client, "1 4\n2 1\n2 3\n", 3);
    // By the job's folder, to a path of its own.
    let to = home.path().join("by name");
    let second = savepoint(folder.path(), &["--to", to.to_str().unwrap(), "--json"]).in_order();
    assert!(second.stdout.contains(r#""readings":5,"keys":2"#), "{}", second.stdout);
    let refused = savepoint(&data, &["--to", to.to_str().unwrap()]);
    assert_eq!(refused.code, Some(74));
    assert!(refused.stderr.contains("is there already"), "{}", refused.stderr);
    // Ordinary checkpoints do not notice: none was taken, none is missing.
    assert_eq!(folder.newest(), 1);
    assert!(files_below(&path_of(&first)) == bytes, "a savepoint stays as it is");
    let ended = running.kill();
    assert_eq!(ended.stdout, "(1,4)\n(1,4)\n(2,2)\n");
    assert!(socket.exists(), "a killed process leaves its socket");
    let alone = savepoint(&data, &[]);
    assert_eq!(alone.code, Some(69), "{}", alone.stderr);
    assert_eq!(alone.stderr.matches("no job runs").count(), 1, "{}", alone.stderr);
    assert_eq!(alone.stderr.matches("refused").count(), 1, "the cause is said once: {}", alone.stderr);
    // The next process makes its own, and goes on from the journal, not from a savepoint.
    let running = Demo::listen().journaled("always").checkpoint_dir(&data).start();
    let mut client = TcpStream::connect(running.listening_at()).unwrap();
    feed(&running, &mut client, "2 5\n", 1);
    assert_eq!(path_of(&savepoint(&data, &[]).in_order()), folder.path().join("savepoints/000002"));
    assert_eq!(running.stop().in_order().stdout, "(2,3)\n");
    assert!(!socket.exists(), "an orderly end removes the socket");
    // The first one, years later, with another backend and two subtasks.
    let other = home.path().join("other");
    let ended = Demo::run_on("1 7\n", |demo| {
        demo.checkpoint_dir(&other)
            .args(["--backend", "memory", "--parallelism", "2", "--from-savepoint"])
            .arg(path_of(&first))
    });
    assert_eq!(ended.stdout, "(1,5)\n");
}

#[test]
fn and_stops_it() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let results = home.path().join("results");
    let start = |arguments: &[&str]| {
        Demo::listen()
            .args(arguments.iter().copied())
            .checkpoint_dir(&data)
            .arg("--output")
            .arg(&results)
            .start()
    };
    // Nothing on the disk but what is asked for.
    let running = start(&["--backend", "memory"]);
    let mut client = TcpStream::connect(running.listening_at()).unwrap();
    client.write_all(b"1 3\n1 5\n").unwrap();
    let written = |count: usize| {
        let text = || std::fs::read_to_string(&results).unwrap_or_default();
        wait_until(
            || text().lines().count() >= count,
            || format!("{count} results did not come: {}", text()),
        );
    };
    written(1);
    let taken = savepoint(&data, &["--stop"]).in_order();
    let ended = running.wait().in_order();
    assert!(ended.stderr.contains("savepoint taken"), "{}", ended.stderr);
    let path = path_of(&taken);
    // Two lives after it: the file goes back to where the savepoint found it.
    for life in 0..2 {
        let from = ["--from-savepoint", path.to_str().unwrap()];
        let running = start(&[&["--journal-sync", "always"], &from[..]].concat());
        let mut client = TcpStream::connect(running.listening_at()).unwrap();
        client.write_all(format!("1 {life}\n").as_bytes()).unwrap();
        written(2);
        drop(client);
        running.stop().in_order();
        let average = (8 + life) / 3;
        assert_eq!(std::fs::read_to_string(&results).unwrap(), format!("(1,4)\n(1,{average})\n"));
    }
    // Its own checkpoint, not the savepoint, is where the last life is gone on from.
    let running = start(&["--journal-sync", "always"]);
    let mut client = TcpStream::connect(running.listening_at()).unwrap();
    client.write_all(b"1 3\n").unwrap();
    written(3);
    drop(client);
    running.stop().in_order();
    assert_eq!(std::fs::read_to_string(&results).unwrap(), "(1,4)\n(1,3)\n(1,3)\n");
}

/// Greets as a client with the handshake; returns the connection and how many of its lines are durable.
fn greet(running: &Running) -> (TcpStream, u64) {
    let mut stream = TcpStream::connect(running.listening_at()).unwrap();
    stream.write_all(b"HELLO gateway\n").unwrap();
    let mut line = String::new();
    BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
    let durable = line.trim_end().strip_prefix("DURABLE ").expect("a greeting is answered");
    (stream, durable.parse().unwrap())
}

#[test]
fn a_sender_is_asked_for_what_came_after_it() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let start = || {
        Demo::listen().journaled("always").args(["--ack", "lines", "--interval", "1h"]).checkpoint_dir(&data)
    };
    let running = start().start();
    let (mut client, durable) = greet(&running);
    assert_eq!(durable, 0);
    feed(&running, &mut client, "1 3\n1 5\n", 1);
    let path = path_of(&savepoint(&data, &[]).in_order());
    feed(&running, &mut client, "1 4\n1 8\n", 3);
    running.kill();
    // The journal has all four lines; the savepoint's history has two, also after a restart before the first batch.
    for arguments in [&["--from-savepoint", path.to_str().unwrap()][..], &[]] {
        let running = start().args(arguments.iter().copied()).start();
        assert_eq!(greet(&running).1, 2);
        running.kill();
    }
    let running = start().start();
    let (mut client, durable) = greet(&running);
    assert_eq!(durable, 2);
    feed(&running, &mut client, "1 1\n", 1);
    assert_eq!(greet(&running).1, 3);
    drop(client);
    assert_eq!(running.stop().in_order().stdout, "(1,3)\n");
}
