//! An operator that does not return costs its thread, not the job: everything else goes on elsewhere.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidegate::{
    Backend, Collected, Environment, JobError, RecordedBatch, RecordedInput, RestartStrategy, Retry,
    Settings, StopHandle, TcpConnect, ValueStateDescriptor,
};

use crate::support::{Averages, Latch, LineServer, join, send, start_child, start_job, wait_until};

/// A value operators hang on.
const HANG: i64 = 666_666;
/// A value operators panic on.
const PANIC: i64 = 777_777;
/// Set in the process that ends while a thread of it is stuck.
const CHILD: &str = "TIDEGATE_TEST_STUCK_CHILD";
const TIMEOUT: Duration = Duration::from_millis(200);

fn settings() -> Settings {
    Settings {
        threads: 2,
        parallelism: 2,
        checkpoint_interval: Duration::from_millis(10),
        restart: RestartStrategy::FixedDelay { attempts_max: 50, delay: Duration::from_millis(1) },
        batch_timeout: Some(TIMEOUT),
        ..Settings::default()
    }
}

fn unjournaled() -> Settings {
    Settings { journal: None, ..settings() }
}

/// The running average of what comes over `source`; every `HANG` goes to `hang`.
fn averages(
    environment: &Environment,
    source: impl FnOnce(&Environment) -> tidegate::TextStream,
    hang: impl FnMut() + Clone + Send + 'static,
    collected: &Collected,
) {
    source(environment)
        .parse::<(i64, i64)>()
        .key_by(|(key, _)| *key)
        .flat_map(ValueStateDescriptor::new("avg"), {
            let mut hang = hang;
            move |(key, value), average, out| {
                assert!(value != PANIC, "cannot bear it");
                if value == HANG {
                    hang();
                }
                let (count, sum): (i64, i64) = average.value().unwrap_or_default();
                average.update((count + 1, sum + value));
                if count >= 1 {
                    out.collect((key, (sum + value) / (count + 1)));
                }
            }
        })
        .collect_into(collected);
}

