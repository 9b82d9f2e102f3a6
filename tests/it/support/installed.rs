//! What `tests/servers/install.sh` has got.

use std::path::{Path, PathBuf};

/// The folder it fills.
pub(super) fn installed() -> PathBuf {
    let cache = std::env::var_os("TIDEGATE_CACHE").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/tidegate");
    cache.unwrap_or_else(home).join("servers")
}

/// Whether the server of this name can be had, and if not, why.
pub(super) fn check(installed: &Path, name: &str) -> Result<(), String> {
    if let Ok(reason) = std::fs::read_to_string(installed.join(format!("{name}.missing"))) {
        return Err(reason);
    }
    // Each run of it leaves the log of what it found.
    if installed.join(format!("{name}.log")).exists() {
        return Ok(());
    }
    Err("its server was not installed: run make remote-tools".to_owned())
}
