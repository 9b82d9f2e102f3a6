//! TLS handshakes under way: at most 64, each for at most 10 s. A client that takes its time keeps nobody out: when
//! there are too many, the oldest gives way, and none takes the place of a connection.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::tls::{HandshakeFailure, TlsServer};
use crate::runtime::Outlet;
use crate::source::connection::ByteStream;

/// Handshakes under way at once.
const HANDSHAKES_MAX: usize = 64;
/// Longest time of one.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time for the last word of a connection.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);

impl ByteStream for TlsStream<TcpStream> {
    /// Tells the peer that nothing was cut off.
    async fn say_goodbye(&mut self) {
        if !matches!(timeout(GOODBYE_TIMEOUT, self.shutdown()).await, Ok(Ok(()))) {
            tracing::trace!("the client was gone before the connection was closed");
        }
    }
}

/// A client that has finished, and who it is.
type Shaken = (TlsStream<TcpStream>, Arc<str>);

/// Those that have not finished.
pub(super) struct Handshakes {
    server: TlsServer,
    outlet: Outlet,
    under_way: JoinSet<Option<Shaken>>,
    /// In the order of their begin; some have ended.
    begun: VecDeque<(AbortHandle, Arc<str>)>,
}

impl Handshakes {
    pub(super) fn new(server: TlsServer, outlet: Outlet) -> Self {
        Self { server, outlet, under_way: JoinSet::new(), begun: VecDeque::new() }
    }

    /// Begins with a client.
    pub(super) fn begin(&mut self, stream: TcpStream, origin: Arc<str>) {
        self.begun.retain(|(handshake, _)| !handshake.is_finished());
        if self.begun.len() >= HANDSHAKES_MAX
            && let Some((oldest, origin)) = self.begun.pop_front()
        {
            oldest.abort();
            self.outlet.report_refused(&origin, &HandshakeFailure::GaveWay);
        }
        let acceptor = self.server.acceptor();
        let outlet = self.outlet.clone();
        let client = Arc::clone(&origin);
        let handshake = self.under_way.spawn_local(async move {
            let failure = match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => return Some((stream, client)),
                Ok(Err(error)) => error.into(),
                Err(_) => HandshakeFailure::TimedOut(HANDSHAKE_TIMEOUT),
            };
            outlet.report_refused(&client, &failure);
            None
        });
        self.begun.push_back((handshake, origin));
    }

    /// The next client that has finished; never without handshakes. Nothing is lost when it is not waited for to the end.
    pub(super) async fn next(handshakes: &mut Option<Self>) -> Shaken {
        let Some(handshakes) = handshakes else { return std::future::pending().await };
        loop {
            match handshakes.under_way.join_next().await {
                Some(Ok(Some(shaken))) => return shaken,
                Some(Ok(None)) => {}
                Some(Err(error)) if error.is_cancelled() => {}
                Some(Err(error)) => tracing::error!(%error, "a handshake's task failed"),
                None => std::future::pending().await,
            }
        }
    }
}
