//! The reference job ships to a real server, is killed, and its disk is gone: the next start carries on from the server.

use crate::support::{Averages, Device, Kind, Random, RemoteServer, send_readings, wait_until_shipped};

const KEYS: usize = 50;
const READINGS: usize = 300;

fn the_averages_carry_on(kind: Kind) {
    let Some(server) = RemoteServer::start(kind) else { return };
    let mut random = Random::seeded();
    let device = Device::of(&server);
    let mut model = Averages::default();
    for life in 0..3 {
        let running = device.demo().start();
        if life > 0 {
            running.wait_for_log("restored from the remote");
        }
        let readings: Vec<_> = (0..READINGS).map(|_| random.reading(KEYS)).collect();
        model.add_all(&readings);
        send_readings(&running, &readings, &model);
        wait_until_shipped(&running);
        let killed = running.kill();
        assert_eq!(killed.stdout, model.outputs, "in life {life}");
        device.lose_data();
        model = model.without_outputs();
    }
    let (code, stdout, stderr) = device.verify(&server.uri());
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    // Three are kept, and one more where the kill came before the oldest was removed.
    assert!(matches!(stdout.matches(": whole").count(), 3 | 4), "{stdout}{stderr}");
}

#[test]
fn from_hdfs() {
    the_averages_carry_on(Kind::Hdfs);
}

#[test]
fn from_webhdfs() {
    the_averages_carry_on(Kind::WebHdfs);
}

#[test]
fn from_s3() {
    the_averages_carry_on(Kind::S3);
}

#[test]
fn from_webdav() {
    the_averages_carry_on(Kind::WebDav);
}

#[test]
fn from_sftp() {
    the_averages_carry_on(Kind::Sftp);
}
