use std::sync::Arc;

use rustix::io::Errno;

use super::*;
use crate::disk::{Call, Fault, Random, SimulatedDisk};
use crate::journal::format::{SegmentFormat, SkipRecord};
use crate::journal::reader::JournalReader;
use crate::journal::writer::{Entry, JournalWriter, SegmentSettings};
use crate::source::frame::{FrameBuffers, FrameChunk, Frames, SourceIndex};

const DIRECTORY: &str = "/data/job/journal";
const SEGMENT_BYTES: u64 = 600;

fn entry(offset: u64) -> Entry {
    let lines = format!("{offset} {}\n", "x".repeat(usize::try_from(offset % 50).unwrap()));
    let ends = vec![u32::try_from(lines.len()).unwrap()];
    let buffers = FrameBuffers { ends, bytes: lines.into_bytes(), ..FrameBuffers::default() };
    let origin = format!("client-{}", offset % 3).into();
    let chunk = FrameChunk::new(SourceIndex(0), origin, offset, buffers, Arc::default());
    let stamp = Timestamp(i64::try_from(offset).unwrap() * 10);
    Entry { offset: Offset(offset), stamp, frames: Arc::new(Frames { chunks: vec![chunk] }) }
}

fn writer(disk: &SimulatedDisk, recovered: &Recovered) -> JournalWriter {
    let settings =
        SegmentSettings { segment_bytes: SEGMENT_BYTES, compress: false, format: SegmentFormat::Lines };
    JournalWriter::new(
        Arc::new(disk.clone()),
        Path::new(DIRECTORY),
        "job",
        settings,
        recovered,
        recovered.last,
    )
}

fn recovered(disk: &SimulatedDisk) -> Recovered {
    recovered_from(disk, 1)
}

fn recovered_from(disk: &SimulatedDisk, needed: u64) -> Recovered {
    recover(disk, Path::new(DIRECTORY), "job", Offset(needed)).unwrap()
}

fn read(disk: &SimulatedDisk, from: u64, last: Offset) -> Vec<u64> {
    let mut reader = JournalReader::open(
        Arc::new(disk.clone()),
        Path::new(DIRECTORY),
        Offset(from),
        last,
        BTreeMap::new(),
    )
    .unwrap();
    let mut offsets = Vec::new();
    while let Some((batch, _)) = reader.next_batch().unwrap() {
        let expected = entry(batch.offset.0);
        let chunk = &expected.frames.chunks[0];
        assert_eq!(batch.stamp, expected.stamp);
        assert_eq!(batch.chunks[0].lines, chunk.bytes(&(0..1)));
        assert_eq!((&batch.chunks[0].origin, batch.chunks[0].first_line), (&chunk.origin, chunk.first_line));
        offsets.push(batch.offset.0);
    }
    offsets
}

/// Appends and syncs in groups until the disk fails; returns the last offset known to be durable. `deleted` is the
/// highest offset that was asked to be deleted.
fn run(disk: &SimulatedDisk, random: &mut Random, groups: u64, deleted: &mut u64) -> Offset {
    let found = recovered_from(disk, *deleted + 1);
    assert_eq!(found.corruption, None);
    let mut writer = writer(disk, &found);
    let mut next = found.last.0 + 1;
    for _ in 0..groups {
        let count = 1 + random.below(4);
        let entries = (next..next + count).map(entry).collect();
        if writer.append(entries).is_err() || writer.sync().is_err() {
            return writer.durable();
        }
        next += count;
        if random.below(8) == 0 {
            *deleted = (*deleted).max(next.saturating_sub(20));
            if writer.delete_through(Offset(*deleted)).is_err() {
                return writer.durable();
            }
        }
    }
    writer.durable()
}

#[test]
fn what_was_synced_is_there_after_any_power_cut_and_nothing_is_invented() {
    let seeds = std::env::var("TIDEGATE_JOURNAL_SEEDS").map_or(2000, |text| text.parse().unwrap());
    let first = std::env::var("TIDEGATE_TEST_SEED").map_or(0, |text| text.parse().unwrap());
    for seed in first..first + seeds {
        let mut random = Random(seed);
        let mut disk = SimulatedDisk::new();
        let mut durable = Offset(0);
        let mut deleted = 0;
        for life in 0..4 {
            disk.cut_after(random.below(120));
            let groups = 1 + random.below(40);
            durable = durable.max(run(&disk, &mut random, groups, &mut deleted));
            disk = disk.after_power_cut(&mut random);
            let found = recovered_from(&disk, deleted + 1);
            let context = format!("TIDEGATE_TEST_SEED={seed}, life {life}: {found:?}");
            assert_eq!(found.corruption, None, "{context}");
            assert!(found.last >= durable, "durable {durable}; {context}");
            if let Some(first) = found.first {
                assert!(first.0 <= deleted + 1, "{context}");
                let offsets = read(&disk, first.0, found.last);
                assert_eq!(offsets, (first.0..=found.last.0).collect::<Vec<_>>(), "{context}");
            }
            durable = found.last;
        }
    }
}

