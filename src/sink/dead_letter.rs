//! The dead-letter file: frames that were given up, with their cause, one JSON object a line.
//!
//! Members: `offset` (batch), `frame` (number within it), `source`, `origin`, `line`, `cause`, `text` (the frame without its
//! line end; bytes that are not UTF-8 are replaced, and `bytes` then holds all of them in hexadecimal).

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;

use crate::disk::Disk;
use crate::journal::BatchRecord;

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
                    let hexadecimal = raw.iter().fold(String::new(), |mut text, byte| {
                        text.push_str(&format!("{byte:02x}"));
                        text
                    });
                    member(&mut out, "bytes", &hexadecimal);
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
    out.push_str(&format!(r#","{name}":""#));
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => write!(out, "\\u{:04x}", u32::from(c)).expect("a string takes all"),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::ChunkRecord;
    use crate::runtime::{Offset, Timestamp};

    #[test]
    fn a_frame_is_one_line_of_json_with_its_provenance() {
        let chunk = |first_line, lines: &[u8]| ChunkRecord {
            source: 0,
            origin: "@a".into(),
            first_line,
            lines: lines.to_vec(),
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
