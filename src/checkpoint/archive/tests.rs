//! The archive as a whole, on a remote in memory.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::manifest::ShippedManifest;
use super::mark::MarkFile;
use super::*;
use crate::checkpoint::CheckpointStore;
use crate::checkpoint::{CheckpointId, Manifest, PartEntry, Pins, SinkPosition, Spool};
use crate::disk::{Disk, Random, RealDisk};
use crate::remote::{Fault, MemoryStore, RemoteName, RemoteStore};
use crate::runtime::{Offset, Timestamp};
use crate::state::GroupBytes;

pub(super) const UNSIGNED: Trust = Trust { key: None, allow_unsigned: true, cipher: None };

/// A checkpoint with these parts.
pub(super) fn checkpoint_of(id: u64, parts: &[(&str, &[u8])]) -> Manifest {
    let part = |(name, bytes): &(&str, &[u8])| PartEntry {
        name: (*name).to_owned(),
        operator: "average".into(),
        groups: vec![GroupBytes { group: 0, keys: 1, bytes: bytes.len() as u64 }],
        has_lists: false,
        bytes: bytes.len() as u64,
        hash: *blake3::hash(bytes).as_bytes(),
        store: None,
    };
    Manifest {
        id: CheckpointId(id),
        lineage: CheckpointId(1),
        job: "job".into(),
        offset: Offset(10 * id),
        stamp: Timestamp(1000),
        readings: id,
        parallelism: 1,
        parts: parts.iter().map(part).collect(),
        sinks: vec![SinkPosition { sink: "print".into(), delivered: Offset(10 * id), bytes: 0 }],
        clients: Vec::new(),
        sessions: Vec::new(),
    }
}

/// A device: a job's folder and what it ships with.
struct Device {
    directory: tempfile::TempDir,
    pins: Pins,
    shipping: Shipping,
    now: Duration,
}

pub(super) fn policy() -> ShippingPolicy {
    ShippingPolicy {
        limits: UploadLimits::default(),
        interval: Duration::ZERO,
        retention: Retention::default(),
        grace: Duration::from_secs(60),
        sizes: ChunkSizes { min: 1 << 10, average: 4 << 10, max: 16 << 10 },
        verification: Verification::Reply,
        take_over: false,
        seed: 1,
    }
}

pub(super) fn archive(store: &Arc<MemoryStore>) -> Archive {
    Archive::new(Arc::clone(store) as Arc<dyn RemoteStore>, "device", "job", UNSIGNED)
}

impl Device {
    fn new(store: &Arc<MemoryStore>) -> Self {
        Self::at(tempfile::tempdir().unwrap(), store)
    }

    fn at(directory: tempfile::TempDir, store: &Arc<MemoryStore>) -> Self {
        Self::with(directory, store, policy())
    }

    fn with(directory: tempfile::TempDir, store: &Arc<MemoryStore>, policy: ShippingPolicy) -> Self {
        Self::of(directory, archive(store), policy)
    }

    fn of(directory: tempfile::TempDir, archive: Archive, policy: ShippingPolicy) -> Self {
        RealDisk.create_directory(&directory.path().join("parts")).unwrap();
        let pins = Pins::default();
        let shipping = Shipping::new(ShippingStart {
            archive,
            disk: Arc::new(RealDisk),
            directory: directory.path().to_owned(),
            pins: pins.clone(),
            policy,
        });
        Self { directory, pins, shipping, now: Duration::ZERO }
    }

    /// The process dies and starts again.
    fn restarted(self, store: &Arc<MemoryStore>) -> Self {
        Self::at(self.directory, store)
    }

    fn offer(&self, checkpoint: &Manifest, contents: &[&[u8]]) {
        for (part, bytes) in checkpoint.parts.iter().zip(contents) {
            write(&self.directory.path().join("parts").join(&part.name), bytes);
        }
        self.pins.offer(checkpoint);
    }

    fn status(&self) -> ShippingStatus {
        self.shipping.status(Moment { monotonic: self.now, wall_ms: 1_000_000 })
    }

    /// Ships until nothing is left to do, or `steps` are over.
    fn ship(&mut self, steps: usize) -> Turn {
        for _ in 0..steps {
            let now = Moment { monotonic: self.now, wall_ms: 1_000_000 };
            match self.shipping.turn(now) {
                Turn::Step => self.shipping.step(now),
                Turn::WaitUntil(at) => self.now = at,
                end => return end,
            }
        }
        Turn::Step
    }

    fn ship_all(&mut self) {
        assert_eq!(self.ship(10_000), Turn::Idle, "{:?}", self.status());
    }
}

#[expect(clippy::disallowed_methods, reason = "tests make the files they look at")]
pub(super) fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
}

/// A checkpoint's id and the bytes of its parts.
type Restored = (u64, Vec<Vec<u8>>);

