//! The loop: receives many datagrams at a time, one chunk ahead of the job.

use std::borrow::Cow;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::assembly::{Admission, Assembly};
use super::kernel_drops::KernelDrops;
use super::socket::{DatagramSocket, OpenDatagrams};
use crate::metrics::{Provenance, RejectCause, SAMPLE_WINDOW};
use crate::runtime::{ChunkLimits, Offset, Outlet, OutletClosed};

/// Datagrams received before anything else is looked at.
const RECEIVES_MAX: usize = 1024;
/// Datagrams received after the job was told to stop: more than any receive buffer holds.
const LAST_RECEIVES_MAX: usize = 64 * 1024;
/// Time between two looks at the kernel's counter, while datagrams come.
const DROPS_INTERVAL: Duration = Duration::from_secs(1);
/// Pause after a failed receive.
const RECEIVE_PAUSE: Duration = Duration::from_millis(100);

/// A chunk on its way.
type Sending = Pin<Box<dyn Future<Output = Result<Offset, OutletClosed>>>>;

/// Receives until the job stops, and then what the kernel holds.
pub(crate) async fn run_datagrams(mut source: OpenDatagrams, outlet: Outlet, chunk: ChunkLimits) {
    let socket = source.socket().expect("the runtime's I/O is enabled");
    let kind = source.kind();
    tracing::info!(address = %source.place, %kind, receive_buffer = source.receive_buffer_bytes, "receiving");
    let stop = outlet.stop_token().clone();
    let mut stopped = pin!(stop.cancelled());
    let mut intake = Intake {
        assembly: Assembly::new(chunk, source.datagram_bytes_max),
        origin: format!("{kind}:{}", source.place).into(),
        drops: source.drops.take().map(|counter| DropReport::new(counter, source.receive_buffer_bytes)),
        socket,
        outlet,
        sending: None,
    };
    loop {
        // A full chunk waits for the one before it.
        let may_receive = !intake.assembly.is_full();
        let look_at = intake.drops.as_ref().and_then(|drops| drops.look_at);
        tokio::select! {
            biased;
            () = &mut stopped => break,
            sent = wait(&mut intake.sending), if intake.sending.is_some() => {
                intake.sending = None;
                if sent.is_err() {
                    return;
                }
            }
            () = sleep_until(look_at.unwrap_or_else(Instant::now)), if look_at.is_some() => intake.look_at_drops(),
            ready = intake.socket.readable(), if may_receive => {
                if let Err(error) = ready.and_then(|()| intake.receive()) {
                    tracing::warn!(origin = %intake.origin, %error, "cannot receive");
                    sleep(RECEIVE_PAUSE).await;
                }
            }
        }
        intake.send_waiting();
    }
    // Nobody new; what has come is received.
    drop(source.file.take());
    intake.finish(&source).await;
}

/// Datagrams on their way into chunks.
struct Intake {
    socket: DatagramSocket,
    assembly: Assembly,
    outlet: Outlet,
    origin: Arc<str>,
    drops: Option<DropReport>,
    sending: Option<Sending>,
}

