//! A sealed object: bytes whose writer is known.
//!
//! Layout, little-endian:
//!   magic          [u8; 8]   // "TGSEALED"
//!   version        u16       // 1
//!   kind           u8        // 1 manifest, 2 incarnation, 3 piece of the journal
//!   scheme         u8        // bit 0: 0 BLAKE3 without a key, 1 keyed BLAKE3; bit 1: the payload is encrypted (see `cipher`)
//!   payload_bytes  u32       // as it is stored
//!   payload        [u8; payload_bytes]
//!   seal           [u8; 32]  // of all bytes before it; last in every version

use std::borrow::Cow;

use super::Trust;
use super::error::Unusable;

const MAGIC: [u8; 8] = *b"TGSEALED";
const VERSION: u16 = 1;
const PREFIX_BYTES: usize = 16;
const SEAL_BYTES: usize = 32;
const SCHEME_KEYED: u8 = 1;
const SCHEME_ENCRYPTED: u8 = 2;

/// What a sealed object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Manifest = 1,
    Incarnation = 2,
    Piece = 3,
}

/// An object whose seal was found good.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Opened<'a> {
    pub(super) payload: Cow<'a, [u8]>,
    pub(super) seal: blake3::Hash,
    pub(super) is_encrypted: bool,
}

/// Seals `payload`, with the key where there is one. Returns the object and its seal.
pub(super) fn seal(kind: Kind, payload: &[u8], trust: &Trust) -> (Vec<u8>, blake3::Hash) {
    let encrypted = trust.cipher.as_ref().map(|cipher| cipher.encrypt(payload, &[kind as u8]));
    let payload = encrypted.as_deref().unwrap_or(payload);
    let payload_bytes = u32::try_from(payload.len()).expect("payloads are below 128 MiB");
    let mut bytes = Vec::with_capacity(PREFIX_BYTES + payload.len() + SEAL_BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.push(kind as u8);
    let keyed = if trust.key.is_some() { SCHEME_KEYED } else { 0 };
    bytes.push(keyed | if encrypted.is_some() { SCHEME_ENCRYPTED } else { 0 });
    bytes.extend_from_slice(&payload_bytes.to_le_bytes());
    bytes.extend_from_slice(payload);
    let seal = trust.key.as_ref().map_or_else(|| blake3::hash(&bytes), |key| key.seal(&bytes));
    bytes.extend_from_slice(seal.as_bytes());
    (bytes, seal)
}

/// The payload and the seal of an object, once its seal is found good.
///
/// # Errors
/// [`Unusable`]; nothing of the payload was looked at by then.
pub(super) fn open<'a>(kind: Kind, bytes: &'a [u8], trust: &Trust) -> Result<Opened<'a>, Unusable> {
    if is_torn(bytes) {
        return Err(Unusable::Torn);
    }
    let (covered, seal) = bytes.split_last_chunk::<SEAL_BYTES>().ok_or(Unusable::Foreign)?;
    let (prefix, payload) = covered.split_first_chunk::<PREFIX_BYTES>().ok_or(Unusable::Foreign)?;
    let [m0, m1, m2, m3, m4, m5, m6, m7, v0, v1, found_kind, scheme, l0, l1, l2, l3] = *prefix;
    if [m0, m1, m2, m3, m4, m5, m6, m7] != MAGIC {
        return Err(Unusable::Foreign);
    }
    let seal = blake3::Hash::from_bytes(*seal);
    // Comparing hashes takes the same time wherever they differ.
    let is_good = match (scheme & SCHEME_KEYED != 0, &trust.key) {
        (true, Some(key)) => key.seal(covered) == seal,
        (true, None) => return Err(Unusable::NoKey),
        (false, _) if !trust.allow_unsigned => return Err(Unusable::Unsigned),
        (false, _) => blake3::hash(covered) == seal,
    };
    if !is_good {
        return Err(Unusable::Damaged);
    }
    let version = u16::from_le_bytes([v0, v1]);
    if version != VERSION {
        return Err(Unusable::Version(version));
    }
    if scheme & !(SCHEME_KEYED | SCHEME_ENCRYPTED) != 0
        || found_kind != kind as u8
        || payload.len() != u32::from_le_bytes([l0, l1, l2, l3]) as usize
    {
        return Err(Unusable::Contradiction("it is of another kind or length than it says"));
    }
    if scheme & SCHEME_ENCRYPTED == 0 {
        return Ok(Opened { payload: payload.into(), seal, is_encrypted: false });
    }
    let cipher = trust.cipher.as_ref().ok_or(Unusable::NoCipher)?;
    let text = cipher.decrypt(payload, &[found_kind]).ok_or(Unusable::WrongCipher)?;
    Ok(Opened { payload: text.into(), seal, is_encrypted: true })
}

