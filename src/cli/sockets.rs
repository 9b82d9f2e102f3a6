//! `--udp`, `--unix`, `--unix-datagram` and TLS of `--listen`, from the command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::config::{ByteSize, ListenAddress, ListenAddressError};
use crate::source::{ClientCertificate, TcpListen, TlsListen, UdpReceive, UnixListen, UnixReceive};

/// Arguments of datagrams, Unix sockets and TLS.
#[derive(Debug, Args)]
#[command(next_help_heading = "Source: datagrams, Unix sockets, TLS")]
pub struct SocketArguments {
    /// Receive UDP datagrams, of one or more lines each; a port alone receives on the loopback address
    #[arg(long, value_name = "[ADDR:]PORT", value_parser = parse_listen, group = "source")]
    pub udp: Option<SocketAddr>,

    /// With --udp: what the kernel holds while the job is slower than its senders, up to net.core.rmem_max [default: 1MiB]
    #[arg(long, value_name = "SIZE", requires = "udp")]
    pub receive_buffer: Option<ByteSize>,

    /// Read lines from processes of this machine that connect to this Unix socket
    ///
    /// A file that a killed process left is replaced, one that is in use is not; it is removed at the end.
    #[arg(long, value_name = "PATH", groups = ["source", "server", "unix-socket"])]
    pub unix: Option<PathBuf>,

    /// Receive datagrams, of one or more lines each, that processes of this machine send to this Unix socket
    #[arg(long, value_name = "PATH", groups = ["source", "unix-socket"])]
    pub unix_datagram: Option<PathBuf>,

    /// With --unix and --unix-datagram: mode of the socket file; who may write to it may send [default: 660]
    #[arg(long, value_name = "MODE", value_parser = parse_mode, requires = "unix-socket")]
    pub unix_mode: Option<u32>,

    /// With --listen: speak TLS, with the certificate and its chain in this PEM file
    #[arg(long, value_name = "FILE", requires = "listen", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// PEM file with the certificate's key, which only its owner may read
    #[arg(long, value_name = "FILE", requires = "listen", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// Ask clients for a certificate signed by a CA in this PEM file
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_client_ca: Option<PathBuf>,

    /// What becomes of a client without a certificate
    #[arg(long, value_enum, value_name = "POLICY", requires = "tls_client_ca", default_value_t = ClientCertificateName::Required)]
    pub tls_client_cert: ClientCertificateName,
}

/// What --tls-client-cert takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ClientCertificateName {
    /// It is refused
    Required,
    /// It is served like one with a certificate
    Optional,
}

impl SocketArguments {
    /// TLS for `source`, if it is asked for.
    pub(super) fn secure(&self, source: TcpListen) -> TcpListen {
        let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) else { return source };
        let tls = TlsListen::new(certificate, key);
        let certificate = match self.tls_client_cert {
            ClientCertificateName::Required => ClientCertificate::Required,
            ClientCertificateName::Optional => ClientCertificate::Optional,
        };
        source.tls(match &self.tls_client_ca {
            Some(ca) => tls.client_ca(ca, certificate),
            None => tls,
        })
    }

    /// The UDP source at `address`.
    pub(super) fn udp(&self, address: SocketAddr) -> UdpReceive {
        let source = UdpReceive::new(address);
        match self.receive_buffer {
            Some(size) => source.receive_buffer_bytes(size.in_memory()),
            None => source,
        }
    }

    /// The Unix stream source at `path`.
    pub(super) fn unix(&self, path: &PathBuf) -> UnixListen {
        let source = UnixListen::new(path);
        match self.unix_mode {
            Some(mode) => source.mode(mode),
            None => source,
        }
    }

    /// The Unix datagram source at `path`.
    pub(super) fn unix_datagram(&self, path: &PathBuf) -> UnixReceive {
        let source = UnixReceive::new(path);
        match self.unix_mode {
            Some(mode) => source.mode(mode),
            None => source,
        }
    }

    /// What distinguishes the source's directory from those of others: its kind, and where it listens.
    pub(super) fn place(&self) -> Option<(&'static str, String)> {
        let udp = || self.udp.map(|address| ("udp", address.to_string()));
        let unix = || self.unix.as_ref().map(|path| ("unix", path.display().to_string()));
        let unix_datagram =
            || self.unix_datagram.as_ref().map(|path| ("unix-datagram", path.display().to_string()));
        udp().or_else(unix).or_else(unix_datagram)
    }
}

fn parse_mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("give an octal mode such as 660".to_owned()),
    }
}

pub(super) fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map(|ListenAddress(address)| address).map_err(|error: ListenAddressError| error.to_string())
}
