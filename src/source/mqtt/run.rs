//! The source's task: one connection to the broker after the other, around the session.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::{sleep, sleep_until, timeout};

use super::assembly::Assembly;
use super::config::{Exactness, OpenMqtt};
use crate::metrics::{Provenance, RejectCause};
use crate::mqtt::{
    Answer, Backoff, Codec, CodecError, ConnectError, Credentials, Dropped, Incoming, Outgoing, Publish, Qos,
    Reply, SecretFileError, SessionError, SessionFound, Subscriber, Subscription, Taken, Transport, Unread,
    UnreadCause,
};
use crate::runtime::{ChunkLimits, Offset, Outlet, OutletClosed};

/// Room for what is read at once, in bytes.
const READ_BYTES: usize = 64 * 1024;
/// A read of so much is not the last of what has come.
const READ_BYTES_MANY: usize = READ_BYTES / 4;
/// Pause before the next read of what comes without being asked for, with QoS 0; the timer makes it up to a millisecond longer. A
/// broker writes message by message: woken for each, it and this program would do little else. With a longer pause the
/// connection's buffer fills up, which costs the broker more than that saves.
const READ_PAUSE: Duration = Duration::from_micros(500);
/// Time the last acknowledgements are waited for when the job stops.
const LAST_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("{0}")]
    NotConnected(#[from] ConnectError),
    #[error("{0}")]
    NoCredentials(#[from] SecretFileError),
    #[error("the broker closed the connection")]
    Closed,
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    #[error("{0}")]
    NotMqtt(#[from] CodecError),
    #[error("{0}")]
    Session(#[from] SessionError),
    #[error("the job stops")]
    Stopping,
}

/// A chunk on its way: the events noted with it and before, and the batch it is sealed into.
type Sending = Pin<Box<dyn Future<Output = Result<(u64, Offset), OutletClosed>>>>;

/// Reads from the broker until the job stops.
pub(crate) async fn run_mqtt(source: OpenMqtt, outlet: Outlet, limits: ChunkLimits) {
    let origin: Arc<str> = format!("{}/{}", source.url, source.subscription.client_id).into();
    let Ok(ids) = outlet.received_by(Arc::clone(&origin)).await else { return };
    report_start(&source, &outlet);
    let subscriber = Subscriber::new(source.subscription.clone(), ids, Instant::now());
    let mut task = MqttTask {
        durable: outlet.durable(),
        source,
        outlet,
        origin,
        subscriber,
        assembly: Assembly::new(limits),
        sending: None,
        waiting: VecDeque::new(),
        duplicates: 0,
    };
    task.run().await;
    let duplicates = task.duplicates;
    tracing::info!(broker = %task.source.url, duplicates, "left the broker");
}

fn report_start(source: &OpenMqtt, outlet: &Outlet) {
    let subscription = &source.subscription;
    let exactness = match (subscription.qos, source.exactness) {
        (Qos::AtMostOnce, _) => "none: QoS 0 delivers at most once",
        (_, Some(Exactness::Qos2)) => "QoS 2: each message exactly once",
        (_, Some(Exactness::Sequence)) => "a sequence in the payload: messages that come again reach the job",
        (_, Some(Exactness::ResumedSession)) => {
            "resumed session: what comes again with DUP, packet identifier and hash of a message not known as acknowledged is dropped"
        }
        (_, None) => "none: messages that come again are readings of their own",
    };
    tracing::info!(
        broker = %source.url, client_id = subscription.client_id, filters = ?subscription.filters,
        qos = subscription.qos.level(), version = ?subscription.version, exactness, "subscribing"
    );
    if !outlet.has_journal() && subscription.qos != Qos::AtMostOnce {
        tracing::warn!("the job keeps no journal: messages are acknowledged before they are durable");
    }
}

struct MqttTask {
    source: OpenMqtt,
    outlet: Outlet,
    /// Broker and client identifier: the session's name.
    origin: Arc<str>,
    subscriber: Subscriber,
    assembly: Assembly,
    sending: Option<Sending>,
    durable: watch::Receiver<Offset>,
    /// Batches that are not durable yet, and the events noted up to each.
    waiting: VecDeque<(Offset, u64)>,
    /// Messages dropped because they had been received before.
    duplicates: u64,
}

impl MqttTask {
    async fn run(&mut self) {
        let mut backoff = Backoff::default();
        let mut last_reason = String::new();
        loop {
            let begun = Instant::now();
            let (end, was_connected) = self.one_connection().await;
            self.subscriber.disconnected();
            if was_connected {
                backoff.connected_for(begun.elapsed());
                // A broker that takes no filter does so with each connection.
                if !matches!(end, End::Session(SessionError::NoFilter(_))) {
                    last_reason.clear();
                }
            }
            if matches!(end, End::Stopping) {
                return;
            }
            let reason = end.to_string();
            let pause = backoff.pause();
            // The first of its kind is news, its repetitions are not.
            if reason == last_reason {
                tracing::debug!(broker = %self.source.url, reason, ?pause, "trying again");
            } else {
                tracing::warn!(broker = %self.source.url, reason, ?pause, "no connection to the broker: trying again");
            }
            last_reason = reason;
            if self.pause(pause).await.is_err() {
                return;
            }
        }
    }

    /// Waits; what was received goes on to the job meanwhile.
    async fn pause(&mut self, pause: Duration) -> Result<(), OutletClosed> {
        let stop = self.outlet.stop_token().clone();
        let mut is_over = pin!(sleep(pause));
        loop {
            self.send_assembled();
            tokio::select! {
                () = stop.cancelled() => {
                    self.hand_over().await;
                    return Err(OutletClosed);
                }
                sent = wait(&mut self.sending), if self.sending.is_some() => {
                    self.sending = None;
                    self.sealed(sent)?;
                }
                () = &mut is_over => return Ok(()),
            }
        }
    }

    /// Connects and serves the connection; says how it ended, and whether the broker had accepted it.
    async fn one_connection(&mut self) -> (End, bool) {
        let stop = self.outlet.stop_token().clone();
        let connected = tokio::select! {
            () = stop.cancelled() => Err(End::Stopping),
            connected = connect(&self.source) => connected,
        };
        let (transport, login) = match connected {
            Ok(connected) => connected,
            Err(End::Stopping) => {
                self.hand_over().await;
                return (End::Stopping, false);
            }
            Err(end) => return (end, false),
        };
        let (reader, writer) = tokio::io::split(transport);
        let codec = Codec::new(self.source.subscription.version, self.source.packet_bytes_max);
        let mut link = Link {
            reader,
            writer,
            codec,
            received: BytesMut::with_capacity(READ_BYTES),
            out: BytesMut::new(),
            is_flushed: true,
        };
        let connect = self.subscriber.connect(login, Instant::now());
        let end = match link.codec.write(Outgoing::Connect(&connect), &mut link.out) {
            Ok(()) => self.serve(&mut link).await.unwrap_or_else(|end| end),
            Err(error) => End::NotMqtt(error),
        };
        let was_connected = self.subscriber.is_connected();
        if matches!(end, End::Stopping) {
            self.say_goodbye(&mut link).await;
        }
        (end, was_connected)
    }

    /// Serves a connection to its end, which is always an error.
    async fn serve(&mut self, link: &mut Link) -> Result<End, End> {
        let stop = self.outlet.stop_token().clone();
        let mut stopped = pin!(stop.cancelled());
        let mut read_next = Instant::now();
        loop {
            self.take_packets(link)?;
            self.send_assembled();
            self.subscriber.tick(Instant::now())?;
            self.write_replies(link)?;
            let may_read = !self.assembly.is_full();
            let is_early = self.source.subscription.qos == Qos::AtMostOnce && Instant::now() < read_next;
            let deadline = self.subscriber.deadline();
            tokio::select! {
                biased;
                () = &mut stopped => return Err(End::Stopping),
                sent = wait(&mut self.sending), if self.sending.is_some() => {
                    self.sending = None;
                    self.sealed(sent).map_err(|_| End::Stopping)?;
                }
                changed = self.durable.changed(), if !self.waiting.is_empty() => {
                    changed.map_err(|_| End::Stopping)?;
                    self.note_durable();
                }
                written = write_out(&mut link.writer, &mut link.out, &mut link.is_flushed),
                    if !link.is_flushed || !link.out.is_empty() => written?,
                read = read_in(&mut link.reader, &mut link.received), if may_read && !is_early => {
                    match read? {
                        0 => return Err(End::Closed),
                        // There is more.
                        READ_BYTES_MANY.. => {}
                        _ => read_next = Instant::now() + READ_PAUSE,
                    }
                }
                () = sleep_until(read_next.into()), if may_read && is_early => {}
                () = sleep_until(deadline.into()) => {}
            }
            // A source that the job holds back is not the broker's fault.
            if !may_read {
                self.subscriber.was_not_listening(Instant::now());
            }
        }
    }

    fn take_packets(&mut self, link: &mut Link) -> Result<(), End> {
        let now = Instant::now();
        while !self.assembly.is_full()
            && let Some(packet) = link.codec.read(&mut link.received)?
        {
            let packet = self.refuse_over_long(packet);
            match self.subscriber.take(packet, now)? {
                Taken::Nothing => {}
                Taken::Message { publish, hash } => self.assembly.message(&publish, hash),
                Taken::Note(event) => self.assembly.note(event),
                Taken::Dropped(dropped) => self.report_dropped(&dropped),
                Taken::Connected(found) => self.connected(found),
                Taken::Subscribed(answers) => self.report_subscribed(&answers),
            }
        }
        self.outlet.rejections().end_batch();
        Ok(())
    }

    /// The codec's limit is for the whole packet.
    fn refuse_over_long(&self, packet: Incoming) -> Incoming {
        match packet {
            Incoming::Publish(Publish { qos, packet_id, topic, payload, .. })
                if payload.len() > self.source.message_bytes_max =>
            {
                let (packet_bytes, cause) = (payload.len(), UnreadCause::TooLarge);
                Incoming::Unread(Unread { qos, packet_id, topic, packet_bytes, cause })
            }
            packet => packet,
        }
    }

    fn connected(&mut self, found: SessionFound) {
        let broker = &self.source.url;
        match found {
            SessionFound::Resumed => tracing::info!(%broker, "connected: the session is resumed"),
            SessionFound::New => tracing::info!(%broker, "connected: a new session"),
            SessionFound::Forgotten { unacknowledged } => {
                tracing::error!(
                    %broker, unacknowledged,
                    "connected: the broker has forgotten the session; what was published since the last connection is lost, \
                     unless it is retained"
                );
                if let Some(event) = self.subscriber.forget() {
                    self.assembly.note(event);
                }
            }
        }
    }

    fn report_subscribed(&self, answers: &[Answer<Qos>]) {
        let subscription = &self.source.subscription;
        for (filter, answer) in subscription.filters.iter().zip(answers) {
            match answer {
                Err(refusal) => {
                    tracing::error!(broker = %self.source.url, filter, %refusal, "the broker refuses a topic filter");
                }
                Ok(granted) if *granted < subscription.qos => {
                    let (asked, granted) = (subscription.qos.level(), granted.level());
                    tracing::warn!(broker = %self.source.url, filter, asked, granted, "the broker grants a lower QoS");
                }
                Ok(_) => {}
            }
        }
    }

    fn report_dropped(&mut self, dropped: &Dropped) {
        let (cause, topic, shown) = match dropped {
            Dropped::Duplicate => {
                self.duplicates += 1;
                return;
            }
            Dropped::Foreign(publish) => {
                (RejectCause::FOREIGN_TOPIC, &publish.topic, publish.payload.as_ref())
            }
            Dropped::Empty(publish) => (RejectCause::EMPTY, &publish.topic, b"".as_slice()),
            Dropped::Unread(unread) => match unread.cause {
                UnreadCause::TooLarge => (RejectCause::MESSAGE_TOO_LONG, &unread.topic, b"".as_slice()),
                UnreadCause::TopicNotUtf8 => {
                    (RejectCause::TOPIC_NOT_UTF8, &unread.topic, unread.topic.as_ref())
                }
            },
        };
        let topic = String::from_utf8_lossy(topic);
        let provenance = Provenance { origin: &topic, line: 0 };
        self.outlet.rejections().reject(cause, Some(provenance), || Cow::Borrowed(shown));
    }

    /// Sends on what is assembled, unless a chunk is under way.
    fn send_assembled(&mut self) {
        if self.sending.is_some() {
            return;
        }
        // Worth noting, not worth a chunk of its own.
        if !self.assembly.is_empty()
            && let Some(event) = self.subscriber.settled()
        {
            self.assembly.note(event);
        }
        if self.assembly.is_empty() {
            return;
        }
        let noted = self.subscriber.noted();
        let (first_line, buffers) = self.assembly.take(self.outlet.buffers());
        let mut chunk = self.outlet.chunk(Arc::clone(&self.origin), first_line, buffers);
        chunk.is_awaited = self.source.subscription.qos != Qos::AtMostOnce;
        let outlet = self.outlet.clone();
        self.sending = Some(Box::pin(async move { Ok((noted, outlet.append(chunk, None, None).await?)) }));
    }

    /// Notes the batch a chunk is in.
    fn sealed(&mut self, sent: Result<(u64, Offset), OutletClosed>) -> Result<(), OutletClosed> {
        let (noted, offset) = sent?;
        self.waiting.push_back((offset, noted));
        self.note_durable();
        Ok(())
    }

    fn note_durable(&mut self) {
        let durable = *self.durable.borrow_and_update();
        let has_journal = self.outlet.has_journal();
        while let Some((_, noted)) =
            self.waiting.pop_front_if(|(offset, _)| *offset <= durable || !has_journal)
        {
            self.subscriber.set_durable(noted);
        }
    }

    fn write_replies(&mut self, link: &mut Link) -> Result<(), End> {
        let now = Instant::now();
        while let Some(reply) = self.subscriber.reply(now) {
            let Subscription { filters, qos, .. } = self.subscriber.subscription();
            let packet = match reply {
                Reply::Subscribe(packet_id) => Outgoing::Subscribe { packet_id, filters, qos: *qos },
                Reply::PubAck(packet_id) => Outgoing::PubAck(packet_id),
                Reply::PubRec(packet_id) => Outgoing::PubRec(packet_id),
                Reply::PubComp(packet_id) => Outgoing::PubComp(packet_id),
                Reply::PingReq => Outgoing::PingReq,
            };
            link.codec.write(packet, &mut link.out)?;
        }
        Ok(())
    }

    /// Hands over what was received, and waits until it is durable, for a while.
    async fn hand_over(&mut self) {
        loop {
            self.send_assembled();
            let Some(sending) = self.sending.take() else { break };
            let sent = sending.await;
            if self.sealed(sent).is_err() {
                return;
            }
        }
        let all_durable = async {
            while !self.waiting.is_empty() && self.durable.changed().await.is_ok() {
                self.note_durable();
            }
        };
        if timeout(LAST_TIMEOUT, all_durable).await.is_err() {
            tracing::warn!("the last messages are not acknowledged: the broker will send them again");
        }
    }

    /// The job stops: the last acknowledgements, and a disconnect in order.
    async fn say_goodbye(&mut self, link: &mut Link) {
        self.hand_over().await;
        if !self.subscriber.is_connected() {
            return;
        }
        let last = self
            .write_replies(link)
            .and_then(|()| Ok(link.codec.write(Outgoing::Disconnect, &mut link.out)?));
        let sent = async {
            link.writer.write_all_buf(&mut link.out).await?;
            link.writer.shutdown().await
        };
        match (last, timeout(LAST_TIMEOUT, sent).await) {
            (Ok(()), Ok(Ok(()))) => {}
            outcome => tracing::debug!(?outcome, "the broker was left without a word"),
        }
    }
}

/// A connection with its buffers.
struct Link {
    reader: ReadHalf<Transport>,
    writer: WriteHalf<Transport>,
    codec: Codec,
    received: BytesMut,
    out: BytesMut,
    is_flushed: bool,
}

/// A connection to the broker, and what to log in with.
async fn connect(source: &OpenMqtt) -> Result<(Transport, Option<(String, String)>), End> {
    let login = Credentials::login(source.credentials.as_deref())?;
    Ok((Transport::connect(&source.url, &source.tls).await?, login))
}

/// Writes some of `out`. Nothing is lost when it is not waited for to the end.
async fn write_out(
    writer: &mut WriteHalf<Transport>,
    out: &mut BytesMut,
    is_flushed: &mut bool,
) -> io::Result<()> {
    if !out.is_empty() {
        *is_flushed = false;
        writer.write_buf(out).await?;
    }
    if out.is_empty() {
        writer.flush().await?;
        *is_flushed = true;
    }
    Ok(())
}

async fn read_in(reader: &mut ReadHalf<Transport>, received: &mut BytesMut) -> io::Result<usize> {
    if received.capacity() - received.len() < READ_BYTES / 2 {
        received.reserve(READ_BYTES);
    }
    reader.read_buf(received).await
}

async fn wait(sending: &mut Option<Sending>) -> Result<(u64, Offset), OutletClosed> {
    match sending {
        Some(sending) => sending.await,
        None => std::future::pending().await,
    }
}
