//! With TLS a client is let in by its certificate; one that is refused, or never finishes, is one line and hurts nobody.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use crate::support::{Demo, Running, TlsClient, WAIT_MAX, certificates, field, has_openssl, wait_until};

const TRUST: [&str; 2] = ["-CAfile", "ca.pem"];

fn place() -> Option<TempDir> {
    has_openssl().then(|| {
        let directory = tempfile::tempdir().unwrap();
        certificates(directory.path());
        directory
    })
}

fn demo(directory: &Path, ca: bool) -> Demo {
    let file = |name: &str| directory.join(name);
    let demo =
        Demo::listen().arg("--tls-cert").arg(file("server.pem")).arg("--tls-key").arg(file("server.key"));
    if ca { demo.arg("--tls-client-ca").arg(file("ca.pem")) } else { demo }
}

fn client(address: SocketAddr, directory: &Path, name: &str) -> TlsClient {
    let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
    TlsClient::connect(address, directory, &[&TRUST[..], &["-cert", &certificate, "-key", &key]].concat())
}

/// Waits for the next line about a handshake that failed; there is one, and it says `reason`.
fn refused(running: &Running, count: usize, reason: &str) {
    let line = running.wait_for_logs("TLS handshake failed", count);
    assert!(line.contains(reason), "{reason:?} is not in {line}");
    assert_eq!(field(&line, "count"), count.to_string());
}

#[test]
fn one_with_a_certificate_is_served_while_others_are_refused() {
    let Some(directory) = place() else { return };
    let directory = directory.path();
    let second = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let made_in = second();
    let running = demo(directory, true).in_memory().start();
    let address = running.listening_at();
    let mut good = client(address, directory, "client");
    good.send("1 3\n1 5\n");
    running.wait_for_outputs(1);

    let mut nobody = TlsClient::connect(address, directory, &TRUST);
    nobody.send("1 100\n");
    refused(&running, 1, "shows no certificate");
    nobody.finish();
    let mut stranger = client(address, directory, "stranger");
    stranger.send("1 100\n");
    refused(&running, 2, "not signed by a CA of the client CA file");
    stranger.finish();
    // It is valid for the second it was made in.
    wait_until(|| second() > made_in + 1, || "the clock stands still".to_owned());
    let mut expired = client(address, directory, "expired");
    expired.send("1 100\n");
    refused(&running, 3, "has expired");
    expired.finish();
    let mut plain = TcpStream::connect(address).unwrap();
    plain.write_all(b"1 100\n1 100\n").unwrap();
    refused(&running, 4, "does not speak TLS");
    plain.set_read_timeout(Some(WAIT_MAX)).unwrap();
    // An alert and the end.
    plain.read_to_end(&mut Vec::new()).ok();
    TlsClient::connect(address, directory, &["-CAfile", "other-ca.pem"]).finish();
    refused(&running, 5, "refuses this machine's certificate");

    good.send("1 7\n");
    running.wait_for_outputs(2);
    good.send("1 4");
    good.finish();
    running.wait_for_outputs(3);
    let ended = running.stop().in_order();
    // What follows the last line's end counts: the client has said that nothing was cut off.
    assert_eq!(ended.stdout, "(1,4)\n(1,5)\n(1,4)\n");
    assert_eq!(ended.logs("TLS handshake failed").len(), 5);
}

#[test]
fn a_line_that_was_cut_off_is_no_reading() {
    let Some(directory) = place() else { return };
    let running = demo(directory.path(), true).in_memory().start();
    let mut client = client(running.listening_at(), directory.path(), "client");
    client.send("1 3\n1 5\n1 10");
    running.wait_for_outputs(1);
    client.kill();
    running.wait_for_log("connection closed by us");
    assert_eq!(running.stop().in_order().stdout, "(1,4)\n");
}

#[test]
fn without_a_client_ca_or_with_certificates_optional_anybody_is_served() {
    let Some(directory) = place() else { return };
    let directory = directory.path();
    for version in ["-tls1_2", "-tls1_3"] {
        let optional = demo(directory, true).args(["--tls-client-cert", "optional"]);
        for (demo, strangers) in [(demo(directory, false), 0), (optional, 1)] {
            let running = demo.in_memory().start();
            let address = running.listening_at();
            let mut client = TlsClient::connect(address, directory, &[&TRUST[..], &[version]].concat());
            client.send("1 3\n1 5\n");
            running.wait_for_outputs(1);
            client.finish();
            if strangers > 0 {
                self::client(address, directory, "stranger").send("1 100\n");
                refused(&running, 1, "not signed by");
            }
            assert_eq!(running.stop().in_order().stdout, "(1,4)\n");
        }
    }
}

