//! Whole job files: those of `config/`, and wrong ones with what is said of them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::board::BOARD_KEYS;
use super::document::{self, Value};
use super::file::{JobFile, SEVERAL, SINGLE, load_job};
use super::mqtt_source::LAST_WILL_KEYS;
use super::report::Report;
use super::runtime::{JOB_KEYS, JOURNAL_KEYS, RESTART_KEYS, STATE_KEYS};
use super::source::SOURCE_KEYS;
use super::{Branch, JobConfig, SinkConnector, SinkFormat, SourceConnector, SourceFormat};
use super::{query::QUERY_KEYS, remote::CHECKPOINT_KEYS, sink::SINK_KEYS};
use crate::board::Place;
use crate::config::TextError;
use crate::runtime::{Backend, JobError, JournalSync, Settings};

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
    file.and_then(|file| file.validate(Place::Elsewhere)).map_err(|faults| faults.to_string())
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
        let job = load_job(&path, &[], None, Place::Here).unwrap_or_else(|faults| panic!("{faults}"));
        assert!(!job.queries.is_empty(), "{}", path.display());
        let sample = |extension: &str| {
            let stem = path.file_stem().unwrap().to_string_lossy();
            repository("config/samples").join(format!("{stem}.{extension}")).exists()
        };
        assert!(
            path.ends_with("reference.toml") || sample("jsonl") || sample("txt"),
            "no sample for {}",
            path.display()
        );
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
        JOB_KEYS,
        BOARD_KEYS,
        STATE_KEYS,
        JOURNAL_KEYS,
        RESTART_KEYS,
        CHECKPOINT_KEYS,
        SOURCE_KEYS,
        QUERY_KEYS,
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
        let overrides: Vec<String> =
            text.lines().filter_map(|line| line.strip_prefix("# --set ").map(str::to_owned)).collect();
        let file = JobFile::parse(&name, &text, Path::new("/jobs"), &overrides);
        // And which board.
        let board = text.lines().find_map(|line| line.strip_prefix("# --board "));
        let file = file.map(|file| file.on_board(board));
        let faults = file.and_then(|file| file.validate(Place::Elsewhere)).expect_err(&name).to_string();
        let expected = path.with_extension("stderr");
        if std::env::var_os("TIDEGATE_BLESS").is_some() {
            bless(&expected, &faults);
        }
        assert_eq!(
            format!("{faults}\n"),
            read(&expected),
            "{name}: TIDEGATE_BLESS=1 writes what is said now"
        );
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

#[test]
fn a_job_is_what_its_file_says() {
    let job = load(SMALL, &[]).unwrap();
    assert_eq!(job.name, "small");
    let [source] = job.sources.as_slice() else { panic!("{:?}", job.sources) };
    assert_eq!((source.name.value.as_str(), source.format), ("readings", SourceFormat::Text));
    assert!(matches!(&source.connector, SourceConnector::TcpConnect(tcp) if tcp.address == "127.0.0.1:9000"));
    assert_eq!(source.schema.as_ref().unwrap().text, "key BIGINT, value BIGINT");
    let [sink] = job.sinks.as_slice() else { panic!("{:?}", job.sinks) };
    assert_eq!(
        (sink.from.value.as_str(), sink.branch, &sink.format),
        ("all", Branch::Results, &SinkFormat::Json)
    );
    let settings = load(SMALL, &["state.directory=/data"]).unwrap().settings().unwrap();
    assert_eq!(settings.backend, Backend::File { directory: "/data".into() });
    assert_eq!(settings.control, Some("/data".into()));
}

#[test]
fn the_command_line_wins_over_the_file() {
    let set = [
        "source.readings.address=10.0.0.7:1",
        "job.name=other",
        "sink.out.type=file",
        "sink.out.path=a.jsonl",
    ];
    let job = load(SMALL, &set).unwrap();
    assert_eq!(job.name, "other");
    assert!(
        matches!(&job.sources[0].connector, SourceConnector::TcpConnect(tcp) if tcp.address == "10.0.0.7:1")
    );
    // Paths of the command line are those of the shell, paths in the file those of its directory.
    assert!(matches!(&job.sinks[0].connector, SinkConnector::File(path) if path == Path::new("a.jsonl")));
    let text = SMALL.replace("\"print\"", "\"file\"\npath = \"a.jsonl\"");
    let job = load(&text, &[]).unwrap();
    assert!(
        matches!(&job.sinks[0].connector, SinkConnector::File(path) if path == Path::new("/jobs/a.jsonl"))
    );
    let job = load(SMALL, &["query.all.sql=SELECT key FROM readings", "source.readings.format=csv"]).unwrap();
    assert_eq!(job.queries[0].sql.text, "SELECT key FROM readings");
}

