//! What is known of a machine: read from `/proc` and `/sys`, each fact where the kernel tells it.
//!
//! ```text
//!   sys/firmware/devicetree/base/compatible   the board, NUL-separated, the most specific name first
//!   sys/firmware/devicetree/base/model        its name for people
//!   proc/sys/kernel/osrelease     the kernel
//!   proc/sys/kernel/arch          its architecture, since Linux 6.1, or else what proc/cpuinfo looks like; of this machine
//!                                 the program's is taken
//!   proc/cpuinfo                  processors, and their features (`Features` on ARM, `flags` on x86)
//!   proc/meminfo                  MemTotal: what firmware and kernel have left
//!   proc/self/cgroup              this program's control group (version 2), whose limit and whose parents' are below sys/fs/cgroup
//!   proc/self/mountinfo           the device of the root file system, and then
//!   sys/dev/block/M:N/uevent      its name, and sys/block/NAME/device/type or queue/rotational
//! ```
//!
//! Where there is no device tree it is looked for as `proc/device-tree`. The kernel has an absolute link to the same there, which
//! below another root would lead to this machine's, and is not followed. A service may see little of `/proc`: kernel, memory and processors
//! of this machine are then asked for by system calls; processor features stay unknown.

use std::path::Path;

use super::architecture::Architecture;
use super::kernel::KernelVersion;
use super::profile::Storage;
use crate::disk::{RealDisk, read_whole};

/// Most that is read of a file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where the device tree is.
const DEVICE_TREES: [&str; 2] = ["sys/firmware/devicetree/base", "proc/device-tree"];

/// Control groups above this program's that are looked at, at most.
const CGROUPS_MAX: usize = 64;

/// A machine, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Machine {
    /// That of the programs it runs.
    pub(crate) architecture: Option<Architecture>,
    /// Of the device tree, the most specific first; empty without one.
    pub(crate) compatible: Vec<String>,
    /// Its name in the device tree.
    pub(crate) model: Option<String>,
    pub(crate) kernel: Option<KernelVersion>,
    /// Empty: not known.
    pub(crate) cpu_features: Vec<String>,
    pub(crate) cores: Option<usize>,
    /// What programs and kernel have, without what the firmware keeps.
    pub(crate) memory_bytes: Option<u64>,
    /// What the control group of this program may have.
    pub(crate) memory_limit: Option<u64>,
    /// What the root file system lies on.
    pub(crate) storage: Option<Storage>,
}

/// Gives the bytes of a file, where there is one.
type ReadFile<'a> = &'a dyn Fn(&str) -> Option<Vec<u8>>;

impl Machine {
    /// The one this program runs on.
    pub(crate) fn here() -> Self {
        let file = files_below(Path::new("/"));
        let read = Self::read(&file, Architecture::of_program());
        let release = || rustix::system::uname().release().to_string_lossy().parse().ok();
        let memory = || {
            let info = rustix::system::sysinfo();
            info.totalram as u64 * u64::from(info.mem_unit)
        };
        let cores = || std::thread::available_parallelism().ok().map(usize::from);
        Self {
            kernel: read.kernel.or_else(release),
            memory_bytes: read.memory_bytes.or_else(|| Some(memory())),
            cores: read.cores.or_else(cores),
            memory_limit: memory_limit(&file),
            ..read
        }
    }

    /// The one whose `/proc` and `/sys` are copied to, or mounted at, `root`; `None` when nothing is known of it.
    pub(crate) fn at(root: &Path) -> Option<Self> {
        let file = files_below(root);
        let link = Path::new(DEVICE_TREES[1]);
        let leads_here = root.join(link).read_link().is_ok_and(|target| target.is_absolute());
        Self::elsewhere(&|path| file(path).filter(|_| !(leads_here && Path::new(path).starts_with(link))))
    }

    fn elsewhere(file: ReadFile<'_>) -> Option<Self> {
        let architecture = match file("proc/sys/kernel/arch") {
            Some(name) => Architecture::of_kernel(text(&name).trim()),
            None => file("proc/cpuinfo").and_then(|cpuinfo| architecture_of(&text(&cpuinfo))),
        };
        let machine = Self::read(file, architecture);
        (machine != Self::default()).then_some(machine)
    }

