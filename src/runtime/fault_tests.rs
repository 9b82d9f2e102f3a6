//! The whole job on a disk one of whose calls fails, for every call of its first life and of a recovery: it goes on
//! right, or ends with an error and a recovery on a healthy disk makes it right.

use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;

use super::simulated_job::{RESULTS, expected, input, run_job};
use crate::disk::{Call, Fault, Random, SimulatedDisk};
use crate::source::{Acknowledged, RecordedBatch};

/// Few lines fill a segment.
const PADDING: usize = 12_000;
/// Calls of one kind a life makes at most; the sweep ends long before, at the first call that is not made any more.
const CALLS_MAX: u64 = 1000;
/// The calls a first life is cut at, so that a recovery has a checkpoint and a journal behind it.
const CUTS: [u64; 3] = [60, 90, 120];

const CALLS: [Call; 8] = [
    Call::Create,
    Call::Preallocate,
    Call::Write,
    Call::Sync,
    Call::Truncate,
    Call::Rename,
    Call::Remove,
    Call::SyncDirectory,
];

/// One job under one fault, from the disk a life before has left.
struct Case<'a> {
    batches: &'a [RecordedBatch],
    fault: Fault,
    seed: u64,
}

impl Case<'_> {
    /// Runs the job under the fault and what must follow; false when the job never made the call.
    fn run(&self, disk: &SimulatedDisk, acknowledged: &Arc<Acknowledged>) -> bool {
        disk.fail(self.fault);
        let outcome = run_job(disk, self.batches, acknowledged);
        if disk.heal() == 0 {
            assert!(outcome.is_ok(), "{}: no fault was met, and yet {outcome:?}", self.context());
            return false;
        }
        if outcome.is_ok() {
            self.check_results(disk, "the job went on");
        }
        // Both a program that is started again and a device that is.
        let mut random = Random(self.seed);
        for disk in [disk.after_power_cut(&mut random), disk.clone()] {
            let acknowledged = acknowledged.branch();
            run_job(&disk, self.batches, &acknowledged)
                .unwrap_or_else(|error| panic!("{}: no recovery after {outcome:?}: {error}", self.context()));
            self.check_results(&disk, &format!("recovered after {outcome:?}"));
            assert!(!acknowledged.was_taken_back(), "{}: something acknowledged was lost", self.context());
        }
        true
    }

    fn check_results(&self, disk: &SimulatedDisk, when: &str) {
        let results = disk.content(Path::new(RESULTS)).unwrap_or_default();
        let context = self.context();
        assert_eq!(String::from_utf8_lossy(&results), expected(self.batches), "{context}: {when}");
    }

    fn context(&self) -> String {
        format!("TIDEGATE_TEST_SEED={}, {:?}", self.seed, self.fault)
    }
}

/// Fails every call of a kind in turn, in the life that `begin` prepares; returns how many there were.
fn sweep(
    call: Call,
    errno: Errno,
    seed: u64,
    begin: impl Fn(&[RecordedBatch], &Arc<Acknowledged>) -> SimulatedDisk,
) -> u64 {
    let batches = input(&mut Random(seed), PADDING);
    for after in 0..CALLS_MAX {
        let acknowledged = Arc::default();
        let disk = begin(&batches, &acknowledged);
        let fault = Fault { call, after, times: 1, errno };
        if !(Case { batches: &batches, fault, seed }).run(&disk, &acknowledged) {
            return after;
        }
    }
    panic!("the job makes more than {CALLS_MAX} calls of {call:?}");
}

fn sweep_all(begin: impl Fn(&[RecordedBatch], &Arc<Acknowledged>) -> SimulatedDisk + Clone + Send) {
    let seed = std::env::var("TIDEGATE_TEST_SEED").map_or(1, |text| text.parse().unwrap());
    // At the same time: a job on a full disk waits most of the time.
    std::thread::scope(|scope| {
        for errno in [Errno::IO, Errno::NOSPC] {
            let begin = begin.clone();
            scope.spawn(move || {
                for call in CALLS {
                    let calls = sweep(call, errno, seed, &begin);
                    println!("{call:?} {errno:?}: {calls} calls");
                    assert!(calls > 0 || call == Call::Truncate, "no {call:?} was made");
                }
            });
        }
    });
}

#[test]
fn a_fault_at_any_call_of_a_first_life_loses_nothing() {
    sweep_all(|_, _| SimulatedDisk::new());
}

#[test]
fn a_fault_at_any_call_of_a_recovery_loses_nothing() {
    for cut_after in CUTS {
        println!("after a power cut at call {cut_after}:");
        sweep_all(|batches, acknowledged| {
            let disk = SimulatedDisk::new();
            disk.cut_after(cut_after);
            assert!(run_job(&disk, batches, acknowledged).is_err(), "the first life is longer than that");
            disk.after_power_cut(&mut Random(cut_after))
        });
    }
}
