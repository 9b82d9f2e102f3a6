use std::io::{self, Cursor, Read};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;
use crate::disk::{DirectoryLock, DurableFile, SimulatedDisk, read_whole};
use crate::runtime::job::run_on;
use crate::runtime::job_handle::JobHandle;
use crate::runtime::settings::{Backend, Settings};
use crate::source::{RecordedBatch, RecordedInput};
use crate::state::ValueStateDescriptor;
use crate::stream::Environment;

const BATCHES: usize = 40;
/// A byte in the first record of a segment.
const DAMAGED_BYTE: usize = 72 + 12;

/// A disk to read from, on which a segment looks damaged some times before it does not.
#[derive(Debug)]
struct FlickeringDisk {
    disk: SimulatedDisk,
    damaged_opens: AtomicUsize,
}

impl Disk for FlickeringDisk {
    fn open(&self, path: &Path) -> io::Result<(Box<dyn Read + Send>, u64)> {
        let is_segment = path.extension().is_some_and(|extension| extension == "segment");
        let one_less = |left: usize| left.checked_sub(1);
        let is_damaged = is_segment
            && self.damaged_opens.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok();
        if !is_damaged {
            return self.disk.open(path);
        }
        let mut bytes = read_whole(&self.disk, path, u64::MAX)?;
        bytes[DAMAGED_BYTE] ^= 1;
        let length = bytes.len() as u64;
        Ok((Box::new(Cursor::new(bytes)), length))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.disk.list(directory)
    }

    fn create_directory(&self, _: &Path) -> io::Result<()> {
        unreachable!("a replay only reads")
    }

    fn create_new(&self, _: &Path) -> io::Result<Box<dyn DurableFile>> {
        unreachable!("a replay only reads")
    }

    fn append(&self, _: &Path) -> io::Result<Box<dyn DurableFile>> {
        unreachable!("a replay only reads")
    }

    fn truncate(&self, _: &Path, _: u64) -> io::Result<()> {
        unreachable!("a replay only reads")
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        unreachable!("a replay only reads")
    }

    fn drop_cache(&self, _: &Path) -> io::Result<()> {
        unreachable!("a replay only reads")
    }

    fn link(&self, _: &Path, _: &Path) -> io::Result<()> {
        unreachable!("a replay only reads")
    }

    fn remove_directory(&self, _: &Path) -> io::Result<()> {
        unreachable!("a replay only reads")
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        unreachable!("a replay only reads")
    }

    fn lock(&self, _: &Path) -> io::Result<DirectoryLock> {
        unreachable!("a replay only reads")
    }

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        unreachable!("a replay only reads")
    }
}

/// What a job that ran to its end left on its disk.
fn recorded() -> SimulatedDisk {
    let settings = Settings {
        threads: 1,
        backend: Backend::File { directory: "/data".into() },
        checkpoint_interval: Duration::from_secs(3600),
        ..Settings::default()
    };
    let batch = |_| RecordedBatch { stamp_ms: 0, lines: vec!["1 2".to_owned()] };
    let environment = Environment::with_settings("recorded", settings);
    environment
        .recorded(RecordedInput::new((0..BATCHES).map(batch).collect::<Vec<_>>()))
        .parse::<(i64, i64)>()
        .key_by(|(key, _)| *key)
        .flat_map(ValueStateDescriptor::new("sum"), |(key, value), sum, out| {
            let total: i64 = sum.value().unwrap_or_default() + value;
            sum.update(total);
            out.collect((key, total));
        })
        .write_to_file("/out/results");
    let (topology, settings) = environment.build();
    let disk = SimulatedDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    run_on(&shared, topology, settings, &JobHandle::new()).unwrap();
    disk
}

fn begin(disk: &SimulatedDisk, damaged_opens: usize, replay: &Replay) -> Result<(Planner, Leg), JobError> {
    let damaged_opens = AtomicUsize::new(damaged_opens);
    let disk: Arc<dyn Disk> = Arc::new(FlickeringDisk { disk: disk.clone(), damaged_opens });
    Planner::begin_settled(&disk, "recorded", replay, 1)
}

#[test]
fn only_damage_that_stays_is_damage() {
    let disk = recorded();
    let all = Replay::of("/data/recorded");
    let (planner, whole) = begin(&disk, 0, &all).unwrap();
    assert_eq!((whole.base, whole.first, whole.damage), (Offset(0), Offset(1), None));
    assert!(whole.last >= Offset(BATCHES as u64), "{whole:?}");
    assert!(planner.next(&whole).unwrap().is_none());

    let (_, flickered) = begin(&disk, 1, &all).unwrap();
    assert_eq!((flickered.last, flickered.damage), (whole.last, None));

    let (planner, damaged) = begin(&disk, usize::MAX, &all).unwrap();
    assert!(damaged.damage.is_some() && damaged.last == Offset(0), "{damaged:?}");
    // The checkpoint at the end of the run makes up for everything.
    let next = planner.next(&damaged).unwrap().unwrap();
    assert_eq!(damaged.gap_until(next.base), Some(Gap { from: Offset(1), to: Some(whole.last) }));
    assert_eq!((next.base, planner.gap_behind(&next)), (whole.last, None));
}

#[test]
fn a_range_is_cut_out_or_refused() {
    let disk = recorded();
    let all = Replay::of("/data/recorded");
    let (_, whole) = begin(&disk, 0, &all).unwrap();
    let (planner, leg) = begin(&disk, 0, &all.clone().from(Offset(3)).until(Offset(5))).unwrap();
    assert_eq!((leg.first, leg.last), (Offset(1), Offset(5)));
    assert!(planner.next(&leg).unwrap().is_none());
    let behind = whole.last.next();
    for beyond in [all.clone().from(behind), all.clone().until(behind)] {
        let error = begin(&disk, 0, &beyond).unwrap_err();
        let JobError::NotHeld { offset, first, last } = error else { panic!("{error:?}") };
        assert_eq!((offset, first, last), (behind, Offset(1), whole.last));
    }
    assert!(matches!(
        begin(&disk, 0, &all.from(Offset(2)).until(Offset(1))),
        Err(JobError::Configuration(_))
    ));
}
