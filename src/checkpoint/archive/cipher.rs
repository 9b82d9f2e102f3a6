//! Secrecy: what is on a remote is encrypted with a key that the device and whoever restores share.
//!
//! XChaCha20-Poly1305. The nonce is a keyed hash of what is encrypted, so equal bytes are encrypted alike, a write that is
//! tried again writes the same, and no nonce is used for two different texts. A chunk's name is a keyed hash of its hash:
//! the names do not tell what the chunks hold, only which are equal.
//!
//! Layout: nonce [u8; 24] | ciphertext, as long as the text | tag [u8; 16].

use std::fmt;
use std::path::Path;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};

use super::ArchiveError;
use super::key::read_key;

const TEXT_CONTEXT: &str = "tidegate archive 2026-11 encryption";
const NONCE_CONTEXT: &str = "tidegate archive 2026-11 nonces";
const NAME_CONTEXT: &str = "tidegate archive 2026-11 names of chunks";
const NONCE_BYTES: usize = 24;

/// A key for encryption. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct ArchiveCipher {
    text: [u8; 32],
    nonce: [u8; 32],
    name: [u8; 32],
}

impl fmt::Debug for ArchiveCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ArchiveCipher(secret)")
    }
}

impl ArchiveCipher {
    /// The key in a file: 64 hexadecimal digits, readable by its owner only.
    ///
    /// # Errors
    /// [`ArchiveError::Key`].
    pub fn from_file(path: &Path) -> Result<Self, ArchiveError> {
        Ok(Self::derived(&read_key(path)?))
    }

    fn derived(key: &[u8; 32]) -> Self {
        let derive = |context| blake3::derive_key(context, key);
        Self { text: derive(TEXT_CONTEXT), nonce: derive(NONCE_CONTEXT), name: derive(NAME_CONTEXT) }
    }

    #[cfg(test)]
    pub(crate) fn of_test(byte: u8) -> Self {
        Self::derived(&[byte; 32])
    }

    /// The hash that stands in the name of the chunk with this hash.
    pub(super) fn name_of(&self, hash: &blake3::Hash) -> blake3::Hash {
        blake3::keyed_hash(&self.name, hash.as_bytes())
    }

    /// Encrypts `text`; `bound` is authenticated with it and must be the same to decrypt it.
    pub(super) fn encrypt(&self, text: &[u8], bound: &[u8]) -> Vec<u8> {
        let mut hasher = blake3::Hasher::new_keyed(&self.nonce);
        hasher.update(&(bound.len() as u64).to_le_bytes()).update(bound).update(text);
        let mut nonce = [0; NONCE_BYTES];
        hasher.finalize_xof().fill(&mut nonce);
        let sealed = XChaCha20Poly1305::new(&self.text.into())
            .encrypt(&XNonce::from(nonce), Payload { msg: text, aad: bound })
            .expect("texts are far below 256 GiB");
        [&nonce[..], &sealed].concat()
    }

    /// The text of what this key encrypted with `bound`, or `None`.
    pub(super) fn decrypt(&self, bytes: &[u8], bound: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_BYTES>()?;
        let payload = Payload { msg: sealed, aad: bound };
        XChaCha20Poly1305::new(&self.text.into()).decrypt(&XNonce::from(*nonce), payload).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_and_place_decrypt() {
        let cipher = ArchiveCipher::of_test(1);
        let bytes = cipher.encrypt(b"a text", b"here");
        assert_eq!(bytes.len(), 6 + NONCE_BYTES + 16);
        assert_eq!(bytes, cipher.encrypt(b"a text", b"here"), "the same again");
        assert_eq!(cipher.decrypt(&bytes, b"here").as_deref(), Some(&b"a text"[..]));
        assert_eq!(cipher.decrypt(&bytes, b"there"), None);
        assert_eq!(ArchiveCipher::of_test(2).decrypt(&bytes, b"here"), None);
        for position in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[position] ^= 1;
            assert_eq!(cipher.decrypt(&flipped, b"here"), None, "flip at {position}");
            assert_eq!(cipher.decrypt(&bytes[..position], b"here"), None, "cut to {position}");
        }
    }

    #[test]
    fn different_texts_have_different_nonces() {
        let cipher = ArchiveCipher::of_test(1);
        let nonce = |text: &[u8], bound: &[u8]| cipher.encrypt(text, bound)[..NONCE_BYTES].to_vec();
        assert_ne!(nonce(b"ab", b"c"), nonce(b"b", b"ca"));
        assert_ne!(nonce(b"a", b""), nonce(b"b", b""));
    }

    /// The scheme itself: draft-irtf-cfrg-xchacha-03, appendix A.3.1.
    #[test]
    fn the_scheme_is_that_of_its_draft() {
        let key: [u8; 32] = std::array::from_fn(|index| 0x80 + index as u8);
        let nonce: [u8; 24] = std::array::from_fn(|index| 0x40 + index as u8);
        let text =
            b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, \
                     sunscreen would be it.";
        let aad = [0x50, 0x51, 0x52, 0x53, 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7];
        let payload = Payload { msg: text, aad: &aad };
        let sealed = XChaCha20Poly1305::new(&key.into()).encrypt(&XNonce::from(nonce), payload).unwrap();
        let tag =
            [0xc0, 0x87, 0x59, 0x24, 0xc1, 0xc7, 0x98, 0x79, 0x47, 0xde, 0xaf, 0xd8, 0x78, 0x0a, 0xcf, 0x49];
        assert_eq!(sealed[..4], [0xbd, 0x6d, 0x17, 0x9d]);
        assert_eq!(sealed[text.len()..], tag);
    }
}
