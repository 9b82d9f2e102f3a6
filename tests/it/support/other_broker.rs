//! Brokers that share nothing with Mosquitto, got by `tests/servers/install.sh`.

use std::ffi::OsString;
use std::path::Path;

use super::broker::Broker;
use super::installed::{check, installed};
use super::port::free_port;
use super::skip::skip;

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OtherBroker {
    /// Of bytebeam, in Rust; speaks 3.1.1 and 5, each on a port of its own. It refuses a keep-alive of 0.
    Rumqttd,
    /// In JavaScript, on Node.js; speaks 3.1.1.
    Aedes,
    /// In Python; speaks 3.1.1.
    Amqtt,
}

/// The MQTT version that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V311,
    V5,
}

impl Version {
    /// As the program calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::V311 => "3.1.1",
            Self::V5 => "5",
        }
    }
}

impl OtherBroker {
    /// Starts one, whose clients speak `version`; `None`, with a word, where it is not installed.
    pub(crate) fn start(self, version: Version) -> Option<Broker> {
        // The peers are Mosquitto's.
        drop(Broker::start()?);
        let installed = installed();
        if let Err(reason) = check(&installed, self.name()) {
            skip(&format!("the broker {}", self.name()), &reason);
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let configuration = directory.path().join(self.file_name());
        std::fs::write(&configuration, self.configuration(version, port)).unwrap();
        let mut broker = Broker::run(self.command(&installed, &configuration), directory, port);
        let spoken = if version == Version::V5 { "mqttv5" } else { "mqttv311" };
        broker.reach_with(&["-h", "127.0.0.1", "-V", spoken]);
        Some(broker)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Rumqttd => "rumqttd",
            Self::Aedes => "aedes",
            Self::Amqtt => "amqtt",
        }
    }

    /// They judge their configuration by its name.
    fn file_name(self) -> &'static str {
        match self {
            Self::Rumqttd => "broker.toml",
            Self::Aedes => "port",
            Self::Amqtt => "broker.yaml",
        }
    }

    fn command(self, installed: &Path, configuration: &Path) -> Vec<OsString> {
        let python = || installed.join("brokers/bin/python").into();
        match self {
            Self::Rumqttd => vec![python(), "-c".into(), RUMQTTD.into(), configuration.into()],
            Self::Aedes => {
                vec![
                    "node".into(),
                    "-e".into(),
                    AEDES.into(),
                    installed.join("aedes").into(),
                    configuration.into(),
                ]
            }
            Self::Amqtt => {
                vec![
                    python(),
                    "-m".into(),
                    "amqtt.scripts.broker_script".into(),
                    "-c".into(),
                    configuration.into(),
                ]
            }
        }
    }

    fn configuration(self, version: Version, port: u16) -> String {
        match self {
            Self::Rumqttd => {
                let table = if version == Version::V5 { "v5" } else { "v4" };
                format!(
                    "id = 0\n[router]\nid = 0\nmax_connections = 100\nmax_outgoing_packet_count = 200\n\
                     max_segment_size = 104857600\nmax_segment_count = 10\n\
                     [{table}.1]\nname = \"{table}\"\nlisten = \"127.0.0.1:{port}\"\nnext_connection_delay_ms = 1\n\
                     [{table}.1.connections]\nconnection_timeout_ms = 60000\nmax_payload_size = 65536\n\
                     max_inflight_count = 200\n"
                )
            }
            Self::Aedes => port.to_string(),
            Self::Amqtt => format!(
                "listeners:\n  default:\n    type: tcp\n    bind: 127.0.0.1:{port}\n    max_connections: 100\n\
                 plugins:\n  amqtt.plugins.authentication.AnonymousAuthPlugin:\n    allow_anonymous: true\n"
            ),
        }
    }
}

/// Runs rumqttd in the process of the interpreter: the package's own script has it in another, which would outlive a kill. It
/// takes each message for an error worth a line.
const RUMQTTD: &str = "import logging, sys; from iotcore.iotcore import IotCoreBroker; \
                       logging.getLogger('rumqttd').setLevel(logging.CRITICAL); \
                       IotCoreBroker(config_path=sys.argv[1]).run_forever()";

/// aedes is a library.
const AEDES: &str = "const [, folder, port] = process.argv; \
                     const load = require('node:module').createRequire(folder + '/'); \
                     const { Aedes } = load('aedes'); \
                     Aedes.createBroker().then((broker) => require('node:net').createServer(broker.handle) \
                     .listen(Number(require('node:fs').readFileSync(port)), '127.0.0.1'))";
