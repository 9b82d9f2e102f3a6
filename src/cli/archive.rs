//! What the subcommands that use a remote share.

use super::arguments::ArchiveArguments;
use crate::checkpoint::{ArchiveError, ArchiveKey, Trust};
use crate::runtime::{JobError, OpenRemote};

/// The device's name on the remote.
pub(super) fn device(arguments: &ArchiveArguments) -> String {
    let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    arguments.device.clone().unwrap_or_else(host)
}

/// What of the remote is believed.
pub(super) fn trust(arguments: &ArchiveArguments) -> Result<Trust, ArchiveError> {
    let key = arguments.remote_key.as_deref().map(ArchiveKey::from_file).transpose()?;
    Ok(Trust { key, allow_unsigned: arguments.allow_unsigned })
}

/// The archive of `job` on the remote at `address`.
pub(super) fn open(address: &str, arguments: &ArchiveArguments, job: &str) -> anyhow::Result<OpenRemote> {
    let trust = trust(arguments)?;
    trust.check().map_err(JobError::Configuration)?;
    let uri = address.parse().map_err(ArchiveError::Remote)?;
    Ok(OpenRemote::open(&uri, &device(arguments), job, &trust)?)
}
