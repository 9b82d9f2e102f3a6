//! On a full disk checkpoints fail and the job goes on; once there is space again they complete.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::{CheckpointFolder, Demo, LineServer, field, send, skip, start_child, wait_until};

/// A file system of 64 KiB, unmounted when dropped.
struct SmallDisk {
    directory: tempfile::TempDir,
}

impl SmallDisk {
    /// `None`, with the reason printed, where mounting is not permitted.
    fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=64k", "tidegate-test"]).arg(directory.path());
        let mounted = start_child(mount.stderr(Stdio::piped())).and_then(Child::wait_with_output);
        match mounted {
            Ok(output) if output.status.success() => Some(Self { directory }),
            Ok(output) => {
                let reason = String::from_utf8_lossy(&output.stderr).into_owned();
                skip("a small file system that is full", &reason);
                None
            }
            Err(error) => {
                skip("a small file system that is full", &error.to_string());
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Takes all space that is left; removing the returned file gives it back.
    fn fill(&self) -> PathBuf {
        let path = self.path().join("filler");
        let mut file = std::fs::File::create(&path).unwrap();
        let full = loop {
            if let Err(error) = file.write_all(&[0; 512]) {
                break error;
            }
        };
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let mut umount = Command::new("umount");
        let unmounted = start_child(umount.arg("--lazy").arg(self.path())).and_then(|mut child| child.wait());
        assert!(unmounted.is_ok_and(|status| status.success()), "{} stays mounted", self.path().display());
    }
}

#[test]
fn and_checkpoints_complete_once_there_is_space_again() {
    let Some(disk) = SmallDisk::mount() else { return };
    let folder = CheckpointFolder::of_demo(disk.path());
    let server = LineServer::start();
    let demo = Demo::connect(server.address()).checkpoint_dir(disk.path());
    let running = demo.args(["--interval", "20ms"]).start();
    let mut connection = server.accept();
    send(&mut connection, "1 10\n1 20\n");
    running.wait_for_outputs(1);
    running.wait_for_log("checkpoint completed");

    let filler = disk.fill();
    for round in 1..=3 {
        send(&mut connection, "1 30\n");
        running.wait_for_outputs(1 + round);
        let failed = running.wait_for_logs("checkpoint failed", round);
        assert!(failed.contains("ERROR") && failed.contains("No space left"), "{failed}");
    }
    // The one before is still there, and nothing else.
    wait_until(
        || (folder.manifests().len(), folder.parts().len()) == (1, 1) || folder.newest() > 1,
        || format!("{:?} {:?}", folder.manifests(), folder.parts()),
    );

    let failed = running.logs("checkpoint failed").len();
    let completed = running.logs("checkpoint completed").len();
    std::fs::remove_file(filler).unwrap();
    send(&mut connection, "1 40\n");
    running.wait_for_outputs(5);
    running.wait_for_logs("checkpoint completed", completed + 1);
    drop(connection);
    let ended = running.wait().in_order();
    assert_eq!(ended.stdout, "(1,15)\n(1,20)\n(1,22)\n(1,24)\n(1,26)\n");
    assert!(failed >= 3);

    let ended = Demo::run_on("1 51\n", |demo| demo.checkpoint_dir(disk.path()));
    assert_eq!(field(&ended.log("restored"), "readings"), "6");
    assert_eq!(ended.stdout, "(1,30)\n");
}

#[test]
fn a_last_checkpoint_that_fails_is_74() {
    let Some(disk) = SmallDisk::mount() else { return };
    let server = LineServer::start();
    let running =
        Demo::connect(server.address()).args(["--interval", "1h"]).checkpoint_dir(disk.path()).start();
    let mut connection = server.accept();
    send(&mut connection, "1 10\n1 20\n");
    running.wait_for_outputs(1);
    disk.fill();
    let ended = running.stop();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(74), "(1,15)\n"), "the log:\n{}", ended.stderr);
    let error = ended.log("error:");
    assert_eq!(error.matches("No space left").count(), 1, "{error}");
}

#[test]
fn a_start_on_a_full_disk_is_73_or_goes_on_without_checkpoints() {
    let Some(disk) = SmallDisk::mount() else { return };
    disk.fill();
    let server = LineServer::start();
    let demo = Demo::connect(server.address());
    // Nobody takes it when the start is refused.
    drop(server.serve("1 10\n1 20\n"));
    let ended = demo.checkpoint_dir(disk.path()).run();
    // Whether a full file system still takes an empty folder is its own affair.
    match ended.code {
        Some(73) => assert_eq!(ended.stdout, ""),
        Some(74) => assert_eq!(ended.stdout, "(1,15)\n"),
        _ => panic!("another end: {:?}\n{}", ended.code, ended.stderr),
    }
    ended.log("error:");
}
