//! Recorded input: batches given beforehand, sealed exactly as they were recorded.
//!
//! What a live source cannot promise (which readings share a batch, and its processing time) is part of the
//! recording, so a job over it is a pure function of it. Tests compare runs with it.

use std::sync::Arc;

use crate::runtime::{Outlet, Timestamp};

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
}

impl RecordedInput {
    /// The input that consists of these batches.
    pub fn new(batches: impl Into<Arc<[RecordedBatch]>>) -> Self {
        Self { batches: batches.into(), client: None }
    }

    /// Sends the recording as a client that asks for acknowledgements does: a job that is started again goes on where its
    /// journal ends.
    #[cfg(test)]
    pub(crate) fn sent_by(self, client: &str) -> Self {
        Self { client: Some(client.into()), ..self }
    }
}

/// Hands over the recorded batches one by one.
pub(crate) async fn run_recorded(input: RecordedInput, outlet: Outlet) {
    let mut origin: Arc<str> = "recording".into();
    let (mut durable, mut session) = (0, None);
    if let Some(client) = input.client {
        origin = format!("@{client}").into();
        let Ok((lines, number)) = outlet.hello(client).await else { return };
        (durable, session) = (lines, Some(number));
    }
    let mut first_line = 1;
    for batch in input.batches.iter() {
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
        let appended = outlet.append(chunk, Some(Timestamp(batch.stamp_ms)), session).await;
        if appended.is_err() || outlet.stop_token().is_cancelled() {
            return;
        }
    }
}
