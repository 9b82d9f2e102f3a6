//! A process with timers of both clocks is killed at any instant, again and again, and its wall clock is moved while it is
//! down and while it runs: each timer fires once, none early.
//!
//! The process is this test program itself, called for [`program`] alone.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidegate::{
    Acknowledge, Backend, Collector, Environment, JournalSettings, JournalSync, KeyedContext,
    KeyedProcessFunction, MapState, MapStateDescriptor, OperatorError, Settings, StateError, StateRegistry,
    TcpListen, TimeDomain, Timestamp, WatermarkStrategy,
};

use crate::support::{
    Demo, Random, Running, WallClock, send_carefully, tidegate, wait_until, wait_until_within,
};

const JOB: &str = "alarms";
const KEYS: i64 = 40;
const WINDOW_MS: i64 = 100;
const READINGS: usize = 30_000;
const KILLS: usize = 25;
const KILL_INTERVAL: Duration = Duration::from_millis(60);
/// Together the kills take less time than the sender's pauses, so that every kill comes before the last line.
const PACE: Duration = Duration::from_millis(2);
/// Longest time a reading's timer of processing time is set ahead: some are due while no process runs.
const AHEAD_MS_MAX: usize = 300;
/// Far above what a loaded machine needs to take the lines behind the last kill.
const DRAIN_MAX: Duration = Duration::from_secs(180);
const HOUR_MS: i64 = 60 * 60 * 1000;
const DAY_SECONDS: i64 = 24 * 60 * 60;

/// What happened: clock (1 processing time, 2 event time), key, and
/// for the timer of a reading: its number and how many milliseconds late it fired;
/// for the end of a window: its time and the sum of the numbers in it.
type Happened = (i64, i64, i64, i64);

/// Of each reading (number, event time, milliseconds ahead) two timers: one of processing time as far ahead as it says, and
/// one for the end of its window of event time.
#[derive(Debug, Clone)]
struct Alarms;

impl KeyedProcessFunction<i64, (i64, i64, i64)> for Alarms {
    type Out = Happened;
    /// By time: the readings that wait for it, and the sums of windows that end at it.
    type State = (MapState<i64, Vec<i64>>, MapState<i64, i64>);

    fn open(&mut self, states: &mut StateRegistry) -> Result<Self::State, StateError> {
        Ok((
            states.map(&MapStateDescriptor::new("waiting"))?,
            states.map(&MapStateDescriptor::new("windows"))?,
        ))
    }

    fn process(
        &mut self,
        (number, time, ahead_ms): (i64, i64, i64),
        (waiting, windows): &mut Self::State,
        context: &mut KeyedContext<'_, i64>,
        _out: &mut Collector<'_, Happened>,
    ) -> Result<(), OperatorError> {
        let due = Timestamp(context.processing_time().0 + ahead_ms);
        let mut numbers = waiting.get(&due.0).unwrap_or_default();
        numbers.push(number);
        waiting.put(&due.0, numbers);
        context.register_processing_time_timer(due);
        let end = window_end(time);
        windows.put(&end, windows.get(&end).unwrap_or(0) + number);
        context.register_event_time_timer(Timestamp(end));
        Ok(())
    }

    fn on_timer(
        &mut self,
        time: Timestamp,
        domain: TimeDomain,
        (waiting, windows): &mut Self::State,
        context: &mut KeyedContext<'_, i64>,
        out: &mut Collector<'_, Happened>,
    ) -> Result<(), OperatorError> {
        let key = *context.key();
        match domain {
            TimeDomain::ProcessingTime => {
                let late = context.processing_time().0 - time.0;
                for number in waiting.get(&time.0).expect("a timer that was not set, or fires again") {
                    out.collect((1, key, number, late));
                }
                waiting.remove(&time.0);
            }
            TimeDomain::EventTime => {
                let sum = windows.get(&time.0).expect("a window that was not opened, or ends again");
                out.collect((2, key, time.0, sum));
                windows.remove(&time.0);
            }
        }
        Ok(())
    }
}

fn window_end(time: i64) -> i64 {
    time / WINDOW_MS * WINDOW_MS + WINDOW_MS
}

/// Where the job listens, its files, and its backend: set for the process that is to be killed.
const ADDRESS: &str = "TIDEGATE_ALARMS_ADDRESS";
const DIRECTORY: &str = "TIDEGATE_ALARMS_DIRECTORY";
const BACKEND: &str = "TIDEGATE_ALARMS_BACKEND";

