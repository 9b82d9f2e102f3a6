//! Random operations against a plain model, on every backend: all primitives, times to live, open and abandoned
//! snapshots, restores, rewinds, other parallelisms, and caches that hold a few rows.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::thread::JoinHandle;
use std::time::Duration;

use super::bench::{BACKENDS, Backend, Bench, Mode, Setting, encoded};
use super::values::Mean;
use crate::disk::Random;
use crate::state::{
    AggregatingState, AggregatingStateDescriptor, ListState, ListStateDescriptor, MapState,
    MapStateDescriptor, ReducingState, ReducingStateDescriptor, StateRegistry, StateTtl, TimeDomain,
    TtlUpdate, ValueState, ValueStateDescriptor,
};

const KEYS: u64 = 150;
const ROUNDS: u64 = 40;
const FADING_MS: i64 = 100;
const LIST_MS: i64 = 150;
const MAP_MS: i64 = 80;

struct Handles {
    value: ValueState<i64>,
    fading: ValueState<i64>,
    list: ListState<u16>,
    map: MapState<i16, u8>,
    plain_map: MapState<i16, String>,
    sum: ReducingState<i64>,
    mean: AggregatingState<Mean>,
}

fn declare(states: &mut StateRegistry) -> Handles {
    let ttl = |ms: i64| StateTtl::new(Duration::from_millis(ms.unsigned_abs()));
    let fading = ttl(FADING_MS).cleanup_incrementally(3, true);
    let reading = ttl(MAP_MS).update(TtlUpdate::OnReadAndWrite);
    Handles {
        value: states.value(&ValueStateDescriptor::new("value")).unwrap(),
        fading: states.value(&ValueStateDescriptor::new("fading").ttl(fading)).unwrap(),
        list: states.list(&ListStateDescriptor::new("list").ttl(ttl(LIST_MS))).unwrap(),
        map: states.map(&MapStateDescriptor::new("map").ttl(reading)).unwrap(),
        plain_map: states.map(&MapStateDescriptor::new("plain-map")).unwrap(),
        sum: states.reducing(&ReducingStateDescriptor::new("sum", |kept, added| kept ^ added)).unwrap(),
        mean: states.aggregating(&AggregatingStateDescriptor::new("mean", Mean)).unwrap(),
    }
}

/// What one key holds; times are those of the last update.
#[derive(Debug, Clone, Default)]
struct KeyModel {
    value: Option<i64>,
    fading: Option<(i64, i64)>,
    list: Vec<(u16, i64)>,
    map: BTreeMap<Vec<u8>, (i16, u8, i64)>,
    plain_map: BTreeMap<Vec<u8>, (i16, String)>,
    sum: Option<i64>,
    mean: Option<(i64, u32)>,
}

impl KeyModel {
    fn expire(&mut self, now: i64) {
        self.fading = self.fading.filter(|(_, stamp)| stamp + FADING_MS > now);
        self.list.retain(|(_, stamp)| stamp + LIST_MS > now);
        self.map.retain(|_, (_, _, stamp)| *stamp + MAP_MS > now);
    }

    /// Does one operation on both; what is read must be the same.
    fn act(&mut self, states: &Handles, random: &mut Random, now: i64) {
        self.expire(now);
        let number = random.below(1000);
        let (wide, short, byte) = (number.cast_signed(), number as u16, number as u8);
        let item = (number as i16) % 7 - 3;
        match random.below(22) {
            0 | 1 => {
                states.value.update(wide);
                self.value = Some(wide);
            }
            2 => {
                states.value.clear();
                self.value = None;
            }
            3 | 4 => {
                states.fading.update(wide);
                self.fading = Some((wide, now));
            }
            5 => {
                states.fading.clear();
                self.fading = None;
            }
            6 | 7 => {
                states.list.add(short);
                self.list.push((short, now));
            }
            8 => {
                states.list.update([short, 1]);
                self.list = vec![(short, now), (1, now)];
            }
            9 => {
                states.list.clear();
                self.list.clear();
            }
            10 | 11 => {
                states.map.put(&item, byte);
                self.map.insert(encoded(&item), (item, byte, now));
            }
            12 => {
                states.map.remove(&item);
                self.map.remove(&encoded(&item));
            }
            13 => {
                let expected = self.map.get_mut(&encoded(&item)).map(|(_, value, stamp)| {
                    *stamp = now;
                    *value
                });
                assert_eq!(states.map.get(&item), expected);
            }
            14 => {
                states.map.clear();
                self.map.clear();
            }
            15 => {
                states.sum.add(wide);
                self.sum = Some(self.sum.map_or(wide, |kept| kept ^ wide));
            }
            16 => {
                states.sum.clear();
                self.sum = None;
            }
            17 => {
                states.mean.add(wide);
                let (sum, count) = self.mean.unwrap_or_default();
                self.mean = Some((sum + wide, count + 1));
            }
            18 => {
                states.mean.clear();
                self.mean = None;
            }
            19 => {
                states.plain_map.put(&item, "x".repeat(usize::from(byte)));
                self.plain_map.insert(encoded(&item), (item, "x".repeat(usize::from(byte))));
            }
            20 => {
                states.plain_map.remove(&item);
                self.plain_map.remove(&encoded(&item));
            }
            _ => self.compare(states, now),
        }
    }

