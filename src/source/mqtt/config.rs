//! Settings of the MQTT source.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::disk::{RealDisk, read_whole};
use crate::mqtt::{
    BrokerUrl, Credentials, Duplicates, LastWill, MqttVersion, PlainTcp, Qos, Security, Subscription,
    TlsFiles, check_filter,
};
use crate::source::Place;
use crate::tls::IdentityFiles;

/// Longest message accepted unless told otherwise, in bytes of payload.
const MESSAGE_BYTES_MAX_DEFAULT: usize = 64 * 1024;
/// Most that can be told.
const MESSAGE_BYTES_LIMIT: usize = 16 << 20;
/// Bytes of a packet that are not its payload: topic, identifier, properties.
const PACKET_BYTES_BESIDES: usize = 128 << 10;
/// Keep-alive, unless told otherwise.
const KEEP_ALIVE_DEFAULT: Duration = Duration::from_secs(60);
/// How long the broker keeps the session without a connection, unless told otherwise; version 5 only.
const SESSION_EXPIRY_DEFAULT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Unacknowledged messages the broker may send, unless told otherwise; version 5 only.
const RECEIVE_MAXIMUM_DEFAULT: u16 = 2000;
/// Longest client identifier that every broker accepts, in bytes.
const CLIENT_ID_BYTES_MAX: usize = 65_535;

/// How a message that was sent once reaches the job once, though MQTT may send it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exactness {
    /// By QoS 2, whose identifiers are kept with the journal. Needs QoS 2.
    Qos2,
    /// By a number in the payload, which the job looks at: nothing is dropped on the way to it.
    Sequence,
    /// By DUP, packet identifier, and a hash of topic and payload, for what a resumed session sends again. Needs QoS 1. Can
    /// take two equal messages for one if they follow each other under one identifier.
    ResumedSession,
}

/// A source that subscribes at an MQTT broker.
#[derive(Debug, Clone)]
pub struct MqttSource {
    url: String,
    filters: Vec<String>,
    qos: Qos,
    version: MqttVersion,
    client_id: Option<String>,
    clean_start: bool,
    session_expiry: Duration,
    keep_alive: Duration,
    receive_maximum: u16,
    credentials: Option<PathBuf>,
    tls: TlsFiles,
    plain: PlainTcp,
    last_will: Option<LastWill>,
    exactness: Option<Exactness>,
    message_bytes_max: usize,
}

/// A source whose settings have been checked.
#[derive(Debug, Clone)]
pub(crate) struct OpenMqtt {
    pub(super) url: BrokerUrl,
    pub(super) subscription: Subscription,
    pub(super) credentials: Option<PathBuf>,
    pub(super) tls: TlsFiles,
    pub(super) packet_bytes_max: usize,
    pub(super) message_bytes_max: usize,
    /// `None` for QoS 0.
    pub(super) exactness: Option<Exactness>,
}

