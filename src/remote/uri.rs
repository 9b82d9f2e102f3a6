//! A remote's address, and the operator it stands for.
//!
//! | remote | environment |
//! |---|---|
//! | `s3` | `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION`, `AWS_ENDPOINT_URL`; the files of `~/.aws` |
//! | `webdav` | `TIDEGATE_WEBDAV_USER`, `TIDEGATE_WEBDAV_PASSWORD_FILE` |
//! | `sftp` | `TIDEGATE_SFTP_KEY_FILE`; otherwise what `ssh` finds. The host must be in `known_hosts` |
//! | `hdfs` | the Hadoop configuration in `HADOOP_CONF_DIR`, `HADOOP_USER_NAME` |
//! | `webhdfs` | `HADOOP_USER_NAME`, `TIDEGATE_WEBHDFS_TOKEN_FILE` |

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use opendal::Operator;
use opendal::services::Fs;

#[cfg(feature = "remote-sftp")]
use super::sftp_store::{SftpServer, SftpStore};
use super::{IoRuntime, OpendalStore, RemoteError, RemoteStore};

/// A remote's address: `SCHEME://[USER@]HOST[:PORT]/PATH[?NAME=VALUE&…]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RemoteUri {
    text: String,
    scheme: String,
    user: Option<String>,
    /// Host and port, or a bucket.
    authority: String,
    path: String,
    options: Vec<(String, String)>,
}

/// Options an address may have, by scheme.
const OPTIONS: [(&str, &[&str]); 7] = [
    ("file", &[]),
    ("s3", &["region", "endpoint"]),
    ("webdav", &[]),
    ("webdavs", &[]),
    ("sftp", &[]),
    ("hdfs", &[]),
    ("webhdfs", &[]),
];

impl FromStr for RemoteUri {
    type Err = RemoteError;

    fn from_str(text: &str) -> Result<Self, RemoteError> {
        let wrong = |why: &str| RemoteError::Configuration(format!("the remote {text:?} {why}"));
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| wrong("is not an address such as file:///mnt/backup or s3://bucket/path"))?;
        let known = OPTIONS.iter().find(|(known, _)| *known == scheme);
        let (_, options_known) = known.ok_or_else(|| {
            wrong("is of an unknown kind; there are file, s3, webdav, webdavs, sftp, hdfs and webhdfs")
        })?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, authority) = match authority.rsplit_once('@') {
            Some((user, authority)) => (Some(user.to_owned()), authority),
            None => (None, authority),
        };
        if user.as_deref().is_some_and(|user| user.contains(':')) {
            // Not repeated in the message: it holds a password.
            return Err(RemoteError::Configuration(
                "the remote's address holds a password; give it by the environment or a file, see docs/remote.md".to_owned(),
            ));
        }
        match (scheme, authority.is_empty()) {
            ("file", false) => {
                return Err(wrong("needs an absolute path: file:///mnt/backup has three slashes"));
            }
            ("file", true) if path.trim_matches('/').is_empty() => return Err(wrong("names no directory")),
            ("file", true) | (_, false) => {}
            (_, true) => return Err(wrong("names no host or bucket")),
        }
        if path.split('/').any(|segment| segment == ".." || segment == ".") {
            return Err(wrong("must not have . or .. in its path"));
        }
        let mut options = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !options_known.contains(&name) {
                return Err(wrong(&format!("has the unknown option {name:?}")));
            }
            options.push((name.to_owned(), value.to_owned()));
        }
        Ok(Self {
            text: text.to_owned(),
            scheme: scheme.to_owned(),
            user,
            authority: authority.to_owned(),
            path: format!("/{path}"),
            options,
        })
    }
}

impl fmt::Display for RemoteUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl RemoteUri {
    /// True when this is the address of something rather than a local path.
    pub(crate) fn is_address(text: &str) -> bool {
        text.contains("://")
    }

    /// A store at this address. Nothing is asked of the remote yet.
    ///
    /// # Errors
    /// [`RemoteError::Configuration`].
    pub(crate) fn open(&self, runtime: &Arc<IoRuntime>) -> Result<Arc<dyn RemoteStore>, RemoteError> {
        #[cfg(feature = "remote-sftp")]
        if self.scheme == "sftp" {
            let runtime = Arc::clone(runtime);
            return Ok(Arc::new(SftpStore::new(self.sftp(), self.text.clone(), runtime)));
        }
        Ok(Arc::new(self.open_operator(runtime)?))
    }

