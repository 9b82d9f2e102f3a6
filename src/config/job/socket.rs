//! `[[source]]` of the types that are sockets: `tcp-connect`, `tcp-listen`, `udp`, `unix` and `unix-datagram`.

use std::path::PathBuf;
use std::time::Duration;

use super::connector::{listener, server};
use super::document::{Located, Value};
use super::section::Section;
use super::source::{SourceConnector, line_max};
use crate::config::diagnostics::Diagnostic;
use crate::source::{
    Acknowledge, ClientCertificate, Retry, TcpConnect, TcpListen, TlsListen, UdpReceive, UnixListen,
    UnixReceive, check_memory,
};

/// Most clients of a listening source.
const CONNECTIONS_LIMIT: usize = 65_535;
/// Longest datagram that can be allowed, in bytes: UDP has none that is longer.
const DATAGRAM_BYTES_LIMIT: u64 = 64 << 10;
/// Most that the kernel can be asked to hold of a socket, in bytes.
const RECEIVE_BUFFER_BYTES_LIMIT: u64 = 1 << 30;
/// Modes of a socket file.
const MODE_LIMIT: u32 = 0o777;

/// A source of type `tcp-connect`.
pub(super) fn tcp_connect(section: &Section<'_>) -> Option<SourceConnector> {
    let retry = section.string("retry-for", "forever").and_then(|retry| match retry.value.as_str() {
        "forever" => Some(Retry::Forever),
        _ => section.duration_of("retry-for", retry, Duration::ZERO).map(Retry::For),
    });
    let line_max = line_max(section, "line-max");
    let timeout = section.duration("connection-timeout", Duration::ZERO);
    let mut source = TcpConnect::new(server(section, "address")?).retry(retry.unwrap_or(Retry::Forever));
    if let Some(bytes) = line_max {
        source = source.line_bytes_max(bytes);
    }
    Some(SourceConnector::TcpConnect(match timeout.filter(|timeout| !timeout.is_zero()) {
        Some(timeout) => source.idle_timeout(timeout),
        None => source,
    }))
}

/// What listening for clients that send lines has in common.
struct Clients {
    line_max: Option<usize>,
    /// `Some(None)`: never.
    timeout: Option<Option<Duration>>,
    connections_max: Option<usize>,
    acknowledge: Option<Acknowledge>,
}

fn clients(section: &Section<'_>) -> Clients {
    let acknowledge = [("none", Acknowledge::Nothing), ("lines", Acknowledge::Lines)];
    let timeout = section.duration("connection-timeout", Duration::ZERO);
    Clients {
        line_max: line_max(section, "line-max"),
        timeout: timeout.map(|timeout| Some(timeout).filter(|timeout| !timeout.is_zero())),
        connections_max: section.count("connections-max", 1, CONNECTIONS_LIMIT),
        acknowledge: section.choice("acknowledge", &acknowledge).map(|acknowledge| acknowledge.value),
    }
}

/// Refuses limits that allow more memory than there should be.
fn check_lines(section: &Section<'_>, line_bytes_max: usize, connections_max: usize) {
    if check_memory(line_bytes_max, connections_max).is_err() {
        let key = if section.node("line-max").is_some() { "line-max" } else { "connections-max" };
        let fault = Diagnostic::new(format!(
            "{connections_max} connections with lines of up to {line_bytes_max} bytes may take more than 64 MiB"
        ));
        section.report(fault.at(&section.place(key)).help("allow shorter lines or fewer connections"));
    }
}

/// A source of type `tcp-listen`.
pub(super) fn tcp_listen(section: &Section<'_>) -> Option<SourceConnector> {
    let clients = clients(section);
    let tls = tls(section);
    if section.node("address").is_none() {
        section.missing("address", "\"0.0.0.0:9000\"");
    }
    let mut source = TcpListen::new(listener(section, "address")?.value);
    if let Some(bytes) = clients.line_max {
        source = source.line_bytes_max(bytes);
    }
    if let Some(timeout) = clients.timeout {
        source = source.idle_timeout(timeout);
    }
    if let Some(connections) = clients.connections_max {
        source = source.connections_max(connections);
    }
    if let Some(acknowledge) = clients.acknowledge {
        source = source.acknowledge(acknowledge);
    }
    check_lines(section, source.line_bytes_max, source.connections_max);
    Some(SourceConnector::TcpListen(match tls {
        Some(tls) => source.tls(tls),
        None => source,
    }))
}

