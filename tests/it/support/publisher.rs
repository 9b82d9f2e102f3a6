//! A publisher of MQTT 3.1.1 over many topics, as far as the scenarios need one: `mosquitto_pub` has one topic a process.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// Messages sent before their acknowledgements are waited for.
const WINDOW: usize = 50;

/// A connected client that publishes.
pub(crate) struct Publisher {
    stream: TcpStream,
    qos: u8,
    is_retained: bool,
}

impl Publisher {
    pub(crate) fn connect(address: SocketAddr, qos: u8) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        // CONNECT: MQTT, level 4, clean session, no keep-alive, client identifier "".
        stream.write_all(&[0x10, 12, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 0, 0, 0]).unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [0x20, 2, 0, 0], "the broker accepts");
        Self { stream, qos, is_retained: false }
    }

    /// From now on the broker keeps the newest message of each topic.
    pub(crate) fn retaining(mut self) -> Self {
        self.is_retained = true;
        self
    }

    /// Publishes a payload to a topic each; returns when the broker has acknowledged them all.
    pub(crate) fn publish(&mut self, messages: &[(String, String)]) {
        for window in messages.chunks(WINDOW) {
            let mut bytes = Vec::new();
            for (id, (topic, payload)) in (1u16..).zip(window) {
                let length = 2 + topic.len() + if self.qos > 0 { 2 } else { 0 } + payload.len();
                assert!(length < 128, "short messages only");
                bytes.extend([
                    0x30 | self.qos << 1 | u8::from(self.is_retained),
                    u8::try_from(length).unwrap(),
                ]);
                bytes.extend([0, u8::try_from(topic.len()).unwrap()]);
                bytes.extend(topic.as_bytes());
                if self.qos > 0 {
                    bytes.extend([u8::try_from(id >> 8).unwrap(), u8::try_from(id & 0xFF).unwrap()]);
                }
                bytes.extend(payload.as_bytes());
            }
            self.stream.write_all(&bytes).unwrap();
            match self.qos {
                0 => {}
                1 => drop(self.answers(window.len(), 0x40)),
                _ => {
                    let ids = self.answers(window.len(), 0x50);
                    let releases: Vec<u8> =
                        ids.iter().flat_map(|[high, low]| [0x62, 2, *high, *low]).collect();
                    self.stream.write_all(&releases).unwrap();
                    self.answers(window.len(), 0x70);
                }
            }
        }
    }

    fn answers(&mut self, count: usize, kind: u8) -> Vec<[u8; 2]> {
        let answer = || {
            let mut answer = [0; 4];
            self.stream.read_exact(&mut answer).unwrap();
            assert_eq!(answer[..2], [kind, 2]);
            [answer[2], answer[3]]
        };
        std::iter::repeat_with(answer).take(count).collect()
    }
}