#[test]
fn acknowledgements_come_through_tls() {
    let Some(directory) = place() else { return };
    let data = tempfile::tempdir().unwrap();
    for (greeted, lines) in [("DURABLE 0", "1 3\n1 5\n"), ("DURABLE 2", "1 7\n")] {
        let demo = demo(directory.path(), true).args(["--ack", "lines"]).journaled("always");
        let running = demo.checkpoint_dir(data.path()).start();
        let mut client = client(running.listening_at(), directory.path(), "client");
        client.send(&format!("HELLO boiler-7\n{lines}"));
        running.wait_for_outputs(1);
        let heard = client.finish();
        assert!(heard.starts_with(greeted), "{heard:?}");
        running.stop().in_order();
    }
}

/// More than there is room for: connections that say nothing, and such that begin and never go on.
#[test]
fn those_that_never_finish_the_handshake_keep_nobody_out() {
    let Some(directory) = place() else { return };
    let running = demo(directory.path(), true).in_memory().args(["--connections-max", "2"]).start();
    let address = running.listening_at();
    // A record header of a handshake, and a hundred bytes of what would be 512.
    let begin = [&[22, 3, 1, 2, 0, 1, 0, 1, 252][..], &[3; 100]].concat();
    let lingering: Vec<TcpStream> = (0..200)
        .map(|index| {
            let mut stream = TcpStream::connect(address).unwrap();
            if index % 2 == 0 {
                stream.write_all(&begin).unwrap();
            }
            stream
        })
        .collect();
    for round in 1..=3 {
        let mut client = client(address, directory.path(), "client");
        client.send("1 3\n");
        client.finish();
        if round > 1 {
            running.wait_for_outputs(round - 1);
        }
    }
    running.wait_for_log("newer ones need its place");
    // The rest is given up after ten seconds.
    for mut stream in lingering {
        stream.set_read_timeout(Some(WAIT_MAX)).unwrap();
        let end = stream.read(&mut [0; 16]);
        let is_over = end.as_ref().is_ok_and(|length| *length == 0);
        assert!(
            is_over || end.as_ref().is_err_and(|error| error.kind() == ErrorKind::ConnectionReset),
            "{end:?}"
        );
    }
    let ended = running.stop().in_order();
    assert_eq!(ended.stdout, "(1,3)\n(1,3)\n");
    assert_eq!(ended.logs("turned away").len(), 0);
    let count = ended.logs("TLS handshake failed").len();
    assert!((8..=16).contains(&count), "{count} lines for 200 clients");
}

#[test]
fn a_renewed_certificate_needs_no_restart() {
    let Some(directory) = place() else { return };
    let directory = directory.path();
    let running = demo(directory, false).in_memory().start();
    let address = running.listening_at();
    let serves = |ca: &str| {
        let mut client = TlsClient::connect(address, directory, &["-CAfile", ca]);
        client.send("1 1\n");
        client.finish();
    };
    serves("ca.pem");
    serves("ca.pem");
    running.wait_for_outputs(1);
    // Half of the renewal first: the certificate before stays in force.
    std::fs::copy(directory.join("stranger.pem"), directory.join("server.pem")).unwrap();
    wait_until(
        || {
            serves("ca.pem");
            !running.logs("those before stay in force").is_empty()
        },
        || "the change is not seen".to_owned(),
    );
    std::fs::copy(directory.join("stranger.key"), directory.join("server.key")).unwrap();
    let outputs = running.output_count();
    wait_until(
        || {
            serves("other-ca.pem");
            running.output_count() > outputs + 1 && !running.logs("changed TLS files are in force").is_empty()
        },
        || "the renewed certificate is not shown".to_owned(),
    );
    running.stop().in_order();
}

#[test]
fn files_that_cannot_be_used_are_refused_at_the_start() {
    let Some(directory) = place() else { return };
    use std::os::unix::fs::PermissionsExt;
    let path = |name: &str| directory.path().join(name).display().to_string();
    let exposed = path("exposed.key");
    std::fs::copy(path("server.key"), &exposed).unwrap();
    std::fs::set_permissions(&exposed, std::fs::Permissions::from_mode(0o644)).unwrap();
    for (certificate, key, ca, reason) in [
        ("missing.pem", "server.key", "ca.pem", "cannot read"),
        ("server.key", "server.key", "ca.pem", "holds no certificate"),
        ("server.pem", "server.pem", "ca.pem", "server.pem"),
        ("server.pem", "client.key", "ca.pem", "cannot be used"),
        ("server.pem", "exposed.key", "ca.pem", "chmod 600"),
        ("server.pem", "server.key", "names", "holds no certificate"),
    ] {
        let demo = Demo::listen().in_memory().arg("--tls-cert").arg(path(certificate));
        let ended = demo.arg("--tls-key").arg(path(key)).arg("--tls-client-ca").arg(path(ca)).run();
        assert_eq!(ended.code, Some(78), "{}", ended.stderr);
        assert!(ended.stderr.contains(reason), "{reason:?} is not in {}", ended.stderr);
    }
}
