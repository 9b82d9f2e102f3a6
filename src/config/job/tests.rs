//! Whole job files: those of `config/`, and wrong ones with what is said of them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::document::{self, Value};
use super::file::{JobFile, SEVERAL, SINGLE, load_job};
use super::report::Report;
use super::runtime::{BOARD_KEYS, JOB_KEYS, JOURNAL_KEYS, RESTART_KEYS, STATE_KEYS};
use super::section::Keys;
use super::source::{LAST_WILL_KEYS, SOURCE_KEYS};
use super::{query::QUERY_KEYS, remote::CHECKPOINT_KEYS, sink::SINK_KEYS};
use super::{Branch, JobConfig, SinkConnector, SinkFormat, SourceConnector, SourceFormat};
use crate::config::TextError;
use crate::runtime::{Backend, JobError};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn files(directory: &str, extension: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = repository(directory)
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    files
}

#[expect(clippy::disallowed_methods, reason = "a test reads what is in the repository")]
fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn load(text: &str, overrides: &[&str]) -> Result<JobConfig, String> {
    let overrides: Vec<_> = overrides.iter().map(|set| (*set).to_owned()).collect();
    let file = JobFile::parse("job.toml", text, Path::new("/jobs"), &overrides);
    file.and_then(JobFile::validate).map_err(|faults| faults.to_string())
}

const SMALL: &str = r#"
[job]
name = "small"
[[source]]
name = "readings"
type = "tcp-connect"
address = "127.0.0.1:9000"
format = "text"
schema = "key BIGINT, value BIGINT"
[[query]]
name = "all"
sql = "SELECT * FROM readings"
[[sink]]
name = "out"
from = "all"
type = "print"
"#;

#[test]
fn every_file_of_the_configuration_directory_loads() {
    let jobs: Vec<_> =
        files("config", "toml").into_iter().filter(|path| !path.ends_with("demo.toml")).collect();
    assert!(jobs.len() >= 6, "{jobs:?}");
    for path in jobs {
        let job = load_job(&path, &[]).unwrap_or_else(|faults| panic!("{faults}"));
        assert!(!job.queries.is_empty(), "{}", path.display());
        let sample = |extension: &str| {
            let stem = path.file_stem().unwrap().to_string_lossy();
            repository("config/samples").join(format!("{stem}.{extension}")).exists()
        };
        assert!(path.ends_with("reference.toml") || sample("jsonl") || sample("txt"), "no sample for {}", path.display());
    }
}

#[test]
fn the_reference_has_every_key_and_no_other() {
    let text = read(&repository("config/reference.toml"));
    let report = Report::new("reference.toml", &text, &[]);
    let root = document::parse(0, &report);
    let keys_of = |section: &str| -> BTreeSet<String> {
        let nodes = match &root.get(section).unwrap_or_else(|| panic!("no [{section}]")).value {
            Value::Array(nodes) => nodes.as_slice(),
            _ => std::slice::from_ref(root.get(section).unwrap()),
        };
        let tables = nodes.iter().filter_map(|node| match &node.value {
            Value::Table(table) => Some(table),
            _ => None,
        });
        tables.flat_map(|table| table.entries.iter().map(|(key, _)| key.value.clone())).collect()
    };
    let sections = [
        JOB_KEYS, BOARD_KEYS, STATE_KEYS, JOURNAL_KEYS, RESTART_KEYS, CHECKPOINT_KEYS, SOURCE_KEYS, QUERY_KEYS,
        SINK_KEYS,
    ];
    let listed: BTreeSet<_> = SINGLE.into_iter().chain(SEVERAL.map(|(name, _)| name)).collect();
    assert_eq!(listed, sections.iter().map(|keys| keys.section).collect());
    for keys in sections {
        // A key that cannot stand beside another is there as a comment.
        let mut found = keys_of(keys.section);
        found.extend(commented(&text, keys.section));
        let known: BTreeSet<String> = keys.all().into_iter().map(str::to_owned).collect();
        assert_eq!(found, known, "[{}]", keys.section);
    }
    for key in LAST_WILL_KEYS.common {
        assert!(text.contains(&format!("\n{key} = ")), "{key} of a last will");
    }
}

/// Keys in lines `# key = value` of a section.
fn commented(text: &str, section: &str) -> Vec<String> {
    let mut current = "";
    let mut keys = Vec::new();
    for line in text.lines() {
        if let Some(header) = line.strip_prefix('[') {
            current = header.trim_start_matches('[').split([']', '.']).next().unwrap_or_default();
        }
        if let Some((key, _)) = line.strip_prefix("# ").and_then(|line| line.split_once(" = "))
            && current == section
            && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
        {
            keys.push(key.to_owned());
        }
    }
    keys
}

#[test]
fn wrong_files_are_refused_with_line_cause_and_remedy() {
    let wrong = files("tests/fixtures/jobs/wrong", "toml");
    assert!(wrong.len() >= 20, "{} files", wrong.len());
    for path in wrong {
        let text = read(&path);
        let name = path.file_name().unwrap().to_string_lossy();
        // The first line may say what is set on the command line.
        let overrides: Vec<String> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# --set ").map(str::to_owned))
            .collect();
        let file = JobFile::parse(&name, &text, Path::new("/jobs"), &overrides);
        let faults = file.and_then(JobFile::validate).expect_err(&name).to_string();
        let expected = path.with_extension("stderr");
        if std::env::var_os("TIDEGATE_BLESS").is_some() {
            bless(&expected, &faults);
        }
        assert_eq!(format!("{faults}\n"), read(&expected), "{name}: TIDEGATE_BLESS=1 writes what is said now");
        for fault in faults.split("error: ").skip(1) {
            let has_place = fault.contains(&format!("--> {name}:")) || fault.contains("--> command line:");
            assert!(has_place && fault.contains("= help: ") && fault.contains('^'), "{name}: {fault}");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a test writes what it expects from then on")]
fn bless(path: &Path, text: &str) {
    std::fs::write(path, format!("{text}\n")).unwrap();
}