    /// A store behind an OpenDAL operator.
    ///
    /// # Errors
    /// [`RemoteError::Configuration`].
    pub(super) fn open_operator(&self, runtime: &Arc<IoRuntime>) -> Result<OpendalStore, RemoteError> {
        // Some services start tasks when they are made.
        let _entered = runtime.handle().enter();
        let operator = self.operator()?;
        let folder = match &*self.scheme {
            "file" => format!("{}/", self.path.trim_matches('/')),
            _ => String::new(),
        };
        Ok(OpendalStore::new(operator, self.text.clone(), folder, Arc::clone(runtime)))
    }

    fn operator(&self) -> Result<Operator, RemoteError> {
        let operator = match &*self.scheme {
            // Not the path itself: that would be looked at and created here and now, and a mount that hangs would hang us.
            "file" => Operator::new(Fs::default().root("/")),
            #[cfg(feature = "remote-s3")]
            "s3" => Operator::new(self.s3()?),
            #[cfg(feature = "remote-webdav")]
            "webdav" | "webdavs" => Operator::new(self.webdav()?),
            #[cfg(feature = "remote-hdfs")]
            "hdfs" => Operator::new(self.hdfs()),
            #[cfg(feature = "remote-webhdfs")]
            "webhdfs" => Operator::new(self.webhdfs()?),
            scheme => {
                let feature = if scheme == "webdavs" { "webdav" } else { scheme };
                return Err(RemoteError::Configuration(format!(
                    "this program was built without the remote {scheme}://: build it with --features remote-{feature}"
                )));
            }
        };
        operator.map_err(|error| {
            let (address, message) = (&self.text, error.message());
            RemoteError::Configuration(format!("the remote {address} cannot be used: {message}"))
        })
    }
}

