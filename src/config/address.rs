//! Addresses to listen on, as people write them: `9000`, `0.0.0.0:9000`, `[::]:9000`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

/// An address to listen on. A port alone is one of the loopback address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenAddress(pub SocketAddr);

/// A text is no address to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("give a port, or an address and a port such as 0.0.0.0:9000 or [::]:9000")]
pub struct ListenAddressError;

impl ListenAddress {
    /// A port that only this machine reaches.
    pub fn loopback(port: u16) -> Self {
        Self(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
    }
}

impl FromStr for ListenAddress {
    type Err = ListenAddressError;

    fn from_str(text: &str) -> Result<Self, ListenAddressError> {
        match text.parse() {
            Ok(port) => Ok(Self::loopback(port)),
            Err(_) => text.parse().map(Self).map_err(|_| ListenAddressError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_listens_on_loopback() {
        let shown =
            |text: &str| text.parse::<ListenAddress>().map(|ListenAddress(address)| address.to_string());
        assert_eq!(shown("9000").unwrap(), "127.0.0.1:9000");
        assert_eq!(shown("0.0.0.0:9000").unwrap(), "0.0.0.0:9000");
        assert_eq!(shown("localhost"), Err(ListenAddressError));
    }
}
