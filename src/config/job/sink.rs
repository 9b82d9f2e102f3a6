//! `[[sink]]`: where the rows of a query go, and in what form.

use std::path::PathBuf;
use std::time::Duration;

use super::document::Located;
use super::mqtt::broker;
use super::section::{Keys, Section};
use super::source::delimiter;
use super::template::Template;
use crate::config::diagnostics::Diagnostic;
use crate::mqtt::Qos;
use crate::query::LATE;
use crate::sink::{MqttPublish, OUTBOX_BYTES_MIN, WhenFull};

pub(super) const SINK_KEYS: Keys = Keys {
    section: "sink",
    common: &["name", "from", "type", "format", "template", "delimiter"],
    of_type: &[
        ("print", &[]),
        ("file", &["path"]),
        (
            "mqtt",
            &[
                "url",
                "topic",
                "qos",
                "retain",
                "client-id",
                "credentials-file",
                "ca-file",
                "certificate-file",
                "certificate-key-file",
                "insecure",
                "window",
                "backlog-rate",
                "outbox-max",
                "outbox-age",
                "outbox-full",
                "outbox-retention",
            ],
        ),
    ],
};

/// A sink.
#[derive(Debug)]
pub(crate) struct SinkConfig {
    pub(crate) name: Located<String>,
    /// The query's name.
    pub(crate) from: Located<String>,
    pub(crate) branch: Branch,
    pub(crate) connector: SinkConnector,
    pub(crate) format: SinkFormat,
}

/// Which rows of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Branch {
    /// Its results.
    Results,
    /// Rows that came too late for their window.
    Late,
}

/// What a sink writes to.
#[derive(Debug, Clone)]
pub(crate) enum SinkConnector {
    Print,
    File(PathBuf),
    Mqtt(Box<MqttSinkConfig>),
}

/// A sink at an MQTT broker.
#[derive(Debug, Clone)]
pub(crate) struct MqttSinkConfig {
    url: String,
    /// Topic, with places for columns.
    pub(crate) topic: Located<Template>,
    change: MqttChange,
}

/// How a row is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SinkFormat {
    /// A JSON object.
    Json,
    /// Values with a delimiter between them, in quotes where needed.
    Csv {
        /// One ASCII character.
        delimiter: u8,
    },
    /// Values with a blank between them.
    Text,
    /// A text with places for columns.
    Template(Located<Template>),
}

/// Everything of an MQTT sink but its URL and topic.
#[derive(Debug, Clone)]
struct MqttChange {
    qos: Qos,
    retain: bool,
    client_id: Option<String>,
    credentials_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    identity: Option<(PathBuf, PathBuf)>,
    insecure: bool,
    window: Option<u16>,
    backlog_rate: Option<u32>,
    outbox_max: Option<u64>,
    outbox_age: Option<Duration>,
    outbox_full: WhenFull,
    outbox_retention: Option<Duration>,
}

impl MqttSinkConfig {
    /// The sink for rows of these columns; `None` when the topic names a column that is not among them.
    pub(crate) fn publish(&self, columns: &[&str]) -> Option<MqttPublish> {
        Some(self.change.apply(MqttPublish::new(&self.url, self.topic.value.numbered(columns)?)))
    }
}

impl MqttChange {
    fn apply(&self, sink: MqttPublish) -> MqttPublish {
        let mut sink = sink.qos(self.qos).retain(self.retain).when_full(self.outbox_full);
        if let Some(client_id) = &self.client_id {
            sink = sink.client_id(client_id);
        }
        if let Some(file) = &self.credentials_file {
            sink = sink.credentials(file);
        }
        if let Some(file) = &self.ca_file {
            sink = sink.ca(file);
        }
        if let Some((certificate, key)) = &self.identity {
            sink = sink.identity(certificate, key);
        }
        if self.insecure {
            sink = sink.insecure();
        }
        if let Some(window) = self.window {
            sink = sink.window(window);
        }
        if let Some(rate) = self.backlog_rate {
            sink = sink.backlog_rate(rate);
        }
        if let Some(bytes) = self.outbox_max {
            sink = sink.outbox_bytes_max(bytes);
        }
        if let Some(age) = self.outbox_age {
            sink = sink.outbox_age_max(age);
        }
        match self.outbox_retention {
            Some(retention) => sink.retention(retention),
            None => sink,
        }
    }
}

