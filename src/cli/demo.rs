//! `tidegate demo`: the reference job.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use tracing::level_filters::LevelFilter;

use super::archive::{device, retention, trust};
use super::demo_arguments::{
    AckName, BackendName, CompressionName, DemoArguments, JournalArgument, KeyLimitName,
};
use super::mqtt::ExactnessName;
use super::report::report;
use super::running_average::{JOB, running_averages};
use super::sequenced_average::sequenced_averages;
use super::{allocator, board, logging, mqtt, publish, signals};
use crate::board::{ChosenBoard, JobSize};
use crate::checkpoint::{ArchiveError, UploadLimits};
use crate::config::{BackendKind, ByteSize, DemoDefaults, Interval, data_directory};
use crate::runtime::{
    Compression, JobError, JournalSettings, NotifySocket, RemoteSettings, SHIP_JOURNAL_INTERVAL, Settings,
    Start, StopHandle,
};
use crate::source::generator::Generator;
use crate::source::{Acknowledge, Retry, TcpConnect, TcpListen};
use crate::state::KeyLimitPolicy;
use crate::stream::{Environment, TextStream};

pub(super) fn run(arguments: &DemoArguments) -> anyhow::Result<()> {
    logging::start(match (arguments.quiet, arguments.verbose) {
        (true, _) => LevelFilter::WARN,
        (_, true) => LevelFilter::DEBUG,
        _ => LevelFilter::INFO,
    });
    let board = board::of_demo(arguments.board.as_deref())?;
    let settings = settings(arguments, &board)?;
    if settings.memory_max.is_some() {
        allocator::restart_frugally();
    }
    board::log(&board);
    let stop = StopHandle::new();
    signals::watch(stop.clone()).context("cannot watch for signals")?;
    let environment = Environment::with_settings(JOB, settings);
    let lines = source(arguments, &environment)?;
    let averages = match arguments.mqtt_options.exactness {
        Some(ExactnessName::Sequence) => sequenced_averages(lines),
        _ => running_averages(lines),
    };
    match (publish::sink(&arguments.publish_options), &arguments.output) {
        (None, None) => averages.print(),
        (None, Some(path)) => averages.write_to_file(path),
        (Some(sink), None) => averages.publish_to_mqtt(sink),
        (Some(sink), Some(path)) => {
            let (published, written) = averages.tee();
            published.publish_to_mqtt(sink);
            written.write_to_file(path);
        }
    }
    report(&environment.execute_until(stop)?);
    Ok(())
}

fn settings(arguments: &DemoArguments, chosen: &ChosenBoard) -> anyhow::Result<Settings> {
    let board = chosen.profile.settings();
    let kind = arguments.backend.map_or(chosen.profile.backend(), |backend| match backend {
        BackendName::Memory => BackendKind::Memory,
        BackendName::File => BackendKind::File,
        BackendName::Sled => BackendKind::Sled,
        BackendName::RocksDb => BackendKind::RocksDb,
    });
    let backend = kind.at(|| checkpoint_directory(arguments))?;
    let control = backend.directory().map(Path::to_owned).or_else(|| arguments.checkpoint_dir.clone());
    let mut journal = board.journal.unwrap_or_default();
    if let Some(bytes_max) = arguments.journal_max {
        journal.bytes_max = bytes_max.0;
        // At least four segments must fit.
        journal.segment_bytes = journal.segment_bytes.min(journal.bytes_max / 4).max(64 << 10);
    }
    if arguments.journal_compression == CompressionName::Lz4 {
        journal.compression = Compression::Lz4;
    }
    let journal = match arguments.journal_sync {
        Some(JournalArgument::None) => None,
        Some(JournalArgument::Sync(sync)) => Some(JournalSettings { sync, ..journal }),
        None => Some(journal),
    };
    let settings = Settings {
        remote: remote(arguments)?,
        journal,
        parallelism: usize::from(arguments.parallelism),
        threads: arguments.threads.map_or(board.threads, usize::from),
        backend,
        start: match &arguments.from_savepoint {
            Some(path) => Start::Savepoint(path.clone()),
            None if arguments.fresh => Start::Empty,
            None => Start::NewestCheckpoint,
        },
        control,
        checkpoint_interval: arguments.interval.map_or(board.checkpoint_interval, |interval| interval.0),
        memory_max: arguments.memory_max.map(|size| size.0).or(board.memory_max),
        keys_max: arguments.keys_max.or(board.keys_max),
        key_limit_policy: match arguments.key_limit {
            KeyLimitName::Stop => KeyLimitPolicy::Stop,
            KeyLimitName::EvictOldest => KeyLimitPolicy::EvictOldest,
            KeyLimitName::RejectToDeadLetter => KeyLimitPolicy::RejectToDeadLetter,
        },
        batch_timeout: match arguments.batch_timeout {
            None => board.batch_timeout,
            Some(Interval(timeout)) => Some(timeout).filter(|timeout| !timeout.is_zero()),
        },
        notify: NotifySocket::from_environment(),
        ..board
    };
    let mqtt_sinks = usize::from(publish::sink(&arguments.publish_options).is_some());
    let size = JobSize {
        sources: 1,
        sinks: (mqtt_sinks + usize::from(arguments.output.is_some())).max(1),
        mqtt_sinks,
        queries: 1,
        has_remote: settings.remote.is_some(),
    };
    board::check_fit(chosen, &settings, size)?;
    Ok(settings)
}

