//! TLS of a listening source: its files, which clients it takes, and why it refuses one.
//!
//! The files are read at the start and again when one of them has changed, which is looked at once a second at most; files
//! that cannot be used then are reported, and the ones before stay in force. Sessions are not resumed: a client shows its
//! certificate each time.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::{self, AlertDescription, CertificateError, ServerConfig};

use crate::tls::{IdentityFiles, TlsFileError, provider, read_roots};

/// Least time between two looks at the files.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Whether a client must have a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificate {
    /// One without is refused.
    Required,
    /// One without is served like one with; a certificate that is shown must be valid.
    Optional,
}

/// TLS of a listening source: PEM files, read again when they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsListen {
    identity: IdentityFiles,
    client_ca: Option<(PathBuf, ClientCertificate)>,
}

impl TlsListen {
    /// Shows the certificate and its chain in `certificate`; only its owner may read `key`. Clients are not asked who they
    /// are.
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        let identity = IdentityFiles { certificate: certificate.into(), key: key.into() };
        Self { identity, client_ca: None }
    }

    /// Asks clients for a certificate signed by one of the CAs in `ca`.
    #[must_use]
    pub fn client_ca(mut self, ca: impl Into<PathBuf>, certificate: ClientCertificate) -> Self {
        self.client_ca = Some((ca.into(), certificate));
        self
    }

    fn load(&self) -> Result<TlsAcceptor, TlsFileError> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("ring has the suites of the default protocol versions");
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some((ca, certificate)) => {
                let roots = Arc::new(read_roots(Some(ca))?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
                let verifier = match certificate {
                    ClientCertificate::Required => verifier,
                    ClientCertificate::Optional => verifier.allow_unauthenticated(),
                };
                builder.with_client_cert_verifier(
                    verifier.build().expect("there is a CA, and no revocation list"),
                )
            }
        };
        let (chain, key) = self.identity.read()?;
        let mut config = builder.with_single_cert(chain, key).map_err(TlsFileError::Identity)?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config).into())
    }

    fn stamps(&self) -> [Option<FileStamp>; 3] {
        let IdentityFiles { certificate, key } = &self.identity;
        [
            FileStamp::of(certificate),
            FileStamp::of(key),
            self.client_ca.as_ref().and_then(|(ca, _)| FileStamp::of(ca)),
        ]
    }
}

/// What changes with a file's contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileStamp {
    inode: u64,
    bytes: i64,
    changed: (i64, u64),
}

impl FileStamp {
    #[allow(clippy::useless_conversion, reason = "nanoseconds are of 32 bits on 32-bit processors")]
    fn of(path: &Path) -> Option<Self> {
        let status = rustix::fs::stat(path).ok()?;
        Some(Self {
            inode: status.st_ino,
            bytes: status.st_size,
            changed: (status.st_mtime, status.st_mtime_nsec.into()),
        })
    }
}

/// What handshakes are made with.
pub(super) struct TlsServer {
    files: TlsListen,
    acceptor: TlsAcceptor,
    stamps: [Option<FileStamp>; 3],
    looked: Instant,
}

impl TlsServer {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsFileError`].
    pub(super) fn open(files: TlsListen) -> Result<Self, TlsFileError> {
        let stamps = files.stamps();
        let acceptor = files.load()?;
        Ok(Self { files, acceptor, stamps, looked: Instant::now() })
    }

    /// What the next handshake is made with.
    pub(super) fn acceptor(&mut self) -> TlsAcceptor {
        if self.looked.elapsed() >= LOOK_INTERVAL {
            self.looked = Instant::now();
            let stamps = self.files.stamps();
            if stamps != self.stamps {
                self.stamps = stamps;
                match self.files.load() {
                    Ok(acceptor) => {
                        tracing::info!("the changed TLS files are in force");
                        self.acceptor = acceptor;
                    }
                    Err(error) => {
                        tracing::error!(%error, "the changed TLS files cannot be used: those before stay in force");
                    }
                }
            }
        }
        self.acceptor.clone()
    }
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeFailure {
    #[error("the client does not speak TLS")]
    NotTls,
    #[error("the client shows no certificate")]
    NoCertificate,
    #[error("the client's certificate is not signed by a CA of the client CA file")]
    UnknownIssuer,
    #[error("the client's certificate has expired, or this machine's clock is wrong")]
    Expired,
    #[error("the client's certificate is not valid yet: this machine's clock may be wrong")]
    NotYetValid,
    #[error("the client's certificate is refused: {0}")]
    Certificate(CertificateError),
    #[error("the client refuses this machine's certificate: {0:?}")]
    Refused(AlertDescription),
    #[error("the client did not finish within {} s", .0.as_secs())]
    TimedOut(Duration),
    #[error("the client did not finish, and newer ones need its place")]
    GaveWay,
    #[error("{0}")]
    Broken(io::Error),
}

impl From<io::Error> for HandshakeFailure {
    fn from(error: io::Error) -> Self {
        let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match cause {
            Some(rustls::Error::InvalidMessage(_)) => Self::NotTls,
            Some(rustls::Error::NoCertificatesPresented) => Self::NoCertificate,
            Some(rustls::Error::AlertReceived(alert)) => Self::Refused(*alert),
            Some(rustls::Error::InvalidCertificate(certificate)) => match certificate {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    Self::NotYetValid
                }
                // A self-signed certificate that is not among the trusted ones has a signature no trusted key made.
                CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownIssuer,
                other => Self::Certificate(other.clone()),
            },
            _ => Self::Broken(error),
        }
    }
}
