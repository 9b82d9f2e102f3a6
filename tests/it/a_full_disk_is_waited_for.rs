//! On a really full disk the job starts, takes nothing in, stops in order, and goes on by itself once there is space:
//! nothing acknowledged is lost and the results are those of an uninterrupted run.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::support::{
    Averages, Demo, Random, Running, ServiceManager, Volume, send_carefully, skip, wait_until,
};

const KEYS: usize = 50;
const VOLUME_SIZE: &str = "64M";
/// The journal takes segments of 256 KiB.
const JOURNAL_MAX: &str = "1MiB";
/// A job that waits for space is alive, and says so at half of this.
const WATCHDOG: Duration = Duration::from_millis(400);

/// A job on a small volume, and a sender that sends it some lines after others.
struct Scene {
    volume: Volume,
    readings: Vec<(i64, i64)>,
    lines: Vec<String>,
    acknowledged: AtomicU64,
    address: String,
    manager: ServiceManager,
}

impl Scene {
    /// `None`, with the reason printed, where there are no loop devices.
    fn set(address: &str, readings: usize) -> Option<Self> {
        let volume = match Volume::sized("ext4", VOLUME_SIZE) {
            Ok(volume) => volume,
            Err(reason) => {
                skip("a full file system", &reason);
                return None;
            }
        };
        let mut random = Random::seeded();
        let readings: Vec<(i64, i64)> = (0..readings).map(|_| random.reading(KEYS)).collect();
        let lines = readings.iter().map(|(key, value)| format!("{key} {value}")).collect();
        let (address, manager) = (address.to_owned(), ServiceManager::start(Some(WATCHDOG)));
        Some(Self { volume, readings, lines, acknowledged: AtomicU64::new(0), address, manager })
    }

    fn start(&mut self) -> Running {
        let directory = self.volume.path();
        let demo = Demo::new().journaled("always").args(["--listen", &self.address, "--ack", "lines"]);
        let demo = demo.args(["--interval", "50ms", "--journal-max", JOURNAL_MAX]);
        let running = demo
            .arg("--output")
            .arg(directory.join("results"))
            .checkpoint_dir(&directory.join("data"))
            .envs(self.manager.environment())
            .start();
        self.address = running.listening_at().to_string();
        running
    }

    fn acknowledged(&self) -> usize {
        usize::try_from(self.acknowledged.load(Ordering::SeqCst)).unwrap()
    }

    /// Sends the first `count` lines, until they are acknowledged or `until` has returned.
    fn send(&self, count: usize, until: impl FnOnce() + Send) {
        let address: SocketAddr = self.address.parse().unwrap();
        std::thread::scope(|scope| {
            let until = scope.spawn(until);
            scope.spawn(move || {
                while self.acknowledged() < count && !until.is_finished() {
                    let lines = &self.lines[..count];
                    send_carefully(address, "boiler-7", lines, Duration::ZERO, &self.acknowledged);
                }
                until.join().expect("what is waited for comes");
            });
        });
    }

    fn wait_for_acknowledgements(&self, count: usize) {
        wait_until(
            || self.acknowledged() == count,
            || format!("{} of {count} lines are acknowledged", self.acknowledged()),
        );
    }

    fn results(&self) -> String {
        std::fs::read_to_string(self.volume.path().join("results")).unwrap()
    }

    #[track_caller]
    fn check_results(&self) {
        assert!(self.results() == Averages::after(&self.readings).outputs, "the results differ");
    }
}

fn reserve_of(volume: &Path) -> bool {
    volume.join("data/running-average/reserve").exists()
}

#[test]
fn by_a_running_job() {
    let Some(mut scene) = Scene::set("127.0.0.82:0", 200_000) else { return };
    let running = scene.start();
    scene.send(20_000, || scene.wait_for_acknowledgements(20_000));
    let filler = scene.volume.fill();
    let lives = AtomicBool::new(false);
    scene.send(200_000, || {
        running.wait_for_log("the disk is full: results wait");
        running.wait_for_log("the disk is full: nothing is taken in until there is space");
        let before = scene.acknowledged();
        assert!(before < 200_000, "the sender is slowed");
        assert!(reserve_of(scene.volume.path()), "a running job leaves the reserve alone");
        // What is not expected is said when the sender can go on.
        lives.store(scene.manager.hears_feedings(6), Ordering::SeqCst);
        std::fs::remove_file(&filler).unwrap();
        scene.wait_for_acknowledgements(200_000);
    });
    assert!(lives.into_inner(), "a job that waits for space is alive: {:?}", scene.manager.told());
    let ended = running.stop().in_order();
    assert!(!ended.logs("goes on in a new segment").is_empty(), "{}", ended.stderr);
    scene.check_results();
}

#[test]
fn by_a_start_and_a_stop() {
    let Some(mut scene) = Scene::set("127.0.0.83:0", 60_000) else { return };
    let running = scene.start();
    scene.send(20_000, || scene.wait_for_acknowledgements(20_000));
    running.stop().in_order();
    assert!(reserve_of(scene.volume.path()));

    let filler = scene.volume.fill();
    let running = scene.start();
    scene.send(40_000, || {
        running.wait_for_log("the disk is full: nothing is taken in until there is space");
        let before = scene.acknowledged();
        assert!(before < 40_000, "{before} lines are acknowledged on a full disk");
        let ended = running.stop().in_order();
        assert!(!ended.logs("the reserve is given up").is_empty(), "{}", ended.stderr);
    });
    assert!(!reserve_of(scene.volume.path()));
    let results = scene.results();
    let sure = Averages::after(&scene.readings[..scene.acknowledged()]).outputs;
    assert!(results.starts_with(&sure), "something acknowledged is not in the results");

    // What is left of the reserve is taken too.
    let more = scene.volume.fill();
    let running = scene.start();
    scene.send(60_000, || {
        running.wait_for_log("cannot keep disk in reserve");
        for filler in [&filler, &more] {
            std::fs::remove_file(filler).unwrap();
        }
        running.wait_for_log("there is space on the disk again");
        scene.wait_for_acknowledgements(60_000);
    });
    running.stop().in_order();
    assert!(reserve_of(scene.volume.path()));
    scene.check_results();
}
