//! Settings of the MQTT sink.

use std::path::PathBuf;
use std::time::Duration;

use super::topic::TopicTemplate;
use crate::mqtt::{BrokerUrl, MqttVersion, PlainTcp, Qos, TlsFiles};
use crate::sink::outbox::{BYTES_MIN, OutboxSettings, WhenFull};
use crate::tls::IdentityFiles;

/// Publishes in flight at most, unless told otherwise.
const WINDOW_DEFAULT: u16 = 1000;
/// Outputs of a backlog that are sent in a second, unless told otherwise.
const BACKLOG_RATE_DEFAULT: u32 = 5_000;

/// A sink that publishes at an MQTT broker, each output as a message of its own.
///
/// Outputs wait on disk until the broker has acknowledged them; a broker that is away does not hold up the job.
#[derive(Debug, Clone)]
pub struct MqttPublish {
    url: String,
    topic: String,
    qos: Qos,
    version: MqttVersion,
    is_retained: bool,
    client_id: Option<String>,
    credentials: Option<PathBuf>,
    tls: TlsFiles,
    plain: PlainTcp,
    window: u16,
    backlog_rate: u32,
    outbox: OutboxSettings,
}

/// Settings that have been checked.
#[derive(Debug, Clone)]
pub(crate) struct CheckedPublish {
    pub(super) url: BrokerUrl,
    pub(super) topic: TopicTemplate,
    pub(super) qos: Qos,
    pub(super) version: MqttVersion,
    pub(super) is_retained: bool,
    pub(super) client_id: Option<String>,
    pub(super) credentials: Option<PathBuf>,
    pub(super) tls: TlsFiles,
    pub(super) window: u16,
    pub(super) backlog_rate: u32,
    pub(super) outbox: OutboxSettings,
}

impl MqttPublish {
    /// Publishes at the broker of this URL, `mqtt://HOST[:PORT]` or `mqtts://HOST[:PORT]`, under `topic`, in which `{0}`,
    /// `{1}` … stand for the output's columns: in MQTT 5, with QoS 1, not retained, an outbox of 64 MiB that drops the oldest when it
    /// is full.
    pub fn new(url: impl Into<String>, topic: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            topic: topic.into(),
            qos: Qos::AtLeastOnce,
            version: MqttVersion::V5,
            is_retained: false,
            client_id: None,
            credentials: None,
            tls: TlsFiles::default(),
            plain: PlainTcp::LoopbackOnly,
            window: WINDOW_DEFAULT,
            backlog_rate: BACKLOG_RATE_DEFAULT,
            outbox: OutboxSettings::default(),
        }
    }

    /// Quality of service. With QoS 2 the broker gets each output exactly once as long as it keeps the session.
    #[must_use]
    pub fn qos(mut self, qos: Qos) -> Self {
        self.qos = qos;
        self
    }

    /// Protocol version [default: 5]. Messages of 3.1.1 carry no id of their output.
    #[must_use]
    pub fn version(mut self, version: MqttVersion) -> Self {
        self.version = version;
        self
    }

    /// Whether the broker keeps the newest message of each topic for later subscribers.
    #[must_use]
    pub fn retain(mut self, is_retained: bool) -> Self {
        self.is_retained = is_retained;
        self
    }

    /// Client identifier, under which the broker keeps the session [default: one of this machine, data directory and topic].
    #[must_use]
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = Some(client_id.into());
        self
    }

    /// File with the user on its first line and the password on its second, which only its owner may read.
    #[must_use]
    pub fn credentials(mut self, path: impl Into<PathBuf>) -> Self {
        self.credentials = Some(path.into());
        self
    }

    /// PEM file with the CAs that may sign the broker's certificate [default: those the operating system trusts].
    #[must_use]
    pub fn ca(mut self, path: impl Into<PathBuf>) -> Self {
        self.tls.ca = Some(path.into());
        self
    }

    /// PEM files with a client certificate and its key.
    #[must_use]
    pub fn identity(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.tls.identity = Some(IdentityFiles { certificate: certificate.into(), key: key.into() });
        self
    }

    /// Allows `mqtt://` to another machine, without encryption.
    #[must_use]
    pub fn insecure(mut self) -> Self {
        self.plain = PlainTcp::Anywhere;
        self
    }

    /// Publishes in flight at most; the broker may allow fewer [default: 1000].
    #[must_use]
    pub fn window(mut self, window: u16) -> Self {
        self.window = window;
        self
    }

    /// Outputs sent in a second, at most, of those that waited when the connection was made [default: 5000].
    #[must_use]
    pub fn backlog_rate(mut self, outputs_per_second: u32) -> Self {
        self.backlog_rate = outputs_per_second;
        self
    }

    /// Bytes of outputs that wait, at least 1 MiB [default: 64 MiB]. Their files take up to about three times as much.
    #[must_use]
    pub fn outbox_bytes_max(mut self, bytes_max: u64) -> Self {
        self.outbox.bytes_max = bytes_max;
        self
    }

    /// Drops, and counts, outputs that have waited longer [default: never].
    #[must_use]
    pub fn outbox_age_max(mut self, age_max: Duration) -> Self {
        self.outbox.age_max = Some(age_max);
        self
    }

    /// What happens when the outbox is full [default: the oldest outputs are dropped].
    #[must_use]
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.outbox.when_full = when_full;
        self
    }

    /// How long outputs are kept after their delivery, for `tidegate outbox resend` [default: not at all].
    #[must_use]
    pub fn retention(mut self, retention: Duration) -> Self {
        self.outbox.retention = retention;
        self
    }

    /// The topic, as given.
    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    /// # Errors
    /// A sentence that says which setting is wrong.
    pub(crate) fn check(&self) -> Result<CheckedPublish, String> {
        let url: BrokerUrl = self.url.parse().map_err(|error| format!("{error}"))?;
        url.check(self.plain).map_err(|error| error.to_string())?;
        if self.outbox.bytes_max < BYTES_MIN {
            return Err(format!(
                "an outbox of {} bytes is too small: give 1MiB at least",
                self.outbox.bytes_max
            ));
        }
        if self.window == 0 || self.backlog_rate == 0 {
            return Err("a window or a backlog rate of 0 would publish nothing: give 1 at least".to_owned());
        }
        Ok(CheckedPublish {
            url,
            topic: self.topic.parse().map_err(|error| format!("{error}"))?,
            qos: self.qos,
            version: self.version,
            is_retained: self.is_retained,
            client_id: self.client_id.clone(),
            credentials: self.credentials.clone(),
            tls: self.tls.clone(),
            window: self.window,
            backlog_rate: self.backlog_rate,
            outbox: self.outbox,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_setting_is_named() {
        let good = MqttPublish::new("mqtt://localhost", "a/{0}");
        good.check().unwrap();
        for (publish, expected) in [
            (MqttPublish::new("localhost", "a"), "mqtt://"),
            (MqttPublish::new("mqtt://10.0.0.1", "a"), "insecure"),
            (MqttPublish::new("mqtt://localhost", "a/#"), "topic"),
            (good.clone().outbox_bytes_max(1000), "1MiB"),
            (good.clone().window(0), "window"),
            (good.backlog_rate(0), "backlog rate"),
        ] {
            let error = publish.check().unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        MqttPublish::new("mqtt://10.0.0.1", "a").insecure().check().unwrap();
    }
}
