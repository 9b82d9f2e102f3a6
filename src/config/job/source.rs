//! `[[source]]`: where readings come from, and how their bytes are to be read.

use std::path::PathBuf;
use std::time::Duration;

use super::document::{Located, Value};
use super::mqtt_source::mqtt;
use super::section::{Keys, Section};
use super::socket::{tcp_connect, tcp_listen, udp, unix, unix_datagram};
use super::sql_text::{SQL_BYTES_MAX, SqlText};
use crate::config::diagnostics::Diagnostic;
use crate::source::generator::Generator;
use crate::source::{MqttSource, TcpConnect, TcpListen, UdpReceive, UnixListen, UnixReceive};

pub(super) const SOURCE_KEYS: Keys = Keys {
    section: "source",
    common: &[
        "name",
        "type",
        "format",
        "schema",
        "paths",
        "delimiter",
        "timestamp-unit",
        "max-ahead",
        "idle-timeout",
    ],
    of_type: &[
        ("tcp-connect", &["address", "retry-for", "line-max", "connection-timeout"]),
        (
            "tcp-listen",
            &[
                "address",
                "line-max",
                "connection-timeout",
                "connections-max",
                "acknowledge",
                "certificate-file",
                "certificate-key-file",
                "client-ca-file",
                "client-certificate",
            ],
        ),
        ("udp", &["address", "datagram-max", "receive-buffer"]),
        ("unix", &["path", "mode", "line-max", "connection-timeout", "connections-max", "acknowledge"]),
        ("unix-datagram", &["path", "mode", "datagram-max"]),
        (
            "mqtt",
            &[
                "url",
                "topics",
                "qos",
                "version",
                "client-id",
                "clean-start",
                "session-expiry",
                "keep-alive",
                "receive-maximum",
                "exactness",
                "message-max",
                "credentials-file",
                "ca-file",
                "certificate-file",
                "certificate-key-file",
                "insecure",
                "last-will",
            ],
        ),
        ("file", &["path", "line-max"]),
        ("generator", &["sensors", "readings-per-second", "readings"]),
    ],
};

/// Longest line or message that can be allowed, in bytes.
const LINE_BYTES_LIMIT: u64 = 16 << 20;
/// Longest line of a file unless told otherwise, in bytes.
const LINE_BYTES_MAX_DEFAULT: usize = 64 << 10;
/// Readings a second that can be simulated.
const READINGS_PER_SECOND_LIMIT: u64 = 10_000_000;
/// How far event time may be ahead of the clock unless told otherwise.
const AHEAD_MAX_DEFAULT: Duration = Duration::from_secs(3_600);
/// Columns that can have a path.
const PATHS_MAX: usize = 1024;

/// A source.
#[derive(Debug)]
pub(crate) struct SourceConfig {
    /// Its table in SQL.
    pub(crate) name: Located<String>,
    pub(crate) connector: SourceConnector,
    pub(crate) format: SourceFormat,
    /// Columns and watermark; `senml` and `raw` have columns of their own and may do without.
    pub(crate) schema: Option<SqlText>,
    /// The path in the JSON of the columns that have one.
    pub(crate) paths: Vec<(Located<String>, Located<String>)>,
    /// What a number in a TIMESTAMP column counts.
    pub(crate) timestamp_unit: TimestampUnit,
    /// Readings whose event time is further ahead of the clock are put aside; `None`: none are.
    pub(crate) max_ahead: Option<Duration>,
    /// After this long without a reading the source does not hold back event time any more; `None`: it always does.
    pub(crate) idle_timeout: Option<Duration>,
}

/// What a source reads from.
#[derive(Debug, Clone)]
pub(crate) enum SourceConnector {
    TcpConnect(TcpConnect),
    TcpListen(TcpListen),
    Udp(UdpReceive),
    Unix(UnixListen),
    UnixDatagram(UnixReceive),
    Mqtt(Box<MqttSource>),
    File(FileInput),
    Generator(Generator),
}

/// The lines of a file, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileInput {
    pub(crate) path: PathBuf,
    /// Longest line, in bytes without its end.
    pub(crate) line_bytes_max: usize,
}

