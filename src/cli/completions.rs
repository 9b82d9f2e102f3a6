//! `tidegate completions` and `tidegate man`: what a package installs beside the program.

use std::io::Write;

use clap::{Args, CommandFactory};
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
    for subcommand in command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help") {
        let man = clap_mangen::Man::new(subcommand.clone());
        writeln!(page, ".SH \"TIDEGATE {}\"", subcommand.get_name().to_uppercase())?;
        man.render_description_section(&mut page)?;
        man.render_options_section(&mut page)?;
    }
    std::io::stdout().lock().write_all(&page)?;
    Ok(())
}