/// One `[[sink]]`.
pub(super) fn sink(section: &mut Section<'_>) -> Option<SinkConfig> {
    let name = section.name("name", "output");
    if let Some(name) = &name {
        section.title = format!("sink `{}`", name.value);
    }
    let kinds: Vec<_> = SINK_KEYS.of_type.iter().map(|(kind, _)| (*kind, *kind)).collect();
    let kind = section.choice("type", &kinds).map(|kind| kind.value);
    section.check_keys(&SINK_KEYS, kind);
    if section.node("type").is_none() {
        section.missing("type", "\"print\"");
    }
    let connector = match kind {
        Some("print") => Some(SinkConnector::Print),
        Some("file") => file(section),
        Some("mqtt") => mqtt(section),
        _ => None,
    };
    let format = format(section);
    let from = section.required("from", "averages")?;
    let (query, branch) = match from.value.strip_suffix(LATE) {
        Some(query) => (query.to_owned(), Branch::Late),
        None => (from.value.clone(), Branch::Results),
    };
    Some(SinkConfig {
        name: name?,
        from: Located { value: query, at: from.at },
        branch,
        connector: connector?,
        format: format?,
    })
}

fn format(section: &Section<'_>) -> Option<SinkFormat> {
    let formats = [("json", "json"), ("csv", "csv"), ("text", "text"), ("template", "template")];
    let given = section.choice("format", &formats);
    let is_template = section.node("template").is_some();
    let template = section.parsed::<Template>("template", "({key},{average})");
    let delimiter = delimiter(section);
    let format = match &given {
        Some(format) => format.value,
        // A value that is wrong was reported.
        None if section.node("format").is_some() => return None,
        None if is_template => "template",
        None => "json",
    };
    for (key, of) in [("template", "template"), ("delimiter", "csv")] {
        if section.node(key).is_some() && format != of {
            let fault =
                Diagnostic::new(format!("{} has the format {format}, which has no `{key}`", section.title));
            let fault = fault.at(&section.place(key)).label(format!("a key of the format {of}"));
            section.report(fault.help(format!("remove it, or write `format = {of:?}`")));
        }
    }
    Some(match format {
        "json" => SinkFormat::Json,
        "csv" => SinkFormat::Csv { delimiter: delimiter.unwrap_or(b',') },
        "text" => SinkFormat::Text,
        _ => {
            if !is_template {
                section.missing("template", "\"({key},{average})\"");
            }
            SinkFormat::Template(template?)
        }
    })
}

fn file(section: &Section<'_>) -> Option<SinkConnector> {
    if section.node("path").is_none() {
        section.missing("path", "\"results.jsonl\"");
    }
    section.path("path", "results.jsonl").map(SinkConnector::File)
}

fn mqtt(section: &Section<'_>) -> Option<SinkConnector> {
    if cfg!(not(feature = "sled")) {
        let fault =
            Diagnostic::new("this program was built without sled, which holds the outbox of an MQTT sink");
        section.report(
            fault.at(&section.place("type")).help("use another type, or a build with the feature `sled`"),
        );
    }
    let retain = section.boolean("retain").unwrap_or(false);
    let window = section.integer("window", 1..=u64::from(u16::MAX));
    let backlog_rate = section.integer("backlog-rate", 1..=u64::from(u32::MAX));
    let outbox_max = section.size("outbox-max", OUTBOX_BYTES_MIN..=u64::MAX);
    let outbox_age = section.duration("outbox-age", Duration::from_millis(1));
    let policies = [
        ("drop-oldest", WhenFull::DropOldest),
        ("block", WhenFull::Block),
        ("summarise", WhenFull::Summarise),
    ];
    let outbox_full = section.choice("outbox-full", &policies);
    let outbox_retention = section.duration("outbox-retention", Duration::ZERO);
    let topic = topic(section);
    let broker = broker(section)?;
    let change = MqttChange {
        qos: broker.qos.unwrap_or(Qos::AtLeastOnce),
        retain,
        client_id: broker.client_id,
        credentials_file: broker.credentials_file,
        ca_file: broker.ca_file,
        identity: broker.identity,
        insecure: broker.insecure,
        window: window.and_then(|window| u16::try_from(window).ok()),
        backlog_rate: backlog_rate.and_then(|rate| u32::try_from(rate).ok()),
        outbox_max,
        outbox_age,
        outbox_full: outbox_full.map_or(WhenFull::default(), |policy| policy.value),
        outbox_retention,
    };
    Some(SinkConnector::Mqtt(Box::new(MqttSinkConfig { url: broker.url.value, topic: topic?, change })))
}

fn topic(section: &Section<'_>) -> Option<Located<Template>> {
    let example = "alarms/{sensor}";
    let text = section.required("topic", example)?;
    if text.value.starts_with('$') || text.value.contains(['+', '#', '\0']) {
        let reason = "a topic must not begin with `$`, or hold `+`, `#` or NUL";
        section.wrong_value("topic", &text.at, reason, example);
        return None;
    }
    section.parsed::<Template>("topic", example)
}
