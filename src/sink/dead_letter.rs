//! The dead-letter file: frames that were given up, and records that were refused, with their cause, one JSON object a
//! line.
//!
//! Members of a frame: `offset` (batch), `frame` (number within it), `source`, `origin`, `line`, `cause`, `text` (the frame without its
//! line end; bytes that are not UTF-8 are replaced, and `bytes` then holds all of them in hexadecimal).
//!
//! Members of a refused record: `offset` (batch), `operator`, `cause`, `key` where it is a number or text, `key-bytes` (its
//! encoded form in hexadecimal). The record itself has no form in bytes; its frame is in the journal as long as its batch
//! is. A row of a query that is refused has `row` instead of a key, an object of its columns; a frame that a query's source cannot decode has
//! `origin`, `line` and `text`. A batch that is processed again after a failure is kept again.
//!
//! Limits: a file that has reached 16 MiB becomes `dead-letter.1.jsonl` in the place of the one before, so what is kept are
//! the newest 16 to 32 MiB. What cannot be written is counted like the rest, and said once.

use std::any::Any;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::disk::Disk;
use crate::journal::BatchRecord;
use crate::json;
use crate::metrics::{Provenance, RejectCause};
use crate::runtime::Offset;
use crate::state::{Key, TextKey};

/// Size at which the file is put aside, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// The dead-letter file of a job, for records that operators refuse.
#[derive(Debug)]
pub(crate) struct DeadLetters {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    has_failed: AtomicBool,
}

impl DeadLetters {
    pub(crate) fn new(disk: Arc<dyn Disk>, path: PathBuf) -> Self {
        Self { disk, path, has_failed: AtomicBool::new(false) }
    }

    /// Keeps what was refused of a batch, and syncs.
    pub(crate) fn keep(&self, refused: &Refused) {
        if refused.lines.is_empty() {
            return;
        }
        let kept = make_room(&*self.disk, &self.path).and_then(|()| {
            let mut file = self.disk.append(&self.path)?;
            file.write_all(refused.lines.as_bytes())?;
            file.sync()
        });
        let has_failed = self.has_failed.swap(kept.is_err(), Ordering::Relaxed);
        if let (Err(error), false) = (kept, has_failed) {
            tracing::error!(path = %self.path.display(), %error, "refused records cannot be kept, only counted");
        }
    }
}

/// Puts the file aside when it has reached its size.
fn make_room(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    let length = match disk.open(path) {
        Ok((_, length)) => length,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    if length < FILE_BYTES_MAX {
        return Ok(());
    }
    disk.rename(path, &path.with_extension("1.jsonl"))
}

/// Records of one batch that an operator refused.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    lines: String,
}

