use super::*;
use crate::runtime::clock::ClockJump;
use crate::source::frame::{FrameBuffers, SourceIndex};

fn chunk(frames: usize) -> FrameChunk {
    let mut buffers = FrameBuffers::default();
    for _ in 0..frames {
        buffers.bytes.extend_from_slice(b"1 1\n");
        buffers.ends.push(u32::try_from(buffers.bytes.len()).unwrap());
    }
    FrameChunk::new(SourceIndex(0), "test".into(), 1, buffers, Arc::default())
}

/// A moment at which both clocks say `ms`.
fn at(ms: u64) -> Moment {
    Moment { wall: Timestamp(i64::try_from(ms).unwrap()), monotonic: Duration::from_millis(ms) }
}

const BEGINNING: ReplayFrom = ReplayFrom { offset: Offset(0), readings: 0, suspects: BTreeSet::new() };

fn sequencing(in_flight: usize, frames_max: usize) -> Sequencing<u32> {
    let settings =
        Settings { batches_in_flight: in_flight, batch_frames_max: frames_max, ..Settings::default() };
    let mut sequencing = Sequencing::new(&settings, 2, SequencingStart::default(), JournalState::Absent);
    sequencing.resume(Attempt(1), BEGINNING);
    sequencing
}

fn append(sequencing: &mut Sequencing<u32>, frames: usize, receipt: u32) {
    sequencing.append(Waiting { chunk: chunk(frames), recorded: None, receipt });
}

#[test]
fn a_lone_reading_is_sealed_at_once_and_a_crowd_shares_a_batch() {
    let mut sequencing = sequencing(1, 10);
    append(&mut sequencing, 1, 1);
    let first = sequencing.next_batch(at(5)).unwrap();
    assert_eq!((first.header.offset, first.frames.count(), first.readings), (Offset(1), 1, 1));
    for receipt in 2..=6 {
        append(&mut sequencing, 4, receipt);
    }
    assert!(sequencing.next_batch(at(6)).is_none(), "no credit");
    sequencing.delivered(Attempt(1), 0, Offset(1));
    assert!(sequencing.next_batch(at(6)).is_none(), "the slowest sink counts");
    sequencing.delivered(Attempt(1), 1, Offset(1));
    let second = sequencing.next_batch(at(6)).unwrap();
    assert_eq!((second.frames.count(), second.receipts), (8, vec![2, 3]), "as many chunks as fit");
}

#[test]
fn a_chunk_above_the_limit_goes_alone_rather_than_never() {
    let mut sequencing = sequencing(8, 10);
    append(&mut sequencing, 50, 1);
    append(&mut sequencing, 1, 2);
    assert_eq!(sequencing.next_batch(at(0)).unwrap().frames.count(), 50);
    assert_eq!(sequencing.next_batch(at(0)).unwrap().frames.count(), 1);
    assert!(sequencing.next_batch(at(0)).is_none());
}

#[test]
fn a_barrier_rides_on_the_next_batch_or_on_an_empty_one() {
    let mut sequencing = sequencing(8, 10);
    append(&mut sequencing, 1, 1);
    assert!(sequencing.request_barrier(CheckpointId(1), BarrierScope::NextBatch, None));
    assert_eq!(sequencing.next_batch(at(0)).unwrap().header.barrier, Some(CheckpointId(1)));
    assert!(!sequencing.request_barrier(CheckpointId(2), BarrierScope::NextBatch, Some(Offset(1))));
    assert!(sequencing.next_batch(at(0)).is_none());
    assert!(sequencing.request_barrier(CheckpointId(2), BarrierScope::NextBatch, None), "the first failed");
    let empty = sequencing.next_batch(at(0)).unwrap();
    assert_eq!((empty.frames.count(), empty.header.barrier), (0, Some(CheckpointId(2))));
}

#[test]
fn the_last_barrier_waits_until_nothing_waits() {
    let mut sequencing = sequencing(8, 4);
    append(&mut sequencing, 4, 1);
    append(&mut sequencing, 4, 2);
    assert!(sequencing.request_barrier(CheckpointId(1), BarrierScope::LastBatch, None));
    assert_eq!(sequencing.next_batch(at(0)).unwrap().header.barrier, None);
    assert_eq!(sequencing.next_batch(at(0)).unwrap().header.barrier, Some(CheckpointId(1)));
}

#[test]
fn recorded_batches_are_never_joined_and_keep_their_stamp() {
    let mut sequencing = sequencing(8, 100);
    for (receipt, stamp) in [(1, 10), (2, 20)] {
        sequencing.append(Waiting { chunk: chunk(1), recorded: Some(Timestamp(stamp)), receipt });
    }
    append(&mut sequencing, 1, 3);
    let stamps: Vec<_> =
        (0..3).map(|_| sequencing.next_batch(at(15)).unwrap()).map(|sealed| sealed.header.stamp.0).collect();
    assert_eq!(stamps, [10, 20, 20], "and time never goes back");
}