    fn read(file: ReadFile<'_>, architecture: Option<Architecture>) -> Self {
        let read = |path: &str| file(path).map(|bytes| text(&bytes)).unwrap_or_default();
        let words = |bytes: Vec<u8>| {
            let words = bytes.split(|byte| *byte == 0).map(text);
            words.filter(|word| !word.is_empty()).collect::<Vec<_>>()
        };
        let tree = DEVICE_TREES.iter().find(|folder| file(&format!("{folder}/compatible")).is_some());
        let device_tree = |name: &str| {
            let found = tree.and_then(|folder| file(&format!("{folder}/{name}")));
            found.map(words).unwrap_or_default()
        };
        let cpuinfo = read("proc/cpuinfo");
        Self {
            architecture,
            compatible: device_tree("compatible"),
            model: device_tree("model").into_iter().next(),
            kernel: read("proc/sys/kernel/osrelease").parse().ok(),
            cpu_features: cpu_features(&cpuinfo, architecture),
            cores: Some(values(&cpuinfo, "processor").count()).filter(|count| *count > 0),
            memory_bytes: values(&read("proc/meminfo"), "MemTotal").next().and_then(kibibytes),
            memory_limit: None,
            storage: storage(&read("proc/self/mountinfo"), &read),
        }
    }
}

fn files_below(root: &Path) -> impl Fn(&str) -> Option<Vec<u8>> {
    move |path| read_whole(&RealDisk, &root.join(path), FILE_BYTES_MAX).ok()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What stands behind `name` and a colon, in each line that has it.
fn values<'a>(lines: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    lines.lines().filter_map(move |line| {
        let (found, value) = line.split_once(':')?;
        (found.trim() == name).then(|| value.trim())
    })
}

/// Those of the first processor: the kernel shows only what all have. An emulator may show another architecture's: none.
fn cpu_features(cpuinfo: &str, architecture: Option<Architecture>) -> Vec<String> {
    let name = match architecture {
        Some(Architecture::Amd64) => "flags",
        Some(Architecture::Aarch64 | Architecture::Armv7) | None => "Features",
    };
    let mut features: Vec<String> =
        values(cpuinfo, name).next().unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    // A 64-bit kernel has other names for what every such processor can do in 32 bits.
    if architecture == Some(Architecture::Armv7) && features.iter().any(|feature| feature == "asimd") {
        features.extend(["thumb", "vfp", "vfpv3", "vfpv4", "neon"].map(str::to_owned));
    }
    features
}

/// The architecture whose kernel writes this.
fn architecture_of(cpuinfo: &str) -> Option<Architecture> {
    if values(cpuinfo, "flags").next().is_some_and(|flags| flags.split(' ').any(|flag| flag == "lm")) {
        return Some(Architecture::Amd64);
    }
    match values(cpuinfo, "CPU architecture").next() {
        Some("8") => Some(Architecture::Aarch64),
        Some("7") => Some(Architecture::Armv7),
        _ => None,
    }
}

/// The least that this program's control group and those above it may have, in bytes; of version 2 only.
fn memory_limit(file: ReadFile<'_>) -> Option<u64> {
    let groups = text(&file("proc/self/cgroup")?);
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let limit = |group: &Path| {
        let limit = file(group.join("memory.max").to_str()?)?;
        text(&limit).trim().parse::<u64>().ok()
    };
    let group = Path::new("sys/fs/cgroup").join(group);
    group
        .ancestors()
        .take(CGROUPS_MAX)
        .take_while(|group| group.starts_with("sys/fs/cgroup"))
        .filter_map(limit)
        .min()
}

