//! Strict reading of one table of a job file.
//!
//! A section knows its keys, those of all types and those of each; it refuses others at once, with the nearest known key or
//! the type that has it. Each value is then read as what it must be: a fault is reported, and the value left out, so that
//! the reading goes on.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::document::{Located, Node, Table, Value};
use super::report::Report;
use super::suggestion::{list, nearest};
use crate::config::diagnostics::{Diagnostic, Location};

/// The keys that a kind of section has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keys {
    /// Name of the section: `source`.
    pub(super) section: &'static str,
    /// Keys that it always has.
    pub(super) common: &'static [&'static str],
    /// Keys of one type only, by the value of `type`.
    pub(super) of_type: &'static [(&'static str, &'static [&'static str])],
}

impl Keys {
    fn of(&self, kind: &str) -> Option<&'static [&'static str]> {
        self.of_type.iter().find(|(name, _)| *name == kind).map(|(_, keys)| *keys)
    }

    /// The types that have the key.
    fn types_with(&self, key: &str) -> Vec<&'static str> {
        self.of_type.iter().filter(|(_, keys)| keys.contains(&key)).map(|(name, _)| *name).collect()
    }

    /// Every key, of all types.
    pub(super) fn all(&self) -> Vec<&'static str> {
        let mut all = self.common.to_vec();
        all.extend(self.of_type.iter().flat_map(|(_, keys)| keys.iter().copied()));
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// A table that is being read.
#[derive(Debug)]
pub(super) struct Section<'a> {
    /// What faults call it: ``[checkpoint]`` or ``source `readings` ``.
    pub(super) title: String,
    /// Its header.
    pub(super) at: Location,
    table: Option<&'a Table>,
    report: &'a Report,
    /// Directory of the job file: its paths are relative to that.
    base: &'a Path,
}

impl<'a> Section<'a> {
    /// A section, `table` absent when the file does not have it. Its keys are not looked at yet.
    pub(super) fn new(
        title: String,
        at: Location,
        table: Option<&'a Table>,
        report: &'a Report,
        base: &'a Path,
    ) -> Self {
        Self { title, at, table, report, base }
    }

    /// Refuses keys that are not among `keys`; `kind` is the section's type, where it has one and it is known.
    pub(super) fn check_keys(&self, keys: &Keys, kind: Option<&str>) {
        let mut known = keys.common.to_vec();
        match kind.and_then(|kind| keys.of(kind)) {
            Some(more) => known.extend(more),
            None => known = keys.all(),
        }
        for (key, _) in self.table.iter().flat_map(|table| &table.entries) {
            if !known.contains(&key.value.as_str()) {
                self.report.add(self.unknown(key, &known, keys, kind));
            }
        }
        for (key, node) in self.table.iter().flat_map(|table| &table.entries) {
            if super::advice::is_secret(&key.value) {
                self.hide(&node.at);
            }
        }
    }

    fn unknown(
        &self,
        key: &Located<String>,
        known: &[&'static str],
        keys: &Keys,
        kind: Option<&str>,
    ) -> Diagnostic {
        let name = &key.value;
        let others = match self.node(name).map(|node| &node.value) {
            // A table is no wrong type's key, but a misunderstanding.
            Some(Value::Table(_)) => Vec::new(),
            _ => keys.types_with(name),
        };
        if let (false, Some(kind)) = (others.is_empty(), kind) {
            let own: Vec<_> = keys.of(kind).unwrap_or_default().to_vec();
            return Diagnostic::new(format!("{} is of type {kind}, which has no key `{name}`", self.title))
                .at(&key.at)
                .label(format!("a key of type {}", list(&others)))
                .help(if own.is_empty() {
                    format!("remove it, or change the type; {kind} has no keys of its own")
                } else {
                    format!("remove it, or change the type; keys of {kind} are {}", list(&own))
                });
        }
        let fault =
            Diagnostic::new(format!("{} has no key `{name}`", self.title)).at(&key.at).label("unknown key");
        match (super::advice::on_key(keys.section, name), nearest(name, known.iter().copied())) {
            (Some(advice), _) => fault.help(advice),
            (None, Some(nearest)) => fault.help(format!("did you mean `{nearest}`?")),
            (None, None) => fault.help(format!("its keys are {}", list(known))),
        }
    }

    /// Reports a fault.
    pub(super) fn report(&self, fault: Diagnostic) {
        self.report.add(fault);
    }

    pub(super) fn node(&self, key: &str) -> Option<&'a Node> {
        self.table?.get(key)
    }

