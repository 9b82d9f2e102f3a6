//! A wall clock that a running program sees and a scenario moves: libfaketime's (Debian's `faketime`).

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// The wall clock of programs started with [`WallClock::environment`]; monotonic time stays the machine's.
pub(crate) struct WallClock {
    library: PathBuf,
    home: tempfile::TempDir,
}

impl WallClock {
    /// A clock; `None`, with the reason printed, where libfaketime is not installed.
    pub(crate) fn new() -> Option<Self> {
        let mut folders = std::fs::read_dir("/usr/lib").ok()?.flatten();
        let library = folders.find_map(|folder| {
            let library = folder.path().join("faketime/libfaketimeMT.so.1");
            library.is_file().then_some(library)
        });
        let Some(library) = library else {
            super::skip("jumps of the clock", "libfaketimeMT.so.1 is not installed");
            return None;
        };
        Some(Self { library, home: tempfile::tempdir().unwrap() })
    }

    /// Sets it to the machine's time and so many seconds.
    pub(crate) fn set_off_by(&self, seconds: i64) {
        // In one step: the program may read at any time.
        let next = self.home.path().join("next");
        std::fs::write(&next, format!("{seconds:+}\n")).unwrap();
        std::fs::rename(next, self.file()).unwrap();
    }

    /// Sets it to the second of January 1970.
    pub(crate) fn set_to_1970(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        self.set_off_by(DAY_SECONDS - i64::try_from(now).unwrap());
    }

    /// What a program is started with to see it.
    pub(crate) fn environment(&self) -> [(&'static str, OsString); 4] {
        [
            ("LD_PRELOAD", self.library.clone().into()),
            ("FAKETIME_TIMESTAMP_FILE", self.file().into()),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ]
    }

    fn file(&self) -> PathBuf {
        self.home.path().join("clock")
    }
}