#[test]
#[ignore = "the process the others start and kill"]
fn program() {
    let Ok(address) = std::env::var(ADDRESS) else { return };
    let directory = PathBuf::from(std::env::var_os(DIRECTORY).unwrap());
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    let data = directory.join("data");
    let backend = match &*std::env::var(BACKEND).unwrap() {
        "rocksdb" => Backend::RocksDb { directory: data.clone() },
        "sled" => Backend::Sled { directory: data.clone() },
        _ => Backend::File { directory: data.clone() },
    };
    let settings = Settings {
        backend,
        journal: Some(JournalSettings { sync: JournalSync::Always, ..JournalSettings::default() }),
        checkpoint_interval: Duration::from_millis(30),
        control: Some(data),
        ..Settings::default()
    };
    let environment = Environment::with_settings(JOB, settings);
    environment
        .listen(TcpListen::new(address.parse().unwrap()).acknowledge(Acknowledge::Lines))
        .parse::<(i64, i64, i64)>()
        .assign_timestamps_and_watermarks(WatermarkStrategy::monotonous(), |(_, time, _)| Timestamp(*time))
        .key_by(|(number, ..)| number % KEYS)
        .process(Alarms)
        .write_to_file(directory.join("results"));
    environment.execute().unwrap();
}

/// The process with its files, one life after the other.
struct Job<'a> {
    directory: tempfile::TempDir,
    backend: &'a str,
    clock: Option<&'a WallClock>,
    address: SocketAddr,
    running: Option<Running>,
    acknowledged: AtomicU64,
}

impl<'a> Job<'a> {
    /// Its first life. `host` is an address no other test uses, for the port to be there in the next ones.
    fn start(host: &str, backend: &'a str, clock: Option<&'a WallClock>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let address = format!("{host}:0").parse().unwrap();
        let acknowledged = AtomicU64::new(0);
        let mut job = Self { directory, backend, clock, address, running: None, acknowledged };
        let running = job.spawn();
        job.address = running.listening_at();
        job.running = Some(running);
        job
    }

    fn spawn(&self) -> Running {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let (_, module) = module_path!().split_once("::").unwrap();
        command.args(["--ignored", "--nocapture", "--exact", &format!("{module}::program")]);
        command.env(ADDRESS, self.address.to_string());
        command.env(DIRECTORY, self.directory.path()).env(BACKEND, self.backend);
        Demo::of(command).envs(self.clock.into_iter().flat_map(WallClock::environment)).start()
    }

    fn kill(&mut self) {
        self.running.take().unwrap().kill();
    }

    fn kill_and_start_again(&mut self) {
        self.kill();
        self.running = Some(self.spawn());
    }

    /// Sends what is not acknowledged of `lines`, over as many lives as it takes.
    fn send(address: SocketAddr, lines: &[String], pace: Duration, acknowledged: &AtomicU64) {
        while acknowledged.load(Ordering::SeqCst) < lines.len() as u64 {
            send_carefully(address, "boiler-7", lines, pace, acknowledged);
        }
    }

    /// The result lines so far. A new life may take some back, and writes the same again.
    fn results(&self) -> Vec<Happened> {
        let text = std::fs::read_to_string(self.directory.path().join("results")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |last| &text[..last]);
        whole.lines().map(parse).collect()
    }

    /// Numbers of the readings whose timers have fired, in that order.
    fn fired(&self) -> Vec<i64> {
        self.results().iter().filter(|result| result.0 == 1).map(|result| result.2).collect()
    }

    fn wait_for_fired(&self, expected: &[i64]) {
        wait_until(|| self.fired() == expected, || format!("fired {:?}, not {expected:?}", self.fired()));
    }

    /// Ends it in order; returns all results.
    fn stop(mut self) -> Vec<Happened> {
        let running = self.running.take().unwrap();
        running.listening_at();
        let data = self.directory.path().join("data");
        tidegate(["savepoint".as_ref(), "--stop".as_ref(), "--data-dir".as_ref(), data.as_os_str()])
            .in_order();
        running.wait().in_order();
        self.results()
    }
}

fn parse(line: &str) -> Happened {
    let numbers = line.trim_matches(['(', ')']).split(',');
    let numbers: Vec<i64> = numbers.map(|number| number.parse().unwrap()).collect();
    (numbers[0], numbers[1], numbers[2], numbers[3])
}

/// Readings in the order of their event times, and those times.
fn readings() -> (Vec<String>, Vec<i64>) {
    let mut random = Random::seeded();
    let mut time = 0;
    (0..READINGS)
        .map(|number| {
            time += i64::try_from(random.within(0..5)).unwrap();
            (format!("{number} {time} {}", random.within(0..AHEAD_MS_MAX)), time)
        })
        .unzip()
}

/// The windows that the watermark has passed, in the order of their ends and keys.
fn windows(times: &[i64]) -> Vec<Happened> {
    let mut sums = BTreeMap::new();
    for (number, time) in (0..).zip(times) {
        *sums.entry((window_end(*time), number % KEYS)).or_insert(0) += number;
    }
    // Behind the last time itself nothing is known.
    let watermark = times.last().unwrap() - 1;
    let passed = sums.into_iter().filter(|((end, _), _)| *end <= watermark);
    passed.map(|((end, key), sum)| (2, key, end, sum)).collect()
}

