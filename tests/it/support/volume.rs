//! A small file system on a loop device whose power can be cut, and which can be filled.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted file system of its own; unmounted when dropped.
pub(crate) struct Volume {
    device: String,
    mount_point: PathBuf,
    _home: tempfile::TempDir,
}

fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output =
        Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(format!("{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}

impl Volume {
    /// Makes and mounts a file system of `kind`, `ext4` or `xfs`. The error says what this machine lacks.
    pub(crate) fn new(kind: &str) -> Result<Self, String> {
        Self::sized(kind, "320M")
    }

    /// The same of another size; XFS needs 300 MiB.
    pub(crate) fn sized(kind: &str, size: &str) -> Result<Self, String> {
        run("xfs_io", &["-V"])?;
        let home = tempfile::tempdir().map_err(|error| error.to_string())?;
        let image = home.path().join("image");
        let image = image.to_str().ok_or("a temporary path is text")?;
        run("truncate", &["-s", size, image])?;
        match kind {
            "ext4" => run("mkfs.ext4", &["-q", "-F", image])?,
            _ => run("mkfs.xfs", &["-q", "-f", image])?,
        };
        let mount_point = home.path().join("mount");
        std::fs::create_dir(&mount_point).map_err(|error| error.to_string())?;
        let device = run("losetup", &["-f", "--show", image])?;
        let volume = Self { device, mount_point, _home: home };
        volume.mount()?;
        Ok(volume)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.mount_point
    }

    /// Takes all space that is left; removing the returned file gives it back.
    pub(crate) fn fill(&self) -> PathBuf {
        let names = (0..).map(|number| self.mount_point.join(format!("filler-{number}")));
        let path = names.into_iter().find(|path| !path.exists()).expect("there are many names");
        let mut file = std::fs::File::create(&path).unwrap();
        for size in [1 << 20, 4096, 512] {
            let block = vec![0; size];
            let full = loop {
                if let Err(error) = file.write_all(&block).and_then(|()| file.sync_data()) {
                    break error;
                }
            };
            assert_eq!(full.kind(), ErrorKind::StorageFull);
        }
        path
    }

    /// From now on whoever writes stands still, until what is returned is dropped.
    pub(crate) fn freeze(&self) -> Frozen<'_> {
        run("fsfreeze", &["-f", &self.mount_point.display().to_string()]).unwrap();
        Frozen(self)
    }

    fn mount(&self) -> Result<(), String> {
        run("mount", &["-o", "noatime", &self.device, &self.mount_point.display().to_string()]).map(drop)
    }

    /// From now on nothing reaches the device, not even what was written and not synced.
    pub(crate) fn cut_power(&self) {
        run("xfs_io", &["-x", "-c", "shutdown", &self.mount_point.display().to_string()]).unwrap();
    }

    /// The power is back. Nobody may have a file open.
    pub(crate) fn restore_power(&self) {
        run("umount", &[&self.mount_point.display().to_string()]).unwrap();
        self.mount().unwrap();
    }
}

/// A file system that nothing can be written to.
pub(crate) struct Frozen<'v>(&'v Volume);

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        // Whoever still stands still when this fails says so.
        run("fsfreeze", &["-u", &self.0.mount_point.display().to_string()]).ok();
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // A failure here only leaves a mount behind for whoever looks at the machine.
        run("umount", &[&self.mount_point.display().to_string()]).ok();
        run("losetup", &["-d", &self.device]).ok();
    }
}
