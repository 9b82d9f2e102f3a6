//! A broker that will not have the sink's connection is one clear line, and outputs wait until it does; one that refuses a topic
//! costs the outputs of that topic, counted, and nothing else.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::{
    Averages, Broker, Demo, Random, Subscriber, certificates, field, passwords, send, wait_until,
};

const KEYS: usize = 5;
const READINGS: usize = 100;
/// The gateway may not write to its topic.
const FORBIDDEN_KEY: i64 = 99;

/// TLS with certificates on both sides, a password, and what each user may do.
const CONFIGURATION: &str = "allow_anonymous false\npassword_file DIR/passwords\nacl_file DIR/rights\ncafile DIR/ca.pem\n\
                             certfile DIR/server.pem\nkeyfile DIR/server.key\nrequire_certificate true\n";
const RIGHTS: &str = "user gateway\ntopic deny averages/99\ntopic write averages/#\n\n\
                      user observer\ntopic read averages/#\ntopic readwrite probe\n";

fn broker() -> Option<Broker> {
    let mut broker = Broker::start_with(CONFIGURATION, |directory| {
        certificates(directory);
        passwords(directory, &["gateway", "observer"]);
        std::fs::write(directory.join("rights"), RIGHTS).unwrap();
    })?;
    let path = |name: &str| broker.directory().join(name).display().to_string();
    let (ca, certificate, key) = (path("ca.pem"), path("client.pem"), path("client.key"));
    let tls = ["-h", "localhost", "--cafile", &ca, "--cert", &certificate, "--key", &key];
    let arguments = [&tls[..], &["-u", "observer", "-P", "right"]].concat();
    broker.reach_with(&arguments);
    Some(broker)
}

/// What the sink shows the broker.
#[derive(Clone, Copy)]
struct Shown {
    ca: &'static str,
    credentials: &'static str,
    has_certificate: bool,
}

const RIGHT: Shown = Shown { ca: "ca.pem", credentials: "gateway.right", has_certificate: true };

fn publishing(broker: &Broker, data: &Path, topic: &str, shown: Shown) -> Demo {
    let url = format!("mqtts://localhost:{}", broker.address().port());
    let file = |name: &str| broker.directory().join(name);
    let demo = Demo::listen().journaled("always").checkpoint_dir(data).arg("--verbose");
    let demo = demo.args(["--publish", &url, "--publish-topic", topic]);
    let demo = demo.arg("--publish-ca").arg(file(shown.ca));
    let demo = demo.arg("--publish-credentials").arg(file(shown.credentials));
    if !shown.has_certificate {
        return demo;
    }
    demo.arg("--publish-cert").arg(file("client.pem")).arg("--publish-key").arg(file("client.key"))
}

fn text(readings: &[(i64, i64)]) -> String {
    readings.iter().map(|(key, value)| format!("{key} {value}\n")).collect()
}

