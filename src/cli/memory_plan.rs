//! Where the memory of a job goes, as text.

use std::io::{self, Write};

use crate::board::JobSize;
use crate::config::size_text;
use crate::runtime::{Backend, MemoryOverhead, MemoryPlan, Settings};

/// Width of a size in a column.
const SIZE_WIDTH: usize = 10;

/// Writes the plan for a job with so many `operators`; each line begins with `prefix`.
pub(super) fn show(
    settings: &Settings,
    overhead: &MemoryOverhead,
    operators: usize,
    prefix: &str,
    out: &mut impl Write,
) -> io::Result<()> {
    match settings.memory_max {
        Some(max) => writeln!(out, "{prefix}memory at most {}", size_text(max))?,
        None => writeln!(out, "{prefix}memory without a limit (memory-max, or a board, sets one)")?,
    }
    for (bytes, what) in shares(settings, overhead, operators) {
        let size = bytes.map_or_else(|| "no limit".to_owned(), size_text);
        writeln!(out, "{prefix}  {size:>SIZE_WIDTH$}  {what}")?;
    }
    Ok(())
}

/// What memory goes to, in bytes; `None`: to no limit.
pub(super) fn shares(
    settings: &Settings,
    overhead: &MemoryOverhead,
    operators: usize,
) -> Vec<(Option<u64>, String)> {
    let mut shares = vec![
        (Some(overhead.fixed), "code, stacks, allocator".to_owned()),
        (
            Some(overhead.batches),
            format!(
                "batches: {} under way, {} each, with their records and results",
                settings.batches_in_flight,
                size_text(settings.batch_bytes_max as u64)
            ),
        ),
    ];
    if overhead.remote > 0 {
        shares.push((Some(overhead.remote), "shipping to the remote".to_owned()));
    }
    let has_store = matches!(settings.backend, Backend::Sled { .. } | Backend::RocksDb { .. });
    if operators > 0 {
        shares.extend(state_shares(settings, overhead, operators));
    }
    if let Some(max) = settings.memory_max {
        let taken: u64 = shares.iter().filter_map(|(bytes, _)| *bytes).sum();
        let rest = if has_store {
            "sources, sinks, compactions, what batches read"
        } else {
            "sources, sinks, snapshots, growing tables"
        };
        shares.push((Some(max.saturating_sub(taken)), rest.to_owned()));
    }
    shares
}

/// What state takes: stores, and what is on the heap.
fn state_shares(
    settings: &Settings,
    overhead: &MemoryOverhead,
    operators: usize,
) -> Vec<(Option<u64>, String)> {
    let holders = operators * settings.parallelism;
    let plan = MemoryPlan::beside(overhead, settings, holders);
    let mut shares = Vec::new();
    let what = match &settings.backend {
        Backend::RocksDb { .. } => {
            shares.push((Some(plan.store.cache_bytes), "blocks that the store has read".to_owned()));
            shares.push((Some(plan.store.write_buffer_bytes), "what the store has yet to write".to_owned()));
            "cache of keys"
        }
        Backend::Sled { .. } => {
            let pages = plan.store.cache_bytes * holders as u64;
            shares.push((Some(pages), "pages of the stores, by sled's own count".to_owned()));
            "cache of keys"
        }
        Backend::Memory | Backend::File { .. } => "keys",
    };
    let bytes = (plan.state_bytes != usize::MAX).then(|| plan.state_bytes as u64 * holders as u64);
    let operators = if operators == 1 { "1 operator".to_owned() } else { format!("{operators} operators") };
    shares.push((bytes, format!("{what} on the heap, in {operators}, {} each", of_subtasks(settings))));
    shares
}

fn of_subtasks(settings: &Settings) -> String {
    match settings.parallelism {
        1 => "1 subtask".to_owned(),
        subtasks => format!("{subtasks} subtasks"),
    }
}

/// The smallest job: one of each.
pub(super) const SMALLEST: JobSize =
    JobSize { sources: 1, sinks: 1, mqtt_sinks: 0, queries: 1, has_remote: false };

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::profiles;

    #[test]
    fn shares_add_up_to_what_the_job_may_take() {
        for profile in profiles() {
            let backend = profile.preferred_backend().at(|| Ok::<_, ()>("/data".into())).unwrap();
            let settings = Settings { backend, parallelism: 2, ..profile.settings() };
            let overhead = MemoryOverhead::of(&settings, true);
            for operators in [0, 1, 7] {
                let shares = shares(&settings, &overhead, operators);
                let sum: u64 = shares.iter().filter_map(|(bytes, _)| *bytes).sum();
                assert_eq!(settings.memory_max.unwrap_or(sum), sum, "{}: {shares:?}", profile.name);
                assert_eq!(shares.iter().any(|(_, what)| what.contains("on the heap")), operators > 0);
            }
        }
    }
}
