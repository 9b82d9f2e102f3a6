//! A broker that refuses, is gone or does not answer: one clear line, then patience, and nothing else is lost.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::{Broker, Demo, Link, Running, certificates, passwords, wait_until};

const TLS: &str = "allow_anonymous true\ncafile DIR/ca.pem\ncertfile DIR/server.pem\nkeyfile DIR/server.key\n\
                   require_certificate true\n";

fn tls_demo(broker: &Broker, host: &str, ca: &str) -> Demo {
    let demo = Demo::new().journaled("always");
    let demo = demo.args(["--mqtt", &format!("mqtts://{host}:{}", broker.address().port())]);
    demo.arg("--mqtt-ca").arg(broker.directory().join(ca))
}

fn with_identity(demo: Demo, broker: &Broker) -> Demo {
    let demo = demo.arg("--mqtt-cert").arg(broker.directory().join("client.pem"));
    demo.arg("--mqtt-key").arg(broker.directory().join("client.key"))
}

/// Waits until the program has tried more than once; there is one line that says why, with `reason` in it.
fn refuses(demo: Demo, reason: &str) {
    let running = demo.arg("--verbose").start();
    wait_until(|| !running.logs("trying again").is_empty(), || "nothing was said".to_owned());
    running.wait_for_logs("DEBUG trying again", 2);
    let ended = running.stop().in_order();
    let log = ended.log("no connection to the broker");
    assert!(log.contains(reason), "{log}");
}

#[test]
fn tls_with_a_client_certificate_is_spoken_and_anything_less_is_refused() {
    let Some(broker) = Broker::start_with(TLS, certificates) else { return };
    let running = with_identity(tls_demo(&broker, "localhost", "ca.pem"), &broker).start();
    running.wait_for_log("connected: a new session");
    let path = |name: &str| broker.directory().join(name).display().to_string();
    let (ca, certificate, key) = (path("ca.pem"), path("client.pem"), path("client.key"));
    let tls = ["--cafile", &ca, "--cert", &certificate, "--key", &key, "-h", "localhost"];
    broker.publish_with(&[&tls[..], &["-t", "a", "-q", "1", "-l"]].concat(), "1 10\n1 20\n");
    running.wait_for_outputs(1);
    assert_eq!(running.stop().in_order().stdout, "(1,15)\n");
    refuses(tls_demo(&broker, "localhost", "ca.pem"), "ertificate");
    refuses(
        with_identity(tls_demo(&broker, "localhost", "other-ca.pem"), &broker),
        "not signed by a trusted CA",
    );
    refuses(with_identity(tls_demo(&broker, "127.0.0.1", "ca.pem"), &broker), "not for the host 127.0.0.1");
}

#[test]
fn an_expired_certificate_is_refused() {
    let configuration = TLS.replace("server", "expired");
    let second = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let Some(broker) = Broker::start_with(&configuration, certificates) else { return };
    // It is valid for the second it was made in.
    let made_in = second();
    wait_until(|| second() > made_in, || "the clock stands still".to_owned());
    refuses(with_identity(tls_demo(&broker, "localhost", "ca.pem"), &broker), "has expired");
}

#[test]
fn a_wrong_password_is_said_once_and_never_shown() {
    let prepare = |directory: &Path| passwords(directory, &["gateway"]);
    let configuration = "allow_anonymous false\npassword_file DIR/passwords\n";
    let Some(broker) = Broker::start_with(configuration, prepare) else { return };
    for version in ["5", "3.1.1"] {
        let demo = |name: &str| {
            let demo = Demo::new().args(["--mqtt", &broker.url(), "--mqtt-version", version]);
            demo.arg("--mqtt-credentials").arg(broker.directory().join(format!("gateway.{name}")))
        };
        let running = demo("right").start();
        running.wait_for_log("connected: a new session");
        running.stop().in_order();
        let running = demo("wrong").arg("--verbose").start();
        running.wait_for_logs("DEBUG trying again", 2);
        let ended = running.stop().in_order();
        let log = ended.log("no connection to the broker");
        assert!(log.contains("refuses the connection: "), "{log}");
        assert!(!ended.stderr.contains("canary-7"));
    }
}

