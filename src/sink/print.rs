//! The `print` sink: standard output, a batch at a time.

use std::io::{self, Write};

use super::SinkWriter;

/// Writes to standard output.
pub(crate) struct PrintWriter;

impl SinkWriter for PrintWriter {
    fn write(&mut self, results: &[u8]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(results)?;
        stdout.flush()
    }
}
