//! The message that an output becomes.

use bytes::Bytes;

use super::settings::CheckedPublish;
use super::topic::TopicError;
use crate::mqtt::{BrokerLimits, MqttVersion, Publish};
use crate::sink::outbox::{Output, columns};

/// Name of the user property with the output's id.
const ID_PROPERTY: &str = "tidegate-output-id";
/// Name of the user property with the number of outputs in a summary.
const FOLDED_PROPERTY: &str = "tidegate-folded";

/// Why an output is not published.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unpublishable {
    #[error("{0}")]
    Topic(#[from] TopicError),
    #[error("its packet would be longer than the {0} bytes the broker takes")]
    TooLarge(u32),
}

/// The message of an output, without an identifier.
pub(super) fn packet(
    settings: &CheckedPublish,
    job: &str,
    output: &Output,
    limits: BrokerLimits,
) -> Result<Publish, Unpublishable> {
    let payload = output.payload();
    let id = output.id();
    let mut user_properties = Vec::new();
    let has_properties = settings.version == MqttVersion::V5;
    if has_properties {
        user_properties.push((ID_PROPERTY.to_owned(), format!("{job}/{id}")));
    }
    let topic = match output.summary() {
        Some(summary) => {
            if has_properties {
                user_properties.push((FOLDED_PROPERTY.to_owned(), summary.count.to_string()));
            }
            settings.topic.topic(&[&summary.key])?
        }
        None => settings.topic.topic(&columns(&String::from_utf8_lossy(payload)))?,
    };
    // Fixed header, identifier, lengths.
    let besides =
        32 + user_properties.iter().map(|(name, value)| name.len() + value.len() + 5).sum::<usize>();
    let bytes = payload.len() + topic.len() + besides;
    if let Some(bytes_max) = limits.packet_bytes_max
        && bytes > bytes_max as usize
    {
        return Err(Unpublishable::TooLarge(bytes_max));
    }
    Ok(Publish {
        is_duplicate: false,
        qos: settings.qos,
        is_retained: settings.is_retained,
        topic: Bytes::from(topic),
        packet_id: 0,
        payload: Bytes::copy_from_slice(payload),
        user_properties,
    })
}

/// Says the first time, and counts every time, that an output cannot be delivered.
pub(super) fn report_refused(has_reported: &mut bool, output: &Output, reason: &dyn std::fmt::Display) {
    if !std::mem::replace(has_reported, true) {
        tracing::error!(output = %output.id(), %reason, "an output cannot be delivered and is passed over; further ones are only counted");
    }
}
