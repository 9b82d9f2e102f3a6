//! A device that ships to a server.

use std::ffi::OsString;
use std::io::Write;
use std::net::TcpStream;

use super::averages::Averages;
use super::program::{Demo, Running};
use super::remote_place::{DEVICE, RemotePlace};
use super::servers::RemoteServer;

/// The device, and what it needs to reach its remote.
pub(crate) struct Device {
    place: RemotePlace,
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
        Self { place: RemotePlace::new(), remote, environment }
    }

    /// The same device, which reaches the remote at another address.
    pub(crate) fn with_remote(self, remote: String) -> Self {
        Self { remote, ..self }
    }

    /// Its disk is replaced by an empty one.
    pub(crate) fn lose_data(&self) {
        std::fs::remove_dir_all(self.place.data()).unwrap();
    }

    /// The reference job, which ships every checkpoint.
    pub(crate) fn demo(&self) -> Demo {
        self.demo_each("50ms")
    }

    /// The same with a checkpoint at that interval.
    pub(crate) fn demo_each(&self, interval: &str) -> Demo {
        let demo = self.place.demo_each(interval, &self.place.data(), &self.remote);
        demo.envs(self.environment.iter().cloned())
    }

    /// Looks at every byte of what is at the address `remote`; exit code, standard output and standard error.
    pub(crate) fn verify(&self, remote: &str) -> (Option<i32>, String, String) {
        self.run(&["checkpoint", "verify", remote])
    }

    /// Looks at what a restore from the address `remote` would take; exit code, standard output and standard error.
    pub(crate) fn could_restore(&self, remote: &str) -> (Option<i32>, String, String) {
        let elsewhere = self.place.path().join("elsewhere").display().to_string();
        self.run(&["restore", "--dry-run", "--remote", remote, "--data-dir", &elsewhere])
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        self.place.run_in(self.environment.clone(), DEVICE, arguments)
    }
}

/// Sends readings and waits for their results, of which the model already has all.
pub(crate) fn send_readings(running: &Running, readings: &[(i64, i64)], model: &Averages) {
    let lines: String = readings.iter().map(|(key, value)| format!("{key} {value}\n")).collect();
    TcpStream::connect(running.listening_at()).unwrap().write_all(lines.as_bytes()).unwrap();
    running.wait_for_outputs(model.outputs.lines().count());
}
