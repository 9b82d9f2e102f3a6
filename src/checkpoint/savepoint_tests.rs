use super::*;
use crate::checkpoint::CheckpointId;
use crate::disk::{FaultyDisk, RealDisk};
use crate::runtime::Timestamp;
use crate::state::{GroupBytes, GroupSet, KeyGroupRange};

struct Part;

impl StateSnapshot for Part {
    fn operator(&self) -> &str {
        "average"
    }

    fn range(&self) -> KeyGroupRange {
        KeyGroupRange { start: 0, end: 2 }
    }

    fn versions(&self) -> &[u64] {
        &[1, 2]
    }

    fn has_lists(&self) -> bool {
        false
    }

    fn write(&self, _: &GroupSet, _: &mut dyn Write) -> io::Result<Vec<GroupBytes>> {
        Err(io::Error::other("a savepoint is written whole"))
    }

    fn write_full(&self, out: &mut dyn Write) -> io::Result<Vec<GroupBytes>> {
        out.write_all(b"everything")?;
        Ok(vec![GroupBytes { group: 1, keys: 3, bytes: 10 }])
    }
}

fn manifest() -> Manifest {
    Manifest {
        id: CheckpointId(7),
        lineage: CheckpointId(2),
        job: "job".into(),
        offset: Offset(9),
        stamp: Timestamp(5),
        readings: 70,
        parallelism: 1,
        parts: Vec::new(),
        sinks: Vec::new(),
        clients: vec![("client".into(), 4)],
        sessions: Vec::new(),
    }
}

fn take(disk: &Arc<dyn Disk>, savepoints: &Path) -> Result<Savepoint, SavepointError> {
    let draft = SavepointDraft::begin(Arc::clone(disk), Some(savepoints), None)?;
    draft.write(&manifest(), &[Box::new(Part)])
}

#[test]
fn a_savepoint_is_whole_or_not_there_whichever_call_fails() {
    let faulty = FaultyDisk::healthy();
    let disk: Arc<dyn Disk> = Arc::new(faulty.clone());
    let mut calls = 0;
    loop {
        let directory = tempfile::tempdir().unwrap();
        let savepoints = directory.path().join("savepoints");
        faulty.fail_after(calls);
        let taken = take(&disk, &savepoints);
        faulty.heal();
        let found = read_savepoint(&RealDisk, &savepoints.join("000001"), "job");
        match (&taken, found) {
            (_, Ok(contents)) => {
                assert_eq!(contents.parts.len(), 1);
                assert_eq!(contents.manifest.clients, manifest().clients);
            }
            (Err(_), Err(SavepointError::Missing { .. })) => {}
            (taken, found) => panic!("call {calls}: {taken:?}, but {found:?}"),
        }
        remove_unfinished(&RealDisk, &savepoints).unwrap();
        let names = RealDisk.list(&savepoints).unwrap_or_default();
        assert!(names.iter().all(|name| name == "000001"), "{names:?}");
        if let Ok(savepoint) = taken {
            assert_eq!((savepoint.offset, savepoint.keys, savepoint.bytes), (Offset(9), 3, 10));
            assert!(calls > 8, "the calls fail one after the other");
            return;
        }
        calls += 1;
    }
}

#[test]
fn numbers_ascend_and_nothing_is_written_over() {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let directory = tempfile::tempdir().unwrap();
    let savepoints = directory.path().join("savepoints");
    for number in 1..=3 {
        let savepoint = take(&disk, &savepoints).unwrap();
        assert_eq!(savepoint.path, savepoints.join(format!("{number:06}")));
    }
    let to = |path: &Path| SavepointDraft::begin(Arc::clone(&disk), None, Some(path)).map(drop);
    assert!(matches!(to(&savepoints.join("000002")), Err(SavepointError::Exists { .. })));
    assert!(matches!(to(Path::new("/")), Err(SavepointError::NotAName { .. })));
    to(&directory.path().join("another")).unwrap();
    assert_eq!(RealDisk.list(directory.path()).unwrap(), ["savepoints"], "a draft given up is gone");
    let nowhere = SavepointDraft::begin(disk, None, None).map(drop);
    assert!(matches!(nowhere, Err(SavepointError::NoPlace)));
}

#[test]
fn fields_of_an_answer_are_read_back() {
    let savepoint = Savepoint::of(PathBuf::from("/a b\tc"), &manifest());
    assert_eq!(Savepoint::from_fields(&savepoint.to_fields()), Some(savepoint));
    assert_eq!(Savepoint::from_fields("1\t2\t3"), None);
}
