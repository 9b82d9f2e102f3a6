//! Real servers of remotes on the loopback address, got by `tests/servers/install.sh`.
//!
//! | kind | server |
//! |---|---|
//! | `s3` | moto, which is told again after a kill what it was asked before |
//! | `webdav` | nginx with dav-ext, and a password |
//! | `sftp` | OpenSSH's sshd, and a key |
//! | `hdfs` | a name node and a data node of Apache Hadoop |
//! | `webhdfs` | the same, by HTTP |
//!
//! Each has a free port and a temporary directory of its own, and keeps both when it is killed and started again.

mod hdfs;
mod process;
mod s3;
mod sftp;
mod webdav;
mod webhdfs;

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use process::ServerProcess;

use super::installed::{check, installed};
use super::port::free_port;
use super::skip::skip;
use super::wait::wait_until_within;

/// Longest wait for a server: two Java virtual machines on a busy machine.
const START_MAX: Duration = Duration::from_secs(120);

/// A kind of remote that there is a server for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    S3,
    WebDav,
    Sftp,
    Hdfs,
    WebHdfs,
}

/// Where a server is.
struct Site {
    /// Its own directory.
    home: PathBuf,
    /// What `install.sh` got.
    installed: PathBuf,
    /// The command that starts something in the server's network namespace; empty for this one.
    namespace: Vec<String>,
    address: SocketAddr,
    /// Further ports, for those that need them.
    more_ports: [u16; 2],
}

/// What differs from server to server.
trait Service {
    /// Its name as `install.sh` has it.
    fn name(&self) -> &'static str;

    /// Writes configurations, makes keys and the like, once.
    fn prepare(&self, site: &Site);

    /// The processes, in the order in which they are started.
    fn commands(&self, site: &Site) -> Vec<Command>;

    /// True when `log`, what the last of the processes wrote, or a question says that it serves.
    fn is_up(&self, site: &Site, log: &str) -> bool;

    /// What is to be done once it serves for the first time.
    fn furnish(&self, _site: &Site) {}

    /// The remote's address when the server is reached at `address`.
    fn uri(&self, site: &Site, address: SocketAddr) -> String;

    /// The environment that holds the credentials.
    fn environment(&self, site: &Site) -> Vec<(&'static str, OsString)>;

    /// The same with credentials that are wrong.
    fn wrong_environment(&self, site: &Site) -> Vec<(&'static str, OsString)>;
}

impl Kind {
    fn service(self) -> &'static dyn Service {
        match self {
            Self::S3 => &s3::S3,
            Self::WebDav => &webdav::WebDav,
            Self::Sftp => &sftp::Sftp,
            Self::Hdfs => &hdfs::Hdfs,
            Self::WebHdfs => &webhdfs::WebHdfs,
        }
    }
}

/// A server; it ends when dropped.
pub(crate) struct RemoteServer {
    service: &'static dyn Service,
    site: Site,
    processes: Vec<ServerProcess>,
    _home: tempfile::TempDir,
}

impl RemoteServer {
    /// Starts a server; `None`, having said why, where there is none.
    pub(crate) fn start(kind: Kind) -> Option<Self> {
        Self::start_in(kind, IpAddr::from(Ipv4Addr::LOCALHOST), Vec::new())
    }

    /// Starts a server at `host`, in the network namespace that the command `namespace` enters.
    pub(crate) fn start_in(kind: Kind, host: IpAddr, namespace: Vec<String>) -> Option<Self> {
        let service = kind.service();
        let installed = installed();
        if let Err(reason) = check(&installed, service.name()) {
            skip(&format!("the remote {}", service.name()), &reason);
            return None;
        }
        let home = tempfile::tempdir().expect("there is a temporary directory");
        let site = Site {
            home: home.path().to_owned(),
            installed,
            namespace,
            address: SocketAddr::new(host, free_port()),
            more_ports: [free_port(), free_port()],
        };
        service.prepare(&site);
        let mut server = Self { service, site, processes: Vec::new(), _home: home };
        server.restart();
        service.furnish(&server.site);
        Some(server)
    }

    /// The remote's address.
    pub(crate) fn uri(&self) -> String {
        self.uri_at(self.site.address)
    }

    /// The remote's address by way of a proxy.
    pub(crate) fn uri_at(&self, address: SocketAddr) -> String {
        self.service.uri(&self.site, address)
    }

    /// Where it is reached.
    pub(crate) fn address(&self) -> SocketAddr {
        self.site.address
    }

    /// The environment a client needs.
    pub(crate) fn environment(&self) -> Vec<(&'static str, OsString)> {
        self.service.environment(&self.site)
    }

    /// The environment of a client that has wrong credentials.
    pub(crate) fn wrong_environment(&self) -> Vec<(&'static str, OsString)> {
        self.service.wrong_environment(&self.site)
    }

    /// Ends it by SIGKILL.
    pub(crate) fn kill(&mut self) {
        // The last one that was started first.
        while self.processes.pop().is_some() {}
    }

    /// Starts it at the same port, with what it had; returns when it serves.
    pub(crate) fn restart(&mut self) {
        let commands = self.service.commands(&self.site);
        self.processes = commands.into_iter().map(|command| self.start_process(command)).collect();
        let last = self.processes.last_mut().expect("a server is at least one process");
        let mut log = String::new();
        wait_until_within(
            START_MAX,
            || {
                log = last.log();
                assert!(last.is_running(), "{} ended: {log}", self.service.name());
                self.service.is_up(&self.site, &log)
            },
            || format!("{} does not serve", self.service.name()),
        );
    }

    fn start_process(&self, command: Command) -> ServerProcess {
        let mut whole = match &*self.site.namespace {
            [] => return ServerProcess::start(command),
            [program, arguments @ ..] => {
                let mut whole = Command::new(program);
                whole.args(arguments);
                whole
            }
        };
        whole.arg(command.get_program()).args(command.get_args());
        whole.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        ServerProcess::start(whole)
    }
}

impl Drop for RemoteServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// True when somebody listens at `address`.
fn answers(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}

/// A program of Debian's, unpacked by `install.sh` or installed.
fn debian_program(site: &Site, path: &str) -> Command {
    let unpacked = site.installed.join("debian");
    let program = Some(unpacked.join(path)).filter(|program| program.exists());
    let mut command = Command::new(program.unwrap_or_else(|| Path::new("/").join(path)));
    let architecture = std::env::consts::ARCH;
    let libraries = [format!("usr/lib/{architecture}-linux-gnu"), format!("lib/{architecture}-linux-gnu")];
    let libraries = libraries.map(|folder| unpacked.join(folder).display().to_string());
    command.env("LD_LIBRARY_PATH", libraries.join(":"));
    command
}

fn write(path: &Path, text: &str) {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).expect("a temporary directory can be written to");
    }
    std::fs::write(path, text).expect("a temporary directory can be written to");
}

/// Writes a file that only its owner may read.
fn write_secret(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    write(path, text);
    let owner_only = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(path, owner_only).expect("a temporary directory can be written to");
}
