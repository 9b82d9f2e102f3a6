//! Collects what is wrong while a job file is read, so that all of it can be said at once.

use std::cell::RefCell;
use std::sync::Arc;

use crate::config::diagnostics::{Diagnostic, Diagnostics, Location, Text, Texts};

/// Name of the texts that `--set` gives.
const COMMAND_LINE: &str = "command line";
/// What stands before such a text on the command line.
pub(super) const SET_FLAG: &str = "--set ";
/// What stands before the board there.
const BOARD_FLAG: &str = "--board ";
/// Faults that are kept; a file with more is wrong as a whole.
const FAULTS_MAX: usize = 1000;

/// The texts of a job file, and the faults found in them.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) texts: Texts,
    found: RefCell<Vec<Diagnostic>>,
    hidden: RefCell<Vec<Location>>,
}

impl Report {
    pub(super) fn new(name: &str, text: &str, overrides: &[String]) -> Self {
        let file = Text { name: name.to_owned(), text: text.to_owned() };
        let set = overrides
            .iter()
            .map(|set| Text { name: COMMAND_LINE.to_owned(), text: format!("{SET_FLAG}{set}") });
        Self {
            texts: std::iter::once(file).chain(set).collect(),
            found: RefCell::default(),
            hidden: RefCell::default(),
        }
    }

    /// Takes up the board that the command line names, and says where it stands there.
    pub(super) fn add_board(&mut self, name: &str) -> Location {
        let at = Location { text: self.texts.len(), span: BOARD_FLAG.len()..BOARD_FLAG.len() + name.len() };
        let board = Text { name: COMMAND_LINE.to_owned(), text: format!("{BOARD_FLAG}{name}") };
        self.texts = self.texts.iter().cloned().chain([board]).collect();
        at
    }

    pub(super) fn text(&self, number: usize) -> &str {
        self.texts.get(number).map_or("", |text| &text.text)
    }

    /// What stands at a place.
    pub(super) fn source(&self, at: &Location) -> &str {
        self.text(at.text).get(at.span.clone()).unwrap_or_default()
    }

    pub(super) fn add(&self, fault: Diagnostic) {
        let mut found = self.found.borrow_mut();
        if found.len() < FAULTS_MAX {
            found.push(fault);
        }
    }

    /// Keeps what stands at a place from being shown.
    pub(super) fn hide(&self, at: &Location) {
        self.hidden.borrow_mut().push(at.clone());
    }

    /// The texts as they may be shown: with asterisks for secrets.
    fn shown(&self) -> Texts {
        let hidden = self.hidden.borrow();
        if hidden.is_empty() {
            return Arc::clone(&self.texts);
        }
        let mask = |(number, text): (usize, &Text)| {
            let is_hidden =
                |byte: usize| hidden.iter().any(|at| at.text == number && at.span.contains(&byte));
            let shown = text.text.char_indices().map(|(byte, character)| match character {
                // As many bytes, so that places stay what they are.
                character if !matches!(character, '\n' | '\r') && is_hidden(byte) => {
                    "*".repeat(character.len_utf8())
                }
                character => character.to_string(),
            });
            Text { name: text.name.clone(), text: shown.collect() }
        };
        self.texts.iter().enumerate().map(mask).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.borrow().is_empty()
    }

    /// # Errors
    /// The faults, when there is one.
    pub(super) fn finish(&self) -> Result<(), Diagnostics> {
        let found = self.found.borrow();
        if found.is_empty() { Ok(()) } else { Err(Diagnostics::new(&self.shown(), found.clone())) }
    }
}
