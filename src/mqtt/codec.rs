//! Packets to bytes and back, by the codecs of `rumqttc` for version 3.1.1 and version 5.
//!
//! Limits: a packet from the broker is at most `packet_bytes_max` long. A longer publish is thrown away as it comes, never
//! buffered, and reported as unread so that it can be acknowledged; any other packet that long is an error.
//!
//! What this adds to those codecs: such publishes, topics that are not UTF-8, and one packet type for both versions.
//! Version 5 reads a publish without allocating; version 3.1.1 allocates its topic.

use bytes::{Buf, Bytes, BytesMut};
use rumqttc::mqttbytes::{self as v4, v4 as p4};
use rumqttc::v5::mqttbytes::{self as v5, v5 as p5};

use super::packet::{Incoming, MqttVersion, Outgoing, Qos, Unread, UnreadCause};
use super::reason::temporary;
use super::translation::{from_v4, from_v5, to_v4, to_v5};

/// Longest fixed header, in bytes: the first byte, and the length.
const FIXED_HEADER_BYTES_MAX: usize = 5;
/// First four bits of a publish.
const PUBLISH: u8 = 3;

/// Why bytes are not MQTT: the connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CodecError {
    #[error("the broker sent something that is not MQTT 3.1.1: {0}")]
    V311(v4::Error),
    #[error("the broker sent something that is not MQTT 5: {0}")]
    V5(v5::Error),
    #[error("the broker sent a packet with a malformed length")]
    Length,
    #[error("the broker sent a packet of {bytes} bytes that is no publish; at most {bytes_max} are accepted")]
    TooLarge { bytes: usize, bytes_max: usize },
    #[error("the broker sent a packet that only a client sends")]
    NotFromBroker,
    #[error("a packet does not fit MQTT's limits: {0}")]
    Write(String),
}

/// Reads the packets of one connection, and writes some.
#[derive(Debug)]
pub(crate) struct Codec {
    version: MqttVersion,
    packet_bytes_max: usize,
    /// Bytes of an unread publish that are still to come.
    to_skip: usize,
}

/// Where a packet begins.
#[derive(Debug, Clone, Copy)]
struct FixedHeader {
    first_byte: u8,
    header_bytes: usize,
    remaining_bytes: usize,
}

impl Codec {
    /// `packet_bytes_max` is what a packet from the broker may have behind its fixed header.
    pub(crate) fn new(version: MqttVersion, packet_bytes_max: usize) -> Self {
        Self { version, packet_bytes_max, to_skip: 0 }
    }

    /// Takes the next packet from the front of what was received; `None` when it is not all there.
    ///
    /// # Errors
    /// [`CodecError`]: the connection must end.
    pub(crate) fn read(&mut self, received: &mut BytesMut) -> Result<Option<Incoming>, CodecError> {
        if self.to_skip > 0 {
            let skipped = self.to_skip.min(received.len());
            received.advance(skipped);
            self.to_skip -= skipped;
            if self.to_skip > 0 {
                return Ok(None);
            }
        }
        let Some(header) = fixed_header(received)? else { return Ok(None) };
        let is_publish = header.first_byte >> 4 == PUBLISH;
        if header.remaining_bytes > self.packet_bytes_max {
            if !is_publish {
                let (bytes, bytes_max) = (header.remaining_bytes, self.packet_bytes_max);
                return Err(CodecError::TooLarge { bytes, bytes_max });
            }
            let Some(unread) = unread(header, received, UnreadCause::TooLarge)? else { return Ok(None) };
            self.to_skip = unread.packet_bytes;
            let skipped = self.to_skip.min(received.len());
            received.advance(skipped);
            self.to_skip -= skipped;
            return Ok(Some(Incoming::Unread(unread)));
        }
        let packet_bytes = header.header_bytes + header.remaining_bytes;
        if received.len() < packet_bytes {
            received.reserve(packet_bytes - received.len());
            return Ok(None);
        }
        match self.version {
            MqttVersion::V311 => {
                // The codec does not say which packet it was whose topic is not UTF-8.
                if is_publish
                    && let Some(unread) = unread(header, received, UnreadCause::TopicNotUtf8)?
                    && std::str::from_utf8(&unread.topic).is_err()
                {
                    received.advance(packet_bytes);
                    return Ok(Some(Incoming::Unread(unread)));
                }
                let packet = p4::Packet::read(received, self.packet_bytes_max).map_err(CodecError::V311)?;
                from_v4(packet).map(Some)
            }
            MqttVersion::V5 => {
                // A disconnect for no particular reason, which the codec does not know.
                if header.first_byte >> 4 == 14 && header.remaining_bytes == 0 {
                    received.advance(packet_bytes);
                    return Ok(Some(Incoming::Disconnect(temporary("normal disconnection"))));
                }
                let packet = p5::Packet::read(received, None).map_err(CodecError::V5)?;
                from_v5(packet, packet_bytes).map(Some)
            }
        }
    }

