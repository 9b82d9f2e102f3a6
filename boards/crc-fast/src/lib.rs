//! Stands in for the crate of that name, which has tables for some thirty CRCs: 650 KB of a program that needs one of
//! them. The part of its interface that `opendal-service-s3` uses, by the crate `crc32c`.

#![forbid(unsafe_code)]

/// The CRC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrcAlgorithm {
    /// CRC-32C, the one of iSCSI.
    Crc32Iscsi,
}

/// A checksum that is being computed.
#[derive(Debug, Clone, Copy)]
pub struct Digest(u32);

impl Digest {
    /// That of no bytes.
    pub fn new(algorithm: CrcAlgorithm) -> Self {
        match algorithm {
            CrcAlgorithm::Crc32Iscsi => Self(0),
        }
    }

    /// Takes in more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0 = crc32c::crc32c_append(self.0, bytes);
    }

    /// The checksum of what was taken in.
    pub fn finalize(&self) -> u64 {
        u64::from(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_catalogue_comes_out() {
        let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
        digest.update(b"1234");
        digest.update(b"56789");
        assert_eq!(digest.finalize(), 0xE306_9283);
    }
}
