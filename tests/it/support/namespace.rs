//! A network namespace with a link to it, over which packets can be dropped. Needs root.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

use super::descriptors::start_child;

/// A namespace that is reached by one pair of virtual devices; removed when dropped.
pub(crate) struct Namespace {
    name: String,
    /// Where the namespace is reached.
    pub(crate) address: IpAddr,
    /// This side of the link.
    ours: IpAddr,
}

impl Namespace {
    /// Makes one. The error says what this machine lacks.
    pub(crate) fn new() -> Result<Self, String> {
        static COUNT: AtomicU8 = AtomicU8::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        let name = format!("tg{process}-{number}");
        // Of 198.18.0.0/15, which is set aside for tests of networks (RFC 2544), four addresses for each.
        let block = (process.wrapping_mul(8) + u32::from(number)) % (1 << 15);
        let address = |host: u32| IpAddr::from(Ipv4Addr::from(0xC612_0000 + block * 4 + host));
        let namespace = Self { name: name.clone(), address: address(2), ours: address(1) };
        ip(&["netns", "add", &name])?;
        let (outside, inside) = (format!("{name}a"), format!("{name}b"));
        ip(&["link", "add", &outside, "type", "veth", "peer", "name", &inside, "netns", &name])?;
        ip(&["addr", "add", &format!("{}/30", namespace.ours), "dev", &outside])?;
        ip(&["link", "set", &outside, "up"])?;
        ip(&["-n", &name, "addr", "add", &format!("{}/30", namespace.address), "dev", &inside])?;
        ip(&["-n", &name, "link", "set", &inside, "up"])?;
        ip(&["-n", &name, "link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// The command that starts a program inside.
    pub(crate) fn command(&self) -> Vec<String> {
        ["ip", "netns", "exec", &self.name].map(str::to_owned).to_vec()
    }

    /// Drops all packets from inside without a word; or no more.
    pub(crate) fn drop_all(&self, is_dropping: bool) {
        let act = if is_dropping { "add" } else { "del" };
        let route = ["-n", &self.name, "route", act, "blackhole", &format!("{}/32", self.ours)];
        ip(&route).expect("a route can be set where a link could");
    }

    /// Drops so many of a hundred packets, both ways. The error says what this machine lacks.
    pub(crate) fn lose(&self, percent: u8) -> Result<(), String> {
        let loss = format!("{percent}%");
        let (outside, inside) = (format!("{}a", self.name), format!("{}b", self.name));
        run("tc", &["qdisc", "replace", "dev", &outside, "root", "netem", "loss", &loss])?;
        run("tc", &["-n", &self.name, "qdisc", "replace", "dev", &inside, "root", "netem", "loss", &loss])
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The devices go with it. A failure leaves a namespace behind for whoever looks at the machine.
        ip(&["netns", "del", &self.name]).ok();
    }
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    run("ip", arguments)
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let mut command = Command::new(program);
    command.args(arguments).stderr(std::process::Stdio::piped());
    let output = start_child(&mut command).and_then(std::process::Child::wait_with_output);
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}
