//! The command line's syntax.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::board::BoardCommand;
use super::check::{CheckArguments, ExplainArguments};
#[cfg(feature = "completions")]
use super::completions::CompletionsArguments;
use super::demo_arguments::DemoArguments;
use super::dry_run::TestArguments;
use super::mqtt::ExactnessName;
use super::outbox::OutboxCommand;
use super::run::RunArguments;

const EXIT_CODES: &str = "\
Exit codes:
  0    the input ended, or the job was asked to stop (SIGTERM, Ctrl-C) and did so in order
  1    `test`: the results are not those expected
  2    the command line is wrong
  69   the source is not available: the port is in use, or the server or the remote cannot be reached; or no job runs to
       take a savepoint of
  70   an operator kept failing or hanging, its state is at its limit, the runtime failed, or `journal`, `checkpoint`,
       `restore`, `replay` or `state` found damage
  73   the checkpoint directory cannot be used, or has no room for what is restored
  74   results, state, the last checkpoint or a savepoint could not be written
  78   a setting is wrong, the job cannot run on its board or does not fit it, the saved state does not fit the job, the remote was set back or belongs to another device
       now, or `checkpoint`, `replay`, `restore` or `state` lacks what is asked for
  130  a second Ctrl-C ended the process at once";

/// A stream-processing runtime for edge devices.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, about, after_help = EXIT_CODES)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a job from a file: sources, queries in SQL, sinks
    #[command(after_help = EXIT_CODES)]
    Run(RunArguments),

    /// Check a job file and show its plan: each step with its types, key and state, and where memory goes. Opens nothing but
    /// the file
    Check(CheckArguments),

    /// Run a job file over samples, without network and with a virtual clock, and show or compare its results
    Test(TestArguments),

    /// Look at the boards there are profiles of: what they have, and the defaults of a job that follow; or find out which
    /// one this machine is
    #[command(after_help = EXIT_CODES)]
    #[command(subcommand)]
    Board(BoardCommand),

    /// List the functions and aggregates of queries
    Functions,

    /// Print the script that completes this program's arguments in a shell
    #[cfg(feature = "completions")]
    Completions(CompletionsArguments),

    /// Print the manual page
    #[cfg(feature = "completions")]
    Man,

    /// Show the plan of a query of a job file
    Explain(ExplainArguments),

    /// Run the reference job: the running average of each sensor's readings
    ///
    /// Reads lines `key value` (two integers separated by blanks), and from a key's second reading on prints
    /// `(key,average)`: the sum of the key's readings divided by their count, as integers. Results go to standard
    /// output, messages to standard error.
    ///
    /// Without --connect, --listen, --unix, --unix-datagram, --udp or --mqtt, simulated sensors send their readings through a loopback socket.
    ///
    /// Every --interval the state is saved under --checkpoint-dir, and a later start carries on from there.
    #[command(after_help = EXIT_CODES)]
    Demo(Box<DemoArguments>),

    /// Bring a checkpoint from a remote to an empty data directory
    #[command(after_help = EXIT_CODES)]
    Restore(RestoreArguments),

    /// Look at the checkpoints of a data directory or on a remote, ship one, or remove older ones
    #[command(after_help = EXIT_CODES)]
    Checkpoint(CheckpointCommand),

    /// Look at a journal, also one copied from another device; changes nothing
    Journal(JournalCommand),

    /// Look at the results of a stopped job that wait for their broker, or let delivered ones be sent again
    #[command(after_help = EXIT_CODES)]
    Outbox(OutboxCommand),

    /// Run the reference job again over its checkpoints and its journal, also those copied from another device
    ///
    /// Gives the results of every batch that is kept, byte for byte as they were delivered, and on standard error a summary
    /// with a hash of the final state. Changes nothing in the directory, which may be a read-only mount, damaged, or in
    /// use.
    #[command(after_help = EXIT_CODES)]
    Replay(ReplayArguments),

    /// Take a savepoint of a running job: its whole state, for any backend and any parallelism, kept until you remove it
    ///
    /// Prints the savepoint's directory on standard output and its figures on standard error. Start from it with
    /// `tidegate demo --from-savepoint`.
    #[command(after_help = EXIT_CODES)]
    Savepoint(SavepointArguments),

    /// Look at the state in checkpoints or in a savepoint, also those copied from another device; changes nothing
    ///
    /// A damaged checkpoint is passed over, with a warning, for the one before it.
    #[command(after_help = EXIT_CODES)]
    State(StateCommand),
}

