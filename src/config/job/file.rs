//! From the file to the job: read, parsed, overridden, checked.

use std::path::{Path, PathBuf};

use super::board::{board, check_board};
use super::document::{self, JOB_BYTES_MAX, Located, Node, Table, Value};
use super::overrides;
use super::query::{QueryConfig, query};
use super::remote::checkpoint;
use super::report::Report;
use super::runtime::{job, journal, restart, state};
use super::section::Section;
use super::sink::{Branch, SinkConfig, SinkConnector, sink};
use super::source::{SourceConfig, source};
use super::suggestion::{did_you_mean, list};
use super::validated::{JobConfig, outlined};
use crate::board::{JobSize, Place};
use crate::config::BackendKind;
use crate::config::diagnostics::{Diagnostic, Diagnostics, Location};
use crate::disk::{RealDisk, read_whole};
use crate::query::LATE;
use crate::runtime::Settings;

/// Sections there is one of.
pub(super) const SINGLE: [&str; 6] = ["job", "board", "state", "journal", "restart", "checkpoint"];
/// Sections there may be several of, and how many at most.
pub(super) const SEVERAL: [(&str, usize); 3] = [("source", 64), ("query", 256), ("sink", 64)];

/// A job file as it stands, with what the command line says in its place.
#[derive(Debug)]
pub(crate) struct JobFile {
    report: Report,
    root: Table,
    base: PathBuf,
}

/// Reads and checks a job file. `overrides` are the `KEY=VALUE` of each `--set`, in order; `board` is that of `--board`.
///
/// # Errors
/// Everything that is wrong with it, and with running it at `place`.
pub(crate) fn load_job(
    path: &Path,
    overrides: &[String],
    board: Option<&str>,
    place: Place,
) -> Result<JobConfig, Diagnostics> {
    let name = path.display().to_string();
    let refuse = |fault: Diagnostic| Diagnostics::of_file(&name, fault);
    let bytes = read_whole(&RealDisk, path, JOB_BYTES_MAX as u64).map_err(|error| {
        let fault = Diagnostic::new(format!("cannot read {name}: {error}"));
        refuse(fault.help("give the path of a job file; config/reference.toml shows every key"))
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = error
            .as_bytes()
            .iter()
            .take(error.utf8_error().valid_up_to())
            .filter(|byte| **byte == b'\n')
            .count();
        let fault = Diagnostic::new(format!("{name} is not UTF-8 at line {}", line + 1));
        refuse(fault.help("save it as UTF-8"))
    })?;
    let base = path.parent().unwrap_or(Path::new(""));
    JobFile::parse(&name, &text, base, overrides)?.on_board(board).validate(place)
}

impl JobFile {
    /// Parses `text`; relative paths in it are taken from `base`.
    ///
    /// # Errors
    /// What of it, or of the overrides, cannot be read at all.
    pub(crate) fn parse(
        name: &str,
        text: &str,
        base: &Path,
        overrides: &[String],
    ) -> Result<Self, Diagnostics> {
        let report = Report::new(name, text, overrides);
        let mut root = document::parse(0, &report);
        report.finish()?;
        for set in 1..report.texts.len() {
            overrides::apply(set, &mut root, &report);
        }
        report.finish()?;
        Ok(Self { report, root, base: base.to_owned() })
    }

    /// Puts the board of the command line in the place of the file's.
    #[must_use]
    pub(crate) fn on_board(mut self, name: Option<&str>) -> Self {
        let Some(name) = name else { return self };
        let at = self.report.add_board(name);
        let key = |key: &str| Located { value: key.to_owned(), at: at.clone() };
        let profile = Node { value: Value::String(name.to_owned()), at: at.clone() };
        match self.root.get_mut("board").map(|node| &mut node.value) {
            Some(Value::Table(section)) => section.set(key("profile"), profile),
            // It is no table, which is said elsewhere.
            Some(_) => {}
            None => {
                let section = Table { entries: vec![(key("profile"), profile)] };
                self.root.set(key("board"), Node { value: Value::Table(section), at: at.clone() });
            }
        }
        self
    }

