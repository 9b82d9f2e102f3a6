//! The listening source at a Unix stream socket.

use std::sync::Arc;

use tokio::net::UnixStream;
use tokio::time::sleep;

use super::config::{UnixListen, check_mode};
use super::socket_file::SocketFile;
use crate::runtime::{ChunkLimits, JobError, Outlet};
use crate::source::connection::{ACCEPT_PAUSE, ClientLimits, Clients, ConnectionLimits, check_memory};

/// A socket that is ours.
pub(crate) struct OpenUnixListen {
    settings: UnixListen,
    /// Dropped before the socket.
    file: SocketFile,
    listener: std::os::unix::net::UnixListener,
}

impl UnixListen {
    /// Takes the socket file.
    ///
    /// # Errors
    /// [`JobError::Source`] when it cannot be had, [`JobError::Configuration`] for settings that cannot be used.
    pub(crate) fn open(self) -> Result<OpenUnixListen, JobError> {
        check_memory(self.line_bytes_max, self.connections_max)?;
        check_mode(self.mode)?;
        let bound = SocketFile::bind(&self.path, socket2::Type::STREAM, self.mode);
        let (file, socket) =
            bound.map_err(|source| JobError::Source { origin: self.path.display().to_string(), source })?;
        Ok(OpenUnixListen { settings: self, file, listener: socket.into() })
    }
}

/// Serves clients until the job stops.
pub(crate) async fn run_unix_listen(source: OpenUnixListen, outlet: Outlet, chunk: ChunkLimits) {
    let OpenUnixListen { settings, file, listener } = source;
    let listener = tokio::net::UnixListener::from_std(listener).expect("the runtime's I/O is enabled");
    tracing::info!(path = %settings.path.display(), "listening");
    let connection = ConnectionLimits {
        line_bytes_max: settings.line_bytes_max,
        idle_timeout: settings.idle_timeout,
        chunk,
    };
    let limits = ClientLimits {
        connection,
        acknowledge: settings.acknowledge,
        connections_max: settings.connections_max,
    };
    let mut clients = Clients::new(outlet.clone(), limits);
    loop {
        let accepted = tokio::select! {
            () = outlet.stop_token().cancelled() => break,
            accepted = listener.accept() => accepted,
            () = clients.gone() => continue,
        };
        match accepted {
            Ok((stream, _)) => {
                let origin = origin(&stream);
                clients.admit(stream, origin);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // The file first: while it is there, it is served.
    drop(file);
    drop(listener);
    clients.finish().await;
}

/// The process at the other end, as the kernel knows it.
fn origin(stream: &UnixStream) -> Arc<str> {
    match stream.peer_cred() {
        Ok(peer) => format!("unix:uid={},pid={}", peer.uid(), peer.pid().unwrap_or(0)).into(),
        Err(_) => "unix".into(),
    }
}
