use proptest::prelude::*;

use super::*;

fn header() -> SegmentHeader {
    SegmentHeader {
        format: SegmentFormat::Lines,
        job: job_identity("job"),
        base_offset: Offset(7),
        base_stamp: Timestamp(1000),
        chain: [3; 32],
    }
}

fn chunk<'a>(origin: &str, first_line: u64, lines: &'a [u8]) -> ChunkRecord<&'a [u8]> {
    ChunkRecord { source: 0, origin: origin.into(), first_line, lines, table: b"" }
}

fn segment(compress: bool) -> Vec<u8> {
    let (bytes, seed) = header().encode();
    let mut out = bytes.to_vec();
    let mut encoder = RecordEncoder::new(&header(), seed, compress);
    encoder.batch(Offset(7), Offset(6), Timestamp(1005), [chunk("a", 1, b"1 2\n")].into_iter(), &mut out);
    let skip = SkipRecord { offset: Offset(7), frame: 0, cause: "x".into() };
    encoder.skip(&skip, &mut out);
    let chunks = [chunk("a", 2, b"3 4\n"), chunk("b", 1, b"")];
    encoder.batch(Offset(8), Offset(6), Timestamp(999), chunks.into_iter(), &mut out);
    out
}

fn decode(segment: &[u8]) -> Vec<Record> {
    let Some((header, seed)) = SegmentHeader::decode(segment) else { return Vec::new() };
    let mut decoder = RecordDecoder::new(segment, &header, seed);
    std::iter::from_fn(|| decoder.next_record().map(|(record, _)| record)).collect()
}

#[test]
fn golden_bytes() {
    let bytes = segment(false);
    let mut golden = b"TGJOURN\0".to_vec();
    golden.extend([1, 0, 0, 0]);
    golden.extend(&bytes[12..16]);
    golden.extend(&blake3::hash(b"job").as_bytes()[..8]);
    golden.extend([7, 0, 0, 0, 0, 0, 0, 0]);
    golden.extend([0xE8, 3, 0, 0, 0, 0, 0, 0]);
    golden.extend([3; 32]);
    let seed = crc32c::crc32c(&[&golden[..12], &[0; 4], &golden[16..]].concat());
    assert_eq!(bytes[12..16], seed.to_le_bytes());
    for covered in [
        &[1, 0, 1, 10, 1, 0, 0, 1, b'a', 1, 4, b'1', b' ', b'2', b'\n'][..],
        &[3, 7, 0, 1, b'x'],
        &[1, 1, 2, 1, 2, 0, 1, 2, 4, b'3', b' ', b'4', b'\n', 0, 0, 1, b'b', 1, 0],
    ] {
        golden.extend(u32::try_from(covered.len()).unwrap().to_le_bytes());
        golden.extend(crc32c::crc32c_append(seed, covered).to_le_bytes());
        golden.extend(covered);
    }
    assert_eq!(bytes, golden);
}

#[test]
fn what_was_written_is_read_with_and_without_compression() {
    let records = decode(&segment(false));
    assert_eq!(records.len(), 3);
    let Record::Batch(last) = &records[2] else { panic!("a batch") };
    assert_eq!((last.offset, last.durable, last.stamp), (Offset(8), Offset(6), Timestamp(999)));
    assert_eq!((&*last.chunks[1].origin, last.chunks[0].lines.as_slice()), ("b", b"3 4\n".as_slice()));
    assert_eq!(decode(&segment(true)), records);
    let lines = b"12 3456\n".repeat(1000);
    let (_, seed) = header().encode();
    let mut packed = header().encode().0.to_vec();
    let mut encoder = RecordEncoder::new(&header(), seed, true);
    encoder.batch(Offset(7), Offset(6), Timestamp(0), [chunk("a", 1, &lines)].into_iter(), &mut packed);
    assert!(packed.len() < lines.len() / 10);
    let Record::Batch(batch) = &decode(&packed)[0] else { panic!("a batch") };
    assert_eq!(batch.chunks[0].lines, lines);
}