    /// Reads everything on both, which refreshes the map.
    fn compare(&mut self, states: &Handles, now: i64) {
        self.expire(now);
        assert_eq!(states.value.value(), self.value);
        assert_eq!(states.fading.value(), self.fading.map(|(value, _)| value));
        assert_eq!(states.list.get(), self.list.iter().map(|(item, _)| *item).collect::<Vec<_>>());
        let entries: Vec<_> = self.map.values().map(|(key, value, _)| (*key, *value)).collect();
        assert_eq!(states.map.entries(), entries);
        self.map.values_mut().for_each(|(_, _, stamp)| *stamp = now);
        assert_eq!(states.plain_map.entries(), self.plain_map.values().cloned().collect::<Vec<_>>());
        assert_eq!(states.sum.get(), self.sum);
        assert_eq!(states.mean.get(), self.mean.map(|(sum, count)| sum / i64::from(count)));
    }
}

#[derive(Debug, Clone, Default)]
struct Model {
    keys: BTreeMap<i64, KeyModel>,
    timers: BTreeSet<(bool, i64, Vec<u8>, i64)>,
}

/// A bench beside its model.
struct Trial {
    bench: Bench<Handles>,
    model: Model,
    /// What the newest checkpoint holds, and the one that is being written.
    saved: Option<Model>,
    writing: Option<(JoinHandle<()>, Model)>,
    random: Random,
}

impl Trial {
    fn new(backend: Backend, seed: u64) -> Self {
        let setting = Setting { backend, mode: Mode::Straight };
        let mut random = Random(seed);
        let bench = match random.below(3) {
            0 => Bench::new(setting, declare),
            _ => Bench::tiny(setting, declare),
        };
        Self { bench, model: Model::default(), saved: None, writing: None, random }
    }

    fn run(&mut self) {
        for _ in 0..ROUNDS {
            let now = self.bench.now() + self.random.below(40).cast_signed();
            self.bench.at(now);
            match self.random.below(12) {
                0 => self.begin_checkpoint(),
                1 => self.finish_checkpoint(),
                2 => self.abandon(),
                3 => self.restart(),
                4 => self.rewind(),
                5 => self.timers(),
                6 => self.compare_all(),
                _ => self.batch(),
            }
        }
        self.restart();
        self.compare_all();
    }

    fn batch(&mut self) {
        let base = self.random.below(KEYS);
        let count = 1 + self.random.below(40);
        let keys: Vec<i64> =
            (0..count).map(|_| ((base + self.random.below(50)) % KEYS).cast_signed()).collect();
        let now = self.bench.now();
        let (model, random) = (&mut self.model, &mut self.random);
        self.bench.batch(&keys, |key, states| model.keys.entry(*key).or_default().act(states, random, now));
    }

    fn compare_all(&mut self) {
        let keys: Vec<i64> = (0..KEYS.cast_signed()).collect();
        let now = self.bench.now();
        let model = &mut self.model;
        self.bench.batch(&keys, |key, states| model.keys.entry(*key).or_default().compare(states, now));
    }

    fn timers(&mut self) {
        for _ in 0..self.random.below(10) {
            let key = self.random.below(KEYS).cast_signed();
            let time = self.random.below(50).cast_signed();
            let is_event = self.random.below(2) == 0;
            self.bench.set_timer(domain(is_event), time, &key);
            self.model.timers.insert((is_event, time, encoded(&key), key));
        }
        let is_event = self.random.below(2) == 0;
        let until = self.random.below(50).cast_signed();
        let is_due = |timer: &(bool, i64, Vec<u8>, i64)| timer.0 == is_event && timer.1 <= until;
        let due: Vec<(i64, i64)> =
            self.model.timers.iter().filter(|timer| is_due(timer)).map(|timer| (timer.1, timer.3)).collect();
        self.model.timers.retain(|timer| !is_due(timer));
        assert_eq!(self.bench.take_due(domain(is_event), until), due);
    }

    /// Writes a checkpoint in the background, as a running job does.
    fn begin_checkpoint(&mut self) {
        self.finish_checkpoint();
        let held = self.bench.hold();
        let pause = Duration::from_micros(self.random.below(2_000));
        let thread = std::thread::spawn(move || {
            std::thread::sleep(pause);
            drop(held.finish());
        });
        self.writing = Some((thread, self.model.clone()));
    }

    fn finish_checkpoint(&mut self) {
        if let Some((thread, model)) = self.writing.take() {
            thread.join().unwrap();
            self.saved = Some(model);
        }
    }

    /// Gives a checkpoint up, before or after a store has its rows.
    fn abandon(&mut self) {
        self.finish_checkpoint();
        let mut held = self.bench.hold();
        if self.random.below(2) == 0 {
            held.prepare();
        }
    }

    fn restart(&mut self) {
        self.finish_checkpoint();
        self.bench.restart(1 + self.random.below(3) as usize);
        self.saved = Some(self.model.clone());
    }

    /// Goes back to the newest checkpoint.
    fn rewind(&mut self) {
        self.finish_checkpoint();
        if let Some(saved) = &self.saved {
            self.model = saved.clone();
            self.bench.restore(1 + self.random.below(3) as usize);
        }
    }
}

fn domain(is_event: bool) -> TimeDomain {
    if is_event { TimeDomain::EventTime } else { TimeDomain::ProcessingTime }
}

#[test]
fn random_operations_give_what_a_model_gives() {
    let given: Option<u64> = std::env::var("TIDEGATE_TEST_SEED").ok().map(|text| text.parse().unwrap());
    for backend in BACKENDS {
        let cases = if backend.is_heap() { 120 } else { 50 };
        let (first, cases) = given.map_or((0, cases), |seed| (seed, 1));
        for seed in first..first + cases {
            println!("{backend}, TIDEGATE_TEST_SEED={seed}");
            Trial::new(*backend, seed).run();
        }
        writeln!(std::io::stdout(), "state model, {backend}: {cases} cases").unwrap();
    }
}
