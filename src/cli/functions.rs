//! `tidegate functions`: what can be called in a query.

use std::io::Write;

use crate::query::functions;

pub(super) fn run() -> anyhow::Result<()> {
    let (scalar, aggregates) = functions();
    let mut out = std::io::stdout().lock();
    for (title, lines) in [("functions", scalar), ("aggregates", aggregates)] {
        writeln!(out, "{title}")?;
        for (_, forms, about) in lines {
            writeln!(out, "  {forms}\n      {about}")?;
        }
    }
    Ok(())
}
