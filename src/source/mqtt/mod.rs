//! Messages from an MQTT broker.
//!
//! A payload is one or more lines; a message's lines are frames of one chunk, and the chunk's table says which frames are
//! which message, with its topic and what else came with it (`crate::mqtt::message_table`).
//!
//! **Acknowledgement**: PUBACK and PUBREC leave once the journal's sync covers the message, in the order of receipt and only on
//! the connection it came by. A job without a journal acknowledges what is sealed into a batch, which a crash may lose.
//!
//! **Exactness.** QoS 0 is at most once. What the broker sends again of QoS 1 and 2 reaches the job once where [`Exactness`]
//! says so. MQTT itself may still send twice: a publisher of QoS 1 whose own acknowledgement was lost; a broker
//! that forgot its session; a retained message, with every new subscription; and overlapping topic filters.
//!
//! **Limits**: a message is at most `message_bytes_max` long, default 64 KiB; a longer one is dropped as it comes, acknowledged
//! and counted. Unacknowledged messages: `receive_maximum`, default 2,000, for version 5, else what the broker is
//! configured for; memory does not hang on it: at most two chunks are held, and then nothing is read.
//!
//! **A broker that is away** is tried again after 100 ms to 30 s for ever; one that neither sends nor answers a PINGREQ within
//! 10 s is left and tried again.

mod assembly;
mod config;
mod run;

pub(crate) use config::OpenMqtt;
pub use config::{Exactness, MqttSource};
pub(crate) use run::run_mqtt;
