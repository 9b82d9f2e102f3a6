//! Settings from text: job files, sizes and durations, the demo's defaults.
//!
//! Text is parsed into a raw shape that refuses unknown keys, then turned once into types that cannot be wrong.

mod address;
mod backend;
mod demo;
mod diagnostics;
mod directory;
pub(crate) mod job;
mod units;

pub use address::{ListenAddress, ListenAddressError};
pub(crate) use backend::BackendKind;
pub use demo::{ConnectDefaults, DemoDefaults, GeneratorDefaults, ListenDefaults};
pub(crate) use diagnostics::Colours;
pub use diagnostics::Diagnostics;
pub(crate) use diagnostics::{Diagnostic, TextError};
pub(crate) use directory::data_directory;
pub(crate) use job::{
    Branch, JobConfig, Located, QueryConfig, SinkConnector, SinkFormat, SourceConfig, SourceConnector,
    SourceFormat, Template, TemplatePart, TimestampUnit, WatermarkPer, did_you_mean, load_job,
};
pub(crate) use units::size_text;
pub use units::{ByteSize, Interval, UnitError};

/// Why a settings file is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// It is not TOML, or has an unknown key or a value of the wrong type.
    #[error("{file}: {source}")]
    Syntax {
        /// The file.
        file: String,
        /// Line, column and text.
        source: Box<toml::de::Error>,
    },
}

pub(crate) fn parse<T: serde::de::DeserializeOwned>(file: &str, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text)
        .map_err(|source| ConfigError::Syntax { file: file.to_owned(), source: Box::new(source) })
}
