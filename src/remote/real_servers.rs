//! The conformance suite against real servers, those of `tests/it`.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "test servers are no part of the product"
)]
#![expect(clippy::unwrap_used, reason = "a test may fail")]
#![expect(dead_code, reason = "some of what they can is for other tests")]

#[path = "../../tests/it/support/descriptors.rs"]
mod descriptors;
#[path = "../../tests/it/support/installed.rs"]
mod installed;
#[path = "../../tests/it/support/port.rs"]
mod port;
#[path = "../../tests/it/support/servers/mod.rs"]
mod servers;
#[path = "../../tests/it/support/skip.rs"]
mod skip;
#[path = "../../tests/it/support/wait.rs"]
mod wait;

use servers::{Kind, RemoteServer};

/// Runs the suite in a process that has the server's credentials in its environment.
fn check(kind: Kind) {
    let Some(server) = RemoteServer::start(kind) else { return };
    let mut suite = std::process::Command::new(std::env::current_exe().unwrap());
    suite.args(["--ignored", "--exact", "remote::conformance::remote_of_the_environment", "--nocapture"]);
    suite.env("TIDEGATE_TEST_REMOTE", server.uri()).envs(server.environment());
    let output = suite.output().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && stdout.contains("1 passed"), "{stdout}{stderr}");
}

#[test]
fn s3_conforms() {
    check(Kind::S3);
}

#[test]
fn webdav_conforms() {
    check(Kind::WebDav);
}

#[test]
fn sftp_conforms() {
    check(Kind::Sftp);
}

#[test]
fn hdfs_conforms() {
    check(Kind::Hdfs);
}

#[test]
fn webhdfs_conforms() {
    check(Kind::WebHdfs);
}
