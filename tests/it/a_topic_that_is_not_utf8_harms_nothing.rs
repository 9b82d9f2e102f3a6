//! A topic that is not UTF-8: Mosquitto leaves its publisher; from a broker that passes it on, the message is counted,
//! acknowledged and dropped, and what follows is a reading.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::support::{Broker, Demo};

const TOPIC: &[u8] = b"sensors/\xFF\xC0";

fn publish(topic: &[u8], packet_id: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(2 + topic.len() + 2 + payload.len()).unwrap();
    let mut packet = vec![0x32, length, 0, u8::try_from(topic.len()).unwrap()];
    packet.extend(topic);
    packet.extend([0, packet_id]);
    packet.extend(payload);
    packet
}

#[test]
fn from_a_client_of_mosquitto() {
    let Some(broker) = Broker::start() else { return };
    for version in ["5", "3.1.1"] {
        let running = Demo::new()
            .journaled("always")
            .args(["--mqtt", &broker.url(), "--mqtt-version", version])
            .start();
        running.wait_for_log("connected: ");
        let mut client = TcpStream::connect(broker.address()).unwrap();
        client.write_all(&[0x10, 12, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 0, 0, 0]).unwrap();
        client.write_all(&publish(TOPIC, 1, b"1 1")).unwrap();
        // CONNACK, and the end.
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, [0x20, 2, 0, 0]);
        broker.publish("good", 1, "2 1\n2 1\n");
        running.wait_for_outputs(1);
        let ended = running.stop().in_order();
        assert_eq!((ended.stdout.as_str(), ended.logs("connected: ").len()), ("(2,1)\n", 1));
    }
}

/// Reads a packet of less than 128 bytes; returns its first byte and what follows its length.
fn read_packet(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut header = [0; 2];
    stream.read_exact(&mut header).unwrap();
    let mut rest = vec![0; usize::from(header[1])];
    stream.read_exact(&mut rest).unwrap();
    (header[0], rest)
}

#[test]
fn from_a_broker_that_passes_it_on() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("mqtt://{}", listener.local_addr().unwrap());
    let demo = Demo::new().journaled("always").args(["--mqtt", &url, "--mqtt-version", "3.1.1"]);
    let running = demo.args(["--keep-alive", "0s"]).start();
    let (mut stream, _) = listener.accept().unwrap();
    assert_eq!(read_packet(&mut stream).0, 0x10);
    stream.write_all(&[0x20, 2, 0, 0]).unwrap();
    let (kind, subscribe) = read_packet(&mut stream);
    assert_eq!(kind, 0x82);
    stream.write_all(&[0x90, 3, subscribe[0], subscribe[1], 1]).unwrap();
    for (packet_id, topic) in (1..).zip([TOPIC, b"good", b"good"]) {
        stream.write_all(&publish(topic, packet_id, b"3 4")).unwrap();
    }
    let mut acknowledged = Vec::new();
    while acknowledged.len() < 3 {
        match read_packet(&mut stream) {
            (0x40, packet_id) => acknowledged.push(packet_id[1]),
            (0xC0, _) => stream.write_all(&[0xD0, 0]).unwrap(),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(acknowledged, [1, 2, 3]);
    running.wait_for_outputs(1);
    let ended = running.stop().in_order();
    assert_eq!(ended.stdout, "(3,4)\n");
    let rejected: Vec<_> = ended.rejected().into_iter().map(|(_, cause, count)| (cause, count)).collect();
    assert_eq!(rejected, [("topic-not-utf8".to_owned(), 1)]);
}
