//! The link to the remote swallows everything without a word: calls are given up, intake goes on, and what came in is
//! shipped when the link is back.

use std::time::Duration;

use crate::support::{
    Averages, Device, Kind, Proxy, Random, RemoteServer, send_readings, wait_until_shipped, wait_until_within,
};

const KEYS: usize = 50;
const READINGS: usize = 200;
/// Above the time a call has, and a pause.
const GIVEN_UP_MAX: Duration = Duration::from_secs(120);

fn is_survived(kind: Kind) {
    let Some(server) = RemoteServer::start(kind) else { return };
    let mut random = Random::seeded();
    let proxy = Proxy::start(server.address());
    let device = Device::of(&server).with_remote(server.uri_at(proxy.address()));
    let mut model = Averages::default();
    let running = device.demo().start();
    let mut take_in = || {
        let readings: Vec<_> = (0..READINGS).map(|_| random.reading(KEYS)).collect();
        model.add_all(&readings);
        send_readings(&running, &readings, &model);
    };
    take_in();
    running.wait_for_log("checkpoint shipped");
    proxy.set_black_hole(true);
    take_in();
    wait_until_within(
        GIVEN_UP_MAX,
        || !running.logs("checkpoints do not reach the remote").is_empty(),
        || format!("a call hangs: {:?}", running.logs("")),
    );
    take_in();
    proxy.set_black_hole(false);
    wait_until_shipped(&running);
    let ended = running.stop().in_order();
    assert_eq!(ended.stdout, model.outputs);
}

#[test]
fn to_s3() {
    is_survived(Kind::S3);
}

#[test]
fn to_sftp() {
    is_survived(Kind::Sftp);
}
