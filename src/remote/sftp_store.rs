//! SFTP, by the system's `ssh`: its configuration, keys and known hosts count.
//!
//! One `ssh` runs for a store while it is used, as a child that talks over pipes. It ends when they are closed, so nothing is
//! left behind by a process that was killed; on a link that swallows everything it ends after [`ALIVE_INTERVAL_S`] times
//! [`ALIVE_COUNT_MAX`] seconds. A call that fails but for what the server says, or that is given up, ends it at once; the
//! next call starts another.

use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::TryStreamExt;
use openssh_sftp_client::error::SftpErrorKind;
use openssh_sftp_client::file::TokioCompatFile;
use openssh_sftp_client::{Error, Sftp, SftpOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use super::opendal_store::{CALL_TIMEOUT, call_time, one_line};
use super::{IoRuntime, Listed, Put, RemoteError, RemoteName, RemoteStore};

/// Time `ssh` has to connect.
const CONNECT_TIMEOUT_S: u64 = 15;
/// Pause between two signs of life that are asked of the server.
const ALIVE_INTERVAL_S: u64 = 15;
/// Signs of life that may be missing.
const ALIVE_COUNT_MAX: u64 = 3;
/// What is kept of what `ssh` says.
const COMPLAINT_BYTES_MAX: u64 = 4096;
/// Time `ssh` has to say why it ended.
const COMPLAINT_TIMEOUT: Duration = Duration::from_secs(2);

/// Where the server is, and who we are there.
#[derive(Debug, Clone)]
pub(super) struct SftpServer {
    pub(super) host: String,
    pub(super) port: Option<String>,
    pub(super) user: Option<String>,
    /// The only key that is tried.
    pub(super) key: Option<String>,
    /// The directory that names are below.
    pub(super) root: PathBuf,
}

/// A running `ssh` and the talk with the server behind it.
struct Connection {
    sftp: Sftp,
    /// Killed when dropped.
    _ssh: Child,
}

/// Why a call failed.
#[derive(Debug)]
enum Failure {
    /// The server says so; the connection is as good as before.
    Answer(SftpErrorKind, String),
    /// There is no connection.
    Connection(String),
    /// The object is longer than it can be.
    TooLong,
    /// There are more objects than are looked at.
    TooMany,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::SftpError(kind, message) => Self::Answer(kind, message.to_string()),
            error => Self::Connection(error.to_string()),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Connection(error.to_string())
    }
}

impl Failure {
    fn is_not_found(&self) -> bool {
        matches!(self, Self::Answer(SftpErrorKind::NoSuchFile, _))
    }

    fn into_error(self, operation: &'static str, name: &RemoteName, limit: u64) -> RemoteError {
        let name = name.clone();
        match self {
            Self::Answer(SftpErrorKind::NoSuchFile, _) => RemoteError::NotFound { name },
            Self::Answer(SftpErrorKind::PermDenied, reason) => {
                RemoteError::Refused { operation, name, reason: one_line(&reason) }
            }
            Self::Answer(_, reason) => {
                RemoteError::Unavailable { operation, name, reason: one_line(&reason) }
            }
            Self::Connection(reason) => {
                let reason = one_line(&reason);
                let is_refusal =
                    ["Permission denied", "Host key verification failed", "Too many authentication failures"]
                        .iter()
                        .any(|refusal| reason.contains(refusal));
                if is_refusal {
                    RemoteError::Refused { operation, name, reason }
                } else {
                    RemoteError::Unavailable { operation, name, reason }
                }
            }
            Self::TooLong => RemoteError::TooLong { name, limit },
            Self::TooMany => {
                RemoteError::TooMany { folder: name, limit: usize::try_from(limit).unwrap_or(usize::MAX) }
            }
        }
    }
}

