//! Where a job keeps its state when it is not told.

use std::path::PathBuf;

/// `tidegate` in the user's data directory: `$XDG_DATA_HOME`, or else `~/.local/share`; `None` when neither is known.
pub(crate) fn data_directory() -> Option<PathBuf> {
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/share"));
    let data = data.or_else(home).filter(|path| path.is_absolute())?;
    Some(data.join("tidegate"))
}