/// Restores into an empty directory: the checkpoint and the bytes of its parts.
fn restore(store: &Arc<MemoryStore>, wanted: Wanted) -> Result<Option<Restored>, ArchiveError> {
    let directory = tempfile::tempdir().unwrap();
    let archive = archive(store);
    let mut restorer = Restorer::new(&archive, Arc::new(RealDisk), directory.path()).without_pauses();
    if restorer.restore(wanted, &mut |_| ())?.is_none() {
        return Ok(None);
    }
    let mut spool = Spool::open(Arc::new(RealDisk), directory.path(), "job", 3).unwrap();
    let contents = spool.newest().unwrap().expect("what was restored is whole");
    let bytes = contents.parts.iter().map(|part| part.bytes.to_vec()).collect();
    Ok(Some((contents.manifest.id.0, bytes)))
}

fn newest(store: &Arc<MemoryStore>) -> Option<Restored> {
    restore(store, Wanted::default()).unwrap()
}

fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn names(store: &MemoryStore, folder: &str) -> Vec<RemoteName> {
    let folder = format!("/{folder}/");
    store.with_objects(|objects| {
        objects.keys().filter(|name| name.as_str().contains(&folder)).cloned().collect()
    })
}

#[test]
fn what_is_shipped_is_restored() {
    let store = Arc::new(MemoryStore::new());
    assert_eq!(newest(&store), None);
    let mut device = Device::new(&store);
    let (first, second) = (noise(100_000, 1), noise(10, 2));
    device.offer(&checkpoint_of(1, &[("a", &first), ("b", &second), ("c", b"")]), &[&first, &second, b""]);
    device.ship_all();
    assert_eq!(newest(&store), Some((1, vec![first, second, Vec::new()])));
    let status = device.status();
    assert_eq!((status.shipped, status.newest), (1, Some(CheckpointId(1))));
    assert_eq!(status.connectivity, Connectivity::Connected);
}

#[test]
fn unchanged_chunks_are_not_sent_again_also_by_another_process() {
    let store = Arc::new(MemoryStore::new());
    let mut device = Device::new(&store);
    let mut bytes = noise(1 << 20, 1);
    device.offer(&checkpoint_of(1, &[("a", &bytes)]), &[&bytes]);
    device.ship_all();
    let first = store.bytes_put();
    bytes[500_000] ^= 1;
    let mut device = device.restarted(&store);
    device.offer(&checkpoint_of(2, &[("b", &bytes)]), &[&bytes]);
    device.ship_all();
    let second = store.bytes_put() - first;
    assert!(second * 10 < first, "{second} bytes after {first}");
    assert_eq!(newest(&store), Some((2, vec![bytes])));
}

#[test]
fn the_newest_wins_and_the_same_is_not_shipped_twice() {
    let store = Arc::new(MemoryStore::new());
    let mut device = Device::new(&store);
    for id in 1..=5 {
        device.offer(&checkpoint_of(id, &[("a", b"x")]), &[b"x"]);
    }
    device.ship_all();
    assert_eq!(device.status().skipped, 4);
    assert_eq!(names(&store, "manifests").len(), 1);
    // A restart offers what it was restored from.
    let mut device = device.restarted(&store);
    device.offer(&checkpoint_of(5, &[("a", b"x")]), &[b"x"]);
    device.ship_all();
    assert_eq!((device.status().shipped, names(&store, "manifests").len()), (0, 1));
}

/// The connection is cut for good after a random number of bytes, or the process dies after a random number of steps, or a
/// call fails in one of the ways calls fail. At no time does a restore see anything but a whole checkpoint.
/// Uploads that are cut.
const CUTS: u64 = 500;

