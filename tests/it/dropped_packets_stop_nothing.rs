//! The remote is in another network, and packets to it are dropped, all or many: intake goes on, and what came in is shipped.

use std::time::Duration;

use crate::support::{
    Averages, Device, Kind, Namespace, Random, RemoteServer, send_readings, skip, wait_until_shipped,
    wait_until_within,
};

const KEYS: usize = 50;
const READINGS: usize = 200;
/// Above the time a call has, and a pause.
const GIVEN_UP_MAX: Duration = Duration::from_secs(120);
/// Percent of packets that are lost on a bad link.
const LOSS: u8 = 10;

/// A server in a network of its own.
fn server(kind: Kind) -> Option<(RemoteServer, Namespace)> {
    match Namespace::new() {
        Ok(namespace) => {
            let server = RemoteServer::start_in(kind, namespace.address, namespace.command())?;
            Some((server, namespace))
        }
        Err(reason) => {
            skip("dropped packets", &reason);
            None
        }
    }
}

fn all_are_dropped(kind: Kind) {
    let Some((server, namespace)) = server(kind) else { return };
    let mut random = Random::seeded();
    let device = Device::of(&server);
    let mut model = Averages::default();
    let running = device.demo().start();
    let mut take_in = || {
        let readings: Vec<_> = (0..READINGS).map(|_| random.reading(KEYS)).collect();
        model.add_all(&readings);
        send_readings(&running, &readings, &model);
    };
    take_in();
    running.wait_for_log("checkpoint shipped");
    namespace.drop_all(true);
    take_in();
    wait_until_within(
        GIVEN_UP_MAX,
        || !running.logs("checkpoints do not reach the remote").is_empty(),
        || format!("a call hangs: {:?}", running.logs("")),
    );
    take_in();
    namespace.drop_all(false);
    wait_until_shipped(&running);
    assert_eq!(running.kill().stdout, model.outputs);
}

#[test]
fn all_to_webdav() {
    all_are_dropped(Kind::WebDav);
}

#[test]
fn all_to_hdfs() {
    all_are_dropped(Kind::Hdfs);
}

#[test]
fn one_in_ten() {
    let Some((server, namespace)) = server(Kind::S3) else { return };
    if let Err(reason) = namespace.lose(LOSS) {
        return skip("a link that loses packets", &reason);
    }
    let mut random = Random::seeded();
    let device = Device::of(&server);
    let readings: Vec<_> = (0..READINGS).map(|_| random.reading(KEYS)).collect();
    let model = Averages::after(&readings);
    let running = device.demo().start();
    send_readings(&running, &readings, &model);
    wait_until_shipped(&running);
    assert_eq!(running.kill().stdout, model.outputs);
}
