//! The broker, and a session filled with messages.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Keys, and a topic each.
pub(crate) const KEYS: u64 = 1000;
/// Bytes of a payload.
const PAYLOAD_BYTES: usize = 64;
/// The value of every reading, and so every average.
const VALUE: u64 = 7;
/// Messages published before their acknowledgements are waited for.
const PUBLISH_WINDOW: u64 = 100;
const START_MAX: Duration = Duration::from_secs(10);

/// What the reference job writes for so many messages.
pub(crate) fn results_bytes(messages: u64) -> u64 {
    (KEYS..messages).map(|message| format!("({},{VALUE})\n", message % KEYS).len() as u64).sum()
}

/// A broker that keeps all messages of a session; ends with this value.
pub(crate) struct Mosquitto {
    child: Child,
    port: u16,
    _directory: TempDir,
}

impl Mosquitto {
    pub(crate) fn start(window: u16) -> Option<Self> {
        let programs = ["/usr/sbin/mosquitto", "mosquitto"];
        let program =
            programs.into_iter().find(|program| Command::new(program).arg("-h").output().is_ok())?;
        let directory = tempfile::tempdir().unwrap();
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let configuration = directory.path().join("mosquitto.conf");
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nqueue_qos0_messages true\nset_tcp_nodelay true\n\
             max_inflight_messages {window}\nlog_type none\n"
        );
        std::fs::write(&configuration, text).unwrap();
        let mut command = Command::new(program);
        command.arg("-c").arg(configuration).stdout(Stdio::null()).stderr(Stdio::null());
        let broker = Self { child: command.spawn().unwrap(), port, _directory: directory };
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(start.elapsed() < START_MAX, "mosquitto does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(broker)
    }

    pub(crate) fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// `mosquitto_sub` for a session that is kept.
    pub(crate) fn subscriber(&self, session: &str, qos: u8, version: &str) -> Command {
        let mut command = Command::new("mosquitto_sub");
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-c", "-i", session, "-t", "bench/#"]);
        command.args(["-q", &qos.to_string(), "-V", if version == "5" { "mqttv5" } else { "mqttv311" }]);
        if version == "5" {
            command.args(["-x", "3600"]);
        }
        command
    }

    /// Makes a session, and publishes `messages` to it.
    pub(crate) fn fill(&self, session: &str, qos: u8, version: &str, messages: u64) {
        assert!(self.subscriber(session, qos, version).arg("-E").status().unwrap().success());
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_nodelay(true).unwrap();
        // CONNECT: MQTT, level 4, clean session, no keep-alive, client identifier "".
        stream.write_all(&[0x10, 12, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 0, 0, 0]).unwrap();
        stream.read_exact(&mut [0; 4]).unwrap();
        let mut bytes = Vec::new();
        let mut answers = vec![0; 4 * usize::try_from(PUBLISH_WINDOW).unwrap()];
        for first in (0..messages).step_by(usize::try_from(PUBLISH_WINDOW).unwrap()) {
            bytes.clear();
            let last = messages.min(first + PUBLISH_WINDOW);
            for message in first..last {
                publish(message, message - first + 1, qos, &mut bytes);
            }
            stream.write_all(&bytes).unwrap();
            let count = usize::try_from(last - first).unwrap();
            match qos {
                0 => {}
                1 => stream.read_exact(&mut answers[..4 * count]).unwrap(),
                _ => {
                    stream.read_exact(&mut answers[..4 * count]).unwrap();
                    for release in answers[..4 * count].chunks_mut(4) {
                        release[0] = 0x62;
                    }
                    stream.write_all(&answers[..4 * count]).unwrap();
                    stream.read_exact(&mut answers[..4 * count]).unwrap();
                }
            }
        }
        // A PINGREQ is answered behind what came before it.
        stream.write_all(&[0xC0, 0]).unwrap();
        stream.read_exact(&mut [0; 2]).unwrap();
    }
}

/// Appends a PUBLISH.
pub(crate) fn publish(message: u64, packet_id: u64, qos: u8, out: &mut Vec<u8>) {
    let key = message % KEYS;
    let (topic, payload) = (format!("bench/{key}"), format!("{key} {VALUE}"));
    let length = 2 + topic.len() + if qos > 0 { 2 } else { 0 } + PAYLOAD_BYTES;
    out.extend([0x30 | qos << 1, u8::try_from(length).unwrap(), 0, u8::try_from(topic.len()).unwrap()]);
    out.extend(topic.as_bytes());
    if qos > 0 {
        out.extend([0, u8::try_from(packet_id).unwrap()]);
    }
    out.extend(payload.as_bytes());
    out.resize(out.len() + PAYLOAD_BYTES - payload.len(), b' ');
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
