//! Builds that are broken on purpose, for the tests to catch. Nothing of it is compiled into anything but unit tests.
//!
//! There the environment variable `TIDEGATE_MUTANT` names the one place where the build is wrong; `docs/testing.md` says
//! which test must fail then, and `make mutants` checks that it does.

/// A place where a build can be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// The journal says that batches are durable when they are written.
    AckBeforeSync,
    /// New segments and manifests are not synced by name.
    NoDirectorySync,
    /// A journal record is taken for valid whatever its checksum.
    NoCrcCheck,
    /// A checkpoint names the batch behind the one its state is of.
    OffsetSavedBeforeState,
    /// Older checkpoints are removed before the new one is there.
    DeleteBeforePublish,
    /// Operators are told the time of the system.
    WallClockInOperator,
    /// A manifest is published although a chunk of it could not be written.
    ManifestBeforeChunks,
    /// A device ships on although another has taken over.
    NewerIncarnationIgnored,
    /// MQTT messages are acknowledged when they are received.
    MqttAckBeforeDurable,
    /// The packet identifiers of QoS 2 are not looked at.
    MqttNoDuplicateCheck,
}

#[cfg(not(test))]
impl Mutant {
    /// Whether the build is broken here: never.
    pub(crate) const fn is_on(self) -> bool {
        false
    }
}

#[cfg(test)]
impl Mutant {
    const ALL: [(&str, Self); 10] = [
        ("ack-before-sync", Self::AckBeforeSync),
        ("no-directory-sync", Self::NoDirectorySync),
        ("no-crc-check", Self::NoCrcCheck),
        ("offset-saved-before-state", Self::OffsetSavedBeforeState),
        ("delete-before-publish", Self::DeleteBeforePublish),
        ("wall-clock-in-operator", Self::WallClockInOperator),
        ("manifest-before-chunks", Self::ManifestBeforeChunks),
        ("newer-incarnation-ignored", Self::NewerIncarnationIgnored),
        ("mqtt-ack-before-durable", Self::MqttAckBeforeDurable),
        ("mqtt-no-duplicate-check", Self::MqttNoDuplicateCheck),
    ];

    /// Whether the build is broken here.
    ///
    /// # Panics
    /// When `TIDEGATE_MUTANT` is no mutant's name.
    pub(crate) fn is_on(self) -> bool {
        static CHOSEN: std::sync::OnceLock<Option<Mutant>> = std::sync::OnceLock::new();
        *CHOSEN.get_or_init(Self::chosen) == Some(self)
    }

    fn chosen() -> Option<Self> {
        let name = std::env::var("TIDEGATE_MUTANT").ok().filter(|name| !name.is_empty())?;
        let found = Self::ALL.iter().find(|(known, _)| *known == name);
        Some(found.unwrap_or_else(|| panic!("there is no mutant {name:?}")).1)
    }
}
