//! A profile beside a machine: what keeps it from running there, and what merely differs.

use std::fmt;

use super::architecture::Architecture;
use super::kernel::KernelVersion;
use super::machine::Machine;
use super::profile::{BoardProfile, Storage};
use crate::config::size_text;

/// Percent of a board's memory that firmware and kernel may keep before programs see any of it.
const FIRMWARE_PERCENT_MAX: u64 = 25;

/// Why a job of a profile cannot run on a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// The programs of this machine are of another architecture.
    Architecture {
        /// `None`: one that no profile is for.
        program: Option<Architecture>,
        board: String,
        wanted: Architecture,
    },
    /// The kernel is older than the profile's oldest.
    Kernel { found: KernelVersion, board: String, oldest: KernelVersion },
    /// The processor lacks what programs for the board use.
    CpuFeatures { board: String, missing: Vec<String> },
}

impl Obstacle {
    /// Everything that is in the way. What is not known of the machine is not.
    pub(crate) fn between(profile: &BoardProfile, machine: &Machine) -> Vec<Self> {
        let board = || profile.name.clone();
        if let Some(wanted) = profile.build.as_ref().map(|build| build.architecture())
            && machine.architecture != Some(wanted)
        {
            // Another architecture's features are no answer.
            return vec![Self::Architecture { program: machine.architecture, board: board(), wanted }];
        }
        Self::beside_architecture(profile, machine)
    }

    /// What is in the way besides, on a machine of the right architecture or of one that is not known.
    pub(crate) fn beside_architecture(profile: &BoardProfile, machine: &Machine) -> Vec<Self> {
        let board = || profile.name.clone();
        let mut found = Vec::new();
        let Some(hardware) = &profile.machine else { return found };
        if let Some(kernel) = machine.kernel.filter(|kernel| *kernel < hardware.kernel_min) {
            found.push(Self::Kernel { found: kernel, board: board(), oldest: hardware.kernel_min });
        }
        let is_missing = |feature: &&String| !machine.cpu_features.contains(feature);
        let missing: Vec<String> = hardware.cpu_features.iter().filter(is_missing).cloned().collect();
        if !machine.cpu_features.is_empty() && !missing.is_empty() {
            found.push(Self::CpuFeatures { board: board(), missing });
        }
        found
    }

    /// What to do about it.
    pub(crate) fn help(&self) -> String {
        match self {
            Self::Architecture { board, program, .. } => {
                let own = program.map_or("generic", Architecture::generic_profile);
                format!(
                    "build the program for it with `make dist BOARD={board}`; `tidegate check --elsewhere` compares the \
                     job with the profile only; for this machine choose \"{own}\" or \"detect\""
                )
            }
            Self::Kernel { .. } => {
                "update the system, or choose the profile \"generic\", at your own risk".to_owned()
            }
            Self::CpuFeatures { .. } => {
                "choose the board that this is, if there is one (`tidegate board list`), and its program; or \"generic\", at your \
                 own risk: a program that uses what the processor lacks is ended in the middle"
                    .to_owned()
            }
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Architecture { program: Some(program), board, wanted } => {
                write!(f, "this program is for {program}, but the board {board} is {wanted}")
            }
            Self::Architecture { program: None, board, wanted } => {
                write!(
                    f,
                    "this program is for another architecture than {wanted}, which the board {board} is"
                )
            }
            Self::Kernel { found, board, oldest } => {
                write!(f, "the kernel is {found}, but the board {board} needs {oldest} or newer")
            }
            Self::CpuFeatures { board, missing } => {
                write!(
                    f,
                    "the processor lacks {}, which programs for the board {board} use",
                    missing.join(", ")
                )
            }
        }
    }
}

/// What a machine has otherwise than its profile says. None of it keeps a job from running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Difference {
    /// Bytes of memory: less than firmware and kernel account for.
    LessMemory { here: u64, profile: u64 },
    /// Bytes of memory.
    MoreMemory { here: u64, profile: u64 },
    /// Processors.
    Cores { here: usize, profile: usize },
    /// What the root file system lies on.
    Storage { here: Storage, profile: Storage },
    /// By its device tree it is another board.
    Board { name: String, because: String },
}

