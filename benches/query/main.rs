//! How close are queries to a bare loop? JSON readings of 1,000 sensors in a file, two queries, results as JSON in a file:
//!
//! - `filter`: a filter and a projection;
//! - `minutes`: AVG, MIN, MAX and COUNT of each sensor in each minute of event time, readings up to four seconds out of order;
//!
//! run by `tidegate run JOB.toml` with one subtask, against a single-threaded loop (see `bare_loop`) that reads the same file with the same
//! parser. Both are processes of their own, timed from their start to their end, one after the other; CPU seconds are the
//! kernel's (`/proc`). The two outputs must be the same lines: of `filter` in the same order.
//!
//! `TIDEGATE_BENCH_LINES` and `TIDEGATE_BENCH_ROUNDS` change the size, `cargo bench --bench query -- minutes` measures one query only. The
//! data comes from a fixed seed.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a bench reads what the engine wrote, and the bare loop works on files itself"
)]
#![expect(clippy::unwrap_used, clippy::cast_precision_loss, reason = "a bench ends at the first fault")]

mod bare_loop;
mod data;
#[path = "../running_average/measure.rs"]
#[expect(dead_code, reason = "shared with the other bench")]
mod measure;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use data::{SEED, SENSORS, readings};
use measure::median;

/// Clock ticks a second in `/proc/<pid>/stat`: `USER_HZ`, 100 on every Linux architecture of ours.
const TICKS_PER_SECOND: f64 = 100.0;
/// Set for the process that is the bare loop: the query, and its files.
const BARE: &str = "TIDEGATE_BENCH_BARE";
const INPUT: &str = "TIDEGATE_BENCH_INPUT";
const OUTPUT: &str = "TIDEGATE_BENCH_OUTPUT";

/// A query that is measured.
struct Query {
    name: &'static str,
    sql: &'static str,
    /// Rows a second it should reach, in millions.
    target: f64,
    /// Results are in the order of the readings.
    is_ordered: bool,
}

const QUERIES: [Query; 2] = [
    Query {
        name: "filter",
        sql: "SELECT sensor, temperature * 1.8 + 32 AS f FROM readings WHERE temperature > 20",
        target: 1.5,
        is_ordered: true,
    },
    Query {
        name: "minutes",
        sql: "SELECT sensor, TUMBLE_END(ts, INTERVAL '1' MINUTE) AS window_end, AVG(temperature) AS average,
                     MIN(temperature) AS least, MAX(temperature) AS greatest, COUNT(*) AS readings
              FROM readings GROUP BY sensor, TUMBLE(ts, INTERVAL '1' MINUTE)",
        target: 1.0,
        is_ordered: false,
    },
];

/// State backend and journal of a row of the table.
const SETUPS: [(&str, &str); 3] = [("memory", "none"), ("file", "none"), ("file", "always")];
/// Engine rows a second, of the bare loop's.
const RATIO_TARGET: f64 = 0.5;

fn main() {
    let variable = |name: &str| PathBuf::from(std::env::var(name).unwrap());
    match std::env::var(BARE).as_deref() {
        Ok("filter") => return bare_loop::run::<bare_loop::Fahrenheit>(&variable(INPUT), &variable(OUTPUT)),
        Ok(_) => return bare_loop::run::<bare_loop::Minutes>(&variable(INPUT), &variable(OUTPUT)),
        Err(_) => {}
    }
    let from_environment =
        |name: &str, default| std::env::var(name).map_or(default, |value| value.parse().expect("a number"));
    let lines: u64 = from_environment("TIDEGATE_BENCH_LINES", 5_000_000);
    let rounds: u64 = from_environment("TIDEGATE_BENCH_ROUNDS", 3);
    let directory = tempfile::tempdir().unwrap();
    let input = directory.path().join("readings.jsonl");
    std::fs::write(&input, readings(1)).unwrap();
    let start = median((0..5).map(|_| run_engine(&QUERIES[0], SETUPS[0], &input).1.seconds).collect());
    std::fs::write(&input, readings(lines)).unwrap();
    println!("{}", measure::machine());
    println!(
        "{lines} readings of {SENSORS} sensors, seed {SEED:#x}, median of {rounds} pairs; a job of one reading takes {:.0} ms\n",
        start * 1e3
    );
    println!(
        "| query | backend | journal | bare M/s | engine M/s | target | ratio | target | CPU s bare | CPU s engine |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let is_wanted = |query: &&Query| {
        let wanted: Vec<String> =
            std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
        wanted.is_empty() || wanted.iter().any(|name| name == query.name)
    };
    for query in QUERIES.iter().filter(is_wanted) {
        for setup in SETUPS {
            compare(query, setup, &input, (lines, rounds));
        }
    }
}

