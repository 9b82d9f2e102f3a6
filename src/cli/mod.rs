//! The command line: one file a subcommand.

mod allocator;
mod archive;
mod arguments;
mod board;
mod check;
mod checkpoint;
#[cfg(feature = "completions")]
mod completions;
mod demo;
mod demo_arguments;
mod dry_run;
mod exit_code;
mod functions;
mod job;
mod journal;
mod logging;
mod memory_plan;
mod mqtt;
mod outbox;
mod progress;
mod publish;
mod replay;
mod report;
mod restore;
mod run;
mod running_average;
mod savepoint;
mod sequenced_average;
mod ship;
mod signals;
mod sockets;
mod state;

pub use arguments::{Arguments, Command};
pub use exit_code::{exit_code, message};

/// Runs a command line.
///
/// # Errors
/// Whatever ended the command; [`exit_code()`] says with which code the process ends.
pub fn run(arguments: Arguments) -> anyhow::Result<()> {
    match arguments.command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Run(arguments) => run::run(&arguments),
        Command::Check(arguments) => check::check(&arguments),
        Command::Board(command) => board::run(&command),
        Command::Explain(arguments) => check::explain(&arguments),
        #[cfg(feature = "completions")]
        Command::Completions(arguments) => completions::completions(&arguments),
        #[cfg(feature = "completions")]
        Command::Man => completions::man(),
        Command::Functions => functions::run(),
        Command::Test(arguments) => dry_run::test(&arguments),
        Command::Restore(arguments) => restore::run(&arguments),
        Command::Checkpoint(command) => checkpoint::run(&command),
        Command::Journal(command) => journal::run(&command),
        Command::Outbox(command) => outbox::run(&command),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Savepoint(arguments) => savepoint::run(&arguments),
        Command::State(command) => state::run(&command),
    }
}
