//! A whole emulated ARM machine with a disk, a network card and a serial console, whose power can be cut.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use super::program::Console;
use super::skip::skip;

/// Longest wait for something the machine does: it is some thirty times slower than this one.
const MACHINE_MAX: Duration = Duration::from_secs(300);
/// Bytes of the drive that holds what is to be done; the rest is blank.
const SCRIPT_BYTES: usize = 16 << 10;
/// Port in the machine that is reached from here.
pub(crate) const GUEST_PORT: u16 = 9000;
/// This machine's loopback address as the other one sees it.
pub(crate) const HOST: [u8; 4] = [10, 0, 2, 2];
/// Ports of this machine that lead into the emulated one.
const PORTS: std::ops::Range<u16> = 18_000..19_000;

/// What `make reboot-test` prepared: the emulator, a kernel, and what is booted, with the program in it.
pub(crate) struct Board {
    machine: PathBuf,
    initrd: PathBuf,
    directory: tempfile::TempDir,
    port: u16,
}

impl Board {
    /// `None`, having said so, where nothing is prepared.
    pub(crate) fn find() -> Option<Self> {
        static NEXT_PORT: AtomicU16 = AtomicU16::new(0);
        let path = |name| std::env::var_os(name).map(PathBuf::from);
        let (Some(machine), Some(initrd)) = (path("TIDEGATE_MACHINE"), path("TIDEGATE_INITRD")) else {
            skip("an emulated board", "no TIDEGATE_MACHINE and TIDEGATE_INITRD: run `make reboot-test`");
            return None;
        };
        let taken = u16::try_from(std::process::id() % 1000).expect("below 1000");
        let nth = NEXT_PORT.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + (taken + nth) % (PORTS.end - PORTS.start);
        Some(Self { machine, initrd, directory: tempfile::tempdir().unwrap(), port })
    }

    /// Where the program in the machine is reached.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// The image of its disk.
    pub(crate) fn disk(&self) -> PathBuf {
        self.directory.path().join("disk")
    }

    /// Puts an empty disk of that many bytes in.
    pub(crate) fn insert_disk(&self, bytes: u64) {
        let disk = self.disk();
        std::fs::File::create(&disk).unwrap().set_len(bytes).unwrap();
        let made = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&disk).status();
        assert!(made.expect("mkfs.ext4 is installed").success());
    }

    /// Copies a directory of the disk, as it is when the machine is off, to `to`, without mounting it.
    pub(crate) fn copy_from_disk(&self, directory: &str, to: &Path) {
        // The file system's own journal comes first, as it does when it is mounted.
        drop(Command::new("e2fsck").args(["-fy"]).arg(self.disk()).output().expect("e2fsck is installed"));
        let request = format!("rdump {directory} {}", to.display());
        let copied = Command::new("debugfs").args(["-R", &request]).arg(self.disk()).output();
        assert!(copied.expect("debugfs is installed").status.success());
    }

    /// Switches it on. It does what the shell script says.
    pub(crate) fn boot(&self, script: &str) -> PoweredBoard {
        let drive = self.directory.path().join("script");
        assert!(script.len() < SCRIPT_BYTES);
        std::fs::write(&drive, format!("{script:SCRIPT_BYTES$}")).unwrap();
        let root = self.machine.join("qemu");
        let triple = format!("{}-linux-gnu", std::env::consts::ARCH);
        let libraries = ["usr/lib", "lib"].map(|folder| root.join(folder).join(&triple));
        let libraries = std::env::join_paths(libraries).unwrap();
        let mut qemu = Command::new(root.join("usr/bin/qemu-system-aarch64"));
        qemu.env("LD_LIBRARY_PATH", libraries).arg("-L").arg(root.join("usr/share/qemu"));
        qemu.args(["-M", "virt", "-cpu", "cortex-a72", "-m", "512", "-smp", "2", "-display", "none"]);
        qemu.args(["-serial", "stdio", "-monitor", "none", "-no-reboot"]);
        qemu.arg("-kernel").arg(self.machine.join("vmlinuz")).arg("-initrd").arg(&self.initrd);
        qemu.args(["-append", "console=ttyAMA0 rdinit=/init quiet loglevel=4"]);
        let drives = [("disk", self.disk()), ("script", drive)];
        for (name, path) in drives {
            let drive = format!("if=none,id={name},format=raw,cache=writeback,file={}", path.display());
            qemu.arg("-drive").arg(drive).arg("-device").arg(format!("nvme,drive={name},serial={name}"));
        }
        let net = format!("user,id=net,hostfwd=tcp:127.0.0.1:{}-:{GUEST_PORT}", self.port);
        qemu.arg("-netdev").arg(net).args(["-device", "virtio-net-device,netdev=net"]);
        let mut child = qemu
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the emulator is there");
        let keyboard = child.stdin.take().expect("it is captured");
        let console = Console::of(child.stdout.take().expect("it is captured"));
        PoweredBoard { child, keyboard, console }
    }
}

/// A machine that is on; it is switched off when dropped.
pub(crate) struct PoweredBoard {
    child: std::process::Child,
    keyboard: ChildStdin,
    console: Console,
}

impl PoweredBoard {
    /// Waits for the `count`th line on its console that contains `text`.
    pub(crate) fn wait_for(&self, text: &str, count: usize) -> String {
        self.console.wait_for(text, count, MACHINE_MAX)
    }

    /// Lines on the console so far that contain `text`.
    pub(crate) fn lines(&self, text: &str) -> Vec<String> {
        self.console.lines(text)
    }

    /// Types a line.
    pub(crate) fn type_line(&mut self, line: &str) {
        writeln!(self.keyboard, "{line}").expect("the machine is on");
    }

    /// Cuts its power.
    pub(crate) fn cut_power(&mut self) {
        self.child.kill().expect("the machine is on");
        self.child.wait().expect("it can be waited for");
    }

    /// Waits until it has switched itself off.
    pub(crate) fn wait_until_off(&mut self) {
        self.wait_for("MACHINE done", 1);
        self.child.wait().expect("it can be waited for");
    }
}

impl Drop for PoweredBoard {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
