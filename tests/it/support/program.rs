//! The program under test as a child process, killed when the scenario is done with it.

use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::descriptors::start_child;
use super::memory_cgroup::MemoryCgroup;
use super::server::LineServer;
use super::wait::{LOOK_INTERVAL, WAIT_MAX, wait_until, wait_until_within};

/// A command line `tidegate demo …`, with a home directory of its own.
pub(crate) struct Demo {
    command: Command,
    home: TempDir,
}

impl Demo {
    pub(crate) fn new() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.args(["demo", "--journal-sync", "none"]);
        Self::of(command)
    }

    /// Another command line, run in the same way.
    pub(crate) fn of(mut command: Command) -> Self {
        let home = tempfile::tempdir().expect("there is a temporary directory");
        command.env("HOME", home.path()).env_remove("XDG_DATA_HOME").current_dir(home.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command, home }
    }

    /// Reads from a server, to the end of its first connection.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::new().arg("--connect").arg(address.to_string()).arg("--retry-for").arg("0s")
    }

    /// Listens on a free port; [`Running::listening_at`] tells which.
    pub(crate) fn listen() -> Self {
        Self::new().arg("--listen").arg("0")
    }

    pub(crate) fn arg(mut self, argument: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    pub(crate) fn args<'a>(mut self, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        self.command.args(arguments);
        self
    }

    pub(crate) fn envs(
        mut self,
        variables: impl IntoIterator<Item = (&'static str, std::ffi::OsString)>,
    ) -> Self {
        self.command.envs(variables);
        self
    }

    /// With a journal, as a user runs it; without this there is none, and what checkpoints alone do can be seen.
    pub(crate) fn journaled(self, sync: &str) -> Self {
        self.args(["--journal-sync", sync])
    }

    pub(crate) fn in_memory(self) -> Self {
        self.args(["--backend", "memory"])
    }

    pub(crate) fn checkpoint_dir(self, directory: &Path) -> Self {
        self.arg("--checkpoint-dir").arg(directory)
    }

    /// Runs as a member of a memory cgroup, from its first page on.
    pub(crate) fn in_cgroup(mut self, cgroup: &MemoryCgroup) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(cgroup.members());
        command.arg(self.command.get_program()).args(self.command.get_args());
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.current_dir(self.home.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        self.command = command;
        self
    }

    /// Results go to `stdout` instead of being captured.
    pub(crate) fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.command.stdout(stdout);
        self
    }

    /// Uses `directory` as home and working directory.
    pub(crate) fn at_home(mut self, directory: &Path) -> Self {
        self.command.env("HOME", directory).current_dir(directory);
        self
    }

    pub(crate) fn start(mut self) -> Running {
        let mut child = start_child(&mut self.command).expect("the program is built and starts");
        let stdout = child.stdout.take().map(Capture::start);
        let stderr = Capture::start(child.stderr.take().expect("standard error is captured"));
        // The command holds the parent's side of what was handed over as standard output.
        Running { child, stdout, stderr, _home: self.home }
    }

    /// Runs in order on `bytes` to their end, in one connection.
    #[track_caller]
    pub(crate) fn run_on(bytes: impl Into<Vec<u8>>, configure: impl FnOnce(Self) -> Self) -> Ended {
        let server = LineServer::start();
        let demo = configure(Self::connect(server.address()));
        let serving = server.serve(bytes);
        let ended = demo.run();
        serving.join().expect("the program takes what is served");
        ended.in_order()
    }

    /// Runs to the end.
    pub(crate) fn run(self) -> Ended {
        self.start().wait()
    }
}

/// Everything a stream brought so far.
#[derive(Debug, Default)]
struct Captured {
    bytes: Mutex<Vec<u8>>,
    lines: AtomicUsize,
}

/// Reads a stream to its end in a thread.
#[derive(Debug)]
struct Capture {
    captured: Arc<Captured>,
    reader: JoinHandle<()>,
}

