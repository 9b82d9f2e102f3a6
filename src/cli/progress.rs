//! How far a restore is: a bar on a terminal, now and then a line elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::checkpoint::Step;
use crate::runtime::progress_log;

/// Pause between two drawings of the bar.
const DRAW_INTERVAL: Duration = Duration::from_millis(100);
/// Width of the bar, in characters.
const WIDTH: u64 = 30;

/// Shows the steps of a restore on standard error.
pub(super) fn progress() -> Box<dyn FnMut(Step)> {
    if !std::io::stderr().is_terminal() {
        return Box::new(progress_log());
    }
    let started = Instant::now();
    let (mut whole, mut drawn) = (0, None::<Instant>);
    Box::new(move |step| match step {
        Step::Chosen { id, bytes } => {
            whole = bytes;
            eprintln!("checkpoint {id}, {} ", size(bytes));
        }
        Step::Fetched { bytes } => {
            let is_last = bytes >= whole;
            if is_last || drawn.is_none_or(|drawn| drawn.elapsed() >= DRAW_INTERVAL) {
                drawn = Some(Instant::now());
                let end = if is_last { '\n' } else { '\r' };
                // A terminal that is gone misses nothing.
                drop(write!(std::io::stderr(), "{}{end}", line(bytes, whole, started.elapsed())));
            }
        }
    })
}

/// A line of the bar.
fn line(bytes: u64, whole: u64, elapsed: Duration) -> String {
    let share = |of: u64| u128::from(bytes.min(whole)) * u128::from(of) / u128::from(whole.max(1));
    let filled = usize::try_from(share(WIDTH)).unwrap_or_default();
    let bar: String = (0..usize::try_from(WIDTH).unwrap_or_default())
        .map(|at| if at < filled { '#' } else { '.' })
        .collect();
    let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    let rate = bytes.saturating_mul(1000) / elapsed_ms;
    let left_s = whole.saturating_sub(bytes) / rate.max(1);
    format!(
        "{:3} % [{bar}] {} of {}, {}/s, {left_s} s left  ",
        share(100),
        size(bytes),
        size(whole),
        size(rate)
    )
}

fn size(bytes: u64) -> String {
    match bytes {
        0..10_240 => format!("{bytes} B"),
        10_240..10_485_760 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_share_rate_and_time_left() {
        let half = line(30 << 20, 60 << 20, Duration::from_secs(3));
        assert_eq!(
            half.trim_end(),
            " 50 % [###############...............] 30 MiB of 60 MiB, 10 MiB/s, 3 s left"
        );
        assert!(line(0, 0, Duration::ZERO).contains("0 B of 0 B"));
        assert!(line(9, 9, Duration::from_secs(1)).starts_with("100 % ["));
    }
}
