//! A job file on its way to a job: checked, its queries planned, its sources and sinks ready to be opened.

use std::path::Path;

use crate::board::Place;
use crate::config::{
    Branch, Diagnostic, Diagnostics, Located, SinkConnector, SinkFormat, SourceConfig, SourceConnector,
    SourceFormat, Template, TemplatePart, TextError, TimestampUnit as Unit,
};
use crate::config::{JobConfig, load_job};
use crate::query::{
    CsvFormat, FieldPath, Format, JobPart, LATE, OutputFormat, QueryError, QueryJob, QueryOptions, QuerySink,
    QuerySource, QueryText, Schema, TimestampUnit, WatermarkPer,
};
use crate::sink::SinkSpec;
use crate::source::{FileLines, Retry, SourceSpec, TcpConnect};

/// The columns of a source of the format `senml` that has no schema.
const SENML_COLUMNS: &str = "name STRING, unit STRING, value DOUBLE, string_value STRING, boolean_value BOOLEAN, \
                             data STRING, sum DOUBLE, time TIMESTAMP(3), update_time DOUBLE";
/// The column of a source of the format `raw` that has no schema.
const RAW_COLUMNS: &str = "payload STRING";

/// A job file whose queries are planned.
#[derive(Debug)]
pub(super) struct PlannedJob {
    pub(super) config: JobConfig,
    pub(super) job: QueryJob,
    pub(super) sources: Vec<QuerySource>,
}

impl PlannedJob {
    /// Reads the job file at `path`, with the `KEY=VALUE` of each `--set` and the board of `--board`, and plans its queries.
    /// Opens nothing else, but for a look at this machine where the job is to run here on a certain board.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(super) fn load(
        path: &Path,
        overrides: &[String],
        board: Option<&str>,
        place: Place,
    ) -> Result<Self, Diagnostics> {
        let config = load_job(path, overrides, board, place)?;
        let sources = sources(&config)?;
        let query = |query: &crate::config::QueryConfig| QueryText {
            name: query.name.value.clone(),
            sql: query.sql.text.clone(),
            options: QueryOptions {
                allowed_lateness: query.allowed_lateness,
                state_ttl: query.state_ttl,
                watermark_per: match query.watermark_per {
                    crate::config::WatermarkPer::Source => WatermarkPer::Source,
                    crate::config::WatermarkPer::KeyGroup => WatermarkPer::KeyGroup,
                },
            },
        };
        let queries: Vec<QueryText> = config.queries.iter().map(query).collect();
        let sinks = config.sinks.iter().map(|sink| QuerySink {
            from: match sink.branch {
                Branch::Results => sink.from.value.clone(),
                Branch::Late => format!("{}{LATE}", sink.from.value),
            },
            format: output_format(&sink.format),
        });
        let job = QueryJob::plan(sources.clone(), &queries, sinks.collect()).map_err(|errors| {
            config.refuse(errors.into_iter().map(|error| fault(&config, error)).collect())
        })?;
        let planned = Self { config, job, sources };
        planned.sink_specs()?;
        Ok(planned)
    }

    /// Where its sources are. A generator is started.
    ///
    /// # Errors
    /// A generator that cannot be started.
    pub(super) fn source_specs(&self) -> anyhow::Result<Vec<SourceSpec>> {
        self.config
            .sources
            .iter()
            .map(|source| {
                Ok(match &source.connector {
                    SourceConnector::TcpConnect(connect) => SourceSpec::TcpConnect(connect.clone()),
                    SourceConnector::TcpListen(listen) => SourceSpec::TcpListen(listen.clone()),
                    SourceConnector::Udp(udp) => SourceSpec::Udp(udp.clone()),
                    SourceConnector::Unix(unix) => SourceSpec::UnixListen(unix.clone()),
                    SourceConnector::UnixDatagram(unix) => SourceSpec::UnixDatagram(unix.clone()),
                    SourceConnector::Mqtt(mqtt) => SourceSpec::Mqtt(mqtt.as_ref().clone()),
                    SourceConnector::File(file) => {
                        SourceSpec::File(FileLines::new(&file.path).line_bytes_max(file.line_bytes_max))
                    }
                    SourceConnector::Generator(generator) => {
                        let address = generator.start()?;
                        let retry = Retry::For(std::time::Duration::ZERO);
                        SourceSpec::TcpConnect(TcpConnect::new(address.to_string()).retry(retry))
                    }
                })
            })
            .collect()
    }

    /// Where its sinks are.
    ///
    /// # Errors
    /// A topic that names a column there is not.
    pub(super) fn sink_specs(&self) -> Result<Vec<SinkSpec>, Diagnostics> {
        let fields = self.job.sinks().iter().map(|(_, fields)| fields);
        let (mut specs, mut faults) = (Vec::new(), Vec::new());
        for (sink, fields) in self.config.sinks.iter().zip(fields) {
            match &sink.connector {
                SinkConnector::Print => specs.push(SinkSpec::Print),
                SinkConnector::File(path) => specs.push(SinkSpec::File(path.clone())),
                SinkConnector::Mqtt(mqtt) => {
                    let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
                    match mqtt.publish(&names) {
                        Some(publish) => specs.push(SinkSpec::Mqtt(Box::new(publish))),
                        None => {
                            let mut named = mqtt.topic.value.columns();
                            let unknown = named.find(|column| !names.contains(column)).unwrap_or_default();
                            let message = format!("there is no column {unknown} in what the sink takes");
                            let help = format!("the columns are {}", names.join(", "));
                            faults.push(Diagnostic::new(message).at(&mqtt.topic.at).help(help));
                        }
                    }
                }
            }
        }
        if faults.is_empty() { Ok(specs) } else { Err(self.config.refuse(faults)) }
    }
}

