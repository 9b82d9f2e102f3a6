//! Certificates by `openssl`, and passwords by `mosquitto_passwd`.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

fn openssl(directory: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(directory).output();
    let output = output.expect("openssl comes with libssl's tools");
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A CA, another one, a server's certificate for `localhost`, one that has expired, and a client's.
pub(crate) fn certificates(directory: &Path) {
    std::fs::write(directory.join("names"), "subjectAltName=DNS:localhost\n").unwrap();
    for ca in ["ca", "other-ca"] {
        openssl(
            directory,
            &format!(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN={ca} \
                 -keyout {ca}.key -out {ca}.pem"
            ),
        );
    }
    for (name, days) in [("server", "2"), ("expired", "0"), ("client", "2")] {
        openssl(
            directory,
            &format!(
                "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN={name} -keyout {name}.key \
                 -out {name}.csr"
            ),
        );
        openssl(
            directory,
            &format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days {days} -extfile names \
                 -out {name}.pem"
            ),
        );
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
