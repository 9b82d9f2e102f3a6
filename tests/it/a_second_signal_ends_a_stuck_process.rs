//! A second Ctrl-C ends a process at once whose drain is stuck because nobody takes its results.

use rustix::process::Signal;

use crate::support::{Demo, LineServer, Running, close, full_stream, send};

/// A process that was asked to stop and cannot, for as long as the streams live.
fn stuck(first: Signal) -> (Running, impl Sized) {
    let (stdout, reader) = full_stream();
    let server = LineServer::start();
    let running = Demo::connect(server.address()).in_memory().stdout(stdout).start();
    let mut connection = server.accept();
    // The rejection shows that the lines before it were read: they must be drained, and cannot be.
    send(&mut connection, "1 3\n1 5\nbad\n");
    running.wait_for_log("reading rejected");
    running.signal(first);
    running.wait_for_log("stopping");
    (running, (reader, connection))
}

#[test]
fn with_exit_code_130() {
    for first in [Signal::INT, Signal::TERM] {
        let (running, _streams) = stuck(first);
        // Signals close together are one request, so a user repeats it until it works.
        let ended = running.signal_until_ended(Signal::INT);
        assert_eq!(ended.code, Some(130), "the log:\n{}", ended.stderr);
        ended.log("ending at once");
        assert_eq!(ended.logs("checkpoint completed").len(), 0);
    }
}

#[test]
fn but_not_a_drain_that_a_repeated_termination_hurries() {
    let (running, streams) = stuck(Signal::TERM);
    running.signal(Signal::TERM);
    running.signal(Signal::TERM);
    // With its reader gone the write fails, which ends it: until then it was still trying.
    close(streams);
    let ended = running.wait();
    assert_eq!(ended.code, Some(74), "the log:\n{}", ended.stderr);
}
