//! An outbox at its limit: the oldest are dropped or folded and counted, or the job waits; delivered outputs that are kept can be
//! sent again.

use crate::support::{Broker, Demo, Subscriber, field, tidegate};

fn lines(count: usize) -> String {
    (0..count).map(|number| format!("{} {number}\n", number % 5)).collect()
}

#[test]
fn the_oldest_are_dropped_or_folded_and_counted() {
    let Some(mut broker) = Broker::start() else { return };
    broker.stop();
    for (policy, figure) in [("drop-oldest", "dropped"), ("summarise", "folded")] {
        let directory = tempfile::tempdir().unwrap();
        let ended = Demo::run_on(lines(150_000), |demo| {
            let demo = demo.journaled("off").checkpoint_dir(directory.path());
            demo.args(["--publish", &broker.url(), "--outbox-max", "1MiB", "--outbox-full", policy])
        });
        let left = ended.log("left the outbox");
        let number = |name: &str| field(&left, name).parse::<u64>().unwrap();
        assert!(number("bytes") <= 1 << 20, "{left}");
        assert!(number(figure) > 0, "{left}");
        if policy == "drop-oldest" {
            assert_eq!(number("waiting") + number("dropped"), 149_995);
        } else {
            assert_eq!(number("dropped"), 0, "{left}");
        }
    }
}

#[test]
fn a_job_that_blocks_goes_on_when_the_broker_comes() {
    let Some(mut broker) = Broker::start() else { return };
    broker.stop();
    let directory = tempfile::tempdir().unwrap();
    let server = crate::support::LineServer::start();
    let demo = Demo::connect(server.address()).journaled("off").checkpoint_dir(directory.path());
    let running = demo
        .args([
            "--publish",
            &broker.url(),
            "--publish-qos",
            "0",
            "--outbox-max",
            "1MiB",
            "--outbox-full",
            "block",
        ])
        .args(["--backlog-rate", "1000000"])
        .start();
    let serving = server.serve(lines(150_000));
    running.wait_for_log("results wait");
    broker.restart();
    let ended = running.wait().in_order();
    serving.join().unwrap();
    let left = ended.log("left the outbox");
    assert_eq!((field(&left, "waiting"), field(&left, "dropped")), ("0".to_owned(), "0".to_owned()));
}

#[test]
fn what_was_delivered_can_be_sent_again() {
    let Some(broker) = Broker::start() else { return };
    let subscriber = Subscriber::start(&broker);
    let directory = tempfile::tempdir().unwrap();
    let publishing = |demo: Demo| {
        let demo = demo.journaled("always").checkpoint_dir(directory.path());
        demo.args(["--publish", &broker.url(), "--outbox-retention", "1h"])
    };
    Demo::run_on("1 1\n1 3\n1 5\n", publishing);
    let first = subscriber.wait_for("both outputs", |received| received.len() == 2);
    let place = directory.path().to_str().unwrap();
    let listed = tidegate(["outbox", "list", place]).in_order();
    assert!(
        listed.stdout.contains("delivered") && listed.stdout.contains("0 outputs wait"),
        "{}",
        listed.stdout
    );
    let (job, incarnation, offset, index) = &first[1].id;
    let id = format!("{job}/{incarnation}/{offset}/{index}");
    let resent = tidegate(["outbox", "resend", place, "--from", &id]).in_order();
    assert!(resent.stdout.contains("1 outputs wait again"), "{}", resent.stdout);
    Demo::run_on("", publishing);
    let received = subscriber.wait_for("one output again", |received| received.len() == 3);
    assert_eq!((&received[2].id, &received[2].payload), (&first[1].id, &first[1].payload));
}
