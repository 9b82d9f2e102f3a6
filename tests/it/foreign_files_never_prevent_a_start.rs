//! Files and folders that are not the program's own never prevent a start, and are left alone.

use std::path::{Path, PathBuf};

use crate::support::{CheckpointFolder, Demo, Ended, LineServer, field, send};

fn run(directory: &Path, lines: &str) -> Ended {
    Demo::run_on(lines, |demo| demo.checkpoint_dir(directory))
}

/// Plants foreign files everywhere below the checkpoint directory.
fn plant(directory: &Path) -> Vec<PathBuf> {
    let job = CheckpointFolder::of_demo(directory).path().to_owned();
    let mut planted = Vec::new();
    for folder in
        [directory.to_owned(), job.clone(), job.join("manifests"), job.join("parts"), job.join("quarantine")]
    {
        for name in [
            "notes.txt",
            "9.manifest",
            "x.manifest",
            ".hidden",
            "README.part",
            "99999999999999999999999.manifest",
        ] {
            std::fs::write(folder.join(name), "not ours").unwrap();
            planted.push(folder.join(name));
        }
        std::fs::create_dir(folder.join("folder.manifest")).unwrap();
        planted.push(folder.join("folder.manifest"));
        std::os::unix::fs::symlink("/nonexistent", folder.join("dangling.manifest")).unwrap();
    }
    planted
}

#[test]
fn names_that_are_not_ours_are_passed_over_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    run(directory.path(), "1 10\n");
    let planted = plant(directory.path());
    let ended = run(directory.path(), "1 20\n");
    assert_eq!(field(&ended.log("restored"), "checkpoint"), "1");
    assert_eq!((ended.stdout.as_str(), ended.logs("WARN").len()), ("(1,15)\n", 0));
    for path in planted {
        assert!(path.exists(), "{} is gone", path.display());
    }
}

/// Names of manifests of ours: one newer and one older than any there is.
const NEWEST_NAME: &str = "manifests/00000000000000000099.manifest";
const OLDEST_NAME: &str = "manifests/00000000000000000000.manifest";

#[test]
fn a_folder_or_file_with_the_name_of_the_newest_manifest_is_passed_over() {
    for is_folder in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        run(directory.path(), "1 10\n");
        let path = CheckpointFolder::of_demo(directory.path()).path().join(NEWEST_NAME);
        if is_folder {
            std::fs::create_dir(&path).unwrap();
        } else {
            std::fs::write(&path, "not ours").unwrap();
        }
        let ended = run(directory.path(), "1 20\n");
        assert_eq!(field(&ended.log("restored"), "checkpoint"), "1", "folder: {is_folder}");
        assert_eq!(ended.stdout, "(1,15)\n", "folder: {is_folder}");
        let ended = run(directory.path(), "1 30\n");
        assert_eq!(field(&ended.log("restored"), "checkpoint"), "100", "folder: {is_folder}");
        assert_eq!(ended.stdout, "(1,20)\n", "folder: {is_folder}");
    }
}

#[test]
fn a_folder_with_the_name_of_a_manifest_does_not_stop_the_removal_of_old_files() {
    for name in [NEWEST_NAME, OLDEST_NAME] {
        let directory = tempfile::tempdir().unwrap();
        let folder = CheckpointFolder::of_demo(directory.path());
        run(directory.path(), "1 10\n");
        std::fs::create_dir(folder.path().join(name)).unwrap();
        let server = LineServer::start();
        let demo = Demo::connect(server.address()).args(["--interval", "10ms"]);
        let running = demo.checkpoint_dir(directory.path()).start();
        let mut connection = server.accept();
        for count in 1..=10 {
            send(&mut connection, "1 20\n");
            running.wait_for_logs("checkpoint completed", count);
        }
        drop(connection);
        let ended = running.wait().in_order();
        assert!(folder.parts().len() <= 4, "{name}: {:?} after:\n{}", folder.parts(), ended.stderr);
    }
}