#[test]
fn for_its_certificate_or_ours_or_the_password() {
    let Some(mut broker) = broker() else { return };
    let copy = |from: &str, to: &str| {
        for kind in ["pem", "key"] {
            let path = |name: &str| broker.directory().join(format!("{name}.{kind}"));
            std::fs::copy(path(from), path(to)).unwrap();
        }
    };
    copy("server", "valid");
    copy("expired", "server");
    // It is valid for the second it was made in.
    let second = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let made_in = second();
    wait_until(|| second() > made_in, || "the clock stands still".to_owned());
    let data = tempfile::tempdir().unwrap();
    let mut random = Random::seeded();
    let mut readings = Vec::new();
    broker.restart();
    let cases = [
        ("its certificate has expired", RIGHT, "has expired"),
        ("a CA we do not trust", Shown { ca: "other-ca.pem", ..RIGHT }, "not signed by a trusted CA"),
        ("no certificate of ours", Shown { has_certificate: false, ..RIGHT }, "ertificate"),
        ("a wrong password", Shown { credentials: "gateway.wrong", ..RIGHT }, "refuses: "),
    ];
    for (number, (what, shown, reason)) in cases.into_iter().enumerate() {
        if number == 1 {
            for kind in ["pem", "key"] {
                let path = |name: &str| broker.directory().join(format!("{name}.{kind}"));
                std::fs::copy(path("valid"), path("server")).unwrap();
            }
            broker.restart();
        }
        let running = publishing(&broker, data.path(), "averages/{0}", shown).start();
        let mut client = std::net::TcpStream::connect(running.listening_at()).unwrap();
        let more: Vec<_> = (0..READINGS).map(|_| random.reading(KEYS)).collect();
        send(&mut client, text(&more));
        readings.extend(more);
        drop(client);
        running.wait_for_log("outputs wait in the outbox: trying again");
        running.wait_for_logs("DEBUG trying again", 2);
        let ended = running.stop().in_order();
        let log = ended.log("outputs wait in the outbox: trying again");
        assert!(log.contains(reason), "{what}: {log}");
        assert!(!ended.stderr.contains("canary-7"), "{what}");
        let expected = Averages::after(&readings).outputs.lines().count();
        let left = ended.log("left the outbox");
        assert_eq!(field(&left, "waiting"), expected.to_string(), "{what}: {left}");
        assert_eq!(field(&left, "delivered"), "0", "{what}: {left}");
    }
    let subscriber = Subscriber::start_for(&broker, "averages/#");
    let running = publishing(&broker, data.path(), "averages/{0}", RIGHT).start();
    let expected: Vec<String> = Averages::after(&readings).outputs.lines().map(str::to_owned).collect();
    subscriber.wait_for_count(expected.len());
    let left = running.stop().in_order().log("left the outbox");
    assert_eq!(field(&left, "waiting"), "0", "{left}");
    assert_eq!(field(&left, "delivered"), expected.len().to_string(), "{left}");
    let payloads: Vec<String> = subscriber.received().into_iter().map(|message| message.payload).collect();
    assert_eq!(payloads, expected);
}

/// Mosquitto closes the connection over each refusal in some versions: what was under way besides goes again.
#[test]
fn for_a_topic_it_may_not_write() {
    let Some(broker) = broker() else { return };
    let subscriber = Subscriber::start_for(&broker, "averages/#");
    let data = tempfile::tempdir().unwrap();
    let running = publishing(&broker, data.path(), "averages/{0}", RIGHT).start();
    let mut client = std::net::TcpStream::connect(running.listening_at()).unwrap();
    let keys = [1, FORBIDDEN_KEY, 1, FORBIDDEN_KEY, 1, FORBIDDEN_KEY, 1];
    let readings: Vec<(i64, i64)> = keys.into_iter().zip(1..).collect();
    send(&mut client, text(&readings));
    drop(client);
    let outputs = Averages::after(&readings).outputs;
    let is_refused = |output: &&str| output.starts_with(&format!("({FORBIDDEN_KEY},"));
    let (refused, allowed): (Vec<&str>, Vec<&str>) = outputs.lines().partition(is_refused);
    assert_eq!((refused.len(), allowed.len()), (2, 3));
    // The last is allowed: when it has come each of those before has been answered.
    let received = subscriber.wait_for("the last", |received| {
        received.iter().any(|message| Some(&message.payload.as_str()) == allowed.last())
    });
    running.wait_for_log("an output cannot be delivered and is passed over");
    let ended = running.stop().in_order();
    let left = ended.log("left the outbox");
    let figures = ["waiting", "delivered", "refused"].map(|name| field(&left, name));
    assert_eq!(figures, ["0", "3", "2"], "{}", ended.stderr);
    assert_eq!(ended.logs("an output cannot be delivered").len(), 1, "{}", ended.stderr);
    let mut payloads: Vec<String> = received.into_iter().map(|message| message.payload).collect();
    // With QoS 1 one whose acknowledgement was lost with the connection comes twice.
    payloads.dedup();
    assert_eq!(payloads, allowed, "{}", ended.stderr);
}
