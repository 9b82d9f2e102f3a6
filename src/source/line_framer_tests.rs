use proptest::prelude::*;

use super::*;

const LINE_MAX: usize = 8;

/// Lines, their numbers, and how many were over-long: what the framer must produce, said plainly.
fn model(stream: &[u8]) -> (Vec<(u64, Vec<u8>)>, u64) {
    let mut lines = Vec::new();
    let mut over_long = 0;
    let mut pieces: Vec<&[u8]> = stream.split(|byte| *byte == b'\n').collect();
    if pieces.last().is_some_and(|last| last.is_empty()) {
        pieces.pop();
    }
    for (index, piece) in pieces.into_iter().enumerate() {
        let payload = piece.strip_suffix(b"\r").unwrap_or(piece);
        if payload.len() > LINE_MAX {
            over_long += 1;
        } else {
            lines.push((index as u64 + 1, payload.to_vec()));
        }
    }
    (lines, over_long)
}

fn collect(lines: Lines, out: &mut Vec<(u64, Vec<u8>)>) {
    let mut start = 0;
    for (index, end) in lines.buffers.ends.iter().enumerate() {
        let line = &lines.buffers.bytes[start..*end as usize];
        let line = line.strip_suffix(b"\n").unwrap();
        out.push((lines.first_line + index as u64, line.strip_suffix(b"\r").unwrap_or(line).to_vec()));
        start = *end as usize;
    }
    assert_eq!(start, lines.buffers.bytes.len());
}

fn framed(stream: &[u8], reads: &[usize], frames_max: usize) -> (Vec<(u64, Vec<u8>)>, u64) {
    let mut framer = LineFramer::new(LINE_MAX, 24, frames_max);
    let mut out = Vec::new();
    let mut rest = stream;
    let mut reads = reads.iter().cycle();
    while !rest.is_empty() {
        if framer.is_full() {
            collect(framer.take(FrameBuffers::default).unwrap(), &mut out);
            continue;
        }
        let (now, later) = rest.split_at(rest.len().min(*reads.next().unwrap()));
        framer.read_buffer().extend_from_slice(now);
        framer.advance();
        rest = later;
    }
    while let Some(lines) = framer.take(FrameBuffers::default) {
        collect(lines, &mut out);
    }
    framer.finish();
    while let Some(lines) = framer.take(FrameBuffers::default) {
        collect(lines, &mut out);
    }
    (out, framer.take_over_long().count)
}

proptest! {
    #[test]
    fn lines_are_the_models_whatever_the_reads(
        stream in proptest::collection::vec(prop_oneof![4 => Just(b'a'), 2 => Just(b'\n'), 1 => Just(b'\r')], 0..200),
        reads in proptest::collection::vec(1usize..40, 1..8),
        frames_max in 1usize..6,
    ) {
        prop_assert_eq!(framed(&stream, &reads, frames_max), model(&stream));
    }
}

#[test]
fn an_endless_line_is_not_buffered() {
    let mut framer = LineFramer::new(1000, 64 * 1024, 1024);
    for _ in 0..10_000 {
        framer.read_buffer().extend_from_slice(&[b'x'; 1000]);
        framer.advance();
        assert!(framer.buffers.bytes.len() <= 3000);
    }
    assert!(framer.buffers.bytes.capacity() <= 16 * 1024);
    assert!(framer.has_partial_line());
    framer.read_buffer().extend_from_slice(b"\n1 2\n");
    framer.advance();
    assert_eq!(framer.take_over_long(), OverLong { count: 1, first_line: 1 });
    let lines = framer.take(FrameBuffers::default).unwrap();
    assert_eq!((lines.first_line, lines.buffers.bytes.as_slice()), (2, b"1 2\n".as_slice()));
}

#[test]
fn the_longest_line_passes_with_either_line_end() {
    let line = "x".repeat(LINE_MAX);
    for end in ["\n", "\r\n", ""] {
        let (lines, over_long) = framed(format!("{line}{end}").as_bytes(), &[1], 10);
        assert_eq!((lines.len(), over_long), (1, 0), "{end:?}");
        let (lines, over_long) = framed(format!("{line}x{end}").as_bytes(), &[100], 10);
        assert_eq!((lines.len(), over_long), (0, 1), "{end:?}");
    }
}
