//! The link to the remote is cut at random bytes, in the middle of requests and of answers: whoever looks at the remote at
//! any time finds whole checkpoints only, and the last one gets there.

use std::time::Duration;

use crate::support::{
    Averages, Device, Kind, Proxy, Random, RemoteServer, field, send_readings, wait_until_shipped,
    wait_until_within,
};

const KEYS: usize = 200;
const READINGS: usize = 100;
/// Cuts one after another, whatever gets through between them: the pauses between tries grow with each. Then a checkpoint
/// gets there, and they begin anew.
const CUTS_IN_A_ROW: [usize; 5] = [1, 3, 2, 4, 2];
/// Between two lots of readings.
const PAUSE: Duration = Duration::from_millis(50);
/// Longest wait for a cut: well above the pause after the most cuts in a row, which is at most 8 s.
const CUT_MAX: Duration = Duration::from_secs(60);
/// Bytes that pass before a cut: those of a part of a call, up to some calls with their headers.
const BYTES: std::ops::Range<usize> = 500..20_000;

fn is_never_seen(kind: Kind) {
    let Some(server) = RemoteServer::start(kind) else { return };
    let mut random = Random::seeded();
    let proxy = Proxy::start(server.address());
    let device = Device::of(&server).with_remote(server.uri_at(proxy.address()));
    let mut model = Averages::default();
    let running = device.demo().start();
    let mut take_in = |random: &mut Random| {
        let readings: Vec<_> = (0..READINGS).map(|_| random.reading(KEYS)).collect();
        model.add_all(&readings);
        send_readings(&running, &readings, &model);
    };
    take_in(&mut random);
    running.wait_for_log("checkpoint shipped");
    for cuts in CUTS_IN_A_ROW {
        for _ in 0..cuts {
            proxy.cut_after(random.within(BYTES) as u64);
            wait_until_within(
                CUT_MAX,
                || {
                    std::thread::sleep(PAUSE);
                    // Something to ship, until the cut.
                    take_in(&mut random);
                    proxy.has_cut()
                },
                || "nothing was sent".to_owned(),
            );
            // A manifest that was cut may be there in part, where a write shows before it has ended: it is passed over.
            // The job removes older checkpoints meanwhile, also those that were just listed.
            let (code, stdout, stderr) = device.could_restore(&server.uri());
            assert_eq!((code, stdout.contains("is whole")), (Some(0), true), "{stdout}{stderr}");
        }
        wait_until_shipped(&running);
    }
    let killed = running.kill();
    assert_eq!(killed.stdout, model.outputs);
    device.lose_data();
    let restored = device.demo().start();
    let line = restored.wait_for_log("restored from the remote");
    let readings = model.outputs.lines().count() + model.key_count();
    assert_eq!(field(&line, "readings"), readings.to_string(), "{line}");
}

#[test]
fn on_s3() {
    is_never_seen(Kind::S3);
}

#[test]
fn on_webdav() {
    is_never_seen(Kind::WebDav);
}

#[test]
fn on_sftp() {
    is_never_seen(Kind::Sftp);
}

/// Only the talk with the name node; blocks go to the data node past the proxy.
#[test]
fn on_hdfs() {
    is_never_seen(Kind::Hdfs);
}