impl MqttSource {
    /// Subscribes at the broker of this URL, `mqtt://HOST[:PORT]` or `mqtts://HOST[:PORT]`: all topics but the broker's
    /// own, QoS 1, MQTT 5, a session that the broker keeps for 7 days under an identifier of this machine and job, 60 s keep-alive,
    /// 2,000 unacknowledged messages, messages of at most 64 KiB.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            filters: Vec::new(),
            qos: Qos::AtLeastOnce,
            version: MqttVersion::V5,
            client_id: None,
            clean_start: false,
            session_expiry: SESSION_EXPIRY_DEFAULT,
            keep_alive: KEEP_ALIVE_DEFAULT,
            receive_maximum: RECEIVE_MAXIMUM_DEFAULT,
            credentials: None,
            tls: TlsFiles::default(),
            plain: PlainTcp::LoopbackOnly,
            last_will: None,
            exactness: None,
            message_bytes_max: MESSAGE_BYTES_MAX_DEFAULT,
        }
    }

    /// Adds a topic filter; `$share/GROUP/FILTER` for a shared subscription.
    #[must_use]
    pub fn filter(mut self, filter: impl Into<String>) -> Self {
        self.filters.push(filter.into());
        self
    }

    /// Sets the QoS that is asked for.
    #[must_use]
    pub fn qos(mut self, qos: Qos) -> Self {
        self.qos = qos;
        self
    }

    /// Sets the protocol version.
    #[must_use]
    pub fn version(mut self, version: MqttVersion) -> Self {
        self.version = version;
        self
    }

    /// Sets the client identifier. It must be this source's alone, and stay the same over restarts.
    #[must_use]
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = Some(client_id.into());
        self
    }

    /// Sets whether the broker forgets the session with each connection: what is published in between is lost.
    #[must_use]
    pub fn clean_start(mut self, clean_start: bool) -> Self {
        self.clean_start = clean_start;
        self
    }

    /// Sets how long the broker keeps the session without a connection. MQTT 5; before, the broker's setting counts.
    #[must_use]
    pub fn session_expiry(mut self, expiry: Duration) -> Self {
        self.session_expiry = expiry;
        self
    }

    /// Sets the keep-alive, in whole seconds up to 18 hours.
    #[must_use]
    pub fn keep_alive(mut self, keep_alive: Duration) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// Sets how many unacknowledged messages the broker may send. MQTT 5; before, the broker's setting counts.
    #[must_use]
    pub fn receive_maximum(mut self, messages: u16) -> Self {
        self.receive_maximum = messages;
        self
    }

    /// Sets the file with the user on its first line and the password on its second, which only its owner may read.
    #[must_use]
    pub fn credentials(mut self, file: impl Into<PathBuf>) -> Self {
        self.credentials = Some(file.into());
        self
    }

    /// Sets the PEM file with the CAs that may sign the broker's certificate, in place of those the operating system trusts.
    #[must_use]
    pub fn ca(mut self, file: impl Into<PathBuf>) -> Self {
        self.tls.ca = Some(file.into());
        self
    }

    /// Sets the PEM files of the client certificate and its key.
    #[must_use]
    pub fn identity(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.tls.identity = Some(IdentityFiles { certificate: certificate.into(), key: key.into() });
        self
    }

    /// Allows `mqtt://` to another machine: whoever is on the way reads and writes what is sent, the password too.
    #[must_use]
    pub fn insecure(mut self) -> Self {
        self.plain = PlainTcp::Anywhere;
        self
    }

    /// Sets what the broker publishes when the connection is lost.
    #[must_use]
    pub fn last_will(mut self, will: LastWill) -> Self {
        self.last_will = Some(will);
        self
    }

    /// Sets how messages that are sent again are told. By default [`Exactness::Qos2`] with QoS 2,
    /// [`Exactness::ResumedSession`] with QoS 1.
    #[must_use]
    pub fn exactness(mut self, exactness: Exactness) -> Self {
        self.exactness = Some(exactness);
        self
    }

    /// Sets the longest payload, in bytes, up to 16 MiB.
    #[must_use]
    pub fn message_bytes_max(mut self, bytes: usize) -> Self {
        self.message_bytes_max = bytes;
        self
    }

    /// Checks that the exactness asked for can be had with the QoS.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub(crate) fn check_exactness(&self) -> Result<(), String> {
        exactness(self.qos, self.exactness).map(drop)
    }

    /// Checks the settings and the files they name.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub(crate) fn open(self, place: Place<'_>) -> Result<OpenMqtt, String> {
        let url: BrokerUrl = self.url.parse().map_err(|error| format!("{error}"))?;
        url.check(self.plain).map_err(|error| error.to_string())?;
        let filters = if self.filters.is_empty() { vec!["#".to_owned()] } else { self.filters };
        for filter in &filters {
            check_filter(filter)?;
        }
        let exactness = exactness(self.qos, self.exactness)?;
        let client_id = self.client_id.unwrap_or_else(|| default_client_id(place));
        if client_id.is_empty() || client_id.len() > CLIENT_ID_BYTES_MAX || client_id.contains('\0') {
            return Err("the client identifier must have 1 to 65,535 bytes, and no NUL".to_owned());
        }
        if self.receive_maximum == 0 {
            return Err("receive-maximum is 0; it must be 1 to 65,535".to_owned());
        }
        if self.keep_alive > Duration::from_secs(u64::from(u16::MAX)) {
            return Err(format!("keep-alive is {:?}; it must be at most 65,535 s", self.keep_alive));
        }
        if !(1..=MESSAGE_BYTES_LIMIT).contains(&self.message_bytes_max) {
            return Err(format!("messages may have {} bytes; allow 1 to 16 MiB", self.message_bytes_max));
        }
        if url.security == Security::Plain && self.tls != TlsFiles::default() {
            return Err(format!("certificates are given, but {url} is spoken to without TLS: use mqtts://"));
        }
        if url.security == Security::Tls {
            self.tls.load().map_err(|error| error.to_string())?;
        }
        if let Some(file) = &self.credentials {
            Credentials::read(file).map_err(|error| error.to_string())?;
        }
        let duplicates =
            if exactness == Some(Exactness::ResumedSession) { Duplicates::Match } else { Duplicates::Keep };
        Ok(OpenMqtt {
            url,
            subscription: Subscription {
                version: self.version,
                client_id,
                filters,
                qos: self.qos,
                clean_start: self.clean_start,
                keep_alive: self.keep_alive,
                session_expiry: self.session_expiry,
                receive_maximum: self.receive_maximum,
                last_will: self.last_will,
                duplicates,
            },
            credentials: self.credentials,
            tls: self.tls,
            packet_bytes_max: self.message_bytes_max + PACKET_BYTES_BESIDES,
            message_bytes_max: self.message_bytes_max,
            exactness,
        })
    }
}

