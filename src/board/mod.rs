//! Boards: what is known of a kind of machine, and the defaults of a job that follow from it.
//!
//! ```text
//!   boards/*.toml ──catalogue──▶ BoardProfile ──▶ Settings of a job
//!   /proc, /sys ──machine──▶ Machine ──detect──▶ the profile that fits it
//!                               └──compare──▶ what keeps a profile from this machine, what merely differs
//!   Settings + what the job consists of ──fit──▶ whether the board's memory is enough, with every number
//! ```
//!
//! Profiles are part of the program. Machines are read at the edge (`machine`); everything else decides from what was
//! read and touches nothing. The profile `generic` is the default: it says nothing of a machine, so that nothing is
//! compared with it and no job is refused for it.

mod architecture;
mod catalogue;
mod choice;
mod compare;
mod detect;
mod fit;
mod kernel;
mod machine;
mod profile;
#[cfg(test)]
mod profile_tests;

pub(crate) use catalogue::{names, profile_text, profiles};
pub(crate) use choice::{BoardMemory, ChosenBoard, DETECT, Place};
pub(crate) use compare::{Obstacle, differences};
pub(crate) use detect::detect;
pub(crate) use fit::{JobSize, fit};
pub(crate) use machine::Machine;
pub use profile::BoardProfile;
