//! A real broker on a free port of the loopback address, Mosquitto if nothing else is said, and Mosquitto's clients as peers.

use std::ffi::OsString;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

use super::descriptors::start_child;
use super::port::free_port;
use super::wait::wait_until;

/// Where Debian puts it; not on the path of every user.
const PROGRAMS: [&str; 2] = ["/usr/sbin/mosquitto", "mosquitto"];

/// A broker; ends with this value.
pub(crate) struct Broker {
    child: Option<Child>,
    command: Vec<OsString>,
    port: u16,
    /// What its clients are told to reach it.
    client: Vec<String>,
    directory: TempDir,
}

impl Broker {
    /// Starts one that takes anybody and keeps every message; `None`, with a word, where there is no Mosquitto.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with("allow_anonymous true\n", |_| {})
    }

    /// Starts one with these lines of configuration, in which `DIR` stands for its directory; `prepare` puts files there.
    pub(crate) fn start_with(configuration: &str, prepare: impl FnOnce(&Path)) -> Option<Self> {
        let is_there = |program: &&str| Command::new(program).arg("-h").output().is_ok();
        let Some(program) = PROGRAMS.into_iter().find(is_there) else {
            super::skip("MQTT", "there is no mosquitto; `make broker-tools` installs it");
            return None;
        };
        let directory = tempfile::tempdir().unwrap();
        prepare(directory.path());
        let port = free_port();
        let place = directory.path().display().to_string();
        let user = std::env::var("USER").unwrap_or_else(|_| "root".to_owned());
        let configuration = format!(
            "listener {port} 127.0.0.1\nuser {user}\nmax_queued_messages 0\nset_tcp_nodelay true\npersistence_location {place}/\n{}",
            configuration.replace("DIR", &place)
        );
        std::fs::write(directory.path().join("mosquitto.conf"), configuration).unwrap();
        let command = vec![program.into(), "-c".into(), directory.path().join("mosquitto.conf").into()];
        Some(Self::run(command, directory, port))
    }

    /// Runs a command that listens at `port` and has its files in `directory`.
    pub(super) fn run(command: Vec<OsString>, directory: TempDir, port: u16) -> Self {
        let client = ["-h", "127.0.0.1", "-p", &port.to_string()].map(str::to_owned).to_vec();
        let mut broker = Self { child: None, command, port, client, directory };
        broker.restart();
        broker
    }

    /// Starts it again.
    pub(crate) fn restart(&mut self) {
        self.stop();
        let (program, arguments) = self.command.split_first().unwrap();
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.directory.path());
        let log = std::fs::File::create(self.directory.path().join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(start_child(&mut command).unwrap());
        let log = || std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        wait_until(|| TcpStream::connect(self.address()).is_ok(), log);
    }

    /// Ends it in order: with persistence it saves what it holds.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let pid = rustix::process::Pid::from_child(&child);
            wait_until(
                || {
                    // Again and again: Mosquitto forgets a request that comes before its loop has begun.
                    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
                    child.try_wait().unwrap().is_some()
                },
                || "the broker does not end".to_owned(),
            );
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub(crate) fn url(&self) -> String {
        format!("mqtt://{}", self.address())
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// From now on clients get these arguments besides the port.
    pub(crate) fn reach_with(&mut self, arguments: &[&str]) {
        let port = self.port.to_string();
        self.client = ["-p", &port].iter().chain(arguments).map(|&argument| argument.to_owned()).collect();
    }

    /// What clients get, but for those of [`Broker::publish_with`], which have it.
    pub(crate) fn client(&self) -> Vec<&str> {
        self.client.iter().map(String::as_str).collect()
    }

    /// Publishes to the topic `probe`.
    pub(crate) fn probe(&self) {
        self.publish("probe", 0, "probe\n");
    }

    /// Publishes each line of `lines` as a message, with `mosquitto_pub`; returns when the broker has acknowledged.
    pub(crate) fn publish(&self, topic: &str, qos: u8, lines: &str) {
        self.publish_with(&["-t", topic, "-q", &qos.to_string(), "-l"], lines);
    }

    /// Runs `mosquitto_pub` with these arguments and `input`.
    pub(crate) fn publish_with(&self, arguments: &[&str], input: &str) {
        let mut command = Command::new("mosquitto_pub");
        command.args(&self.client).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = start_child(&mut command).expect("mosquitto_pub comes with mosquitto-clients");
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        drop(stdin);
        let Output { status, stderr, .. } = child.wait_with_output().unwrap();
        assert!(status.success(), "mosquitto_pub: {}", String::from_utf8_lossy(&stderr));
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}
