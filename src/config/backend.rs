//! The state backends by their names in job files and board profiles.

use std::path::PathBuf;

use serde::Deserialize;

use crate::runtime::Backend;

/// A kind of state backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BackendKind {
    File,
    Memory,
    Sled,
    RocksDb,
}

impl BackendKind {
    /// Every kind with its name.
    pub(crate) const NAMES: [(&'static str, Self); 4] =
        [("file", Self::File), ("memory", Self::Memory), ("sled", Self::Sled), ("rocksdb", Self::RocksDb)];

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Memory => "memory",
            Self::Sled => "sled",
            Self::RocksDb => "rocksdb",
        }
    }

    /// Whether this program has it.
    pub(crate) fn is_built(self) -> bool {
        match self {
            Self::Memory | Self::File => true,
            Self::Sled => cfg!(feature = "sled"),
            Self::RocksDb => cfg!(feature = "rocksdb"),
        }
    }

    /// The backend with its data in what `directory` gives; `Memory` does not ask.
    ///
    /// # Errors
    /// Those of `directory`.
    pub(crate) fn at<E>(self, directory: impl FnOnce() -> Result<PathBuf, E>) -> Result<Backend, E> {
        Ok(match self {
            Self::Memory => Backend::Memory,
            Self::File => Backend::File { directory: directory()? },
            Self::Sled => Backend::Sled { directory: directory()? },
            Self::RocksDb => Backend::RocksDb { directory: directory()? },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_said_once_and_alike() {
        for (name, kind) in BackendKind::NAMES {
            assert_eq!(kind.name(), name);
            let backend = kind.at(|| Ok::<_, ()>(PathBuf::from("/data"))).unwrap();
            assert_eq!(backend.directory().is_none(), kind == BackendKind::Memory);
        }
    }
}
