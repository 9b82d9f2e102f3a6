//! The board that a job is for, as its file or the command line chooses it.

use std::fmt;

use super::architecture::Architecture;
use super::catalogue::GENERIC;
use super::compare::{Difference, Obstacle, differences};
use super::detect::detect;
use super::machine::Machine;
use super::profile::BoardProfile;
use crate::config::size_text;

/// In place of a name: the board that this machine is.
pub(crate) const DETECT: &str = "detect";

/// Where a job is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// On this machine, which is compared with the profile.
    Here,
    /// On another one: the profile is all that is known of it.
    Elsewhere,
}

/// A board that was chosen.
#[derive(Debug, Clone)]
pub(crate) struct ChosenBoard {
    pub(crate) profile: BoardProfile,
    /// What was seen, of a board that was detected.
    pub(crate) because: Option<String>,
    /// This machine, where it is compared with the profile.
    machine: Option<Machine>,
    /// What the job file says that the board has.
    memory_bytes: Option<u64>,
}

/// The memory of a board, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BoardMemory {
    pub(crate) all_bytes: u64,
    /// What the firmware keeps of it; none of what a running machine shows.
    pub(crate) firmware_bytes: u64,
    /// What the system keeps of the rest.
    pub(crate) system_bytes: u64,
    /// What a program may have for another reason.
    pub(crate) limit: Option<(u64, MemoryLimit)>,
}

/// Why a program may have less memory than there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemoryLimit {
    /// Its addresses have 32 bits.
    Addresses,
    /// Its control group's.
    ControlGroup,
}

impl fmt::Display for MemoryLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Addresses => "a 32-bit program",
            Self::ControlGroup => "the control group of this program",
        })
    }
}

/// What a program with addresses of 32 bits may have, in bytes: a half of them, for stacks, mapped files and what is lost
/// between allocations need room too.
const ADDRESSES_BYTES_MAX: u64 = 2 << 30;

/// Parts in four of a machine's memory at which the service `tidegate@` is ended: `MemoryMax=75%` of the unit.
const SERVICE_QUARTERS: u64 = 3;

impl BoardMemory {
    /// That of a machine of which nothing is kept.
    pub(crate) fn of_any(machine: &Machine) -> Option<Self> {
        let limit = machine.memory_limit.map(|limit| (limit, MemoryLimit::ControlGroup));
        Some(Self { all_bytes: machine.memory_bytes?, firmware_bytes: 0, system_bytes: 0, limit })
    }

    /// What is left for a job.
    pub(crate) fn left(&self) -> u64 {
        self.binding_limit().map_or(self.beside_system(), |(limit, _)| limit)
    }

    fn beside_system(&self) -> u64 {
        self.all_bytes.saturating_sub(self.kept())
    }

    /// What firmware and system keep.
    pub(crate) fn kept(&self) -> u64 {
        self.firmware_bytes.saturating_add(self.system_bytes)
    }

    /// The limit, when it is what leaves the least.
    pub(crate) fn binding_limit(&self) -> Option<(u64, MemoryLimit)> {
        self.limit.filter(|(limit, _)| *limit <= self.beside_system())
    }

    /// A clause that says the limit, when it is what leaves the least.
    pub(crate) fn limit_clause(&self) -> String {
        let clause = |(limit, whose)| format!(", and {whose} may have {}", size_text(limit));
        self.binding_limit().map(clause).unwrap_or_default()
    }

    /// What a job may take as a service before it is ended.
    pub(crate) fn of_service(&self) -> u64 {
        self.all_bytes.saturating_sub(self.firmware_bytes) / 4 * SERVICE_QUARTERS
    }
}

impl ChosenBoard {
    /// The board of a job that chooses none.
    pub(crate) fn generic() -> Self {
        Self { profile: BoardProfile::generic(), because: None, machine: None, memory_bytes: None }
    }

    /// The board of this name, or the one that this machine is; `None` when there is no such name. The machine is looked
    /// at where that is needed.
    pub(crate) fn named(name: &str, place: Place) -> Option<Self> {
        if name == DETECT {
            return Some(Self::of(Machine::here(), place));
        }
        let profile = BoardProfile::find(name)?;
        let is_compared = place == Place::Here && !profile.is_any_machine();
        let machine = is_compared.then(Machine::here);
        Some(Self { profile, because: None, machine, memory_bytes: None })
    }

    fn of(machine: Machine, place: Place) -> Self {
        let detected = detect(&machine);
        let machine = Some(machine).filter(|_| place == Place::Here);
        Self { profile: detected.profile, because: Some(detected.because), machine, memory_bytes: None }
    }

    /// Says how much memory the board has, where that is not what its profile says.
    pub(crate) fn set_memory_bytes(&mut self, bytes: u64) {
        self.memory_bytes = Some(bytes);
    }

    /// Whether it was chosen at all.
    pub(crate) fn is_generic(&self) -> bool {
        self.profile.name == GENERIC
    }

    /// Its memory: what this machine has, or else what the job file says, or else what the profile says.
    pub(crate) fn memory(&self) -> Option<BoardMemory> {
        let hardware = self.profile.machine.as_ref()?;
        let machine = self.machine.as_ref();
        let nominal = self.memory_bytes.unwrap_or(hardware.memory_bytes());
        let (all_bytes, firmware_bytes) = match machine.and_then(|machine| machine.memory_bytes) {
            Some(found) => (found, 0),
            None => (nominal, hardware.firmware_bytes(nominal)),
        };
        let architecture = self.profile.build.as_ref().map(|build| build.architecture());
        let addresses = (architecture == Some(Architecture::Armv7)).then_some(ADDRESSES_BYTES_MAX);
        let group = machine.and_then(|machine| machine.memory_limit);
        let limits = [(addresses, MemoryLimit::Addresses), (group, MemoryLimit::ControlGroup)];
        let limit =
            limits.into_iter().filter_map(|(bytes, why)| Some((bytes?, why))).min_by_key(|(bytes, _)| *bytes);
        Some(BoardMemory { all_bytes, firmware_bytes, system_bytes: hardware.system_bytes(), limit })
    }