impl Intake {
    /// Receives what is there, up to [`RECEIVES_MAX`] and until the chunk is full.
    ///
    /// # Errors
    /// The operating system's; what came before it is kept.
    fn receive(&mut self) -> io::Result<()> {
        let mut count = 0;
        let mut outcome = Ok(());
        while count < RECEIVES_MAX && !self.assembly.is_full() {
            match self.socket.receive(self.assembly.room()) {
                Ok(sender) => {
                    count += 1;
                    self.admit(sender);
                }
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        self.outlet.rejections().end_batch();
        if count > 0
            && let Some(drops) = &mut self.drops
        {
            drops.look_at.get_or_insert_with(|| Instant::now() + DROPS_INTERVAL);
        }
        match outcome {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }

    fn admit(&mut self, sender: Option<SocketAddr>) {
        let cause = match self.assembly.admit() {
            Admission::Taken => return,
            Admission::Empty => RejectCause::EMPTY,
            Admission::TooLong => RejectCause::MESSAGE_TOO_LONG,
        };
        let origin = sender.map_or_else(|| self.origin.to_string(), |sender| format!("udp:{sender}"));
        let provenance = Provenance { origin: &origin, line: 0 };
        self.outlet.rejections().reject(cause, Some(provenance), || Cow::Borrowed(b"".as_slice()));
    }

    /// Sends on what is assembled, unless a chunk is under way.
    fn send_waiting(&mut self) {
        if self.sending.is_none() && !self.assembly.is_empty() {
            let (first_line, buffers) = self.assembly.take(self.outlet.buffers());
            let chunk = self.outlet.chunk(Arc::clone(&self.origin), first_line, buffers);
            let outlet = self.outlet.clone();
            self.sending = Some(Box::pin(async move { outlet.append(chunk, None, None).await }));
        }
    }

    fn look_at_drops(&mut self) {
        if let Some(drops) = &mut self.drops {
            drops.look(&self.outlet);
        }
    }

    /// Hands over what was received and what the kernel holds.
    async fn finish(&mut self, source: &OpenDatagrams) {
        let mut datagram = vec![0; source.datagram_bytes_max + 1];
        for _ in 0..LAST_RECEIVES_MAX {
            let Ok((received, sender)) = source.receive_now(&mut datagram) else { break };
            self.assembly.room().extend_from_slice(received);
            self.admit(sender);
            if self.assembly.is_full() && self.hand_over().await.is_err() {
                break;
            }
        }
        self.outlet.rejections().end_batch();
        if self.hand_over().await.is_err() {
            tracing::debug!(origin = %self.origin, "the job ended before the last datagrams");
        }
        if let Some(drops) = &mut self.drops {
            drops.look(&self.outlet);
            drops.report();
        }
    }

    /// Sends on what is assembled and waits until it is taken.
    async fn hand_over(&mut self) -> Result<(), OutletClosed> {
        loop {
            if let Some(sending) = self.sending.take() {
                sending.await?;
            }
            self.send_waiting();
            if self.sending.is_none() {
                return Ok(());
            }
        }
    }
}

/// Tells of what the kernel dropped: always by a counter, in the log once in ten seconds.
struct DropReport {
    counter: KernelDrops,
    receive_buffer_bytes: Option<usize>,
    /// When to look; `None` while nothing comes.
    look_at: Option<Instant>,
    total: u64,
    unreported: u64,
    reported: Option<Instant>,
}

impl DropReport {
    fn new(counter: KernelDrops, receive_buffer_bytes: Option<usize>) -> Self {
        Self { counter, receive_buffer_bytes, look_at: None, total: 0, unreported: 0, reported: None }
    }

    fn look(&mut self, outlet: &Outlet) {
        self.look_at = None;
        let dropped = match self.counter.since_last_look() {
            Ok(dropped) => dropped,
            Err(error) => {
                tracing::debug!(%error, "what the kernel drops cannot be counted now");
                return;
            }
        };
        if dropped > 0 {
            outlet.rejections().add(RejectCause::KERNEL_DROP, dropped);
            self.total += dropped;
            self.unreported += dropped;
        }
        if self.reported.is_none_or(|reported| reported.elapsed() >= SAMPLE_WINDOW) {
            self.report();
        }
    }

    fn report(&mut self) {
        let count = std::mem::take(&mut self.unreported);
        if count > 0 {
            self.reported = Some(Instant::now());
            tracing::warn!(
                count,
                total = self.total,
                receive_buffer = self.receive_buffer_bytes,
                "the kernel dropped datagrams: they come faster than the job takes them"
            );
        }
    }
}

async fn wait(sending: &mut Option<Sending>) -> Result<Offset, OutletClosed> {
    match sending {
        Some(sending) => sending.await,
        None => std::future::pending().await,
    }
}
