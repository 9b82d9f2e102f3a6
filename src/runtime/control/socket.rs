//! The job's side of the control socket.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::Mode;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{GO_ON, REQUEST_BYTES_MAX, SOCKET_NAME, STOP, open_directory, socket_path};
use crate::checkpoint::{Savepoint, SavepointError};
use crate::disk::Disk;
use crate::runtime::job_handle::{AfterSavepoint, SavepointRequest};

/// How long a client may take to send its request, or to take its answer.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after a failed accept, which is most often a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections the kernel holds before we accept them.
const BACKLOG: i32 = 8;
/// Read and write for the user, nobody else.
const SOCKET_MODE: Mode = Mode::from_raw_mode(0o600);

/// A bound control socket; removed when dropped.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    listener: std::os::unix::net::UnixListener,
}

impl ControlSocket {
    /// Binds the socket in `directory`, whose lock the caller holds.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn bind(disk: Arc<dyn Disk>, directory: &Path) -> io::Result<Self> {
        let path = directory.join(SOCKET_NAME);
        match disk.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let directory = open_directory(directory)?;
        let short = socket_path(&directory);
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&socket2::SockAddr::unix(&short)?)?;
        // Nobody can connect before `listen`.
        rustix::fs::chmod(&short, SOCKET_MODE)?;
        socket.listen(BACKLOG)?;
        Ok(Self { disk, path, listener: socket.into() })
    }

    /// Serves clients until the job has ended, and the one at hand to its end.
    pub(crate) async fn serve(self, requests: mpsc::Sender<SavepointRequest>, ended: CancellationToken) {
        let listener = self.listener.try_clone().and_then(UnixListener::from_std);
        let listener = match listener {
            Ok(listener) => listener,
            Err(error) => return tracing::warn!(%error, "no control socket"),
        };
        loop {
            let accepted = tokio::select! {
                () = ended.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    if let Err(error) = serve_client(stream, &requests, &ended).await {
                        tracing::debug!(%error, "a client of the control socket went away");
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection to the control socket");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if let Err(error) = self.disk.remove(&self.path) {
            tracing::debug!(%error, "cannot remove the control socket");
        }
    }
}

async fn serve_client(
    mut stream: UnixStream,
    requests: &mpsc::Sender<SavepointRequest>,
    ended: &CancellationToken,
) -> io::Result<()> {
    let mut line = String::new();
    let mut reader = BufReader::new((&mut stream).take(REQUEST_BYTES_MAX));
    timeout(CLIENT_TIMEOUT, reader.read_line(&mut line)).await??;
    let answer = match parse(&line) {
        Err(reason) => format!("error\t{reason}\n"),
        Ok((to, after)) => {
            tracing::info!(to = ?to.as_deref().unwrap_or(Path::new("")), ?after, "a savepoint is asked for");
            match ask(to, after, requests, ended).await {
                Ok(savepoint) => format!("ok\t{}\n", savepoint.to_fields()),
                Err(error) => format!("error\t{}\n", error.to_string().replace('\n', " ")),
            }
        }
    };
    timeout(CLIENT_TIMEOUT, stream.write_all(answer.as_bytes())).await?
}

async fn ask(
    to: Option<PathBuf>,
    after: AfterSavepoint,
    requests: &mpsc::Sender<SavepointRequest>,
    ended: &CancellationToken,
) -> Result<Savepoint, SavepointError> {
    let (answer, mut outcome) = oneshot::channel();
    let request = SavepointRequest { to, after, answer };
    requests.send(request).await.map_err(|_| SavepointError::JobEnded)?;
    tokio::select! {
        biased;
        outcome = &mut outcome => outcome.unwrap_or(Err(SavepointError::JobEnded)),
        () = ended.cancelled() => outcome.try_recv().unwrap_or(Err(SavepointError::JobEnded)),
    }
}

fn parse(line: &str) -> Result<(Option<PathBuf>, AfterSavepoint), String> {
    let Some(line) = line.strip_suffix('\n') else {
        return Err(format!("a request is one line of at most {REQUEST_BYTES_MAX} bytes"));
    };
    let fields: Vec<&str> = line.splitn(3, '\t').collect();
    let ["savepoint", after, to] = *fields else {
        return Err("this release knows only savepoints".to_owned());
    };
    let after = match after {
        GO_ON => AfterSavepoint::GoOn,
        STOP => AfterSavepoint::Stop,
        other => return Err(format!("{other:?} is neither {GO_ON} nor {STOP}")),
    };
    let to = Some(to).filter(|to| !to.is_empty()).map(PathBuf::from);
    match to {
        Some(to) if !to.is_absolute() => Err(format!("the path {} is not absolute", to.display())),
        to => Ok((to, after)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_whole_line_with_an_absolute_path() {
        assert_eq!(parse("savepoint\tgo-on\t\n"), Ok((None, AfterSavepoint::GoOn)));
        let path = Some(PathBuf::from("/a b\tc"));
        assert_eq!(parse("savepoint\tstop\t/a b\tc\n"), Ok((path, AfterSavepoint::Stop)));
        for refused in
            ["", "savepoint\tgo-on\t", "savepoint\tgo-on\tx\n", "savepoint\tnow\t\n", "reboot\t\t\n", "\n"]
        {
            assert!(parse(refused).is_err(), "{refused:?}");
        }
    }
}
