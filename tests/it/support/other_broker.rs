//! Brokers other than Mosquitto, got by `tests/servers/install.sh`: amqtt, written in Python, and rumqttd, written in Rust.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::descriptors::start_child;
use super::skip::skip;
use super::wait::wait_until;

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BrokerKind {
    /// MQTT 3.1.1.
    Amqtt,
    /// MQTT 3.1.1 and 5, each on a port of its own.
    Rumqttd,
}

/// A broker; ends with this value.
pub(crate) struct OtherBroker {
    child: Child,
    /// For 3.1.1 and 5.
    ports: [u16; 2],
    _directory: TempDir,
}

impl OtherBroker {
    /// Starts one; `None`, with a word, where it is not installed.
    pub(crate) fn start(kind: BrokerKind) -> Option<Self> {
        let servers = servers();
        let missing = std::fs::read_to_string(servers.join("brokers.missing"));
        let bin = servers.join("brokers/bin");
        if let Some(reason) = missing.ok().or_else(|| {
            let is_there = bin.join("amqtt").exists() && bin.join("iotcore").exists();
            (!is_there).then(|| "run `make remote-tools`, which installs it".to_owned())
        }) {
            skip(&format!("the broker {kind:?}"), &reason);
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let listeners = [0; 2].map(|_| TcpListener::bind(("127.0.0.1", 0)).unwrap());
        // Free now; nobody else is given them soon.
        let ports = listeners.map(|listener| listener.local_addr().unwrap().port());
        let configuration = directory.path().join(kind.file_name());
        std::fs::write(&configuration, kind.configuration(ports)).unwrap();
        let mut command = match kind {
            BrokerKind::Amqtt => {
                let mut command = Command::new(bin.join("amqtt"));
                command.arg("-c").arg(&configuration);
                command
            }
            BrokerKind::Rumqttd => {
                // `iotcore` starts another process for it, which would outlive a kill: so it is started like this.
                let mut command = Command::new(bin.join("python"));
                command.arg("-c").arg(RUMQTTD).arg(&configuration);
                command
            }
        };
        let log = directory.path().join("log");
        let written = std::fs::File::create(&log).unwrap();
        command.current_dir(directory.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(written);
        let child = start_child(&mut command).unwrap();
        let broker = Self { child, ports, _directory: directory };
        let listens = || {
            let versions: &[&str] = if kind == BrokerKind::Amqtt { &["3.1.1"] } else { &["3.1.1", "5"] };
            versions.iter().all(|version| TcpStream::connect(broker.address(version)).is_ok())
        };
        wait_until(listens, || std::fs::read_to_string(log).unwrap_or_default());
        Some(broker)
    }

    /// Where it speaks this version.
    pub(crate) fn address(&self, version: &str) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[usize::from(version == "5")]))
    }
}

impl Drop for OtherBroker {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Runs rumqttd in the process of the interpreter.
const RUMQTTD: &str = "import sys; from iotcore.iotcore import IotCoreBroker; \
                       IotCoreBroker(config_path=sys.argv[1]).run_forever()";

impl BrokerKind {
    /// They judge their configuration by its name.
    fn file_name(self) -> &'static str {
        match self {
            Self::Amqtt => "amqtt.yaml",
            Self::Rumqttd => "rumqttd.toml",
        }
    }

    fn configuration(self, ports: [u16; 2]) -> String {
        let [old, new] = ports;
        match self {
            Self::Amqtt => format!(
                "listeners:\n  default:\n    type: tcp\n    bind: 127.0.0.1:{old}\n    max_connections: 100\n\
                 plugins:\n  amqtt.plugins.authentication.AnonymousAuthPlugin:\n    allow_anonymous: true\n"
            ),
            Self::Rumqttd => {
                let listener = |version: &str, port: u16| {
                    format!(
                        "[{version}.1]\nname = \"{version}\"\nlisten = \"127.0.0.1:{port}\"\n\
                         next_connection_delay_ms = 1\n[{version}.1.connections]\nconnection_timeout_ms = 60000\n\
                         max_payload_size = 65536\nmax_inflight_count = 200\n"
                    )
                };
                format!(
                    "id = 0\n[router]\nid = 0\nmax_connections = 1000\nmax_outgoing_packet_count = 200\n\
                     max_segment_size = 104857600\nmax_segment_count = 10\n{}{}",
                    listener("v4", old),
                    listener("v5", new)
                )
            }
        }
    }
}

/// The folder `install.sh` fills.
fn servers() -> PathBuf {
    let cache = std::env::var_os("TIDEGATE_CACHE").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/tidegate");
    cache.unwrap_or_else(home).join("servers")
}