#[test]
fn an_upload_cut_anywhere_is_never_seen_in_part_and_costs_little() {
    let seed = std::env::var("TIDEGATE_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(5);
    println!("TIDEGATE_TEST_SEED={seed}");
    let mut random = Random(seed);
    let (old, new) = (noise(5_000, 1), noise(250_000, 2));
    let (before, after) = (Some((1, vec![old.clone()])), Some((2, vec![new.clone()])));
    let whole = {
        let store = Arc::new(MemoryStore::new());
        let mut device = Device::new(&store);
        device.offer(&checkpoint_of(2, &[("b", &new)]), &[&new]);
        device.ship_all();
        store.bytes_put()
    };
    let (mut sent_all, mut sent_most) = (0, 0);
    for cut in 0..CUTS {
        let store = Arc::new(if cut % 2 == 0 { MemoryStore::new() } else { MemoryStore::overwriting() });
        let mut device = Device::new(&store);
        device.offer(&checkpoint_of(1, &[("a", &old)]), &[&old]);
        device.ship_all();
        let sent_before = store.bytes_put();
        device.offer(&checkpoint_of(2, &[("b", &new)]), &[&new]);
        match cut % 5 {
            0 | 1 => store.cut_after_bytes(random.below(whole)),
            2 => store.fail_after(random.below(150), Fault::ReplyLost),
            3 => store
                .fail_after(random.below(150), Fault::CutAfter(usize::try_from(random.below(9000)).unwrap())),
            _ => {}
        }
        let steps = usize::try_from(1 + random.below(120)).unwrap();
        device.ship(steps);
        store.set_down(false);
        let seen = newest(&store);
        assert!(seen == before || seen == after, "cut {cut}: a restore sees something else");
        // The process may have died as well.
        let mut device = if cut % 3 == 0 { device.restarted(&store) } else { device };
        if cut % 3 == 0 {
            device.offer(&checkpoint_of(2, &[("b", &new)]), &[&new]);
        }
        device.ship_all();
        assert_eq!(newest(&store), after, "cut {cut}");
        let sent = store.bytes_put() - sent_before;
        assert!(sent * 10 <= whole * 11, "cut {cut}: {sent} bytes were sent instead of {whole}");
        sent_all += sent;
        sent_most = sent_most.max(sent);
    }
    let uncut = CUTS * whole;
    println!(
        "{CUTS} uploads cut at random points sent {sent_all} bytes, uncut ones {uncut}: {}.{:03} of that; the costliest {sent_most} \
         instead of {whole}",
        sent_all / uncut,
        sent_all * 1000 / uncut % 1000
    );
}

#[test]
fn an_outage_is_seen_and_ends() {
    let store = Arc::new(MemoryStore::new());
    let mut device = Device::new(&store);
    store.set_down(true);
    device.offer(&checkpoint_of(1, &[("a", b"x")]), &[b"x"]);
    device.ship(100);
    assert!(matches!(device.status().connectivity, Connectivity::Failing(_)));
    assert!(store.calls() < 60, "it backs off");
    for id in 2..50 {
        device.offer(&checkpoint_of(id, &[("a", b"x")]), &[b"x"]);
    }
    store.set_down(false);
    device.ship_all();
    assert_eq!(newest(&store).unwrap().0, 49);
    assert_eq!(device.status().connectivity, Connectivity::Connected);
}

#[test]
fn the_newest_are_kept_and_chunks_nothing_names_go_after_the_grace_period() {
    let store = Arc::new(MemoryStore::new());
    let mut device = Device::new(&store);
    for id in 1..=6 {
        let bytes = noise(20_000, id);
        device.offer(&checkpoint_of(id, &[("a", &bytes)]), &[&bytes]);
        device.ship_all();
        device.now += Duration::from_secs(1);
    }
    assert_eq!(names(&store, "manifests").len(), 3);
    let all = names(&store, "chunks").len();
    device.now += Duration::from_secs(61);
    // The first look finds them, a later one removes them.
    for id in 7..=8 {
        device.offer(&checkpoint_of(id, &[("a", &noise(20_000, 6))]), &[&noise(20_000, 6)]);
        device.ship_all();
        device.now += Duration::from_secs(61);
    }
    assert!(names(&store, "chunks").len() < all / 2, "{} of {all}", names(&store, "chunks").len());
    for id in [6, 7, 8] {
        let wanted = Wanted { id: Some(CheckpointId(id)), ..Wanted::default() };
        assert_eq!(restore(&store, wanted).unwrap(), Some((id, vec![noise(20_000, 6)])));
    }
    let gone = restore(&store, Wanted { id: Some(CheckpointId(1)), ..Wanted::default() });
    assert!(matches!(gone, Err(ArchiveError::Absent { .. })), "{gone:?}");
}

/// Two devices with copies of one folder on one remote, in random order.
#[test]
fn of_two_devices_with_one_identity_one_goes_on() {
    let mut random = Random(11);
    for trial in 0..200_u64 {
        let store = Arc::new(if trial % 2 == 0 { MemoryStore::new() } else { MemoryStore::overwriting() });
        let mut first = Device::new(&store);
        first.offer(&checkpoint_of(1, &[("a", b"1")]), &[b"1"]);
        first.ship_all();
        let copy = tempfile::tempdir().unwrap();
        let mark = MarkFile::of(Arc::new(RealDisk), first.directory.path());
        let mark = mark.read(&archive(&store).identity()).unwrap();
        // A copy of the card remembers the same; a new card remembers nothing.
        if trial % 4 < 2 {
            MarkFile::of(Arc::new(RealDisk), copy.path()).write(&mark).unwrap();
        }
        let mut devices = [first.restarted(&store), Device::at(copy, &store)];
        let mut last = [0, 0];
        for id in 2..40_u64 {
            let which = usize::try_from(random.below(2)).unwrap();
            devices[which].offer(
                &checkpoint_of(id, &[("a", &[u8::try_from(id).unwrap()])]),
                &[&[u8::try_from(id).unwrap()]],
            );
            let before = devices[which].status().shipped;
            devices[which].ship(usize::try_from(1 + random.below(12)).unwrap());
            if devices[which].status().shipped > before {
                last[which] = id;
            }
        }
        let fenced: Vec<bool> = devices
            .iter_mut()
            .map(|device| {
                device.offer(&checkpoint_of(90, &[("a", b"z")]), &[b"z"]);
                device.ship(10_000) == Turn::Stopped
            })
            .collect();
        assert_eq!(fenced.iter().filter(|fenced| **fenced).count(), 1, "trial {trial}: {fenced:?}");
        let archive = archive(&store);
        let winner = archive.incarnation().unwrap().unwrap();
        let newest = archive.manifests().unwrap()[0];
        assert_eq!(archive.manifest(&newest).unwrap().manifest.incarnation, winner, "trial {trial}");
    }
}

#[test]
fn a_device_that_comes_back_after_its_replacement_stops() {
    let store = Arc::new(MemoryStore::new());
    let mut old = Device::new(&store);
    old.offer(&checkpoint_of(1, &[("a", b"1")]), &[b"1"]);
    old.ship_all();
    let mut new = Device::new(&store);
    new.offer(&checkpoint_of(2, &[("a", b"2")]), &[b"2"]);
    new.ship_all();
    // It was running all the time, and is started again.
    for _ in 0..2 {
        old.offer(&checkpoint_of(3, &[("a", b"3")]), &[b"3"]);
        assert_eq!(old.ship(1000), Turn::Stopped);
        assert_eq!(old.status().connectivity, Connectivity::Fenced);
        old = old.restarted(&store);
    }
    assert_eq!(newest(&store), Some((2, vec![b"2".to_vec()])));
    let mut old = Device::with(old.directory, &store, ShippingPolicy { take_over: true, ..policy() });
    old.offer(&checkpoint_of(3, &[("a", b"3")]), &[b"3"]);
    old.ship_all();
    assert_eq!(newest(&store).unwrap().0, 3);
    new.offer(&checkpoint_of(4, &[("a", b"4")]), &[b"4"]);
    assert_eq!(new.ship(1000), Turn::Stopped);
}

/// Every object of an archive is damaged in every way; a restore gives a whole checkpoint or says why not.
#[test]
fn damaged_and_hostile_objects_are_refused() {
    let store = Arc::new(MemoryStore::new());
    let mut device = Device::new(&store);
    let (old, new) = (noise(3000, 1), noise(60_000, 2));
    device.offer(&checkpoint_of(1, &[("a", &old)]), &[&old]);
    device.ship_all();
    device.offer(&checkpoint_of(2, &[("b", &new)]), &[&new]);
    device.ship_all();
    let good = store.with_objects(|objects| objects.clone());
    type Harm = fn(&mut Vec<u8>);
    let harms: [Harm; 8] = [
        Vec::clear,
        |bytes| bytes.truncate(bytes.len() - 1),
        |bytes| bytes.push(0),
        |bytes| bytes[0] ^= 0x80,
        |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        },
        |bytes| bytes.iter_mut().for_each(|byte| *byte = 0xFF),
        |bytes| *bytes = super::chunk::Packing::default().pack(&vec![0; 64 << 20], &blake3::hash(b"")),
        |bytes| bytes.resize(40 << 20, 0),
    ];
    let mut fallbacks = 0;
    for name in good.keys().filter(|name| !name.as_str().contains("incarnations")) {
        for (number, harm) in harms.iter().enumerate() {
            store.with_objects(|objects| {
                *objects = good.clone();
                harm(objects.get_mut(name).unwrap());
            });
            let (id, bytes) = newest(&store).unwrap();
            let expected = if id == 2 { &new } else { &old };
            fallbacks += u64::from(id == 1);
            assert_eq!(bytes, std::slice::from_ref(expected), "{name}, harm {number}");
        }
    }
    assert!(fallbacks > 8, "{fallbacks}");
    // All of it damaged: an error that says so.
    let flip = |bytes: &mut Vec<u8>| {
        let at = bytes.len().min(31) - 1;
        bytes[at] ^= 1;
    };
    store.with_objects(|objects| objects.values_mut().for_each(flip));
    assert!(matches!(restore(&store, Wanted::default()), Err(ArchiveError::NothingWhole { tried: 2, .. })));
}

