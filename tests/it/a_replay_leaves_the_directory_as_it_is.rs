//! `tidegate replay` changes nothing: not a byte, a time or a name, on a copy, on a read-only mount, beside the job.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use rustix::process::Signal;

use crate::support::{Demo, ended, replay, skip, state_hash, wait_until};

/// Everything about the files and folders below `directory`.
fn listing(directory: &Path) -> BTreeMap<PathBuf, (SystemTime, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        let modified = folder.metadata().unwrap().modified().unwrap();
        found.insert(folder.clone(), (modified, Vec::new()));
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                // The control socket has no bytes.
                let bytes = if path.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
                found.insert(path.clone(), (path.metadata().unwrap().modified().unwrap(), bytes));
            }
        }
    }
    found
}

#[test]
fn beside_the_job_after_a_kill_and_on_a_read_only_copy() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let running = Demo::listen().journaled("always").args(["--interval", "1h"]).checkpoint_dir(&data).start();
    let mut client = TcpStream::connect(running.listening_at()).unwrap();
    let mut sent = 0;
    let mut beside = replay(&data, &[]);
    for _ in 0..3 {
        let lines: String = (0..500).map(|number| format!("{} {number}\n", number % 7)).collect();
        client.write_all(lines.as_bytes()).unwrap();
        sent += 500;
        running.wait_for_outputs(sent - 7);
        beside = replay(&data, &[]).in_order();
        assert_eq!(beside.stdout.lines().count(), sent - 7);
    }
    // The job did not notice, and its results are those of the replay.
    client.write_all(b"1 1\n").unwrap();
    running.wait_for_outputs(sent - 6);
    running.signal(Signal::STOP);
    running.wait_until_frozen();
    let before = listing(&data);
    let whole = replay(&data, &[]).in_order();
    assert!(listing(&data) == before, "the directory was changed");
    assert!(whole.stdout.starts_with(&beside.stdout));
    let killed = running.kill();
    assert_eq!(whole.stdout, killed.stdout);

    let copy = home.path().join("copy");
    assert!(Command::new("cp").arg("-r").arg(&data).arg(&copy).status().unwrap().success());
    std::fs::remove_dir_all(&data).unwrap();
    let before = listing(&copy);
    let copied = replay(&copy, &[]).in_order();
    assert_eq!((&copied.stdout, state_hash(&copied)), (&whole.stdout, state_hash(&whole)));
    assert!(listing(&copy) == before, "the copy was changed");

    // In a mount name space of its own, where this machine has them.
    let script = "mount --bind \"$1\" \"$1\" && mount -o remount,ro,bind \"$1\" && \
                  ! touch \"$1/file\" 2>/dev/null && exec \"$0\" replay --data-dir \"$1\"";
    let mut read_only = Command::new("unshare");
    read_only.args(["-m", "sh", "-c", script, env!("CARGO_BIN_EXE_tidegate")]).arg(&copy);
    match read_only.output() {
        Ok(output) if output.status.success() => {
            let mounted = ended(&output);
            assert_eq!((&mounted.stdout, &mounted.stderr), (&whole.stdout, &whole.stderr));
        }
        Ok(output) if !String::from_utf8_lossy(&output.stderr).contains("error: ") => {
            skip("a read-only mount", &String::from_utf8_lossy(&output.stderr));
        }
        outcome => panic!("on a read-only mount: {outcome:?}"),
    }
}

#[test]
fn while_the_job_writes_and_deletes() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let results = home.path().join("results");
    let running = Demo::listen()
        .journaled("always")
        .args(["--interval", "20ms", "--journal-max", "256KiB"])
        .arg("--output")
        .arg(&results)
        .checkpoint_dir(&data)
        .start();
    let address = running.listening_at();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let order = std::sync::atomic::Ordering::SeqCst;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = TcpStream::connect(address).unwrap();
            while !stop.load(order) {
                client.write_all(b"1 2\n2 3\n3 5\n").unwrap();
                std::thread::sleep(std::time::Duration::from_micros(100));
            }
        });
        let mut whole = 0;
        wait_until(
            || {
                let replayed = replay(&data, &[]);
                // What was to be read may just have been deleted. Damage is never made up.
                assert!(matches!(replayed.code, Some(0 | 74)), "{}", replayed.stderr);
                whole += usize::from(replayed.code == Some(0) && !replayed.stdout.is_empty());
                whole >= 20
            },
            || "no replay beside the job".to_owned(),
        );
        stop.store(true, order);
    });
    running.stop().in_order();
}
