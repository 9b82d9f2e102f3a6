//! Which profile fits a machine.

use super::catalogue::{GENERIC, profiles};
use super::machine::Machine;
use super::profile::BoardProfile;

/// A profile, and what was seen that speaks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Detected {
    pub(crate) profile: BoardProfile,
    pub(crate) because: String,
}

/// The profile for a machine: the one that knows the most specific name in its device tree and is for programs of its
/// architecture, if that is known, or else the generic one of the architecture.
pub(crate) fn detect(machine: &Machine) -> Detected {
    let known: Vec<BoardProfile> = profiles().collect();
    let named = machine.compatible.iter().find_map(|name| {
        let profile = known.iter().find(|profile| profile.compatible.contains(name))?;
        Some((name, profile))
    });
    let Some(architecture) = machine.architecture else {
        return match named {
            Some((name, profile)) => {
                let because = format!("the device tree says {name:?}; which programs it runs is not known");
                Detected { profile: profile.clone(), because }
            }
            None => {
                let because = "no profile is for the architecture of this machine's programs".to_owned();
                Detected { profile: BoardProfile::generic(), because }
            }
        };
    };
    let because = match named {
        Some((name, profile))
            if profile.build.as_ref().map(|build| build.architecture()) == Some(architecture) =>
        {
            let because = format!("the device tree says {name:?}");
            return Detected { profile: profile.clone(), because };
        }
        Some((name, profile)) => format!(
            "the device tree says {name:?}, but the profile {} is for other programs than {architecture}",
            profile.name
        ),
        None if machine.compatible.is_empty() => {
            format!("there is no device tree; programs are {architecture}")
        }
        None => {
            let names: Vec<String> = machine.compatible.iter().map(|name| format!("{name:?}")).collect();
            format!(
                "the device tree says {}, which no profile knows; programs are {architecture}",
                names.join(", ")
            )
        }
    };
    let profile = BoardProfile::find(architecture.generic_profile()).unwrap_or_else(BoardProfile::generic);
    debug_assert!(profile.name != GENERIC, "a test looks for each");
    Detected { profile, because }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::architecture::Architecture;
    use crate::board::machine::tests::machine;

    fn detected(architecture: Architecture, compatible: &str) -> (String, String) {
        let files = [("proc/device-tree/compatible", compatible)];
        let files = if compatible.is_empty() { &files[..0] } else { &files[..] };
        let Detected { profile, because } = detect(&machine(architecture, files));
        (profile.name, because)
    }

    #[test]
    fn boards_are_known_by_their_device_trees() {
        for (compatible, name) in [
            ("raspberrypi,model-zero-2-w\0brcm,bcm2837\0", "raspberry-pi-zero-2-w"),
            ("raspberrypi,3-model-b-plus\0brcm,bcm2837\0", "raspberry-pi-3b-plus"),
            ("raspberrypi,4-model-b\0brcm,bcm2711\0", "raspberry-pi-4"),
            ("raspberrypi,5-model-b\0brcm,bcm2712\0", "raspberry-pi-5"),
            ("fsl,imx8mm-evk\0fsl,imx8mm\0", "nxp-imx8m-mini"),
            // A module of another maker: its own name is not known, that of its processor is.
            ("variscite,var-som-mx8mm\0fsl,imx8mm\0", "nxp-imx8m-mini"),
            ("radxa,rock3a\0rockchip,rk3568\0", "rock-3a"),
        ] {
            assert_eq!(detected(Architecture::Aarch64, compatible).0, name);
        }
        let bone = "ti,am335x-bone-black\0ti,am335x-bone\0ti,am33xx\0";
        let (name, because) = detected(Architecture::Armv7, bone);
        assert_eq!(
            (name.as_str(), because.as_str()),
            ("beaglebone-black", "the device tree says \"ti,am335x-bone-black\"")
        );
    }

    #[test]
    fn what_no_profile_knows_is_generic_and_says_why() {
        let (name, because) = detected(Architecture::Amd64, "");
        assert_eq!(
            (name.as_str(), because.as_str()),
            ("generic-amd64", "there is no device tree; programs are amd64")
        );
        let (name, because) = detected(Architecture::Armv7, "allwinner,sun8i-h3\0");
        assert_eq!(name, "generic-armv7");
        assert!(because.contains("\"allwinner,sun8i-h3\", which no profile knows"), "{because}");
        assert_eq!(detect(&Machine::default()).profile.name, "generic");
        let compatible = vec!["raspberrypi,4-model-b".to_owned(), "brcm,bcm2711".to_owned()];
        let detected = detect(&Machine { compatible, ..Machine::default() });
        assert_eq!(detected.profile.name, "raspberry-pi-4", "a device tree is enough");
    }

    #[test]
    fn a_32_bit_program_on_a_64_bit_board_gets_the_generic_profile_of_its_own() {
        let (name, because) = detected(Architecture::Armv7, "raspberrypi,4-model-b\0brcm,bcm2711\0");
        assert_eq!(name, "generic-armv7");
        assert!(because.contains("raspberry-pi-4 is for other programs than armv7"), "{because}");
    }
}