#[test]
fn objects_of_other_devices_and_names_are_refused() {
    let store = Arc::new(MemoryStore::new());
    let mut device = Device::new(&store);
    device.offer(&checkpoint_of(1, &[("a", b"1")]), &[b"1"]);
    device.ship_all();
    let ours = archive(&store);
    let mut foreign = ours.manifest(&ours.manifests().unwrap()[0]).unwrap().manifest;
    foreign.device = "other".into();
    foreign.generation = 9;
    let plant = |manifest: &ShippedManifest, generation: u64| {
        let (bytes, seal) = manifest.encode(&UNSIGNED);
        let name = ours.paths.manifest(&ManifestName::new(1, generation, &seal));
        store.with_objects(|objects| objects.insert(name, bytes));
    };
    plant(&foreign, 9);
    assert_eq!(newest(&store).unwrap().0, 1, "of another device");
    foreign.device = "device".into();
    plant(&foreign, 10);
    assert_eq!(newest(&store).unwrap().0, 1, "under another generation's name");
    // A forged one where keys are used.
    let trust = Trust { key: Some(ArchiveKey::of_test(1)), allow_unsigned: false, cipher: None };
    let guarded = Archive::new(Arc::clone(&store) as Arc<dyn RemoteStore>, "device", "job", trust);
    let directory = tempfile::tempdir().unwrap();
    let mut restorer = Restorer::new(&guarded, Arc::new(RealDisk), directory.path()).without_pauses();
    let refused = restorer.restore(Wanted::default(), &mut |_| ()).unwrap_err().to_string();
    assert!(refused.contains("not sealed with a key"), "{refused}");
    // So many manifests that nobody looks at them all.
    store.with_objects(|objects| {
        for number in 0..10_001 {
            objects.insert(ours.paths.manifests().join(&format!("junk-{number}")), Vec::new());
        }
    });
    assert!(restore(&store, Wanted::default()).unwrap_err().to_string().contains("more than 10000"));
}

