//! `tidegate checkpoint` on a stopped job: what is shipped is told, the newest is shipped, encrypted, and older ones go.

use std::io::Write;
use std::net::TcpStream;

use crate::support::{CheckpointFolder, Demo, RemotePlace, wait_until};

#[test]
fn and_a_running_job_is_left_alone() {
    let place = RemotePlace::new();
    let folder = CheckpointFolder::of_demo(&place.data());
    let demo = || Demo::listen().checkpoint_dir(&place.data()).args(["--interval", "20ms"]);
    let running = demo().start();
    for round in 1..=4 {
        let before = folder.newest();
        let line = format!("1 {round}\n");
        TcpStream::connect(running.listening_at()).unwrap().write_all(line.as_bytes()).unwrap();
        wait_until(|| folder.newest() > before, || "no checkpoint".to_owned());
    }
    let (data, remote, key) = (place.data().display().to_string(), place.remote(), place.key());
    let ship = ["checkpoint", "ship", &data, "--remote", &remote, "--remote-encryption-key", &key];
    let busy = place.run(&ship);
    assert_eq!(busy.0, Some(73), "{}", busy.2);
    let _ended = running.stop().in_order();

    let list = place.run(&["checkpoint", "list", &data]);
    assert_eq!(list.1.matches("not shipped").count(), 3, "{}", list.1);
    let shipped = place.run(&ship);
    assert_eq!(shipped.0, Some(0), "{}", shipped.2);
    assert!(shipped.1.contains("is shipped"), "{}", shipped.1);
    let list = place.run(&["checkpoint", "list", &data, "--json"]);
    let newest = list.1.lines().next().unwrap();
    assert!(newest.contains(r#""shipped":true"#) && newest.contains(r#""new_bytes":"#), "{newest}");
    assert_eq!(list.1.matches(r#""shipped":false"#).count(), 2, "{}", list.1);
    let again = place.run(&ship);
    assert!(again.1.contains("already"), "{}", again.1);

    let older =
        folder.manifests()[0].file_stem().unwrap().to_str().unwrap().trim_start_matches('0').to_owned();
    let older = place.run(&[&ship[..], &["--id", &older]].concat());
    assert_eq!(older.0, Some(0), "{}", older.2);
    let with_key = ["--remote-encryption-key", key.as_str()];
    let remote_list = [&["checkpoint", "list", remote.as_str()][..], &with_key].concat();
    assert_eq!(place.run(&remote_list).1.lines().count(), 2);
    let without = place.run(&["restore", "--remote", &remote, "--data-dir", "unused", "--dry-run"]);
    assert_eq!(without.0, Some(70), "{}", without.2);
    assert!(without.2.contains("no encryption key is given"), "{}", without.2);

    let prune = ["checkpoint", "prune", &data, "--remote", &remote, "--remote-retain", "1"];
    let pruned = place.run(&[&prune[..], &with_key].concat());
    assert_eq!(pruned.0, Some(0), "{}", pruned.2);
    assert_eq!(place.run(&remote_list).1.lines().count(), 1);
    let verified = place.run(&[&["checkpoint", "verify", remote.as_str()][..], &with_key].concat());
    assert_eq!((verified.0, verified.1.lines().count()), (Some(0), 1), "{}", verified.2);
    let pruned = place.run(&["checkpoint", "prune", &data, "--retain", "1", "--json"]);
    assert_eq!((pruned.0, folder.manifests().len()), (Some(0), 1), "{}{}", pruned.1, pruned.2);

    // It goes on from what was left, and the remote is read with the key.
    let running = demo().start();
    TcpStream::connect(running.listening_at()).unwrap().write_all(b"1 10\n").unwrap();
    running.wait_for_outputs(1);
    assert_eq!(running.stop().in_order().stdout, "(1,4)\n");
    let dry = [&["restore", "--remote", remote.as_str(), "--data-dir", "unused", "--dry-run"][..], &with_key];
    let dry = place.run(&dry.concat());
    assert!(dry.0 == Some(0) && dry.1.contains("is whole"), "{}{}", dry.1, dry.2);
}
