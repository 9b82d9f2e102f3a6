//! Certificates made by OpenSSL, and its client as a peer; passwords made by Mosquitto.

use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Output, Stdio};

use super::descriptors::start_child;
use super::wait::wait_until;

/// False, with a word, where there is no OpenSSL.
pub(crate) fn has_openssl() -> bool {
    let is_there = Command::new("openssl").arg("version").output().is_ok();
    if !is_there {
        super::skip("TLS", "there is no openssl; `make broker-tools` installs it");
    }
    is_there
}

fn openssl(directory: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(directory).output();
    let output = output.expect("openssl comes with libssl's tools");
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A CA, another one, a server's certificate for `localhost`, one that has expired, a client's, and one of the other CA.
pub(crate) fn certificates(directory: &Path) {
    std::fs::write(directory.join("names"), "subjectAltName=DNS:localhost\n").unwrap();
    let curve = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    for ca in ["ca", "other-ca"] {
        openssl(
            directory,
            &format!("req -x509 {curve} -days 2 -subj /CN={ca} -keyout {ca}.key -out {ca}.pem"),
        );
    }
    for (name, ca, days) in
        [("server", "ca", 2), ("expired", "ca", 0), ("client", "ca", 2), ("stranger", "other-ca", 2)]
    {
        openssl(directory, &format!("req {curve} -subj /CN={name} -keyout {name}.key -out {name}.csr"));
        openssl(
            directory,
            &format!(
                "x509 -req -in {name}.csr -CA {ca}.pem -CAkey {ca}.key -CAcreateserial -days {days} -extfile names \
                 -out {name}.pem"
            ),
        );
    }
}

/// `openssl s_client`, connected to a program under test.
pub(crate) struct TlsClient {
    child: Child,
    stdin: Option<ChildStdin>,
}

impl TlsClient {
    /// Connects with further arguments; files are named within `directory`. It ends when it does not trust `ca.pem`'s
    /// signature on the other side's certificate.
    pub(crate) fn connect(address: SocketAddr, directory: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-quiet", "-no_ign_eof", "-verify_return_error", "-connect"]);
        command.arg(address.to_string()).args(arguments).current_dir(directory);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = start_child(&mut command).expect("openssl starts");
        let stdin = child.stdin.take();
        Self { child, stdin }
    }

    /// Sends a text; one that was refused cannot.
    pub(crate) fn send(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("the client has not finished");
        // What was not sent is missed where it is waited for.
        stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush()).ok();
    }

    /// Ends the input and waits for the end; returns what came from the other side.
    pub(crate) fn finish(mut self) -> String {
        drop(self.stdin.take());
        let mut ended = None;
        wait_until(
            || {
                ended = self.child.try_wait().unwrap();
                ended.is_some()
            },
            || "openssl s_client does not end".to_owned(),
        );
        let Output { stdout, .. } = self.child.wait_with_output().unwrap();
        String::from_utf8(stdout).unwrap()
    }

    /// Ends the process, and so the connection, without a word.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A file `passwords` for Mosquitto, in which each user's password is `right`; and for each user the files `USER.right` and
/// `USER.wrong` for the program, of which the second has the password `canary-7`.
pub(crate) fn passwords(directory: &Path, users: &[&str]) {
    let file = directory.join("passwords");
    std::fs::write(&file, "").unwrap();
    for user in users {
        let mut command = Command::new("mosquitto_passwd");
        assert!(command.arg("-b").arg(&file).args([user, "right"]).status().unwrap().success());
        for (name, password) in [("right", "right"), ("wrong", "canary-7")] {
            let file = directory.join(format!("{user}.{name}"));
            std::fs::write(&file, format!("{user}\n{password}\n")).unwrap();
            std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}
