//! `tidegate completions` and `tidegate man`: what a package installs beside the program.

use std::io::Write;

use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;

use super::arguments::Arguments;

/// What `tidegate completions` takes.
#[derive(Debug, Args)]
pub struct CompletionsArguments {
    /// The shell
    pub shell: Shell,
}

pub(super) fn completions(arguments: &CompletionsArguments) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), "tidegate", &mut script);
    std::io::stdout().lock().write_all(&script)?;
    Ok(())
}

/// One page of roff: the program, and behind it each of its commands.
pub(super) fn man() -> anyhow::Result<()> {
    let mut page = Vec::new();
    let mut command = Arguments::command();
    command.build();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    sections(&command, &mut page)?;
    std::io::stdout().lock().write_all(&page)?;
    Ok(())
}

/// A section for each command of `command`, and behind it those of its own.
fn sections(command: &Command, page: &mut Vec<u8>) -> std::io::Result<()> {
    for subcommand in command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help") {
        let man = clap_mangen::Man::new(subcommand.clone());
        let name = subcommand.get_bin_name().unwrap_or_else(|| subcommand.get_name());
        writeln!(page, ".SH \"{}\"", name.to_uppercase())?;
        man.render_description_section(page)?;
        man.render_options_section(page)?;
        sections(subcommand, page)?;
    }
    Ok(())
}