/// Arguments of `tidegate savepoint`.
#[derive(Debug, Args)]
pub struct SavepointArguments {
    /// The data directory of the running job (`--data-dir` of `tidegate demo`), or the job's folder in it
    #[arg(long, value_name = "DIR", visible_alias = "checkpoint-dir")]
    pub data_dir: PathBuf,

    /// The savepoint's directory, which must not exist yet [default: the next number in `savepoints` of the job's folder]
    #[arg(long, value_name = "PATH")]
    pub to: Option<PathBuf>,

    /// Stop the job in order: what it has read is processed, and nothing after the savepoint
    #[arg(long)]
    pub stop: bool,

    /// Path and figures as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `tidegate state`.
#[derive(Debug, Args)]
pub struct StateCommand {
    /// What to do
    #[arg(value_enum)]
    pub action: StateAction,

    /// A data directory with one job, a job's folder, or a savepoint
    pub directory: PathBuf,

    /// Only this operator
    #[arg(long, value_name = "NAME")]
    pub operator: Option<String>,

    /// With `get`: the key, as the number or text it is, or its encoded form as `hex:0a1b`
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    pub key: Option<String>,

    /// With `list`: one JSON object. `get` and `export` always give JSON
    #[arg(long)]
    pub json: bool,
}

/// What to do with saved state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StateAction {
    /// Operators, their states, and how much there is of each
    List,
    /// One key's values and timers
    Get,
    /// Every key, one JSON object a line
    Export,
}

/// Which archive on a remote, and what of it is believed.
#[derive(Debug, Args)]
pub struct ArchiveArguments {
    /// Name of the device on the remote [default: the host's name]
    #[arg(long, value_name = "NAME", help_heading = "Remote")]
    pub device: Option<String>,

    /// File with the key that authenticates what is on the remote: 64 hexadecimal digits, readable by you only
    #[arg(long, value_name = "FILE", help_heading = "Remote")]
    pub remote_key: Option<PathBuf>,

    /// File with the key that encrypts what is on the remote; the same form
    #[arg(long, value_name = "FILE", help_heading = "Remote")]
    pub remote_encryption_key: Option<PathBuf>,

    /// Believe whoever can write to the remote
    #[arg(long, help_heading = "Remote")]
    pub allow_unsigned: bool,
}

/// What stays on a remote.
#[derive(Debug, Args)]
pub struct RetentionArguments {
    /// Checkpoints kept on the remote: the newest [default: 3]
    #[arg(long, value_name = "N", requires = "remote", value_parser = clap::value_parser!(u16).range(1..=1000), help_heading = "Remote")]
    pub remote_retain: Option<u16>,

    /// Beside them the last of each of so many days (UTC) [default: 0]
    #[arg(long, value_name = "N", requires = "remote", value_parser = clap::value_parser!(u16).range(..=1000), help_heading = "Remote")]
    pub remote_retain_daily: Option<u16>,

    /// And of each of so many weeks [default: 0]
    #[arg(long, value_name = "N", requires = "remote", value_parser = clap::value_parser!(u16).range(..=1000), help_heading = "Remote")]
    pub remote_retain_weekly: Option<u16>,
}

/// Arguments of `tidegate restore`.
#[derive(Debug, Args)]
pub struct RestoreArguments {
    /// The remote, such as file:///mnt/backup
    #[arg(long, value_name = "URI")]
    pub remote: String,