/// True for what a write that was cut leaves: the beginning of an object, short of the length it says it has.
fn is_torn(bytes: &[u8]) -> bool {
    let Some((prefix, behind)) = bytes.split_first_chunk::<PREFIX_BYTES>() else {
        return MAGIC.starts_with(bytes) || bytes.starts_with(&MAGIC);
    };
    let [.., l0, l1, l2, l3] = *prefix;
    let expected = u64::from(u32::from_le_bytes([l0, l1, l2, l3])) + SEAL_BYTES as u64;
    prefix.starts_with(&MAGIC) && (behind.len() as u64) < expected
}

#[cfg(test)]
mod tests {
    use super::super::{ArchiveCipher, ArchiveKey};
    use super::*;

    fn keyed(byte: u8) -> Trust {
        Trust { key: Some(ArchiveKey::of_test(byte)), allow_unsigned: false, cipher: None }
    }

    fn encrypted(byte: u8) -> Trust {
        Trust { cipher: Some(ArchiveCipher::of_test(byte)), ..keyed(1) }
    }

    const UNSIGNED: Trust = Trust { key: None, allow_unsigned: true, cipher: None };

    #[test]
    fn golden_bytes() {
        let (bytes, seal) = super::seal(Kind::Manifest, b"abc", &UNSIGNED);
        let mut golden = b"TGSEALED".to_vec();
        golden.extend([1, 0, 1, 0, 3, 0, 0, 0]);
        golden.extend(b"abc");
        assert_eq!(seal, blake3::hash(&golden));
        golden.extend(seal.as_bytes());
        assert_eq!(bytes, golden);
    }

    #[test]
    fn only_what_the_key_sealed_is_opened() {
        let (bytes, seal) = super::seal(Kind::Manifest, b"abc", &keyed(1));
        let opened = Opened { payload: b"abc"[..].into(), seal, is_encrypted: false };
        assert_eq!(open(Kind::Manifest, &bytes, &keyed(1)), Ok(opened));
        assert_eq!(open(Kind::Manifest, &bytes, &keyed(2)), Err(Unusable::Damaged));
        assert_eq!(open(Kind::Manifest, &bytes, &UNSIGNED), Err(Unusable::NoKey));
        assert!(open(Kind::Incarnation, &bytes, &keyed(1)).is_err(), "of another kind");
        let (bytes, _) = super::seal(Kind::Manifest, b"abc", &UNSIGNED);
        assert_eq!(open(Kind::Manifest, &bytes, &keyed(1)), Err(Unusable::Unsigned));
        assert!(open(Kind::Manifest, &bytes, &UNSIGNED).is_ok());
    }

    #[test]
    fn only_the_key_it_was_encrypted_with_reads_it() {
        let (bytes, seal) = super::seal(Kind::Manifest, b"abc", &encrypted(1));
        assert!(!bytes.windows(3).any(|window| window == b"abc"));
        let opened = Opened { payload: b"abc"[..].into(), seal, is_encrypted: true };
        assert_eq!(open(Kind::Manifest, &bytes, &encrypted(1)), Ok(opened));
        assert_eq!(open(Kind::Manifest, &bytes, &encrypted(2)), Err(Unusable::WrongCipher));
        assert_eq!(open(Kind::Manifest, &bytes, &keyed(1)), Err(Unusable::NoCipher));
        let (plain, _) = super::seal(Kind::Manifest, b"abc", &keyed(1));
        assert!(open(Kind::Manifest, &plain, &encrypted(1)).is_ok(), "from before it was encrypted");
    }

    #[test]
    fn every_flip_and_cut_is_refused() {
        for trust in [keyed(1), UNSIGNED, encrypted(1)] {
            let (bytes, _) = super::seal(Kind::Manifest, b"a payload", &trust);
            for position in 0..bytes.len() {
                let mut flipped = bytes.clone();
                flipped[position] ^= 1;
                assert!(open(Kind::Manifest, &flipped, &trust).is_err(), "flip at {position}");
                assert_eq!(
                    open(Kind::Manifest, &bytes[..position], &trust),
                    Err(Unusable::Torn),
                    "cut to {position}"
                );
            }
        }
    }
}
