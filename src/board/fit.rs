//! Whether a job fits the memory of its board.
//!
//! ```text
//!   all of the board's memory
//!   ├─ the firmware's share (`firmware-memory`), which a running machine does not show any more
//!   ├─ the system's share (`system-memory`)
//!   └─ left for the job: no more than 32 bits address, and than the control group of this program may have
//!      └─ memory-max of the job: must fit into what is left
//!         ├─ what the job cannot do without: must fit into memory-max
//!         └─ caches and state: what remains (src/runtime/memory.rs)
//! ```
//!
//! What a job cannot do without is reckoned low, so that no job is refused that would run: what sources, sinks and queries
//! take at the least, in bytes, is in the constants below.

use std::fmt;

use super::choice::{BoardMemory, MemoryLimit};
use crate::config::size_text;
use crate::runtime::{MEMORY_MIN, MemoryOverhead, Settings};

/// A source: what it reads at once, its longest line, its socket.
const SOURCE_BYTES: u64 = 256 << 10;
/// A sink: the results of a batch on their way.
const SINK_BYTES: u64 = 512 << 10;
/// A sink at a broker while that is away: its outbox, for the most part sled's cache of 512 KiB, twelve bytes a byte as
/// measured.
const MQTT_SINK_BYTES: u64 = 6 << 20;
/// A query, in each of its subtasks: its tables, and the columns of a batch.
const QUERY_BYTES: u64 = 1 << 20;

/// What sizes are given in where they are to be written down.
const MEBIBYTE: u64 = 1 << 20;

/// What a job consists of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct JobSize {
    pub(crate) sources: usize,
    pub(crate) sinks: usize,
    /// Those at a broker among them.
    pub(crate) mqtt_sinks: usize,
    pub(crate) queries: usize,
    pub(crate) has_remote: bool,
}

/// What a job cannot do without, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Need {
    overhead: MemoryOverhead,
    sources: (usize, u64),
    sinks: (usize, u64),
    queries: (usize, u64),
}

impl Need {
    fn of(settings: &Settings, size: JobSize) -> Self {
        let plain_sinks = size.sinks.saturating_sub(size.mqtt_sinks) as u64;
        let subtasks = (size.queries * settings.parallelism) as u64;
        Self {
            overhead: MemoryOverhead::of(settings, size.has_remote),
            sources: (size.sources, SOURCE_BYTES * size.sources as u64),
            sinks: (size.sinks, SINK_BYTES * plain_sinks + MQTT_SINK_BYTES * size.mqtt_sinks as u64),
            queries: (size.queries, QUERY_BYTES * subtasks),
        }
    }

    fn total(&self) -> u64 {
        self.overhead.total() + self.sources.1 + self.sinks.1 + self.queries.1
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MemoryOverhead { fixed, batches, remote } = self.overhead;
        write!(f, "{} for code, stacks and allocator, {} for batches", size_text(fixed), size_text(batches))?;
        if remote > 0 {
            write!(f, ", {} for shipping to the remote", size_text(remote))?;
        }
        for ((count, bytes), name, names) in [
            (self.sources, "source", "sources"),
            (self.sinks, "sink", "sinks"),
            (self.queries, "query", "queries"),
        ] {
            if count > 0 {
                write!(f, ", {} for {count} {}", size_text(bytes), if count == 1 { name } else { names })?;
            }
        }
        Ok(())
    }
}

/// Why a job does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// It may take more than the board leaves.
    Ceiling { memory_max: u64, board: String, memory: BoardMemory },
    /// It may take less than it needs.
    Floor { memory_max: u64, board: String, memory: BoardMemory, need: Box<Need> },
}

/// Compares a job with the memory of its board. Without a limit of memory there is nothing to compare.
///
/// # Errors
/// What does not fit.
pub(crate) fn fit(
    board: &str,
    memory: BoardMemory,
    settings: &Settings,
    size: JobSize,
) -> Result<(), Misfit> {
    let Some(memory_max) = settings.memory_max else { return Ok(()) };
    let board = board.to_owned();
    if memory_max > memory.left() {
        return Err(Misfit::Ceiling { memory_max, board, memory });
    }
    let need = Need::of(settings, size);
    if need.total() > memory_max {
        return Err(Misfit::Floor { memory_max, board, memory, need: Box::new(need) });
    }
    Ok(())
}

/// How a job may have more.
fn more(memory: &BoardMemory) -> &'static str {
    match memory.binding_limit() {
        None => "give it a board with more memory",
        Some((_, MemoryLimit::Addresses)) => "give it a 64-bit board",
        Some((_, MemoryLimit::ControlGroup)) => {
            "give its control group more: `MemoryMax=` of its service, or the limit of its container"
        }
    }
}

