//! Remotes through Apache OpenDAL, on a small I/O runtime of their own.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use opendal::{ErrorKind, Operator};
use tokio::runtime::{Builder, Handle, Runtime};

use super::{IO_THREADS_MAX, Listed, Put, RemoteError, RemoteName, RemoteStore};

/// Time a call has, besides that for its bytes.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait for the next piece of a listing: a thousand names of S3 at 6 KiB/s.
const LISTING_PAUSE_MAX: Duration = Duration::from_secs(60);
/// Slowest link that is waited for, in bytes a second.
const SLOWEST_BYTES_PER_SECOND: u64 = 2048;

/// One thread for network work, and a few for calls that block.
pub(crate) struct IoRuntime {
    runtime: Option<Runtime>,
}

impl IoRuntime {
    /// Starts it.
    ///
    /// # Errors
    /// The operating system's, when a thread cannot be started.
    pub(crate) fn start() -> io::Result<Arc<Self>> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(IO_THREADS_MAX)
            .thread_name("remote")
            .enable_all()
            .build()?;
        Ok(Arc::new(Self { runtime: Some(runtime) }))
    }

    /// Waits for a call, but not longer than `time`. Never on a thread that drives other work.
    pub(super) fn timed<T: Send + 'static>(
        &self,
        operation: &'static str,
        name: &RemoteName,
        time: Duration,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, RemoteError> {
        // On the runtime's own threads: what it does there may block, here it may not.
        let task = self.handle().spawn(work);
        let abort = task.abort_handle();
        let timed = async move { tokio::time::timeout(time, task).await };
        match self.handle().block_on(timed) {
            Err(_) => {
                abort.abort();
                Err(RemoteError::TimedOut { operation, name: name.clone(), seconds: time.as_secs() })
            }
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(lost)) => {
                let reason = format!("the call ended unexpectedly: {lost}");
                Err(RemoteError::Unavailable { operation, name: name.clone(), reason })
            }
        }
    }

    /// Where its work is started.
    pub(crate) fn handle(&self) -> &Handle {
        self.runtime.as_ref().expect("it is taken only when dropped").handle()
    }
}

impl Drop for IoRuntime {
    fn drop(&mut self) {
        // Does not wait for what hangs.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for IoRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IoRuntime").finish_non_exhaustive()
    }
}

/// A remote behind an OpenDAL operator.
pub(crate) struct OpendalStore {
    operator: Operator,
    address: String,
    /// The directory that names are below, with a `/` at its end; it must be there. Empty for remotes that have a root of
    /// their own.
    folder: String,
    runtime: Arc<IoRuntime>,
    call_timeout: Duration,
}

impl OpendalStore {
    pub(super) fn new(operator: Operator, address: String, folder: String, runtime: Arc<IoRuntime>) -> Self {
        Self { operator, address, folder, runtime, call_timeout: CALL_TIMEOUT }
    }

    fn call<T: Send + 'static>(
        &self,
        operation: &'static str,
        name: &RemoteName,
        bytes: u64,
        work: impl Future<Output = opendal::Result<T>> + Send + 'static,
    ) -> Result<T, RemoteError> {
        let time = call_time(self.call_timeout, bytes);
        let outcome = self.runtime.timed(operation, name, time, work)?;
        outcome.map_err(|error| error_of(operation, name, &error))
    }
}

/// The time of a call that moves `bytes`.
pub(super) fn call_time(timeout: Duration, bytes: u64) -> Duration {
    timeout + Duration::from_secs(bytes / SLOWEST_BYTES_PER_SECOND)
}

/// Waits for the next piece of a listing, but not longer than for a piece.
async fn without_pause<T>(piece: impl Future<Output = opendal::Result<T>>) -> opendal::Result<T> {
    tokio::time::timeout(LISTING_PAUSE_MAX, piece).await.unwrap_or_else(|_| {
        let seconds = LISTING_PAUSE_MAX.as_secs();
        Err(opendal::Error::new(ErrorKind::Unexpected, format!("nothing was heard for {seconds} s")))
    })
}

