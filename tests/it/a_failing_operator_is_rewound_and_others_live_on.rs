//! A failing operator is restored from the last checkpoint while the connection and the other actors live on.

use std::net::TcpStream;
use std::time::Duration;

use tidegate::{Backend, Collected, Environment, Retry, Settings, TcpConnect};

use crate::support::{
    Averages, CheckpointFolder, ERROR_VALUE, LineServer, PANIC_VALUE, RunningAverage, join, send, start_job,
    wait_until,
};

const JOB: &str = "rewound";
const PARALLELISM: usize = 2;

#[test]
fn after_a_panic() {
    rewinds_on(PANIC_VALUE);
}

#[test]
fn after_an_error() {
    rewinds_on(ERROR_VALUE);
}

/// A connection and what was sent over it.
struct Feed {
    connection: TcpStream,
    collected: Collected,
    sent: Vec<(i64, i64)>,
}

impl Feed {
    fn send(&mut self, readings: &[(i64, i64)]) {
        let lines: String = readings.iter().map(|(key, value)| format!("{key} {value}\n")).collect();
        send(&mut self.connection, lines);
        self.sent.extend_from_slice(readings);
    }

    fn wait_for_results(&self, count: usize) {
        let have = || self.collected.text().lines().count();
        wait_until(|| have() >= count, || format!("{} of {count} results came", have()));
    }
}

fn rewinds_on(poison: i64) {
    let directory = tempfile::tempdir().unwrap();
    let server = LineServer::start();
    let operator = RunningAverage::default();
    let collected = Collected::new();
    let settings = Settings {
        parallelism: PARALLELISM,
        checkpoint_interval: Duration::from_millis(10),
        backend: Backend::File { directory: directory.path().to_owned() },
        journal: None,
        ..Settings::default()
    };
    let job = start_job({
        let (address, operator, collected) = (server.address(), operator.clone(), collected.clone());
        move || {
            let environment = Environment::with_settings(JOB, settings);
            environment
                .connect(TcpConnect::new(address.to_string()).retry(Retry::For(Duration::ZERO)))
                .parse::<(i64, i64)>()
                .key_by(|(key, _)| *key)
                .process(operator)
                .collect_into(&collected);
            environment.execute()
        }
    });
    let mut feed = Feed { connection: server.accept(), collected: collected.clone(), sent: Vec::new() };

    let first: Vec<(i64, i64)> = (0..500).map(|index| (index % 7, index)).collect();
    feed.send(&first);
    let expected = |sent: &[(i64, i64)]| Averages::after(sent).outputs.lines().count();
    feed.wait_for_results(expected(&feed.sent));
    // The checkpoint under way may be in the middle of them; the second one from here on holds them all.
    let folder = CheckpointFolder::of_job(directory.path(), JOB);
    let before = folder.newest();
    while folder.newest() < before + 2 {
        feed.send(&[(3, 3)]);
        feed.wait_for_results(expected(&feed.sent));
    }

    assert_eq!(operator.opened(), PARALLELISM);
    let good = feed.sent.len();
    let result_count = expected(&feed.sent);
    feed.send(&[(5, poison)]);
    wait_until(|| operator.opened() == 2 * PARALLELISM, || "the operator was not opened again".to_owned());
    let last: Vec<(i64, i64)> = (0..7).map(|key| (key, 10 * key)).collect();
    feed.send(&last);
    feed.wait_for_results(result_count + last.len());
    drop(feed);
    let report = join(job).expect("the job ends in order");

    assert!(!server.has_another_client(), "the connection was kept");
    assert_eq!(report.restarts, 1);
    assert_eq!(report.readings, (good + 1 + last.len()) as u64);
    let in_state = good + 1 - usize::try_from(report.readings_lost).unwrap();
    assert!((first.len()..=good).contains(&in_state), "{report:?}");
    let all = first.iter().copied().chain(std::iter::repeat((3, 3)));
    let all: Vec<(i64, i64)> = all.take(good).collect();
    let mut rewound = Averages::after(&all[..in_state]).without_outputs();
    rewound.add_all(&last);
    // Within a batch the results of one subtask come before those of the next.
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let text = collected.text();
    let cut = text.match_indices('\n').nth(result_count - 1).unwrap().0 + 1;
    assert_eq!(sorted(&text[..cut]), sorted(&Averages::after(&all).outputs));
    assert_eq!(sorted(&text[cut..]), sorted(&rewound.outputs));
}