/// How a frame's bytes become columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SourceFormat {
    /// A JSON object.
    Json,
    /// Separated values, in quotes where needed.
    Csv {
        /// One ASCII character.
        delimiter: u8,
    },
    /// Columns between blanks.
    Text,
    /// Sensor measurement lists, RFC 8428, in JSON.
    SenMl,
    /// Bytes as they come.
    Raw,
}

impl SourceFormat {
    fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv { .. } => "csv",
            Self::Text => "text",
            Self::SenMl => "senml",
            Self::Raw => "raw",
        }
    }
}

/// What a number in a TIMESTAMP column counts since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimestampUnit {
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

/// One `[[source]]`.
pub(super) fn source(section: &mut Section<'_>) -> Option<SourceConfig> {
    let name = section.name("name", "readings");
    if let Some(name) = &name {
        section.title = format!("source `{}`", name.value);
    }
    let kinds: Vec<_> = SOURCE_KEYS.of_type.iter().map(|(kind, _)| (*kind, *kind)).collect();
    let kind = section.choice("type", &kinds).map(|kind| kind.value);
    section.check_keys(&SOURCE_KEYS, kind);
    if section.node("type").is_none() {
        section.missing("type", "\"tcp-connect\"");
    }
    let connector = match kind {
        Some("tcp-connect") => tcp_connect(section),
        Some("tcp-listen") => tcp_listen(section),
        Some("udp") => udp(section),
        Some("unix") => unix(section),
        Some("unix-datagram") => unix_datagram(section),
        Some("mqtt") => mqtt(section),
        Some("file") => file(section),
        Some("generator") => generator(section),
        _ => None,
    };
    let format = format(section);
    let schema = schema(section, format);
    let paths = paths(section, format);
    let units = [
        ("ms", TimestampUnit::Milliseconds),
        ("s", TimestampUnit::Seconds),
        ("us", TimestampUnit::Microseconds),
        ("ns", TimestampUnit::Nanoseconds),
    ];
    let timestamp_unit = section.choice("timestamp-unit", &units);
    let max_ahead = max_ahead(section);
    let idle_timeout = section.duration("idle-timeout", Duration::from_millis(1));
    Some(SourceConfig {
        name: name?,
        connector: connector?,
        format: format?,
        schema,
        paths,
        timestamp_unit: timestamp_unit.map_or(TimestampUnit::Milliseconds, |unit| unit.value),
        max_ahead,
        idle_timeout,
    })
}

/// A duration, or `"off"`.
fn max_ahead(section: &Section<'_>) -> Option<Duration> {
    match section.string_as("max-ahead", "a duration or \"off\"", "\"1h\"") {
        Some(text) if text.value == "off" => None,
        Some(text) => section.duration_of("max-ahead", text, Duration::from_millis(1)),
        None => Some(AHEAD_MAX_DEFAULT),
    }
}

fn format(section: &Section<'_>) -> Option<SourceFormat> {
    let formats = [
        ("json", SourceFormat::Json),
        ("csv", SourceFormat::Csv { delimiter: b',' }),
        ("text", SourceFormat::Text),
        ("senml", SourceFormat::SenMl),
        ("raw", SourceFormat::Raw),
    ];
    if section.node("format").is_none() {
        section.missing("format", "\"json\"");
    }
    let format = section.choice("format", &formats)?.value;
    if let Some(delimiter) = delimiter(section) {
        if matches!(format, SourceFormat::Csv { .. }) {
            return Some(SourceFormat::Csv { delimiter });
        }
        only_of_format(section, "delimiter", "csv", format);
    }
    if matches!(format, SourceFormat::Raw | SourceFormat::SenMl) && section.node("timestamp-unit").is_some() {
        only_of_format(section, "timestamp-unit", "json, csv and text", format);
    }
    Some(format)
}

/// One ASCII character that is no quote, letter, digit or line end.
pub(super) fn delimiter(section: &Section<'_>) -> Option<u8> {
    let text = section.string("delimiter", ";")?;
    let is_allowed =
        |byte: &u8| (byte.is_ascii_punctuation() && *byte != b'"') || matches!(byte, b'\t' | b' ');
    match text.value.as_bytes() {
        [byte] if is_allowed(byte) => Some(*byte),
        _ => {
            let reason = "it must be one character: a punctuation mark but no quote, a blank or a tab";
            section.wrong_value("delimiter", &text.at, reason, ";");
            None
        }
    }
}