fn exactness(qos: Qos, asked: Option<Exactness>) -> Result<Option<Exactness>, String> {
    match (qos, asked) {
        (Qos::AtMostOnce, Some(Exactness::Qos2 | Exactness::ResumedSession)) => {
            Err("QoS 0 may lose messages: ask for QoS 1 or 2 to get each exactly once".to_owned())
        }
        (Qos::AtLeastOnce, Some(Exactness::Qos2)) => Err("exactness by QoS 2 needs QoS 2".to_owned()),
        (Qos::ExactlyOnce, Some(Exactness::ResumedSession)) => {
            Err("exactness by the resumed session needs QoS 1; QoS 2 is exact by itself".to_owned())
        }
        (Qos::AtLeastOnce, None) => Ok(Some(Exactness::ResumedSession)),
        (Qos::ExactlyOnce, None) => Ok(Some(Exactness::Qos2)),
        (_, asked) => Ok(asked),
    }
}

/// The same for a source of a job in a directory on a machine, and another one for any other. At most 23 letters and digits,
/// which every broker accepts.
fn default_client_id(place: Place<'_>) -> String {
    let mut hasher = blake3::Hasher::new();
    let machine = ["/etc/machine-id", "/etc/hostname"]
        .iter()
        .find_map(|path| read_whole(&RealDisk, Path::new(path), 4096).ok().filter(|text| !text.is_empty()));
    hasher.update(&machine.unwrap_or_default());
    hasher.update(b"\0");
    hasher.update(place.job.as_bytes());
    hasher.update(b"\0");
    let directory = place.directory.map(|directory| std::path::absolute(directory).unwrap_or_default());
    hasher.update(directory.unwrap_or_default().as_os_str().as_encoded_bytes());
    hasher.update(format!("\0{}", place.source).as_bytes());
    let hash = hasher.finalize().to_hex();
    format!("tidegate{}", hash.get(..15).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(source: usize) -> Place<'static> {
        Place { job: "job", directory: None, source }
    }

    fn refusal(source: MqttSource) -> String {
        source.open(place(0)).unwrap_err()
    }

    #[test]
    fn settings_that_cannot_be_are_refused_with_a_reason() {
        let source = || MqttSource::new("mqtt://localhost");
        let cases = [
            (MqttSource::new("mqtt://10.0.0.1"), "`insecure`"),
            (source().filter("a/#/b"), "only as its last level"),
            (source().receive_maximum(0), "receive-maximum"),
            (source().exactness(Exactness::Qos2), "needs QoS 2"),
            (source().qos(Qos::AtMostOnce).exactness(Exactness::ResumedSession), "QoS 0"),
            (source().ca("/ca.pem"), "use mqtts://"),
            (MqttSource::new("mqtts://localhost").ca("/no/such/ca.pem"), "cannot read /no/such/ca.pem"),
            (source().credentials("/no/such/file"), "cannot read /no/such/file"),
            (source().message_bytes_max(0), "16 MiB"),
            (source().client_id(""), "client identifier"),
        ];
        for (source, expected) in cases {
            let message = refusal(source);
            assert!(message.contains(expected), "{message}");
        }
        assert!(MqttSource::new("mqtt://10.0.0.1").insecure().open(place(0)).is_ok());
    }

    #[test]
    fn the_client_identifier_is_stable_and_a_sources_own() {
        let id =
            |source| MqttSource::new("mqtt://localhost").open(place(source)).unwrap().subscription.client_id;
        assert_eq!(id(0), id(0));
        assert_ne!(id(0), id(1));
        assert!(id(0).len() <= 23 && id(0).bytes().all(|byte| byte.is_ascii_alphanumeric()), "{}", id(0));
    }
}
