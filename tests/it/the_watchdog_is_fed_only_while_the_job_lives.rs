//! The service manager's watchdog is fed while the job lives, also one that is busy or waits for somebody else, and not
//! while an operator or the journal stands still.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use tidegate::{Collected, Environment, Settings, StopHandle, TcpConnect, ValueStateDescriptor};

use crate::support::{
    Demo, Latch, LineServer, ServiceManager, Volume, full_stream, join, send, skip, start_job, wait_until,
};

/// Fed each half of it.
const WATCHDOG: Duration = Duration::from_millis(400);
/// A value that the operator holds on to until the latch is open.
const HOLD: i64 = 666_666;

/// A job that sums, in a thread of its own, while `scenario` sends it readings.
fn while_it_runs(
    batch_timeout: Option<Duration>,
    scenario: impl FnOnce(&ServiceManager, &mut TcpStream, &Latch),
) {
    let (server, manager) = (LineServer::start(), ServiceManager::start(Some(WATCHDOG)));
    let (latch, stop) = (Latch::default(), StopHandle::new());
    let job = start_job({
        let (latch, stop, address) = (latch.clone(), stop.clone(), server.address().to_string());
        let notify = Some(manager.socket());
        let settings = Settings { batch_timeout, notify, journal: None, ..Settings::default() };
        move || {
            let environment = Environment::with_settings("watched", settings);
            environment
                .connect(TcpConnect::new(address))
                .parse::<(i64, i64)>()
                .key_by(|(key, _)| *key)
                .flat_map(ValueStateDescriptor::new("sum"), move |(key, value), sum, out| {
                    if value == HOLD {
                        latch.hold();
                    }
                    let total: i64 = sum.value().unwrap_or_default() + value;
                    sum.update(total);
                    out.collect((key, total));
                })
                .collect_into(&Collected::new());
            environment.execute_until(stop)
        }
    });
    let mut connection = server.accept();
    manager.wait_for("READY=1", None);
    scenario(&manager, &mut connection, &latch);
    stop.stop();
    join(job).expect("the job ends in order");
}

#[test]
fn also_of_a_busy_one() {
    while_it_runs(None, |manager, connection, _| {
        let lines: String = (0..1000).map(|value| format!("{} {value}\n", value % 10)).collect();
        let before = manager.told().len();
        let feedings = || manager.told()[before..].iter().filter(|message| *message == "WATCHDOG=1").count();
        let started = Instant::now();
        while feedings() < 4 && started.elapsed() < Duration::from_secs(30) {
            send(connection, &lines);
        }
        assert!(feedings() >= 4, "{:?}", manager.told());
    });
}

#[test]
fn also_while_an_operator_takes_the_time_it_has() {
    while_it_runs(Some(Duration::from_secs(60)), |manager, connection, latch| {
        send(connection, format!("1 {HOLD}\n"));
        wait_until(|| latch.came() == 1, || "the operator was not reached".to_owned());
        manager.wait_for_feedings(5);
        latch.open();
    });
}

#[test]
fn not_while_an_operator_hangs() {
    while_it_runs(None, |manager, connection, latch| {
        manager.wait_for_feedings(1);
        send(connection, format!("1 {HOLD}\n"));
        let stuck = manager.wait_for("STATUS=stuck: no answer from flat-map", None);
        // Nothing brings it back by itself.
        let since = Instant::now();
        wait_until(|| since.elapsed() > 2 * WATCHDOG, || "time stands still".to_owned());
        manager.assert_starved(stuck, manager.told().len());
        latch.open();
        let running = manager.wait_for("STATUS=running, 1 readings", Some(stuck));
        // Fed in the same look, right before it was said.
        manager.assert_starved(stuck, running - 1);
        manager.wait_for_feedings(2);
    });
}

#[test]
fn not_while_the_journal_cannot_commit() {
    let volume = match Volume::sized("ext4", "64M") {
        Ok(volume) => volume,
        Err(reason) => return skip("a disk that stands still", &reason),
    };
    let manager = ServiceManager::start_abstract(Some(WATCHDOG));
    let running = Demo::listen()
        .journaled("always")
        .checkpoint_dir(&volume.path().join("data"))
        .envs(manager.environment())
        .start();
    let mut connection = TcpStream::connect(running.listening_at()).unwrap();
    send(&mut connection, "1 10\n1 20\n");
    running.wait_for_outputs(1);
    manager.wait_for_feedings(1);
    let frozen = volume.freeze();
    send(&mut connection, "1 30\n");
    let stuck = manager.wait_for("STATUS=stuck: ", None);
    running.wait_for_log("the service manager's watchdog is not fed");
    let since = Instant::now();
    wait_until(|| since.elapsed() > 2 * WATCHDOG, || "time stands still".to_owned());
    manager.assert_starved(stuck, manager.told().len());
    drop(frozen);
    running.wait_for_outputs(2);
    running.wait_for_log("the service manager's watchdog is fed");
    manager.wait_for_feedings(2);
    assert_eq!(running.stop().in_order().stdout, "(1,15)\n(1,20)\n");
}

#[test]
fn also_while_nobody_reads_the_results() {
    let (stdout, reader) = full_stream();
    let (server, manager) = (LineServer::start(), ServiceManager::start(Some(WATCHDOG)));
    let demo = Demo::connect(server.address()).in_memory().stdout(stdout);
    let running = demo.envs(manager.environment()).start();
    let mut connection = server.accept();
    send(&mut connection, "1 10\n1 20\n");
    manager.wait_for("READY=1", None);
    manager.wait_for_feedings(6);
    assert!(running.logs("is not fed").is_empty(), "{:?}", running.logs(""));
    drop(reader);
}