    /// Where the key's value stands, or else the section.
    pub(super) fn place(&self, key: &str) -> Location {
        self.node(key).map_or(&self.at, |node| &node.at).clone()
    }

    /// Refuses the value of `key`.
    pub(super) fn wrong_type(&self, key: &str, node: &Node, wanted: &str, example: &str) {
        let kind = node.value.kind();
        let fault = Diagnostic::new(format!("`{key}` of {} must be {wanted}, but is {kind}", self.title));
        self.report(fault.at(&node.at).label(kind).help(format!("write for instance `{key} = {example}`")));
    }

    /// A string. What `--set` gave needs no quotes.
    pub(super) fn string(&self, key: &str, example: &str) -> Option<Located<String>> {
        self.string_as(key, "a string", &format!("{example:?}"))
    }

    /// The same; a fault calls it `wanted`.
    pub(super) fn string_as(&self, key: &str, wanted: &str, example: &str) -> Option<Located<String>> {
        let node = self.node(key)?;
        match self.string_of(node) {
            Some(value) => Some(Located { value, at: node.at.clone() }),
            None => {
                self.wrong_type(key, node, wanted, example);
                None
            }
        }
    }

    fn string_of(&self, node: &Node) -> Option<String> {
        match &node.value {
            Value::String(text) => Some(text.clone()),
            Value::Integer(_) | Value::Float | Value::Boolean(_) | Value::Datetime
                if node.at.is_override() =>
            {
                Some(self.report.source(&node.at).to_owned())
            }
            _ => None,
        }
    }

    /// A string that must not be empty.
    pub(super) fn given(&self, key: &str, example: &str) -> Option<Located<String>> {
        let text = self.string(key, example)?;
        if text.value.trim().is_empty() {
            let fault = Diagnostic::new(format!("`{key}` of {} is empty", self.title)).at(&text.at);
            self.report(fault.help(format!("write for instance `{key} = {example:?}`")));
            return None;
        }
        Some(text)
    }

    /// The same, and it must be there.
    pub(super) fn required(&self, key: &str, example: &str) -> Option<Located<String>> {
        if self.node(key).is_none() {
            self.missing(key, &format!("{example:?}"));
        }
        self.given(key, example)
    }

    /// Shows asterisks for a value that may hold a secret.
    pub(super) fn hide(&self, at: &Location) {
        self.report.hide(at);
    }

    /// Reports that a key is missing.
    pub(super) fn missing(&self, key: &str, example: &str) {
        let fault = Diagnostic::new(format!("{} has no `{key}`", self.title)).at(&self.at);
        self.report(
            fault.label(format!("`{key}` is missing")).help(format!("add for instance `{key} = {example}`")),
        );
    }

    /// A string that reads as `T`.
    pub(super) fn parsed<T>(&self, key: &str, example: &str) -> Option<Located<T>>
    where
        T: FromStr,
        T::Err: Display,
    {
        let text = self.string(key, example)?;
        match text.value.parse() {
            Ok(value) => Some(Located { value, at: text.at }),
            Err(error) => {
                self.wrong_value(key, &text.at, &error.to_string(), example);
                None
            }
        }
    }