#[test]
fn every_flip_and_cut_ends_the_valid_records_before_it() {
    let bytes = segment(false);
    let whole = decode(&bytes);
    for position in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[position] ^= 0x10;
        for damaged in [&flipped[..], &bytes[..position]] {
            let read = decode(damaged);
            assert!(read.len() < whole.len() && read[..] == whole[..read.len()], "damage at {position}");
        }
    }
}

#[test]
fn a_record_of_another_segment_is_not_valid() {
    let bytes = segment(false);
    let other = SegmentHeader { base_offset: Offset(100), ..header() };
    let mut mixed = other.encode().0.to_vec();
    mixed.extend_from_slice(&bytes[HEADER_BYTES..]);
    assert_eq!(decode(&mixed), []);
}

#[test]
fn a_later_batch_is_found_behind_a_hole() {
    let bytes = segment(false);
    let (header, seed) = SegmentHeader::decode(&bytes).unwrap();
    let mut holed = bytes.clone();
    holed[HEADER_BYTES..HEADER_BYTES + 20].fill(0);
    let decoder = RecordDecoder::new(&holed, &header, seed);
    assert_eq!(decoder.find_later_batch(), Some((Offset(8), Offset(6))));
    let mut torn = bytes[..HEADER_BYTES + 12].to_vec();
    torn.resize(4096, 0);
    assert_eq!(RecordDecoder::new(&torn, &header, seed).find_later_batch(), None);
}

proptest! {
    #[test]
    fn any_bytes_behind_a_header_are_read_without_a_panic(tail in proptest::collection::vec(any::<u8>(), 0..300)) {
        let (bytes, seed) = header().encode();
        let mut segment = bytes.to_vec();
        // A right checksum, so that the decoder gets past it.
        segment.extend_from_slice(&u32::try_from(tail.len()).unwrap().to_le_bytes());
        segment.extend_from_slice(&crc32c::crc32c_append(seed, &tail).to_le_bytes());
        segment.extend_from_slice(&tail);
        decode(&segment);
    }
}

#[test]
fn tables_are_in_records_of_their_own_kind_and_version() {
    let header = SegmentHeader { format: SegmentFormat::Messages, ..header() };
    for compress in [false, true] {
        let (bytes, seed) = header.encode();
        assert_eq!(bytes[8..10], [2, 0]);
        let mut out = bytes.to_vec();
        let mut encoder = RecordEncoder::new(&header, seed, compress);
        let with_table = ChunkRecord { table: &[7; 3][..], ..chunk("a", 1, b"1 2\n") };
        let chunks = [with_table.clone(), chunk("b", 1, b"3 4\n")];
        encoder.batch(Offset(7), Offset(6), Timestamp(1005), chunks.into_iter(), &mut out);
        encoder.batch(Offset(8), Offset(6), Timestamp(1005), [chunk("a", 2, b"")].into_iter(), &mut out);
        if !compress {
            let kind = HEADER_BYTES + RECORD_PREFIX_BYTES;
            let golden = [
                &[4, 0, 1, 10, 2, 0, 0, 1, b'a', 1, 4, b'1', b' ', b'2', b'\n', 3, 7, 7, 7][..],
                &[0, 0, 1, b'b', 1, 4, b'3', b' ', b'4', b'\n', 0],
            ];
            assert!(out[kind..].starts_with(&golden.concat()), "{:?}", &out[kind..]);
        }
        let records = decode(&out);
        let [Record::Batch(first), Record::Batch(second)] = records.as_slice() else { panic!("{records:?}") };
        assert_eq!((first.chunks[0].table.as_slice(), first.chunks[1].table.len()), (&[7; 3][..], 0));
        assert_eq!(second.chunks[0].table.len(), 0);
        // Nothing of it is read under the version that does not have it.
        let (bytes, _) = super::SegmentHeader { format: SegmentFormat::Lines, ..header }.encode();
        out[..HEADER_BYTES].copy_from_slice(&bytes);
        assert_eq!(decode(&out), []);
    }
}
