//! A process of a server, and all that it starts.

use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::super::descriptors::start_child;

/// A running process; killed, with its children, when dropped.
pub(super) struct ServerProcess {
    child: Child,
    log: tempfile::NamedTempFile,
}

impl ServerProcess {
    pub(super) fn start(mut command: Command) -> Self {
        let log = tempfile::NamedTempFile::new().expect("there is a temporary directory");
        let output = || Stdio::from(log.as_file().try_clone().expect("a file can be shared"));
        command.stdin(Stdio::null()).stdout(output()).stderr(output());
        let child = start_child(&mut command).unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, log }
    }

    /// What it wrote so far.
    pub(super) fn log(&self) -> String {
        let bytes = std::fs::read(self.log.path()).expect("a log can be read");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub(super) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // What is stopped starts no children while they are looked for. It may have ended already, which is what an error
        // says.
        let process = Pid::from_child(&self.child);
        kill_process(process, Signal::STOP).ok();
        for descendant in descendants(self.child.id()) {
            if let Some(descendant) = Pid::from_raw(descendant) {
                kill_process(descendant, Signal::KILL).ok();
            }
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Children of a process, and theirs.
fn descendants(process: u32) -> Vec<i32> {
    let mut found = Vec::new();
    let mut parents = vec![process.to_string()];
    while let Some(parent) = parents.pop() {
        // Children are listed by the thread that started them.
        let Ok(threads) = std::fs::read_dir(format!("/proc/{parent}/task")) else { continue };
        for thread in threads.flatten() {
            let children = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            parents.extend(children.split_whitespace().map(str::to_owned));
            found.extend(children.split_whitespace().filter_map(|child| child.parse::<i32>().ok()));
        }
    }
    found
}
