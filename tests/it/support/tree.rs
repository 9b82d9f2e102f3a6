//! A folder's files, to see whether anything changed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The bytes of every regular file below `directory`; nothing when it is not there. Stores at work are left out: a job
/// that has ended may still be removing them.
pub(crate) fn files_below(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for entry in entries {
            let path = entry.expect("a folder can be listed").path();
            if path.ends_with("work") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.is_file() {
                let bytes = std::fs::read(&path).expect("a file can be read");
                found.insert(path, bytes);
            }
        }
    }
    found
}
