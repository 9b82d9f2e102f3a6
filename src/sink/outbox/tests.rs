//! The outbox against plain models: random work, power cuts at any write, each policy.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::disk::Random;
use crate::runtime::{Offset, Timestamp};

const LIFE: Incarnation = Incarnation(5);
/// 2026-01-01.
const NOW: Timestamp = Timestamp(1_767_225_600_000);

fn open(store: &Arc<MemoryOutboxStore>, settings: OutboxSettings) -> Outbox {
    let store: Arc<dyn OutboxStore> = Arc::clone(store) as _;
    Outbox::open(store, settings, LIFE).unwrap()
}

fn later(seconds: u64) -> Timestamp {
    NOW + Duration::from_secs(seconds)
}

/// The results of a batch: the same whenever it is replayed.
fn results(offset: u64) -> String {
    let count = [0, 1, 3, 40, 900][(offset % 5) as usize];
    (0..count).map(|index| format!("({offset},{index})\n")).collect()
}

fn drain(outbox: &mut Outbox, lane: Lane, now: Timestamp) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some(output) = outbox.take(lane).unwrap() {
        texts.push(String::from_utf8_lossy(output.payload()).into_owned());
        outbox.done(output.ticket(), now).unwrap();
    }
    texts
}

#[test]
fn outputs_leave_in_order_and_the_store_is_empty_behind_them() {
    let store = Arc::new(MemoryOutboxStore::default());
    let mut outbox = open(&store, OutboxSettings::default());
    let mut expected = Vec::new();
    for offset in 1..=20 {
        outbox.admit(Offset(offset), results(offset).as_bytes(), NOW).unwrap();
        expected.extend(results(offset).lines().map(str::to_owned));
    }
    assert_eq!(outbox.waiting(), expected.len() as u64);
    assert_eq!(drain(&mut outbox, Lane::Backlog, NOW), Vec::<String>::new());
    outbox.split_lanes();
    assert_eq!(drain(&mut outbox, Lane::Backlog, NOW), expected);
    assert_eq!((outbox.waiting(), outbox.bytes(), outbox.admitted()), (0, 0, Offset(20)));
    // What says which batch came in last.
    assert_eq!(store.len(), 1);
    assert_eq!(open(&store, OutboxSettings::default()).admitted(), Offset(20));
}

/// Or a restart would take them for missing.
#[test]
fn batches_without_outputs_are_known_after_a_power_cut() {
    let store = Arc::new(MemoryOutboxStore::default());
    let mut outbox = open(&store, OutboxSettings::default());
    outbox.admit(Offset(1), b"waits\n", NOW).unwrap();
    for offset in 2..=9 {
        outbox.admit(Offset(offset), b"", NOW).unwrap();
    }
    outbox.record_admitted().unwrap();
    store.flush().unwrap();
    outbox.record_admitted().unwrap();
    assert_eq!(store.unflushed(), 0, "what is known is not written again");
    let found = open(&Arc::new(store.cut(0)), OutboxSettings::default());
    assert_eq!((found.admitted(), found.waiting()), (Offset(9), 1));
}

#[test]
fn what_is_new_does_not_wait_for_the_backlog() {
    let store = Arc::new(MemoryOutboxStore::default());
    let mut outbox = open(&store, OutboxSettings::default());
    outbox.admit(Offset(1), b"a\nb\n", NOW).unwrap();
    outbox.split_lanes();
    outbox.admit(Offset(2), b"c\n", NOW).unwrap();
    let first = outbox.take(Lane::Backlog).unwrap().unwrap();
    assert_eq!(first.payload(), b"a");
    assert_eq!(drain(&mut outbox, Lane::Live, NOW), ["c"]);
    outbox.done(first.ticket(), NOW).unwrap();
    // Another connection.
    outbox.split_lanes();
    assert_eq!(drain(&mut outbox, Lane::Backlog, NOW), ["b"]);
}

