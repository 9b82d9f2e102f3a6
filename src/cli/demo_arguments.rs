//! The syntax of `tidegate demo`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};

use super::arguments::{ArchiveArguments, RetentionArguments};
use super::mqtt::MqttArguments;
use super::publish::PublishArguments;
use super::sockets::{SocketArguments, parse_listen};
use crate::checkpoint::UploadWindow;
use crate::config::{ByteSize, Interval};
use crate::runtime::JournalSync;
use crate::source::Retry;

/// Arguments of `tidegate demo`.
#[derive(Debug, Args)]
pub struct DemoArguments {
    /// Read lines from the server at this address; reconnects when the connection ends
    #[arg(long, value_name = "HOST:PORT", group = "source", help_heading = "Source")]
    pub connect: Option<String>,

    /// With --connect: how long the server may stay away before the input counts as ended [default: 10s]
    ///
    /// `forever` never gives up; `0s` ends with the first connection.
    #[arg(long, value_name = "TIME", value_parser = parse_retry, requires = "connect", help_heading = "Source")]
    pub retry_for: Option<Retry>,

    /// Read lines from clients that connect to this address; a port alone listens on the loopback address
    #[arg(long, value_name = "[ADDR:]PORT", value_parser = parse_listen, groups = ["source", "server"], help_heading = "Source")]
    pub listen: Option<SocketAddr>,

    /// With --listen or --unix: disconnect a client that sends nothing for this long; `0s` never does [default: 60s]
    #[arg(long, value_name = "TIME", requires = "server", help_heading = "Source")]
    pub idle_timeout: Option<Interval>,

    /// With --listen or --unix: clients connected at once; more are turned away [default: 256]
    #[arg(long, value_name = "N", requires = "server", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Source")]
    pub connections_max: Option<u16>,

    /// With --listen or --unix: acknowledge; clients open with `HELLO <client-id>` and are told `DURABLE <lines>`
    #[arg(long, value_enum, default_value_t = AckName::None, requires = "server", help_heading = "Source")]
    pub ack: AckName,

    /// Subscribe at this broker, `mqtt://HOST[:PORT]` or `mqtts://HOST[:PORT]`; a payload is one or more lines
    #[arg(long, value_name = "URL", group = "source", help_heading = "Source")]
    pub mqtt: Option<String>,

    // No doc comment: it would be the help of the command.
    #[command(flatten)]
    pub mqtt_options: MqttArguments,

    // No doc comment: it would be the help of the command.
    #[command(flatten)]
    pub sockets: SocketArguments,

    /// Longest line without its end, or longest message or datagram; a longer one is dropped and counted [default: 64KiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_line_max, help_heading = "Source")]
    pub line_max: Option<ByteSize>,

    /// Simulated sensors: readings a second, of all together [default: 20]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000), conflicts_with = "source", help_heading = "Source")]
    pub rate: Option<u32>,

    /// Simulated sensors: how many there are [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "source", help_heading = "Source")]
    pub sensors: Option<u32>,

    /// Simulated sensors: end after this many readings
    #[arg(long, value_name = "N", conflicts_with = "source", help_heading = "Source")]
    pub readings: Option<u64>,

    // No doc comment: it would be the help of the command.
    #[command(flatten)]
    pub publish_options: PublishArguments,

    /// Where state is held and its checkpoints go
    ///
    /// `memory` survives only a failing operator, the others the process. `sled` and `rocksdb` hold more keys than fit in
    /// memory. [default: that of the board, `file` for the generic one]
    #[arg(long, value_enum, help_heading = "State")]
    pub backend: Option<BackendName>,

    /// Memory of the whole process, at least 32MiB: state, caches, batches and queues are measured out from it [default: that
    /// of the board; the generic one has no limit]
    ///
    /// Where it is reached, caches shrink and sources are slowed; `memory` and `file` apply --key-limit to new keys.
    #[arg(long, value_name = "SIZE", help_heading = "State")]
    pub memory_max: Option<ByteSize>,

    /// Keys held at most, by the backends `memory` and `file` [default: no limit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "State")]
    pub keys_max: Option<u64>,

    /// What happens to a new key at --keys-max or --memory-max, in the backends `memory` and `file`
    #[arg(long, value_enum, value_name = "POLICY", default_value_t = KeyLimitName::Stop, help_heading = "State")]
    pub key_limit: KeyLimitName,

    /// Directory of checkpoints, journal, savepoints and control socket [default: one for each source under the user's data
    /// directory]
    ///
    /// With `memory` only for savepoints and the control socket, and only when given.
    #[arg(long, value_name = "DIR", visible_alias = "data-dir", help_heading = "State")]
    pub checkpoint_dir: Option<PathBuf>,

    /// When readings are made durable: `always`, at an interval such as `500ms`, `off`; `none` keeps no journal
    ///
    /// Results and acknowledgements leave only after their readings are durable. Not with `--backend memory`.
    #[arg(long, value_name = "SYNC", value_parser = parse_journal, overrides_with = "journal_sync", help_heading = "State")]
    pub journal_sync: Option<JournalArgument>,

    /// Most the journal may take on the disk; at the limit the source is slowed [default: 256MiB]
    #[arg(long, value_name = "SIZE", help_heading = "State")]
    pub journal_max: Option<ByteSize>,

    /// Pack the journal's batches
    #[arg(long, value_enum, default_value_t = CompressionName::None, help_heading = "State")]
    pub journal_compression: CompressionName,

    /// Time from one checkpoint to the next, at least 10ms [default: 2s]
    #[arg(long, value_name = "TIME", help_heading = "State")]
    pub interval: Option<Interval>,

    /// Start empty instead of from the newest checkpoint; old checkpoints stay until new ones replace them
    #[arg(long, help_heading = "State")]
    pub fresh: bool,