fn recorded(lines: impl IntoIterator<Item = Vec<String>>) -> RecordedInput {
    let batches = lines.into_iter().map(|lines| RecordedBatch { stamp_ms: 0, lines });
    RecordedInput::new(batches.collect::<Vec<_>>())
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn the_connection_is_kept_and_new_readings_are_processed() {
    let server = LineServer::start();
    let (latch, collected, stop) = (Latch::default(), Collected::new(), StopHandle::new());
    let job = start_job({
        let (address, latch, collected) = (server.address(), latch.clone(), collected.clone());
        let stop = stop.clone();
        move || {
            let environment = Environment::with_settings("kept", unjournaled());
            let source = TcpConnect::new(address.to_string()).retry(Retry::Forever);
            averages(&environment, |from| from.connect(source), move || latch.hold(), &collected);
            environment.execute_until(stop)
        }
    });
    let mut connection = server.accept();
    send(&mut connection, format!("1 {HANG}\n"));
    wait_until(|| latch.came() == 1, || "the operator was not reached".to_owned());
    // Without a journal the batch is lost with the rewind, and no other batch fails.
    let sent = std::cell::Cell::new(0);
    wait_until(
        || {
            send(&mut connection, "2 10\n");
            sent.set(sent.get() + 1);
            collected.text().contains("(2,10)\n")
        },
        || format!("nothing comes of {} readings", sent.get()),
    );
    assert!(!server.has_another_client(), "the connection was kept");
    // The stuck thread does not keep the job from ending.
    stop.stop();
    let report = join(job).expect("the job ends in order");
    assert!(report.hangs >= 1, "{report:?}");
    assert_eq!((latch.came(), latch.left()), (1, 0));
    latch.open();
}

#[test]
fn what_returns_late_is_void() {
    let directory = tempfile::tempdir().unwrap();
    let (latch, collected) = (Latch::default(), Collected::new());
    let readings: Vec<(i64, i64)> = (0..200).map(|index| (index % 5, index)).collect();
    let mut lines: Vec<Vec<String>> = readings
        .chunks(10)
        .map(|some| some.iter().map(|(key, value)| format!("{key} {value}")).collect())
        .collect();
    lines[3].push(format!("1 {HANG}"));
    let has_hung = Arc::new(AtomicBool::new(false));
    // The first time it does not return until the job has gone on; the second time it does, and lets the first one go.
    let hang = {
        let latch = latch.clone();
        move || {
            if !has_hung.swap(true, Ordering::SeqCst) {
                return latch.hold();
            }
            latch.open();
            wait_until(|| latch.left() == 1, || "the first one does not return".to_owned());
        }
    };
    let job = start_job({
        let collected = collected.clone();
        let backend = Backend::File { directory: directory.path().to_owned() };
        move || {
            let environment = Environment::with_settings("late", Settings { backend, ..settings() });
            averages(&environment, |from| from.recorded(recorded(lines)), hang, &collected);
            environment.execute()
        }
    });
    let report = join(job).expect("the job ends in order");
    let mut all = readings;
    all.insert(40, (1, HANG));
    assert_eq!(sorted(&collected.text()), sorted(&Averages::after(&all).outputs), "{report:?}");
    assert!(report.hangs >= 1 && report.readings_lost == 0, "{report:?}");
    assert!(report.rejected.is_empty(), "{report:?}");
}

#[test]
fn while_another_one_panics() {
    let directory = tempfile::tempdir().unwrap();
    let (latch, collected) = (Latch::default(), Collected::new());
    // Keys on all subtasks, so that one hangs while another one panics and the job rewinds.
    let good: Vec<(i64, i64)> = (0..40).map(|index| (index % 8, index)).collect();
    let mut lines: Vec<String> = good.iter().map(|(key, value)| format!("{key} {value}")).collect();
    lines.insert(20, format!("3 {HANG}"));
    let mut panicking = vec![format!("0 {PANIC}"), format!("4 {PANIC}")];
    panicking.append(&mut lines);
    let job = start_job({
        let (latch, collected) = (latch.clone(), collected.clone());
        let backend = Backend::File { directory: directory.path().to_owned() };
        move || {
            let environment = Environment::with_settings("both", Settings { backend, ..settings() });
            averages(
                &environment,
                |from| from.recorded(recorded([panicking])),
                move || latch.hold(),
                &collected,
            );
            environment.execute()
        }
    });
    let report = join(job).expect("the job ends in order");
    assert_eq!(sorted(&collected.text()), sorted(&Averages::after(&good).outputs), "{report:?}");
    assert_eq!(report.rejected.values().sum::<u64>(), 3, "{report:?}");
    let kept = std::fs::read_to_string(directory.path().join("both/dead-letter.jsonl")).unwrap();
    let texts: Vec<String> =
        ["0 777777", "3 666666", "4 777777"].map(|text| format!(r#""text":"{text}""#)).into();
    assert!(texts.iter().all(|text| kept.contains(text)) && kept.lines().count() == 3, "{kept}");
    latch.open();
}

#[test]
fn but_not_for_ever() {
    let (latch, collected) = (Latch::default(), Collected::new());
    let job = start_job({
        let latch = latch.clone();
        move || {
            let settings = Settings { batch_timeout: Some(Duration::from_millis(40)), ..unjournaled() };
            let environment = Environment::with_settings("stuck", settings);
            let lines = std::iter::repeat_n(vec![format!("1 {HANG}")], 200);
            averages(&environment, |from| from.recorded(recorded(lines)), move || latch.hold(), &collected);
            environment.execute()
        }
    });
    let error = join(job).expect_err("too many threads are stuck");
    let JobError::ThreadsStuck { threads, .. } = &error else { panic!("another error: {error}") };
    assert!(*threads > 8, "{error}");
    assert!(error.to_string().contains("flat-map-2"), "{error}");
    latch.open();
}

#[test]
fn unless_the_strategy_is_to_give_up() {
    let latch = Latch::default();
    let job = start_job({
        let latch = latch.clone();
        move || {
            let settings = Settings { restart: RestartStrategy::None, ..unjournaled() };
            let environment = Environment::with_settings("strict", settings);
            let source = recorded([vec![format!("1 {HANG}")]]);
            averages(&environment, |from| from.recorded(source), move || latch.hold(), &Collected::new());
            environment.execute()
        }
    });
    let error = join(job).expect_err("the first failure ends it");
    assert!(matches!(&error, JobError::RestartsExhausted { failures: 1, .. }), "another error: {error}");
    assert!(error.to_string().contains("did not return within 200ms"), "{error}");
    latch.open();
}

/// A job whose operator never returns, asked to stop as soon as it hangs.
fn stop_while_it_hangs() {
    let directory = tempfile::tempdir().unwrap();
    let server = LineServer::start();
    let (hangs, stop, collected) = (Arc::new(AtomicBool::new(false)), StopHandle::new(), Collected::new());
    let job = start_job({
        let (address, collected, hangs, stop) =
            (server.address(), collected.clone(), Arc::clone(&hangs), stop.clone());
        let backend = Backend::File { directory: directory.path().to_owned() };
        move || {
            let environment = Environment::with_settings("stopped", Settings { backend, ..settings() });
            let source = TcpConnect::new(address.to_string()).retry(Retry::Forever);
            let hang = move || loop {
                hangs.store(true, Ordering::SeqCst);
                std::thread::park();
            };
            averages(&environment, |from| from.connect(source), hang, &collected);
            environment.execute_until(stop)
        }
    });
    let mut connection = server.accept();
    send(&mut connection, format!("1 10\n1 {HANG}\n1 20\n"));
    wait_until(|| hangs.load(Ordering::SeqCst), || "the operator was not reached".to_owned());
    stop.stop();
    let report = join(job).expect("the job ends in order");
    assert_eq!(collected.text(), "(1,15)\n", "{report:?}");
    assert!(report.hangs >= 3 && report.checkpoints_completed >= 1, "{report:?}");
}

#[test]
fn a_process_that_is_asked_to_stop_drains_and_ends() {
    if std::env::var_os(CHILD).is_some() {
        return stop_while_it_hangs();
    }
    // The stuck threads end with their process, here as in a program.
    let name = "a_hanging_operator_does_not_hang_the_job::a_process_that_is_asked_to_stop_drains_and_ends";
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture"]).env(CHILD, "1").stdout(Stdio::null());
    let mut child = start_child(&mut command).unwrap();
    let mut status = None;
    wait_until(
        || {
            status = child.try_wait().unwrap();
            status.is_some()
        },
        || "the process does not end".to_owned(),
    );
    assert!(status.is_some_and(|status| status.success()), "{status:?}");
}