impl Capture {
    fn start(mut stream: impl Read + Send + 'static) -> Self {
        let captured = Arc::new(Captured::default());
        let ours = Arc::clone(&captured);
        let reader = std::thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            loop {
                let read = match stream.read(&mut buffer) {
                    Ok(length @ 1..) => &buffer[..length],
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Ok(0) | Err(_) => return,
                };
                ours.bytes.lock().expect("no reader panics").extend_from_slice(read);
                let lines = read.iter().filter(|byte| **byte == b'\n').count();
                ours.lines.fetch_add(lines, Ordering::Release);
            }
        });
        Self { captured, reader }
    }

    /// The whole lines so far.
    fn text(&self) -> String {
        let bytes = self.captured.bytes.lock().expect("no reader panics");
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        String::from_utf8(bytes[..whole].to_vec()).expect("the program writes text")
    }

    fn line_count(&self) -> usize {
        self.captured.lines.load(Ordering::Acquire)
    }

    fn finish(self) -> String {
        self.reader.join().expect("no reader panics");
        String::from_utf8(std::mem::take(&mut *self.captured.bytes.lock().expect("no reader panics")))
            .expect("the program writes text")
    }
}

/// The lines that something writes, and the wait for them.
#[derive(Debug)]
pub(crate) struct Console(Capture);

impl Console {
    pub(crate) fn of(stream: impl Read + Send + 'static) -> Self {
        Self(Capture::start(stream))
    }

    /// Lines so far that contain `text`.
    pub(crate) fn lines(&self, text: &str) -> Vec<String> {
        with_text(&self.0.text(), text)
    }

    /// Waits for the `count`th line that contains `text`.
    pub(crate) fn wait_for(&self, text: &str, count: usize, limit: Duration) -> String {
        let missing = || format!("{count} lines with {text:?} did not come:\n{}", self.0.text());
        wait_until_within(
            limit,
            || {
                std::thread::sleep(LOOK_INTERVAL);
                self.lines(text).len() >= count || self.0.reader.is_finished()
            },
            missing,
        );
        let mut lines = self.lines(text);
        assert!(lines.len() >= count, "it ended: {}", missing());
        lines.swap_remove(count - 1)
    }
}

/// A running program.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    stdout: Option<Capture>,
    stderr: Capture,
    _home: TempDir,
}

impl Running {
    /// Log lines so far that contain `text`.
    pub(crate) fn logs(&self, text: &str) -> Vec<String> {
        with_text(&self.stderr.text(), text)
    }

    /// Waits until `count` log lines contain `text`; returns the last of them.
    pub(crate) fn wait_for_logs(&self, text: &str, count: usize) -> String {
        let mut found = Vec::new();
        let mut seen = usize::MAX;
        self.wait_for(&format!("{count} log lines with {text:?}"), || {
            // Looks only at a log that grew.
            let lines = self.stderr.line_count();
            if lines != seen {
                seen = lines;
                found = self.logs(text);
            }
            found.len() >= count
        });
        found.swap_remove(count - 1)
    }

    /// Waits for a log line that contains `text`.
    pub(crate) fn wait_for_log(&self, text: &str) -> String {
        self.wait_for_logs(text, 1)
    }

    /// The address a listening program has.
    pub(crate) fn listening_at(&self) -> SocketAddr {
        let line = self.wait_for_log("listening");
        field(&line, "address").parse().expect("the log names the address")
    }

    /// The address a program that receives datagrams has.
    pub(crate) fn receiving_at(&self) -> SocketAddr {
        let line = self.wait_for_log("receiving");
        field(&line, "address").parse().expect("the log names the address")
    }

    /// Number of result lines so far.
    pub(crate) fn output_count(&self) -> usize {
        self.stdout.as_ref().expect("the results are captured").line_count()
    }

    /// The whole result lines so far.
    pub(crate) fn output(&self) -> String {
        self.stdout.as_ref().expect("the results are captured").text()
    }

    /// Waits for `count` result lines.
    pub(crate) fn wait_for_outputs(&self, count: usize) {
        self.wait_for(&format!("{count} results"), || self.output_count() >= count);
    }

    /// Waits for something that only a running program can bring about.
    fn wait_for(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let mut has_ended = false;
        wait_until(
            || {
                let ended_before = std::mem::replace(&mut has_ended, self.stderr.reader.is_finished());
                condition() || ended_before
            },
            || format!("{what} did not come; the log:\n{}", self.stderr.text()),
        );
        let log = self.stderr.text();
        assert!(condition(), "the program ended before {what} came; the log:\n{log}");
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the program can be signalled");
    }

