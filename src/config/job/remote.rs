//! `[checkpoint]`: how often, how many, and the remote they are shipped to.
//!
//! Keys of the remote are files that are read when the job starts, not when its file is checked.

use std::path::PathBuf;
use std::time::Duration;

use super::section::{Keys, Section};
use crate::checkpoint::{
    ArchiveCipher, ArchiveError, ArchiveKey, Retention, Trust, UploadLimits, UploadWindow, Verification,
};
use crate::config::BackendKind;
use crate::config::diagnostics::Diagnostic;
use crate::remote::RemoteUri;
use crate::runtime::{
    CHECKPOINT_INTERVAL_MIN, CHECKPOINTS_RETAINED_LIMIT, REMOTE_RETAINED_LIMIT, RemoteSettings,
    SHIP_JOURNAL_INTERVAL, SHIP_JOURNAL_INTERVAL_MIN, Settings,
};

pub(super) const CHECKPOINT_KEYS: Keys = Keys {
    section: "checkpoint",
    common: &[
        "interval",
        "retained",
        "timeout",
        "remote",
        "device",
        "key-file",
        "encryption-key-file",
        "allow-unsigned",
        "remote-interval",
        "ship-journal",
        "ship-journal-interval",
        "remote-retained",
        "remote-retained-daily",
        "remote-retained-weekly",
        "remote-grace",
        "remote-verification",
        "remote-stop-timeout",
        "upload-bytes-per-second",
        "upload-bytes-per-day",
        "upload-window",
    ],
    of_type: &[],
};

/// Keys that mean something without a remote.
const LOCAL_KEYS: [&str; 3] = ["interval", "retained", "timeout"];
/// Least time a checkpoint has to complete.
const TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// Longest name of a device, in bytes.
const DEVICE_BYTES_MAX: usize = 256;

/// The remote, but for what its keys files hold.
#[derive(Debug, Clone)]
pub(super) struct RemoteConfig {
    address: String,
    /// `None`: the host's name.
    device: Option<String>,
    key_file: Option<PathBuf>,
    encryption_key_file: Option<PathBuf>,
    allow_unsigned: bool,
    interval: Option<Duration>,
    /// Time between two pieces of the journal; `None`: it is not shipped.
    ship_journal: Option<Duration>,
    retention: Retention,
    grace: Option<Duration>,
    verification: Verification,
    stop_timeout: Option<Duration>,
    limits: UploadLimits,
}

impl RemoteConfig {
    /// The settings, with the keys.
    ///
    /// # Errors
    /// [`ArchiveError::Key`] when a key file cannot be used.
    pub(super) fn open(&self) -> Result<RemoteSettings, ArchiveError> {
        let trust = Trust {
            key: self.key_file.as_deref().map(ArchiveKey::from_file).transpose()?,
            allow_unsigned: self.allow_unsigned,
            cipher: self.encryption_key_file.as_deref().map(ArchiveCipher::from_file).transpose()?,
        };
        let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        let device = self.device.clone().unwrap_or_else(host);
        let mut settings = RemoteSettings::new(&self.address, device, trust).map_err(ArchiveError::Remote)?;
        settings.interval = self.interval.unwrap_or(settings.interval);
        settings.ship_journal = self.ship_journal;
        settings.retention = self.retention;
        settings.grace = self.grace.unwrap_or(settings.grace);
        settings.verification = self.verification;
        settings.stop_timeout = self.stop_timeout.unwrap_or(settings.stop_timeout);
        settings.limits = self.limits;
        Ok(settings)
    }
}

