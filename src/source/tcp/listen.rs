//! The listening source: a server for clients that send lines.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::sleep;

use super::config::TcpListen;
use super::handshakes::Handshakes;
use super::keep_alive::watch_peer;
use super::tls::TlsServer;
use crate::runtime::{ChunkLimits, JobError, Outlet};
use crate::source::connection::{
    ACCEPT_PAUSE, BACKLOG, ClientLimits, Clients, ConnectionLimits, check_memory,
};

/// A port that is ours, and what to speak on it.
pub(crate) struct OpenTcpListen {
    settings: TcpListen,
    listener: std::net::TcpListener,
    tls: Option<TlsServer>,
}

impl TcpListen {
    /// Reads the certificates and takes the port.
    ///
    /// # Errors
    /// [`JobError::Source`] when the port cannot be had, [`JobError::Configuration`] for limits and files that cannot be used.
    pub(crate) fn open(self) -> Result<OpenTcpListen, JobError> {
        check_memory(self.line_bytes_max, self.connections_max)?;
        let tls = self.tls.clone().map(TlsServer::open).transpose();
        let tls = tls.map_err(|error| JobError::Configuration(error.to_string()))?;
        let listener = bind(self.address)
            .map_err(|source| JobError::Source { origin: self.address.to_string(), source })?;
        Ok(OpenTcpListen { settings: self, listener, tls })
    }
}

fn bind(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    // A restart must not wait for the old connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Serves clients until the job stops.
pub(crate) async fn run_tcp_listen(source: OpenTcpListen, outlet: Outlet, chunk: ChunkLimits) {
    let OpenTcpListen { settings, listener, tls } = source;
    let listener = tokio::net::TcpListener::from_std(listener).expect("the runtime's I/O is enabled");
    let address =
        listener.local_addr().map_or_else(|_| settings.address.to_string(), |local| local.to_string());
    tracing::info!(%address, tls = tls.is_some(), "listening");
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
    let mut handshakes = tls.map(|tls| Handshakes::new(tls, outlet.clone()));
    loop {
        let accepted = tokio::select! {
            () = outlet.stop_token().cancelled() => break,
            accepted = listener.accept() => accepted,
            () = clients.gone() => continue,
            (stream, origin) = Handshakes::next(&mut handshakes) => {
                clients.admit(stream, origin);
                continue;
            }
        };
        match accepted {
            Ok((stream, peer)) => {
                let origin: Arc<str> = peer.to_string().into();
                watch_peer(&stream, &origin);
                match &mut handshakes {
                    None => clients.admit(stream, origin),
                    Some(handshakes) => handshakes.begin(stream, origin),
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop((listener, handshakes));
    clients.finish().await;
}
