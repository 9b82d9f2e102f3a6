//! Running a process against a sender, and what the kernel says of it.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Clock ticks a second in `/proc/<pid>/stat`: `USER_HZ`, 100 on every Linux architecture of ours.
const TICKS_PER_SECOND: f64 = 100.0;
const POLL: Duration = Duration::from_micros(500);

/// One run's figures.
pub(crate) struct Run {
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_rss_kib: u64,
    pub(crate) checkpoints: usize,
}

/// Starts `command`, sends it `data` when it connects, and times it until `output` has `expected` bytes, or until it
/// ends when that is not known yet.
pub(crate) fn run(
    mut command: Command,
    listener: TcpListener,
    data: &Arc<Vec<u8>>,
    output: &Path,
    expected: Option<u64>,
) -> Run {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut client, _) = listener.accept().unwrap();
    let start = Instant::now();
    let data = Arc::clone(data);
    let sender = std::thread::spawn(move || client.write_all(&data).unwrap());
    let mut last = None;
    let seconds = loop {
        std::thread::sleep(POLL);
        // The figures of a process that has ended are gone: keep the last ones seen.
        let written = std::fs::metadata(output).map_or(0, |metadata| metadata.len());
        if let Some(figures) = figures(child.id()) {
            last = Some(figures);
        }
        let done = match expected {
            Some(expected) => written >= expected,
            None => child.try_wait().unwrap().is_some(),
        };
        if done {
            break start.elapsed().as_secs_f64();
        }
    };
    sender.join().unwrap();
    let mut log = String::new();
    child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(child.wait().unwrap().success(), "{log}");
    let (cpu_seconds, peak_rss_kib) = last.unwrap();
    Run { seconds, cpu_seconds, peak_rss_kib, checkpoints: log.matches("checkpoint completed").count() }
}

fn figures(pid: u32) -> Option<(f64, u64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Behind the command's closing bracket: state is field 3, utime 14, stime 15.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
    Some(((ticks(14)? + ticks(15)?) / TICKS_PER_SECOND, status_kib(pid, "VmHWM:")?))
}

/// A figure of `/proc/<pid>/status`, in KiB.
pub(crate) fn status_kib(pid: u32, name: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// The middle one; of an even number the upper middle.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

pub(crate) fn same_contents(left: &Path, right: &Path) -> bool {
    std::fs::read(left).unwrap() == std::fs::read(right).unwrap()
}

/// What the figures were measured on.
pub(crate) fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpu.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1)).unwrap_or("unknown");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{model}, {cores} cores, {}", std::env::consts::ARCH)
}
