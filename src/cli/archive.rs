//! What the subcommands that use a remote share.

use super::arguments::{ArchiveArguments, RetentionArguments};
use crate::checkpoint::{ArchiveCipher, ArchiveError, ArchiveKey, Retention, Trust};
use crate::runtime::{JobError, OpenRemote, RemoteSettings};

/// The device's name on the remote.
pub(super) fn device(arguments: &ArchiveArguments) -> String {
    let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    arguments.device.clone().unwrap_or_else(host)
}

/// What of the remote is believed.
pub(super) fn trust(arguments: &ArchiveArguments) -> Result<Trust, ArchiveError> {
    let key = arguments.remote_key.as_deref().map(ArchiveKey::from_file).transpose()?;
    let cipher = arguments.remote_encryption_key.as_deref().map(ArchiveCipher::from_file).transpose()?;
    Ok(Trust { key, allow_unsigned: arguments.allow_unsigned, cipher })
}

/// The archive of `job` on the remote at `address`.
pub(super) fn open(address: &str, arguments: &ArchiveArguments, job: &str) -> anyhow::Result<OpenRemote> {
    let trust = trust(arguments)?;
    trust.check().map_err(JobError::Configuration)?;
    let settings = RemoteSettings::new(address, device(arguments), trust).map_err(ArchiveError::Remote)?;
    Ok(open_with(&settings, job)?)
}

/// The archive of `job` that `settings` name.
pub(super) fn open_with(settings: &RemoteSettings, job: &str) -> Result<OpenRemote, JobError> {
    OpenRemote::open(&settings.uri, &settings.device, job, &settings.trust)
}

/// What stays on a remote.
pub(super) fn retention(arguments: &RetentionArguments) -> Retention {
    let defaults = Retention::default();
    let chosen = |number: Option<u16>, default| number.map_or(default, usize::from);
    Retention {
        newest: chosen(arguments.remote_retain, defaults.newest),
        daily: chosen(arguments.remote_retain_daily, defaults.daily),
        weekly: chosen(arguments.remote_retain_weekly, defaults.weekly),
    }
}
