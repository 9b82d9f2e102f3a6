//! `tidegate savepoint`: asks a running job for a savepoint.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::arguments::SavepointArguments;
use crate::disk::{Disk, RealDisk};
use crate::json;
use crate::runtime::{AfterSavepoint, SOCKET_NAME, ask_for_savepoint};

pub(super) fn run(arguments: &SavepointArguments) -> anyhow::Result<()> {
    let folder = job_folder(&RealDisk, &arguments.data_dir)?;
    // The job has a working directory of its own.
    let to = arguments.to.as_deref().map(std::path::absolute).transpose()?;
    let after = if arguments.stop { AfterSavepoint::Stop } else { AfterSavepoint::GoOn };
    let savepoint = ask_for_savepoint(&folder, to.as_deref(), after)?;
    let (offset, readings, keys, bytes) =
        (savepoint.offset, savepoint.readings, savepoint.keys, savepoint.bytes);
    let path = savepoint.path.display();
    let mut out = std::io::stdout().lock();
    if arguments.json {
        let path = json::text(&path.to_string());
        writeln!(
            out,
            r#"{{"path":{path},"offset":{offset},"readings":{readings},"keys":{keys},"bytes":{bytes}}}"#
        )?;
    } else {
        writeln!(out, "{path}")?;
        writeln!(
            std::io::stderr(),
            "savepoint: offset {offset}, readings {readings}, keys {keys}, bytes {bytes}"
        )?;
    }
    Ok(())
}

/// The folder of the running job: the given one, or the only one in it that has a control socket.
fn job_folder(disk: &dyn Disk, given: &Path) -> anyhow::Result<PathBuf> {
    let has_socket =
        |folder: &Path| disk.list(folder).is_ok_and(|names| names.iter().any(|name| name == SOCKET_NAME));
    if has_socket(given) {
        return Ok(given.to_owned());
    }
    let names = disk.list(given).with_context(|| format!("cannot list {}", given.display()))?;
    let mut running: Vec<String> = names.into_iter().filter(|name| has_socket(&given.join(name))).collect();
    running.sort_unstable();
    match &*running {
        // Asking says that nobody listens, and where.
        [] => Ok(given.to_owned()),
        [job] => Ok(given.join(job)),
        _ => bail!("several jobs run in {}: give the folder of one: {}", given.display(), running.join(", ")),
    }
}
