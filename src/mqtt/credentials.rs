//! User and password of a broker, from a file.
//!
//! The file's first line is the user, its second the password; it may lack the second. Only its owner may read it: a file
//! that others may read is refused, but for those systemd hands over (`LoadCredential`). It is read again for each
//! connection, so a changed password needs no restart.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::disk;

/// Longest file, in bytes.
const FILE_BYTES_MAX: u64 = 4096;

/// User and password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) user: String,
    pub(crate) password: String,
}

/// Never shows the password.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Why a file with a secret cannot be used. None of its contents are in here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretFileError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{} must hold the user on its first line and the password on its second", path.display())]
    Malformed { path: PathBuf },
}

impl Credentials {
    /// Reads a file.
    ///
    /// # Errors
    /// See [`SecretFileError`].
    pub(crate) fn read(path: &Path) -> Result<Self, SecretFileError> {
        let bytes = read_secret(path, FILE_BYTES_MAX)?;
        let malformed = || SecretFileError::Malformed { path: path.to_owned() };
        let text = String::from_utf8(bytes).map_err(|_| malformed())?;
        let mut lines = text.lines();
        let user = lines.next().unwrap_or_default().to_owned();
        let password = lines.next().unwrap_or_default().to_owned();
        if user.is_empty() || lines.next().is_some() {
            return Err(malformed());
        }
        Ok(Self { user, password })
    }

    /// What a connection logs in with: user and password, where there is a file.
    ///
    /// # Errors
    /// See [`SecretFileError`].
    pub(crate) fn login(path: Option<&Path>) -> Result<Option<(String, String)>, SecretFileError> {
        let read = path.map(Self::read).transpose()?;
        Ok(read.map(|Self { user, password }| (user, password)))
    }
}

/// Reads a file that only its owner may read.
///
/// # Errors
/// See [`SecretFileError`].
pub(crate) fn read_secret(path: &Path, bytes_max: u64) -> Result<Vec<u8>, SecretFileError> {
    disk::read_secret(path, bytes_max)
        .map_err(|source| SecretFileError::Read { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file(contents: &str, mode: u32) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(contents.as_bytes()).unwrap();
        file.as_file().set_permissions(std::fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    #[test]
    fn user_and_password_are_two_lines() {
        let read = |contents| Credentials::read(file(contents, 0o600).path());
        let expected = Credentials { user: "gate 7".into(), password: "a:b c".into() };
        assert_eq!(read("gate 7\na:b c\n").unwrap(), expected);
        assert_eq!(read("gate 7\r\na:b c").unwrap(), expected);
        assert_eq!(read("u\n").unwrap().password, "");
        for contents in ["", "\nsecret\n", "u\nsecret\nmore\n"] {
            let error = read(contents).unwrap_err().to_string();
            assert!(error.contains("first line") && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        for mode in [0o644, 0o640, 0o602] {
            let file = file("u\nsecret\n", mode);
            let error = Credentials::read(file.path()).unwrap_err().to_string();
            assert!(error.contains("chmod 600"), "{error}");
        }
    }

    #[test]
    fn the_password_is_never_shown() {
        let credentials = Credentials { user: "u".into(), password: "secret".into() };
        assert!(!format!("{credentials:?}").contains("secret"));
    }
}
