//! The `tidegate` program: parse, call, exit code.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let arguments = tidegate::cli::Arguments::parse();
    match tidegate::cli::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // When standard error is gone too, the exit code is all that is left to say it with.
            writeln!(std::io::stderr(), "{}", tidegate::cli::message(&error)).ok();
            ExitCode::from(tidegate::cli::exit_code(&error))
        }
    }
}
