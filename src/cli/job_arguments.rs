//! Arguments of the subcommands that take a job file: `run`, `check`, `test` and `explain`.

#![allow(dead_code, unreachable_pub, reason = "the commands are not there yet")]

use std::path::PathBuf;

use clap::Args;

/// The job file, and what the command line says otherwise.
#[derive(Debug, Args)]
pub struct JobFileArguments {
    /// The job file; `config/reference.toml` shows every key
    #[arg(value_name = "JOB.toml")]
    pub job: PathBuf,

    /// A value in place of the file's, such as `checkpoint.interval=5s` or `source.NAME.address=10.0.0.7:9000`; may be
    /// given several times
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// Arguments of `tidegate run`.
#[derive(Debug, Args)]
pub struct RunArguments {
    /// The job.
    #[command(flatten)]
    pub file: JobFileArguments,

    /// Start empty instead of from the newest checkpoint; old checkpoints stay until new ones replace them
    #[arg(long, help_heading = "State")]
    pub fresh: bool,

    /// Start with the state of this savepoint, whatever backend and parallelism took it
    #[arg(long, value_name = "PATH", conflicts_with = "fresh", help_heading = "State")]
    pub from_savepoint: Option<PathBuf>,

    /// Drop the saved state of this query, which has changed so that it does not fit; may be given several times
    #[arg(long, value_name = "NAME", conflicts_with = "fresh", help_heading = "State")]
    pub reset_query: Vec<String>,

    /// Ship although another device has taken over this one's identity
    #[arg(long, help_heading = "Remote")]
    pub take_over: bool,

    /// Restore also what is older than what this device has seen
    #[arg(long, help_heading = "Remote")]
    pub accept_rollback: bool,

    /// Restore only when the newest on the remote is of this generation at least
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Remote")]
    pub min_generation: u64,

    /// Log warnings and errors only
    #[arg(long, short, conflicts_with = "verbose", help_heading = "Output")]
    pub quiet: bool,

    /// Log more
    #[arg(long, short, help_heading = "Output")]
    pub verbose: bool,
}

/// Arguments of `tidegate check`.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// The job.
    #[command(flatten)]
    pub file: JobFileArguments,

    /// Say only what is wrong
    #[arg(long, short)]
    pub quiet: bool,

    /// The plan as one JSON object
    #[arg(long, conflicts_with = "quiet")]
    pub json: bool,
}

/// Arguments of `tidegate test`.
#[derive(Debug, Args)]
pub struct TestArguments {
    /// The job.
    #[command(flatten)]
    pub file: JobFileArguments,

    /// Readings of a source, one a line; with several sources `SOURCE=FILE` for each
    #[arg(long, value_name = "[SOURCE=]FILE", required = true, value_parser = parse_input)]
    pub input: Vec<TestInput>,

    /// Compare what the job gives with this file; exit 1 when it differs
    #[arg(long, value_name = "FILE")]
    pub expect: Option<PathBuf>,
}

/// Arguments of `tidegate explain`.
#[derive(Debug, Args)]
pub struct ExplainArguments {
    /// The job.
    #[command(flatten)]
    pub file: JobFileArguments,

    /// Only this query; may be given several times
    #[arg(long, value_name = "NAME")]
    pub query: Vec<String>,
}

/// Readings for a source of a job that is tested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestInput {
    /// `None`: the job's only source.
    pub source: Option<String>,
    /// Where the readings are.
    pub path: PathBuf,
}

/// A path that holds a `=` is given behind a source, or as `./a=b`.
fn parse_input(text: &str) -> Result<TestInput, String> {
    let is_name = |name: &str| {
        !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    let (source, path) = match text.split_once('=').filter(|(name, _)| is_name(name)) {
        Some((name, path)) => (Some(name.to_owned()), path),
        None => (None, text),
    };
    if path.is_empty() {
        return Err("give a file, or SOURCE=FILE".to_owned());
    }
    Ok(TestInput { source, path: PathBuf::from(path) })
}

#[cfg(test)]
mod tests {
    use clap::{Command, FromArgMatches};

    use super::*;

    #[test]
    fn the_syntax_is_consistent() {
        RunArguments::augment_args(Command::new("run")).debug_assert();
        CheckArguments::augment_args(Command::new("check")).debug_assert();
        TestArguments::augment_args(Command::new("test")).debug_assert();
        ExplainArguments::augment_args(Command::new("explain")).debug_assert();
    }

    #[test]
    fn several_values_are_set_and_inputs_named() {
        let arguments =
            ["test", "job.toml", "--set", "a.b=1", "--set", "c.d=2", "--input", "readings=r.jsonl"];
        let command = TestArguments::augment_args(Command::new("test"));
        let matches = command.try_get_matches_from(arguments).unwrap();
        let parsed = TestArguments::from_arg_matches(&matches).unwrap();
        assert_eq!(parsed.file.set, ["a.b=1", "c.d=2"]);
        assert_eq!(parsed.input, [TestInput { source: Some("readings".into()), path: "r.jsonl".into() }]);
        assert_eq!(parse_input("./a=b").unwrap().source, None);
        assert!(parse_input("readings=").is_err());
    }
}
