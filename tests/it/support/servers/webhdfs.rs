//! WebHDFS: the nodes of `hdfs`, and before the name node what it lacks (`tests/servers/webhdfs.py`).

use std::ffi::OsString;
use std::net::SocketAddr;
use std::process::Command;

use super::hdfs::{Ports, nodes, prepare};
use super::{Service, Site};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/webhdfs.py");

pub(super) struct WebHdfs;

impl Service for WebHdfs {
    fn name(&self) -> &'static str {
        "webhdfs"
    }

    fn prepare(&self, site: &Site) {
        let [name_node, http] = site.more_ports;
        prepare(site, Ports { name_node, http, data: 0, ipc: 0 });
    }

    fn commands(&self, site: &Site) -> Vec<Command> {
        let [_, http] = site.more_ports;
        let mut command = Command::new(site.installed.join("python/bin/python"));
        let (host, port) = (site.address.ip().to_string(), site.address.port().to_string());
        command.args([SCRIPT, &host, &port, &http.to_string()]);
        let mut commands = nodes(site);
        commands.push(command);
        commands
    }

    fn is_up(&self, _site: &Site, log: &str) -> bool {
        log.contains("serves")
    }

    fn uri(&self, _site: &Site, address: SocketAddr) -> String {
        format!("webhdfs://{address}/flink2")
    }

    fn environment(&self, _site: &Site) -> Vec<(&'static str, OsString)> {
        vec![("HADOOP_USER_NAME", "gateway".into())]
    }

    fn wrong_environment(&self, site: &Site) -> Vec<(&'static str, OsString)> {
        // Without Kerberos everybody is who they say.
        self.environment(site)
    }
}
