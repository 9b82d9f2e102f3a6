//! What TLS is set up from, on either side: certificates and keys in PEM files of at most 1 MiB.
//!
//! TLS is by rustls with `ring`, in the protocol versions 1.2 and 1.3. A key that others than its owner may read is
//! refused.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, RootCertStore};

use crate::disk::{RealDisk, read_whole};
use crate::mqtt::{SecretFileError, read_secret};

/// Longest certificate or key file, in bytes.
const PEM_BYTES_MAX: u64 = 1 << 20;

/// Why a certificate, a key or a CA cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsFileError {
    #[error("{} holds no certificate in PEM format", path.display())]
    NoCertificate { path: PathBuf },
    #[error("{} holds no private key in PEM format", path.display())]
    NoKey { path: PathBuf },
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Secret(#[from] SecretFileError),
    #[error("the certificate and its key cannot be used: {0}")]
    Identity(rustls::Error),
}

/// A certificate with its chain, and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdentityFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// A certificate with its chain, and its key, as read.
pub(crate) type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl IdentityFiles {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsFileError`].
    pub(crate) fn read(&self) -> Result<Identity, TlsFileError> {
        let chain = read_certificates(&self.certificate)?;
        let pem = read_secret(&self.key, PEM_BYTES_MAX)?;
        let key = PrivateKeyDer::from_pem_slice(&pem)
            .map_err(|_| TlsFileError::NoKey { path: self.key.clone() })?;
        Ok((chain, key))
    }
}

/// The CAs in a file; without one [`trusted_roots()`].
///
/// # Errors
/// [`TlsFileError`].
pub(crate) fn read_roots(ca: Option<&Path>) -> Result<RootCertStore, TlsFileError> {
    let Some(path) = ca else { return Ok(trusted_roots()) };
    let mut roots = RootCertStore::empty();
    match roots.add_parsable_certificates(read_certificates(path)?) {
        (0, _) => Err(TlsFileError::NoCertificate { path: path.to_owned() }),
        _ => Ok(roots),
    }
}

/// The CAs that the operating system trusts, or that `SSL_CERT_FILE` names; on an image without any, Mozilla's.
pub(crate) fn trusted_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    // One that cannot be read is no reason to do without the others.
    let (added, _ignored) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 {
        tracing::warn!("the system has no CA certificates: trusting those of Mozilla's list");
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

/// The cryptography of all connections.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let pem = read_whole(&RealDisk, path, PEM_BYTES_MAX)
        .map_err(|source| TlsFileError::Read { path: path.to_owned(), source })?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok).collect();
    if certificates.is_empty() {
        return Err(TlsFileError::NoCertificate { path: path.to_owned() });
    }
    Ok(certificates)
}
