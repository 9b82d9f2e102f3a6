//! The MQTT source from the command line.

use super::demo_arguments::{ExactnessName, MqttArguments};
use crate::mqtt::{LastWill, Qos};
use crate::source::{Exactness, MqttSource};

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
