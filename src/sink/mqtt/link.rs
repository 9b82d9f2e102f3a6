//! One connection to the broker: made, kept alive, and why it ended.

use std::io;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::settings::CheckedPublish;
use crate::mqtt::{
    BrokerLimits, Codec, CodecError, ConnAck, Connect, ConnectError, Credentials, Incoming, Outgoing, Qos,
    Refusal, SecretFileError, Transport,
};
use crate::sink::outbox::OutboxError;

/// Room for what is read at once, in bytes.
const READ_BYTES: usize = 16 << 10;
/// Longest packet from the broker; it only answers.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Time in which the broker must answer a connection.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Keep-alive that is asked for.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Longest time without a byte from the broker while it owes an answer.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// How long the broker keeps the session without a connection.
const SESSION_EXPIRY: Duration = Duration::from_secs(7 * 24 * 3600);

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("{0}")]
    NotConnected(#[from] ConnectError),
    #[error("{0}")]
    NoCredentials(#[from] SecretFileError),
    #[error("the broker does not answer")]
    Silent,
    #[error("the broker closed the connection")]
    Closed,
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    #[error("{0}")]
    NotMqtt(#[from] CodecError),
    #[error("the broker refuses: {0}")]
    Refused(Refusal),
    #[error("the broker takes at most QoS {}", .0.level())]
    QosTooHigh(Qos),
    #[error("{0}")]
    Outbox(#[from] OutboxError),
    #[error("the job ends")]
    Stopping,
}

/// One connection.
pub(super) struct Link {
    pub(super) codec: Codec,
    pub(super) limits: BrokerLimits,
    pub(super) out: BytesMut,
    pub(super) last_heard: Instant,
    pub(super) last_sent: Instant,
    pub(super) is_ping_out: bool,
}

/// A connection the broker has accepted.
pub(super) struct Connected {
    pub(super) transport: Transport,
    pub(super) link: Link,
    /// What came behind the broker's answer.
    pub(super) received: BytesMut,
    pub(super) ack: ConnAck,
}

/// Makes a connection the broker has accepted.
pub(super) async fn connect(settings: &CheckedPublish, client_id: &str) -> Result<Connected, End> {
    let login = Credentials::login(settings.credentials.as_deref())?;
    let mut transport = Transport::connect(&settings.url, &settings.tls).await?;
    let mut codec = Codec::new(settings.version, ANSWER_BYTES_MAX);
    let mut out = BytesMut::new();
    let connect = Connect {
        client_id: client_id.to_owned(),
        clean_start: false,
        keep_alive_seconds: u16::try_from(KEEP_ALIVE.as_secs()).unwrap_or(u16::MAX),
        session_expiry_seconds: u32::try_from(SESSION_EXPIRY.as_secs()).unwrap_or(u32::MAX),
        receive_maximum: None,
        login,
        last_will: None,
    };
    codec.write(Outgoing::Connect(&connect), &mut out)?;
    transport.write_all(&out).await?;
    transport.flush().await?;
    let mut received = BytesMut::with_capacity(READ_BYTES);
    let answer = timeout(ANSWER_TIMEOUT, async {
        loop {
            if let Some(packet) = codec.read(&mut received)? {
                return Ok::<_, End>(packet);
            }
            if transport.read_buf(&mut received).await? == 0 {
                return Err(End::Closed);
            }
        }
    });
    let ack = match answer.await.map_err(|_| End::Silent)?? {
        Incoming::ConnAck(Ok(ack)) => ack,
        Incoming::ConnAck(Err(refusal)) => return Err(End::Refused(refusal)),
        Incoming::Disconnect(refusal) => return Err(End::Refused(refusal)),
        _ => return Err(End::Closed),
    };
    if ack.limits.qos_max < settings.qos {
        return Err(End::QosTooHigh(ack.limits.qos_max));
    }
    out.clear();
    let heard = Instant::now();
    let link =
        Link { codec, limits: ack.limits, out, last_heard: heard, last_sent: heard, is_ping_out: false };
    Ok(Connected { transport, link, received, ack })
}

impl Link {
    /// Asks for a sign of life when it has been quiet, and gives the connection up when none comes.
    pub(super) fn keep_alive(&mut self, has_in_flight: bool) -> Result<(), End> {
        let is_owed = self.is_ping_out || has_in_flight;
        if is_owed && self.last_heard.elapsed() > SILENCE_MAX && self.last_sent.elapsed() > SILENCE_MAX / 2 {
            return Err(End::Silent);
        }
        if !self.is_ping_out && self.last_sent.max(self.last_heard).elapsed() > KEEP_ALIVE / 2 {
            self.is_ping_out = true;
            self.last_sent = Instant::now();
            self.codec.write(Outgoing::PingReq, &mut self.out)?;
        }
        Ok(())
    }
}
