//! A restore that finds no room changes nothing, says why, and goes on where it was once there is room.

use std::io::Write;
use std::net::TcpStream;

use crate::support::{Averages, Demo, RemotePlace, Running, Volume, skip, wait_until_shipped};

const KEYS: i64 = 60_000;

/// A remote with a checkpoint of some 1 MB, and a small volume without room for it.
struct Scene {
    place: RemotePlace,
    volume: Volume,
    filler: std::path::PathBuf,
}

impl Scene {
    /// `None`, with the reason printed, where there are no loop devices.
    fn set() -> Option<Self> {
        let volume = match Volume::sized("ext4", "16M") {
            Ok(volume) => volume,
            Err(reason) => {
                skip("a restore onto a full disk", &reason);
                return None;
            }
        };
        let place = RemotePlace::new();
        let readings: Vec<(i64, i64)> = (0..2 * KEYS).map(|number| (number % KEYS, number)).collect();
        let running = place.demo().start();
        let lines: String = readings.iter().map(|(key, value)| format!("{key} {value}\n")).collect();
        TcpStream::connect(running.listening_at()).unwrap().write_all(lines.as_bytes()).unwrap();
        running.wait_for_outputs(Averages::after(&readings).outputs.lines().count());
        wait_until_shipped(&running);
        let _stopped = running.stop().in_order();
        let filler = volume.fill();
        // Room for some of it.
        let file = std::fs::File::options().write(true).open(&filler).unwrap();
        file.set_len(file.metadata().unwrap().len() - (512 << 10)).unwrap();
        file.sync_all().unwrap();
        Some(Self { place, volume, filler })
    }

    fn demo(&self) -> Demo {
        self.place.demo_at(&self.volume.path().join("data"), &self.place.remote())
    }

    fn continues(&self, running: Running) {
        TcpStream::connect(running.listening_at()).unwrap().write_all(b"5 0\n").unwrap();
        running.wait_for_outputs(1);
        let average = (5 + 5 + KEYS) / 3;
        assert_eq!(running.stop().in_order().stdout, format!("(5,{average})\n"));
    }
}

#[test]
fn by_the_start_that_waits() {
    let Some(scene) = Scene::set() else { return };
    let running = scene.demo().start();
    let line = running.wait_for_log("the disk is full: the start waits for space");
    assert!(line.contains("cannot restore from the remote") && line.contains("make space"), "{line}");
    std::fs::remove_file(&scene.filler).unwrap();
    running.wait_for_log("restored from the remote");
    scene.continues(running);
}

#[test]
fn by_hand() {
    let Some(scene) = Scene::set() else { return };
    let (remote, data) = (scene.place.remote(), scene.volume.path().join("data"));
    let restore = ["restore", "--remote", &remote, "--data-dir", data.to_str().unwrap()];
    let full = scene.place.run(&restore);
    assert_eq!(full.0, Some(73), "{}", full.2);
    let error = full.2.lines().last().unwrap();
    assert!(error.matches("No space left").count() == 1 && error.contains("goes on there"), "{error}");
    let job = data.join("running-average");
    assert!(!job.join("manifests").exists() && !job.join("parts").exists(), "something is installed");
    std::fs::remove_file(&scene.filler).unwrap();
    let restored = scene.place.run(&restore);
    assert_eq!(restored.0, Some(0), "{}", restored.2);
    scene.continues(scene.demo().start());
}
