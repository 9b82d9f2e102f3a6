//! The sections of a job as a whole: `[job]`, `[state]`, `[journal]` and `[restart]`.
//!
//! Each takes the settings that the board's profile gives and changes what the file says.

use std::path::PathBuf;
use std::time::Duration;

use super::document::Located;
use super::section::{Keys, Section};
use crate::config::BackendKind;
use crate::config::diagnostics::Diagnostic;
use crate::runtime::{
    BATCH_BYTES_LIMIT, BATCH_BYTES_MIN, BATCH_FRAMES_LIMIT, BATCH_TIMEOUT_MIN, BATCHES_IN_FLIGHT_LIMIT,
    Compression, JournalSettings, JournalSync, MEMORY_MIN, PARALLELISM_LIMIT, RESERVE_BYTES_LIMIT,
    RestartStrategy, SEGMENT_BYTES_LIMIT, SEGMENT_BYTES_MIN, Settings, THREADS_LIMIT,
};
use crate::state::{KeyLimitPolicy, MaxParallelism};

pub(super) const JOB_KEYS: Keys = Keys {
    section: "job",
    common: &[
        "name",
        "parallelism",
        "max-parallelism",
        "threads",
        "memory-max",
        "batch-frames-max",
        "batch-bytes-max",
        "batches-in-flight",
        "batch-timeout",
        "frame-attempts-max",
    ],
    of_type: &[],
};

pub(super) const STATE_KEYS: Keys = Keys {
    section: "state",
    common: &["backend", "directory", "ttl", "keys-max", "key-limit"],
    of_type: &[],
};

pub(super) const JOURNAL_KEYS: Keys =
    Keys { section: "journal", common: &["sync", "max", "segment", "compression", "reserve"], of_type: &[] };

pub(super) const RESTART_KEYS: Keys = Keys {
    section: "restart",
    common: &["type"],
    of_type: &[
        ("exponential-delay", &["initial", "max", "reset-after", "attempts-max"]),
        ("fixed-delay", &["delay", "attempts-max"]),
        ("failure-rate", &["failures-max", "interval", "delay"]),
        ("none", &[]),
    ],
};

/// Restarts and failures that can be counted to.
const ATTEMPTS_LIMIT: u64 = 1_000_000;
/// Segments that the journal's limit must hold.
const SEGMENTS_MIN: u64 = 4;

/// `[job]`; gives the name.
pub(super) fn job(section: &Section<'_>, settings: &mut Settings) -> Option<Located<String>> {
    section.check_keys(&JOB_KEYS, None);
    // That there is no [job] is said elsewhere.
    let name = if section.is_given() { section.name("name", "running-average") } else { None };
    if let Some(parallelism) = section.count("parallelism", 1, PARALLELISM_LIMIT) {
        settings.parallelism = parallelism;
    }
    let groups = section.integer("max-parallelism", 1..=u64::from(MaxParallelism::LIMIT));
    if let Some(groups) = groups.and_then(|groups| MaxParallelism::new(u16::try_from(groups).ok()?)) {
        settings.max_parallelism = groups;
    }
    if let Some(threads) = section.count("threads", 1, THREADS_LIMIT) {
        settings.threads = threads;
    }
    settings.memory_max = section.size("memory-max", MEMORY_MIN..=u64::MAX).or(settings.memory_max);
    if let Some(frames) = section.count("batch-frames-max", 1, BATCH_FRAMES_LIMIT) {
        settings.batch_frames_max = frames;
    }
    let bytes = section.size("batch-bytes-max", BATCH_BYTES_MIN as u64..=BATCH_BYTES_LIMIT as u64);
    if let Some(bytes) = bytes.and_then(|bytes| usize::try_from(bytes).ok()) {
        settings.batch_bytes_max = bytes;
    }
    if let Some(batches) = section.count("batches-in-flight", 1, BATCHES_IN_FLIGHT_LIMIT) {
        settings.batches_in_flight = batches;
    }
    if let Some(timeout) = section.duration("batch-timeout", Duration::ZERO) {
        if !timeout.is_zero() && timeout < BATCH_TIMEOUT_MIN {
            let reason = format!("an operator must have at least {BATCH_TIMEOUT_MIN:?}, or \"0s\" for ever");
            section.wrong_value("batch-timeout", &section.place("batch-timeout"), &reason, "60s");
        }
        settings.batch_timeout = Some(timeout).filter(|timeout| !timeout.is_zero());
    }
    if let Some(attempts) = section.integer("frame-attempts-max", 2..=ATTEMPTS_LIMIT) {
        settings.frame_attempts_max = u32::try_from(attempts).unwrap_or(u32::MAX);
    }
    name
}

/// What `[state]` says.
#[derive(Debug)]
pub(super) struct StateConfig {
    pub(super) backend: BackendKind,
    /// `None`: the user's data directory.
    pub(super) directory: Option<PathBuf>,
    pub(super) ttl: Option<Duration>,
}