    /// Refuses `given` where `missing` is not given.
    pub(super) fn needs(&self, given: &str, missing: &str) {
        if self.node(given).is_some() && self.node(missing).is_none() {
            let fault = Diagnostic::new(format!("`{given}` of {} needs `{missing}`", self.title));
            self.report(fault.at(&self.place(given)).help(format!("add `{missing}`, or remove `{given}`")));
        }
    }

    /// Refuses a value for a reason.
    pub(super) fn wrong_value(&self, key: &str, at: &Location, reason: &str, example: &str) {
        let fault = Diagnostic::new(format!("`{key}` of {}: {reason}", self.title)).at(at);
        self.report(fault.help(format!("write for instance `{key} = {example:?}`")));
    }

    /// A path; a relative one is taken from the directory of the job file, and one of `--set` from the current directory.
    pub(super) fn path(&self, key: &str, example: &str) -> Option<PathBuf> {
        let text = self.string(key, example)?;
        if text.value.is_empty() || text.value.contains('\0') {
            self.wrong_value(key, &text.at, "no path is empty or holds a NUL", example);
            return None;
        }
        Some(if text.at.is_override() { PathBuf::from(text.value) } else { self.base.join(text.value) })
    }

    /// Strings: an array, or one alone.
    pub(super) fn strings(&self, key: &str, example: &str) -> Option<Vec<Located<String>>> {
        let node = self.node(key)?;
        let nodes = match &node.value {
            Value::Array(nodes) => nodes.as_slice(),
            _ => std::slice::from_ref(node),
        };
        let mut strings = Vec::with_capacity(nodes.len());
        for node in nodes {
            match self.string_of(node) {
                Some(value) => strings.push(Located { value, at: node.at.clone() }),
                None => self.wrong_type(key, node, "an array of strings", &format!("[{example:?}]")),
            }
        }
        Some(strings)
    }

    /// A table within this one.
    pub(super) fn table(&self, key: &str) -> Option<Section<'a>> {
        let node = self.node(key)?;
        let title = format!("`{key}` of {}", self.title);
        match &node.value {
            Value::Table(table) => {
                Some(Section::new(title, node.at.clone(), Some(table), self.report, self.base))
            }
            _ => {
                let kind = node.value.kind();
                let fault = Diagnostic::new(format!("{title} must be a table, but is {kind}"));
                self.report(fault.at(&node.at).label(kind).help(super::advice::on_table(key)));
                None
            }
        }
    }

    /// Every entry as a string.
    pub(super) fn entries(&self, example: &str) -> Vec<(Located<String>, Located<String>)> {
        let mut entries = Vec::new();
        for (key, node) in self.table.iter().flat_map(|table| &table.entries) {
            match self.string_of(node) {
                Some(value) => entries.push((key.clone(), Located { value, at: node.at.clone() })),
                None => self.wrong_type(&key.value, node, "a string", &format!("{example:?}")),
            }
        }
        entries
    }

    /// Whether the file has it.
    pub(super) fn is_given(&self) -> bool {
        self.table.is_some()
    }
}

/// Whether a name is one: letters, digits, `_` and `-`, at most [`NAME_BYTES_MAX`], not beginning with `-`.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if name.is_empty()
        || name.len() > NAME_BYTES_MAX
        || name.starts_with('-')
        || !name.bytes().all(is_allowed)
    {
        return Err(format!("{name:?} is no name"));
    }
    Ok(())
}

/// Longest name, in bytes.
pub(super) const NAME_BYTES_MAX: usize = 64;

impl Section<'_> {
    /// The name that the section must have.
    pub(super) fn name(&self, key: &str, example: &str) -> Option<Located<String>> {
        let name = self.required(key, example)?;
        if let Err(reason) = check_name(&name.value) {
            let fault = Diagnostic::new(format!("`{key}` of {}: {reason}", self.title)).at(&name.at);
            self.report(fault.help(format!(
                "a name has letters, digits, `_` and `-`, at most {NAME_BYTES_MAX}, and does not begin with `-`"
            )));
            return None;
        }
        Some(name)
    }
}
