//! The remote's server is killed while the job ships to it, and comes back: the job goes on meanwhile, and what came in is
//! shipped afterwards. An outage is one line, but of HDFS, whose name node is back before its data node is.

use crate::support::{
    Averages, Device, Kind, Random, RemoteServer, field, send_readings, wait_until_shipped,
};

const KEYS: usize = 50;
const READINGS: usize = 200;

fn is_waited_out(kind: Kind) {
    let Some(mut server) = RemoteServer::start(kind) else { return };
    let mut random = Random::seeded();
    let device = Device::of(&server);
    let mut model = Averages::default();
    let running = device.demo().start();
    let mut take_in = || {
        let readings: Vec<_> = (0..READINGS).map(|_| random.reading(KEYS)).collect();
        model.add_all(&readings);
        send_readings(&running, &readings, &model);
    };
    for outage in 1..=2 {
        take_in();
        running.wait_for_log("checkpoint shipped");
        server.kill();
        take_in();
        let warnings = "checkpoints do not reach the remote";
        let warned = running.logs("the remote answers again").len() + 1;
        let warning = running.wait_for_logs(warnings, warned);
        assert!(warning.contains("retry_in_s"), "{warning}");
        take_in();
        server.restart();
        // The pauses between tries have grown meanwhile.
        wait_until_shipped(&running);
        if kind != Kind::Hdfs {
            assert_eq!(running.logs("the remote answers again").len(), outage);
        }
    }
    // A restore at any time afterwards finds all of it.
    let killed = running.kill();
    assert_eq!(killed.stdout, model.outputs);
    if kind != Kind::Hdfs {
        assert_eq!(killed.logs("WARN").len(), 2, "one line an outage: {}", killed.stderr);
    }
    device.lose_data();
    let restored = device.demo().start();
    let line = restored.wait_for_log("restored from the remote");
    assert_eq!(field(&line, "readings"), (6 * READINGS).to_string(), "{line}");
}

#[test]
fn of_hdfs() {
    is_waited_out(Kind::Hdfs);
}

#[test]
fn of_s3() {
    is_waited_out(Kind::S3);
}

#[test]
fn of_webdav() {
    is_waited_out(Kind::WebDav);
}

#[test]
fn of_sftp() {
    is_waited_out(Kind::Sftp);
}