    /// Bytes of anonymous memory the process has; `None` when it has ended.
    pub(crate) fn anonymous_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
    }

    /// Waits until a stop signal has reached every thread.
    pub(crate) fn wait_until_frozen(&self) {
        let tasks = format!("/proc/{}/task", self.child.id());
        let is_stopped = |task: std::io::Result<std::fs::DirEntry>| {
            let stat = std::fs::read_to_string(task.expect("a task is listed").path().join("stat"));
            // Behind the name's bracket comes the state. A thread that has ended is as good as stopped.
            stat.map_or(true, |stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')))
        };
        wait_until(
            || std::fs::read_dir(&tasks).expect("the program exists").all(is_stopped),
            || "the program does not stop".to_owned(),
        );
    }

    /// Asks for an orderly end and waits for it.
    pub(crate) fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Sends a signal again and again until the process ends.
    pub(crate) fn signal_until_ended(mut self, signal: Signal) -> Ended {
        let process = Pid::from_child(&self.child);
        let child = &mut self.child;
        wait_until(
            || {
                kill_process(process, signal).expect("a child that was not waited for can be signalled");
                child.try_wait().expect("a child can be waited for").is_some()
            },
            || format!("the program did not end; the log:\n{}", self.stderr.text()),
        );
        self.wait()
    }

    /// Ends the process as a crash would.
    pub(crate) fn kill(self) -> Ended {
        self.signal(Signal::KILL);
        self.wait()
    }

    /// Waits for the end.
    pub(crate) fn wait(self) -> Ended {
        self.wait_within(WAIT_MAX, |_| {})
    }

    /// Waits for the end of a long run, and meanwhile has a look at it again and again.
    pub(crate) fn wait_within(mut self, limit: Duration, mut look: impl FnMut(&Self)) -> Ended {
        let mut status: Option<ExitStatus> = None;
        let start = Instant::now();
        while status.is_none() {
            look(&self);
            let log = || self.stderr.text();
            assert!(start.elapsed() < limit, "the program did not end; the log:\n{}", log());
            std::thread::sleep(LOOK_INTERVAL);
            status = self.child.try_wait().expect("a child can be waited for");
        }
        let stdout = self.stdout.take().map(Capture::finish).unwrap_or_default();
        let stderr = std::mem::replace(&mut self.stderr, Capture::start(std::io::empty())).finish();
        Ended { code: status.and_then(|status| status.code()), stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has most often ended already, which is what the error says.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// How a program ended and what it wrote.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit code; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// Asserts that it ended in order.
    #[track_caller]
    pub(crate) fn in_order(self) -> Self {
        assert_eq!(self.code, Some(0), "the log:\n{}", self.stderr);
        assert!(!self.stderr.contains("panicked"), "the log:\n{}", self.stderr);
        self
    }

    /// Log lines that contain `text`.
    pub(crate) fn logs(&self, text: &str) -> Vec<String> {
        with_text(&self.stderr, text)
    }

    /// The only log line that contains `text`.
    #[track_caller]
    pub(crate) fn log(&self, text: &str) -> String {
        let mut lines = self.logs(text);
        assert_eq!(lines.len(), 1, "one log line with {text:?} in:\n{}", self.stderr);
        lines.swap_remove(0)
    }

    /// How many readings were rejected for `cause`, wherever.
    pub(crate) fn rejected_for(&self, cause: &str) -> u64 {
        self.rejected().iter().filter(|(_, found, _)| found == cause).map(|(.., count)| count).sum()
    }

    /// The rejections reported at the end: place, cause and count.
    pub(crate) fn rejected(&self) -> Vec<(String, String, u64)> {
        let lines = self.logs(" readings rejected place=");
        let parse = |line: &String| {
            let count = field(line, "count").parse().expect("a count is a number");
            (field(line, "place"), field(line, "cause"), count)
        };
        lines.iter().map(parse).collect()
    }
}

fn with_text(log: &str, text: &str) -> Vec<String> {
    log.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}

/// The value of a field in a log line, up to the next blank.
#[track_caller]
pub(crate) fn field(line: &str, name: &str) -> String {
    let value = line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    value.unwrap_or_else(|| panic!("no field {name:?} in the log line {line:?}")).to_owned()
}