    /// What keeps a job from running on this machine.
    pub(crate) fn obstacles(&self) -> Vec<Obstacle> {
        self.machine.iter().flat_map(|machine| Obstacle::between(&self.profile, machine)).collect()
    }

    /// What speaks against the profile's defaults on this machine.
    pub(crate) fn doubts(&self) -> Vec<Difference> {
        let Some(machine) = &self.machine else { return Vec::new() };
        let mut found = differences(&self.profile, machine);
        let detected = detect(machine);
        if !machine.compatible.is_empty() && detected.profile.name != self.profile.name {
            found.push(Difference::Board { name: detected.profile.name, because: detected.because });
        }
        found.retain(Difference::is_doubtful);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_at_the_desk_fits_on_the_board() {
        // What the boards' kernels show as MemTotal, in MiB.
        for (name, nominal, found) in [
            ("raspberry-pi-zero-2-w", 512, 417),
            ("raspberry-pi-3b-plus", 1024, 906),
            ("raspberry-pi-4", 1024, 906),
            ("raspberry-pi-4", 2048, 1850),
            ("raspberry-pi-4", 4096, 3794),
            ("raspberry-pi-4", 8192, 7811),
            ("raspberry-pi-5", 4096, 4050),
            ("raspberry-pi-5", 8192, 8063),
            ("beaglebone-black", 512, 494),
        ] {
            let mut desk = ChosenBoard::named(name, Place::Elsewhere).unwrap();
            desk.set_memory_bytes(nominal << 20);
            let machine = Machine { memory_bytes: Some(found << 20), ..Machine::default() };
            let board = ChosenBoard { machine: Some(machine), ..desk.clone() };
            let (desk, board) = (desk.memory().unwrap(), board.memory().unwrap());
            assert!(desk.left() <= board.left(), "{name}: {desk:?} at the desk, {board:?} there");
            assert!(desk.of_service() <= board.of_service(), "{name}: {desk:?} at the desk, {board:?} there");
        }
    }

    #[test]
    fn a_service_is_ended_where_its_unit_says() {
        let unit = include_str!("../../boards/service/tidegate@.service");
        assert!(unit.contains(&format!("\nMemoryMax={}%\n", SERVICE_QUARTERS * 25)));
    }

    #[test]
    fn addresses_and_control_groups_limit_what_is_left() {
        let mut small = ChosenBoard::named("generic-armv7", Place::Elsewhere).unwrap();
        small.set_memory_bytes(16 << 30);
        assert_eq!(small.memory().unwrap().left(), 2 << 30);
        let machine =
            Machine { memory_bytes: Some(8 << 30), memory_limit: Some(1 << 30), ..Machine::default() };
        let board = ChosenBoard { machine: Some(machine), ..small };
        assert_eq!(board.memory().unwrap().limit, Some((1 << 30, MemoryLimit::ControlGroup)));
        assert_eq!(board.memory().unwrap().left(), 1 << 30);
    }

    #[test]
    fn the_machine_itself_is_asked_before_the_file_and_the_profile() {
        let machine = Machine {
            architecture: Some(Architecture::Aarch64),
            compatible: vec!["raspberrypi,4-model-b".to_owned()],
            memory_bytes: Some(7 << 30),
            ..Machine::default()
        };
        let mut board = ChosenBoard::of(machine, Place::Here);
        assert_eq!(board.profile.name, "raspberry-pi-4");
        board.set_memory_bytes(4 << 30);
        assert_eq!(board.memory().unwrap().left(), (7 << 30) - (192 << 20));
        assert_eq!(board.doubts(), [], "more memory is no reason for a doubt");
        let mut board = ChosenBoard::named("raspberry-pi-4", Place::Elsewhere).unwrap();
        assert_eq!(board.memory().unwrap().left(), (1 << 30) - (128 << 20) - (192 << 20));
        board.set_memory_bytes(4 << 30);
        assert_eq!(board.memory().unwrap().left(), (4 << 30) - (384 << 20) - (192 << 20));
        assert_eq!((board.doubts(), board.obstacles()), (vec![], vec![]));
    }

    #[test]
    fn another_board_than_the_chosen_one_is_pointed_out() {
        let machine = Machine { compatible: vec!["raspberrypi,5-model-b".to_owned()], ..Machine::default() };
        let machine = Machine { architecture: Some(Architecture::Aarch64), ..machine };
        let mut board = ChosenBoard::named("raspberry-pi-4", Place::Elsewhere).unwrap();
        board.machine = Some(machine);
        let said = "it is a raspberry-pi-5: the device tree says \"raspberrypi,5-model-b\"";
        assert_eq!(board.doubts().iter().map(ToString::to_string).collect::<Vec<_>>(), [said]);
    }

    #[test]
    fn nothing_is_compared_with_the_generic_profile() {
        let board = ChosenBoard::named("generic", Place::Here).unwrap();
        assert!(board.machine.is_none() && board.memory().is_none() && board.is_generic());
        assert!(ChosenBoard::named("toaster", Place::Elsewhere).is_none());
        assert!(ChosenBoard::named("detect", Place::Elsewhere).unwrap().because.is_some());
    }
}
