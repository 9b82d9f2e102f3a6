//! What an MQTT source and an MQTT sink have in common: the broker, and how it is spoken to.

use std::path::PathBuf;

use super::document::Located;
use super::section::Section;
use crate::config::diagnostics::Diagnostic;
use crate::mqtt::{BrokerUrl, PlainTcp, Qos, Security};

/// The way to a broker.
#[derive(Debug)]
pub(super) struct BrokerConfig {
    pub(super) url: Located<String>,
    pub(super) qos: Option<Qos>,
    pub(super) client_id: Option<String>,
    pub(super) credentials_file: Option<PathBuf>,
    pub(super) ca_file: Option<PathBuf>,
    /// Certificate and key.
    pub(super) identity: Option<(PathBuf, PathBuf)>,
    pub(super) insecure: bool,
}

/// Longest client identifier, in bytes.
const CLIENT_ID_BYTES_MAX: usize = 65_535;

/// The keys of [`BrokerConfig`] in the section.
pub(super) fn broker(section: &Section<'_>) -> Option<BrokerConfig> {
    let qos = qos(section, "qos");
    let client_id = section.given("client-id", "gateway-7");
    if let Some(id) = &client_id
        && (id.value.len() > CLIENT_ID_BYTES_MAX || id.value.contains('\0'))
    {
        section.wrong_value("client-id", &id.at, "it must have 1 to 65,535 bytes, and no NUL", "gateway-7");
    }
    let credentials_file = section.path("credentials-file", "/etc/tidegate/mqtt.credentials");
    let ca_file = section.path("ca-file", "/etc/ssl/broker-ca.pem");
    let certificate = section.path("certificate-file", "/etc/tidegate/gateway.pem");
    let key = section.path("certificate-key-file", "/etc/tidegate/gateway.key");
    section.needs("certificate-file", "certificate-key-file");
    section.needs("certificate-key-file", "certificate-file");
    let insecure = section.boolean("insecure").unwrap_or(false);
    let url = section.required("url", "mqtts://broker.example")?;
    check_url(section, &url, insecure);
    Some(BrokerConfig {
        url,
        qos,
        client_id: client_id.map(|id| id.value),
        credentials_file,
        ca_file,
        identity: certificate.zip(key),
        insecure,
    })
}

fn check_url(section: &Section<'_>, text: &Located<String>, insecure: bool) {
    let plain = if insecure { PlainTcp::Anywhere } else { PlainTcp::LoopbackOnly };
    let url = text.value.parse::<BrokerUrl>().and_then(|url| url.check(plain).map(|()| url));
    let url = match url {
        Ok(url) => url,
        Err(error) => {
            if text.value.contains('@') {
                section.hide(&text.at);
            }
            section.wrong_value("url", &text.at, &error.to_string(), "mqtts://broker.example");
            return;
        }
    };
    for key in ["ca-file", "certificate-file", "certificate-key-file"] {
        if let Some(node) = section.node(key).filter(|_| url.security == Security::Plain) {
            let fault = Diagnostic::new(format!("`{key}` is given, but {url} is spoken to without TLS"));
            section.report(fault.at(&node.at).help("use an mqtts:// URL, or remove this"));
        }
    }
}

/// A quality of service, 0 to 2.
pub(super) fn qos(section: &Section<'_>, key: &str) -> Option<Qos> {
    section.integer(key, 0..=2).and_then(|level| Qos::from_level(u8::try_from(level).ok()?))
}
