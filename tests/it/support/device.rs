//! A device that ships to a remote: its key, its data directory, and what it has been told so far.

use std::ffi::OsString;
use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::averages::Averages;
use super::program::{Demo, Running, field};
use super::servers::RemoteServer;
use super::wait::wait_until_within;

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
/// Longest wait for a checkpoint to be shipped: some pauses between tries, and a busy machine.
pub(crate) const SHIPPED_MAX: Duration = Duration::from_secs(120);

/// The device.
pub(crate) struct Device {
    directory: tempfile::TempDir,
    remote: String,
    environment: Vec<(&'static str, OsString)>,
}

impl Device {
    /// A device that ships to `server`.
    pub(crate) fn of(server: &RemoteServer) -> Self {
        Self::new(server.uri(), server.environment())
    }

    /// A device that ships to the address `remote`.
    pub(crate) fn new(remote: String, environment: Vec<(&'static str, OsString)>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("key");
        std::fs::write(&key, KEY).unwrap();
        assert!(Command::new("chmod").arg("600").arg(&key).status().unwrap().success());
        Self { directory, remote, environment }
    }

    /// The same device, which reaches the remote at another address.
    pub(crate) fn with_remote(self, remote: String) -> Self {
        Self { remote, ..self }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Its disk is replaced by an empty one.
    pub(crate) fn lose_data(&self) {
        std::fs::remove_dir_all(self.data()).unwrap();
    }

    fn archive_arguments(&self) -> [String; 4] {
        let key = self.directory.path().join("key").display().to_string();
        ["--device".into(), "gateway-7".into(), "--remote-key".into(), key]
    }

    /// The reference job, which ships every checkpoint.
    pub(crate) fn demo(&self) -> Demo {
        let demo = Demo::listen()
            .journaled("always")
            .checkpoint_dir(&self.data())
            .args(["--interval", "50ms", "--remote-interval", "0s", "--remote", &self.remote])
            .args(self.archive_arguments().iter().map(String::as_str));
        self.environment.iter().fold(demo, |demo, (name, value)| demo.env(name, value))
    }

    /// Looks at every byte of what is at the address `remote`; exit code, standard output and standard error.
    pub(crate) fn verify(&self, remote: &str) -> (Option<i32>, String, String) {
        self.run(&["checkpoint", "verify", remote])
    }

    /// Looks at what a restore from the address `remote` would take; exit code, standard output and standard error.
    pub(crate) fn could_restore(&self, remote: &str) -> (Option<i32>, String, String) {
        let elsewhere = self.directory.path().join("elsewhere").display().to_string();
        self.run(&["restore", "--dry-run", "--remote", remote, "--data-dir", &elsewhere])
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.args(arguments).args(self.archive_arguments());
        let output = command.envs(self.environment.iter().cloned()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }
}

/// Sends readings and waits for their results, of which the model already has all.
pub(crate) fn send_readings(running: &Running, readings: &[(i64, i64)], model: &Averages) {
    let lines: String = readings.iter().map(|(key, value)| format!("{key} {value}\n")).collect();
    TcpStream::connect(running.listening_at()).unwrap().write_all(lines.as_bytes()).unwrap();
    running.wait_for_outputs(model.outputs.lines().count());
}

/// Waits until the last checkpoint is on the remote. Once nothing comes in any more, checkpoints end.
pub(crate) fn wait_until_shipped(running: &Running) {
    wait_until_within(
        SHIPPED_MAX,
        || {
            let newest = |text: &str| running.logs(text).last().map(|line| field(line, "checkpoint"));
            let completed = newest("checkpoint completed");
            // Several intervals: one more would have begun.
            std::thread::sleep(Duration::from_millis(300));
            completed.is_some()
                && newest("checkpoint completed") == completed
                && newest("checkpoint shipped") == completed
        },
        || format!("the last checkpoint was not shipped: {:#?}", running.logs("")),
    );
}