/// A directory that is not there, most often what a mount was on, is no empty remote; and a link below it leads out of it.
async fn check_folder(operator: &Operator, folder: &str, path: &str) -> opendal::Result<()> {
    if folder.is_empty() {
        return Ok(());
    }
    let is_there = match operator.stat(folder).await {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => false,
        metadata => metadata?.is_dir(),
    };
    if is_there {
        return check_links(folder.to_owned(), path.to_owned()).await;
    }
    let advice = format!("there is no directory /{folder}: create it, or mount what it is on");
    Err(opendal::Error::new(ErrorKind::Unexpected, advice))
}

/// Refuses a path below `folder` that goes through a symbolic link: what is written and deleted there would be elsewhere.
/// One that is put in its place at the same moment is not seen.
async fn check_links(folder: String, path: String) -> opendal::Result<()> {
    let unexpected = |reason| opendal::Error::new(ErrorKind::Unexpected, reason);
    let found = tokio::task::spawn_blocking(move || first_link(&folder, &path)).await;
    match found.map_err(io::Error::other).flatten() {
        Ok(None) => Ok(()),
        Ok(Some(link)) => Err(unexpected(format!(
            "{} is a symbolic link: folders of a remote must be directories, put one in its place",
            link.display()
        ))),
        Err(error) => Err(unexpected(error.to_string())),
    }
}

