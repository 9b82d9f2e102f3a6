//! The connection: takes outputs out of the outbox and publishes them, on a thread of its own.
//!
//! One connection after the other, with growing pauses (see `link`). Of the backlog at most so many outputs leave in a second;
//! what has come in since the connection was made goes before it, but for every eighth output (see `turns`).
//!
//! With QoS 2 the outbox is flushed once before a group of publishes leaves and once before their releases do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, sleep_until, timeout};

use super::link::{ANSWER_TIMEOUT, Connected, End, Link, connect};
use super::message::{packet, report_refused};
use super::place::now;
use super::settings::CheckedPublish;
use super::turns::Turns;
use super::{SharedOutbox, report, store_failed};
use crate::mqtt::{
    Again, Backoff, ConnAck, FlightPhase, Incoming, Outgoing, PacketId, Publish, Publisher, Qos, RefusalKind,
    SessionFate, Transport,
};
use crate::sink::outbox::{OutboxError, Output, Phase, Ticket};

/// Bytes that wait to be written, at most, before more is taken out of the outbox.
const OUT_BYTES: usize = 64 << 10;
/// Bytes of payload in flight, at most.
const IN_FLIGHT_BYTES_MAX: usize = 256 << 10;
/// Time between two reports of what waits.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);
/// Time between two looks at what is due.
const TICK: Duration = Duration::from_millis(100);

/// Empties an outbox.
pub(super) struct Delivery {
    shared: Arc<SharedOutbox>,
    settings: CheckedPublish,
    job: String,
    client_id: String,
    publisher: Publisher<Output>,
    in_flight_bytes: usize,
    turns: Turns,
    /// Written with QoS 0, not on the connection yet.
    written: Vec<Ticket>,
    has_reported_refusal: bool,
    reported: Instant,
}

/// How a life of connections ended.
enum Last {
    /// The job ends.
    Stopped,
    /// The outbox's store did not do something.
    Store(OutboxError),
}

impl Delivery {
    pub(super) fn new(
        shared: Arc<SharedOutbox>,
        settings: CheckedPublish,
        job: String,
        client_id: String,
    ) -> Self {
        let mut delivery = Self {
            publisher: Publisher::new(settings.window),
            in_flight_bytes: 0,
            turns: Turns::new(settings.backlog_rate),
            shared,
            settings,
            job,
            client_id,
            written: Vec::new(),
            has_reported_refusal: false,
            reported: Instant::now(),
        };
        delivery.restore();
        delivery
    }

    /// Takes over what the outbox says was in flight.
    fn restore(&mut self) {
        self.publisher = Publisher::new(self.settings.window);
        self.in_flight_bytes = 0;
        self.written.clear();
        for old in self.shared.lock().in_flight() {
            let phase = match old.phase {
                Phase::Published => FlightPhase::Published,
                Phase::Received => FlightPhase::Received,
            };
            self.in_flight_bytes += old.output.payload().len();
            self.publisher.restore(old.packet_id, phase, old.output);
        }
    }