impl Refused {
    /// Adds a record of `key`, whose encoded form is `encoded`.
    pub(crate) fn add<K: Key>(
        &mut self,
        offset: Offset,
        operator: &str,
        cause: RejectCause,
        key: &K,
        encoded: &[u8],
    ) {
        write!(self.lines, r#"{{"offset":{offset}"#).expect("a string takes all");
        member(&mut self.lines, "operator", operator);
        member(&mut self.lines, "cause", cause.as_str());
        if let Some(text) = text_of(key) {
            member(&mut self.lines, "key", &text);
        }
        member(&mut self.lines, "key-bytes", &hexadecimal(encoded));
        self.lines.push_str("}\n");
    }

    /// Adds a row, as a JSON object, that an operator could not process.
    pub(crate) fn add_row(&mut self, offset: Offset, operator: &str, cause: RejectCause, row: &[u8]) {
        write!(self.lines, r#"{{"offset":{offset}"#).expect("a string takes all");
        member(&mut self.lines, "operator", operator);
        member(&mut self.lines, "cause", cause.as_str());
        self.lines.push_str(",\"row\":");
        self.lines.push_str(&String::from_utf8_lossy(row));
        self.lines.push_str("}\n");
    }

    /// Adds a frame that could not be decoded.
    pub(crate) fn add_frame(
        &mut self,
        offset: Offset,
        operator: &str,
        cause: RejectCause,
        provenance: Provenance<'_>,
        text: &[u8],
    ) {
        write!(self.lines, r#"{{"offset":{offset}"#).expect("a string takes all");
        member(&mut self.lines, "operator", operator);
        member(&mut self.lines, "origin", provenance.origin);
        write!(self.lines, r#","line":{}"#, provenance.line).expect("a string takes all");
        member(&mut self.lines, "cause", cause.as_str());
        member(&mut self.lines, "text", &String::from_utf8_lossy(text));
        if std::str::from_utf8(text).is_err() {
            member(&mut self.lines, "bytes", &hexadecimal(text));
        }
        self.lines.push_str("}\n");
    }

    pub(crate) fn clear(&mut self) {
        self.lines.clear();
    }
}

/// A key as text, for the types that are most often keys.
fn text_of<K: Key>(key: &K) -> Option<String> {
    let key: &dyn Any = key;
    let number = key.downcast_ref::<i64>().map(ToString::to_string);
    let number = number.or_else(|| key.downcast_ref::<u64>().map(ToString::to_string));
    let number = number.or_else(|| key.downcast_ref::<u32>().map(ToString::to_string));
    let text = number.or_else(|| key.downcast_ref::<String>().cloned());
    text.or_else(|| key.downcast_ref::<TextKey>().map(|key| key.as_str().to_owned()))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all");
        text
    })
}

/// Appends frame number `frame` of `batch` and syncs.
///
/// # Errors
/// The operating system's.
pub(crate) fn append(
    disk: &dyn Disk,
    path: &Path,
    batch: &BatchRecord,
    frame: u64,
    cause: &str,
) -> io::Result<()> {
    let Some(line) = line(batch, frame, cause) else { return Ok(()) };
    make_room(disk, path)?;
    let mut file = disk.append(path)?;
    file.write_all(line.as_bytes())?;
    file.sync()
}

fn line(batch: &BatchRecord, frame: u64, cause: &str) -> Option<String> {
    let mut before = 0;
    for chunk in &batch.chunks {
        let lines = chunk.lines.split_inclusive(|byte| *byte == b'\n');
        for (index, raw) in lines.enumerate() {
            if before == frame {
                let raw = raw.strip_suffix(b"\n").unwrap_or(raw);
                let raw = raw.strip_suffix(b"\r").unwrap_or(raw);
                let (offset, source) = (batch.offset, chunk.source);
                let number = chunk.first_line + index as u64;
                let mut out =
                    format!(r#"{{"offset":{offset},"frame":{frame},"source":{source},"line":{number}"#);
                member(&mut out, "origin", &chunk.origin);
                member(&mut out, "cause", cause);
                member(&mut out, "text", &String::from_utf8_lossy(raw));
                if std::str::from_utf8(raw).is_err() {
                    member(&mut out, "bytes", &hexadecimal(raw));
                }
                out.push_str("}\n");
                return Some(out);
            }
            before += 1;
        }
    }
    None
}

fn member(out: &mut String, name: &str, text: &str) {
    out.push_str(&format!(r#","{name}":"#));
    json::push_text(out, text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::ChunkRecord;
    use crate::runtime::{Offset, Timestamp};

    #[test]
    fn a_refused_record_is_one_line_of_json() {
        let mut refused = Refused::default();
        refused.add(Offset(7), "average", RejectCause::KEYS_MAX, &-3i64, &[5]);
        refused.add(Offset(7), "average", RejectCause::KEYS_MAX, &(1u8, 2u8), &[1, 2]);
        assert_eq!(
            refused.lines,
            concat!(
                r#"{"offset":7,"operator":"average","cause":"keys-max","key":"-3","key-bytes":"05"}"#,
                "\n",
                r#"{"offset":7,"operator":"average","cause":"keys-max","key-bytes":"0102"}"#,
                "\n"
            )
        );
    }

    #[test]
    fn a_full_file_is_put_aside_and_the_one_before_it_goes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dead-letter.jsonl");
        let letters = DeadLetters::new(Arc::new(crate::disk::RealDisk), path.clone());
        let refused = Refused { lines: "x".repeat(6 << 20) };
        for _ in 0..7 {
            letters.keep(&refused);
        }
        let length = |path: &Path| crate::disk::RealDisk.open(path).unwrap().1;
        assert_eq!(length(&path), 6 << 20);
        assert_eq!(length(&directory.path().join("dead-letter.1.jsonl")), 18 << 20);
        assert_eq!(crate::disk::RealDisk.list(directory.path()).unwrap().len(), 2);
    }

    #[test]
    fn a_frame_is_one_line_of_json_with_its_provenance() {
        let chunk = |first_line, lines: &[u8]| ChunkRecord {
            source: 0,
            origin: "@a".into(),
            first_line,
            lines: lines.to_vec(),
            table: Vec::new(),
        };
        let batch = BatchRecord {
            offset: Offset(7),
            durable: Offset(6),
            stamp: Timestamp(0),
            chunks: vec![chunk(5, b"1 2\n"), chunk(9, b"x\n\"\\\x01\xFF\r\n")],
        };
        assert_eq!(
            line(&batch, 2, "why").unwrap(),
            concat!(
                r#"{"offset":7,"frame":2,"source":0,"line":10,"origin":"@a","cause":"why","#,
                r#""text":"\"\\\u0001\ufffd","bytes":"225c01ff"}"#,
                "\n"
            )
            .replace(r"\ufffd", "\u{fffd}")
        );
        assert_eq!(line(&batch, 3, "why"), None);
    }
}
