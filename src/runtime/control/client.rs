//! The command line's side of the control socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::{ANSWER_BYTES_MAX, GO_ON, STOP, open_directory, socket_path};
use crate::checkpoint::Savepoint;
use crate::runtime::job_handle::AfterSavepoint;

/// Why a running job did not give what was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ControlError {
    /// Nobody listens.
    #[error("no job runs in {directory}: {source}", directory = directory.display())]
    NotRunning { directory: PathBuf, source: io::Error },
    /// The connection broke.
    #[error("the job in {directory} ended before it answered", directory = directory.display())]
    NoAnswer { directory: PathBuf },
    /// A path that cannot be sent.
    #[error("the path {path:?} cannot be used: it has a line break, or bytes that are not UTF-8", path = path.display())]
    Path { path: PathBuf },
    /// The job said so.
    #[error("{0}")]
    Refused(String),
}

/// Asks the job in `directory`, its folder, for a savepoint and waits for it.
///
/// # Errors
/// See [`ControlError`].
pub(crate) fn ask_for_savepoint(
    directory: &Path,
    to: Option<&Path>,
    after: AfterSavepoint,
) -> Result<Savepoint, ControlError> {
    let to = match to {
        None => "",
        Some(path) => match path.to_str().filter(|text| !text.contains('\n')) {
            Some(text) => text,
            None => return Err(ControlError::Path { path: path.to_owned() }),
        },
    };
    let not_running = |source| ControlError::NotRunning { directory: directory.to_owned(), source };
    let no_answer = || ControlError::NoAnswer { directory: directory.to_owned() };
    let opened = open_directory(directory).map_err(not_running)?;
    let mut stream = UnixStream::connect(socket_path(&opened)).map_err(not_running)?;
    let after = match after {
        AfterSavepoint::GoOn => GO_ON,
        AfterSavepoint::Stop => STOP,
    };
    stream.write_all(format!("savepoint\t{after}\t{to}\n").as_bytes()).map_err(|_| no_answer())?;
    let mut line = String::new();
    let read = BufReader::new(stream.take(ANSWER_BYTES_MAX)).read_line(&mut line);
    let line = read.ok().and_then(|_| line.strip_suffix('\n')).ok_or_else(no_answer)?;
    match line.split_once('\t') {
        Some(("ok", fields)) => Savepoint::from_fields(fields).ok_or_else(no_answer),
        Some(("error", reason)) => Err(ControlError::Refused(reason.to_owned())),
        _ => Err(no_answer()),
    }
}