#[test]
fn a_remote_that_was_set_back_is_refused_unless_accepted() {
    let store = Arc::new(MemoryStore::new());
    let mut device = Device::new(&store);
    device.offer(&checkpoint_of(1, &[("a", b"1")]), &[b"1"]);
    device.ship_all();
    let older = store.with_objects(|objects| objects.clone());
    device.offer(&checkpoint_of(2, &[("a", b"2")]), &[b"2"]);
    device.ship_all();
    store.with_objects(|objects| *objects = older);
    let archive = archive(&store);
    let mut restorer = Restorer::new(&archive, Arc::new(RealDisk), device.directory.path()).without_pauses();
    let refused = restorer.restore(Wanted::default(), &mut |_| ());
    assert!(
        matches!(refused, Err(ArchiveError::RolledBack { found: (1, 1), seen: (1, 2), .. })),
        "{refused:?}"
    );
    let accepted = restorer.restore(Wanted { accept_rollback: true, ..Wanted::default() }, &mut |_| ());
    assert_eq!(accepted.unwrap().unwrap().shipped.checkpoint.id, CheckpointId(1));
}

/// Restores are cut at every call; the next one goes on and fetches no chunk twice.
#[test]
fn a_restore_cut_anywhere_goes_on() {
    let store = Arc::new(MemoryStore::new());
    let mut device = Device::new(&store);
    let bytes = noise(100_000, 1);
    device.offer(&checkpoint_of(1, &[("a", &bytes), ("b", b"x")]), &[&bytes, b"x"]);
    device.ship_all();
    let chunks = names(&store, "chunks").len() as u64;
    let archive = archive(&store);
    for calls in 0..chunks + 8 {
        let directory = tempfile::tempdir().unwrap();
        let mut restorer = Restorer::new(&archive, Arc::new(RealDisk), directory.path()).without_pauses();
        let mut steps = 0;
        let cut = restorer.restore(Wanted::default(), &mut |_| {
            steps += 1;
            if steps > calls {
                store.set_down(true);
            }
        });
        store.set_down(false);
        let before = store.calls();
        if cut.is_err() {
            restorer.restore(Wanted::default(), &mut |_| ()).unwrap();
            let fetched = store.calls() - before;
            assert!(fetched + calls.saturating_sub(3) <= chunks + 6, "cut at {calls}: {fetched} calls");
        }
        let mut spool = Spool::open(Arc::new(RealDisk), directory.path(), "job", 3).unwrap();
        assert_eq!(*spool.newest().unwrap().unwrap().parts[0].bytes, bytes);
        let files: BTreeSet<String> =
            RealDisk.list(&directory.path().join("parts")).unwrap().into_iter().collect();
        assert_eq!(files, ["a".to_owned(), "b".to_owned()].into());
    }
}

fn encrypted() -> Trust {
    let cipher = Some(ArchiveCipher::of_test(7));
    Trust { key: Some(ArchiveKey::of_test(1)), allow_unsigned: false, cipher }
}

fn archive_with(store: &Arc<MemoryStore>, trust: Trust) -> Archive {
    Archive::new(Arc::clone(store) as Arc<dyn RemoteStore>, "device", "job", trust)
}

/// Restores by `archive` into `directory`: the checkpoint's id, or why not.
fn restore_by(archive: &Archive, directory: &Path) -> Result<u64, ArchiveError> {
    let mut restorer = Restorer::new(archive, Arc::new(RealDisk), directory).without_pauses();
    Ok(restorer.restore(Wanted::default(), &mut |_| ())?.expect("something is there").shipped.checkpoint.id.0)
}

#[test]
fn an_encrypted_archive_tells_nothing_and_is_read_with_its_key_only() {
    let store = Arc::new(MemoryStore::new());
    let secret = b"reading of the boiler: 42 degrees; ".repeat(20);
    let directory = tempfile::tempdir().unwrap();
    let mut plain = Device::new(&store);
    plain.offer(&checkpoint_of(1, &[("a", &secret)]), &[&secret]);
    plain.ship_all();
    let before: BTreeSet<RemoteName> = store.with_objects(|objects| objects.keys().cloned().collect());
    let mut device = Device::of(directory, archive_with(&store, encrypted()), policy());
    device.offer(&checkpoint_of(2, &[("a", &secret)]), &[&secret]);
    device.ship_all();
    let hashes: Vec<String> = names(&store, "chunks").iter().map(|name| name.last().to_owned()).collect();
    assert!(hashes.iter().any(|hash| *hash == blake3::hash(&secret).to_hex().as_str()), "in the plain one");
    store.with_objects(|objects| {
        for (name, bytes) in objects.iter().filter(|(name, _)| !before.contains(*name)) {
            assert!(zstd::bulk::decompress(bytes, 1 << 20).is_err(), "{name} is only packed");
            for text in [&b"boiler"[..], b"print", blake3::hash(&secret).as_bytes()] {
                assert!(!bytes.windows(text.len()).any(|window| window == text), "{name}");
            }
        }
    });
    let empty = || tempfile::tempdir().unwrap();
    assert_eq!(restore_by(&archive_with(&store, encrypted()), empty().path()).unwrap(), 2);
    let unsigned = Trust { allow_unsigned: true, ..encrypted() };
    assert_eq!(restore_by(&archive_with(&store, unsigned.clone()), empty().path()).unwrap(), 2);
    // Without the key the plain one from before is what is left.
    let without = Trust { cipher: None, ..unsigned };
    assert_eq!(restore_by(&archive_with(&store, without), empty().path()).unwrap(), 1);
    let other = Trust { cipher: Some(ArchiveCipher::of_test(8)), ..encrypted() };
    let refused = restore_by(&archive_with(&store, other), empty().path()).unwrap_err().to_string();
    assert!(refused.contains("not sealed with a key"), "the older one is what was tried last: {refused}");
}