impl Misfit {
    /// What to do about it.
    pub(crate) fn help(&self) -> String {
        match self {
            Self::Ceiling { memory, .. } | Self::Floor { memory, .. } if memory.left() < MEMORY_MIN => {
                let (least, more) = (size_text(MEMORY_MIN), more(memory));
                format!("no job fits, for the least `memory-max` is {least}: {more}")
            }
            Self::Ceiling { memory, .. } => {
                let (most, more) = (memory.left() / MEBIBYTE, more(memory));
                format!("give `memory-max` at most \"{most}MiB\", or {more}")
            }
            Self::Floor { memory, need, .. } if need.total() <= memory.left() => {
                let (least, most) = (need.total().div_ceil(MEBIBYTE), memory.left() / MEBIBYTE);
                format!("give `memory-max` \"{least}MiB\" to \"{most}MiB\"")
            }
            Self::Floor { need, memory, .. } if need.overhead.batches > memory.left() / 2 => {
                "give smaller `batch-bytes-max` or fewer `batches-in-flight` of [job]: batches take most of it".to_owned()
            }
            Self::Floor { memory, .. } => format!(
                "make two jobs of it, or give it a board that leaves more than {}",
                size_text(memory.left())
            ),
        }
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ceiling { memory_max, board, memory } => write!(
                f,
                "memory-max is {}, but the board {board} leaves {}: it has {}, of which the system keeps {}{}",
                size_text(*memory_max),
                size_text(memory.left()),
                size_text(memory.all_bytes),
                size_text(memory.kept()),
                memory.limit_clause()
            ),
            Self::Floor { memory_max, need, .. } => write!(
                f,
                "the job needs {} at the least, but memory-max is {}: {need}",
                size_text(need.total()),
                size_text(*memory_max)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::{ChosenBoard, Place};

    fn chosen(name: &str) -> (BoardMemory, Settings) {
        let board = ChosenBoard::named(name, Place::Elsewhere).unwrap();
        (board.memory().unwrap(), board.profile.settings())
    }

    const SMALL: JobSize = JobSize { sources: 1, sinks: 1, mqtt_sinks: 0, queries: 1, has_remote: false };

    #[test]
    fn a_usual_job_fits_every_board_with_its_own_defaults() {
        let usual = JobSize { sources: 3, sinks: 3, mqtt_sinks: 2, queries: 5, has_remote: true };
        for name in crate::board::names().filter(|name| *name != "generic") {
            let (memory, settings) = chosen(name);
            assert_eq!(fit(name, memory, &settings, usual), Ok(()), "{name}");
        }
    }

    #[test]
    fn a_job_that_may_take_more_than_the_board_leaves_is_refused_with_the_numbers() {
        let (memory, settings) = chosen("raspberry-pi-zero-2-w");
        let limited = |memory_max| Settings { memory_max, ..settings.clone() };
        assert_eq!(fit("it", memory, &limited(Some(288 << 20)), SMALL), Ok(()));
        let misfit = fit("it", memory, &limited(Some((288 << 20) + 1)), SMALL).unwrap_err();
        assert_eq!(
            misfit.to_string(),
            "memory-max is 288.0MiB, but the board it leaves 288MiB: it has 512MiB, of which the system keeps 224MiB"
        );
        assert_eq!(
            misfit.help(),
            "give `memory-max` at most \"288MiB\", or give it a board with more memory"
        );
        assert_eq!(fit("it", memory, &limited(None), SMALL), Ok(()));
    }

    #[test]
    fn a_job_that_needs_more_than_it_may_take_is_refused_with_the_numbers() {
        let (memory, settings) = chosen("raspberry-pi-zero-2-w");
        let settings = Settings { memory_max: Some(35 << 20), ..settings };
        let size = JobSize { sources: 2, sinks: 2, mqtt_sinks: 1, queries: 3, has_remote: true };
        let misfit = fit("it", memory, &settings, size).unwrap_err();
        assert_eq!(
            misfit.to_string(),
            "the job needs 36MiB at the least, but memory-max is 35MiB: 12MiB for code, stacks and allocator, 2MiB for \
             batches, 12MiB for shipping to the remote, 512KiB for 2 sources, 6.5MiB for 2 sinks, 3MiB for 3 queries"
        );
        assert_eq!(misfit.help(), "give `memory-max` \"36MiB\" to \"288MiB\"");
    }

    #[test]
    fn what_fits_no_memory_max_of_the_board_needs_another_board() {
        let (memory, settings) = chosen("beaglebone-black");
        let size = JobSize { mqtt_sinks: 60, sinks: 60, ..SMALL };
        let misfit = fit("it", memory, &settings, size).unwrap_err();
        assert!(misfit.help().starts_with("make two jobs of it"), "{}", misfit.help());
        let settings = Settings { batches_in_flight: 64, batch_bytes_max: 16 << 20, ..settings };
        let misfit = fit("it", memory, &settings, SMALL).unwrap_err();
        assert!(misfit.help().contains("`batches-in-flight`"), "{}", misfit.help());
    }

    #[test]
    fn where_no_job_fits_no_limit_is_advised() {
        let (memory, settings) = chosen("beaglebone-black");
        let small = BoardMemory { all_bytes: 180 << 20, ..memory };
        let misfit = fit("it", small, &settings, SMALL).unwrap_err();
        assert_eq!(
            misfit.help(),
            "no job fits, for the least `memory-max` is 32MiB: give it a board with more memory"
        );
    }
}