/// One run's figures.
struct Run {
    seconds: f64,
    cpu_seconds: f64,
}

fn compare(query: &Query, setup: (&str, &str), input: &Path, (lines, rounds): (u64, u64)) {
    let pairs: Vec<(Run, Run)> = (0..rounds)
        .map(|_| {
            let (bare, of_bare) = run_bare(query, input);
            let (engine, of_engine) = run_engine(query, setup, input);
            assert!(!bare.is_empty(), "no results");
            assert!(is_same(query, bare, engine), "the engine's output differs from the bare loop's");
            (of_bare, of_engine)
        })
        .collect();
    let of = |figure: &dyn Fn(&(Run, Run)) -> f64| median(pairs.iter().map(figure).collect());
    println!(
        "| {} | {} | {} | {:.2} | {:.2} | {:.1} | {:.2} | {RATIO_TARGET} | {:.2} | {:.2} |",
        query.name,
        setup.0,
        setup.1,
        of(&|(bare, _)| lines as f64 / bare.seconds / 1e6),
        of(&|(_, engine)| lines as f64 / engine.seconds / 1e6),
        query.target,
        of(&|(bare, engine)| bare.seconds / engine.seconds),
        of(&|(bare, _)| bare.cpu_seconds),
        of(&|(_, engine)| engine.cpu_seconds),
    );
}

fn is_same(query: &Query, bare: Vec<u8>, engine: Vec<u8>) -> bool {
    if query.is_ordered {
        return bare == engine;
    }
    let sorted = |output: &[u8]| {
        let mut lines: Vec<Vec<u8>> = output.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        lines.sort_unstable();
        lines
    };
    sorted(&bare) == sorted(&engine)
}

/// The bare loop, this program called again; what it wrote, and its figures.
fn run_bare(query: &Query, input: &Path) -> (Vec<u8>, Run) {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("results");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(BARE, query.name).env(INPUT, input).env(OUTPUT, &output);
    let run = run(command);
    (std::fs::read(output).unwrap(), run)
}

/// The program with a job file; what it wrote, and its figures.
fn run_engine(query: &Query, (backend, journal): (&str, &str), input: &Path) -> (Vec<u8>, Run) {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("results");
    let state = directory.path().join("state");
    let job = directory.path().join("job.toml");
    let is_kept = backend != "memory";
    let text = [
        "[job]\nname = \"bench\"\n[state]\n".to_owned(),
        format!("backend = \"{backend}\"\n"),
        if is_kept {
            format!("directory = {state:?}\n[journal]\nsync = \"{journal}\"\n")
        } else {
            String::new()
        },
        format!("[[source]]\nname = \"readings\"\ntype = \"file\"\npath = {input:?}\nformat = \"json\"\n"),
        "schema = \"sensor STRING, temperature DOUBLE, ts TIMESTAMP(3), \
         WATERMARK FOR ts AS ts - INTERVAL '5' SECOND\"\n"
            .to_owned(),
        format!("[[query]]\nname = \"results\"\nsql = \"\"\"{}\"\"\"\n", query.sql),
        format!(
            "[[sink]]\nname = \"file\"\nfrom = \"results\"\ntype = \"file\"\npath = {output:?}\nformat = \"json\"\n"
        ),
    ];
    std::fs::write(&job, text.concat()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(["run", "--quiet"]).arg(job);
    let run = run(command);
    (std::fs::read(output).unwrap(), run)
}

/// Runs a command to its end.
fn run(mut command: Command) -> Run {
    let cpu_before = children_cpu_seconds();
    let start = Instant::now();
    let ended = command.stdout(Stdio::null()).stderr(Stdio::piped()).output().unwrap();
    let seconds = start.elapsed().as_secs_f64();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    Run { seconds, cpu_seconds: children_cpu_seconds() - cpu_before }
}

/// CPU seconds of the children that have ended.
fn children_cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // Behind the command's closing bracket: state is field 3, cutime 16, cstime 17.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks = |field: usize| fields[field - 3].parse::<f64>().unwrap();
    (ticks(16) + ticks(17)) / TICKS_PER_SECOND
}
