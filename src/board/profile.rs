//! A board profile: one file of `boards/`, in the shape it is written in.

use serde::{Deserialize, Deserializer};

use super::architecture::Architecture;
use super::catalogue;
use super::kernel::KernelVersion;
use crate::config::{BackendKind, ByteSize, ConfigError, Interval, parse};
use crate::runtime::{JournalSettings, JournalSync, Settings};

/// A board and the defaults for a job on it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct BoardProfile {
    /// Name of the profile, that of its file.
    pub name: String,
    /// What the board is.
    pub description: String,
    /// Strings of the device tree's `compatible` that it is detected by, any of them.
    pub(crate) compatible: Vec<String>,
    /// What programs for it are built with; `None`: nothing is said of the machine.
    pub(crate) build: Option<Build>,
    /// What the machine has; `None`: nothing is said of it.
    pub(crate) machine: Option<Hardware>,
    runtime: RawRuntime,
    state: RawState,
    journal: RawJournal,
    checkpoint: RawCheckpoint,
}

/// What programs for a board are built with.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Build {
    /// Rust's target triple.
    pub(crate) target: String,
    /// Debian's name of the architecture.
    pub(crate) debian_architecture: String,
    /// The processor, as rustc calls it.
    pub(crate) cpu: String,
    pub(crate) rustc_flags: String,
}

impl Build {
    /// The architecture of the target.
    pub(crate) fn architecture(&self) -> Architecture {
        Architecture::of_target(&self.target).expect("a test looks at every target")
    }
}

/// Of a large memory firmware and kernel keep one part in so many, and what they keep of a small one.
const FIRMWARE_PART: u64 = 16;

/// What a board has.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Hardware {
    /// `None`: that differs.
    pub(crate) cores: Option<usize>,
    /// All of its memory.
    memory: ByteSize,
    /// What of it firmware and kernel keep before `MemTotal` is counted, at the most.
    firmware_memory: ByteSize,
    /// What of the rest the system keeps for itself: kernel, services, page cache.
    system_memory: ByteSize,
    /// What the root file system lies on.
    pub(crate) storage: Storage,
    /// Features of `/proc/cpuinfo` that programs for it use.
    pub(crate) cpu_features: Vec<String>,
    /// The oldest kernel.
    pub(crate) kernel_min: KernelVersion,
}

impl Hardware {
    /// All of its memory, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory.0
    }

    /// What the firmware keeps of so much memory, in bytes: in proportion, but of what a board has more at most a part.
    pub(crate) fn firmware_bytes(&self, memory_bytes: u64) -> u64 {
        let own = self.firmware_memory.0;
        let share = u128::from(own) * u128::from(memory_bytes) / u128::from(self.memory.0.max(1));
        let most = own.saturating_add(memory_bytes / FIRMWARE_PART);
        u64::try_from(share).unwrap_or(u64::MAX).min(most)
    }

    /// What of the rest the system keeps, in bytes.
    pub(crate) fn system_bytes(&self) -> u64 {
        self.system_memory.0
    }
}

/// Kinds of storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Storage {
    /// A card.
    Sd,
    /// Flash on the board.
    Emmc,
    Nvme,
    /// On SATA or USB.
    Ssd,
}

impl Storage {
    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sd => "sd",
            Self::Emmc => "emmc",
            Self::Nvme => "nvme",
            Self::Ssd => "ssd",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawRuntime {
    memory_max: Option<ByteSize>,
    threads: Option<usize>,
    batch_frames_max: usize,
    batch_bytes_max: ByteSize,
    batches_in_flight: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawState {
    backend: BackendKind,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawJournal {
    #[serde(deserialize_with = "journal_sync")]
    sync: JournalSync,
    segment: ByteSize,
    max: ByteSize,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawCheckpoint {
    interval: Interval,
    retained: usize,
}

/// `always` or an interval. No profile gives away what was acknowledged, so there is no `off`.
fn journal_sync<'de, D: Deserializer<'de>>(deserializer: D) -> Result<JournalSync, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text == "always" {
        return Ok(JournalSync::Always);
    }
    let Interval(interval) = text.parse().map_err(serde::de::Error::custom)?;
    Ok(if interval.is_zero() { JournalSync::Always } else { JournalSync::Every(interval) })
}

impl BoardProfile {
    /// The profile that fits any board.
    pub fn generic() -> Self {
        Self::find(catalogue::GENERIC).expect("a test looks it up")
    }

    /// The profile of this name; `None` when there is none.
    pub fn find(name: &str) -> Option<Self> {
        let text = catalogue::profile_text(name)?;
        Some(Self::from_toml(&format!("boards/{name}.toml"), text).expect("a test loads every profile"))
    }

    /// Reads a profile. `file` is named in errors.
    ///
    /// # Errors
    /// [`ConfigError::Syntax`] with line and column.
    pub fn from_toml(file: &str, text: &str) -> Result<Self, ConfigError> {
        parse(file, text)
    }

    /// Default settings of a job on this board, but for its backend, which needs a directory.
    pub fn settings(&self) -> Settings {
        let defaults = Settings::default();
        let journal = JournalSettings {
            sync: self.journal.sync,
            bytes_max: self.journal.max.0,
            segment_bytes: self.journal.segment.0,
            ..JournalSettings::default()
        };
        Settings {
            memory_max: self.runtime.memory_max.map(|size| size.0),
            threads: self.runtime.threads.unwrap_or(defaults.threads),
            batch_frames_max: self.runtime.batch_frames_max,
            batch_bytes_max: self.runtime.batch_bytes_max.in_memory(),
            batches_in_flight: self.runtime.batches_in_flight,
            journal: Some(journal),
            checkpoint_interval: self.checkpoint.interval.0,
            checkpoints_retained: self.checkpoint.retained,
            ..defaults
        }
    }

    /// The backend of a job that names none.
    pub(crate) fn preferred_backend(&self) -> BackendKind {
        self.state.backend
    }

    /// The same, of those that this program was built with: `file` in place of one that it lacks.
    pub(crate) fn backend(&self) -> BackendKind {
        Some(self.state.backend).filter(|backend| backend.is_built()).unwrap_or(BackendKind::File)
    }

    /// Whether it says nothing of a machine.
    pub(crate) fn is_any_machine(&self) -> bool {
        self.build.is_none() && self.machine.is_none()
    }
}