#[test]
fn the_oldest_output_that_waits_is_known() {
    let store = Arc::new(MemoryOutboxStore::default());
    let mut outbox = open(&store, OutboxSettings::default());
    assert_eq!(outbox.oldest().unwrap(), None);
    outbox.admit(Offset(1), b"a\n", NOW).unwrap();
    outbox.admit(Offset(2), b"b\n", later(5)).unwrap();
    outbox.split_lanes();
    let first = outbox.take(Lane::Backlog).unwrap().unwrap();
    assert_eq!(outbox.oldest().unwrap(), Some(NOW));
    outbox.done(first.ticket(), later(6)).unwrap();
    assert_eq!(outbox.oldest().unwrap(), Some(later(5)));
}

/// What the broker saw of each output, under what id.
type Seen = BTreeMap<OutputId, (String, u32)>;

/// A life of the process: batches are given from where the outbox says, outputs are taken, sent and acknowledged at
/// random, until the power is cut. With QoS 2 the outbox is flushed before whatever the broker sees.
fn live(
    random: &mut Random,
    store: &Arc<MemoryOutboxStore>,
    is_exact: bool,
    checkpointed: &mut Offset,
    seen: &mut Seen,
) {
    let mut outbox = open(store, OutboxSettings::default());
    // Replay begins behind the checkpoint; what the outbox has is not given to it again.
    let mut next = outbox.admitted().max(*checkpointed).next();
    let mut sent: Vec<(u16, Output, Phase)> =
        outbox.in_flight().into_iter().map(|old| (old.packet_id, old.output, old.phase)).collect();
    assert!(is_exact || sent.is_empty());
    // A broker with a session knows by its id what it has.
    for (_, output, _) in &sent {
        assert!(seen.contains_key(&output.id()) || is_exact);
    }
    for _ in 0..random.below(300) {
        match random.below(10) {
            0 => outbox.split_lanes(),
            1..=3 => {
                outbox.admit(next, results(next.0).as_bytes(), NOW).unwrap();
                next = next.next();
            }
            4 => {
                outbox.store().flush().unwrap();
                *checkpointed = outbox.admitted();
            }
            5..=7 if sent.len() < 20 => {
                let lane = if random.below(2) == 0 { Lane::Live } else { Lane::Backlog };
                let Some(output) = outbox.take(lane).unwrap() else { continue };
                let packet_id = (1..).find(|id| sent.iter().all(|(used, ..)| used != id)).unwrap();
                if is_exact {
                    outbox.write_in_flight(packet_id, output.ticket(), Phase::Published).unwrap();
                    outbox.store().flush().unwrap();
                }
                let text = String::from_utf8(output.payload().to_vec()).unwrap();
                let entry = seen.entry(output.id()).or_insert_with(|| (text.clone(), 0));
                assert_eq!(entry.0, text, "an id names one output");
                entry.1 += 1;
                sent.push((packet_id, output, Phase::Published));
            }
            _ if !sent.is_empty() => {
                let index = random.below(sent.len() as u64) as usize;
                let (packet_id, output, phase) = sent[index].clone();
                match phase {
                    Phase::Published if is_exact => {
                        outbox.write_in_flight(packet_id, output.ticket(), Phase::Received).unwrap();
                        outbox.store().flush().unwrap();
                        sent[index].2 = Phase::Received;
                    }
                    Phase::Received => {
                        outbox.complete(packet_id, output.ticket(), NOW).unwrap();
                        sent.remove(index);
                    }
                    Phase::Published => {
                        outbox.done(output.ticket(), NOW).unwrap();
                        outbox.write_progress().unwrap();
                        sent.remove(index);
                    }
                }
            }
            _ => {}
        }
    }
}

