//! Hadoop's HDFS: a name node and a data node.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::process::Command;

use super::super::descriptors::start_child;
use super::{Service, Site, write};

const NAME_NODE: &str = "org.apache.hadoop.hdfs.server.namenode.NameNode";
const DATA_NODE: &str = "org.apache.hadoop.hdfs.server.datanode.DataNode";
/// What Hadoop 2.7 looks into, and later Java hides.
const OPENED: [&str; 4] = ["java.lang", "java.util", "java.net", "sun.nio.ch"];
const LOGGING: &str = "log4j.rootLogger=INFO,console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d{ABSOLUTE} %p %c{1} %m%n
";

pub(super) struct Hdfs;

impl Service for Hdfs {
    fn name(&self) -> &'static str {
        "hdfs"
    }

    fn prepare(&self, site: &Site) {
        let [data_port, ipc_port] = site.more_ports;
        prepare(site, Ports { name_node: site.address.port(), http: 0, data: data_port, ipc: ipc_port });
    }

    fn commands(&self, site: &Site) -> Vec<Command> {
        nodes(site)
    }

    fn is_up(&self, _site: &Site, log: &str) -> bool {
        // The name node has left its safe mode when it has the data node's report.
        log.contains("Successfully sent block report")
    }

    fn uri(&self, _site: &Site, address: SocketAddr) -> String {
        format!("hdfs://{address}/flink2")
    }

    fn environment(&self, _site: &Site) -> Vec<(&'static str, OsString)> {
        vec![("HADOOP_USER_NAME", "gateway".into())]
    }

    fn wrong_environment(&self, site: &Site) -> Vec<(&'static str, OsString)> {
        // Without Kerberos everybody is who they say.
        self.environment(site)
    }
}

/// The ports of both nodes; 0 is any.
pub(super) struct Ports {
    pub(super) name_node: u16,
    /// Of the name node.
    pub(super) http: u16,
    pub(super) data: u16,
    pub(super) ipc: u16,
}

/// Writes the configuration and formats the name node.
pub(super) fn prepare(site: &Site, ports: Ports) {
    let (home, host) = (site.home.display(), site.address.ip());
    let Ports { name_node, http, data, ipc } = ports;
    let core =
        [("fs.defaultFS", format!("hdfs://{host}:{name_node}")), ("hadoop.tmp.dir", format!("{home}/tmp"))];
    let hdfs = [
        ("dfs.replication", "1".to_owned()),
        // One user is all there is.
        ("dfs.permissions.enabled", "false".to_owned()),
        ("dfs.namenode.name.dir", format!("{home}/name")),
        ("dfs.datanode.data.dir", format!("{home}/data")),
        ("dfs.namenode.http-address", format!("{host}:{http}")),
        ("dfs.datanode.hostname", host.to_string()),
        ("dfs.datanode.address", format!("{host}:{data}")),
        ("dfs.datanode.http.address", format!("{host}:0")),
        ("dfs.datanode.ipc.address", format!("{host}:{ipc}")),
        ("dfs.namenode.datanode.registration.ip-hostname-check", "false".to_owned()),
        ("dfs.namenode.safemode.extension", "0".to_owned()),
        // It is in use as soon as it has a data node.
        ("dfs.namenode.safemode.min.datanodes", "1".to_owned()),
        ("dfs.heartbeat.interval", "1".to_owned()),
        // Temporary directories may be on a small disk.
        ("dfs.datanode.du.reserved", "0".to_owned()),
        ("dfs.namenode.resource.du.reserved", "0".to_owned()),
        ("dfs.namenode.fs-limits.min-block-size", "0".to_owned()),
    ];
    let conf = site.home.join("conf");
    write(&conf.join("core-site.xml"), &xml(&core));
    write(&conf.join("hdfs-site.xml"), &xml(&hdfs));
    write(&conf.join("log4j.properties"), LOGGING);
    for application in ["hdfs", "datanode"] {
        write(&conf.join(format!("webapps/{application}/WEB-INF/web.xml")), "<web-app/>\n");
    }
    let mut format = java(site, NAME_NODE);
    format.args(["-format", "-force", "-nonInteractive"]);
    format.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let status = start_child(&mut format).and_then(|mut child| child.wait());
    assert!(status.is_ok_and(|status| status.success()), "a name node cannot be formatted");
}

/// The name node and the data node.
pub(super) fn nodes(site: &Site) -> Vec<Command> {
    vec![java(site, NAME_NODE), java(site, DATA_NODE)]
}

fn java(site: &Site, class: &str) -> Command {
    let java = std::fs::read_to_string(site.installed.join("java")).expect("install.sh found Java");
    let mut command = Command::new(java.trim());
    for package in OPENED {
        command.args(["--add-opens", &format!("java.base/{package}=ALL-UNNAMED")]);
    }
    let class_path =
        format!("{}:{}/*", site.home.join("conf").display(), site.installed.join("hadoop").display());
    // A short life on a busy machine.
    command.args(["-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", &class_path, class]);
    command
}

fn xml(properties: &[(&str, String)]) -> String {
    let property = |(name, value): &(&str, String)| {
        format!("<property><name>{name}</name><value>{value}</value></property>\n")
    };
    format!("<configuration>\n{}</configuration>\n", properties.iter().map(property).collect::<String>())
}