/// A fault of the planner, at its place in the file.
fn fault(config: &JobConfig, (part, error): (JobPart, QueryError)) -> Diagnostic {
    let plain = |error: QueryError| {
        let fault = Diagnostic::new(error.message);
        match error.help {
            Some(help) => fault.help(help),
            None => fault,
        }
    };
    match part {
        JobPart::Query(at) => config.fault_in(&config.queries[at].sql, text_error(error)),
        JobPart::Source(at) => match &config.sources[at].schema {
            Some(schema) => config.fault_in(schema, text_error(error)),
            None => plain(error).at(&config.sources[at].name.at),
        },
        JobPart::Sink(at) => plain(error).at(&config.sinks[at].from.at),
        JobPart::SinkFormat(at) => match &config.sinks[at].format {
            SinkFormat::Template(template) => plain(error).at(&template.at),
            _ => plain(error).at(&config.sinks[at].name.at),
        },
    }
}

fn text_error(error: QueryError) -> TextError {
    TextError { message: error.message, span: error.span, help: error.help }
}

/// The sources as queries see them.
fn sources(config: &JobConfig) -> Result<Vec<QuerySource>, Diagnostics> {
    let (mut sources, mut faults) = (Vec::new(), Vec::new());
    for source in &config.sources {
        match query_source(config, source) {
            Ok(source) => sources.push(source),
            Err(fault) => faults.push(*fault),
        }
    }
    if faults.is_empty() { Ok(sources) } else { Err(config.refuse(faults)) }
}

fn query_source(config: &JobConfig, source: &SourceConfig) -> Result<QuerySource, Box<Diagnostic>> {
    let name = &source.name.value;
    let schema = match (&source.schema, source.format) {
        (Some(text), _) => {
            Schema::parse(name, &text.text).map_err(|error| config.fault_in(text, text_error(error)))?
        }
        (None, format) => {
            let columns = if format == SourceFormat::SenMl { SENML_COLUMNS } else { RAW_COLUMNS };
            Schema::parse(name, columns)
                .map_err(|error| Diagnostic::new(error.message).at(&source.name.at))?
        }
    };
    let mut query_source = QuerySource::new(name, schema, format(source.format));
    for (column, path) in &source.paths {
        let refused =
            |message: String| Diagnostic::new(message).at(&path.at).help("write a path as data.values[0].t");
        let parsed = FieldPath::parse(&path.value).map_err(refused)?;
        if !query_source.set_path(&column.value, parsed) {
            let fault = Diagnostic::new(format!(
                "the schema has no column {} that comes from the JSON",
                column.value
            ));
            let help = "name a column of the schema that is neither metadata nor computed";
            return Err(Box::new(fault.at(&column.at).help(help)));
        }
    }
    query_source.set_timestamp_unit(match source.timestamp_unit {
        Unit::Seconds => TimestampUnit::Seconds,
        Unit::Milliseconds => TimestampUnit::Milliseconds,
        Unit::Microseconds => TimestampUnit::Microseconds,
        Unit::Nanoseconds => TimestampUnit::Nanoseconds,
    });
    let milliseconds = |time: std::time::Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    query_source.max_ahead_ms = source.max_ahead.map(milliseconds);
    query_source.idle_ms = source.idle_timeout.map(milliseconds);
    query_source.is_file = matches!(source.connector, SourceConnector::File(_));
    Ok(query_source)
}

fn format(format: SourceFormat) -> Format {
    match format {
        SourceFormat::Json => Format::Json,
        SourceFormat::Csv { delimiter } => {
            Format::Csv(CsvFormat { delimiter: char::from(delimiter), ..CsvFormat::default() })
        }
        SourceFormat::Text => Format::Text,
        SourceFormat::SenMl => Format::Senml,
        SourceFormat::Raw => Format::Raw,
    }
}

fn output_format(format: &SinkFormat) -> OutputFormat {
    match format {
        SinkFormat::Json => OutputFormat::Json,
        SinkFormat::Csv { delimiter } => OutputFormat::Csv { delimiter: char::from(*delimiter) },
        SinkFormat::Text => OutputFormat::Text,
        SinkFormat::Template(Located { value, .. }) => OutputFormat::Template(template(value)),
    }
}

/// The template as it is written.
fn template(template: &Template) -> String {
    let part = |part: &TemplatePart| match part {
        TemplatePart::Text(text) => text.replace('{', "{{").replace('}', "}}"),
        TemplatePart::Column(name) => format!("{{{name}}}"),
    };
    template.parts().iter().map(part).collect()
}
