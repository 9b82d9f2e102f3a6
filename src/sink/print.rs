//! The `print` sink: standard output, a batch at a time.
//!
//! Standard output cannot be cut, so what was printed is remembered: behind each batch an entry is appended to a
//! small log. A process killed between the two writes prints that one batch again; a batch is never left out.
//!
//! Layout of the log, little-endian, one entry of 12 bytes behind the other: offset u64, CRC-32C u32 of it. The last
//! valid entry counts. The log starts over when it has grown to 64 KiB.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{OpenSink, SinkWriter, Takers};
use crate::disk::{Disk, DurableFile, read_whole};
use crate::runtime::Offset;

const LOG_BYTES_MAX: u64 = 64 * 1024;
const ENTRY_BYTES: usize = 12;

/// Opens standard output, with the log in `positions`.
pub(super) fn open(disk: &Arc<dyn Disk>, positions: Option<&Path>, restored: Offset) -> io::Result<OpenSink> {
    let Some(directory) = positions else {
        return Ok(OpenSink { writer: Box::new(PrintWriter { log: None }), delivered: restored, end: None });
    };
    let (log, logged) = PositionLog::open(Arc::clone(disk), directory)?;
    Ok(OpenSink {
        writer: Box::new(PrintWriter { log: Some(log) }),
        delivered: restored.max(logged),
        end: None,
    })
}

/// Writes to standard output.
struct PrintWriter {
    log: Option<PositionLog>,
}

impl SinkWriter for PrintWriter {
    fn write(&mut self, offset: Offset, results: &[u8]) -> io::Result<()> {
        if results.is_empty() {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        stdout.write_all(results)?;
        stdout.flush()?;
        if let Some(log) = &mut self.log
            && let Err(error) = log.append(offset)
        {
            // The results are out; only a restart could tell, and would print them again.
            tracing::warn!(%error, "cannot remember what was printed");
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<u64> {
        if let Some(log) = &mut self.log {
            log.file.sync()?;
        }
        Ok(0)
    }

    fn takers(&self) -> Takers {
        Takers::Reader
    }
}

struct PositionLog {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: Box<dyn DurableFile>,
    bytes: u64,
}

impl PositionLog {
    fn open(disk: Arc<dyn Disk>, directory: &Path) -> io::Result<(Self, Offset)> {
        disk.create_directory(directory)?;
        let path = directory.join("print.position");
        let bytes = match read_whole(&*disk, &path, 2 * LOG_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let logged = bytes.chunks_exact(ENTRY_BYTES).rev().find_map(decode).unwrap_or_default();
        if bytes.chunks_exact(ENTRY_BYTES).next_back().is_some_and(|last| decode(last).is_none()) {
            tracing::warn!(
                path = %path.display(), %logged,
                "the last entry of what was printed is damaged: results behind it may be printed again"
            );
        }
        let log = Self::begin(disk, path, logged)?;
        Ok((log, logged))
    }

    /// A new log that holds one entry, in place of the old one.
    fn begin(disk: Arc<dyn Disk>, path: PathBuf, logged: Offset) -> io::Result<Self> {
        let temporary = path.with_extension("position.tmp");
        match disk.remove(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = disk.create_new(&temporary)?;
        file.write_all(&encode(logged))?;
        disk.rename(&temporary, &path)?;
        Ok(Self { disk, path, file, bytes: ENTRY_BYTES as u64 })
    }

    fn append(&mut self, offset: Offset) -> io::Result<()> {
        if self.bytes >= LOG_BYTES_MAX {
            *self = Self::begin(Arc::clone(&self.disk), self.path.clone(), offset)?;
            return Ok(());
        }
        self.file.write_all(&encode(offset))?;
        self.bytes += ENTRY_BYTES as u64;
        Ok(())
    }
}

fn encode(offset: Offset) -> [u8; ENTRY_BYTES] {
    let mut entry = [0; ENTRY_BYTES];
    let offset = offset.0.to_le_bytes();
    entry[..8].copy_from_slice(&offset);
    entry[8..].copy_from_slice(&crc32c::crc32c(&offset).to_le_bytes());
    entry
}

fn decode(entry: &[u8]) -> Option<Offset> {
    let (offset, checksum) = entry.split_first_chunk::<8>()?;
    (crc32c::crc32c(offset).to_le_bytes() == *checksum).then(|| Offset(u64::from_le_bytes(*offset)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SimulatedDisk;

    #[test]
    fn the_last_whole_entry_counts_and_the_log_stays_small() {
        let disk: Arc<dyn Disk> = Arc::new(SimulatedDisk::new());
        let directory = Path::new("/positions");
        for life in 0..3 {
            let (mut log, logged) = PositionLog::open(Arc::clone(&disk), directory).unwrap();
            assert_eq!(logged, Offset(life * 10_000));
            for offset in 1..=10_000 {
                log.append(Offset(life * 10_000 + offset)).unwrap();
            }
            log.file.write_all(&[1, 2, 3]).unwrap();
            assert!(disk.open(&log.path).unwrap().1 <= LOG_BYTES_MAX + 15);
        }
    }
}