    /// The directory for `tidegate demo --checkpoint-dir`; it must hold nothing of the job yet
    #[arg(long, value_name = "DIR", visible_alias = "checkpoint-dir", required_unless_present = "list")]
    pub data_dir: Option<PathBuf>,

    /// The archive.
    #[command(flatten)]
    pub archive: ArchiveArguments,

    /// List what could be restored, and do nothing
    #[arg(long)]
    pub list: bool,

    /// Restore this checkpoint [default: the newest that is whole]
    #[arg(long, value_name = "ID")]
    pub id: Option<u64>,

    /// The newest on the remote must be of this generation at least: for a directory that has seen nothing yet
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub min_generation: u64,

    /// With --list: one JSON object a line
    #[arg(long)]
    pub json: bool,

    /// Read and verify every byte, and write nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Restore also what is older than what this directory has seen
    #[arg(long)]
    pub accept_rollback: bool,
}

/// Arguments of `tidegate checkpoint`.
#[derive(Debug, Args)]
pub struct CheckpointCommand {
    /// What to do
    #[arg(value_enum)]
    pub action: CheckpointAction,

    /// A data directory, or a remote such as file:///mnt/backup
    pub place: String,

    /// With `ship` and `prune`: the remote
    #[arg(long, value_name = "URI", help_heading = "Remote")]
    pub remote: Option<String>,

    /// What stays.
    #[command(flatten)]
    pub retention: RetentionArguments,

    /// With `ship` and `prune`: although another device has taken over this one's identity
    #[arg(long, requires = "remote", help_heading = "Remote")]
    pub take_over: bool,

    /// With `prune` of a data directory: checkpoints kept
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub retain: u16,

    /// The archive.
    #[command(flatten)]
    pub archive: ArchiveArguments,

    /// Only this checkpoint
    #[arg(long, value_name = "ID")]
    pub id: Option<u64>,

    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// What to do with checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CheckpointAction {
    /// One line a checkpoint
    List,
    /// What a checkpoint consists of
    Show,
    /// Read every byte; exit 70 when something is damaged
    Verify,
    /// Ship the newest checkpoint of a stopped job to --remote
    Ship,
    /// Remove older checkpoints of a stopped job: from the data directory, or with --remote from there
    Prune,
}

/// Arguments of `tidegate replay`.
#[derive(Debug, Args)]
pub struct ReplayArguments {
    /// The checkpoint directory of `tidegate demo`, or the job's folder in it
    #[arg(long, value_name = "DIR", visible_alias = "checkpoint-dir")]
    pub data_dir: PathBuf,

    /// Only results from this batch on [default: from the first that can be had]
    #[arg(long, value_name = "OFFSET", value_parser = clap::value_parser!(u64).range(1..))]
    pub from: Option<u64>,

    /// Nothing behind this batch [default: up to the last]
    #[arg(long, value_name = "OFFSET")]
    pub until: Option<u64>,

    /// Where results go: `stdout`, or a file that does not exist yet
    #[arg(long, value_name = "stdout|FILE", default_value = "stdout")]
    pub to: PathBuf,

    /// Parallel subtasks of each stage [default: as many as the checkpoints say]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub parallelism: Option<u16>,

    /// The job's `--exactness`, when it was `sequence`: its lines have three columns
    #[arg(long, value_enum)]
    pub exactness: Option<ExactnessName>,

    /// The summary as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `tidegate journal`.
#[derive(Debug, Args)]
pub struct JournalCommand {
    /// What to look at
    #[arg(value_enum)]
    pub action: JournalAction,

    /// The journal's folder, its job's, or a checkpoint directory with one job
    pub directory: PathBuf,

    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// What to look at in a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum JournalAction {
    /// Segments, with their batches and sizes
    List,
    /// Read every byte; exit 70 when something is damaged
    Verify,
    /// Every reading
    Dump,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_syntax_is_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
