//! `--mqtt` and what belongs to it, from the command line.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::config::Interval;
use crate::mqtt::{LastWill, MqttVersion, Qos};
use crate::source::{Exactness, MqttSource};

/// Arguments of `--mqtt`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Source: MQTT")]
pub struct MqttArguments {
    /// A topic filter, or `$share/GROUP/FILTER`; may be given several times (default `#`: all but the broker's own)
    #[arg(long = "topic", value_name = "FILTER", requires = "mqtt")]
    pub topics: Vec<String>,

    /// QoS to ask for [default: 1]
    #[arg(long, value_name = "0|1|2", value_parser = clap::value_parser!(u8).range(0..=2), requires = "mqtt")]
    pub qos: Option<u8>,

    /// Protocol version [default: 5]
    #[arg(long, value_name = "5|3.1.1", value_parser = parse_mqtt_version, requires = "mqtt")]
    pub mqtt_version: Option<MqttVersion>,

    /// Client identifier; the broker keeps the session under it [default: one of this machine and data directory]
    #[arg(long, value_name = "ID", requires = "mqtt")]
    pub client_id: Option<String>,

    /// File with the user on its first line and the password on its second, which only its owner may read
    #[arg(long, value_name = "FILE", requires = "mqtt")]
    pub mqtt_credentials: Option<PathBuf>,

    /// PEM file with the CAs that may sign the broker's certificate [default: those the operating system trusts]
    #[arg(long, value_name = "FILE", requires = "mqtt")]
    pub mqtt_ca: Option<PathBuf>,

    /// PEM file with the client certificate
    #[arg(long, value_name = "FILE", requires = "mqtt", requires = "mqtt_key")]
    pub mqtt_cert: Option<PathBuf>,

    /// PEM file with the client certificate's key, which only its owner may read
    #[arg(long, value_name = "FILE", requires = "mqtt", requires = "mqtt_cert")]
    pub mqtt_key: Option<PathBuf>,

    /// Allow mqtt:// to another machine, without encryption
    #[arg(long, requires = "mqtt")]
    pub insecure: bool,

    /// Unacknowledged messages the broker may send; MQTT 5 [default: 2000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), requires = "mqtt")]
    pub receive_maximum: Option<u16>,

    /// How long the broker keeps the session without a connection; MQTT 5 [default: 7 days]
    #[arg(long, value_name = "TIME", requires = "mqtt")]
    pub session_expiry: Option<Interval>,

    /// Time without traffic after which the broker is asked whether it is there; `0s` never asks [default: 60s]
    #[arg(long, value_name = "TIME", requires = "mqtt")]
    pub keep_alive: Option<Interval>,

    /// Topic of the last will: what the broker publishes when this program is gone without a word
    #[arg(long, value_name = "TOPIC", requires = "mqtt")]
    pub last_will: Option<String>,

    /// Payload of the last will
    #[arg(long, value_name = "TEXT", requires = "last_will", default_value = "offline")]
    pub last_will_payload: String,

    /// What makes results exact though MQTT may send a message again [default: qos2 with QoS 2, resumed-session with QoS 1]
    #[arg(long, value_enum, requires = "mqtt")]
    pub exactness: Option<ExactnessName>,
}

/// What --exactness takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExactnessName {
    /// QoS 2
    Qos2,
    /// A third column in the lines, ascending for each key: what is not above the last is rejected
    Sequence,
    /// DUP, packet identifier and hash of what a resumed session sends again
    ResumedSession,
}

/// The source that the arguments describe.
pub(super) fn source(url: &str, arguments: &MqttArguments) -> MqttSource {
    let mut source = MqttSource::new(url);
    for topic in &arguments.topics {
        source = source.filter(topic);
    }
    if let Some(qos) = arguments.qos.and_then(Qos::from_level) {
        source = source.qos(qos);
    }
    if let Some(version) = arguments.mqtt_version {
        source = source.version(version);
    }
    if let Some(client_id) = &arguments.client_id {
        source = source.client_id(client_id);
    }
    if let Some(file) = &arguments.mqtt_credentials {
        source = source.credentials(file);
    }
    if let Some(file) = &arguments.mqtt_ca {
        source = source.ca(file);
    }
    if let (Some(certificate), Some(key)) = (&arguments.mqtt_cert, &arguments.mqtt_key) {
        source = source.identity(certificate, key);
    }
    if arguments.insecure {
        source = source.insecure();
    }
    if let Some(messages) = arguments.receive_maximum {
        source = source.receive_maximum(messages);
    }
    if let Some(expiry) = arguments.session_expiry {
        source = source.session_expiry(expiry.0);
    }
    if let Some(keep_alive) = arguments.keep_alive {
        source = source.keep_alive(keep_alive.0);
    }
    if let Some(topic) = &arguments.last_will {
        let payload = arguments.last_will_payload.clone().into_bytes();
        source = source.last_will(LastWill {
            topic: topic.clone(),
            payload,
            qos: Qos::AtLeastOnce,
            is_retained: false,
        });
    }
    match arguments.exactness {
        None => source,
        Some(ExactnessName::Qos2) => source.exactness(Exactness::Qos2),
        Some(ExactnessName::Sequence) => source.exactness(Exactness::Sequence),
        Some(ExactnessName::ResumedSession) => source.exactness(Exactness::ResumedSession),
    }
}

pub(super) fn parse_mqtt_version(text: &str) -> Result<MqttVersion, String> {
    match text {
        "5" => Ok(MqttVersion::V5),
        "3.1.1" => Ok(MqttVersion::V311),
        _ => Err("give 5 or 3.1.1".to_owned()),
    }
}
