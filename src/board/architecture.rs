//! The processor architectures that there are profiles for.

use std::fmt;

/// An architecture of programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Architecture {
    /// 64-bit ARM.
    Aarch64,
    /// 32-bit ARM, from ARMv7-A on.
    Armv7,
    /// 64-bit x86.
    Amd64,
}

impl Architecture {
    /// That of this program; `None` when there is no profile for it.
    pub(crate) fn of_program() -> Option<Self> {
        match std::env::consts::ARCH {
            "aarch64" => Some(Self::Aarch64),
            "arm" => Some(Self::Armv7),
            "x86_64" => Some(Self::Amd64),
            _ => None,
        }
    }

    /// That of a kernel by the name it has for it.
    pub(crate) fn of_kernel(name: &str) -> Option<Self> {
        match name {
            "aarch64" => Some(Self::Aarch64),
            // The latter is a 64-bit kernel seen by a 32-bit program.
            "armv7l" | "armv8l" => Some(Self::Armv7),
            "x86_64" => Some(Self::Amd64),
            _ => None,
        }
    }

    /// That of a Rust target triple.
    pub(crate) fn of_target(triple: &str) -> Option<Self> {
        match triple.split('-').next()? {
            "aarch64" => Some(Self::Aarch64),
            "armv7" => Some(Self::Armv7),
            "x86_64" => Some(Self::Amd64),
            _ => None,
        }
    }

    /// The profile for machines of it that no other profile knows.
    pub(crate) fn generic_profile(self) -> &'static str {
        match self {
            Self::Aarch64 => "generic-aarch64",
            Self::Armv7 => "generic-armv7",
            Self::Amd64 => "generic-amd64",
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aarch64 => "aarch64",
            Self::Armv7 => "armv7",
            Self::Amd64 => "amd64",
        })
    }
}
