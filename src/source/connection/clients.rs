//! The clients of a listening source: each served by a task of its own, up to a limit.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::acknowledge::{Acknowledge, greet};
use super::reader::{ConnectionEnd, read_lines};
use super::{ByteStream, ConnectionLimits};
use crate::runtime::Outlet;

/// Connections the kernel holds before we accept them.
pub(crate) const BACKLOG: i32 = 128;
/// Pause after a failed accept, which is most often a lack of file descriptors.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a client may do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientLimits {
    pub(crate) connection: ConnectionLimits,
    pub(crate) acknowledge: Acknowledge,
    /// Clients at once.
    pub(crate) connections_max: usize,
}

/// Those that are connected.
pub(crate) struct Clients {
    outlet: Outlet,
    limits: ClientLimits,
    connections: JoinSet<()>,
    turned_away: u64,
}

impl Clients {
    pub(crate) fn new(outlet: Outlet, limits: ClientLimits) -> Self {
        Self { outlet, limits, connections: JoinSet::new(), turned_away: 0 }
    }

    /// Serves a client, or turns it away when there are too many.
    pub(crate) fn admit(&mut self, stream: impl ByteStream + 'static, origin: Arc<str>) {
        let ClientLimits { connection, acknowledge, connections_max } = self.limits;
        if self.connections.len() >= connections_max {
            self.turned_away += 1;
            // The first, and then ever fewer: a flood must not flood the log.
            if self.turned_away.is_power_of_two() {
                let turned_away = self.turned_away;
                tracing::warn!(peer = %origin, turned_away, connections_max, "too many connections: turned away");
            }
            return;
        }
        let outlet = self.outlet.clone();
        self.connections
            .spawn_local(async move { serve(stream, origin, connection, &outlet, acknowledge).await });
    }

    /// Waits until a client is gone. Nothing is lost when it is not waited for to the end.
    pub(crate) async fn gone(&mut self) {
        match self.connections.join_next().await {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::error!(%error, "a connection's task failed"),
            None => std::future::pending().await,
        }
    }

    /// The job stops, which they were told as well; what they have read is handed over.
    pub(crate) async fn finish(mut self) {
        while self.connections.join_next().await.is_some() {}
    }
}

async fn serve(
    mut stream: impl ByteStream,
    origin: Arc<str>,
    limits: ConnectionLimits,
    outlet: &Outlet,
    acknowledge: Acknowledge,
) {
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