#[test]
fn after_a_failed_write_everything_goes_on_in_a_new_segment() {
    for calls in 0..60 {
        let disk = SimulatedDisk::new();
        let mut writer = writer(&disk, &Recovered::default());
        disk.cut_after(calls);
        let mut failed = false;
        for offset in 1..=30 {
            let outcome = writer.append(vec![entry(offset)]).and_then(|()| writer.sync());
            if outcome.is_err() {
                failed = true;
                disk.cut_after(u64::MAX);
                writer.recover_from_failure().unwrap();
            }
            assert_eq!(writer.durable(), Offset(offset), "after {calls} calls");
        }
        assert!(failed, "after {calls} calls");
        let found = recovered(&disk);
        assert_eq!((found.corruption, found.last), (None, Offset(30)), "after {calls} calls");
        assert_eq!(read(&disk, 1, Offset(30)).len(), 30);
    }
}

#[test]
fn damage_is_detected_reported_and_never_read_past() {
    let disk = SimulatedDisk::new();
    let mut writer = writer(&disk, &Recovered::default());
    for offset in 1..=60 {
        writer.append(vec![entry(offset)]).unwrap();
        writer.sync().unwrap();
    }
    let segments: Vec<PathBuf> = disk.files();
    assert!(segments.len() >= 4);
    let mut random = Random(7);
    let mut corrupt = 0;
    for path in &segments {
        let length = disk.content(path).unwrap().len();
        for position in 0..length {
            let copy = disk.after_power_cut(&mut random);
            copy.damage(path, |bytes| bytes[position] ^= 1 << (position % 8));
            let found = recovered(&copy);
            if let Some(corruption) = &found.corruption {
                corrupt += 1;
                assert_eq!(&corruption.segment, path, "byte {position}");
                // The last batch of all was not known to be durable by any later record.
                assert!(
                    corruption.lost.is_none_or(|(from, to)| from == found.last.next() && to <= Offset(60))
                );
            } else {
                // Only what nothing vouches for may go unreported: the last record, and zeros behind it.
                assert!(found.last >= Offset(59), "byte {position} of {path:?}: {found:?}");
            }
            let usable = read(&copy, 1, found.last);
            assert_eq!(usable, (1..=found.last.0).collect::<Vec<_>>());
        }
    }
    assert!(corrupt > 1000, "{corrupt} damages were reported");
}

#[test]
fn a_missing_or_swapped_segment_is_reported() {
    let disk = SimulatedDisk::new();
    let mut writer = writer(&disk, &Recovered::default());
    for offset in 1..=60 {
        writer.append(vec![entry(offset)]).unwrap();
    }
    writer.sync().unwrap();
    let segments = disk.files();
    disk.remove(&segments[1]).unwrap();
    let found = recovered(&disk);
    let corruption = found.corruption.unwrap();
    assert_eq!(corruption.segment, segments[0], "the gap is behind the first segment");
    assert_eq!(corruption.lost.unwrap().1, Offset(60));
    let other = recover(&disk, Path::new(DIRECTORY), "another job", Offset(1)).unwrap();
    assert_eq!(other.corruption.unwrap().byte, 0);
}

#[test]
fn skips_survive_and_are_handed_out_with_their_batch() {
    let disk = SimulatedDisk::new();
    let mut writer = writer(&disk, &Recovered::default());
    writer.append(vec![entry(1), entry(2)]).unwrap();
    writer.skip(SkipRecord { offset: Offset(2), frame: 0, cause: "panicked".into() }).unwrap();
    writer.sync().unwrap();
    let found = recovered(&disk.after_power_cut(&mut Random(1)));
    let mut reader =
        JournalReader::open(Arc::new(disk), Path::new(DIRECTORY), Offset(1), Offset(2), found.skips.clone())
            .unwrap();
    assert!(reader.next_batch().unwrap().unwrap().1.is_empty());
    assert_eq!(reader.next_batch().unwrap().unwrap().1, BTreeSet::from([0]));
    assert!(reader.next_batch().unwrap().is_none());
}