/// `[state]`; the backend is `default` where it does not say.
pub(super) fn state(section: &Section<'_>, default: BackendKind, settings: &mut Settings) -> StateConfig {
    section.check_keys(&STATE_KEYS, None);
    let backend = section.choice("backend", &BackendKind::NAMES).map_or(default, |backend| backend.value);
    if !backend.is_built() {
        let fault = Diagnostic::new("this program was built without that state backend");
        section.report(
            fault.at(&section.place("backend")).help("use \"file\" or \"memory\", or a build that has it"),
        );
    }
    let policies = [
        ("stop", KeyLimitPolicy::Stop),
        ("evict-oldest", KeyLimitPolicy::EvictOldest),
        ("reject-to-dead-letter", KeyLimitPolicy::RejectToDeadLetter),
    ];
    settings.keys_max = section.integer("keys-max", 1..=i64::MAX as u64).or(settings.keys_max);
    if let Some(policy) = section.choice("key-limit", &policies) {
        settings.key_limit_policy = policy.value;
    }
    if matches!(backend, BackendKind::Sled | BackendKind::RocksDb) {
        for key in ["keys-max", "key-limit"] {
            if let Some(node) = section.node(key) {
                let fault =
                    Diagnostic::new(format!("`{key}` of [state] limits state on the heap only")).at(&node.at);
                let help = match section.node("backend") {
                    Some(_) => "remove it, or use the backend \"file\" or \"memory\"".to_owned(),
                    None => format!(
                        "the board's backend is {:?}: remove the key, or give `backend = \"file\"`",
                        backend.name()
                    ),
                };
                section.report(fault.help(help));
            }
        }
    }
    StateConfig {
        backend,
        directory: section.path("directory", "/var/lib/tidegate"),
        ttl: section.duration("ttl", Duration::from_millis(1)),
    }
}

/// `[journal]`.
pub(super) fn journal(section: &Section<'_>, backend: BackendKind, settings: &mut Settings) {
    section.check_keys(&JOURNAL_KEYS, None);
    let mut journal = settings.journal.unwrap_or_default();
    let is_wanted = match section.string("sync", "always") {
        None => true,
        Some(sync) => match sync.value.as_str() {
            "none" => false,
            "always" => set_sync(&mut journal, JournalSync::Always),
            "off" => set_sync(&mut journal, JournalSync::Off),
            interval if interval.starts_with(|c: char| c.is_ascii_digit()) => {
                match section.duration_of("sync", sync, Duration::ZERO) {
                    Some(Duration::ZERO) | None => set_sync(&mut journal, JournalSync::Always),
                    Some(interval) => set_sync(&mut journal, JournalSync::Every(interval)),
                }
            }
            _ => {
                let reason = "it may be \"always\", \"off\", \"none\" or an interval";
                section.wrong_value("sync", &sync.at, reason, "500ms");
                true
            }
        },
    };
    let segment = section.size("segment", SEGMENT_BYTES_MIN..=SEGMENT_BYTES_LIMIT);
    journal.segment_bytes = segment.unwrap_or(journal.segment_bytes);
    let least = SEGMENTS_MIN * segment.unwrap_or(SEGMENT_BYTES_MIN);
    if let Some(max) = section.size("max", least..=u64::MAX) {
        journal.bytes_max = max;
        // Segments that were not asked for become small enough.
        journal.segment_bytes = journal.segment_bytes.min(max / SEGMENTS_MIN);
    } else if journal.bytes_max < least {
        let fault =
            Diagnostic::new("four segments do not fit into the journal").at(&section.place("segment"));
        section.report(fault.help("give a smaller `segment`, or `max = \"4GiB\"`"));
    }
    if let Some(compression) =
        section.choice("compression", &[("none", Compression::None), ("lz4", Compression::Lz4)])
    {
        journal.compression = compression.value;
    }
    if let Some(reserve) = section.size("reserve", 0..=RESERVE_BYTES_LIMIT) {
        journal.reserve_bytes = reserve;
    }
    if section.is_given() && is_wanted && backend == BackendKind::Memory {
        let fault = Diagnostic::new("the memory backend keeps no journal").at(&section.at);
        section.report(fault.help("remove [journal], or give [state] the backend \"file\""));
    }
    settings.journal = is_wanted.then_some(journal);
}

fn set_sync(journal: &mut JournalSettings, sync: JournalSync) -> bool {
    journal.sync = sync;
    true
}

/// `[restart]`.
pub(super) fn restart(section: &Section<'_>, settings: &mut Settings) {
    let kinds = RESTART_KEYS.of_type.iter().map(|(name, _)| (*name, *name)).collect::<Vec<_>>();
    let kind = section.choice("type", &kinds);
    let given = kind.as_ref().map(|kind| kind.value);
    section.check_keys(&RESTART_KEYS, given);
    if section.is_given() && section.node("type").is_none() {
        section.missing("type", "\"fixed-delay\"");
    }
    let wait = |key: &str, default_ms: u64| {
        section.duration(key, Duration::ZERO).unwrap_or(Duration::from_millis(default_ms))
    };
    let count = |key: &str, default: u32| {
        let count = section.integer(key, 0..=ATTEMPTS_LIMIT);
        count.and_then(|count| u32::try_from(count).ok()).unwrap_or(default)
    };
    settings.restart = match given {
        Some("exponential-delay") => RestartStrategy::ExponentialDelay {
            initial: wait("initial", 100),
            max: wait("max", 10_000),
            reset_after: wait("reset-after", 60_000),
            attempts_max: count("attempts-max", 10),
        },
        Some("fixed-delay") => RestartStrategy::FixedDelay {
            attempts_max: count("attempts-max", 10),
            delay: wait("delay", 1000),
        },
        Some("failure-rate") => RestartStrategy::FailureRate {
            failures_max: count("failures-max", 3),
            interval: wait("interval", 60_000),
            delay: wait("delay", 1000),
        },
        Some("none") => RestartStrategy::None,
        _ => settings.restart,
    };
}
