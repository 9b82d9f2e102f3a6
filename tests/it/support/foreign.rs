//! The program built for other processors, run by qemu.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use super::program::{Demo, Ended};
use super::replay::ended;
use super::skip::skip;

/// The program of one architecture.
pub(crate) struct Program {
    /// Name of the architecture.
    pub(crate) name: &'static str,
    words: Vec<OsString>,
}

impl Program {
    /// The one under test everywhere else.
    pub(crate) fn native() -> Self {
        Self { name: "native", words: vec![env!("CARGO_BIN_EXE_tidegate").into()] }
    }

    /// Those of ARM that `make arm-test` built; none, having said so, where it did not.
    pub(crate) fn of_arm() -> Vec<Self> {
        let variables = [("aarch64", "TIDEGATE_AARCH64"), ("armv7", "TIDEGATE_ARMV7")];
        variables.into_iter().filter_map(|(name, variable)| Self::foreign(name, variable)).collect()
    }

    fn foreign(name: &'static str, variable: &str) -> Option<Self> {
        let (Some(program), Some(user)) =
            (std::env::var_os(variable), std::env::var_os("TIDEGATE_QEMU_USER").map(PathBuf::from))
        else {
            skip(&format!("the program on {name}"), &format!("no {variable}: run `make arm-test`"));
            return None;
        };
        let folder = user.join(name);
        let words = vec![folder.join("qemu").into(), "-L".into(), folder.join("root").into(), program];
        Some(Self { name, words })
    }

    /// A command line of it.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]);
        command
    }

    /// Runs a command line of it to its end.
    pub(crate) fn run(&self, arguments: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>) -> Ended {
        ended(&self.command().args(arguments).output().expect("the program is built and starts"))
    }

    /// The reference job, journaled.
    pub(crate) fn demo(&self) -> Demo {
        let mut command = self.command();
        command.args(["demo", "--listen", "0"]);
        Demo::of(command)
    }
}