fn kibibytes(value: &str) -> Option<u64> {
    value.strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// What the root file system lies on; `None` where that is no one disk, or of no kind that is known.
fn storage(mountinfo: &str, read: &dyn Fn(&str) -> String) -> Option<Storage> {
    let root = mountinfo.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let device = fields.nth(2)?;
        (fields.nth(1)? == "/").then_some(device)
    })?;
    let uevent = read(&format!("sys/dev/block/{root}/uevent"));
    let partition = uevent.lines().find_map(|line| line.strip_prefix("DEVNAME="))?;
    let number_cut = partition.trim_end_matches(|c: char| c.is_ascii_digit());
    if partition.starts_with("nvme") {
        return Some(Storage::Nvme);
    }
    if partition.starts_with("mmcblk") {
        // mmcblk0p2 is a part of mmcblk0.
        let disk = number_cut.strip_suffix('p').unwrap_or(partition);
        return match read(&format!("sys/block/{disk}/device/type")).trim() {
            "SD" => Some(Storage::Sd),
            "MMC" => Some(Storage::Emmc),
            _ => None,
        };
    }
    let is_still = read(&format!("sys/block/{number_cut}/queue/rotational")).trim() == "0";
    (partition.starts_with("sd") && is_still).then_some(Storage::Ssd)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A machine with these files.
    pub(crate) fn machine(architecture: Architecture, files: &[(&str, &str)]) -> Machine {
        let file = |path: &str| {
            let found = files.iter().find(|(known, _)| *known == path);
            found.map(|(_, text)| text.as_bytes().to_vec())
        };
        Machine::read(&file, Some(architecture))
    }

    const PI_4: &[(&str, &str)] = &[
        ("proc/device-tree/compatible", "raspberrypi,4-model-b\0brcm,bcm2711\0"),
        ("proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0"),
        ("proc/sys/kernel/osrelease", "6.1.21-v8+\n"),
        (
            "proc/cpuinfo",
            "processor\t: 0\nFeatures\t: fp asimd evtstrm crc32 cpuid\n\nprocessor\t: 1\nFeatures\t: fp asimd\n\n\
             processor\t: 2\n\nprocessor\t: 3\n\nHardware\t: BCM2835\n",
        ),
        ("proc/meminfo", "MemTotal:        3885396 kB\nMemFree:         3000000 kB\n"),
        (
            "proc/self/mountinfo",
            "22 26 0:21 / /proc rw - proc proc rw\n26 1 179:2 / / rw,noatime shared:1 - ext4 /dev/root rw\n",
        ),
        ("sys/dev/block/179:2/uevent", "MAJOR=179\nMINOR=2\nDEVNAME=mmcblk0p2\nDEVTYPE=partition\n"),
        ("sys/block/mmcblk0/device/type", "SD\n"),
    ];

    #[test]
    fn a_board_is_read_from_its_files() {
        let pi = machine(Architecture::Aarch64, PI_4);
        assert_eq!(pi.compatible, ["raspberrypi,4-model-b", "brcm,bcm2711"]);
        assert_eq!(pi.model.as_deref(), Some("Raspberry Pi 4 Model B Rev 1.4"));
        assert_eq!(pi.kernel, Some("6.1".parse().unwrap()));
        assert_eq!(pi.cpu_features, ["fp", "asimd", "evtstrm", "crc32", "cpuid"]);
        assert_eq!((pi.cores, pi.memory_bytes), (Some(4), Some(3_885_396 << 10)));
        assert_eq!(pi.storage, Some(Storage::Sd));
    }

    #[test]
    fn the_device_tree_is_found_where_proc_is_hidden() {
        let files = [("sys/firmware/devicetree/base/compatible", "radxa,rock3a\0rockchip,rk3568\0")];
        assert_eq!(machine(Architecture::Aarch64, &files).compatible, ["radxa,rock3a", "rockchip,rk3568"]);
    }

    #[test]
    fn of_another_machine_the_architecture_is_told_by_its_processors() {
        let at = |files: &[(&str, &str)]| {
            let file = |path: &str| {
                let found = files.iter().find(|(known, _)| *known == path);
                found.map(|(_, text)| text.as_bytes().to_vec())
            };
            Machine::elsewhere(&file).map(|machine| machine.architecture)
        };
        for (cpuinfo, architecture) in [
            ("processor\t: 0\nCPU architecture: 8\n", Some(Architecture::Aarch64)),
            ("processor\t: 0\nCPU architecture: 7\n", Some(Architecture::Armv7)),
            ("processor\t: 0\nflags\t: fpu lm sse2\n", Some(Architecture::Amd64)),
            ("processor\t: 0\nhart\t: 0\n", None),
        ] {
            assert_eq!(at(&[("proc/cpuinfo", cpuinfo)]), Some(architecture), "{cpuinfo}");
        }
        assert_eq!(
            at(&[("proc/sys/kernel/arch", "riscv64\n"), ("proc/cpuinfo", "processor: 0\n")]),
            Some(None)
        );
        assert_eq!(at(&[]), None, "nothing is there");
    }

    #[test]
    fn the_least_limit_of_the_control_groups_counts() {
        let files = [
            ("proc/self/cgroup", "0::/system.slice/it.service\n"),
            ("sys/fs/cgroup/system.slice/it.service/memory.max", "max\n"),
            ("sys/fs/cgroup/system.slice/memory.max", "4096\n"),
            ("sys/fs/cgroup/memory.max", "8192\n"),
        ];
        let limit = |from: usize| {
            memory_limit(&|path: &str| {
                let found = files[from..].iter().find(|(known, _)| *known == path);
                found.map(|(_, text)| text.as_bytes().to_vec())
            })
        };
        assert_eq!((limit(0), limit(1)), (Some(4096), None));
    }

    #[test]
    fn what_a_32_bit_program_uses_is_found_under_a_64_bit_kernel() {
        let features = machine(Architecture::Armv7, PI_4).cpu_features;
        assert!(features.iter().any(|feature| feature == "vfpv3"), "{features:?}");
    }

    #[test]
    fn another_architectures_features_are_not_taken_for_ours() {
        let x86 = [("proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu sse2 lm\n")];
        assert_eq!(machine(Architecture::Aarch64, &x86).cpu_features, Vec::<String>::new());
        assert_eq!(machine(Architecture::Amd64, &x86).cpu_features, ["fpu", "sse2", "lm"]);
    }

    #[test]
    fn storage_is_told_by_its_device() {
        let of = |name: &str, more: &[(&str, &str)]| {
            let uevent = format!("DEVNAME={name}\n");
            let mut files = vec![
                ("proc/self/mountinfo", "26 1 8:1 / / rw - ext4 /dev/root rw\n"),
                ("sys/dev/block/8:1/uevent", uevent.as_str()),
            ];
            files.extend(more);
            machine(Architecture::Aarch64, &files).storage
        };
        assert_eq!(of("nvme0n1p2", &[]), Some(Storage::Nvme));
        assert_eq!(of("mmcblk1p1", &[("sys/block/mmcblk1/device/type", "MMC\n")]), Some(Storage::Emmc));
        assert_eq!(of("mmcblk1", &[("sys/block/mmcblk1/device/type", "MMC\n")]), Some(Storage::Emmc));
        assert_eq!(of("sda1", &[("sys/block/sda/queue/rotational", "0\n")]), Some(Storage::Ssd));
        assert_eq!(of("sda1", &[("sys/block/sda/queue/rotational", "1\n")]), None);
        assert_eq!(of("vda", &[("sys/block/vda/queue/rotational", "0\n")]), None);
    }

    #[test]
    fn of_a_machine_without_files_nothing_is_known() {
        let nothing = Machine { architecture: Some(Architecture::Amd64), ..Machine::default() };
        assert_eq!(machine(Architecture::Amd64, &[]), nothing);
        let garbage =
            [("proc/meminfo", "MemTotal: much\n"), ("proc/self/mountinfo", "a b\n\n"), ("proc/cpuinfo", ":")];
        assert_eq!(machine(Architecture::Amd64, &garbage), nothing);
    }

    #[test]
    fn this_machine_has_processors_and_memory() {
        let here = Machine::here();
        assert!(
            here.cores.is_some() && here.memory_bytes > Some(1 << 20) && here.kernel.is_some(),
            "{here:?}"
        );
    }
}