fn survive(host: &str, backend: &str, kills: usize) {
    let (lines, times) = readings();
    let mut random = Random::seeded();
    let mut job = Job::start(host, backend, None);
    let (address, acknowledged) = (job.address, AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| Job::send(address, &lines, PACE, &acknowledged));
        for _ in 0..kills {
            // The moment is random: nothing is waited for.
            let micros = random.within(500..usize::try_from(KILL_INTERVAL.as_micros()).unwrap());
            std::thread::sleep(Duration::from_micros(micros as u64));
            let is_under_way = acknowledged.load(Ordering::SeqCst) < lines.len() as u64;
            assert!(is_under_way, "the sender was done before the last kill");
            job.kill_and_start_again();
        }
        wait_until_within(
            DRAIN_MAX,
            || acknowledged.load(Ordering::SeqCst) == lines.len() as u64,
            || format!("{} of {} lines are acknowledged", acknowledged.load(Ordering::SeqCst), lines.len()),
        );
    });
    // The last timers are due while no process runs, and are fired by one that is killed as well.
    job.kill_and_start_again();
    let expected = windows(&times);
    let total = lines.len() + expected.len();
    wait_until(|| job.results().len() >= total, || format!("{} of {total} results", job.results().len()));
    job.kill_and_start_again();
    let results = job.stop();
    let (fired, ended): (Vec<_>, Vec<_>) = results.into_iter().partition(|result| result.0 == 1);
    assert!(ended == expected, "the windows are those of an undisturbed run, in their order");
    assert_eq!(fired.iter().find(|(.., late)| *late < 0), None, "a timer fired early");
    let mut numbers: Vec<i64> = fired.iter().map(|(_, _, number, _)| *number).collect();
    numbers.sort_unstable();
    let twice = numbers.windows(2).find(|pair| pair[0] == pair[1]);
    assert_eq!(twice, None, "a timer fired twice");
    assert_eq!(numbers.len(), lines.len(), "a timer was lost");
    println!("{backend}: kills {}, timers {}, windows {}", kills + 2, numbers.len(), ended.len());
}

#[test]
fn in_a_run_that_nothing_disturbs() {
    survive("127.0.0.83", "file", 0);
}

#[test]
fn on_the_heap() {
    survive("127.0.0.84", "file", KILLS);
}

#[cfg(feature = "rocksdb")]
#[test]
fn behind_rocksdb() {
    survive("127.0.0.85", "rocksdb", KILLS);
}

#[cfg(feature = "sled")]
#[test]
fn behind_sled() {
    survive("127.0.0.86", "sled", KILLS);
}

#[test]
fn whatever_the_wall_clock_does() {
    let Some(clock) = WallClock::new() else { return };
    clock.set_off_by(0);
    let mut job = Job::start("127.0.0.87", "file", Some(&clock));
    let mut lines: Vec<String> = Vec::new();
    let mut set = |job: &Job<'_>, ahead_ms: i64| {
        lines.push(format!("{} 0 {ahead_ms}", lines.len()));
        Job::send(job.address, &lines, Duration::ZERO, &job.acknowledged);
    };
    set(&job, 2 * HOUR_MS);
    set(&job, HOUR_MS);
    set(&job, 20);
    job.wait_for_fired(&[2]);

    // It lost its time: what was set for later waits, what is set now is due as ever.
    job.kill();
    clock.set_to_1970();
    job.running = Some(job.spawn());
    set(&job, 20);
    job.wait_for_fired(&[2, 3]);

    // An hour went by while it was down: one of both is due at the start.
    job.kill();
    clock.set_off_by(HOUR_MS / 1000 + 60);
    job.running = Some(job.spawn());
    job.wait_for_fired(&[2, 3, 1]);

    // Set back by a day, and killed right after the timer fired.
    job.kill();
    clock.set_off_by(-DAY_SECONDS);
    job.running = Some(job.spawn());
    set(&job, 20);
    job.wait_for_fired(&[2, 3, 1, 4]);

    // Set right and more while it runs: the next batch is of that time.
    clock.set_off_by(3 * HOUR_MS / 1000);
    set(&job, 20);
    job.wait_for_fired(&[2, 3, 1, 4, 0, 5]);

    job.kill_and_start_again();
    let results = job.stop();
    let fired: Vec<i64> = results.iter().map(|result| result.2).collect();
    assert_eq!(fired, [2, 3, 1, 4, 0, 5], "each once, whatever the wall clock said");
    assert!(results.iter().all(|(.., late)| *late >= 0), "none early: {results:?}");
}
