//! moto's S3.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use super::{Service, Site, answers};

const BUCKET: &str = "backups";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/s3.py");

pub(super) struct S3;

impl Service for S3 {
    fn name(&self) -> &'static str {
        "s3"
    }

    fn prepare(&self, _site: &Site) {}

    fn commands(&self, site: &Site) -> Vec<Command> {
        let mut command = Command::new(site.installed.join("python/bin/python"));
        let (host, port) = (site.address.ip().to_string(), site.address.port().to_string());
        command.args([SCRIPT, &host, &port]).arg(site.home.join("recording"));
        vec![command]
    }

    fn is_up(&self, site: &Site, _log: &str) -> bool {
        answers(site.address)
    }

    fn furnish(&self, site: &Site) {
        put(site, &format!("/{BUCKET}"), "");
    }

    fn uri(&self, _site: &Site, address: SocketAddr) -> String {
        format!("s3://{BUCKET}/tidegate?region=us-east-1&endpoint=http://{address}")
    }

    fn environment(&self, _site: &Site) -> Vec<(&'static str, OsString)> {
        vec![("AWS_ACCESS_KEY_ID", "gateway".into()), ("AWS_SECRET_ACCESS_KEY", "secret".into())]
    }

    fn wrong_environment(&self, site: &Site) -> Vec<(&'static str, OsString)> {
        // From now on moto looks at credentials, and it knows none.
        put(site, "/moto-api/reset-auth", "0");
        self.environment(site)
    }
}

/// A request of a few bytes, which must succeed.
fn put(site: &Site, path: &str, body: &str) {
    let method = if path.starts_with("/moto-api") { "POST" } else { "PUT" };
    let mut connection = TcpStream::connect(site.address).expect("the server answers");
    // moto finds out by the signature's scope which service is meant.
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: {}\r\nContent-Length: {}\r\nAuthorization: AWS4-HMAC-SHA256 \
         Credential=x/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0\r\n\r\n{body}",
        site.address,
        body.len(),
    );
    connection.write_all(request.as_bytes()).expect("the server answers");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("the server answers");
    assert!(answer.split(' ').nth(1) == Some("200"), "{answer}");
}