#[test]
fn what_the_lost_device_had_taken_in_behind_the_checkpoint_is_told() {
    let store = Arc::new(MemoryStore::new());
    let mut device = Device::new(&store);
    let with_lines = |id: u64, lines: u64| Manifest {
        clients: vec![("boiler".into(), lines)],
        ..checkpoint_of(id, &[("a", b"1")])
    };
    device.offer(&with_lines(1, 5), &[b"1"]);
    // While it is shipped the job goes on.
    device.ship(4);
    device.offer(&with_lines(3, 17), &[b"1"]);
    device.ship(4);
    store.set_down(true);
    let directory = tempfile::tempdir().unwrap();
    store.set_down(false);
    let archive = archive(&store);
    let mut restorer = Restorer::new(&archive, Arc::new(RealDisk), directory.path()).without_pauses();
    let fetched = restorer.fetch(Wanted::default(), &mut |_| ()).unwrap().unwrap();
    assert_eq!(fetched.shipped.checkpoint.id, CheckpointId(1));
    let lost = fetched.lost().unwrap();
    assert_eq!((lost.batches, lost.readings), ((Offset(11), Offset(30)), 2));
    assert_eq!(lost.clients, [("boiler".to_owned(), 6, 17)]);
    // Nothing of it is installed yet.
    assert!(RealDisk.list(&directory.path().join("parts")).is_err());
    assert!(RealDisk.list(&directory.path().join("manifests")).is_err());
    assert_eq!(restorer.contents(&fetched).unwrap().parts.len(), 1);
    restorer.install(&fetched).unwrap();
    device.ship_all();
    let fetched = restorer.fetch(Wanted::default(), &mut |_| ()).unwrap().unwrap();
    assert_eq!(fetched.lost(), None);
}

#[test]
fn a_restore_remembers_what_it_has_seen() {
    let store = Arc::new(MemoryStore::new());
    let mut device = Device::new(&store);
    device.offer(&checkpoint_of(1, &[("a", b"1")]), &[b"1"]);
    device.ship_all();
    let older = store.with_objects(|objects| objects.clone());
    device.offer(&checkpoint_of(2, &[("a", b"2")]), &[b"2"]);
    device.ship_all();
    let archive = archive(&store);
    let (directory, empty) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert_eq!(restore_by(&archive, directory.path()).unwrap(), 2);
    store.with_objects(|objects| *objects = older);
    let refused = restore_by(&archive, directory.path()).unwrap_err();
    assert!(matches!(refused, ArchiveError::RolledBack { found: (1, 1), seen: (1, 2), .. }), "{refused}");
    // A new card can be told.
    let mut restorer = Restorer::new(&archive, Arc::new(RealDisk), empty.path()).without_pauses();
    for (min_generation, expected) in [(2, None), (1, Some(CheckpointId(1)))] {
        let wanted = Wanted { min_generation, ..Wanted::default() };
        let fetched = restorer.try_out(wanted, &mut |_| ());
        assert_eq!(fetched.ok().flatten().map(|fetched| fetched.shipped.checkpoint.id), expected);
    }
    // One that another device has taken over is ahead, however few generations it has.
    let mut mark = MarkFile::of(Arc::new(RealDisk), directory.path()).read(&archive.identity()).unwrap();
    mark.see(2, 1);
    assert_eq!((mark.incarnation, mark.generation), (2, 1));
}

#[test]
fn the_bytes_of_a_day_are_remembered_by_the_next_process() {
    let store = Arc::new(MemoryStore::new());
    let limits = UploadLimits { bytes_per_day: Some(300_000), ..UploadLimits::default() };
    let limited = || ShippingPolicy { limits, ..policy() };
    let bytes = noise(1 << 20, 1);
    let mut device = Device::with(tempfile::tempdir().unwrap(), &store, limited());
    for _ in 0..3 {
        device.offer(&checkpoint_of(1, &[("a", &bytes)]), &[&bytes]);
        let now = Moment { monotonic: device.now, wall_ms: 1_000_000 };
        while device.shipping.turn(now) == Turn::Step {
            device.shipping.step(now);
        }
        let paused = Connectivity::Paused("upload-bytes-per-day is used up");
        assert_eq!(device.status().connectivity, paused);
        assert!(device.status().backlog.unwrap().readings > 0);
        device = Device::with(device.directory, &store, limited());
    }
    let sent = store.bytes_put();
    // What a crash forgets, and the last chunk, of each of three processes.
    assert!((300_000..300_000 + 3 * (65_536 + 16_384 + 1024)).contains(&sent), "{sent}");
}

