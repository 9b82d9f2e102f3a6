//! The `memory` sink: results kept in memory, for tests and for programs that embed a small job.

use std::io;
use std::sync::{Arc, Mutex};

use super::SinkWriter;
use crate::runtime::Offset;

/// The lines a job wrote. Grows with the results: for inputs that end.
#[derive(Debug, Clone, Default)]
pub struct Collected {
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Collected {
    /// Nothing collected yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was written so far: lines, each with its end.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().expect("no code panics while it appends")).into_owned()
    }
}

impl SinkWriter for Collected {
    fn write(&mut self, _offset: Offset, results: &[u8]) -> io::Result<()> {
        self.bytes.lock().expect("no code panics while it appends").extend_from_slice(results);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<u64> {
        Ok(0)
    }
}