/// `[checkpoint]`.
pub(super) fn checkpoint(
    section: &Section<'_>,
    backend: BackendKind,
    settings: &mut Settings,
) -> Option<RemoteConfig> {
    section.check_keys(&CHECKPOINT_KEYS, None);
    if let Some(interval) = section.duration("interval", CHECKPOINT_INTERVAL_MIN) {
        settings.checkpoint_interval = interval;
    }
    if let Some(retained) = section.count("retained", 1, CHECKPOINTS_RETAINED_LIMIT) {
        settings.checkpoints_retained = retained;
    }
    if let Some(timeout) = section.duration("timeout", TIMEOUT_MIN) {
        settings.checkpoint_timeout = timeout;
    }
    let remote = remote(section);
    let Some(at) = section.node("remote").map(|node| &node.at) else {
        let of_remote = |key: &&&str| !LOCAL_KEYS.contains(key);
        for key in CHECKPOINT_KEYS.common.iter().filter(of_remote) {
            if let Some(node) = section.node(key) {
                let fault =
                    Diagnostic::new(format!("`{key}` of [checkpoint] is about a remote, and there is none"));
                section
                    .report(fault.at(&node.at).help("add `remote = \"file:///mnt/backup\"`, or remove this"));
            }
        }
        return None;
    };
    if backend == BackendKind::Memory {
        let fault =
            Diagnostic::new("the memory backend keeps no files that could be shipped to a remote").at(at);
        section.report(fault.help("give [state] the backend \"file\", \"sled\" or \"rocksdb\""));
    }
    if let Some(remote) = &remote
        && remote.key_file.is_none()
        && !remote.allow_unsigned
    {
        let fault = Diagnostic::new("a remote needs a key that authenticates what is on it").at(at);
        section.report(fault.help(
            "give `key-file`, a file with 64 hexadecimal digits, or `allow-unsigned = true` to believe whoever can \
             write there",
        ));
    }
    remote
}

fn remote(section: &Section<'_>) -> Option<RemoteConfig> {
    let defaults = Retention::default();
    let retained = |key: &str, low: usize, default: usize| {
        section.count(key, low, REMOTE_RETAINED_LIMIT).unwrap_or(default)
    };
    let retention = Retention {
        newest: retained("remote-retained", 1, defaults.newest),
        daily: retained("remote-retained-daily", 0, defaults.daily),
        weekly: retained("remote-retained-weekly", 0, defaults.weekly),
    };
    let verifications = [("read-back", Verification::ReadBack), ("reply", Verification::Reply)];
    let verification = section.choice("remote-verification", &verifications);
    let limits = UploadLimits {
        bytes_per_second: section.size("upload-bytes-per-second", 1..=u64::MAX),
        bytes_per_day: section.size("upload-bytes-per-day", 1..=u64::MAX),
        window: section.parsed::<UploadWindow>("upload-window", "01:00-05:00").map(|window| window.value),
    };
    let device = section.string("device", "truck-17");
    if let Some(device) = &device
        && !(1..=DEVICE_BYTES_MAX).contains(&device.value.len())
    {
        let reason = format!("a device's name has 1 to {DEVICE_BYTES_MAX} bytes");
        section.wrong_value("device", &device.at, &reason, "truck-17");
    }
    let key_file = section.path("key-file", "/etc/tidegate/remote.key");
    let encryption_key_file = section.path("encryption-key-file", "/etc/tidegate/encryption.key");
    let allow_unsigned = section.boolean("allow-unsigned").unwrap_or(false);
    let interval = section.duration("remote-interval", Duration::ZERO);
    let ships_journal = section.boolean("ship-journal").unwrap_or(false);
    let journal_interval = section.duration("ship-journal-interval", SHIP_JOURNAL_INTERVAL_MIN);
    let grace = section.duration("remote-grace", Duration::ZERO);
    let stop_timeout = section.duration("remote-stop-timeout", Duration::ZERO);
    let address = section.given("remote", "file:///mnt/backup")?;
    if let Err(error) = address.value.parse::<RemoteUri>() {
        if address.value.contains('@') {
            section.hide(&address.at);
        }
        section.wrong_value("remote", &address.at, &error.to_string(), "file:///mnt/backup");
    }
    Some(RemoteConfig {
        address: address.value,
        device: device.map(|device| device.value),
        key_file,
        encryption_key_file,
        allow_unsigned,
        interval,
        ship_journal: ships_journal.then(|| journal_interval.unwrap_or(SHIP_JOURNAL_INTERVAL)),
        retention,
        grace,
        verification: verification.map_or(Verification::ReadBack, |verification| verification.value),
        stop_timeout,
        limits,
    })
}
