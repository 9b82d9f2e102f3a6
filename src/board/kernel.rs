//! Versions of the Linux kernel, as far as they are compared.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

/// The first two numbers of a kernel's release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KernelVersion {
    major: u16,
    minor: u16,
}

/// A text that does not begin with a kernel's version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no version of a kernel; write for instance \"6.1\"")]
pub(crate) struct NoVersion(String);

impl FromStr for KernelVersion {
    type Err = NoVersion;

    /// Reads `6.1`, and of `6.1.21-v8+` as much.
    fn from_str(text: &str) -> Result<Self, NoVersion> {
        let mut numbers = text.trim().splitn(3, '.');
        let mut number = || {
            let part = numbers.next()?;
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            part.get(..digits)?.parse().ok()
        };
        match (number(), number()) {
            (Some(major), Some(minor)) => Ok(Self { major, minor }),
            _ => Err(NoVersion(text.to_owned())),
        }
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl<'de> Deserialize<'de> for KernelVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_by_number() {
        let version = |text: &str| text.parse::<KernelVersion>().unwrap();
        assert_eq!(version("6.1.21-v8+\n").to_string(), "6.1");
        assert_eq!(version("6.6-rc1"), version("6.6.0"));
        assert!(version("4.9.337") < version("4.19") && version("5.10.110-rockchip") > version("5.4"));
        for text in ["", "six", "6", "6.", "6.x", "99999.1"] {
            assert_eq!(text.parse::<KernelVersion>(), Err(NoVersion(text.to_owned())));
        }
    }
}