fn survives_power_cuts(is_exact: bool) {
    let seed = u64::from(std::process::id()) << 20 | u64::from(is_exact);
    println!("seed {seed}");
    let mut random = Random(seed);
    for _ in 0..30 {
        let mut store = Arc::new(MemoryOutboxStore::default());
        let (mut seen, mut checkpointed) = (Seen::new(), Offset(0));
        for _ in 0..12 {
            live(&mut random, &store, is_exact, &mut checkpointed, &mut seen);
            let kept = random.below(store.unflushed() as u64 + 1) as usize;
            store = Arc::new(store.cut(kept));
        }
        // At last everything is delivered.
        let mut outbox = open(&store, OutboxSettings::default());
        let mut next = outbox.admitted().max(checkpointed).next();
        for old in outbox.in_flight() {
            outbox.complete(old.packet_id, old.output.ticket(), NOW).unwrap();
        }
        // Replay goes up to the last batch that is durable in the journal, which every published one is.
        let journaled = seen.last_key_value().map_or(0, |(id, _)| id.offset.0) + 3;
        while next.0 <= journaled {
            outbox.admit(next, results(next.0).as_bytes(), NOW).unwrap();
            next = next.next();
        }
        outbox.split_lanes();
        while let Some(output) = outbox.take(Lane::Backlog).unwrap() {
            let text = String::from_utf8(output.payload().to_vec()).unwrap();
            seen.entry(output.id()).or_insert((text, 0)).1 += 1;
            outbox.done(output.ticket(), NOW).unwrap();
        }
        assert_eq!((outbox.waiting(), outbox.bytes()), (0, 0));
        let expected: Vec<(u64, u32, String)> = (1..next.0)
            .flat_map(|offset| {
                let lines: Vec<_> = results(offset).lines().map(str::to_owned).collect();
                (0..).zip(lines).map(move |(index, line)| (offset, index, line)).collect::<Vec<_>>()
            })
            .collect();
        let got: Vec<_> = seen.iter().map(|(id, (text, _))| (id.offset.0, id.index, text.clone())).collect();
        assert_eq!(got.len(), expected.len());
        assert_eq!(got, expected);
        if is_exact {
            assert!(
                seen.values().all(|(_, times)| *times == 1),
                "an output was published under two packet ids"
            );
        }
    }
}

#[test]
fn every_output_is_published_whatever_a_power_cut_takes() {
    survives_power_cuts(false);
}

#[test]
fn with_qos_2_every_output_is_published_under_one_packet_id_whatever_a_power_cut_takes() {
    survives_power_cuts(true);
}

#[test]
fn a_full_outbox_that_blocks_takes_nothing_of_a_batch() {
    let settings =
        OutboxSettings { bytes_max: 4096, when_full: WhenFull::Block, ..OutboxSettings::default() };
    let store = Arc::new(MemoryOutboxStore::default());
    let mut outbox = open(&store, settings);
    let line = format!("{}\n", "x".repeat(999));
    let mut offset = 0;
    let error = loop {
        if let Err(error) = outbox.admit(Offset(offset + 1), line.as_bytes(), NOW) {
            break error;
        }
        offset += 1;
    };
    assert!(matches!(error, OutboxError::Full { bytes_max: 4096 }), "{error}");
    assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::StorageFull);
    assert_eq!((outbox.admitted(), outbox.waiting()), (Offset(offset), offset));
    outbox.split_lanes();
    assert_eq!(drain(&mut outbox, Lane::Backlog, NOW).len() as u64, offset);
    outbox.admit(Offset(offset + 1), line.as_bytes(), NOW).unwrap();
    // A batch that is larger than all of it is taken once nothing else waits.
    let giant = line.repeat(10);
    assert!(outbox.admit(Offset(offset + 2), giant.as_bytes(), NOW).is_err());
    drain(&mut outbox, Lane::Live, NOW);
    outbox.admit(Offset(offset + 2), giant.as_bytes(), NOW).unwrap();
}

#[test]
fn the_oldest_are_dropped_and_counted_but_not_what_is_on_its_way() {
    let settings =
        OutboxSettings { bytes_max: 64 << 10, when_full: WhenFull::DropOldest, ..OutboxSettings::default() };
    let store = Arc::new(MemoryOutboxStore::default());
    let mut outbox = open(&store, settings);
    outbox.admit(Offset(1), b"first\nsecond\n", NOW).unwrap();
    outbox.split_lanes();
    let first = outbox.take(Lane::Backlog).unwrap().unwrap();
    let batches = 2000;
    for offset in 2..batches {
        outbox.admit(Offset(offset), format!("({offset},7)\n").as_bytes(), NOW).unwrap();
        assert!(outbox.bytes() <= 64 << 10);
    }
    assert_eq!(first.payload(), b"first");
    outbox.done(first.ticket(), NOW).unwrap();
    outbox.split_lanes();
    let left = drain(&mut outbox, Lane::Backlog, NOW);
    assert_eq!(left[0], "second");
    assert_eq!(left.last().unwrap(), &format!("({},7)", batches - 1));
    assert_eq!(left.len() as u64 - 1 + outbox.counts().dropped, batches - 2);
    // The count is kept, and a restart does not take dropped batches for missing ones.
    let again = open(&store, settings);
    assert_eq!((again.counts(), again.admitted()), (outbox.counts(), Offset(batches - 1)));
}

