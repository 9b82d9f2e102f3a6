//! The listening source: a server for clients that send lines.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::acknowledge::{Acknowledge, greet};
use super::config::TcpListen;
use super::connection::{ConnectionEnd, ConnectionLimits, read_lines};
use crate::runtime::{ChunkLimits, Outlet};

/// Connections the kernel holds before we accept them.
const BACKLOG: i32 = 128;
/// Pause after a failed accept, which is most often a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Takes the port.
///
/// # Errors
/// The operating system's, for instance `AddrInUse`.
pub(crate) fn bind(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    // A restart must not wait for the old connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Serves clients until the job stops.
pub(crate) async fn run_tcp_listen(
    listener: std::net::TcpListener,
    settings: TcpListen,
    outlet: Outlet,
    chunk: ChunkLimits,
) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("the runtime's I/O is enabled");
    let address =
        listener.local_addr().map_or_else(|_| settings.address.to_string(), |local| local.to_string());
    tracing::info!(%address, "listening");
    let limits = ConnectionLimits {
        line_bytes_max: settings.line_bytes_max,
        idle_timeout: settings.idle_timeout,
        chunk,
    };
    let mut connections = JoinSet::new();
    let mut turned_away: u64 = 0;
    loop {
        let accepted = tokio::select! {
            () = outlet.stop_token().cancelled() => break,
            accepted = listener.accept() => accepted,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a connection's task failed");
                }
                continue;
            }
        };
        match accepted {
            Ok((stream, peer)) if connections.len() < settings.connections_max => {
                let outlet = outlet.clone();
                let acknowledge = settings.acknowledge;
                connections
                    .spawn_local(async move { serve(stream, peer, limits, &outlet, acknowledge).await });
            }
            Ok((_, peer)) => {
                turned_away += 1;
                // The first, and then ever fewer: a flood must not flood the log.
                if turned_away.is_power_of_two() {
                    let connections_max = settings.connections_max;
                    tracing::warn!(%peer, turned_away, connections_max, "too many connections: turned away");
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    // They were told to stop as well; what they have read is handed over.
    while connections.join_next().await.is_some() {}
}

async fn serve(
    mut stream: TcpStream,
    peer: SocketAddr,
    limits: ConnectionLimits,
    outlet: &Outlet,
    acknowledge: Acknowledge,
) {
    let origin: Arc<str> = peer.to_string().into();
    tracing::debug!(%origin, "client connected");
    let greeted = match acknowledge {
        Acknowledge::Nothing => None,
        Acknowledge::Lines => {
            let greeted = tokio::select! {
                () = outlet.stop_token().cancelled() => return,
                greeted = greet(&mut stream, outlet) => greeted,
            };
            match greeted {
                Ok(greeted) => Some(greeted),
                Err(error) => return outlet.report_closed(&origin, &error),
            }
        }
    };
    match read_lines(stream, Arc::clone(&origin), limits, outlet, greeted).await.0 {
        ConnectionEnd::Closed | ConnectionEnd::Stopping => tracing::debug!(%origin, "client gone"),
        end => outlet.report_closed(&origin, &end),
    }
}
