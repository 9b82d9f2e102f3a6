//! The profiles that the program comes with: the files of `boards/`.

use super::profile::BoardProfile;

/// The profile of a job that chooses none.
pub(crate) const GENERIC: &str = "generic";

macro_rules! catalogue {
    ($($name:literal),* $(,)?) => {
        /// Every profile by its name, with its text.
        const CATALOGUE: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../boards/", $name, ".toml")))),*];
    };
}

catalogue![
    "generic",
    "raspberry-pi-zero-2-w",
    "raspberry-pi-3b-plus",
    "raspberry-pi-4",
    "raspberry-pi-5",
    "beaglebone-black",
    "nxp-imx8m-mini",
    "rock-3a",
    "generic-aarch64",
    "generic-armv7",
    "generic-amd64",
];

/// The names of all profiles.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    CATALOGUE.iter().map(|(name, _)| *name)
}

/// The file of a profile.
pub(crate) fn profile_text(name: &str) -> Option<&'static str> {
    CATALOGUE.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// All profiles.
pub(crate) fn profiles() -> impl Iterator<Item = BoardProfile> {
    names().filter_map(BoardProfile::find)
}