fn remote(arguments: &DemoArguments) -> anyhow::Result<Option<RemoteSettings>> {
    let Some(address) = &arguments.remote else { return Ok(None) };
    let device = device(&arguments.archive);
    let mut remote =
        RemoteSettings::new(address, device, trust(&arguments.archive)?).map_err(ArchiveError::from)?;
    if let Some(Interval(interval)) = arguments.remote_interval {
        remote.interval = interval;
    }
    if arguments.ship_journal {
        let interval = arguments.ship_journal_interval.map(|interval| interval.0);
        remote.ship_journal = Some(interval.unwrap_or(SHIP_JOURNAL_INTERVAL));
    }
    remote.retention = retention(&arguments.retention);
    let bytes = |size: ByteSize| size.0;
    remote.limits = UploadLimits {
        bytes_per_second: arguments.upload_bytes_per_second.map(bytes),
        bytes_per_day: arguments.upload_bytes_per_day.map(bytes),
        window: arguments.upload_window,
    };
    remote.take_over = arguments.take_over;
    remote.accept_rollback = arguments.accept_rollback;
    remote.min_generation = arguments.min_generation;
    Ok(Some(remote))
}

/// Each source has a directory of its own: averages of one must not go on with the readings of another.
fn checkpoint_directory(arguments: &DemoArguments) -> Result<PathBuf, JobError> {
    if let Some(directory) = &arguments.checkpoint_dir {
        return Ok(directory.clone());
    }
    let data = data_directory().ok_or_else(|| {
        JobError::Configuration("no data directory: HOME is not set; give --checkpoint-dir".to_owned())
    })?;
    if let Some(url) = &arguments.mqtt {
        return Ok(data.join(format!("demo-mqtt-{}", file_name(url))));
    }
    if let Some((kind, place)) = arguments.sockets.place() {
        return Ok(data.join("tidegate").join(format!("demo-{kind}-{}", file_name(&place))));
    }
    let source = match (&arguments.connect, &arguments.listen) {
        (Some(address), _) => format!("demo-connect-{}", file_name(address)),
        (_, Some(address)) => format!("demo-listen-{}", file_name(&address.to_string())),
        _ => "demo-sensors".to_owned(),
    };
    Ok(data.join(source))
}

/// `address` with everything but letters, digits, dots and dashes replaced.
fn file_name(address: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '_' };
    address.chars().map(allowed).collect()
}

fn source(arguments: &DemoArguments, environment: &Environment) -> anyhow::Result<TextStream> {
    let defaults = DemoDefaults::embedded();
    let line_bytes_max = arguments.line_max.unwrap_or(defaults.listen.line_bytes_max).in_memory();
    if let Some(url) = &arguments.mqtt {
        return Ok(environment
            .mqtt_stream(mqtt::source(url, &arguments.mqtt_options).message_bytes_max(line_bytes_max)));
    }
    let sockets = &arguments.sockets;
    if let Some(address) = sockets.udp {
        return Ok(environment.udp_stream(sockets.udp(address).datagram_bytes_max(line_bytes_max)));
    }
    if let Some(path) = &sockets.unix_datagram {
        let source = sockets.unix_datagram(path).datagram_bytes_max(line_bytes_max);
        return Ok(environment.unix_datagram_stream(source));
    }
    let idle_timeout = arguments.idle_timeout.unwrap_or(defaults.listen.idle_timeout).0;
    let idle_timeout = Some(idle_timeout).filter(|timeout| *timeout > Duration::ZERO);
    let connections_max = arguments.connections_max.map_or(defaults.listen.connections_max, usize::from);
    let acknowledge = match arguments.ack {
        AckName::None => Acknowledge::Nothing,
        AckName::Lines => Acknowledge::Lines,
    };
    if let Some(address) = arguments.listen {
        let source = TcpListen::new(address)
            .line_bytes_max(line_bytes_max)
            .acknowledge(acknowledge)
            .idle_timeout(idle_timeout)
            .connections_max(connections_max);
        return Ok(environment.listen(sockets.secure(source)));
    }
    if let Some(path) = &sockets.unix {
        let source = sockets
            .unix(path)
            .line_bytes_max(line_bytes_max)
            .acknowledge(acknowledge)
            .idle_timeout(idle_timeout)
            .connections_max(connections_max);
        return Ok(environment.unix_stream(source));
    }
    let (address, retry) = match &arguments.connect {
        Some(address) => {
            (address.clone(), arguments.retry_for.unwrap_or(Retry::For(defaults.connect.retry_for.0)))
        }
        None => {
            let generator = Generator {
                sensors: arguments.sensors.unwrap_or(defaults.generator.sensors),
                readings_per_second: arguments.rate.unwrap_or(defaults.generator.readings_per_second),
                readings_max: arguments.readings,
            };
            let address = generator.start().context("cannot start the simulated sensors")?;
            (address.to_string(), Retry::For(Duration::ZERO))
        }
    };
    Ok(environment.connect(TcpConnect::new(address).retry(retry).line_bytes_max(line_bytes_max)))
}