#[test]
fn the_board_gives_what_the_file_leaves_open() {
    let board = "[board]\nprofile = \"raspberry-pi-4\"\n";
    let settings = |text: &str, sets: &[&str]| load(text, sets).unwrap().outline().0;
    let (plain, on_pi) = (settings(SMALL, &[]), settings(&format!("{board}{SMALL}"), &[]));
    assert_eq!((plain.memory_max, on_pi.memory_max), (None, Some(256 << 20)));
    assert_eq!((plain.threads, on_pi.threads), (Settings::default().threads, 3));
    assert!(matches!(plain.backend, Backend::File { .. }));
    #[cfg(feature = "rocksdb")]
    assert!(matches!(on_pi.backend, Backend::RocksDb { .. }));
    assert_eq!(on_pi.journal.unwrap().sync, JournalSync::Every(Duration::from_millis(100)));
    // What the file says stands.
    let sets =
        ["state.backend=file", "job.memory-max=64MiB", "journal.sync=always", "checkpoint.interval=2s"];
    let own = settings(&format!("{board}{SMALL}"), &sets);
    assert_eq!((own.memory_max, own.journal.unwrap().sync), (Some(64 << 20), JournalSync::Always));
    assert_eq!(own.checkpoint_interval, Duration::from_secs(2));
}

#[test]
fn the_board_of_the_command_line_wins_over_that_of_the_file() {
    for text in [SMALL.to_owned(), format!("[board]\nprofile = \"rock-3a\"\n{SMALL}")] {
        let file = JobFile::parse("job.toml", &text, Path::new("/jobs"), &["job.threads=2".to_owned()]);
        let job = file.unwrap().on_board(Some("beaglebone-black")).validate(Place::Elsewhere).unwrap();
        assert_eq!(job.board.profile.name, "beaglebone-black");
        assert_eq!((job.outline().0.threads, job.outline().0.memory_max), (2, Some(128 << 20)));
    }
    let text = format!("board = 1\n{SMALL}");
    let file = JobFile::parse("job.toml", &text, Path::new("/jobs"), &[]).unwrap().on_board(Some("rock-3a"));
    assert!(file.validate(Place::Elsewhere).unwrap_err().to_string().contains("must be written [board]"));
}

#[test]
fn a_fault_in_sql_is_shown_in_the_file() {
    let job = load(SMALL, &[]).unwrap();
    let sql = &job.queries[0].sql;
    let start = sql.text.find("readings").unwrap();
    let error = TextError {
        message: "there is no table `readings`".into(),
        span: Some(start..start + 8),
        help: Some("did you mean `reading`?".into()),
    };
    let shown = job.refuse(vec![job.fault_in(sql, error)]).to_string();
    assert!(shown.contains(" --> job.toml:12:22\n") && shown.contains("^^^^^^^^\n"), "{shown}");
}

#[test]
fn keys_of_the_remote_are_read_when_the_job_starts() {
    let text =
        format!("{SMALL}\n[checkpoint]\nremote = \"file:///mnt/backup\"\nkey-file = \"/no/such/key\"\n");
    let error = load(&text, &["state.directory=/data"]).unwrap().settings().unwrap_err();
    assert!(matches!(error, JobError::Remote(_)), "{error}");
    let text = text.replace("key-file = \"/no/such/key\"", "allow-unsigned = true\nremote-retained = 7");
    let settings = load(&text, &["state.directory=/data"]).unwrap().settings().unwrap();
    assert_eq!(settings.remote.unwrap().retention.newest, 7);
}

#[test]
fn a_topic_takes_its_columns_by_name() {
    let text =
        SMALL.replace("\"print\"", "\"mqtt\"\nurl = \"mqtt://localhost\"\ntopic = \"a/{value}/{key}\"");
    let job = load(&text, &[]).unwrap();
    let SinkConnector::Mqtt(sink) = &job.sinks[0].connector else { panic!("no MQTT sink") };
    assert_eq!(sink.publish(&["key", "value"]).unwrap().topic(), "a/{1}/{0}");
    assert!(sink.publish(&["key"]).is_none());
}

#[test]
fn secrets_are_not_shown() {
    for (text, set) in [
        (SMALL.replace("9000\"", "9000\"\npassword = \"tell-nobody\""), vec![]),
        (SMALL.to_owned(), vec!["source.readings.password=tell-nobody"]),
        (SMALL.to_owned(), vec!["source.readings.api_token=\"tell-nobody\""]),
        (SMALL.to_owned(), vec!["checkpoint.remote=webdav://me:tell-nobody@host/x"]),
    ] {
        let shown = load(&text, &set).unwrap_err();
        assert!(!shown.contains("tell-nobody") && shown.contains("***"), "{shown}");
    }
}

/// Numbers that are the same for the same seed: xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}

#[test]
fn mutilated_files_are_refused_or_taken_but_never_a_panic() {
    let seed = 0x7ead_5eed_0007_u64;
    println!("seed {seed:#x}");
    let mut random = Random(seed);
    let reference = read(&repository("config/reference.toml"));
    let pieces = [
        "[",
        "]",
        "\"",
        "\"\"\"",
        "'",
        "=",
        "{",
        "}",
        ".",
        "\n",
        "\\",
        "ä",
        "\u{0}",
        "1e9",
        "-",
        "[[source]]\n",
        "x = 1\n",
    ];
    for round in 0..400 {
        let mut text: Vec<char> = reference.chars().collect();
        for _ in 0..=random.below(3) {
            let at = random.below(text.len());
            match random.below(3) {
                0 => text.truncate(at.max(1)),
                1 => text.splice(at..at, pieces[random.below(pieces.len())].chars()).for_each(drop),
                _ => text.splice(at..(at + random.below(40)).min(text.len()), []).for_each(drop),
            }
        }
        let text: String = text.into_iter().collect();
        if let Err(shown) = load(&text, &[]) {
            assert!(shown.starts_with("error: "), "round {round}: {shown}");
        }
    }
}
