//! What keeps the program from working is said in one line, with a documented exit code and no results.

use std::net::TcpListener;

use crate::support::{Demo, Ended, LineServer, close, send};

#[track_caller]
fn assert_refused(ended: &Ended, code: i32, text: &str) {
    assert_eq!(ended.code, Some(code), "the log:\n{}", ended.stderr);
    assert_eq!(ended.stdout, "");
    assert!(!ended.stderr.contains("panicked"), "the log:\n{}", ended.stderr);
    let errors: Vec<&str> = ended.stderr.lines().filter(|line| line.starts_with("error:")).collect();
    let [error] = &*errors else { panic!("one line of error in:\n{}", ended.stderr) };
    assert_eq!(error.matches(text).count(), 1, "{text:?} is once in: {error}");
}

#[test]
fn a_port_in_use_is_69() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    let ended = Demo::new().in_memory().args(["--listen", &address]).run();
    assert_refused(&ended, 69, "Address already in use");
    assert_refused(&ended, 69, &address);
}

#[test]
fn a_refused_connection_is_69() {
    let address = LineServer::start().address();
    let ended = Demo::connect(address).in_memory().run();
    assert_refused(&ended, 69, &address.to_string());
    assert_refused(&ended, 69, "Connection refused");
}

#[test]
fn a_checkpoint_directory_below_a_file_is_73() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let server = LineServer::start();
    let ended = Demo::connect(server.address()).checkpoint_dir(&file.path().join("checkpoints")).run();
    assert_refused(&ended, 73, "cannot use the checkpoint directory");
    assert_refused(&ended, 73, "Not a directory");
    assert!(!server.has_another_client(), "it is refused before anything is read");
}

#[test]
fn a_checkpoint_directory_in_use_is_73() {
    let directory = tempfile::tempdir().unwrap();
    let server = LineServer::start();
    let holder = Demo::connect(server.address()).checkpoint_dir(directory.path()).start();
    let mut connection = server.accept();
    let ended = Demo::connect(server.address()).checkpoint_dir(directory.path()).run();
    assert_refused(&ended, 73, "another process uses the checkpoint directory");
    send(&mut connection, "1 3\n1 5\n");
    drop(connection);
    assert_eq!(holder.wait().in_order().stdout, "(1,4)\n", "the holder is not disturbed");
    // The lock goes with its holder.
    let demo = Demo::connect(server.address()).checkpoint_dir(directory.path());
    let serving = server.serve("1 1\n");
    assert_eq!(demo.run().in_order().stdout, "(1,3)\n");
    serving.join().unwrap();
}

#[test]
fn a_wrong_command_line_is_2() {
    for (arguments, text) in [
        (&["--bogus"] as &[&str], "--bogus"),
        (&["--listen", "0", "--connect", "127.0.0.1:1"], "--connect"),
        (&["--interval", "2"], "has no known unit"),
        (&["--parallelism", "0"], "--parallelism"),
        (&["--line-max", "1GiB"], "--line-max"),
        (&["--retry-for", "1s"], "--connect"),
    ] {
        let ended = Demo::new().args(arguments.iter().copied()).run();
        assert_eq!(ended.code, Some(2), "{arguments:?}: {}", ended.stderr);
        assert_eq!(ended.stdout, "");
        let errors = ended.stderr.lines().filter(|line| line.starts_with("error:")).count();
        assert_eq!(errors, 1, "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(text), "{arguments:?}: {}", ended.stderr);
    }
}

#[test]
fn a_setting_outside_its_limits_is_78() {
    let directory = tempfile::tempdir().unwrap();
    let ended = Demo::new().args(["--interval", "1ms"]).checkpoint_dir(directory.path()).run();
    assert_refused(&ended, 78, "checkpoint-interval is 1ms; it must be at least 10 ms");
    let ended = Demo::new().in_memory().args(["--batch-timeout", "9ms"]).run();
    assert_refused(&ended, 78, "batch-timeout is 9ms; it must be at least 10ms");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is half-written");
}

#[test]
fn an_output_that_cannot_be_created_is_74() {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("missing/results");
    let server = LineServer::start();
    let ended = Demo::connect(server.address()).in_memory().arg("--output").arg(&output).run();
    assert_refused(&ended, 74, &output.display().to_string());
    assert_refused(&ended, 74, "No such file or directory");
    assert!(!server.has_another_client(), "it is refused before anything is read");
}

#[test]
fn results_that_nobody_takes_are_74() {
    let (reader, writer) = std::io::pipe().unwrap();
    let server = LineServer::start();
    let running = Demo::connect(server.address()).in_memory().stdout(writer).start();
    close(reader);
    let mut connection = server.accept();
    send(&mut connection, "1 3\n1 5\n");
    assert_refused(&running.wait(), 74, "Broken pipe");
}
