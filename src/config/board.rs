//! Board profiles: the defaults that follow from the hardware.

use serde::Deserialize;

use super::units::{ByteSize, Interval};
use super::{ConfigError, parse};
use crate::runtime::Settings;

/// What fits any board.
const GENERIC: &str = include_str!("../../boards/generic.toml");

/// A board and the defaults for a job on it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct BoardProfile {
    /// Name of the profile, that of its file.
    pub name: String,
    /// What the board is.
    pub description: String,
    runtime: RawRuntime,
    checkpoint: RawCheckpoint,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawRuntime {
    threads: Option<usize>,
    batch_frames_max: usize,
    batch_bytes_max: ByteSize,
    batches_in_flight: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawCheckpoint {
    interval: Interval,
    retained: usize,
}

impl BoardProfile {
    /// The profile that fits any board.
    pub fn generic() -> Self {
        parse("boards/generic.toml", GENERIC).expect("a test loads the embedded profile")
    }

    /// Reads a profile. `file` is named in errors.
    ///
    /// # Errors
    /// [`ConfigError::Syntax`] with line and column.
    pub fn from_toml(file: &str, text: &str) -> Result<Self, ConfigError> {
        parse(file, text)
    }

    /// Default settings of a job on this board.
    pub fn settings(&self) -> Settings {
        let defaults = Settings::default();
        Settings {
            threads: self.runtime.threads.unwrap_or(defaults.threads),
            batch_frames_max: self.runtime.batch_frames_max,
            batch_bytes_max: self.runtime.batch_bytes_max.0,
            batches_in_flight: self.runtime.batches_in_flight,
            checkpoint_interval: self.checkpoint.interval.0,
            checkpoints_retained: self.checkpoint.retained,
            ..defaults
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generic_profile_loads_and_is_the_librarys_default() {
        let (board, library) = (BoardProfile::generic().settings(), Settings::default());
        assert_eq!(board.check(), Ok(()));
        assert_eq!(format!("{board:?}"), format!("{library:?}"));
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let text = GENERIC.replace("batches-in-flight", "batches-in-flght");
        let message = BoardProfile::from_toml("x.toml", &text).unwrap_err().to_string();
        assert!(message.contains("batches-in-flght") && message.contains("line"), "{message}");
    }
}
