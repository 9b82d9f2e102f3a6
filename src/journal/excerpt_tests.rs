use std::sync::Arc;

use super::*;
use crate::disk::{Random, SimulatedDisk};
use crate::journal::{Entry, JournalWriter, Recovered, SegmentFormat, SegmentSettings, SkipRecord, recover};
use crate::runtime::Timestamp;
use crate::source::frame::{FrameBuffers, FrameChunk, Frames, SourceIndex};

const DIRECTORY: &str = "/data/job/journal";
const ELSEWHERE: &str = "/elsewhere";

fn entry(offset: u64) -> Entry {
    let lines = format!("{offset} {}\n", "x".repeat(usize::try_from(offset % 50).unwrap()));
    let ends = vec![u32::try_from(lines.len()).unwrap()];
    let buffers = FrameBuffers { ends, bytes: lines.into_bytes(), ..FrameBuffers::default() };
    let origin = format!("@client-{}", offset % 5).into();
    let chunk = FrameChunk::new(SourceIndex(0), origin, offset, buffers, Arc::default());
    let stamp = Timestamp(i64::try_from(offset).unwrap() * 10);
    Entry { offset: Offset(offset), stamp, frames: Arc::new(Frames { chunks: vec![chunk] }) }
}

fn writer(disk: &Arc<dyn Disk>, recovered: &Recovered) -> JournalWriter {
    let settings = SegmentSettings { segment_bytes: 900, compress: true, format: SegmentFormat::Lines };
    JournalWriter::new(Arc::clone(disk), Path::new(DIRECTORY), "job", settings, recovered, recovered.last)
}

fn reader(disk: &Arc<dyn Disk>) -> ExcerptReader {
    ExcerptReader::new(Arc::clone(disk), PathBuf::from(DIRECTORY))
}

/// Writes an excerpt to where it belongs in a journal elsewhere.
fn put(disk: &dyn Disk, excerpt: &Excerpt) {
    let path = Path::new(ELSEWHERE).join(segment_name(excerpt.segment));
    let mut file = disk.append(&path).unwrap();
    file.write_all(&excerpt.bytes).unwrap();
    file.sync().unwrap();
    let (mut whole, length) = disk.open(&path).unwrap();
    assert_eq!(length, excerpt.position + excerpt.bytes.len() as u64, "it goes on where the last one ended");
    let mut bytes = Vec::new();
    whole.read_to_end(&mut bytes).unwrap();
    assert_eq!(blake3::hash(&bytes), excerpt.hash);
}

/// Whatever was durable when an excerpt was taken, and by whichever of several readers, the excerpts make up a journal
/// that is recovered through the last of their batches.
#[test]
fn excerpts_make_up_the_journal_they_are_of() {
    let mut random = Random(7);
    for _ in 0..40 {
        let disk: Arc<dyn Disk> = Arc::new(SimulatedDisk::new());
        for directory in [DIRECTORY, ELSEWHERE] {
            disk.create_directory(Path::new(directory)).unwrap();
        }
        let (mut next, mut through, mut end) = (1, Offset(0), None::<(Offset, u64, blake3::Hash)>);
        let (mut readings, mut last_line) = (0, 0);
        for _life in 0..3 {
            let found = recover(&*disk, Path::new(DIRECTORY), "job", Offset(1)).unwrap();
            let mut writer = writer(&disk, &found);
            let mut reader = reader(&disk);
            match &end {
                None => reader.begin(Offset(1)),
                Some((segment, bytes, hash)) => assert!(reader.go_behind(*segment, *bytes, hash).unwrap()),
            }
            for _ in 0..30 {
                let count = 1 + random.below(6);
                writer.append((next..next + count).map(entry).collect()).unwrap();
                next += count;
                if random.below(3) == 0 {
                    let skip = SkipRecord { offset: Offset(next - 1), frame: 0, cause: "x".into() };
                    writer.skip(skip).unwrap();
                }
                let durable = writer.durable();
                if random.below(2) == 0 {
                    writer.sync().unwrap();
                }
                while random.below(3) > 0
                    && let Some(excerpt) = reader.next(durable, through).unwrap()
                {
                    assert!(excerpt.through <= durable);
                    put(&*disk, &excerpt);
                    through = excerpt.through;
                    readings += excerpt.readings;
                    last_line = last_line.max(excerpt.clients.values().copied().max().unwrap_or(0));
                    end =
                        Some((excerpt.segment, excerpt.position + excerpt.bytes.len() as u64, excerpt.hash));
                    let copy = recover(&*disk, Path::new(ELSEWHERE), "job", Offset(1)).unwrap();
                    assert_eq!((copy.last, copy.corruption), (through, None));
                }
            }
            writer.sync().unwrap();
        }
        // One line a batch, numbered like it.
        assert_eq!((readings, last_line), (through.0, through.0));
    }
}

#[test]
fn another_journal_is_not_gone_on_with() {
    let disk: Arc<dyn Disk> = Arc::new(SimulatedDisk::new());
    disk.create_directory(Path::new(DIRECTORY)).unwrap();
    let mut first = writer(&disk, &Recovered::default());
    first.append((1..=9).map(entry).collect()).unwrap();
    first.sync().unwrap();
    let mut from_start = reader(&disk);
    from_start.begin(Offset(1));
    let Excerpt { segment, bytes, hash, .. } = from_start.next(Offset(5), Offset(0)).unwrap().unwrap();
    let bytes = bytes.len() as u64;
    let mut other = reader(&disk);
    assert!(other.go_behind(segment, bytes, &hash).unwrap());
    assert!(!other.go_behind(segment, bytes, &blake3::hash(b"other")).unwrap());
    assert!(!other.go_behind(segment, bytes + 1, &hash).unwrap());
    assert!(!other.go_behind(segment, 1 << 40, &hash).unwrap());
    assert!(!other.go_behind(Offset(77), bytes, &hash).unwrap());
    assert_eq!(other.next(Offset(9), Offset(0)).unwrap(), None);
    assert!(other.go_behind(segment, bytes, &hash).unwrap());
    let next = other.next(Offset(8), Offset(5)).unwrap().unwrap();
    assert_eq!((next.position, next.through, next.readings), (bytes, Offset(8), 3));
    assert_eq!(other.next(Offset(8), Offset(5)).unwrap(), None, "batch 9 is not durable yet");
}

#[test]
fn a_journal_that_was_cut_is_found_gone() {
    let disk: Arc<dyn Disk> = Arc::new(SimulatedDisk::new());
    disk.create_directory(Path::new(DIRECTORY)).unwrap();
    let mut writer = writer(&disk, &Recovered::default());
    let mut reader = reader(&disk);
    reader.begin(Offset(1));
    writer.append((1..=100).map(entry).collect()).unwrap();
    writer.sync().unwrap();
    assert!(reader.next(Offset(100), Offset(0)).unwrap().is_some());
    writer.delete_through(Offset(60)).unwrap();
    assert_eq!((reader.next(Offset(100), Offset(0)).unwrap(), reader.segment()), (None, None));
    let segment = reader.segment_of(Offset(61)).unwrap().unwrap();
    assert!(segment <= Offset(61));
    reader.begin(segment);
    let mut through = Offset(0);
    while let Some(excerpt) = reader.next(Offset(100), Offset(0)).unwrap() {
        through = excerpt.through;
    }
    assert_eq!(through, Offset(100));
}
