use proptest::prelude::*;

use super::*;
use crate::mqtt::packet::{BrokerLimits, ConnAck, Publish};
use crate::mqtt::reason::{not_authorized, permanent};

const VERSIONS: [MqttVersion; 2] = [MqttVersion::V311, MqttVersion::V5];
const PACKET_BYTES_MAX: usize = 1000;

fn publish(qos: Qos, payload: &[u8]) -> Publish {
    Publish {
        is_duplicate: qos != Qos::AtMostOnce,
        qos,
        is_retained: true,
        topic: Bytes::from_static("a/b/ü".as_bytes()),
        packet_id: if qos == Qos::AtMostOnce { 0 } else { 7 },
        payload: Bytes::copy_from_slice(payload),
        user_properties: Vec::new(),
    }
}

fn read_all(codec: &mut Codec, received: &mut BytesMut) -> Vec<Incoming> {
    std::iter::from_fn(|| codec.read(received).unwrap()).collect()
}

#[test]
fn packets_survive_the_way_there_in_both_versions_whole_or_byte_by_byte() {
    for version in VERSIONS {
        let mut codec = Codec::new(version, PACKET_BYTES_MAX);
        let mut sent = vec![
            publish(Qos::AtMostOnce, b""),
            publish(Qos::AtLeastOnce, b"1 2\n"),
            publish(Qos::ExactlyOnce, &[0xFF; 500]),
        ];
        if version == MqttVersion::V5 {
            sent[1].user_properties = vec![("id".into(), "4".into()), ("id".into(), "5".into())];
        }
        let mut bytes = BytesMut::new();
        for publish in &sent {
            codec.write(Outgoing::Publish(publish), &mut bytes).unwrap();
        }
        for packet in [Outgoing::PubAck(1), Outgoing::PubRec(2), Outgoing::PubRel(3), Outgoing::PubComp(4)] {
            codec.write(packet, &mut bytes).unwrap();
        }
        let mut expected: Vec<Incoming> = sent.into_iter().map(Incoming::Publish).collect();
        expected.extend([
            Incoming::PubAck(1, Ok(())),
            Incoming::PubRec(2, Ok(())),
            Incoming::PubRel(3),
            Incoming::PubComp(4),
        ]);
        assert_eq!(read_all(&mut codec, &mut bytes.clone()), expected, "{version:?}");
        let (mut received, mut got) = (BytesMut::new(), Vec::new());
        for byte in bytes {
            received.extend_from_slice(&[byte]);
            got.extend(codec.read(&mut received).unwrap());
        }
        assert_eq!(got, expected, "{version:?}");
    }
}

#[test]
fn an_over_long_publish_is_skipped_without_being_buffered_and_can_be_acknowledged() {
    for version in VERSIONS {
        let mut codec = Codec::new(version, PACKET_BYTES_MAX);
        let mut bytes = BytesMut::new();
        codec.write(Outgoing::Publish(&publish(Qos::AtLeastOnce, &[b'x'; 5000])), &mut bytes).unwrap();
        let packet_bytes = bytes.len();
        codec.write(Outgoing::PubRel(9), &mut bytes).unwrap();
        let (mut received, mut got, mut buffered) = (BytesMut::new(), Vec::new(), 0);
        for piece in bytes.chunks(100) {
            received.extend_from_slice(piece);
            got.extend(read_all(&mut codec, &mut received));
            buffered = received.len().max(buffered);
        }
        let topic = Bytes::from_static("a/b/ü".as_bytes());
        let cause = UnreadCause::TooLarge;
        let unread = Unread { qos: Qos::AtLeastOnce, packet_id: 7, topic, packet_bytes, cause };
        assert_eq!(got, [Incoming::Unread(unread), Incoming::PubRel(9)], "{version:?}");
        assert!(buffered < 200, "{buffered} bytes");
    }
}

#[test]
fn a_topic_that_is_not_utf8_can_be_acknowledged() {
    // Publish, QoS 1, topic FF, packet identifier 7, for version 5 no properties, payload "x".
    for (version, bytes) in [
        (MqttVersion::V311, &[0x32, 6, 0, 1, 0xFF, 0, 7, b'x'][..]),
        (MqttVersion::V5, &[0x32, 7, 0, 1, 0xFF, 0, 7, 0, b'x']),
    ] {
        let mut codec = Codec::new(version, PACKET_BYTES_MAX);
        let got = read_all(&mut codec, &mut BytesMut::from(bytes));
        let [Incoming::Unread(unread)] = got.as_slice() else { panic!("{got:?}") };
        assert_eq!((unread.packet_id, unread.cause), (7, UnreadCause::TopicNotUtf8));
    }
}

#[test]
fn refusals_keep_their_reason() {
    let mut v4 = Codec::new(MqttVersion::V311, PACKET_BYTES_MAX);
    let got =
        read_all(&mut v4, &mut BytesMut::from(&[0x20, 2, 0, 4, 0x20, 2, 1, 0, 0x90, 4, 0, 1, 1, 0x80][..]));
    let bad_password = not_authorized("bad user name or password");
    let accepted = ConnAck { session_present: true, limits: BrokerLimits::default() };
    let refused = not_authorized("the broker refuses the filter");
    assert_eq!(
        got,
        [
            Incoming::ConnAck(Err(bad_password)),
            Incoming::ConnAck(Ok(accepted)),
            Incoming::SubAck(1, vec![Ok(Qos::AtLeastOnce), Err(refused)])
        ]
    );
    let mut v5 = Codec::new(MqttVersion::V5, PACKET_BYTES_MAX);
    let bytes = [0x20, 3, 0, 0x87, 0, 0xE0, 2, 0x8E, 0, 0xE0, 0, 0x40, 4, 0, 1, 0x97, 0];
    let got = read_all(&mut v5, &mut BytesMut::from(&bytes[..]));
    assert_eq!(
        got,
        [
            Incoming::ConnAck(Err(not_authorized("not authorized"))),
            Incoming::Disconnect(permanent("another client connected with this client identifier")),
            Incoming::Disconnect(temporary("normal disconnection")),
            Incoming::PubAck(1, Err(temporary("quota exceeded"))),
        ]
    );
}

#[test]
fn other_packets_of_that_length_and_malformed_lengths_are_errors() {
    let mut codec = Codec::new(MqttVersion::V5, PACKET_BYTES_MAX);
    let too_large = codec.read(&mut BytesMut::from(&[0x90, 0xFF, 0x7F][..])).unwrap_err();
    assert!(matches!(too_large, CodecError::TooLarge { .. }), "{too_large}");
    let malformed = codec.read(&mut BytesMut::from(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F][..])).unwrap_err();
    assert!(matches!(malformed, CodecError::Length), "{malformed}");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_read_for_ever(bytes in prop::collection::vec(any::<u8>(), 0..300), starts_well: bool) {
        for version in VERSIONS {
            let mut bytes = bytes.clone();
            if starts_well && bytes.len() > 2 {
                bytes[1] = u8::try_from(bytes.len() - 2).unwrap_or(100) & 0x7F;
            }
            let mut codec = Codec::new(version, 200);
            let mut received = BytesMut::from(&bytes[..]);
            let mut left = received.len() + 1;
            while let Ok(Some(_)) = codec.read(&mut received) {
                prop_assert!(received.len() < left);
                left = received.len();
            }
        }
    }
}
