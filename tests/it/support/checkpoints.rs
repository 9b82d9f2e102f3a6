//! A job's checkpoint folder, seen as plain files.

use std::path::{Path, PathBuf};

/// Job name of `tidegate demo`.
const DEMO_JOB: &str = "running-average";

/// The folder of one job below a checkpoint directory.
#[derive(Debug, Clone)]
pub(crate) struct CheckpointFolder {
    path: PathBuf,
}

impl CheckpointFolder {
    pub(crate) fn of_demo(directory: &Path) -> Self {
        Self::of_job(directory, DEMO_JOB)
    }

    pub(crate) fn of_job(directory: &Path, job: &str) -> Self {
        Self { path: directory.join(job) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Published manifests, oldest first.
    pub(crate) fn manifests(&self) -> Vec<PathBuf> {
        self.files("manifests", "manifest")
    }

    /// State parts, oldest first.
    pub(crate) fn parts(&self) -> Vec<PathBuf> {
        self.files("parts", "part")
    }

    /// Number of the newest completed checkpoint, 0 when there is none.
    pub(crate) fn newest(&self) -> u64 {
        let manifests = self.manifests();
        let Some(newest) = manifests.last() else { return 0 };
        let number = newest.file_stem().and_then(|stem| stem.to_str()).expect("a manifest has a name");
        number.parse().expect("a manifest is named by its number")
    }

    fn files(&self, folder: &str, extension: &str) -> Vec<PathBuf> {
        // Before the job has started there is no folder.
        let Ok(entries) = std::fs::read_dir(self.path.join(folder)) else { return Vec::new() };
        let paths = entries.map(|entry| entry.expect("a folder can be listed").path());
        let mut paths: Vec<PathBuf> =
            paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
        paths.sort();
        paths
    }
}
