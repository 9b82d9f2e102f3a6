//! A timer of processing time fires when it is due, also when no reading comes: in a running job, in one that was stopped
//! and started again, after a rewind, and without a journal.

use std::path::Path;
use std::time::Duration;

use tidegate::{
    Backend, Collected, Collector, Environment, JobError, JobReport, KeyedContext, KeyedProcessFunction,
    OperatorError, RestartStrategy, Retry, Settings, StateError, StateRegistry, StopHandle, TcpConnect,
    TimeDomain, Timestamp, ValueState, ValueStateDescriptor,
};

use crate::support::{LineServer, PANIC_VALUE, join, send, start_job, wait_until};

/// Emits (key, how late) when a timer fires that a reading set this many milliseconds ahead.
#[derive(Debug, Clone)]
struct Later;

impl KeyedProcessFunction<i64, (i64, i64)> for Later {
    type Out = (i64, i64);
    type State = ValueState<i64>;

    fn open(&mut self, states: &mut StateRegistry) -> Result<Self::State, StateError> {
        states.value(&ValueStateDescriptor::new("set-for"))
    }

    fn process(
        &mut self,
        (_, ahead_ms): (i64, i64),
        set_for: &mut Self::State,
        context: &mut KeyedContext<'_, i64>,
        _out: &mut Collector<'_, (i64, i64)>,
    ) -> Result<(), OperatorError> {
        assert!(ahead_ms != PANIC_VALUE || set_for.value().is_some(), "panics once");
        if ahead_ms == PANIC_VALUE {
            return Ok(());
        }
        let time = Timestamp(context.processing_time().0 + ahead_ms);
        set_for.update(time.0);
        context.register_processing_time_timer(time);
        Ok(())
    }

    fn on_timer(
        &mut self,
        time: Timestamp,
        domain: TimeDomain,
        set_for: &mut Self::State,
        context: &mut KeyedContext<'_, i64>,
        out: &mut Collector<'_, (i64, i64)>,
    ) -> Result<(), OperatorError> {
        assert_eq!((domain, set_for.value()), (TimeDomain::ProcessingTime, Some(time.0)));
        assert!(context.processing_time() >= time);
        set_for.clear();
        out.collect((*context.key(), context.processing_time().0 - time.0));
        Ok(())
    }
}

struct Job {
    server: LineServer,
    collected: Collected,
    stop: StopHandle,
    thread: std::thread::JoinHandle<Result<JobReport, JobError>>,
}

impl Job {
    fn start(backend: Backend) -> Self {
        let (server, collected, stop) = (LineServer::start(), Collected::new(), StopHandle::new());
        let journal = Settings::default().journal.filter(|_| backend != Backend::Memory);
        let settings = Settings {
            parallelism: 2,
            backend,
            journal,
            checkpoint_interval: Duration::from_millis(20),
            restart: RestartStrategy::FixedDelay { attempts_max: 5, delay: Duration::from_millis(1) },
            ..Settings::default()
        };
        let thread = start_job({
            let (address, collected, stop) = (server.address(), collected.clone(), stop.clone());
            move || {
                let environment = Environment::with_settings("later", settings);
                environment
                    .connect(TcpConnect::new(address.to_string()).retry(Retry::For(Duration::ZERO)))
                    .parse::<(i64, i64)>()
                    .key_by(|(key, _)| *key)
                    .process(Later)
                    .collect_into(&collected);
                environment.execute_until(stop)
            }
        });
        Self { server, collected, stop, thread }
    }

    fn wait_for_timers(&self, count: usize) -> Vec<i64> {
        let fired = || self.collected.text().lines().count();
        wait_until(|| fired() >= count, || format!("{} of {count} timers fired", fired()));
        let text = self.collected.text();
        let keys = text.lines().map(|line| line[1..].split(',').next().unwrap().parse().unwrap());
        keys.collect()
    }

    fn stop(self) -> JobReport {
        self.stop.stop();
        join(self.thread).unwrap()
    }
}

fn file(directory: &Path) -> Backend {
    Backend::File { directory: directory.to_owned() }
}

#[test]
fn in_the_order_of_their_times() {
    let directory = tempfile::tempdir().unwrap();
    for backend in [Backend::Memory, file(directory.path())] {
        let job = Job::start(backend);
        let mut connection = job.server.accept();
        send(&mut connection, "1 400\n2 200\n3 0\n");
        assert_eq!(job.wait_for_timers(3), [3, 2, 1]);
        send(&mut connection, "1 50\n");
        assert_eq!(job.wait_for_timers(4), [3, 2, 1, 1]);
        job.stop();
    }
}

#[test]
fn in_a_job_that_was_stopped_before() {
    let directory = tempfile::tempdir().unwrap();
    let job = Job::start(file(directory.path()));
    let mut connection = job.server.accept();
    send(&mut connection, "1 60000000\n2 1000\n4 0\n");
    job.wait_for_timers(1);
    let text = job.collected.clone();
    job.stop();
    assert_eq!(text.text().lines().count(), 1, "the end of a job does not fire timers: {}", text.text());
    let job = Job::start(file(directory.path()));
    let _connection = job.server.accept();
    assert_eq!(job.wait_for_timers(1), [2]);
    job.stop();
}

#[test]
fn after_a_rewind() {
    let directory = tempfile::tempdir().unwrap();
    let job = Job::start(file(directory.path()));
    let mut connection = job.server.accept();
    send(&mut connection, "1 500\n2 300\n");
    // Without a value the key's reading panics, until it is skipped as poison.
    send(&mut connection, format!("5 {PANIC_VALUE}\n"));
    assert_eq!(job.wait_for_timers(2), [2, 1]);
    let report = job.stop();
    assert!(report.restarts >= 1, "{report:?}");
}