    /// Appends a packet to `out`.
    ///
    /// # Errors
    /// [`CodecError::Write`] when it is longer than MQTT allows; then nothing may be sent of `out`.
    pub(crate) fn write(&self, packet: Outgoing<'_>, out: &mut BytesMut) -> Result<(), CodecError> {
        match self.version {
            MqttVersion::V311 => {
                let written = to_v4(packet).write(out, usize::MAX);
                written.map(drop).map_err(|error| CodecError::Write(error.to_string()))
            }
            MqttVersion::V5 => {
                let written = to_v5(packet).write(out, None);
                written.map(drop).map_err(|error| CodecError::Write(error.to_string()))
            }
        }
    }
}

/// The fixed header at the front; `None` when it is not all there.
fn fixed_header(received: &[u8]) -> Result<Option<FixedHeader>, CodecError> {
    let Some((&first_byte, rest)) = received.split_first() else { return Ok(None) };
    let mut remaining_bytes = 0;
    for (index, &byte) in rest.iter().take(FIXED_HEADER_BYTES_MAX - 1).enumerate() {
        remaining_bytes |= usize::from(byte & 0x7F) << (7 * index);
        if byte < 0x80 {
            return Ok(Some(FixedHeader { first_byte, header_bytes: index + 2, remaining_bytes }));
        }
    }
    if received.len() < FIXED_HEADER_BYTES_MAX { Ok(None) } else { Err(CodecError::Length) }
}

/// What is needed to acknowledge a publish without reading it; `None` when that is not all there.
fn unread(header: FixedHeader, received: &[u8], cause: UnreadCause) -> Result<Option<Unread>, CodecError> {
    let qos = Qos::from_level((header.first_byte >> 1) & 3).ok_or(CodecError::Length)?;
    let packet_bytes = header.header_bytes + header.remaining_bytes;
    let variable = received.get(header.header_bytes..).unwrap_or_default();
    let Some((length, rest)) = variable.split_first_chunk() else { return short(header, 2) };
    let topic_bytes = usize::from(from_network(*length));
    let Some((topic, rest)) = rest.split_at_checked(topic_bytes) else {
        return short(header, 2 + topic_bytes);
    };
    let packet_id = match (qos, rest.split_first_chunk()) {
        (Qos::AtMostOnce, _) => 0,
        (_, Some((packet_id, _))) => from_network(*packet_id),
        (_, None) => return short(header, 2 + topic_bytes + 2),
    };
    if qos != Qos::AtMostOnce && packet_id == 0 {
        return Err(CodecError::V311(v4::Error::PacketIdZero));
    }
    Ok(Some(Unread { qos, packet_id, topic: Bytes::copy_from_slice(topic), packet_bytes, cause }))
}

/// Not there yet, or never.
fn short(header: FixedHeader, needed: usize) -> Result<Option<Unread>, CodecError> {
    if header.remaining_bytes < needed { Err(CodecError::Length) } else { Ok(None) }
}

/// MQTT's numbers have their high byte first.
fn from_network([high, low]: [u8; 2]) -> u16 {
    u16::from(high) << 8 | u16::from(low)
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