#[test]
fn the_oldest_are_summarised_and_alarms_kept() {
    let settings = OutboxSettings {
        bytes_max: 64 << 10,
        when_full: WhenFull::Summarise,
        bucket: Duration::from_secs(60),
        ..OutboxSettings::default()
    };
    let store = Arc::new(MemoryOutboxStore::default());
    let mut outbox = open(&store, settings);
    let (mut numeric, mut alarms) = (0, BTreeSet::new());
    for offset in 1..=3000 {
        let mut lines: String = (0..20).map(|index| format!("({},{})\n", index % 4, offset)).collect();
        numeric += 20;
        if offset % 500 == 0 {
            lines.push_str(&format!("(1,alarm {offset})\n"));
            alarms.insert(format!("(1,alarm {offset})"));
        }
        outbox.admit(Offset(offset), lines.as_bytes(), later(offset)).unwrap();
        assert!(outbox.bytes() <= 64 << 10);
    }
    assert_eq!(outbox.counts().dropped, 0);
    outbox.split_lanes();
    let (mut summarised, mut raw, mut last) = (0, 0, OutputId::default());
    let mut means = 0.0;
    while let Some(output) = outbox.take(Lane::Backlog).unwrap() {
        assert!(output.id() > last || last == OutputId::default());
        last = output.id();
        match output.summary() {
            Some(summary) => {
                assert!(summary.min <= summary.mean && summary.mean <= summary.max && summary.count > 1);
                summarised += summary.count;
                means += summary.mean * summary.count as f64;
            }
            None => {
                let text = String::from_utf8(output.payload().to_vec()).unwrap();
                if !alarms.remove(&text) {
                    raw += 1;
                    means += text[3..text.len() - 1].parse::<f64>().unwrap();
                }
            }
        }
        outbox.done(output.ticket(), NOW).unwrap();
    }
    assert_eq!(alarms, BTreeSet::new());
    assert_eq!(summarised + raw, numeric);
    assert_eq!(outbox.counts().folded, summarised);
    let sum: u64 = (1..=3000).map(|offset| 20 * offset).sum();
    assert!((means - sum as f64).abs() < 1e-3, "{means} {sum}");
}

#[test]
fn a_crash_in_the_middle_of_a_fold_counts_nothing_twice() {
    let settings =
        OutboxSettings { bytes_max: 8 << 10, when_full: WhenFull::Summarise, ..OutboxSettings::default() };
    let store = Arc::new(MemoryOutboxStore::default());
    let mut outbox = open(&store, settings);
    let mut offset = 1;
    while outbox.counts().folded == 0 {
        store.flush().unwrap();
        outbox.admit(Offset(offset), b"(1,5)\n(2,5)\n", NOW).unwrap();
        offset += 1;
    }
    for kept in 0..=store.unflushed() {
        let cut = Arc::new(store.cut(kept));
        let mut outbox = open(&cut, settings);
        let admitted = outbox.admitted().0;
        assert!(admitted >= offset - 2);
        let mut outputs = 0;
        while let Some(output) = outbox.take(Lane::Backlog).unwrap() {
            outputs += output.summary().map_or(1, |summary| summary.count);
        }
        assert_eq!(outputs, 2 * admitted, "{kept} writes kept");
    }
}