fn tls(section: &Section<'_>) -> Option<TlsListen> {
    let certificate = section.path("certificate-file", "/etc/tidegate/gateway.pem");
    let key = section.path("certificate-key-file", "/etc/tidegate/gateway.key");
    let ca = section.path("client-ca-file", "/etc/tidegate/clients-ca.pem");
    let policies = [("required", ClientCertificate::Required), ("optional", ClientCertificate::Optional)];
    let policy = section.choice("client-certificate", &policies);
    for (given, missing) in [
        ("certificate-file", "certificate-key-file"),
        ("certificate-key-file", "certificate-file"),
        ("client-ca-file", "certificate-file"),
        ("client-certificate", "client-ca-file"),
    ] {
        section.needs(given, missing);
    }
    let tls = TlsListen::new(certificate?, key?);
    Some(match ca {
        Some(ca) => tls.client_ca(ca, policy.map_or(ClientCertificate::Required, |policy| policy.value)),
        None => tls,
    })
}

/// A source of type `udp`.
pub(super) fn udp(section: &Section<'_>) -> Option<SourceConnector> {
    let datagram_max = datagram_max(section);
    let buffer = section.size("receive-buffer", 1..=RECEIVE_BUFFER_BYTES_LIMIT);
    if section.node("address").is_none() {
        section.missing("address", "\"0.0.0.0:9000\"");
    }
    let mut source = UdpReceive::new(listener(section, "address")?.value);
    if let Some(bytes) = datagram_max {
        source = source.datagram_bytes_max(bytes);
    }
    if let Some(bytes) = buffer.and_then(|bytes| usize::try_from(bytes).ok()) {
        source = source.receive_buffer_bytes(bytes);
    }
    Some(SourceConnector::Udp(source))
}

/// A source of type `unix`.
pub(super) fn unix(section: &Section<'_>) -> Option<SourceConnector> {
    let clients = clients(section);
    let mode = mode(section);
    let mut source = UnixListen::new(socket_file(section)?);
    if let Some(mode) = mode {
        source = source.mode(mode);
    }
    if let Some(bytes) = clients.line_max {
        source = source.line_bytes_max(bytes);
    }
    if let Some(timeout) = clients.timeout {
        source = source.idle_timeout(timeout);
    }
    if let Some(connections) = clients.connections_max {
        source = source.connections_max(connections);
    }
    if let Some(acknowledge) = clients.acknowledge {
        source = source.acknowledge(acknowledge);
    }
    check_lines(section, source.line_bytes_max, source.connections_max);
    Some(SourceConnector::Unix(source))
}

/// A source of type `unix-datagram`.
pub(super) fn unix_datagram(section: &Section<'_>) -> Option<SourceConnector> {
    let datagram_max = datagram_max(section);
    let mode = mode(section);
    let mut source = UnixReceive::new(socket_file(section)?);
    if let Some(mode) = mode {
        source = source.mode(mode);
    }
    Some(SourceConnector::UnixDatagram(match datagram_max {
        Some(bytes) => source.datagram_bytes_max(bytes),
        None => source,
    }))
}

fn datagram_max(section: &Section<'_>) -> Option<usize> {
    section.size("datagram-max", 1..=DATAGRAM_BYTES_LIMIT).and_then(|bytes| usize::try_from(bytes).ok())
}

fn socket_file(section: &Section<'_>) -> Option<PathBuf> {
    let example = "/run/tidegate/readings.sock";
    if section.node("path").is_none() {
        section.missing("path", &format!("{example:?}"));
    }
    section.path("path", example)
}

/// The mode of a socket file, three octal digits.
fn mode(section: &Section<'_>) -> Option<u32> {
    let node = section.node("mode")?;
    let text = match &node.value {
        // 660 without quotes is meant like that, too.
        Value::Integer(Some(number)) => Located { value: number.to_string(), at: node.at.clone() },
        _ => section.string("mode", "660")?,
    };
    match u32::from_str_radix(&text.value, 8) {
        Ok(mode) if mode <= MODE_LIMIT => Some(mode),
        _ => {
            section.wrong_value("mode", &text.at, "it must be an octal mode up to 777", "660");
            None
        }
    }
}
