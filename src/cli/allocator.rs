//! The C library's allocator, told to give memory back.
//!
//! Where memory is limited, what was freed must not stay with the process: by default glibc keeps an arena for each
//! thread, and raises the size from which a block is mapped by itself as soon as such a block is freed. It reads its
//! settings when the program starts, so the program starts itself once more with them in the environment. Where one of
//! them is set already, that stands.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// Two arenas; blocks of 128 KiB and more are mapped by themselves; free memory at the top goes back at the same size.
const SETTINGS: [(&str, &str); 3] =
    [("MALLOC_ARENA_MAX", "2"), ("MALLOC_MMAP_THRESHOLD_", "131072"), ("MALLOC_TRIM_THRESHOLD_", "131072")];

/// Starts this program anew with the settings, in this process. Returns when they are there, or when that fails: then
/// more memory is taken than need be, and the memory watch minds it.
pub(super) fn restart_frugally() {
    if !cfg!(target_env = "gnu") || SETTINGS.iter().any(|(name, _)| std::env::var_os(name).is_some()) {
        return;
    }
    let mut arguments = std::env::args_os();
    let (Ok(program), Some(name)) = (std::env::current_exe(), arguments.next()) else { return };
    let error = Command::new(program).arg0(name).args(arguments).envs(SETTINGS).exec();
    tracing::warn!(%error, "cannot start anew with a frugal allocator: more memory is taken");
}
