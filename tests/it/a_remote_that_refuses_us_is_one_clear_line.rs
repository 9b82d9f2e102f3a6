//! Wrong credentials and a bucket that is not there: one clear line says so, and the job goes on.

use std::ffi::OsString;

use crate::support::{Averages, Device, Ended, Kind, RemoteServer, send_readings};

/// Lets a job run that cannot ship; the line that says why.
fn refusal(remote: String, environment: Vec<(&'static str, OsString)>) -> String {
    let device = Device::new(remote, environment);
    // Without anything here the remote must be asked, and the start says why it cannot.
    let Ended { code, stderr, .. } = device.demo().run();
    assert_eq!(code, Some(69), "{stderr}");
    assert!(stderr.lines().last().is_some_and(|line| line.contains("--fresh")), "{stderr}");

    let running = device.demo().args(["--fresh"]).start();
    let line = running.wait_for_log("checkpoints do not reach the remote");
    let readings = [(1, 2), (1, 4), (1, 6)];
    send_readings(&running, &readings, &Averages::after(&readings));
    let killed = running.kill();
    assert_eq!(killed.logs("WARN").len(), 1, "{}", killed.stderr);
    line
}

fn wrong_credentials(kind: Kind) -> Option<String> {
    let server = RemoteServer::start(kind)?;
    Some(refusal(server.uri(), server.wrong_environment()))
}

#[test]
fn with_wrong_keys_of_s3() {
    let Some(line) = wrong_credentials(Kind::S3) else { return };
    assert!(line.contains("check credentials and rights") && line.contains("InvalidAccessKeyId"), "{line}");
}

#[test]
fn with_a_wrong_password_of_webdav() {
    let Some(line) = wrong_credentials(Kind::WebDav) else { return };
    assert!(line.contains("check credentials and rights") && line.contains("401"), "{line}");
}

#[test]
fn with_a_wrong_key_of_sftp() {
    let Some(line) = wrong_credentials(Kind::Sftp) else { return };
    assert!(line.contains("check credentials and rights") && line.contains("ermission denied"), "{line}");
}

#[test]
fn with_a_bucket_that_is_not_there() {
    let Some(server) = RemoteServer::start(Kind::S3) else { return };
    let line =
        refusal(server.uri().replacen("s3://backups/", "s3://no-such-bucket/", 1), server.environment());
    assert!(line.contains("NoSuchBucket"), "{line}");
}

#[test]
fn with_nobody_there() {
    for remote in [
        "s3://backups/a?endpoint=http://127.0.0.1:9",
        "webdav://127.0.0.1:9/a",
        "sftp://nobody@127.0.0.1:9/a",
        "hdfs://127.0.0.1:9/a",
    ] {
        let keys = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map(|name| (name, OsString::from("a")));
        let line = refusal(remote.to_owned(), keys.to_vec());
        assert!(line.contains("refused"), "{line}");
    }
}
