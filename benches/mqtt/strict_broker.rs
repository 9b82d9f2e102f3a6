//! A stand-in for a broker that holds to its window: one session of MQTT 3.1.1, messages of QoS 1.
//!
//! Mosquitto 2.0.11 does not: once 20 messages are acknowledged in one piece it was seen to send 3,745 more at once.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

use crate::peers::publish;

const CONNACK: [u8; 4] = [0x20, 2, 0, 0];
const PUBACK: u8 = 0x40;
const PINGREQ: u8 = 0xC0;
const PINGRESP: [u8; 2] = [0xD0, 0];
/// Room for acknowledgements that are read at once.
const ANSWERS_BYTES: usize = 4096;

/// Waits for one client.
pub(crate) struct StrictBroker {
    listener: TcpListener,
}

impl StrictBroker {
    pub(crate) fn bind() -> Self {
        Self { listener: TcpListener::bind(("127.0.0.1", 0)).unwrap() }
    }

    pub(crate) fn url(&self) -> String {
        format!("mqtt://{}", self.listener.local_addr().unwrap())
    }

    /// Sends `messages` with never more than `window` unacknowledged; ends when all are acknowledged and the client has gone.
    pub(crate) fn serve(self, messages: u64, window: u64) -> JoinHandle<()> {
        std::thread::spawn(move || {
            let (mut stream, _) = self.listener.accept().unwrap();
            stream.set_nodelay(true).unwrap();
            read_packet(&mut stream);
            stream.write_all(&CONNACK).unwrap();
            let subscribe = read_packet(&mut stream);
            stream.write_all(&[0x90, 3, subscribe[0], subscribe[1], 1]).unwrap();
            let (mut sent, mut acknowledged) = (0, 0);
            let (mut out, mut answers) = (Vec::new(), vec![0; ANSWERS_BYTES]);
            let mut held = 0;
            while acknowledged < messages {
                while sent < messages.min(acknowledged + window) {
                    publish(sent, sent % window + 1, 1, &mut out);
                    sent += 1;
                }
                stream.write_all(&out).unwrap();
                out.clear();
                held += stream.read(&mut answers[held..]).unwrap();
                let mut read = 0;
                while let [kind, length, ..] = answers[read..held]
                    && read + 2 + usize::from(length) <= held
                {
                    match kind {
                        PUBACK => acknowledged += 1,
                        PINGREQ => out.extend(PINGRESP),
                        _ => panic!("the client sent a packet of the kind {kind:#x}"),
                    }
                    read += 2 + usize::from(length);
                }
                answers.copy_within(read..held, 0);
                held -= read;
            }
            stream.write_all(&out).unwrap();
            // PINGREQ and DISCONNECT, until it has gone; a client that is killed may reset the connection.
            drop(stream.read_to_end(&mut Vec::new()));
        })
    }
}

/// Reads a packet of less than 128 bytes; returns what follows its length.
fn read_packet(stream: &mut TcpStream) -> Vec<u8> {
    let mut header = [0; 2];
    stream.read_exact(&mut header).unwrap();
    let mut rest = vec![0; usize::from(header[1])];
    stream.read_exact(&mut rest).unwrap();
    rest
}
