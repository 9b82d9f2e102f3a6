//! State on `rocksdb` and `sled` outgrows memory while the disk it lies on is full: the job waits, is not taken for hung, and
//! goes on by itself once there is room. Its results are those of an uninterrupted run.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::{Averages, CheckpointFolder, Demo, LineServer, Random, Volume, field, skip, wait_until};

const KEYS: usize = 300_000;
const READINGS: usize = 600_000;
/// Sent before the disk is full; few enough to be held in memory.
const READINGS_BEFORE: usize = 20_000;
const MEMORY_MAX: &str = "32MiB";
/// Far shorter than the wait.
const BATCH_TIMEOUT: &str = "1s";
/// How long the disk stays full once the job waits: several batch timeouts.
const FULL_FOR: Duration = Duration::from_secs(4);

/// A volume mounted where a job has its stores; its journal and checkpoints lie on another disk.
struct WorkVolume {
    volume: Volume,
    mounted_at: PathBuf,
}

impl WorkVolume {
    /// `None`, with the reason printed, where there are no loop devices.
    fn mount(job: &Path) -> Option<Self> {
        let volume = match Volume::sized("ext4", "160M") {
            Ok(volume) => volume,
            Err(reason) => {
                skip("a full disk under a store", &reason);
                return None;
            }
        };
        let mounted_at = job.join("work");
        std::fs::create_dir_all(&mounted_at).unwrap();
        let mounted = Command::new("mount").arg("--bind").arg(volume.path()).arg(&mounted_at).status();
        assert!(mounted.unwrap().success());
        Some(Self { volume, mounted_at })
    }
}

impl Drop for WorkVolume {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.mounted_at).status();
        assert!(unmounted.unwrap().success(), "{} stays mounted", self.mounted_at.display());
    }
}

/// Runs a job whose disk is full for a while; returns how often it was restarted.
fn restarts(backend: &str, interval: &str) -> Option<u64> {
    let directory = tempfile::tempdir().unwrap();
    let work = WorkVolume::mount(CheckpointFolder::of_demo(directory.path()).path())?;
    let mut random = Random::seeded();
    let readings: Vec<(i64, i64)> = (0..READINGS).map(|_| random.reading(KEYS)).collect();
    let lines = |readings: &[(i64, i64)]| {
        readings.iter().fold(String::new(), |lines, (key, value)| lines + &format!("{key} {value}\n"))
    };
    let server = LineServer::start();
    let results = directory.path().join("results");
    let running = Demo::connect(server.address())
        .checkpoint_dir(directory.path())
        .journaled("100ms")
        .args(["--backend", backend, "--interval", interval, "--memory-max", MEMORY_MAX])
        .args(["--batch-timeout", BATCH_TIMEOUT, "--output"])
        .arg(&results)
        .start();
    let mut connection = server.accept();
    drop(server);
    connection.write_all(lines(&readings[..READINGS_BEFORE]).as_bytes()).unwrap();
    let written = || std::fs::metadata(&results).unwrap().len();
    wait_until(|| written() > 0, || "there are results".to_owned());

    let filler = work.volume.fill();
    let rest = lines(&readings[READINGS_BEFORE..]);
    let sending = std::thread::spawn(move || connection.write_all(rest.as_bytes()));
    wait_until(
        || {
            ["state waits for room", "waits for the disk of its state"]
                .iter()
                .any(|text| !running.logs(text).is_empty())
        },
        || "the job waits".to_owned(),
    );
    std::thread::sleep(FULL_FOR);
    assert!(running.logs("does not return").is_empty(), "a wait is taken for a hang");
    std::fs::remove_file(filler).unwrap();
    sending.join().unwrap().unwrap();
    let ended = running.wait().in_order();
    let expected = Averages::after(&readings).outputs;
    assert!(std::fs::read_to_string(results).unwrap() == expected, "the results differ:\n{}", ended.stderr);
    Some(field(&ended.log(" ended "), "restarts").parse().unwrap())
}

#[cfg(feature = "rocksdb")]
#[test]
fn under_rocksdb() {
    assert!(restarts("rocksdb", "1h").is_none_or(|restarts| restarts == 0));
}

#[cfg(feature = "rocksdb")]
#[test]
fn under_rocksdb_while_checkpoints_are_tried() {
    assert!(restarts("rocksdb", "100ms").is_none_or(|restarts| restarts == 0));
}

/// sled takes no write any more after one that failed: the job rewinds once there is room.
#[cfg(feature = "sled")]
#[test]
fn under_sled() {
    assert!(restarts("sled", "1h").is_none_or(|restarts| restarts == 1));
}
