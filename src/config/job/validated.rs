//! A job file that has been checked.

use std::path::{Path, PathBuf};

use super::query::QueryConfig;
use super::remote::RemoteConfig;
use super::sink::SinkConfig;
use super::source::SourceConfig;
use super::sql_text::SqlText;
use crate::board::ChosenBoard;
use crate::config::diagnostics::{Diagnostic, Diagnostics, TextError, Texts};
use crate::config::{BackendKind, data_directory};
use crate::runtime::{Backend, JobError, MemoryOverhead, Settings};

/// A job: what it reads, computes and writes, and how it is run.
#[derive(Debug)]
pub(crate) struct JobConfig {
    pub(crate) name: String,
    pub(crate) sources: Vec<SourceConfig>,
    /// In the order of the file. One may read from another.
    pub(crate) queries: Vec<QueryConfig>,
    pub(crate) sinks: Vec<SinkConfig>,
    pub(crate) board: ChosenBoard,
    /// All but directory and remote.
    pub(super) settings: Settings,
    pub(super) backend: BackendKind,
    pub(super) directory: Option<PathBuf>,
    pub(super) remote: Option<RemoteConfig>,
    pub(super) texts: Texts,
}

impl JobConfig {
    /// Settings of the job, with the keys of its remote read from their files. It starts from the newest checkpoint.
    ///
    /// # Errors
    /// [`JobError::Configuration`] when there is no directory for the state, [`JobError::Remote`] when a key file cannot be
    /// used.
    pub(crate) fn settings(&self) -> Result<Settings, JobError> {
        let directory = || match &self.directory {
            Some(directory) => Ok(directory.clone()),
            None => data_directory().ok_or_else(|| {
                let advice = "HOME is not set; give `directory` in [state]";
                JobError::Configuration(format!("no data directory: {advice}"))
            }),
        };
        let backend = self.backend.at(directory)?;
        let control = match &backend {
            Backend::Memory => self.directory.clone(),
            kept => kept.directory().map(Path::to_owned),
        };
        let remote = self.remote.as_ref().map(RemoteConfig::open).transpose().map_err(JobError::Remote)?;
        Ok(Settings { backend, control, remote, ..self.settings.clone() })
    }

    /// The same as far as it is known without its directory and its keys, and what goes off its memory before state.
    pub(crate) fn outline(&self) -> (Settings, MemoryOverhead) {
        let settings = outlined(&self.settings, self.backend);
        let overhead = MemoryOverhead::of(&settings, self.remote.is_some());
        (settings, overhead)
    }

    /// The state backend's name.
    pub(crate) fn backend(&self) -> BackendKind {
        self.backend
    }

    /// A fault in a schema or a query, as one of the file.
    pub(crate) fn fault_in(&self, text: &SqlText, error: TextError) -> Diagnostic {
        text.diagnose(&self.texts, error)
    }

    /// Faults that were found after the file was read. There must be one at least.
    pub(crate) fn refuse(&self, faults: Vec<Diagnostic>) -> Diagnostics {
        Diagnostics::new(&self.texts, faults)
    }
}

/// Settings with a backend whose directory is not known.
pub(super) fn outlined(settings: &Settings, backend: BackendKind) -> Settings {
    let nowhere = || Ok::<_, std::convert::Infallible>(PathBuf::from("."));
    let backend = backend.at(nowhere).unwrap_or(Backend::Memory);
    Settings { backend, ..settings.clone() }
}
