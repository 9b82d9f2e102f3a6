//! OpenSSH's SFTP.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::super::descriptors::start_child;
use super::{Service, Site, answers, debian_program, write};

pub(super) struct Sftp;

impl Service for Sftp {
    fn name(&self) -> &'static str {
        "sftp"
    }

    fn prepare(&self, site: &Site) {
        let home = site.home.display();
        for key in ["host", "client", "stranger"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(site.home.join(key));
            let status = start_child(&mut keygen).and_then(|mut child| child.wait());
            assert!(status.is_ok_and(|status| status.success()), "ssh-keygen fails");
        }
        let configuration = format!(
            "Port {port}
ListenAddress {host}
HostKey {home}/host
AuthorizedKeysFile {home}/client.pub
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 100
PidFile none
Subsystem sftp internal-sftp
",
            port = site.address.port(),
            host = site.address.ip(),
        );
        write(&site.home.join("sshd_config"), &configuration);
        // `ssh` looks for known hosts in the home directory of the user, whatever HOME is. This one is told where they are,
        // whichever port a proxy has.
        let host_key = std::fs::read_to_string(site.home.join("host.pub")).expect("ssh-keygen made it");
        write(&site.home.join("known_hosts"), &format!("gateway-backup {host_key}"));
        let client = format!(
            "HostKeyAlias gateway-backup
UserKnownHostsFile {home}/known_hosts
GlobalKnownHostsFile /dev/null
IdentitiesOnly yes
IdentityAgent none
"
        );
        write(&site.home.join("ssh_config"), &client);
        let wrapper = site.home.join("bin/ssh");
        write(&wrapper, &format!("#!/bin/sh\nexec /usr/bin/ssh -F {home}/ssh_config \"$@\"\n"));
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&wrapper, executable).expect("a temporary directory can be written to");
        if rustix::process::geteuid().is_root() {
            std::fs::create_dir_all("/run/sshd").expect("root can make the directory sshd wants");
        }
    }

    fn commands(&self, site: &Site) -> Vec<Command> {
        let mut command = debian_program(site, "usr/sbin/sshd");
        command.args(["-D", "-e", "-f"]).arg(site.home.join("sshd_config"));
        vec![command]
    }

    fn is_up(&self, site: &Site, _log: &str) -> bool {
        answers(site.address)
    }

    fn uri(&self, site: &Site, address: SocketAddr) -> String {
        format!("sftp://{}@{address}{}/root/tidegate", user(), site.home.display())
    }

    fn environment(&self, site: &Site) -> Vec<(&'static str, OsString)> {
        environment(site, "client")
    }

    fn wrong_environment(&self, site: &Site) -> Vec<(&'static str, OsString)> {
        environment(site, "stranger")
    }
}

fn environment(site: &Site, key: &str) -> Vec<(&'static str, OsString)> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(site.home.join("bin")).chain(std::env::split_paths(&path));
    let path = std::env::join_paths(folders).expect("PATH held paths");
    vec![("TIDEGATE_SFTP_KEY_FILE", site.home.join(key).into()), ("PATH", path)]
}

/// The name of the user this process runs as.
fn user() -> String {
    let passwords = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let number = rustix::process::geteuid().as_raw().to_string();
    let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
    let own = passwords.lines().map(fields).find(|fields| fields.get(2) == Some(&number));
    own.map_or_else(|| "root".to_owned(), |fields| fields[0].clone())
}
