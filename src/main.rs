//! The `tidegate` program: parse, call, exit code.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let arguments = tidegate::cli::Arguments::parse();
    match tidegate::cli::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(tidegate::cli::exit_code(&error))
        }
    }
}