#[test]
fn old_outputs_are_dropped_unless_the_clock_was_not_set() {
    let settings = OutboxSettings { age_max: Some(Duration::from_secs(100)), ..OutboxSettings::default() };
    let store = Arc::new(MemoryOutboxStore::default());
    let mut outbox = open(&store, settings);
    outbox.admit(Offset(1), b"1\n", NOW).unwrap();
    outbox.admit(Offset(2), b"2\n", later(50)).unwrap();
    outbox.expire(later(100)).unwrap();
    assert_eq!(outbox.waiting(), 2);
    outbox.expire(later(101)).unwrap();
    outbox.split_lanes();
    assert_eq!(drain(&mut outbox, Lane::Backlog, NOW), ["2"]);
    assert_eq!(outbox.counts().expired, 1);
    outbox.admit(Offset(3), b"3\n", Timestamp(5)).unwrap();
    outbox.expire(later(1_000_000)).unwrap();
    assert_eq!(drain(&mut outbox, Lane::Live, NOW), ["3"]);
}

#[test]
fn delivered_outputs_are_kept_for_a_while_and_sent_again_when_asked() {
    let settings = OutboxSettings { retention: Duration::from_secs(100), ..OutboxSettings::default() };
    let store = Arc::new(MemoryOutboxStore::default());
    let mut outbox = open(&store, settings);
    for offset in 1..=3 {
        outbox.admit(Offset(offset), format!("{offset}a\n{offset}b\n").as_bytes(), NOW).unwrap();
    }
    outbox.split_lanes();
    assert_eq!(drain(&mut outbox, Lane::Backlog, later(10)).len(), 6);
    let mut listed = Vec::new();
    outbox.list(&mut |block| listed.push(block)).unwrap();
    assert!(listed.iter().all(|block| block.place == Place::Delivered { at: later(10) } && block.count == 2));
    let from = OutputId { incarnation: LIFE, offset: Offset(2), index: 1 };
    assert_eq!(outbox.resend(from).unwrap(), 3);
    drop(outbox);
    let mut outbox = open(&store, settings);
    assert_eq!((outbox.waiting(), outbox.admitted()), (3, Offset(3)));
    assert_eq!(drain(&mut outbox, Lane::Backlog, later(20)), ["2b", "3a", "3b"]);
    outbox.expire(later(115)).unwrap();
    let mut listed = Vec::new();
    outbox.list(&mut |block| listed.push(block.first.offset)).unwrap();
    assert_eq!(listed, [Offset(2), Offset(3)]);
    outbox.expire(later(121)).unwrap();
    assert_eq!(outbox.bytes(), 0);
}

#[test]
fn a_damaged_block_is_counted_and_the_rest_goes_on() {
    let store = Arc::new(MemoryOutboxStore::default());
    let mut outbox = open(&store, OutboxSettings::default());
    for offset in 1..=3 {
        outbox.admit(Offset(offset), format!("{offset}\n").as_bytes(), NOW).unwrap();
    }
    let id = OutputId { incarnation: LIFE, offset: Offset(2), index: 0 };
    let key = super::keys::key(super::keys::WAITING, id);
    let mut value = store.get(&key).unwrap().unwrap();
    value[10] ^= 1;
    store.put(&key, &value).unwrap();
    let mut outbox = open(&store, OutboxSettings::default());
    assert_eq!((outbox.counts().damaged_blocks, outbox.admitted()), (1, Offset(3)));
    assert_eq!(drain(&mut outbox, Lane::Backlog, NOW), ["1", "3"]);
}

#[test]
fn outputs_of_an_earlier_life_leave_first() {
    let store = Arc::new(MemoryOutboxStore::default());
    let mut outbox = open(&store, OutboxSettings::default());
    outbox.admit(Offset(9), b"old\n", NOW).unwrap();
    let shared: Arc<dyn OutboxStore> = Arc::clone(&store) as _;
    let mut outbox = Outbox::open(shared, OutboxSettings::default(), Incarnation(6)).unwrap();
    assert_eq!(outbox.admitted(), Offset(0));
    outbox.admit(Offset(3), b"new\n", NOW).unwrap();
    outbox.split_lanes();
    assert_eq!(drain(&mut outbox, Lane::Backlog, NOW), ["old", "new"]);
}