fn only_of_format(section: &Section<'_>, key: &str, of: &str, format: SourceFormat) {
    let fault =
        Diagnostic::new(format!("{} has the format {}, which has no `{key}`", section.title, format.name()));
    let fault = fault.at(&section.place(key)).label(format!("a key of the format {of}"));
    section.report(fault.help("remove it, or change the format"));
}

fn schema(section: &Section<'_>, format: Option<SourceFormat>) -> Option<SqlText> {
    let schema = section.given("schema", "sensor STRING, temperature DOUBLE, ts TIMESTAMP(3)");
    let has_own_columns = matches!(format, Some(SourceFormat::SenMl | SourceFormat::Raw));
    if section.node("schema").is_none() && !has_own_columns {
        section.missing("schema", "\"sensor STRING, temperature DOUBLE\"");
    }
    sql(section, "schema", schema?)
}

/// A text of SQL of bounded length.
pub(super) fn sql(section: &Section<'_>, key: &str, text: Located<String>) -> Option<SqlText> {
    if text.value.len() > SQL_BYTES_MAX {
        let reason = format!("it has {} bytes; it may have {SQL_BYTES_MAX}", text.value.len());
        let fault = Diagnostic::new(format!("`{key}` of {}: {reason}", section.title)).at(&section.at);
        section.report(fault.help("make several queries of it: one can read from another"));
        return None;
    }
    Some(SqlText::new(text))
}

fn paths(section: &Section<'_>, format: Option<SourceFormat>) -> Vec<(Located<String>, Located<String>)> {
    let Some(table) = section.table("paths") else { return Vec::new() };
    if let Some(format) = format.filter(|format| *format != SourceFormat::Json) {
        only_of_format(section, "paths", "json", format);
    }
    let paths = table.entries("data.temperature");
    if paths.len() > PATHS_MAX {
        let fault =
            Diagnostic::new(format!("{} has more than {PATHS_MAX} paths", section.title)).at(&table.at);
        section.report(fault.help("leave out those of columns with the same name in the JSON"));
    }
    for (column, path) in &paths {
        if path.value.split('.').any(str::is_empty) {
            let reason = "a path is names with dots between them";
            table.wrong_value(&column.value, &path.at, reason, "data.temperature");
        }
    }
    paths
}

/// The longest line or message.
pub(super) fn line_max(section: &Section<'_>, key: &str) -> Option<usize> {
    section.size(key, 1..=LINE_BYTES_LIMIT).and_then(|bytes| usize::try_from(bytes).ok())
}

fn file(section: &Section<'_>) -> Option<SourceConnector> {
    let line_bytes_max = line_max(section, "line-max").unwrap_or(LINE_BYTES_MAX_DEFAULT);
    let example = "readings.jsonl";
    if let Some(Value::Table(_)) = section.node("path").map(|node| &node.value) {
        let fault = Diagnostic::new(format!("`path` of {} must be a file", section.title));
        section
            .report(fault.at(&section.place("path")).help("paths of columns are the table [source.paths]"));
        return None;
    }
    if section.node("path").is_none() {
        section.missing("path", &format!("{example:?}"));
    }
    Some(SourceConnector::File(FileInput { path: section.path("path", example)?, line_bytes_max }))
}

fn generator(section: &Section<'_>) -> Option<SourceConnector> {
    let sensors = section.integer("sensors", 1..=u64::from(u32::MAX)).unwrap_or(5);
    let rate = section.integer("readings-per-second", 1..=READINGS_PER_SECOND_LIMIT).unwrap_or(20);
    Some(SourceConnector::Generator(Generator {
        sensors: u32::try_from(sensors).unwrap_or(u32::MAX),
        readings_per_second: u32::try_from(rate).unwrap_or(u32::MAX),
        readings_max: section.integer("readings", 1..=i64::MAX as u64),
    }))
}