#[test]
fn a_new_attempt_has_all_its_credit_and_ignores_the_old_ones_notices() {
    let mut sequencing = sequencing(1, 10);
    append(&mut sequencing, 1, 1);
    append(&mut sequencing, 10, 2);
    sequencing.next_batch(at(0)).unwrap();
    assert_eq!(sequencing.pause(), 1);
    assert!(sequencing.next_batch(at(0)).is_none());
    sequencing.resume(Attempt(2), BEGINNING);
    assert_eq!(sequencing.next_batch(at(0)).unwrap().header.offset, Offset(2));
    sequencing.delivered(Attempt(1), 0, Offset(2));
    sequencing.delivered(Attempt(1), 1, Offset(2));
    append(&mut sequencing, 1, 3);
    assert!(sequencing.next_batch(at(0)).is_none());
}

fn journaled(in_flight: usize) -> Sequencing<u32> {
    let settings = Settings { batches_in_flight: in_flight, batch_frames_max: 10, ..Settings::default() };
    let mut sequencing = Sequencing::new(&settings, 1, SequencingStart::default(), JournalState::Ready);
    sequencing.resume(Attempt(1), BEGINNING);
    sequencing
}

fn offsets(entries: Option<Vec<Entry>>) -> Vec<u64> {
    entries.unwrap_or_default().iter().map(|entry| entry.offset.0).collect()
}

#[test]
fn a_crowd_gathers_while_a_commit_is_under_way_but_a_full_batch_does_not_wait() {
    let mut sequencing = journaled(8);
    append(&mut sequencing, 1, 1);
    sequencing.next_batch(at(0)).unwrap();
    assert_eq!(offsets(sequencing.next_commit()), [1]);
    append(&mut sequencing, 1, 2);
    assert!(sequencing.next_batch(at(0)).is_none(), "it shares the next commit's batch");
    append(&mut sequencing, 9, 3);
    assert_eq!(sequencing.next_batch(at(0)).unwrap().frames.count(), 10);
    assert!(sequencing.next_commit().is_none(), "one commit at a time");
    sequencing.committed(Offset(1));
    assert_eq!(offsets(sequencing.next_commit()), [2]);
}

#[test]
fn a_rewind_replays_what_is_behind_the_checkpoint_and_counts_no_reading_twice() {
    let mut sequencing = journaled(2);
    for receipt in 1..=3 {
        append(&mut sequencing, 10, receipt);
        sequencing.next_batch(at(7));
        sequencing.next_commit();
        sequencing.committed(sequencing.last());
        sequencing.delivered(Attempt(1), 0, sequencing.last());
    }
    assert_eq!(sequencing.pause(), 30);
    let suspects = BTreeSet::from([Offset(3)]);
    sequencing.resume(Attempt(2), ReplayFrom { offset: Offset(1), readings: 10, suspects });
    assert!(!sequencing.request_barrier(CheckpointId(1), BarrierScope::NextBatch, Some(Offset(3))));
    assert!(sequencing.request_barrier(CheckpointId(1), BarrierScope::NextBatch, Some(Offset(1))));
    assert_eq!(sequencing.wants_replay(), Some((Offset(2), Offset(3))));
    let replayed = |offset| Replayed {
        offset: Offset(offset),
        stamp: Timestamp(7),
        frames: Arc::new(Frames { chunks: vec![chunk(9)] }),
        skipped: 1,
    };
    sequencing.replay(Attempt(1), vec![replayed(2)]);
    assert!(sequencing.next_batch(at(9)).is_none(), "read for an attempt that is over");
    sequencing.replay(Attempt(2), vec![replayed(2), replayed(3)]);
    append(&mut sequencing, 1, 4);
    let second = sequencing.next_batch(at(9)).unwrap();
    assert_eq!((second.header.offset, second.header.barrier), (Offset(2), None));
    assert_eq!((second.readings, second.input), (20, Input::Journal));
    let third = sequencing.next_batch(at(9)).unwrap();
    assert_eq!((third.header.offset, third.header.stamp, third.readings), (Offset(3), Timestamp(7), 30));
    assert_eq!((second.header.pace, third.header.pace), (Pace::Batch, Pace::FrameByFrame));
    assert!(sequencing.next_batch(at(9)).is_none(), "the credit holds for replays too");
    sequencing.delivered(Attempt(2), 0, Offset(3));
    let live = sequencing.next_batch(at(9)).unwrap();
    assert_eq!(
        (live.header.offset, live.header.barrier, live.input),
        (Offset(4), Some(CheckpointId(1)), Input::Sources)
    );
}

#[test]
fn under_pressure_only_barriers_pass() {
    let mut sequencing = journaled(8);
    sequencing.set_pressure(true);
    append(&mut sequencing, 10, 1);
    assert!(sequencing.next_batch(at(0)).is_none());
    assert!(sequencing.request_barrier(CheckpointId(1), BarrierScope::NextBatch, None));
    let empty = sequencing.next_batch(at(0)).unwrap();
    assert_eq!((empty.frames.count(), empty.header.barrier), (0, Some(CheckpointId(1))));
    sequencing.set_pressure(false);
    sequencing.next_commit();
    sequencing.committed(Offset(1));
    assert_eq!(sequencing.next_batch(at(0)).unwrap().frames.count(), 10);
}

