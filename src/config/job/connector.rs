//! Addresses of sockets, as a job file gives them.

use std::net::SocketAddr;

use super::document::Located;
use super::section::Section;
use crate::config::ListenAddress;

/// `HOST:PORT` of a server to connect to.
pub(super) fn server(section: &Section<'_>, key: &str) -> Option<String> {
    let example = "127.0.0.1:9000";
    let address = section.required(key, example)?;
    if !is_server(&address.value) {
        section.wrong_value(key, &address.at, "it must be HOST:PORT", example);
        return None;
    }
    Some(address.value)
}

fn is_server(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let is_port = port.parse::<u16>().is_ok_and(|port| port != 0);
    let is_bracketed = host.starts_with('[') && host.ends_with(']');
    let is_name = !host.is_empty() && !host.contains([':', '/', '@', ' ']);
    is_port && (is_name || is_bracketed)
}

/// `[ADDR:]PORT` to listen on; a port alone is one of the loopback address.
pub(super) fn listener(section: &Section<'_>, key: &str) -> Option<Located<SocketAddr>> {
    let example = "0.0.0.0:9000";
    let node = section.node(key)?;
    if let super::document::Value::Integer(Some(port)) = node.value
        && let Ok(port) = u16::try_from(port)
    {
        let ListenAddress(address) = ListenAddress::loopback(port);
        return Some(Located { value: address, at: node.at.clone() });
    }
    section.parsed::<ListenAddress>(key, example).map(|address| address.map(|ListenAddress(address)| address))
}

#[cfg(test)]
mod tests {
    use super::is_server;

    #[test]
    fn a_server_is_a_host_and_a_port() {
        for text in ["127.0.0.1:9000", "broker.example:1", "[::1]:80"] {
            assert!(is_server(text), "{text}");
        }
        for text in ["9000", ":9000", "host:", "host:0", "host:99999", "tcp://host:1", "::1:80", "a@b:1", ""]
        {
            assert!(!is_server(text), "{text}");
        }
    }
}
