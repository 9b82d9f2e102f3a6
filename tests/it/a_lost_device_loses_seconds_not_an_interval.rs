//! The journal is shipped too: the process is killed between two checkpoints that are an hour apart, its directory is gone,
//! and what the remote has of the journal is in the averages of the next start.

use std::io::Write;
use std::net::TcpStream;

use crate::support::{
    Averages, Demo, Device, Kind, Random, RemoteServer, Running, send_readings, wait_until,
    wait_until_shipped,
};

const KEYS: usize = 50;
const BURST: usize = 200;
const BURSTS: usize = 3;

/// The reference job, which ships its journal, and checkpoints at that interval.
fn demo(device: &Device, interval: &str) -> Demo {
    device.demo_each(interval).args(["--ship-journal", "--ship-journal-interval", "200ms"])
}

/// Waits until a restore from `remote` would have so many readings.
fn wait_until_restorable(device: &Device, remote: &str, readings: usize) {
    let expected = format!(", {readings} readings: ");
    wait_until(
        || device.could_restore(remote).1.contains(&expected),
        || format!("a restore would not have {readings} readings: {:?}", device.could_restore(remote)),
    );
}

fn burst(random: &mut Random) -> Vec<(i64, i64)> {
    (0..BURST).map(|_| random.reading(KEYS)).collect()
}

fn what_was_shipped_is_counted(device: &Device, remote: &str) {
    let mut random = Random::seeded();
    let mut model = Averages::default();
    // A checkpoint to begin with.
    let running = demo(device, "50ms").start();
    let readings = burst(&mut random);
    model.add_all(&readings);
    send_readings(&running, &readings, &model);
    wait_until_shipped(&running);
    assert_eq!(running.kill().stdout, model.outputs);
    device.lose_data();
    model = model.without_outputs();
    let mut total = BURST;
    for life in 0..3 {
        let running = demo(device, "1h").start();
        running.wait_for_log("restored from the remote");
        // What the journal brought is delivered here, once.
        running.wait_for_outputs(model.outputs.lines().count());
        for _ in 0..BURSTS {
            let readings = burst(&mut random);
            model.add_all(&readings);
            send_readings(&running, &readings, &model);
        }
        total += BURSTS * BURST;
        wait_until_restorable(device, remote, total);
        let killed = running.kill();
        assert_eq!(killed.stdout, model.outputs, "in life {life}");
        device.lose_data();
    }
    let (code, stdout, stderr) = device.verify(remote);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(stdout.contains("pieces, 0 damaged"), "{stdout}{stderr}");
}

#[test]
fn on_a_mount() {
    let mount = tempfile::tempdir().unwrap();
    let remote = format!("file://{}", mount.path().display());
    what_was_shipped_is_counted(&Device::new(remote.clone(), Vec::new()), &remote);
}

#[test]
fn on_s3() {
    let Some(server) = RemoteServer::start(Kind::S3) else { return };
    what_was_shipped_is_counted(&Device::of(&server), &server.uri());
}

/// Sends readings; their results go to a file.
fn send(running: &Running, readings: &[(i64, i64)]) {
    let lines: String = readings.iter().map(|(key, value)| format!("{key} {value}\n")).collect();
    TcpStream::connect(running.listening_at()).unwrap().write_all(lines.as_bytes()).unwrap();
}

/// A file on the new device holds what follows the checkpoint, each result once; and a restart there goes on with the run.
#[test]
fn a_file_on_the_new_device_holds_each_result_once() {
    let mount = tempfile::tempdir().unwrap();
    let remote = format!("file://{}", mount.path().display());
    let device = Device::new(remote.clone(), Vec::new());
    let outputs = tempfile::tempdir().unwrap();
    let mut random = Random::seeded();
    let mut model = Averages::default();
    for life in 0..4 {
        let file = outputs.path().join("averages");
        let running = demo(&device, "1h").arg("--output").arg(&file).start();
        let readings = burst(&mut random);
        model.add_all(&readings);
        send(&running, &readings);
        wait_until_restorable(&device, &remote, (life + 1) * BURST);
        wait_until(
            || std::fs::read_to_string(&file).is_ok_and(|found| found.len() >= model.outputs.len()),
            || format!("the file is not written in life {life}"),
        );
        drop(running.kill());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), model.outputs, "in life {life}");
        // Each second life is the last of a device.
        if life % 2 == 1 {
            device.lose_data();
            std::fs::remove_file(&file).unwrap();
        }
    }
    let (code, stdout, stderr) = device.verify(&remote);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
}