#[cfg(any(
    feature = "remote-s3",
    feature = "remote-webdav",
    feature = "remote-webhdfs",
    feature = "remote-sftp"
))]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The secret in the file that an environment variable names.
#[cfg(any(feature = "remote-webdav", feature = "remote-webhdfs"))]
fn secret(name: &str) -> Result<Option<String>, RemoteError> {
    const SECRET_BYTES_MAX: u64 = 4096;
    let Some(path) = environment(name) else { return Ok(None) };
    let wrong = |why: String| RemoteError::Configuration(format!("{name} names the file {path}: {why}"));
    let bytes = crate::disk::read_secret(std::path::Path::new(&path), SECRET_BYTES_MAX)
        .map_err(|error| wrong(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| wrong("it is not text".to_owned()))?;
    Ok(Some(text.trim_end_matches(['\n', '\r']).to_owned()))
}

#[cfg(feature = "remote-http")]
mod http {
    use std::sync::Once;
    use std::time::Duration;

    use super::{RemoteError, RemoteUri};

    const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
    /// How long what was sent may stay without TCP's own acknowledgement.
    const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(60);

    impl RemoteUri {
        /// Gives OpenDAL its HTTP client, once a process: rustls with ring, and the system's certificates.
        fn install_http() -> Result<(), RemoteError> {
            static INSTALLED: Once = Once::new();
            let client = reqwest::Client::builder()
                .tls_backend_preconfigured(tls()?)
                .connect_timeout(CONNECT_TIMEOUT)
                .tcp_user_timeout(UNACKNOWLEDGED_MAX)
                .build()
                .map_err(|error| {
                    RemoteError::Configuration(format!("cannot make an HTTP client: {error}"))
                })?;
            INSTALLED.call_once(|| {
                opendal::HttpTransporter::install_default(
                    opendal_http_transport_reqwest::ReqwestTransport::new(client),
                );
            });
            Ok(())
        }

        #[cfg(feature = "remote-s3")]
        pub(super) fn s3(&self) -> Result<opendal::services::S3, RemoteError> {
            Self::install_http()?;
            let option = |name: &str| {
                self.options.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
            };
            let mut s3 = opendal::services::S3::default().bucket(&self.authority).root(&self.path);
            let region = option("region").or_else(|| super::environment("AWS_REGION"));
            s3 = s3.region(region.as_deref().unwrap_or("us-east-1"));
            if let Some(endpoint) = option("endpoint").or_else(|| super::environment("AWS_ENDPOINT_URL")) {
                s3 = s3.endpoint(&endpoint);
            }
            Ok(s3.disable_ec2_metadata())
        }

        #[cfg(feature = "remote-webdav")]
        pub(super) fn webdav(&self) -> Result<opendal::services::Webdav, RemoteError> {
            Self::install_http()?;
            let scheme = if self.scheme == "webdavs" { "https" } else { "http" };
            let mut webdav = opendal::services::Webdav::default()
                .endpoint(&format!("{scheme}://{}", self.authority))
                .root(&self.path);
            if let Some(user) = self.user.clone().or_else(|| super::environment("TIDEGATE_WEBDAV_USER")) {
                webdav = webdav.username(&user);
            }
            if let Some(password) = super::secret("TIDEGATE_WEBDAV_PASSWORD_FILE")? {
                webdav = webdav.password(&password);
            }
            Ok(webdav)
        }

        #[cfg(feature = "remote-webhdfs")]
        pub(super) fn webhdfs(&self) -> Result<opendal::services::Webhdfs, RemoteError> {
            Self::install_http()?;
            let mut webhdfs = opendal::services::Webhdfs::default()
                .endpoint(&format!("http://{}", self.authority))
                .root(&self.path)
                .disable_list_batch();
            if let Some(user) = self.user.clone().or_else(|| super::environment("HADOOP_USER_NAME")) {
                webhdfs = webhdfs.user_name(&user);
            }
            if let Some(token) = super::secret("TIDEGATE_WEBHDFS_TOKEN_FILE")? {
                webhdfs = webhdfs.delegation(&token);
            }
            Ok(webhdfs)
        }
    }

    fn tls() -> Result<rustls::ClientConfig, RemoteError> {
        let wrong = |why: String| RemoteError::Configuration(format!("cannot set up TLS: {why}"));
        Ok(rustls::ClientConfig::builder_with_provider(crate::tls::provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(error.to_string()))?
            .with_root_certificates(crate::tls::trusted_roots())
            .with_no_client_auth())
    }
}

#[cfg(feature = "remote-hdfs")]
impl RemoteUri {
    fn hdfs(&self) -> opendal::services::HdfsNative {
        // To try again is the caller's business, who has more patience and says so. What is left is enough to find out which
        // of two name nodes is the active one.
        let attempts = ("dfs.client.failover.max.attempts".to_owned(), "2".to_owned());
        opendal::services::HdfsNative::default()
            .name_node(&format!("hdfs://{}", self.authority))
            .root(&self.path)
            .options(std::iter::once(attempts).collect())
    }
}

#[cfg(feature = "remote-sftp")]
impl RemoteUri {
    fn sftp(&self) -> SftpServer {
        let (host, port) = match self.authority.rsplit_once(':') {
            // A colon within brackets belongs to an address.
            Some((host, port)) if !port.contains(']') => (host, Some(port.to_owned())),
            _ => (&*self.authority, None),
        };
        SftpServer {
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            user: self.user.clone(),
            key: environment("TIDEGATE_SFTP_KEY_FILE"),
            root: std::path::PathBuf::from(&self.path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> String {
        RemoteUri::from_str(text).unwrap_err().to_string()
    }

    #[test]
    fn addresses_are_taken_apart() {
        let uri: RemoteUri = "sftp://me@host:22/a/b".parse().unwrap();
        assert_eq!((uri.user.as_deref(), &*uri.authority, &*uri.path), (Some("me"), "host:22", "/a/b"));
        let uri: RemoteUri = "s3://bucket/a?region=eu&endpoint=http://127.0.0.1:1".parse().unwrap();
        assert_eq!((&*uri.authority, &*uri.path, uri.options.len()), ("bucket", "/a", 2));
        assert_eq!("file:///mnt/x".parse::<RemoteUri>().unwrap().path, "/mnt/x");
    }

    #[test]
    fn a_wrong_address_says_what_would_do() {
        assert!(wrong("/mnt/x").contains("file:///"));
        assert!(wrong("ftp://host/").contains("unknown kind"));
        assert!(wrong("file://mnt/x").contains("three slashes"));
        assert!(wrong("s3:///x").contains("bucket"));
        assert!(wrong("file:///a/../b").contains(".."));
        assert!(wrong("s3://b/x?regoin=eu").contains("regoin"));
        let message = wrong("webdav://me:hunter2@host/");
        assert!(message.contains("environment") && !message.contains("hunter2"), "{message}");
    }

    #[cfg(not(feature = "remote-s3"))]
    #[test]
    fn a_remote_that_is_not_built_in_is_refused_by_its_feature() {
        let runtime = IoRuntime::start().unwrap();
        let uri: RemoteUri = "s3://bucket/a".parse().unwrap();
        assert!(uri.open(&runtime).unwrap_err().to_string().contains("remote-s3"));
    }
}