impl Difference {
    /// Whether the profile's defaults may be wrong here, and not merely modest.
    pub(crate) fn is_doubtful(&self) -> bool {
        !matches!(self, Self::MoreMemory { .. })
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LessMemory { here, profile } => {
                let (here, profile) = (size_text(*here), size_text(*profile));
                write!(f, "it has {here} of memory, the profile {profile}: check what jobs may take")
            }
            Self::MoreMemory { here, profile } => {
                let (here, profile) = (size_text(*here), size_text(*profile));
                write!(f, "it has {here} of memory, the profile {profile}: jobs may have a larger memory-max")
            }
            Self::Cores { here, profile } => {
                write!(f, "it has {here} cores, the profile {profile}: set `threads`")
            }
            Self::Storage { here, profile } => {
                let (here, profile) = (here.name(), profile.name());
                write!(
                    f,
                    "its root file system is on {here}, the profile's on {profile}: set `sync` of [journal]"
                )
            }
            Self::Board { name, because } => write!(f, "it is a {name}: {because}"),
        }
    }
}

/// Compares a machine with a profile; what is not known of the machine does not differ.
pub(crate) fn differences(profile: &BoardProfile, machine: &Machine) -> Vec<Difference> {
    let Some(hardware) = &profile.machine else { return Vec::new() };
    let mut found = Vec::new();
    let all = hardware.memory_bytes();
    match machine.memory_bytes {
        Some(here) if here < all / 100 * (100 - FIRMWARE_PERCENT_MAX) => {
            found.push(Difference::LessMemory { here, profile: all });
        }
        Some(here) if here > all => found.push(Difference::MoreMemory { here, profile: all }),
        Some(_) | None => {}
    }
    if let (Some(here), Some(cores)) = (machine.cores, hardware.cores)
        && here != cores
    {
        found.push(Difference::Cores { here, profile: cores });
    }
    if let Some(here) = machine.storage.filter(|storage| *storage != hardware.storage) {
        found.push(Difference::Storage { here, profile: hardware.storage });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(profile: &BoardProfile, machine: &Machine) -> Vec<String> {
        differences(profile, machine).iter().map(ToString::to_string).collect()
    }

    fn pi_4() -> (BoardProfile, Machine) {
        let machine = Machine {
            architecture: Some(Architecture::Aarch64),
            kernel: "6.1".parse().ok(),
            cpu_features: ["fp", "asimd", "crc32", "cpuid"].map(str::to_owned).into(),
            cores: Some(4),
            memory_bytes: Some(906 << 20),
            storage: Some(Storage::Sd),
            ..Machine::default()
        };
        (BoardProfile::find("raspberry-pi-4").unwrap(), machine)
    }

    #[test]
    fn a_board_has_nothing_against_its_own_profile() {
        let (profile, machine) = pi_4();
        assert_eq!(Obstacle::between(&profile, &machine), []);
        assert_eq!(differences(&profile, &machine), []);
        let unknown = Machine { architecture: Some(Architecture::Aarch64), ..Machine::default() };
        assert_eq!(Obstacle::between(&profile, &unknown), []);
        assert_eq!(Obstacle::between(&BoardProfile::generic(), &Machine::default()), []);
    }

    #[test]
    fn obstacles_name_what_is_there_and_what_is_needed() {
        let (_, machine) = pi_4();
        let said = |name: &str, machine: &Machine| {
            let profile = BoardProfile::find(name).unwrap();
            Obstacle::between(&profile, machine).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let amd64 = Machine { architecture: Some(Architecture::Amd64), ..machine.clone() };
        assert_eq!(
            said("raspberry-pi-4", &amd64),
            ["this program is for amd64, but the board raspberry-pi-4 is aarch64"]
        );
        let old = Machine { kernel: "5.4".parse().ok(), ..machine };
        assert_eq!(
            said("raspberry-pi-5", &old),
            [
                "the kernel is 5.4, but the board raspberry-pi-5 needs 6.1 or newer",
                "the processor lacks aes, pmull, sha1, sha2, atomics, fphp, asimdhp, asimdrdm, lrcpc, dcpop, asimddp, which \
                 programs for the board raspberry-pi-5 use",
            ]
        );
    }

    #[test]
    fn differences_say_both_sides() {
        let (profile, machine) = pi_4();
        let larger = Machine {
            memory_bytes: Some(7 << 30),
            cores: Some(2),
            storage: Some(Storage::Nvme),
            ..machine.clone()
        };
        assert_eq!(
            said(&profile, &larger),
            [
                "it has 7GiB of memory, the profile 1GiB: jobs may have a larger memory-max",
                "it has 2 cores, the profile 4: set `threads`",
                "its root file system is on nvme, the profile's on sd: set `sync` of [journal]",
            ]
        );
        let smaller = Machine { memory_bytes: Some(420 << 20), ..machine };
        assert_eq!(
            said(&profile, &smaller),
            ["it has 420MiB of memory, the profile 1GiB: check what jobs may take"]
        );
    }
}
