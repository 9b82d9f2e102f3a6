//! A remote reached by SFTP is talked to through `ssh`: when a process has ended, however it did, its `ssh` has too, and no
//! directory of it is left.

use crate::support::{Device, Kind, Random, RemoteServer, send_readings, wait_until, wait_until_shipped};

/// Command lines of running processes that contain `text`.
fn processes(text: &str) -> Vec<String> {
    let is_number = |name: &std::ffi::OsStr| name.to_string_lossy().bytes().all(|byte| byte.is_ascii_digit());
    let entries = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let folders = entries.filter(|entry| is_number(&entry.file_name()));
    // One that ended meanwhile has none.
    let lines = folders.filter_map(|folder| std::fs::read(folder.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.starts_with("/usr/bin/ssh ") && line.contains(text)).collect()
}

fn wait_until_none(text: &str) {
    wait_until(|| processes(text).is_empty(), || format!("left behind: {:?}", processes(text)));
}

#[test]
fn however_it_ends() {
    let Some(server) = RemoteServer::start(Kind::Sftp) else { return };
    let mut random = Random::seeded();
    let device = Device::of(&server);
    // What only the `ssh` of this test has: its port.
    let mark = format!("-p {} ", server.address().port());
    let running = device.demo().start();
    let readings: Vec<_> = (0..50).map(|_| random.reading(5)).collect();
    let model = crate::support::Averages::after(&readings);
    send_readings(&running, &readings, &model);
    wait_until_shipped(&running);
    assert!(!processes(&mark).is_empty(), "this test sees it while it runs");
    drop(running.kill());
    wait_until_none(&mark);

    let (code, stdout, stderr) = device.could_restore(&server.uri());
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    wait_until_none(&mark);
    let restored = device.demo().start();
    restored.wait_for_log("checkpoints are shipped");
    let _ended = restored.stop().in_order();
    wait_until_none(&mark);
}
