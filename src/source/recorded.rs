//! Recorded input: batches given beforehand, sealed exactly as they were recorded.
//!
//! What a live source cannot promise (which readings share a batch, and its processing time) is part of the
//! recording, so a job over it is a pure function of it. Tests compare runs with it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::watch;

use crate::runtime::{Offset, Outlet, Timestamp};

/// One recorded batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedBatch {
    /// Processing time of the batch, milliseconds since 1970-01-01 UTC.
    pub stamp_ms: i64,
    /// The readings, one a line, without line ends.
    pub lines: Vec<String>,
}

/// A recorded input: its batches in order.
#[derive(Debug, Clone)]
pub struct RecordedInput {
    pub(crate) batches: Arc<[RecordedBatch]>,
    /// The client the recording is sent as: it then goes on behind what is durable of it.
    client: Option<Arc<str>>,
    acknowledged: Arc<Acknowledged>,
}

/// What the client of a recording was told.
#[derive(Debug, Default)]
pub(crate) struct Acknowledged {
    lines: AtomicU64,
    was_taken_back: AtomicBool,
}

impl Acknowledged {
    /// So many of its lines are durable.
    fn hear(&self, lines: u64) {
        if self.lines.fetch_max(lines, Ordering::SeqCst) > lines {
            self.was_taken_back.store(true, Ordering::SeqCst);
        }
    }

    /// What the client of another run, which goes on from the same disk, was told.
    #[cfg(test)]
    pub(crate) fn branch(&self) -> Arc<Self> {
        let lines = self.lines.load(Ordering::SeqCst).into();
        Arc::new(Self { lines, was_taken_back: self.was_taken_back().into() })
    }

    /// True when it was ever told a smaller number than before: something acknowledged was lost.
    #[cfg(test)]
    pub(crate) fn was_taken_back(&self) -> bool {
        self.was_taken_back.load(Ordering::SeqCst)
    }
}

/// Batches that were handed over: offset, and the client's last line in it.
type Sealed = RefCell<VecDeque<(Offset, u64)>>;

impl RecordedInput {
    /// The input that consists of these batches.
    pub fn new(batches: impl Into<Arc<[RecordedBatch]>>) -> Self {
        Self { batches: batches.into(), client: None, acknowledged: Arc::default() }
    }

    /// Sends the recording as a client that asks for acknowledgements does: a job that is started again goes on where its
    /// journal ends.
    #[cfg(test)]
    pub(crate) fn sent_by(self, client: &str, acknowledged: &Arc<Acknowledged>) -> Self {
        Self { client: Some(client.into()), acknowledged: Arc::clone(acknowledged), ..self }
    }
}

/// Hands over the recorded batches one by one.
pub(crate) async fn run_recorded(input: RecordedInput, outlet: Outlet) {
    let mut client = ("recording".into(), 0, None);
    if let Some(name) = &input.client {
        let Ok((lines, session)) = outlet.hello(Arc::clone(name)).await else { return };
        input.acknowledged.hear(lines);
        client = (format!("@{name}").into(), lines, Some(session));
    }
    let sealed = Sealed::default();
    let mut durable = outlet.durable();
    tokio::select! {
        () = send(&input.batches, &outlet, client, &sealed) => {}
        () = acknowledge(&input.acknowledged, &mut durable, &sealed) => {}
    }
    acknowledge_through(&input.acknowledged, *durable.borrow(), &sealed);
}

async fn send(
    batches: &[RecordedBatch],
    outlet: &Outlet,
    (origin, durable, session): (Arc<str>, u64, Option<u64>),
    sealed: &Sealed,
) {
    let mut first_line = 1;
    for batch in batches {
        if first_line <= durable {
            first_line += batch.lines.len() as u64;
            continue;
        }
        let mut buffers = outlet.buffers();
        for line in &batch.lines {
            buffers.bytes.extend_from_slice(line.as_bytes());
            buffers.bytes.push(b'\n');
            buffers.ends.push(u32::try_from(buffers.bytes.len()).expect("a recorded batch is below 4 GiB"));
        }
        let chunk = outlet.chunk(Arc::clone(&origin), first_line, buffers);
        first_line += batch.lines.len() as u64;
        match outlet.append(chunk, Some(Timestamp(batch.stamp_ms)), session).await {
            Ok(offset) if session.is_some() => sealed.borrow_mut().push_back((offset, first_line - 1)),
            Ok(_) => {}
            Err(_) => return,
        }
        if outlet.stop_token().is_cancelled() {
            return;
        }
    }
}

/// Tells the client of every commit.
async fn acknowledge(acknowledged: &Acknowledged, durable: &mut watch::Receiver<Offset>, sealed: &Sealed) {
    while durable.changed().await.is_ok() {
        let through = *durable.borrow_and_update();
        acknowledge_through(acknowledged, through, sealed);
    }
    std::future::pending().await
}

fn acknowledge_through(acknowledged: &Acknowledged, through: Offset, sealed: &Sealed) {
    let mut sealed = sealed.borrow_mut();
    while let Some((_, lines)) = sealed.pop_front_if(|(offset, _)| *offset <= through) {
        acknowledged.hear(lines);
    }
}