#[test]
fn what_waits_is_told_with_its_age() {
    let store = Arc::new(MemoryStore::new());
    let mut device = Device::new(&store);
    device.offer(&checkpoint_of(1, &[("a", b"1")]), &[b"1"]);
    device.ship_all();
    assert_eq!(device.status().backlog, None);
    store.set_down(true);
    for id in 2..=5 {
        device.offer(&checkpoint_of(id, &[("a", b"1")]), &[b"1"]);
        device.ship(3);
        device.now += Duration::from_secs(60);
    }
    let backlog = device.status().backlog.unwrap();
    assert_eq!(backlog.readings, 4);
    assert!(backlog.age >= Duration::from_secs(240), "{backlog:?}");
    store.set_down(false);
    device.ship_all();
    assert_eq!(device.status().backlog, None);
}

#[test]
fn pruning_removes_what_is_outdated_at_once() {
    let store = Arc::new(MemoryStore::new());
    let mut device = Device::new(&store);
    for id in 1..=3 {
        let bytes = noise(20_000, id);
        device.offer(&checkpoint_of(id, &[("a", &bytes)]), &[&bytes]);
        device.ship_all();
    }
    let retention = Retention { newest: 1, ..Retention::default() };
    let at_once = ShippingPolicy { retention, grace: Duration::ZERO, ..policy() };
    let mut device = Device::with(device.directory, &store, at_once);
    let before = names(&store, "").len();
    device.shipping.prune();
    device.ship_all();
    assert_eq!(names(&store, "manifests").len(), 1);
    assert_eq!(newest(&store), Some((3, vec![noise(20_000, 3)])));
    assert!(names(&store, "chunks").len() < 12 && device.status().removed > 5, "{before}");
}

/// A part of 40 key groups with `keys` keys each; those in `changed` have another value than the others.
fn grouped_part(keys: u32, changed: impl Fn(u32) -> bool) -> (Vec<GroupBytes>, Vec<u8>) {
    let (mut groups, mut bytes) = (Vec::new(), b"a header".to_vec());
    for group in 0..40_u16 {
        let from = bytes.len();
        for key in 0..keys {
            let number = u32::from(group) * keys + key;
            bytes.extend_from_slice(
                blake3::hash(&number.to_le_bytes()).as_bytes().first_chunk::<12>().unwrap(),
            );
            bytes.extend_from_slice(
                &(if changed(number) { number.wrapping_mul(7919) } else { 1 }).to_le_bytes(),
            );
        }
        groups.push(GroupBytes { group, keys: u64::from(keys), bytes: (bytes.len() - from) as u64 });
    }
    (groups, bytes)
}

fn offer_grouped(device: &Device, id: u64, (groups, bytes): &(Vec<GroupBytes>, Vec<u8>)) {
    let name = format!("part-{id}");
    let mut checkpoint = checkpoint_of(id, &[(&name, bytes)]);
    checkpoint.parts[0].groups.clone_from(groups);
    device.offer(&checkpoint, &[bytes]);
}

/// One key in a hundred changes, all over a part that is written anew whole.
#[test]
fn scattered_changes_cost_few_bytes_again_and_again() {
    let with_key = archive_with(&Arc::new(MemoryStore::new()), encrypted()).trust;
    for trust in [UNSIGNED, with_key] {
        let store = Arc::new(MemoryStore::new());
        let archive = archive_with(&store, trust);
        let mut device = Device::of(tempfile::tempdir().unwrap(), archive.clone(), policy());
        offer_grouped(&device, 1, &grouped_part(500, |_| false));
        device.ship_all();
        let mut sent = store.bytes_put();
        let first = sent;
        for id in 2..=12_u64 {
            // In the middle of it all the process starts again, and once what it has of the bases is damaged.
            if id == 5 {
                device = Device::of(device.directory, archive.clone(), policy());
            }
            let part = grouped_part(500, |number| u64::from(number) % 100 < id - 1);
            offer_grouped(&device, id, &part);
            device.ship_all();
            let new = store.bytes_put() - sent;
            sent += new;
            assert!(id > 4 || new * 10 <= first, "checkpoint {id}: {new} bytes after {first}");
            let directory = tempfile::tempdir().unwrap();
            assert_eq!(restore_by(&archive, directory.path()).unwrap(), id);
            let mut spool = Spool::open(Arc::new(RealDisk), directory.path(), "job", 3).unwrap();
            assert_eq!(*spool.newest().unwrap().unwrap().parts[0].bytes, part.1);
        }
        // Changes add up: now and then a chunk is sent by itself again. On average few bytes still.
        assert!((sent - first) / 11 * 4 < first, "{} bytes in 11 checkpoints after {first}", sent - first);
    }
}

