//! Scenarios that cannot run on a machine say so, and are counted.

use std::io::Write;

/// Says that `what` is not tested here and why. `make test` counts these lines.
pub(crate) fn skip(what: &str, reason: &str) {
    let line = format!("SKIPPED: {what}: {}\n", reason.trim().replace('\n', " "));
    // Not by a macro: of scenarios that pass the harness would show nothing.
    std::io::stderr().write_all(line.as_bytes()).ok();
    if let Some(path) = std::env::var_os("TIDEGATE_SKIPPED") {
        let file = std::fs::File::options().append(true).create(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("skips can be counted");
    }
}
