//! Defaults of `tidegate demo`.

use serde::Deserialize;

use super::parse;
use super::units::{ByteSize, Interval};

/// The embedded defaults.
const DEMO: &str = include_str!("../../config/demo.toml");

/// Defaults of `tidegate demo`, from `config/demo.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct DemoDefaults {
    /// The simulated sensors.
    pub generator: GeneratorDefaults,
    /// The connecting source.
    pub connect: ConnectDefaults,
    /// The listening source.
    pub listen: ListenDefaults,
}

/// Defaults of the simulated sensors.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct GeneratorDefaults {
    /// Number of sensors; their keys are 1 to this.
    pub sensors: u32,
    /// Readings a second, of all sensors together.
    pub readings_per_second: u32,
}

/// Defaults of the connecting source.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct ConnectDefaults {
    /// How long a server may stay away.
    pub retry_for: Interval,
}

/// Defaults of the listening source.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct ListenDefaults {
    /// Longest line.
    pub line_bytes_max: ByteSize,
    /// Time without a byte after which a client is disconnected.
    pub idle_timeout: Interval,
    /// Clients at once.
    pub connections_max: usize,
}

impl DemoDefaults {
    /// The embedded defaults.
    pub fn embedded() -> Self {
        parse("config/demo.toml", DEMO).expect("a test loads the embedded defaults")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_defaults_load() {
        let defaults = DemoDefaults::embedded();
        assert_eq!(defaults.listen.line_bytes_max, ByteSize(65_536));
        assert_eq!(defaults.connect.retry_for.to_string(), "10s");
    }
}
