//! `[[source]]` of type `mqtt`.
//!
//! What is checked is what the text says; certificates and credentials are looked at when the job starts.

use std::time::Duration;

use super::mqtt::{broker, qos};
use super::section::{Keys, Section};
use super::source::{SourceConnector, line_max};
use crate::config::diagnostics::Diagnostic;
use crate::mqtt::{LastWill, MqttVersion, Qos, check_filter};
use crate::source::{Exactness, MqttSource};

pub(super) const LAST_WILL_KEYS: Keys =
    Keys { section: "last-will", common: &["topic", "payload", "qos", "retain"], of_type: &[] };

/// Topic filters of a source.
const TOPICS_MAX: usize = 1024;
/// Longest keep-alive that MQTT has.
const KEEP_ALIVE_MAX: Duration = Duration::from_secs(65_535);

/// A source of type `mqtt`.
pub(super) fn mqtt(section: &Section<'_>) -> Option<SourceConnector> {
    let topics = section.strings("topics", "sensors/+/temperature").unwrap_or_default();
    for topic in &topics {
        if let Err(reason) = check_filter(&topic.value) {
            section.wrong_value("topics", &topic.at, &reason, "sensors/+/temperature");
        }
    }
    if topics.len() > TOPICS_MAX {
        let fault = Diagnostic::new(format!("{} has more than {TOPICS_MAX} topics", section.title));
        section.report(
            fault.at(&section.place("topics")).help("use wildcards: `+` for a level, `#` for all below"),
        );
    }
    let version = section.choice("version", &[("5", MqttVersion::V5), ("3.1.1", MqttVersion::V311)]);
    let clean_start = section.boolean("clean-start");
    let session_expiry = section.duration("session-expiry", Duration::ZERO);
    let keep_alive = section.duration("keep-alive", Duration::ZERO);
    if keep_alive.is_some_and(|keep_alive| keep_alive > KEEP_ALIVE_MAX) {
        section.wrong_value("keep-alive", &section.place("keep-alive"), "it must be at most 65,535 s", "60s");
    }
    let receive_maximum = section.integer("receive-maximum", 1..=u64::from(u16::MAX));
    let message_max = line_max(section, "message-max");
    let last_will = section.table("last-will").and_then(|will| last_will(&will));
    let exactness = [
        ("qos2", Exactness::Qos2),
        ("sequence", Exactness::Sequence),
        ("resumed-session", Exactness::ResumedSession),
    ];
    let exactness = section.choice("exactness", &exactness);
    let broker = broker(section)?;
    let mut source = MqttSource::new(broker.url.value);
    for topic in topics {
        source = source.filter(topic.value);
    }
    source = source.qos(broker.qos.unwrap_or(Qos::AtLeastOnce));
    if let Some(exactness) = exactness {
        source = source.exactness(exactness.value);
        if let Err(reason) = source.check_exactness() {
            let example = if broker.qos == Some(Qos::ExactlyOnce) { "qos2" } else { "resumed-session" };
            section.wrong_value("exactness", &exactness.at, &reason, example);
        }
    }
    if let Some(version) = version {
        source = source.version(version.value);
    }
    if let Some(client_id) = broker.client_id {
        source = source.client_id(client_id);
    }
    if let Some(clean_start) = clean_start {
        source = source.clean_start(clean_start);
    }
    if let Some(expiry) = session_expiry {
        source = source.session_expiry(expiry);
    }
    if let Some(keep_alive) = keep_alive {
        source = source.keep_alive(keep_alive);
    }
    if let Some(messages) = receive_maximum.and_then(|messages| u16::try_from(messages).ok()) {
        source = source.receive_maximum(messages);
    }
    if let Some(bytes) = message_max {
        source = source.message_bytes_max(bytes);
    }
    if let Some(will) = last_will {
        source = source.last_will(will);
    }
    if let Some(file) = broker.credentials_file {
        source = source.credentials(file);
    }
    if let Some(file) = broker.ca_file {
        source = source.ca(file);
    }
    if let Some((certificate, key)) = broker.identity {
        source = source.identity(certificate, key);
    }
    Some(SourceConnector::Mqtt(Box::new(if broker.insecure { source.insecure() } else { source })))
}

fn last_will(section: &Section<'_>) -> Option<LastWill> {
    section.check_keys(&LAST_WILL_KEYS, None);
    let payload = section.string("payload", "lost").map_or(Vec::new(), |payload| payload.value.into_bytes());
    let qos = qos(section, "qos").unwrap_or(Qos::AtMostOnce);
    let is_retained = section.boolean("retain").unwrap_or(false);
    let topic = section.required("topic", "gateways/7/state")?;
    if topic.value.contains(['+', '#', '\0']) {
        section.wrong_value("topic", &topic.at, "a topic has no `+`, `#` or NUL", "gateways/7/state");
    }
    Some(LastWill { topic: topic.value, payload, qos, is_retained })
}
