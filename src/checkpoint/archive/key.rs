//! Who may write an archive: a key that the device and whoever restores share.

use std::fmt;
use std::path::Path;

use super::{ArchiveCipher, ArchiveError};
use crate::disk::read_secret;

/// Separates this use of the key from all others.
const CONTEXT: &str = "tidegate archive 2026-11 seals of manifests and incarnations";
const KEY_DIGITS: usize = 64;
const KEY_FILE_BYTES_MAX: u64 = 1024;

/// A key for keyed BLAKE3. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct ArchiveKey([u8; 32]);

impl fmt::Debug for ArchiveKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ArchiveKey(secret)")
    }
}

impl ArchiveKey {
    /// The key in a file: 64 hexadecimal digits, readable by its owner only.
    ///
    /// # Errors
    /// [`ArchiveError::Key`].
    pub fn from_file(path: &Path) -> Result<Self, ArchiveError> {
        Ok(Self(blake3::derive_key(CONTEXT, &read_key(path)?)))
    }

    #[cfg(test)]
    pub(crate) fn of_test(byte: u8) -> Self {
        Self([byte; 32])
    }

    pub(super) fn seal(&self, bytes: &[u8]) -> blake3::Hash {
        blake3::keyed_hash(&self.0, bytes)
    }
}

/// What a key file holds: 64 hexadecimal digits, readable by its owner only.
///
/// # Errors
/// [`ArchiveError::Key`].
pub(super) fn read_key(path: &Path) -> Result<[u8; 32], ArchiveError> {
    let wrong = |reason: String| ArchiveError::Key { path: path.to_owned(), reason };
    let bytes = read_secret(path, KEY_FILE_BYTES_MAX).map_err(|error| wrong(error.to_string()))?;
    let text = std::str::from_utf8(&bytes).unwrap_or_default().trim();
    let is_hex = text.len() == KEY_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let key = is_hex.then(|| blake3::Hash::from_hex(text).ok()).flatten();
    let advice = "it must hold 64 hexadecimal digits, such as `openssl rand -hex 32` gives";
    Ok(*key.ok_or_else(|| wrong(advice.to_owned()))?.as_bytes())
}

/// What of an archive is believed, and who may read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// What is written is sealed with it, and what is sealed with another is refused.
    pub key: Option<ArchiveKey>,
    /// Whether to believe what is not sealed with a key: then whoever can write to the remote can make up state.
    pub allow_unsigned: bool,
    /// What is written is encrypted with it. What is not encrypted can be read with or without.
    pub cipher: Option<ArchiveCipher>,
}

impl Trust {
    /// Checks that something can be written and read at all.
    ///
    /// # Errors
    /// A sentence that says what to give.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.key.is_some() || self.allow_unsigned {
            return Ok(());
        }
        Err("a remote needs a key that authenticates what is on it: give --remote-key FILE, or --allow-unsigned to \
             believe whoever can write there"
            .to_owned())
    }
}
