//! A memory cgroup of version 1 or 2, for a program that must not take more than it may.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::skip::skip;

/// A cgroup without swap; removed when dropped.
pub(crate) struct MemoryCgroup {
    directory: PathBuf,
    is_unified: bool,
}

impl MemoryCgroup {
    /// A cgroup of `bytes` bytes; `None`, with the reason printed, where none can be made.
    pub(crate) fn new(bytes: u64) -> Option<Self> {
        match Self::make(bytes) {
            Ok(cgroup) => Some(cgroup),
            Err(reason) => {
                skip("a memory cgroup", &reason);
                None
            }
        }
    }

    fn make(bytes: u64) -> Result<Self, String> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tidegate-test-{}-{number}", std::process::id());
        let unified = Path::new("/sys/fs/cgroup/cgroup.subtree_control");
        let is_unified = unified.exists();
        let parent = if is_unified {
            write(unified, "+memory")?;
            Path::new("/sys/fs/cgroup")
        } else {
            Path::new("/sys/fs/cgroup/memory")
        };
        let directory = parent.join(name);
        fs::create_dir(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        let cgroup = Self { directory, is_unified };
        let bytes = bytes.to_string();
        if is_unified {
            write(&cgroup.directory.join("memory.max"), &bytes)?;
            // Absent where the kernel has no swap.
            write(&cgroup.directory.join("memory.swap.max"), "0").ok();
        } else {
            write(&cgroup.directory.join("memory.limit_in_bytes"), &bytes)?;
            write(&cgroup.directory.join("memory.memsw.limit_in_bytes"), &bytes).ok();
        }
        Ok(cgroup)
    }

    /// The file a process writes its number to in order to join.
    pub(crate) fn members(&self) -> PathBuf {
        self.directory.join("cgroup.procs")
    }

    /// Asserts that nothing was killed for lack of memory.
    #[track_caller]
    pub(crate) fn assert_nothing_was_killed(&self) {
        let file = if self.is_unified { "memory.events" } else { "memory.oom_control" };
        let events = fs::read_to_string(self.directory.join(file)).expect("a cgroup counts its events");
        let kills = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        assert_eq!(kills, Some("0"), "killed for lack of memory: {events}");
    }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

impl Drop for MemoryCgroup {
    fn drop(&mut self) {
        // A member that is about to end may hold it for a moment; then it stays behind, empty.
        fs::remove_dir(&self.directory).ok();
    }
}