/// The first directory between `folder` and what `path` names that is a symbolic link.
fn first_link(folder: &str, path: &str) -> io::Result<Option<PathBuf>> {
    let below = path.strip_prefix(folder).and_then(|below| below.rsplit_once('/'));
    let mut at = Path::new("/").join(folder);
    for segment in below.map_or("", |(folders, _)| folders).split('/').filter(|segment| !segment.is_empty()) {
        at.push(segment);
        match std::fs::symlink_metadata(&at) {
            Ok(metadata) if metadata.is_symlink() => return Ok(Some(at)),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn error_of(operation: &'static str, name: &RemoteName, error: &opendal::Error) -> RemoteError {
    let name = name.clone();
    // The whole error spans lines and repeats itself: what it says and its innermost cause are enough.
    let mut cause = std::error::Error::source(error);
    let mut reason = error.message().to_owned();
    while let Some(inner) = cause {
        cause = inner.source();
        if cause.is_none() {
            reason = format!("{reason}: {inner}");
        }
    }
    let reason = one_line(&reason);
    match error.kind() {
        ErrorKind::NotFound => RemoteError::NotFound { name },
        _ if is_refusal(error) => RemoteError::Refused { operation, name, reason },
        _ => RemoteError::Unavailable { operation, name, reason },
    }
}

/// True where the remote does not let us, also where OpenDAL has no kind for it.
fn is_refusal(error: &opendal::Error) -> bool {
    // A response is kept as text only.
    error.kind() == ErrorKind::PermissionDenied || error.to_string().contains("Parts { status: 401,")
}

/// What a server said, which may be a page, as one line without markup.
pub(super) fn one_line(text: &str) -> String {
    const CHARACTERS_MAX: usize = 300;
    let is_page = text.trim_start().starts_with('<');
    let mut is_markup = false;
    let visible = |character: char| match character {
        '<' if is_page => {
            is_markup = true;
            ' '
        }
        '>' if is_markup => {
            is_markup = false;
            ' '
        }
        _ if is_markup || character.is_control() => ' ',
        character => character,
    };
    let plain: String = text.chars().map(visible).collect();
    let plain = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    plain.chars().take(CHARACTERS_MAX).collect()
}

impl RemoteStore for OpendalStore {
    fn put_new(&self, name: &RemoteName, bytes: &[u8]) -> Result<Put, RemoteError> {
        let operator = self.operator.clone();
        let folder = self.folder.clone();
        let path = format!("{folder}{name}");
        let length = bytes.len() as u64;
        let bytes = bytes.to_vec();
        self.call("write", name, length, async move {
            check_folder(&operator, &folder, &path).await?;
            let can_tell = operator.info().capability().write_with_if_not_exists;
            let written = operator.write_with(&path, bytes).if_not_exists(can_tell).await;
            match written {
                Ok(_) => Ok(Put::Created),
                Err(error)
                    if matches!(error.kind(), ErrorKind::ConditionNotMatch | ErrorKind::AlreadyExists) =>
                {
                    Ok(Put::Exists)
                }
                Err(error) => Err(error),
            }
        })
    }

    fn get(&self, name: &RemoteName, limit: u64) -> Result<Vec<u8>, RemoteError> {
        let operator = self.operator.clone();
        let folder = self.folder.clone();
        let path = format!("{folder}{name}");
        let length = {
            let (operator, path) = (operator.clone(), path.clone());
            self.call("read", name, 0, async move {
                check_folder(&operator, &folder, &path).await?;
                Ok(operator.stat(&path).await?.content_length())
            })?
        };
        let too_long = || RemoteError::TooLong { name: name.clone(), limit };
        match length {
            0 => return Ok(Vec::new()),
            length if length > limit => return Err(too_long()),
            _ => {}
        }
        // Its time is that for the bytes there are, which may be far below those there might be.
        let read = async move { Ok(operator.read_with(&path).range(0..length).await?.to_vec()) };
        let bytes = self.call("read", name, length, read)?;
        if bytes.len() as u64 > limit { Err(too_long()) } else { Ok(bytes) }
    }

    fn list(&self, folder: &RemoteName, limit: usize) -> Result<Vec<Listed>, RemoteError> {
        let operator = self.operator.clone();
        let prefix = self.folder.clone();
        let path = format!("{prefix}{folder}/");
        // As slow as a hundred names a second.
        let time = (limit as u64).saturating_mul(SLOWEST_BYTES_PER_SECOND) / 100;
        let listed = self.call("list", folder, time.min(1 << 20), async move {
            check_folder(&operator, &prefix, &path).await?;
            let lister = operator.lister_with(&path).recursive(true);
            let mut entries = match without_pause(lister.into_future()).await {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Some(Vec::new())),
                lister => lister?,
            };
            let mut listed = Vec::new();
            let mut seen = 0_usize;
            loop {
                let entry = match without_pause(entries.try_next()).await {
                    // Removed while it was listed, or a folder that never was.
                    Err(error) if error.kind() == ErrorKind::NotFound => break,
                    entry => entry?,
                };
                let Some(entry) = entry else { break };
                seen += 1;
                // Folders count too: a remote full of them must come to an end as well.
                if seen > limit.saturating_add(1024) {
                    return Ok(None);
                }
                if entry.metadata().is_file()
                    && let Some(name) = entry.path().strip_prefix(&prefix).and_then(RemoteName::parse)
                {
                    listed.push(Listed { name, bytes: entry.metadata().content_length() });
                }
            }
            Ok(Some(listed).filter(|listed| listed.len() <= limit))
        })?;
        listed.ok_or_else(|| RemoteError::TooMany { folder: folder.clone(), limit })
    }

    fn delete(&self, name: &RemoteName) -> Result<(), RemoteError> {
        let operator = self.operator.clone();
        let folder = self.folder.clone();
        let path = format!("{folder}{name}");
        self.call("delete", name, 0, async move {
            check_folder(&operator, &folder, &path).await?;
            match operator.delete(&path).await {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            }
        })
    }

    fn address(&self) -> &str {
        &self.address
    }
}

impl fmt::Debug for OpendalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpendalStore").field("address", &self.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn store(call_timeout: Duration) -> OpendalStore {
        let runtime = IoRuntime::start().unwrap();
        let uri: super::super::RemoteUri = "file:///nowhere-at-all".parse().unwrap();
        OpendalStore { call_timeout, ..uri.open_operator(&runtime).unwrap() }
    }

    fn name() -> RemoteName {
        RemoteName::parse("a").unwrap()
    }

    #[test]
    fn what_a_server_says_becomes_one_line() {
        let page = "<html>\r\n<head><title>401 Authorization Required</title></head></html>\n";
        assert_eq!(one_line(page), "401 Authorization Required");
        assert_eq!(one_line("a < b\n\tand  b > c"), "a < b and b > c");
        assert_eq!(one_line(&"long ".repeat(1000)).chars().count(), 300);
    }

    /// Whichever of its folders somebody replaced by a link, nothing outside is written, read, listed or deleted.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "tests make the files they look at")]
    fn folders_that_are_links_are_refused() {
        let runtime = IoRuntime::start().unwrap();
        for depth in 1..=4 {
            let directory = tempfile::tempdir().unwrap();
            let (remote, outside) = (directory.path().join("remote"), directory.path().join("outside"));
            let segments = ["device", "job", "chunks", "aa", "object"];
            let link: PathBuf = segments.iter().take(depth).collect();
            let below: PathBuf = segments.iter().skip(depth).collect();
            let victim = outside.join(below);
            std::fs::create_dir_all(victim.parent().unwrap()).unwrap();
            std::fs::write(&victim, b"precious").unwrap();
            std::fs::create_dir_all(remote.join(&link).parent().unwrap()).unwrap();
            std::os::unix::fs::symlink(&outside, remote.join(&link)).unwrap();
            // That the remote itself is reached by a link is its owner's choice.
            let alias = directory.path().join("alias");
            std::os::unix::fs::symlink(&remote, &alias).unwrap();
            let uri: super::super::RemoteUri = format!("file://{}", alias.display()).parse().unwrap();
            let store = uri.open(&runtime).unwrap();
            let object = RemoteName::parse(&segments.join("/")).unwrap();
            let new = RemoteName::parse("device/job/chunks/aa/new").unwrap();
            let folder = RemoteName::parse("device/job/chunks/aa").unwrap();
            let refused = [
                store.delete(&object).map(|()| String::new()),
                store.put_new(&new, b"x").map(|put| format!("{put:?}")),
                store.get(&object, 100).map(|bytes| format!("{bytes:?}")),
                store.list(&folder, 100).map(|listed| format!("{listed:?}")),
            ];
            for outcome in refused {
                let error = outcome.unwrap_err().to_string();
                assert!(error.contains("symbolic link"), "depth {depth}: {error}");
            }
            // From above it is passed over; in builds with assertions OpenDAL's own listing fails at it.
            if depth > 1 {
                let listed = store.list(&RemoteName::parse("device").unwrap(), 100);
                assert!(listed == Ok(Vec::new()) || cfg!(debug_assertions) && listed.is_err(), "{listed:?}");
            }
            assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
            let left = std::fs::read_dir(victim.parent().unwrap()).unwrap().count();
            assert_eq!(left, 1, "depth {depth}: nothing else is there");
        }
    }

    #[test]
    fn calls_that_hang_are_given_up_and_hold_no_other_up() {
        let store = store(Duration::from_millis(100));
        let (release, hung) = mpsc::channel::<()>();
        let hung = Arc::new(std::sync::Mutex::new(hung));
        let timed_out = |operation| RemoteError::TimedOut { operation, name: name(), seconds: 0 };
        // A server that never answers.
        assert_eq!(store.call::<()>("wait", &name(), 0, std::future::pending()), Err(timed_out("wait")));
        // A mount that hangs: a thread is stuck in a call that cannot be ended.
        let hung_call = Arc::clone(&hung);
        let hangs = async move {
            let stuck = tokio::task::spawn_blocking(move || hung_call.lock().unwrap().recv().is_ok());
            stuck.await.map_err(|error| opendal::Error::new(ErrorKind::Unexpected, error.to_string()))
        };
        assert_eq!(store.call("hang", &name(), 0, hangs), Err(timed_out("hang")));
        let error = store.delete(&name()).unwrap_err().to_string();
        assert!(error.contains("no directory /nowhere-at-all/"), "others still work: {error}");
        // Nor does the end wait for it.
        drop(store);
        drop(release);
    }
}
