//! Commands of the program that end by themselves: `tidegate replay` and others.

use std::path::Path;
use std::process::{Command, Output};

use super::program::Ended;

/// Replays what `directory` holds of the reference job.
pub(crate) fn replay(directory: &Path, arguments: &[&str]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.arg("replay").arg("--data-dir").arg(directory).args(arguments);
    ended(&command.output().expect("the program is built and starts"))
}

/// Runs a command line of the program to its end.
pub(crate) fn tidegate(arguments: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    ended(&command.args(arguments).output().expect("the program is built and starts"))
}

/// What a finished command wrote.
pub(crate) fn ended(output: &Output) -> Ended {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("the program writes text");
    Ended { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

/// The state's hash in a replay's summary.
#[track_caller]
pub(crate) fn state_hash(replayed: &Ended) -> String {
    let line = replayed.stderr.lines().find_map(|line| line.strip_prefix("state "));
    line.unwrap_or_else(|| panic!("no state's hash in:\n{}", replayed.stderr)).to_owned()
}