    /// Start with the state of this savepoint, whatever backend and parallelism took it
    ///
    /// Older checkpoints and the journal are not gone back to. A file given with --output is cut to where the savepoint
    /// found it.
    #[arg(long, value_name = "PATH", conflicts_with = "fresh", help_heading = "State")]
    pub from_savepoint: Option<PathBuf>,

    /// Ship checkpoints to this remote, such as file:///mnt/backup, and restore from it when there is nothing here
    #[arg(long, value_name = "URI", help_heading = "Remote")]
    pub remote: Option<String>,

    /// The archive.
    #[command(flatten)]
    pub archive: ArchiveArguments,

    /// Least time between two checkpoints on the remote [default: 10s]
    #[arg(long, value_name = "TIME", requires = "remote", help_heading = "Remote")]
    pub remote_interval: Option<Interval>,

    /// Ship the journal too, as it grows: a lost device then loses seconds, not what came in since a checkpoint
    #[arg(long, requires = "remote", help_heading = "Remote")]
    pub ship_journal: bool,

    /// Least time between two pieces of the journal that are shipped [default: 5s]
    #[arg(long, value_name = "TIME", requires = "ship_journal", help_heading = "Remote")]
    pub ship_journal_interval: Option<Interval>,

    /// What stays on the remote.
    #[command(flatten)]
    pub retention: RetentionArguments,

    /// Most bytes sent a second, on average, such as 32KiB
    #[arg(long, value_name = "SIZE", requires = "remote", help_heading = "Remote")]
    pub upload_bytes_per_second: Option<ByteSize>,

    /// Most bytes sent a day (UTC), such as 20MiB
    #[arg(long, value_name = "SIZE", requires = "remote", help_heading = "Remote")]
    pub upload_bytes_per_day: Option<ByteSize>,

    /// Hours of the day (UTC) in which checkpoints are shipped, such as 01:00-05:00
    #[arg(long, value_name = "HH:MM-HH:MM", requires = "remote", help_heading = "Remote")]
    pub upload_window: Option<UploadWindow>,

    /// Ship although another device has taken over this one's identity
    #[arg(long, requires = "remote", help_heading = "Remote")]
    pub take_over: bool,

    /// Restore also what is older than what this device has seen
    #[arg(long, requires = "remote", help_heading = "Remote")]
    pub accept_rollback: bool,

    /// Restore only when the newest on the remote is of this generation at least
    #[arg(long, value_name = "N", requires = "remote", default_value_t = 0, help_heading = "Remote")]
    pub min_generation: u64,

    /// The board it runs on, whose defaults apply; `detect` looks at this machine [default: generic]
    #[arg(long, value_name = "NAME", help_heading = "Runtime")]
    pub board: Option<String>,

    /// Parallel subtasks of each stage
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64), help_heading = "Runtime")]
    pub parallelism: u16,

    /// Worker threads [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64), help_heading = "Runtime")]
    pub threads: Option<u16>,

    /// An operator that does not return within this time has failed, and the job goes on without its thread; `0s` waits for
    /// ever [default: 60s]
    #[arg(long, value_name = "TIME", help_heading = "Runtime")]
    pub batch_timeout: Option<Interval>,

    /// Append results to this file instead of printing them
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub output: Option<PathBuf>,

    /// Log warnings and errors only
    #[arg(long, short, conflicts_with = "verbose", help_heading = "Output")]
    pub quiet: bool,

    /// Log more
    #[arg(long, short, help_heading = "Output")]
    pub verbose: bool,
}

/// The state backends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BackendName {
    /// State and checkpoints on the heap
    Memory,
    /// State on the heap, checkpoints in a directory
    File,
    /// State in a sled store, checkpoints in a directory
    Sled,
    /// State in a RocksDB store, checkpoints in a directory by hard links
    #[value(name = "rocksdb")]
    RocksDb,
}

/// What --key-limit takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KeyLimitName {
    /// The job ends with exit code 70
    Stop,
    /// The sixteenth of the keys not seen for longest is dropped, and counted
    EvictOldest,
    /// The reading is rejected, counted and kept in dead-letter.jsonl
    RejectToDeadLetter,
}

/// What --ack takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AckName {
    /// Clients just send lines
    None,
    /// Clients are told which of their lines are durable
    Lines,
}

/// What --journal-compression takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CompressionName {
    /// Not at all
    None,
    /// LZ4
    Lz4,
}

/// What --journal-sync takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JournalArgument {
    /// No journal.
    None,
    /// A journal, synced like this.
    Sync(JournalSync),
}

fn parse_journal(text: &str) -> Result<JournalArgument, String> {
    Ok(match text {
        "none" => JournalArgument::None,
        "always" => JournalArgument::Sync(JournalSync::Always),
        "off" => JournalArgument::Sync(JournalSync::Off),
        interval => match Interval::from_str(interval) {
            Ok(Interval(interval)) if interval.is_zero() => JournalArgument::Sync(JournalSync::Always),
            Ok(Interval(interval)) => JournalArgument::Sync(JournalSync::Every(interval)),
            Err(error) => return Err(format!("give always, off, none or an interval: {error}")),
        },
    })
}

fn parse_retry(text: &str) -> Result<Retry, String> {
    if text == "forever" {
        return Ok(Retry::Forever);
    }
    Interval::from_str(text).map(|Interval(limit)| Retry::For(limit)).map_err(|error| error.to_string())
}

fn parse_line_max(text: &str) -> Result<ByteSize, String> {
    let size: ByteSize = text.parse().map_err(|error: crate::config::UnitError| error.to_string())?;
    let (min, max) = (1, 16 << 20);
    if (min..=max).contains(&size.0) { Ok(size) } else { Err("a line may have 1 to 16MiB".to_owned()) }
}