    /// Publishes until the job ends.
    pub(super) fn run(mut self) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build();
        match runtime {
            Ok(runtime) => runtime.block_on(self.lives()),
            Err(error) => tracing::error!(%error, "cannot publish: outputs wait in the outbox"),
        }
    }

    /// Connects until the job ends.
    async fn lives(&mut self) {
        if let Last::Store(error) = self.connections().await {
            store_failed(&self.shared, &error);
        }
    }

    async fn connections(&mut self) -> Last {
        let stop = self.shared.stop.clone();
        let mut backoff = Backoff::default();
        let mut last_reason = String::new();
        loop {
            let begun = Instant::now();
            let (end, was_connected) = self.one_connection().await;
            if let Err(error) = self.forget_connection() {
                return Last::Store(error);
            }
            if was_connected {
                backoff.connected_for(begun.elapsed());
                last_reason.clear();
            }
            match end {
                End::Stopping => return Last::Stopped,
                End::Outbox(error) => return Last::Store(error),
                _ if stop.is_cancelled() => {
                    let outputs = self.shared.lock().waiting();
                    if outputs > 0 {
                        tracing::warn!(broker = %self.settings.url, reason = %end, outputs, "what was not delivered waits in the outbox");
                    }
                    return Last::Stopped;
                }
                _ => {}
            }
            let (reason, pause) = (end.to_string(), backoff.pause());
            // The first of its kind is news, its repetitions are not.
            if reason == last_reason {
                tracing::debug!(broker = %self.settings.url, reason, ?pause, "trying again");
            } else {
                tracing::warn!(broker = %self.settings.url, reason, ?pause, "outputs wait in the outbox: trying again");
            }
            last_reason = reason;
            tokio::select! {
                () = stop.cancelled() => return Last::Stopped,
                expired = self.wait_and_expire(pause) => if let Err(error) = expired {
                    return Last::Store(error);
                }
            }
        }
    }

    /// What is too old goes also while there is no connection.
    async fn wait_and_expire(&mut self, pause: Duration) -> Result<(), OutboxError> {
        let until = tokio::time::Instant::now() + pause;
        let shared = Arc::clone(&self.shared);
        loop {
            tokio::select! {
                () = sleep_until(until) => break,
                () = shared.has_more.notified() => {}
            }
        }
        self.report_if_due();
        shared.lock().expire(now())
    }

    /// Says now and then how many outputs wait.
    fn report_if_due(&mut self) {
        if self.reported.elapsed() < REPORT_INTERVAL {
            return;
        }
        self.reported = Instant::now();
        let outbox = self.shared.lock();
        if outbox.waiting() == 0 {
            return;
        }
        let report = report("", &outbox);
        drop(outbox);
        tracing::info!(
            outputs = report.waiting,
            bytes = report.bytes,
            oldest_seconds = report.oldest_age.map_or(0, |age| age.as_secs()),
            delivered = report.delivered,
            dropped = report.dropped,
            expired = report.expired,
            folded = report.folded,
            refused = report.refused,
            "outputs wait in the outbox"
        );
    }

    /// What left with QoS 0 and was not written is lost, as QoS 0 may.
    fn forget_connection(&mut self) -> Result<(), OutboxError> {
        let written = std::mem::take(&mut self.written);
        let mut outbox = self.shared.lock();
        for ticket in written {
            outbox.done(ticket, now())?;
        }
        Ok(())
    }

    async fn one_connection(&mut self) -> (End, bool) {
        let shared = Arc::clone(&self.shared);
        let connected = tokio::select! {
            () = shared.has_no_use_for_connection() => Err(End::Stopping),
            connected = connect(&self.settings, &self.client_id) => connected,
        };
        let begun =
            connected.and_then(|connected| Ok(self.begin_session(&connected.ack).map(|()| connected)?));
        match begun {
            Ok(Connected { transport, link, received, .. }) => {
                tracing::info!(broker = %self.settings.url, client_id = self.client_id, "publishing");
                let end = self.serve(transport, link, received).await;
                (end.map_or_else(|end| end, |()| End::Stopping), true)
            }
            Err(end) => (end, false),
        }
    }

    fn begin_session(&mut self, ack: &ConnAck) -> Result<(), OutboxError> {
        let fate = if ack.session_present { SessionFate::Kept } else { SessionFate::Lost };
        let in_flight = self.publisher.in_flight();
        let mut outbox = self.shared.lock();
        let in_doubt = self.publisher.connected(fate, ack.limits.receive_maximum);
        let in_doubt_count = in_doubt.len();
        for (packet_id, output) in in_doubt {
            outbox.write_in_flight(packet_id, output.ticket(), Phase::Published)?;
        }
        if fate == SessionFate::Lost && in_flight > 0 && self.settings.qos == Qos::ExactlyOnce {
            tracing::warn!(
                in_flight,
                received = in_doubt_count,
                "the broker has forgotten the session: what was in flight is published again and may arrive twice"
            );
        }
        outbox.split_lanes();
        drop(outbox);
        self.shared.flush()?;
        self.turns.begin();
        Ok(())
    }

    /// Serves a connection until it fails or the job ends.
    async fn serve(
        &mut self,
        transport: Transport,
        mut link: Link,
        mut received: BytesMut,
    ) -> Result<(), End> {
        let stop = self.shared.stop.clone();
        let shared = Arc::clone(&self.shared);
        let (mut reader, mut writer) = tokio::io::split(transport);
        loop {
            let ends_at = shared.ends_at();
            self.take_in(&mut received, &mut link)?;
            let has_left = self.fill(&mut link, ends_at.is_some())?;
            if let Some(ends_at) = ends_at
                && (has_left || Instant::now() >= ends_at)
            {
                link.codec.write(Outgoing::Disconnect, &mut link.out)?;
                // The broker may have gone; all that is owed to it is this goodbye.
                drop(timeout(ANSWER_TIMEOUT, writer.write_all(&link.out)).await);
                drop(timeout(ANSWER_TIMEOUT, writer.shutdown()).await);
                return Ok(());
            }
            link.keep_alive(self.publisher.in_flight() > 0)?;
            tokio::select! {
                read = reader.read_buf(&mut received) => {
                    if read? == 0 {
                        return Err(End::Closed);
                    }
                    link.last_heard = Instant::now();
                }
                written = writer.write_buf(&mut link.out), if !link.out.is_empty() => {
                    if written? == 0 {
                        return Err(End::Closed);
                    }
                    link.last_sent = Instant::now();
                    if link.out.is_empty() {
                        writer.flush().await?;
                        self.settle_written()?;
                    }
                }
                () = shared.has_more.notified() => {}
                () = sleep(TICK) => {
                    self.report_if_due();
                    self.shared.lock().expire(now())?;
                }
                () = stop.cancelled(), if ends_at.is_none() => {}
            }
        }
    }

    /// Takes in all answers there are; the outbox learns of them in one go.
    fn take_in(&mut self, received: &mut BytesMut, link: &mut Link) -> Result<(), End> {
        let shared = Arc::clone(&self.shared);
        let mut outbox = shared.lock();
        let now = now();
        let mut releases: Vec<PacketId> = Vec::new();
        let mut outcome = Ok(());
        while let Some(packet) = link.codec.read(received)? {
            match packet {
                Incoming::PubAck(packet_id, Ok(())) => {
                    if let Some(output) = self.publisher.acknowledged(packet_id) {
                        self.in_flight_bytes -= output.payload().len();
                        outbox.done(output.ticket(), now)?;
                    }
                }
                Incoming::PubRec(packet_id, Ok(())) => {
                    if let Some(output) = self.publisher.received(packet_id) {
                        outbox.write_in_flight(packet_id, output.ticket(), Phase::Received)?;
                    }
                    releases.push(packet_id);
                }
                Incoming::PubComp(packet_id) => {
                    if let Some(output) = self.publisher.completed(packet_id) {
                        self.in_flight_bytes -= output.payload().len();
                        outbox.complete(packet_id, output.ticket(), now)?;
                    }
                }
                Incoming::PubAck(packet_id, Err(refusal)) | Incoming::PubRec(packet_id, Err(refusal)) => {
                    if refusal.kind == RefusalKind::Temporary {
                        outcome = Err(End::Refused(refusal));
                        break;
                    }
                    if let Some((qos, output)) = self.publisher.refused(packet_id) {
                        self.in_flight_bytes -= output.payload().len();
                        report_refused(&mut self.has_reported_refusal, &output, &refusal);
                        outbox.refused(output.ticket(), now)?;
                        if qos == Qos::ExactlyOnce {
                            outbox.complete(packet_id, output.ticket(), now)?;
                        }
                    }
                }
                Incoming::PingResp => link.is_ping_out = false,
                Incoming::Disconnect(refusal) => {
                    outcome = Err(End::Refused(refusal));
                    break;
                }
                // Nothing was asked for that these would answer.
                Incoming::ConnAck(_)
                | Incoming::Publish(_)
                | Incoming::Unread(_)
                | Incoming::PubRel(_)
                | Incoming::SubAck(..)
                | Incoming::UnsubAck(_) => {}
            }
        }
        outbox.write_progress()?;
        drop(outbox);
        if !releases.is_empty() {
            self.shared.flush()?;
            for packet_id in releases {
                link.codec.write(Outgoing::PubRel(packet_id), &mut link.out)?;
            }
        }
        outcome
    }

    /// Lets outputs leave as far as there is room. Returns whether all have left and been answered.
    fn fill(&mut self, link: &mut Link, is_ending: bool) -> Result<bool, End> {
        let shared = Arc::clone(&self.shared);
        self.turns.refill();
        while link.out.len() < OUT_BYTES {
            match self.publisher.again() {
                Some(Again::Release { packet_id }) => {
                    link.codec.write(Outgoing::PubRel(packet_id), &mut link.out)?;
                }
                Some(Again::Publish { packet_id, qos, is_duplicate, message }) => {
                    let publish = packet(&self.settings, &self.job, message, link.limits);
                    match publish {
                        Ok(publish) => {
                            let publish = Publish { qos, packet_id, is_duplicate, ..publish };
                            link.codec.write(Outgoing::Publish(&publish), &mut link.out)?;
                        }
                        Err(error) => {
                            report_refused(&mut self.has_reported_refusal, message, &error);
                            let ticket = message.ticket();
                            let mut outbox = shared.lock();
                            outbox.refused(ticket, now())?;
                            outbox.complete(packet_id, ticket, now())?;
                            drop(outbox);
                            self.publisher.refused(packet_id);
                        }
                    }
                }
                None => break,
            }
        }
        let mut ready: Vec<(PacketId, Publish)> = Vec::new();
        let mut bytes = link.out.len();
        let mut outbox = shared.lock();
        while bytes < OUT_BYTES
            && self.in_flight_bytes < IN_FLIGHT_BYTES_MAX
            && (self.settings.qos == Qos::AtMostOnce || self.publisher.room() > 0)
        {
            let Some(output) = self.turns.next(&mut outbox, is_ending)? else { break };
            let ticket = output.ticket();
            let publish = match packet(&self.settings, &self.job, &output, link.limits) {
                Ok(publish) => publish,
                Err(error) => {
                    report_refused(&mut self.has_reported_refusal, &output, &error);
                    outbox.refused(ticket, now())?;
                    continue;
                }
            };
            bytes += publish.payload.len() + publish.topic.len();
            let packet_id = if self.settings.qos == Qos::AtMostOnce {
                self.written.push(ticket);
                0
            } else {
                self.in_flight_bytes += output.payload().len();
                self.publisher.publish(self.settings.qos, output)
            };
            if self.settings.qos == Qos::ExactlyOnce {
                outbox.write_in_flight(packet_id, ticket, Phase::Published)?;
            }
            ready.push((packet_id, publish));
        }
        let has_left = self.publisher.in_flight() == 0
            && link.out.is_empty()
            && ready.is_empty()
            && outbox.waiting() == 0;
        drop(outbox);
        if self.settings.qos == Qos::ExactlyOnce && !ready.is_empty() {
            self.shared.flush()?;
        }
        for (packet_id, publish) in ready {
            let publish = Publish { packet_id, ..publish };
            link.codec.write(Outgoing::Publish(&publish), &mut link.out)?;
        }
        Ok(has_left)
    }

    /// What left with QoS 0 is on the connection: it is done with.
    fn settle_written(&mut self) -> Result<(), OutboxError> {
        if self.written.is_empty() {
            return Ok(());
        }
        let mut outbox = self.shared.lock();
        let now = now();
        for ticket in self.written.drain(..) {
            outbox.done(ticket, now)?;
        }
        outbox.write_progress()
    }
}
