//! A device is replaced while it is away. When it comes back it ships no more, says so at once and in its last words, and its
//! job goes on.

use crate::support::{Averages, RemotePlace, field, send_readings, wait_until_shipped};

#[test]
fn and_its_job_goes_on() {
    let place = RemotePlace::new();
    let old = place.demo().start();
    let mut model = Averages::default();
    let mut take_in = |key| {
        let readings = [(key, 1), (key, 2)];
        model.add_all(&readings);
        send_readings(&old, &readings, &model);
    };
    take_in(1);
    wait_until_shipped(&old);
    let line = old.logs("checkpoints are shipped").remove(0);
    assert_eq!(
        (field(&line, "incarnation"), field(&line, "seen_generation")),
        ("1".into(), "0".into()),
        "{line}"
    );
    assert!(line.contains("creates only what is absent"), "{line}");

    let elsewhere = place.path().join("elsewhere");
    let new = place.demo_at(&elsewhere, &place.remote()).start();
    let line = new.wait_for_log("checkpoints are shipped");
    assert_eq!(field(&line, "incarnation"), "2", "{line}");

    take_in(2);
    old.wait_for_log("another device ships under this identity: this one ships no more");
    take_in(3);
    let old = old.stop().in_order();
    assert_eq!(old.stdout, model.outputs);
    old.log("another device ships under this one's name");
    // Nor does it after a restart.
    let again = place.demo().start();
    again.wait_for_log("another device ships under this identity");
    again.stop().in_order().log("another device ships under this one's name");
    let _ended = new.stop().in_order();
}
