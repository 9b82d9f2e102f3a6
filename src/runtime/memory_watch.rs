//! The memory watch: looks at what the process takes, and makes caches shrink and sources slow down before it takes more
//! than it may.
//!
//! What is measured out at the start (see `memory`) rests on estimates; this closes the loop. Every [`LOOK_INTERVAL`], by
//! the share of the budget that is resident:
//!
//! ```text
//!   above 90 %   short: caches lose a quarter of their share, down to a sixteenth; state on the heap takes no key that
//!                makes it larger (its policy applies)
//!   above 95 %   the same, and every other interval no batch is sealed
//!   below 80 %   no longer short: caches get a sixteenth of their whole share back
//! ```
//!
//! Sources are slowed, never stopped: what does not shrink must not end a job. An episode begins when the process gets
//! short and ends when it no longer is; each is logged once and counted.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::disk::{Disk, RealDisk};
use crate::state::{CACHE_SHARE_WHOLE, StateSetup};

/// Pause between two looks.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Percent of the budget above which sources are slowed.
const SLOW_PERCENT: u64 = 95;
/// Percent of the budget above which the process is short of memory.
const SHORT_PERCENT: u64 = 90;
/// Percent of the budget below which it no longer is.
const RELAXED_PERCENT: u64 = 80;
/// Smallest share of a cache.
const CACHE_SHARE_MIN: u32 = CACHE_SHARE_WHOLE / 16;
/// What a cache gets back at a time.
const CACHE_SHARE_STEP: u32 = CACHE_SHARE_WHOLE / 16;

/// What is to be done after a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Measures {
    pub(crate) cache_share: u32,
    pub(crate) is_short: bool,
    /// No batch is sealed until the next look.
    pub(crate) holds_sources: bool,
    /// The process has just become short of memory.
    pub(crate) is_new_episode: bool,
}

/// Decides from what is resident.
#[derive(Debug)]
struct MemoryWatch {
    memory_max: u64,
    cache_share: u32,
    is_short: bool,
    held: bool,
}

impl MemoryWatch {
    fn new(memory_max: u64) -> Self {
        Self { memory_max, cache_share: CACHE_SHARE_WHOLE, is_short: false, held: false }
    }

    fn look(&mut self, resident: u64) -> Measures {
        let percent = resident.saturating_mul(100) / self.memory_max.max(1);
        let was_short = self.is_short;
        if percent >= SHORT_PERCENT {
            self.is_short = true;
            self.cache_share = (self.cache_share / 4 * 3).max(CACHE_SHARE_MIN);
        } else if percent < RELAXED_PERCENT {
            self.is_short = false;
            self.cache_share = (self.cache_share + CACHE_SHARE_STEP).min(CACHE_SHARE_WHOLE);
        }
        self.held = percent >= SLOW_PERCENT && !self.held;
        Measures {
            cache_share: self.cache_share,
            is_short: self.is_short,
            holds_sources: self.held,
            is_new_episode: self.is_short && !was_short,
        }
    }
}

/// Looks at this process and applies the measures to its caches.
pub(crate) struct ProcessMemory {
    watch: MemoryWatch,
    state: Arc<StateSetup>,
    page_bytes: u64,
    last: Option<Measures>,
}

impl ProcessMemory {
    /// `None` without a budget.
    pub(crate) fn new(memory_max: Option<u64>, state: &Arc<StateSetup>) -> Option<Self> {
        let watch = MemoryWatch::new(memory_max?);
        let page_bytes = rustix::param::page_size() as u64;
        Some(Self { watch, state: Arc::clone(state), page_bytes, last: None })
    }

    /// Looks once; `None` where the operating system does not tell.
    pub(crate) fn look(&mut self) -> Option<Measures> {
        let resident = resident_pages()? * self.page_bytes;
        let measures = self.watch.look(resident);
        if measures.is_new_episode {
            tracing::warn!(
                resident_bytes = resident,
                memory_max = self.watch.memory_max,
                "the process is short of memory: caches shrink, sources are slowed"
            );
        }
        let applied = self.last.map(|last| (last.cache_share, last.is_short));
        if applied != Some((measures.cache_share, measures.is_short)) {
            self.state.set_shortage(measures.cache_share, measures.is_short);
        }
        self.last = Some(measures);
        Some(measures)
    }
}

/// Pages of the process in memory: the second number of `/proc/self/statm`.
fn resident_pages() -> Option<u64> {
    let (mut file, _) = RealDisk.open(Path::new("/proc/self/statm")).ok()?;
    let mut text = [0; 128];
    let length = file.read(&mut text).ok()?;
    std::str::from_utf8(text.get(..length)?).ok()?.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_shrink_while_memory_is_short_and_grow_back_afterwards() {
        let mut watch = MemoryWatch::new(1000);
        let look = watch.look(850);
        assert_eq!((look.cache_share, look.is_short, look.holds_sources), (256, false, false));
        let look = watch.look(900);
        assert_eq!((look.cache_share, look.is_short, look.is_new_episode), (192, true, true));
        let look = watch.look(900);
        assert_eq!((look.cache_share, look.is_short, look.is_new_episode), (144, true, false));
        for _ in 0..20 {
            watch.look(2000);
        }
        assert_eq!(watch.look(850).cache_share, CACHE_SHARE_MIN);
        let look = watch.look(799);
        assert_eq!((look.cache_share, look.is_short), (32, false));
        for _ in 0..20 {
            watch.look(0);
        }
        assert_eq!(watch.look(0).cache_share, CACHE_SHARE_WHOLE);
    }

    #[test]
    fn sources_are_slowed_and_never_stopped() {
        let mut watch = MemoryWatch::new(1000);
        let held: Vec<bool> = (0..4).map(|_| watch.look(5000).holds_sources).collect();
        assert_eq!(held, [true, false, true, false]);
        assert!(!watch.look(949).holds_sources);
    }

    #[test]
    fn this_process_takes_some_memory() {
        assert!(resident_pages().unwrap() > 100);
    }
}
