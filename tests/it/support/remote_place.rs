//! A remote in a directory, its keys, and what the commands say of it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use std::time::Duration;

use super::{Demo, Running, field, wait_until_within};

/// Longest wait for a checkpoint to be shipped: some pauses between tries, and a busy machine.
const SHIPPED_MAX: Duration = Duration::from_secs(120);
pub(crate) const DEVICE: &str = "gateway-7";
const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// A place for a data directory, a remote beside it, and a key file.
pub(crate) struct RemotePlace {
    directory: tempfile::TempDir,
}

impl RemotePlace {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("key");
        std::fs::write(&key, KEY).unwrap();
        std::fs::create_dir(directory.path().join("remote")).unwrap();
        assert!(Command::new("chmod").arg("600").arg(&key).status().unwrap().success());
        Self { directory }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn key(&self) -> String {
        self.path().join("key").display().to_string()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub(crate) fn remote(&self) -> String {
        format!("file://{}/remote", self.directory.path().display())
    }

    pub(crate) fn demo(&self) -> Demo {
        self.demo_at(&self.data(), &self.remote())
    }

    /// The device with another directory or remote.
    pub(crate) fn demo_at(&self, directory: &Path, remote: &str) -> Demo {
        self.demo_each("50ms", directory, remote)
    }

    /// The same with a checkpoint at that interval.
    pub(crate) fn demo_each(&self, interval: &str, directory: &Path, remote: &str) -> Demo {
        Demo::listen()
            .journaled("always")
            .checkpoint_dir(directory)
            .args(["--interval", interval, "--remote-interval", "0s", "--remote", remote])
            .args(["--device", DEVICE, "--remote-key", &self.key()])
    }

    /// Runs another subcommand; its exit code, standard output and standard error.
    pub(crate) fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        self.run_as(DEVICE, arguments)
    }

    /// The same as another device.
    pub(crate) fn run_as(&self, device: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
        self.run_in(Vec::new(), device, arguments)
    }

    /// The same with more in the environment.
    pub(super) fn run_in(
        &self,
        environment: Vec<(&str, OsString)>,
        device: &str,
        arguments: &[&str],
    ) -> (Option<i32>, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.args(arguments).args(["--device", device, "--remote-key", &self.key()]).envs(environment);
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    /// The objects in a folder of the archive, oldest name first.
    pub(crate) fn objects(&self, folder: &str) -> Vec<PathBuf> {
        let folder = self.directory.path().join("remote/gateway-7/running-average").join(folder);
        let mut paths: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    }
}

/// Once nothing comes in any more, checkpoints end; the last one completed is to be shipped.
pub(crate) fn wait_until_shipped(running: &Running) {
    wait_until_within(
        SHIPPED_MAX,
        || {
            let newest = |text: &str| running.logs(text).last().map(|line| field(line, "checkpoint"));
            std::thread::sleep(Duration::from_millis(200));
            let completed = newest("checkpoint completed");
            completed.is_some() && newest("checkpoint shipped") == completed
        },
        || format!("the last checkpoint was not shipped: {:#?}", running.logs("")),
    );
}
