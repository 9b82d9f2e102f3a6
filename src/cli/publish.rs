//! `--publish` of `tidegate demo`: results to an MQTT broker.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::mqtt::parse_mqtt_version;
use crate::config::{ByteSize, Interval};
use crate::mqtt::{MqttVersion, Qos};
use crate::sink::{MqttPublish, WhenFull};

/// Arguments of `--publish`.
#[derive(Debug, Args)]
#[command(next_help_heading = "MQTT sink")]
pub struct PublishArguments {
    /// Publish results at this broker, `mqtt://HOST[:PORT]` or `mqtts://HOST[:PORT]`, instead of printing them
    ///
    /// They wait on disk while the broker is away. Needs a data directory and a journal.
    #[arg(long, value_name = "URL")]
    pub publish: Option<String>,

    /// Topic of a result; {0}, {1} … stand for its columns
    #[arg(long, value_name = "TOPIC", requires = "publish", default_value = "averages/{0}")]
    pub publish_topic: String,

    /// QoS of results
    #[arg(long, value_name = "0|1|2", requires = "publish", default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=2))]
    pub publish_qos: u8,

    /// Protocol version to publish with; messages of 3.1.1 carry no ids [default: 5]
    #[arg(long, value_name = "5|3.1.1", requires = "publish", value_parser = parse_mqtt_version)]
    pub publish_version: Option<MqttVersion>,

    /// The broker keeps the newest result of each topic
    #[arg(long, requires = "publish")]
    pub publish_retain: bool,

    /// Client identifier [default: one of this machine and data directory]
    #[arg(long, value_name = "ID", requires = "publish")]
    pub publish_client_id: Option<String>,

    /// File with the user on its first line and the password on its second, which only its owner may read
    #[arg(long, value_name = "FILE", requires = "publish")]
    pub publish_credentials: Option<PathBuf>,

    /// PEM file with the CAs that may sign the broker's certificate [default: those the operating system trusts]
    #[arg(long, value_name = "FILE", requires = "publish")]
    pub publish_ca: Option<PathBuf>,

    /// PEM file with a client certificate
    #[arg(long, value_name = "FILE", requires = "publish_key")]
    pub publish_cert: Option<PathBuf>,

    /// PEM file with its key
    #[arg(long, value_name = "FILE", requires = "publish_cert")]
    pub publish_key: Option<PathBuf>,

    /// Allow mqtt:// to another machine, without encryption
    #[arg(long, requires = "publish")]
    pub publish_insecure: bool,

    /// Bytes of results that wait for the broker [default: 64MiB]; their files take up to about three times as much
    #[arg(long, value_name = "SIZE", requires = "publish")]
    pub outbox_max: Option<ByteSize>,

    /// Drop, and count, results that have waited longer [default: never]
    #[arg(long, value_name = "TIME", requires = "publish")]
    pub outbox_age: Option<Interval>,

    /// What happens when --outbox-max is reached
    #[arg(long, value_enum, value_name = "POLICY", requires = "publish", default_value_t = WhenFullName::DropOldest)]
    pub outbox_full: WhenFullName,

    /// How long results are kept after their delivery, for `tidegate outbox resend` [default: not at all]
    #[arg(long, value_name = "TIME", requires = "publish")]
    pub outbox_retention: Option<Interval>,

    /// Results a second, at most, of those that waited while there was no connection [default: 5000]
    #[arg(long, value_name = "N", requires = "publish", value_parser = clap::value_parser!(u32).range(1..))]
    pub backlog_rate: Option<u32>,
}

/// What --outbox-full takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WhenFullName {
    /// The job waits
    Block,
    /// The oldest results are dropped
    DropOldest,
    /// The oldest averages are folded into count, least, mean and greatest for each key and minute, then longer
    Summarise,
}

/// The sink, if one is asked for.
pub(super) fn sink(arguments: &PublishArguments) -> Option<MqttPublish> {
    let url = arguments.publish.as_ref()?;
    let mut sink = MqttPublish::new(url, &arguments.publish_topic)
        .qos(Qos::from_level(arguments.publish_qos).unwrap_or(Qos::AtLeastOnce))
        .retain(arguments.publish_retain)
        .when_full(match arguments.outbox_full {
            WhenFullName::Block => WhenFull::Block,
            WhenFullName::DropOldest => WhenFull::DropOldest,
            WhenFullName::Summarise => WhenFull::Summarise,
        });
    if let Some(version) = arguments.publish_version {
        sink = sink.version(version);
    }
    if let Some(client_id) = &arguments.publish_client_id {
        sink = sink.client_id(client_id);
    }
    if let Some(path) = &arguments.publish_credentials {
        sink = sink.credentials(path);
    }
    if let Some(path) = &arguments.publish_ca {
        sink = sink.ca(path);
    }
    if let (Some(certificate), Some(key)) = (&arguments.publish_cert, &arguments.publish_key) {
        sink = sink.identity(certificate, key);
    }
    if arguments.publish_insecure {
        sink = sink.insecure();
    }
    if let Some(ByteSize(bytes)) = arguments.outbox_max {
        sink = sink.outbox_bytes_max(bytes);
    }
    if let Some(Interval(age)) = arguments.outbox_age {
        sink = sink.outbox_age_max(age);
    }
    if let Some(Interval(retention)) = arguments.outbox_retention {
        sink = sink.retention(retention);
    }
    match arguments.backlog_rate {
        Some(rate) => Some(sink.backlog_rate(rate)),
        None => Some(sink),
    }
}