#[test]
fn an_unsafe_or_malformed_command_line_is_refused_before_anything() {
    for (arguments, reason) in [
        (&["--mqtt", "mqtt://192.0.2.1"][..], "`insecure`"),
        (&["--mqtt", "mqtt://user:canary-7@localhost"], "in a file"),
        (&["--mqtt", "mqtt://localhost", "--topic", "a/#/b"], "last level"),
        (&["--mqtt", "mqtt://localhost", "--qos", "1", "--exactness", "qos2"], "needs QoS 2"),
    ] {
        let ended = Demo::new().args(arguments.iter().copied()).run();
        assert_eq!(ended.code, Some(78), "{}", ended.stderr);
        assert!(ended.stderr.contains(reason), "{}", ended.stderr);
        assert!(!ended.stderr.contains("canary-7"), "{}", ended.stderr);
    }
}

fn start(url: &str) -> Running {
    Demo::new().journaled("always").args(["--mqtt", url, "--client-id", "gateway"]).start()
}

#[test]
fn a_broker_that_keeps_its_session_is_read_on_and_one_that_forgets_is_reported() {
    let persistence = "allow_anonymous true\npersistence true\n";
    for (configuration, expected) in
        [(persistence, "the session is resumed"), ("allow_anonymous true\n", "has forgotten the session")]
    {
        let Some(mut broker) = Broker::start_with(configuration, |_| {}) else { return };
        let running = start(&broker.url());
        running.wait_for_log("connected: a new session");
        broker.publish("a", 1, "1 10\n1 20\n");
        running.wait_for_outputs(1);
        broker.restart();
        running.wait_for_log(expected);
        running.wait_for_log("no connection to the broker");
        // Subscribed again, whatever the broker knows.
        let publish = || broker.publish("a", 1, "1 30\n");
        publish();
        wait_until(
            || {
                let is_there = running.output_count() >= 2;
                if !is_there && expected.contains("forgotten") {
                    publish();
                }
                is_there
            },
            || "nothing came after the restart".to_owned(),
        );
        let ended = running.stop().in_order();
        assert!(ended.stdout.starts_with("(1,15)\n(1,20)\n"), "{}", ended.stdout);
    }
}

#[test]
fn a_link_that_swallows_everything_is_left_and_what_was_published_meanwhile_comes() {
    let Some(broker) = Broker::start() else { return };
    let link = Link::to(broker.address());
    let running = Demo::new()
        .journaled("always")
        .args(["--mqtt", &link.url(), "--client-id", "gateway", "--keep-alive", "1s"])
        .start();
    running.wait_for_log("connected: a new session");
    broker.publish("a", 1, "1 10\n1 20\n");
    running.wait_for_outputs(1);
    link.swallow(true);
    broker.publish("a", 1, "1 30\n");
    running.wait_for_log("the broker does not answer");
    link.cut();
    link.swallow(false);
    running.wait_for_outputs(2);
    assert_eq!(running.stop().in_order().stdout, "(1,15)\n(1,20)\n");
}

#[test]
fn giant_empty_and_retained_messages_harm_nothing() {
    let Some(broker) = Broker::start() else { return };
    for version in ["5", "3.1.1"] {
        for topic in 0..200 {
            let (topic, payload) = (format!("retained/{topic}"), format!("{topic} 1"));
            broker.publish_with(&["-r", "-q", "1", "-t", &topic, "-s"], &payload);
        }
        let running = Demo::new()
            .journaled("always")
            .args(["--mqtt", &broker.url(), "--mqtt-version", version])
            .args(["--line-max", "1KiB"])
            .start();
        running.wait_for_log("connected: a new session");
        for qos in ["0", "1", "2"] {
            broker.publish_with(&["-t", "giant", "-q", qos, "-s"], &"x".repeat(1 << 20));
            broker.publish_with(&["-t", "long", "-q", qos, "-s"], &"x".repeat(1025));
            broker.publish_with(&["-t", "empty", "-q", qos, "-n"], "");
        }
        broker.publish("good", 1, "7 1\n7 1\n7 1\n");
        running.wait_for_outputs(3);
        let ended = running.stop().in_order();
        // The retained reading of the key 7, and the three behind it.
        assert_eq!(ended.stdout, "(7,1)\n(7,1)\n(7,1)\n");
        assert_eq!(ended.logs("connected: ").len(), 1, "{}", ended.stderr);
        let count = |cause: &str| -> u64 {
            ended.rejected().iter().filter(|(_, found, _)| found == cause).map(|(.., count)| *count).sum()
        };
        assert_eq!((count("message-too-long"), count("empty")), (6, 3), "{}", ended.stderr);
    }
}
