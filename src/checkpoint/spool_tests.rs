use super::*;
use crate::disk::{FaultyDisk, RealDisk};
use crate::runtime::{Offset, Timestamp};
use crate::state::{GroupBytes, GroupSet, KeyGroupRange, StateSnapshot};

struct Bytes {
    bytes: Vec<u8>,
    range: KeyGroupRange,
    versions: Vec<u64>,
}

impl StateSnapshot for Bytes {
    fn operator(&self) -> &str {
        "average"
    }

    fn range(&self) -> KeyGroupRange {
        self.range
    }

    fn versions(&self) -> &[u64] {
        &self.versions
    }

    fn has_lists(&self) -> bool {
        false
    }

    fn write(&self, groups: &GroupSet, out: &mut dyn Write) -> io::Result<Vec<GroupBytes>> {
        out.write_all(&self.bytes)?;
        let bytes = self.bytes.len() as u64;
        Ok(groups.iter().map(|group| GroupBytes { group, keys: bytes, bytes }).collect())
    }

    fn write_full(&self, out: &mut dyn Write) -> io::Result<Vec<GroupBytes>> {
        self.write(&self.range.into(), out)
    }
}

fn capture(id: CheckpointId) -> Capture {
    let manifest = Manifest {
        id,
        lineage: CheckpointId(0),
        job: "job".into(),
        offset: Offset(id.0 * 10),
        stamp: Timestamp(0),
        readings: 0,
        parallelism: 1,
        parts: Vec::new(),
        sinks: Vec::new(),
        clients: Vec::new(),
        sessions: Vec::new(),
    };
    let content = |salt: u8| {
        Box::new(Bytes {
            bytes: vec![salt; 100 + usize::try_from(id.0).unwrap()],
            range: KeyGroupRange { start: u16::from(salt), end: u16::from(salt) + 1 },
            versions: vec![id.0],
        }) as _
    };
    Capture { manifest, snapshots: vec![content(1), content(2)] }
}

fn open(directory: &Path, disk: Arc<dyn Disk>) -> Spool {
    Spool::open(disk, directory, "job", 2).unwrap()
}

fn write_next(spool: &mut Spool) -> Result<Manifest, CheckpointError> {
    let id = spool.next_id();
    spool.write(capture(id))
}

fn newest_id(spool: &mut Spool) -> Option<u64> {
    spool.newest().unwrap().map(|contents| contents.manifest.id.0)
}

fn files(directory: &Path, folder: &str) -> Vec<String> {
    let mut names = RealDisk.list(&directory.join(folder)).unwrap();
    names.sort();
    names
}

#[test]
fn the_newest_are_kept_and_their_parts_only() {
    let directory = tempfile::tempdir().unwrap();
    let mut spool = open(directory.path(), Arc::new(RealDisk));
    assert_eq!(newest_id(&mut spool), None);
    for _ in 0..5 {
        write_next(&mut spool).unwrap();
    }
    assert_eq!(files(directory.path(), "manifests").len(), 2);
    assert_eq!(files(directory.path(), "parts").len(), 4);
    let mut spool = open(directory.path(), Arc::new(RealDisk));
    let contents = spool.newest().unwrap().unwrap();
    assert_eq!(contents.manifest.id, CheckpointId(5));
    assert_eq!(*contents.parts[1].bytes, [2; 105]);
    assert_eq!(spool.next_id(), CheckpointId(6));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "damages files behind the spool's back")]
fn any_damage_falls_back_to_the_checkpoint_before() {
    type Harm = fn(&Path);
    let harms: [Harm; 6] = [
        |path| std::fs::remove_file(path).unwrap(),
        |path| std::fs::write(path, b"").unwrap(),
        |path| std::fs::write(path, [0xFF; 105]).unwrap(),
        |path| {
            let mut bytes = std::fs::read(path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(path, bytes).unwrap();
        },
        |path| {
            let bytes = std::fs::read(path).unwrap();
            std::fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
        },
        |path| {
            let mut bytes = std::fs::read(path).unwrap();
            bytes.push(0);
            std::fs::write(path, bytes).unwrap();
        },
    ];
    for (number, harm) in harms.iter().enumerate() {
        for target in ["manifests/00000000000000000002.manifest", "parts/00000000000000000002-1.part"] {
            let directory = tempfile::tempdir().unwrap();
            let mut spool = open(directory.path(), Arc::new(RealDisk));
            write_next(&mut spool).unwrap();
            write_next(&mut spool).unwrap();
            harm(&directory.path().join(target));
            let mut spool = open(directory.path(), Arc::new(RealDisk));
            assert_eq!(newest_id(&mut spool), Some(1), "harm {number} to {target}");
            let next = write_next(&mut spool).unwrap().id;
            assert!(next.0 >= 2, "an id is not used again while anything of it is left");
            assert_eq!(newest_id(&mut spool), Some(next.0));
        }
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "plants foreign files")]
fn foreign_files_are_passed_over_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let mut spool = open(directory.path(), Arc::new(RealDisk));
    write_next(&mut spool).unwrap();
    let manifests = directory.path().join("manifests");
    std::fs::write(manifests.join("notes.txt"), b"hello").unwrap();
    std::fs::write(manifests.join("9.manifest"), b"short name").unwrap();
    std::fs::create_dir(manifests.join("00000000000000000099.manifest")).unwrap();
    std::fs::write(directory.path().join("parts/README"), b"hello").unwrap();
    let mut spool = open(directory.path(), Arc::new(RealDisk));
    assert_eq!(newest_id(&mut spool), Some(1));
    for _ in 0..3 {
        write_next(&mut spool).unwrap();
    }
    assert!(manifests.join("notes.txt").exists() && directory.path().join("parts/README").exists());
}

#[test]
fn a_failure_at_any_step_leaves_the_one_before_and_the_next_succeeds() {
    let mut failures = 0;
    for calls in 0.. {
        let directory = tempfile::tempdir().unwrap();
        write_next(&mut open(directory.path(), Arc::new(RealDisk))).unwrap();
        let disk = FaultyDisk::healthy();
        let mut spool = open(directory.path(), Arc::new(disk.clone()));
        disk.fail_after(calls);
        let outcome = write_next(&mut spool);
        disk.heal();
        let newest = newest_id(&mut open(directory.path(), Arc::new(RealDisk)));
        match outcome {
            Ok(_) => assert_eq!(newest, Some(2)),
            Err(error) => {
                failures += 1;
                assert!(matches!(error, CheckpointError::Write { .. }), "{error}");
                // 2 when only the sync of the published manifest's name failed.
                assert!(matches!(newest, Some(1 | 2)), "after {calls} calls: {newest:?}");
            }
        }
        let third = write_next(&mut spool).unwrap().id;
        assert_eq!(newest_id(&mut spool), Some(third.0));
        let named: usize = 2 * files(directory.path(), "manifests").len();
        assert_eq!(files(directory.path(), "parts").len(), named, "no garbage stays, after {calls} calls");
        if failures > 0 && calls > 60 {
            break;
        }
    }
    assert!(failures > 10, "the sweep failed {failures} calls");
}

#[test]
fn starting_empty_hides_older_checkpoints_but_keeps_them_until_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let mut spool = open(directory.path(), Arc::new(RealDisk));
    write_next(&mut spool).unwrap();
    spool.start_empty();
    assert_eq!(newest_id(&mut spool), None);
    assert_eq!(newest_id(&mut open(directory.path(), Arc::new(RealDisk))), Some(1));
    write_next(&mut spool).unwrap();
    assert_eq!(newest_id(&mut spool), Some(2));
}
