//! The broker's address.
//!
//! `mqtt://HOST[:PORT]` is plain TCP (port 1883), `mqtts://HOST[:PORT]` TLS (port 8883); `[::1]` for an IPv6 address.
//! A URL holds no user and no password: it is seen in logs and process lists.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

const PLAIN_PORT: u16 = 1883;
const TLS_PORT: u16 = 8883;

/// Where a broker is, and whether it is spoken to through TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerUrl {
    pub(crate) security: Security,
    /// A name or an address, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Security {
    Plain,
    Tls,
}

/// Why a text is not a broker's URL, or not one that may be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerUrlError {
    /// Another scheme.
    #[error("{url:?} does not begin with mqtt:// or mqtts://")]
    Scheme {
        /// The text.
        url: String,
    },
    /// A user or a password in it.
    #[error("a broker's URL must not hold a user or password: give them in a file")]
    Credentials,
    /// Not `HOST` or `HOST:PORT`.
    #[error("{url:?} must be mqtt://HOST[:PORT] or mqtts://HOST[:PORT], and nothing behind it")]
    Address {
        /// The text.
        url: String,
    },
    /// Plain TCP to another machine.
    #[error("{url} would be spoken to without encryption: use mqtts://, or allow it with `insecure`")]
    Insecure {
        /// The URL.
        url: BrokerUrl,
    },
}

impl BrokerUrl {
    /// Refuses plain TCP to another machine, unless that is allowed.
    ///
    /// # Errors
    /// [`BrokerUrlError::Insecure`].
    pub(crate) fn check(&self, plain: PlainTcp) -> Result<(), BrokerUrlError> {
        match (self.security, plain) {
            (Security::Plain, PlainTcp::LoopbackOnly) if !self.is_loopback() => {
                Err(BrokerUrlError::Insecure { url: self.clone() })
            }
            _ => Ok(()),
        }
    }

    fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    }
}

/// Whether plain TCP may leave the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlainTcp {
    LoopbackOnly,
    Anywhere,
}

impl FromStr for BrokerUrl {
    type Err = BrokerUrlError;

    fn from_str(url: &str) -> Result<Self, BrokerUrlError> {
        let (security, rest) = if let Some(rest) = url.strip_prefix("mqtt://") {
            (Security::Plain, rest)
        } else if let Some(rest) = url.strip_prefix("mqtts://") {
            (Security::Tls, rest)
        } else if url.contains('@') {
            return Err(BrokerUrlError::Credentials);
        } else {
            return Err(BrokerUrlError::Scheme { url: url.to_owned() });
        };
        if rest.contains('@') {
            return Err(BrokerUrlError::Credentials);
        }
        let malformed = || BrokerUrlError::Address { url: url.to_owned() };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match authority.strip_prefix('[') {
            Some(bracketed) => {
                let (host, port) = bracketed.split_once(']').ok_or_else(malformed)?;
                if !host.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6()) {
                    return Err(malformed());
                }
                let port =
                    if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or_else(malformed)?) };
                (host, port)
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':');
        if host.is_empty() || !host.bytes().all(is_name) {
            return Err(malformed());
        }
        let port = match port {
            Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or_else(malformed)?,
            None if security == Security::Tls => TLS_PORT,
            None => PLAIN_PORT,
        };
        Ok(Self { security, host: host.to_owned(), port })
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.security {
            Security::Plain => "mqtt",
            Security::Tls => "mqtts",
        };
        let Self { host, port, .. } = self;
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_and_shown() {
        for (text, shown) in [
            ("mqtt://localhost", "mqtt://localhost:1883"),
            ("mqtts://broker.example/", "mqtts://broker.example:8883"),
            ("mqtt://127.0.0.1:1884", "mqtt://127.0.0.1:1884"),
            ("mqtts://[::1]", "mqtts://[::1]:8883"),
            ("mqtt://[::1]:99", "mqtt://[::1]:99"),
        ] {
            assert_eq!(text.parse::<BrokerUrl>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_not_a_url_is_refused_and_no_password_shown() {
        for text in
            ["localhost:1883", "mqtt://", "mqtt://a:0", "mqtt://a:b", "mqtt://a/b", "mqtt://[a]", "http://a"]
        {
            assert!(text.parse::<BrokerUrl>().is_err(), "{text}");
        }
        for text in ["mqtt://user:secret@broker", "http://user:secret@broker"] {
            let error = text.parse::<BrokerUrl>().unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn plain_tcp_stays_on_this_machine_unless_allowed() {
        for (text, expected) in [
            ("mqtt://localhost", true),
            ("mqtt://127.9.9.9", true),
            ("mqtt://[::1]", true),
            ("mqtt://10.0.0.1", false),
            ("mqtt://localhost.evil.example", false),
            ("mqtts://10.0.0.1", true),
        ] {
            let url: BrokerUrl = text.parse().unwrap();
            assert_eq!(url.check(PlainTcp::LoopbackOnly).is_ok(), expected, "{text}");
            assert_eq!(url.check(PlainTcp::Anywhere), Ok(()), "{text}");
        }
    }
}
