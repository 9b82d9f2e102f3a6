//! The way to the broker: TCP, or TLS over it.
//!
//! The broker's certificate must be valid for the host of its URL and signed by the given
//! CA, or without one by a CA the operating system trusts. Certificates and keys (`crate::tls`) are read
//! again for each connection, so renewed ones need no restart.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, CertificateError, ClientConfig};

use super::url::{BrokerUrl, Security};
use crate::tls::{IdentityFiles, TlsFileError, provider, read_roots};

/// Longest time for a TCP connection and its TLS handshake together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time without traffic after which the kernel probes whether the broker still exists.
const KEEPALIVE_TIME: Duration = Duration::from_secs(30);
/// Time between probes, and how many may stay unanswered.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 3;
/// Time what was sent may stay unacknowledged by the other end's kernel.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// What TLS is set up from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    /// Certificates of the CAs that may sign the broker's; without it those the operating system trusts.
    pub(crate) ca: Option<PathBuf>,
    /// Our own certificate, for brokers that ask for one.
    pub(crate) identity: Option<IdentityFiles>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("no connection: {0}")]
    Tcp(io::Error),
    #[error("no connection within {} s", CONNECT_TIMEOUT.as_secs())]
    TimedOut,
    #[error("the broker's certificate has expired, or this machine's clock is wrong")]
    CertificateExpired,
    #[error("the broker's certificate is not valid yet: this machine's clock may be wrong")]
    CertificateNotYetValid,
    #[error("the broker's certificate is not signed by a trusted CA: check the CA file")]
    UnknownIssuer,
    #[error("the broker's certificate is not for the host {host}")]
    WrongHost { host: String },
    #[error("the TLS handshake failed: {0}")]
    Handshake(io::Error),
    #[error(transparent)]
    Files(#[from] TlsFileError),
}

/// A connection to a broker.
#[derive(Debug)]
pub(crate) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Transport {
    /// Connects.
    ///
    /// # Errors
    /// See [`ConnectError`]; whatever it is, it may be mended while the job runs.
    pub(crate) async fn connect(url: &BrokerUrl, tls: &TlsFiles) -> Result<Self, ConnectError> {
        timeout(CONNECT_TIMEOUT, Self::connect_unbounded(url, tls))
            .await
            .map_err(|_| ConnectError::TimedOut)?
    }

    async fn connect_unbounded(url: &BrokerUrl, tls: &TlsFiles) -> Result<Self, ConnectError> {
        let stream = TcpStream::connect((url.host.as_str(), url.port)).await.map_err(ConnectError::Tcp)?;
        // A loopback port nobody listens on can be given to the connecting end too: TCP then connects it to itself.
        let is_self = stream.local_addr().and_then(|local| Ok(local == stream.peer_addr()?));
        if is_self.map_err(ConnectError::Tcp)? {
            return Err(ConnectError::Tcp(io::ErrorKind::ConnectionRefused.into()));
        }
        if let Err(error) = set_options(&stream) {
            tracing::debug!(%url, %error, "cannot set TCP options");
        }
        if url.security == Security::Plain {
            return Ok(Self::Plain(stream));
        }
        let connector = TlsConnector::from(Arc::new(tls.load()?));
        let host = ServerName::try_from(url.host.clone())
            .map_err(|_| ConnectError::WrongHost { host: url.host.clone() })?;
        match connector.connect(host, stream).await {
            Ok(stream) => Ok(Self::Tls(Box::new(stream))),
            Err(error) => Err(handshake_error(error, url)),
        }
    }
}

impl TlsFiles {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsFileError`].
    pub(crate) fn load(&self) -> Result<ClientConfig, TlsFileError> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("ring has the suites of the default protocol versions")
            .with_root_certificates(read_roots(self.ca.as_deref())?);
        match &self.identity {
            None => Ok(builder.with_no_client_auth()),
            Some(identity) => {
                let (chain, key) = identity.read()?;
                builder.with_client_auth_cert(chain, key).map_err(TlsFileError::Identity)
            }
        }
    }
}

/// Says what is wrong with the broker's certificate, where that is what failed.
fn handshake_error(error: io::Error, url: &BrokerUrl) -> ConnectError {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(certificate)) => match certificate {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                ConnectError::CertificateExpired
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                ConnectError::CertificateNotYetValid
            }
            // A self-signed certificate that is not among the trusted ones has a signature no trusted key made.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => ConnectError::UnknownIssuer,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                ConnectError::WrongHost { host: url.host.clone() }
            }
            _ => ConnectError::Handshake(error),
        },
        _ => ConnectError::Handshake(error),
    }
}

/// No delay for small packets, and limits for a peer that is gone, which TCP alone never notices.
fn set_options(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = socket2::SockRef::from(stream);
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(KEEPALIVE_TIME)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&keepalive)
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