    /// Checks everything.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub(crate) fn validate(self, place: Place) -> Result<JobConfig, Diagnostics> {
        self.check_sections();
        let board = board(&self.single("board"), place);
        let mut settings = board.profile.settings();
        let name = job(&self.single("job"), &mut settings);
        if self.root.get("job").is_none() {
            self.fault("the job file has no [job]", "begin it with `[job]` and `name = \"running-average\"`");
        }
        let state = state(&self.single("state"), board.profile.backend(), &mut settings);
        journal(&self.single("journal"), state.backend, &mut settings);
        restart(&self.single("restart"), &mut settings);
        let remote = checkpoint(&self.single("checkpoint"), state.backend, &mut settings);
        let sources: Vec<_> = self.several("source").iter_mut().map(source).collect();
        let queries: Vec<_> =
            self.several("query").iter_mut().map(|section| query(section, state.ttl)).collect();
        let sinks: Vec<_> = self.several("sink").iter_mut().map(sink).collect();
        self.check_settings(&settings, state.backend);
        let is_whole = sources.iter().all(Option::is_some) && queries.iter().all(Option::is_some);
        let sources: Vec<SourceConfig> = sources.into_iter().flatten().collect();
        let queries: Vec<QueryConfig> = queries.into_iter().flatten().collect();
        let sinks: Vec<SinkConfig> = sinks.into_iter().flatten().collect();
        self.check_names(&sources, &queries, &sinks, is_whole);
        let is_mqtt = |sink: &&SinkConfig| matches!(sink.connector, SinkConnector::Mqtt(_));
        let size = JobSize {
            sources: sources.len(),
            sinks: sinks.len(),
            mqtt_sinks: sinks.iter().filter(is_mqtt).count(),
            queries: queries.len(),
            has_remote: remote.is_some(),
        };
        check_board(&board, &self.single("board"), &self.single("job"), &settings, size);
        self.report.finish()?;
        let name = name.expect("a job without a name was reported");
        Ok(JobConfig {
            name: name.value,
            sources,
            queries,
            sinks,
            board,
            settings,
            backend: state.backend,
            directory: state.directory,
            remote,
            texts: self.report.texts,
        })
    }

    fn fault(&self, message: &str, help: &str) {
        let first = self.report.text(0).lines().next().map_or(0, str::len);
        let at = Location { text: 0, span: 0..first };
        self.report.add(Diagnostic::new(message).at(&at).help(help));
    }

    /// Refuses sections that there are not, and too many of a kind.
    fn check_sections(&self) {
        let known: Vec<&str> = SINGLE.into_iter().chain(SEVERAL.map(|(name, _)| name)).collect();
        for (key, node) in &self.root.entries {
            let name = key.value.as_str();
            if !known.contains(&name) {
                let is_table = matches!(node.value, Value::Table(_) | Value::Array(_));
                let what = if is_table { "section" } else { "key outside a section" };
                let fault = Diagnostic::new(format!("a job file has no {what} `{name}`")).at(&key.at);
                let help = match super::suggestion::nearest(name, known.iter().copied()) {
                    Some(nearest) => format!("did you mean `{nearest}`?"),
                    None => format!("its sections are {}", list(&known)),
                };
                self.report.add(fault.label("unknown").help(help));
                continue;
            }
            let several = SEVERAL.iter().find(|(section, _)| *section == name);
            match (&node.value, several) {
                (Value::Table(_), None) | (Value::Array(_), Some(_)) => {}
                (_, None) => self.wrong_section(name, &node.at, format!("[{name}]")),
                (_, Some(_)) => self.wrong_section(name, &node.at, format!("[[{name}]]")),
            }
            if let (Value::Array(nodes), Some((_, max))) = (&node.value, several)
                && nodes.len() > *max
            {
                let fault =
                    Diagnostic::new(format!("the job file has more than {max} [[{name}]]")).at(&key.at);
                self.report.add(fault.help("make several jobs of it"));
            }
        }
        for (name, _) in SEVERAL {
            if self.root.get(name).is_none() {
                let help = match name {
                    "source" => "add a `[[source]]`: where do readings come from?",
                    "query" => "add a `[[query]]`, for instance with `sql = \"SELECT * FROM readings\"`",
                    _ => "add a `[[sink]]`, for instance with `type = \"print\"`",
                };
                self.fault(&format!("the job file has no [[{name}]]"), help);
            }
        }
    }

    fn wrong_section(&self, name: &str, at: &Location, header: String) {
        let fault = Diagnostic::new(format!("`{name}` must be written {header}")).at(at);
        self.report.add(fault.label("not this").help(format!("write {header}")));
    }

    fn single(&self, name: &str) -> Section<'_> {
        let node = self.root.get(name);
        let table = node.and_then(|node| match &node.value {
            Value::Table(table) => Some(table),
            _ => None,
        });
        let at = node.map_or(Location { text: 0, span: 0..0 }, |node| node.at.clone());
        Section::new(format!("[{name}]"), at, table, &self.report, &self.base)
    }

    fn several(&self, name: &str) -> Vec<Section<'_>> {
        let Some(Value::Array(nodes)) = self.root.get(name).map(|node| &node.value) else {
            return Vec::new();
        };
        let max = SEVERAL.iter().find(|(section, _)| *section == name).map_or(0, |(_, max)| *max);
        let mut sections = Vec::new();
        for node in nodes.iter().take(max) {
            match &node.value {
                Value::Table(table) => {
                    let (title, at) = (format!("[[{name}]]"), node.at.clone());
                    sections.push(Section::new(title, at, Some(table), &self.report, &self.base));
                }
                _ => self.wrong_section(name, &node.at, format!("[[{name}]]")),
            }
        }
        sections
    }

    /// What settings say only together.
    fn check_settings(&self, settings: &Settings, backend: BackendKind) {
        if !self.report.is_empty() {
            return;
        }
        if let Err(reason) = outlined(settings, backend).check() {
            let at = self.single("job").place("memory-max");
            self.report.add(Diagnostic::new(reason).at(&at).help("change one of the settings that it names"));
        }
    }

    /// Names must be unique, and sinks read from queries that there are.
    fn check_names(
        &self,
        sources: &[SourceConfig],
        queries: &[QueryConfig],
        sinks: &[SinkConfig],
        is_whole: bool,
    ) {
        let tables: Vec<_> = sources
            .iter()
            .map(|source| ("source", &source.name))
            .chain(queries.iter().map(|query| ("query", &query.name)))
            .collect();
        self.check_unique(&tables);
        self.check_unique(&sinks.iter().map(|sink| ("sink", &sink.name)).collect::<Vec<_>>());
        let names: Vec<&str> = queries.iter().map(|query| query.name.value.as_str()).collect();
        for sink in sinks.iter().filter(|sink| !names.contains(&sink.from.value.as_str())) {
            let from = &sink.from;
            let is_source = sources.iter().any(|source| source.name.value == from.value);
            // It may be one that was refused for something else.
            if !is_whole && !is_source {
                continue;
            }
            let suffix = if sink.branch == Branch::Late { LATE } else { "" };
            let known: Vec<String> = names.iter().map(|name| format!("{name}{suffix}")).collect();
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            let help = if is_source {
                format!("a sink reads from a query: add one with `sql = \"SELECT * FROM {}\"`", from.value)
            } else {
                did_you_mean(&format!("{}{suffix}", from.value), &known)
            };
            let fault = Diagnostic::new(format!("there is no query `{}`", from.value)).at(&from.at);
            self.report.add(fault.label(format!("`from` of sink `{}`", sink.name.value)).help(help));
        }
    }

    fn check_unique(&self, names: &[(&str, &Located<String>)]) {
        for (index, (what, name)) in names.iter().enumerate() {
            let Some((of, first)) = names.iter().take(index).find(|(_, first)| first.value == name.value)
            else {
                continue;
            };
            let fault = Diagnostic::new(format!("the name `{}` is given twice", name.value)).at(&name.at);
            let fault = fault.label(format!("this {what}")).also(&first.at, format!("and this {of}"));
            self.report
                .add(fault.help("give each its own name; sources and queries are both tables of the SQL"));
        }
    }
}