#[test]
fn bases_that_are_gone_or_damaged_cost_bytes_and_nothing_else() {
    let store = Arc::new(MemoryStore::new());
    let mut device = Device::new(&store);
    offer_grouped(&device, 1, &grouped_part(500, |_| false));
    device.ship_all();
    let folder = device.directory.path().join("remote").join("bases");
    for name in RealDisk.list(&folder).unwrap() {
        write(&folder.join(name), b"nonsense");
    }
    let part = grouped_part(500, |number| number % 100 == 0);
    offer_grouped(&device, 2, &part);
    device.ship_all();
    assert_eq!(newest(&store), Some((2, vec![part.1])));
    // Those of the new chunks are good again.
    let sent = store.bytes_put();
    let part = grouped_part(500, |number| number % 100 < 2);
    offer_grouped(&device, 3, &part);
    device.ship_all();
    assert!((store.bytes_put() - sent) * 5 < sent, "{}", store.bytes_put() - sent);
    assert_eq!(newest(&store), Some((3, vec![part.1])));
    // What a base is needed for is damaged with it.
    let archive = archive(&store);
    let shipped = archive.manifest(&archive.manifests().unwrap()[0]).unwrap();
    let base = archive.paths.chunk(&shipped.manifest.bases[0][0].hash());
    store.with_objects(|objects| objects.remove(&base).unwrap());
    assert_ne!(newest(&store).unwrap().0, 3);
}

#[test]
fn of_devices_that_start_at_once_none_has_the_number_of_another_where_the_remote_can_tell() {
    for (store, exclusive) in [(MemoryStore::new(), true), (MemoryStore::overwriting(), false)] {
        let store = Arc::new(store);
        let archive = archive(&store);
        let incarnation = |id| paths::Incarnation { number: 1, id: [id; 16] };
        let first = archive.claim(&incarnation(1)).unwrap();
        assert_eq!(first, if exclusive { catalogue::Claim::Exclusive } else { catalogue::Claim::Shared });
        assert_eq!(archive.claim(&incarnation(1)), Ok(first), "tried again");
        let second = archive.claim(&incarnation(2)).unwrap();
        assert_eq!(second, if exclusive { catalogue::Claim::Taken } else { catalogue::Claim::Shared });
        // Who finds it taken has another number.
        let mut device = Device::new(&store);
        device.offer(&checkpoint_of(1, &[("a", b"1")]), &[b"1"]);
        device.ship_all();
        let current = archive.incarnation().unwrap().map(|current| current.number);
        assert_eq!(current, Some(if exclusive { 2 } else { 1 }));
    }
}

#[test]
fn a_manifest_that_was_cut_is_told_from_one_that_was_whole() {
    let store = Arc::new(MemoryStore::new());
    let mut device = Device::new(&store);
    let found = |store: &Arc<MemoryStore>| {
        let (archive, directory) = (archive(store), tempfile::tempdir().unwrap());
        let listed =
            Restorer::new(&archive, Arc::new(RealDisk), directory.path()).without_pauses().list().unwrap();
        let unusable = listed.iter().filter(|(_, read)| read.is_err()).count();
        (unusable, cut_uploads(&listed).len())
    };
    let cut = |store: &Arc<MemoryStore>, name: &RemoteName, length| {
        store.with_objects(|objects| objects.get_mut(name).unwrap().truncate(length));
    };
    for id in 1..=3 {
        let bytes = noise(1000, id);
        device.offer(&checkpoint_of(id, &[("a", &bytes)]), &[&bytes]);
        device.ship_all();
        if id == 1 {
            let only = names(&store, "manifests").remove(0);
            let whole = store.with_objects(|objects| objects[&only].clone());
            cut(&store, &only, 30);
            assert_eq!((found(&store), newest(&store)), ((1, 1), None), "the first upload of all");
            store.with_objects(|objects| objects.insert(only, whole));
        }
    }
    let manifests = names(&store, "manifests");
    for length in [0, 5, 20, 200] {
        cut(&store, &manifests[2], length);
        assert_eq!(found(&store), (1, 1), "the newest");
    }
    assert_eq!(newest(&store).map(|(id, _)| id), Some(2));
    cut(&store, &manifests[0], 100);
    assert_eq!(found(&store), (2, 1), "one that another was chained to was whole once");
    // Another process goes on, and clears up.
    let bytes = noise(1000, 4);
    let mut device = device.restarted(&store);
    device.offer(&checkpoint_of(4, &[("a", &bytes)]), &[&bytes]);
    device.ship_all();
    assert_eq!((found(&store), names(&store, "manifests").len()), ((0, 0), 2));
    assert_eq!(newest(&store).map(|(id, _)| id), Some(4));
}

#[test]
fn a_manifest_that_is_removed_while_it_is_listed_is_left_out() {
    let store = Arc::new(MemoryStore::new());
    let mut device = Device::new(&store);
    for id in 1..=2 {
        let bytes = noise(1000, id);
        device.offer(&checkpoint_of(id, &[("a", &bytes)]), &[&bytes]);
        device.ship_all();
    }
    let archive = archive(&store);
    let directory = tempfile::tempdir().unwrap();
    let mut restorer = Restorer::new(&archive, Arc::new(RealDisk), directory.path()).without_pauses();
    let manifests = names(&store, "manifests");
    store.hide(&manifests[1], 1);
    assert_eq!(restorer.list().unwrap().len(), 1);
    // All of them are gone once: they are listed again.
    store.hide(&manifests[0], 1);
    store.hide(&manifests[1], 1);
    assert_eq!(restorer.list().unwrap().len(), 2);
    store.hide(&manifests[0], 1000);
    store.hide(&manifests[1], 1000);
    assert!(matches!(restorer.list(), Err(ArchiveError::Remote(_))), "an end comes");
}
