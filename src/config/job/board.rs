//! `[board]`: what the job is to run on, and whether it can.

use super::section::{Keys, Section};
use crate::board::{ChosenBoard, DETECT, JobSize, Place, fit, names};
use crate::config::diagnostics::Diagnostic;
use crate::runtime::{MEMORY_MIN, Settings};

pub(super) const BOARD_KEYS: Keys = Keys { section: "board", common: &["profile", "memory"], of_type: &[] };

/// The board; the generic one where none is chosen, or none that there is.
pub(super) fn board(section: &Section<'_>, place: Place) -> ChosenBoard {
    section.check_keys(&BOARD_KEYS, None);
    let known: Vec<(&'static str, &'static str)> = names().chain([DETECT]).map(|name| (name, name)).collect();
    let chosen = section.choice("profile", &known).and_then(|name| ChosenBoard::named(name.value, place));
    let mut board = chosen.unwrap_or_else(ChosenBoard::generic);
    if let Some(bytes) = section.size("memory", MEMORY_MIN..=u64::MAX) {
        if board.is_generic() {
            let fault = Diagnostic::new("`memory` of [board] is that of a board, and none is chosen");
            let help = "give a `profile` too, such as \"raspberry-pi-4\"; the limit of a job is `memory-max` of [job]";
            section.report(fault.at(&section.place("memory")).help(help));
        }
        board.set_memory_bytes(bytes);
    }
    board
}

/// Refuses a job that cannot run on this machine, or that has no room on the board.
pub(super) fn check_board(
    board: &ChosenBoard,
    section: &Section<'_>,
    job: &Section<'_>,
    settings: &Settings,
    size: JobSize,
) {
    let at = section.place("profile");
    for obstacle in board.obstacles() {
        let fault = Diagnostic::new(obstacle.to_string()).at(&at).label("for this board");
        section.report(fault.help(obstacle.help()));
    }
    let Some(memory) = board.memory() else { return };
    if let Err(misfit) = fit(&board.profile.name, memory, settings, size) {
        let is_given = job.node("memory-max").is_some();
        let fault = Diagnostic::new(misfit.to_string());
        let fault = if is_given {
            fault.at(&job.place("memory-max")).also(&at, "on this board")
        } else {
            fault.at(&at).label("its default for memory-max")
        };
        section.report(fault.help(misfit.help()));
    }
}
