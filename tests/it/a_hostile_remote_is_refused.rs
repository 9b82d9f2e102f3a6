//! A directory that somebody else filled is no way out of the data directory, and no way to make up state.

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::support::{CheckpointFolder, RemotePlace, files_below, wait_until_shipped};

/// A remote with two checkpoints of one reading more each.
fn place() -> RemotePlace {
    let place = RemotePlace::new();
    let running = place.demo().start();
    for (lines, outputs) in [("1 10\n1 20\n", 1), ("1 30\n", 2)] {
        TcpStream::connect(running.listening_at()).unwrap().write_all(lines.as_bytes()).unwrap();
        running.wait_for_outputs(outputs);
        wait_until_shipped(&running);
    }
    let _ended = running.stop().in_order();
    place
}

fn archive(place: &RemotePlace) -> PathBuf {
    place.path().join("remote/gateway-7/running-average")
}

fn restore(place: &RemotePlace, to: &Path) -> (Option<i32>, String, String) {
    place.run(&["restore", "--remote", &place.remote(), "--data-dir", to.to_str().unwrap()])
}

fn readings(restored: &(Option<i32>, String, String)) -> u64 {
    assert_eq!(restored.0, Some(0), "{}", restored.2);
    let text = restored.1.rsplit("after ").next().unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn names_and_links_lead_nowhere() {
    let place = place();
    let (archive, outside) = (archive(&place), place.path().join("outside"));
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "not for the archive").unwrap();
    let newest = place.objects("manifests").pop().unwrap();
    let name = newest.file_name().unwrap().to_str().unwrap().to_owned();
    // Names that would be paths elsewhere, or nothing at all.
    for name in ["..data", "UPPER", "a b", "-x", "%2e%2e%2f", "manifest\nwith a line"] {
        std::fs::write(archive.join("manifests").join(name), "x").unwrap();
    }
    std::fs::create_dir_all(archive.join("manifests/deep/deeper/deepest/still/on")).unwrap();
    // Links to nothing, to themselves, and in place of a manifest.
    symlink("nowhere", archive.join("manifests/nothing")).unwrap();
    symlink("itself", archive.join("chunks/itself")).unwrap();
    std::fs::rename(&newest, outside.join(&name)).unwrap();
    symlink(outside.join("secret"), &newest).unwrap();
    let before = files_below(&outside);
    let target = place.path().join("target");
    let restored = restore(&place, &target);
    assert_eq!(readings(&restored), 2, "the one before it: {}", restored.2);
    assert!(restored.2.contains("passed over"), "{}", restored.2);
    assert_eq!(files_below(&outside), before);
    assert!(!CheckpointFolder::of_demo(&target).parts().is_empty());
    // A link to what it should be is as good as that.
    std::fs::remove_file(&newest).unwrap();
    symlink(outside.join(&name), &newest).unwrap();
    assert_eq!(readings(&restore(&place, &place.path().join("second"))), 3);
    assert_eq!(files_below(&outside), before);
}

#[test]
fn what_another_device_or_key_wrote_is_refused() {
    let place = place();
    let archive = archive(&place);
    let other = archive.parent().unwrap().parent().unwrap().join("gateway-8");
    std::fs::create_dir(&other).unwrap();
    std::fs::rename(&archive, other.join("running-average")).unwrap();
    let target = place.path().join("target");
    let remote = place.remote();
    let restore_there = ["restore", "--remote", &remote, "--data-dir", target.to_str().unwrap()];
    let refused = place.run_as("gateway-8", &restore_there);
    assert_eq!(refused.0, Some(70), "{}", refused.2);
    assert!(refused.2.contains(r#"belongs to the device "gateway-7""#), "{}", refused.2);
    assert!(!CheckpointFolder::of_demo(&target).path().join("manifests").exists());
    std::fs::rename(other.join("running-average"), &archive).unwrap();
    std::fs::write(place.key(), "ff".repeat(32)).unwrap();
    let refused = restore(&place, &target);
    assert_eq!(refused.0, Some(70), "{}", refused.2);
    assert!(refused.2.contains("sealed with another key"), "{}", refused.2);
}

#[test]
fn so_many_entries_that_no_one_looks_at_them_all() {
    let place = place();
    let manifests = archive(&place).join("manifests");
    for number in 0..12_000 {
        std::fs::write(manifests.join(format!("entry-{number}")), "").unwrap();
    }
    let refused = restore(&place, &place.path().join("target"));
    assert_eq!(refused.0, Some(69), "{}", refused.2);
    assert!(refused.2.lines().last().unwrap().contains("more than 10000"), "{}", refused.2);
    // A start neither waits for ever nor begins empty.
    std::fs::remove_dir_all(place.data()).unwrap();
    assert_eq!(place.demo().run().code, Some(69));
}