#[test]
fn small_batches_in_quick_succession_are_held_but_not_lone_large_or_last_ones() {
    let mut sequencing = journaled(8);
    let seal = |sequencing: &mut Sequencing<u32>, ms| {
        let sealed = sequencing.next_batch(at(ms)).map(|batch| batch.frames.count());
        sequencing.next_commit();
        sequencing.committed(sequencing.last());
        sealed
    };
    append(&mut sequencing, 1, 1);
    assert_eq!(seal(&mut sequencing, 10), Some(1), "a lone one");
    append(&mut sequencing, 1, 2);
    assert_eq!((seal(&mut sequencing, 11), sequencing.held_until()), (None, Some(at(12).monotonic)));
    append(&mut sequencing, 3, 3);
    assert_eq!((seal(&mut sequencing, 12), sequencing.held_until()), (Some(4), None), "they share a batch");
    append(&mut sequencing, 10, 4);
    assert_eq!(seal(&mut sequencing, 12), Some(10), "a full one");
    append(&mut sequencing, 1, 5);
    assert!(sequencing.request_barrier(CheckpointId(1), BarrierScope::LastBatch, None));
    assert_eq!(seal(&mut sequencing, 12), Some(1), "the last one");
    append(&mut sequencing, 1, 6);
    assert!(sequencing.request_barrier(CheckpointId(2), BarrierScope::NextBatch, None));
    assert_eq!(seal(&mut sequencing, 12), Some(1), "one a checkpoint waits for");
    let recorded = |stamp| Waiting { chunk: chunk(1), recorded: Some(Timestamp(stamp)), receipt: 7 };
    sequencing.append(recorded(20));
    assert_eq!(seal(&mut sequencing, 12), Some(1), "a recorded one");
    append(&mut sequencing, 1, 8);
    assert_eq!(seal(&mut sequencing, 15), Some(1), "a lone one again");
}

#[test]
fn without_a_journal_nothing_is_held() {
    let mut sequencing = sequencing(8, 10);
    for receipt in 1..=5 {
        append(&mut sequencing, 1, receipt);
        assert!(sequencing.next_batch(at(1)).is_some());
    }
}

#[test]
fn the_batch_that_meets_a_jump_of_the_wall_clock_tells_of_it() {
    let mut sequencing = sequencing(8, 10);
    let jumps: Vec<_> = [1_000, 100_000, 100_000]
        .map(|wall| {
            append(&mut sequencing, 1, 1);
            sequencing.next_batch(Moment { wall: Timestamp(wall), ..at(1) }).unwrap().clock_jump
        })
        .to_vec();
    assert_eq!(jumps, [None, Some(ClockJump::Forward(99_000)), None]);
}

#[test]
fn a_tick_is_sealed_when_a_timer_is_due_and_no_reading_comes() {
    let settings = Settings::default();
    let mut sequencing =
        Sequencing::<u32>::new(&settings, 1, SequencingStart::default(), JournalState::Ready);
    sequencing.resume(Attempt(1), BEGINNING);
    sequencing.timer_set(Attempt(1), (1, 0), Offset(0), Some(Timestamp(100)));
    assert!(sequencing.next_batch(at(40)).is_none());
    assert_eq!(sequencing.held_until(), Some(Duration::from_millis(100)));
    let tick = sequencing.next_batch(at(100)).unwrap();
    assert_eq!((tick.frames.count(), tick.header.stamp), (0, Timestamp(100)));
    assert!(sequencing.next_batch(at(200)).is_none(), "the batch under way fires it");
    assert_eq!(sequencing.next_commit().unwrap().len(), 1, "ticks are journaled");
    // A second one waits for the commit.
    sequencing.timer_set(Attempt(1), (1, 0), Offset(1), Some(Timestamp(150)));
    assert!(sequencing.next_batch(at(200)).is_none());
    sequencing.committed(Offset(1));
    assert_eq!(sequencing.next_batch(at(200)).unwrap().header.stamp, Timestamp(200));
    // A reading takes the place of a tick.
    sequencing.timer_set(Attempt(1), (1, 0), Offset(2), Some(Timestamp(250)));
    append(&mut sequencing, 1, 1);
    sequencing.next_commit().unwrap();
    sequencing.committed(Offset(2));
    assert_eq!(sequencing.next_batch(at(250)).unwrap().frames.count(), 1);
    assert!(sequencing.next_batch(at(250)).is_none());
    // A clock that jumps makes due what is due by then.
    sequencing.timer_set(Attempt(1), (1, 0), Offset(3), Some(Timestamp(10_000_000)));
    sequencing.next_commit().unwrap();
    sequencing.committed(Offset(3));
    assert!(sequencing.next_batch(at(300)).is_none());
    let look = Duration::from_millis(300) + super::super::ticks::LOOK_INTERVAL_MAX;
    assert_eq!(sequencing.held_until(), Some(look));
    let jumped = Moment { wall: Timestamp(20_000_000), monotonic: look };
    let tick = sequencing.next_batch(jumped).unwrap();
    assert_eq!((tick.header.stamp, tick.frames.count()), (Timestamp(20_000_000), 0));
}