#[test]
fn segments_below_an_offset_are_deleted_and_the_rest_stays_whole() {
    let disk = SimulatedDisk::new();
    let mut writer = writer(&disk, &Recovered::default());
    for offset in 1..=60 {
        writer.append(vec![entry(offset)]).unwrap();
    }
    writer.sync().unwrap();
    let before = writer.bytes();
    let left = writer.delete_through(Offset(40)).unwrap();
    assert!(left < before);
    let found = recovered(&disk);
    assert!(found.first.unwrap() <= Offset(41) && found.first.unwrap() > Offset(1));
    assert_eq!(found.last, Offset(60));
}

/// Ten batches, each synced alone; then the disk damages `damaged` of them in the segment it fails to sync.
fn failed_with_damage(damaged: u64) -> (SimulatedDisk, JournalWriter) {
    let disk = SimulatedDisk::new();
    let settings = SegmentSettings { segment_bytes: 1 << 20, compress: false, format: SegmentFormat::Lines };
    let found = Recovered::default();
    let mut writer =
        JournalWriter::new(Arc::new(disk.clone()), Path::new(DIRECTORY), "job", settings, &found, found.last);
    for offset in 1..=10 {
        writer.append(vec![entry(offset)]).unwrap();
        writer.sync().unwrap();
    }
    let [segment] = &*disk.files() else { panic!("it fits one segment") };
    let text = format!("{damaged} x").into_bytes();
    disk.damage(segment, |bytes| {
        let position = bytes.windows(text.len()).position(|window| window == text).unwrap();
        bytes[position] ^= 1;
    });
    disk.fail(Fault { call: Call::Sync, after: 0, times: 1, errno: Errno::IO });
    writer.append(vec![entry(11)]).unwrap();
    assert!(matches!(writer.sync(), Err(JournalError::Write { .. })));
    (disk, writer)
}

#[test]
fn what_a_failing_disk_takes_of_the_last_sync_is_written_again() {
    let (disk, mut writer) = failed_with_damage(10);
    writer.recover_from_failure().unwrap();
    assert_eq!(writer.durable(), Offset(11));
    let found = recovered(&disk.after_power_cut(&mut Random(1)));
    assert_eq!((found.corruption, found.last), (None, Offset(11)));
    assert_eq!(read(&disk, 1, Offset(11)), (1..=11).collect::<Vec<_>>());
}

#[test]
fn what_a_failing_disk_takes_of_earlier_batches_is_reported_with_byte_and_offsets() {
    let (disk, mut writer) = failed_with_damage(7);
    let error = writer.recover_from_failure().unwrap_err();
    let JournalError::Lost { path, byte, from, to } = &error else { panic!("{error}") };
    assert_eq!((path, *from, *to), (&disk.files()[0], Offset(7), Offset(10)));
    let found = recovered(&disk).corruption.unwrap();
    assert_eq!((&found.segment, found.byte), (path, *byte));
    let (first, last) = found.lost.unwrap();
    assert!(first == Offset(7) && last >= Offset(10), "{first}..={last}");
}

#[test]
fn what_is_never_synced_is_not_held_and_only_the_group_that_failed_is_written_again() {
    let disk = SimulatedDisk::new();
    let mut writer = writer(&disk, &Recovered::default());
    for offset in 1..=60 {
        let fails = offset % 7 == 0;
        if fails {
            disk.fail(Fault { call: Call::Write, after: 0, times: 1, errno: Errno::IO });
        }
        let outcome = writer.append(vec![entry(offset)]);
        assert_eq!(outcome.is_err(), fails);
        if fails {
            writer.recover_from_failure().unwrap();
        }
        writer.let_go();
        assert_eq!(writer.kept(), writer.written());
    }
    let found = recovered(&disk);
    assert_eq!((found.corruption, found.last), (None, Offset(60)));
    assert_eq!(read(&disk, 1, Offset(60)).len(), 60);
    let segments = disk.files().len();
    assert!(writer.bytes() >= segments as u64 * SEGMENT_BYTES, "every one of {segments} segments is counted");
}