impl SftpServer {
    async fn connect(&self) -> Result<Connection, Failure> {
        let mut command = Command::new("ssh");
        command.args([
            "-T",
            "-x",
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=yes",
            "-o",
            "LogLevel=ERROR",
        ]);
        command.args(["-o", "ControlMaster=no", "-o", "ControlPath=none", "-o", "ClearAllForwardings=yes"]);
        command.arg("-o").arg(format!("ConnectTimeout={CONNECT_TIMEOUT_S}"));
        command.arg("-o").arg(format!("ServerAliveInterval={ALIVE_INTERVAL_S}"));
        command.arg("-o").arg(format!("ServerAliveCountMax={ALIVE_COUNT_MAX}"));
        if let Some(port) = &self.port {
            command.args(["-p", port]);
        }
        if let Some(user) = &self.user {
            command.args(["-l", user]);
        }
        if let Some(key) = &self.key {
            command.args(["-o", "IdentitiesOnly=yes", "-i", key]);
        }
        command.args(["-s", "--", &self.host, "sftp"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut ssh = command.spawn().map_err(|error| {
            Failure::Connection(format!("cannot start ssh, which must be installed: {error}"))
        })?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (ssh.stdin.take(), ssh.stdout.take(), ssh.stderr.take())
        else {
            return Err(Failure::Connection("ssh has no standard streams".to_owned()));
        };
        let complaint: Arc<Mutex<Vec<u8>>> = Arc::default();
        let listening = listen(stderr, Arc::clone(&complaint));
        match Sftp::new(stdin, stdout, SftpOptions::new()).await {
            Ok(sftp) => Ok(Connection { sftp, _ssh: ssh }),
            Err(error) => {
                // It ends when its streams do, and has most often said why.
                drop(tokio::time::timeout(COMPLAINT_TIMEOUT, listening).await);
                let complaint = complaint.lock().map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
                let said = complaint.ok().filter(|text| !text.trim().is_empty());
                Err(Failure::Connection(said.unwrap_or_else(|| error.to_string())))
            }
        }
    }
}

/// Keeps the beginning of what `ssh` says, and takes the rest.
fn listen(mut stderr: tokio::process::ChildStderr, complaint: Arc<Mutex<Vec<u8>>>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut piece = [0; 512];
        while let Ok(length @ 1..) = stderr.read(&mut piece).await {
            let Ok(mut kept) = complaint.lock() else { return };
            let room = usize::try_from(COMPLAINT_BYTES_MAX).unwrap_or(usize::MAX).saturating_sub(kept.len());
            kept.extend(piece.iter().take(length.min(room)));
        }
    })
}

/// A remote reached by SFTP.
pub(crate) struct SftpStore {
    server: SftpServer,
    address: String,
    runtime: Arc<IoRuntime>,
    /// `None` while it is used: a call that is given up drops it.
    idle: Arc<Mutex<Option<Connection>>>,
}

impl SftpStore {
    pub(super) fn new(server: SftpServer, address: String, runtime: Arc<IoRuntime>) -> Self {
        Self { server, address, runtime, idle: Arc::default() }
    }

    fn path(&self, name: &RemoteName) -> PathBuf {
        self.server.root.join(name.to_string())
    }

    fn call<T, F>(
        &self,
        operation: &'static str,
        name: &RemoteName,
        bytes: u64,
        limit: u64,
        work: impl FnOnce(Arc<Connection>) -> F + Send + 'static,
    ) -> Result<T, RemoteError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Failure>> + Send,
    {
        let (server, idle) = (self.server.clone(), Arc::clone(&self.idle));
        let whole = async move {
            let kept = idle.lock().ok().and_then(|mut idle| idle.take());
            let connection = match kept {
                Some(kept) => kept,
                None => server.connect().await?,
            };
            let connection = Arc::new(connection);
            let outcome = work(Arc::clone(&connection)).await;
            if !matches!(outcome, Err(Failure::Connection(_)))
                && let (Ok(mut idle), Some(connection)) = (idle.lock(), Arc::into_inner(connection))
            {
                *idle = Some(connection);
            }
            outcome
        };
        let time = call_time(CALL_TIMEOUT, bytes);
        let outcome = self.runtime.timed(operation, name, time, whole)?;
        outcome.map_err(|failure| failure.into_error(operation, name, limit))
    }
}

/// Makes the folders above `path`. What is wrong with them the next call says.
async fn create_folders(sftp: &Sftp, path: &Path) {
    let folders: Vec<&Path> = path.ancestors().skip(1).filter(|folder| folder.parent().is_some()).collect();
    for folder in folders.into_iter().rev() {
        drop(sftp.fs().create_dir(folder).await);
    }
}

async fn write_new(sftp: &Sftp, path: &Path, bytes: &[u8]) -> Result<Put, Failure> {
    let open =
        || async { sftp.options().write(true).create_new(true).open(path).await.map_err(Failure::from) };
    let opened = match open().await {
        Err(failure) if failure.is_not_found() => {
            create_folders(sftp, path).await;
            open().await
        }
        opened => opened,
    };
    let file = match opened {
        Ok(file) => file,
        // SFTP has no word for a name that is taken.
        Err(failure @ Failure::Answer(..)) if !failure.is_not_found() => {
            return match sftp.fs().metadata(path).await {
                Ok(_) => Ok(Put::Exists),
                Err(_) => Err(failure),
            };
        }
        Err(failure) => return Err(failure),
    };
    let mut file = Box::pin(TokioCompatFile::new(file));
    file.write_all(bytes).await?;
    file.shutdown().await?;
    Ok(Put::Created)
}

async fn read(sftp: &Sftp, path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    let file = Box::pin(TokioCompatFile::new(sftp.open(path).await?));
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).await?;
    if bytes.len() as u64 > limit { Err(Failure::TooLong) } else { Ok(bytes) }
}

async fn list(sftp: &Sftp, root: &Path, folder: RemoteName, limit: usize) -> Result<Vec<Listed>, Failure> {
    let mut listed = Vec::new();
    let mut seen = 0_usize;
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        let opened = match sftp.fs().open_dir(root.join(folder.to_string())).await.map_err(Failure::from) {
            Err(failure) if failure.is_not_found() => continue,
            opened => opened?,
        };
        let mut entries = Box::pin(opened.read_dir());
        while let Some(entry) = entries.try_next().await? {
            seen += 1;
            // Folders count too: a remote full of them must come to an end as well.
            if seen > limit.saturating_mul(2).saturating_add(1024) {
                return Err(Failure::TooMany);
            }
            let segment = entry.filename().to_str().unwrap_or_default();
            let Some(name) = RemoteName::parse(&format!("{folder}/{segment}")) else { continue };
            let metadata = entry.metadata();
            match metadata.file_type() {
                Some(kind) if kind.is_file() => {
                    listed.push(Listed { name, bytes: metadata.len().unwrap_or(0) })
                }
                Some(kind) if kind.is_dir() => folders.push(name),
                _ => {}
            }
        }
        if listed.len() > limit {
            return Err(Failure::TooMany);
        }
    }
    Ok(listed)
}

impl RemoteStore for SftpStore {
    fn put_new(&self, name: &RemoteName, bytes: &[u8]) -> Result<Put, RemoteError> {
        let (path, bytes) = (self.path(name), bytes.to_vec());
        let length = bytes.len() as u64;
        self.call("write", name, length, length, |connection| async move {
            write_new(&connection.sftp, &path, &bytes).await
        })
    }

    fn get(&self, name: &RemoteName, limit: u64) -> Result<Vec<u8>, RemoteError> {
        let path = self.path(name);
        let length = {
            let path = path.clone();
            self.call("read", name, 0, limit, |connection| async move {
                Ok(connection.sftp.fs().metadata(&path).await?.len().unwrap_or(0))
            })?
        };
        if length > limit {
            return Err(RemoteError::TooLong { name: name.clone(), limit });
        }
        // Its time is that for the bytes there are, which may be far below those there might be.
        self.call("read", name, length, limit, move |connection| async move {
            read(&connection.sftp, &path, limit).await
        })
    }

    fn list(&self, folder: &RemoteName, limit: usize) -> Result<Vec<Listed>, RemoteError> {
        let (root, below) = (self.server.root.clone(), folder.clone());
        // As slow as a hundred names a second.
        let bytes = (limit as u64).saturating_mul(20).min(1 << 20);
        self.call("list", folder, bytes, limit as u64, move |connection| async move {
            list(&connection.sftp, &root, below, limit).await
        })
    }

    fn delete(&self, name: &RemoteName) -> Result<(), RemoteError> {
        let path = self.path(name);
        self.call("delete", name, 0, 0, |connection| async move {
            match connection.sftp.fs().remove_file(&path).await.map_err(Failure::from) {
                Err(failure) if failure.is_not_found() => Ok(()),
                removed => removed,
            }
        })
    }

    fn address(&self) -> &str {
        &self.address
    }
}

impl fmt::Debug for SftpStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SftpStore").field("address", &self.address).finish_non_exhaustive()
    }
}
