//! `key_by`: the tail that routes records to the subtasks that own their keys.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::sync::Arc;

use super::SubtaskContext;
use super::chain::{Buffer, Slot, Tail, buffer};
use super::part::{AnyPart, PartPool};
use crate::metrics::{RejectCause, Rejections};
use crate::state::key::{KeyEncoder, KeyHash, KeyTooLong};
use crate::state::{Key, KeyGroup, KeyGroupRange};

/// Keyed records on their way to one subtask: columns of equal length.
#[derive(Debug)]
pub(crate) struct KeyedPart<K, T> {
    pub(crate) hashes: Vec<KeyHash>,
    pub(crate) keys: Vec<K>,
    pub(crate) records: Vec<T>,
    /// Event time of each record; empty when the stream has none.
    pub(crate) times: Vec<i64>,
    /// How far event time is in the sending subtask (see `Buffer`).
    pub(crate) mark: i64,
    /// Which of the streams the receiving stage reads this is of.
    pub(crate) stream: usize,
}

impl<K, T> Default for KeyedPart<K, T> {
    fn default() -> Self {
        Self {
            hashes: Vec::new(),
            keys: Vec::new(),
            records: Vec::new(),
            times: Vec::new(),
            mark: i64::MIN,
            stream: 0,
        }
    }
}

/// Computes keys and splits a batch's records by the owner of their key group, keeping their order.
pub(crate) struct KeyBy<K, T, F> {
    key: F,
    context: SubtaskContext,
    /// Receiving subtask by key group.
    owners: Vec<u16>,
    encoder: KeyEncoder,
    rejections: Rejections,
    pool: Arc<PartPool<Box<KeyedPart<K, T>>>>,
    /// Which of the streams the receiving stage reads this is.
    stream: usize,
    types: PhantomData<fn(T) -> K>,
}

/// The subtask that owns each key group.
pub(crate) fn owners(context: &SubtaskContext) -> Vec<u16> {
    let mut owners = Vec::with_capacity(usize::from(context.max_parallelism.get()));
    for index in 0..context.parallelism {
        let range = KeyGroupRange::of_subtask(index, context.parallelism, context.max_parallelism);
        let owner = u16::try_from(index).expect("a job has fewer subtasks than key groups");
        owners.extend(std::iter::repeat_n(owner, range.len()));
    }
    owners
}

impl<K: Key, T, F: FnMut(&T) -> K> KeyBy<K, T, F> {
    pub(crate) fn new(
        name: &str,
        key: F,
        context: &SubtaskContext,
        pool: Arc<PartPool<Box<KeyedPart<K, T>>>>,
        stream: usize,
    ) -> Self {
        Self {
            key,
            context: context.clone(),
            owners: owners(context),
            encoder: KeyEncoder::new(),
            rejections: Rejections::new(name, Arc::clone(&context.metrics)),
            pool,
            stream,
            types: PhantomData,
        }
    }
}

impl<K: Key, T: Send + 'static, F: FnMut(&T) -> K> KeyBy<K, T, F> {
    /// One receiver: whole columns at a time, the records moved as they are.
    fn fill(&mut self, input: &mut Buffer<T>, part: &mut KeyedPart<K, T>) {
        part.keys.extend(input.records.iter().map(&mut self.key));
        let mut is_whole = true;
        part.hashes.extend(part.keys.iter().map(|key| {
            self.encoder.hash(key).unwrap_or_else(|KeyTooLong| {
                is_whole = false;
                KeyHash(0)
            })
        }));
        std::mem::swap(&mut part.records, &mut input.records);
        std::mem::swap(&mut part.times, &mut input.times);
        if !is_whole {
            self.drop_long_keys(part);
        }
    }

    #[cold]
    fn drop_long_keys(&mut self, part: &mut KeyedPart<K, T>) {
        let kept: Vec<bool> = part.keys.iter().map(|key| self.encoder.hash(key).is_ok()).collect();
        for _ in kept.iter().filter(|kept| !**kept) {
            self.rejections.reject(RejectCause::KEY_TOO_LONG, None, || Cow::Borrowed(b"".as_slice()));
        }
        let retain = |index: &mut usize| {
            *index += 1;
            kept[*index - 1]
        };
        let (mut key, mut hash, mut record, mut time) = (0, 0, 0, 0);
        part.keys.retain(|_| retain(&mut key));
        part.hashes.retain(|_| retain(&mut hash));
        part.records.retain(|_| retain(&mut record));
        part.times.retain(|_| retain(&mut time));
    }

    /// Several receivers: record by record.
    fn route(&mut self, input: &mut Buffer<T>, parts: &mut [Box<KeyedPart<K, T>>]) {
        let mut times = input.times.iter();
        for record in input.records.drain(..) {
            let time = times.next();
            let key = (self.key)(&record);
            let Ok(hash) = self.encoder.hash(&key) else {
                self.rejections.reject(RejectCause::KEY_TOO_LONG, None, || Cow::Borrowed(b"".as_slice()));
                continue;
            };
            let group = KeyGroup::of(hash, self.context.max_parallelism);
            let part = &mut parts[usize::from(self.owners[usize::from(group.0)])];
            part.hashes.push(hash);
            part.keys.push(key);
            part.records.push(record);
            if let Some(time) = time {
                part.times.push(*time);
            }
        }
    }
}

impl<K: Key, T: Send + 'static, F: FnMut(&T) -> K> Tail for KeyBy<K, T, F> {
    fn run(&mut self, input: &mut dyn Slot) -> Vec<AnyPart> {
        let mut parts: Vec<Box<KeyedPart<K, T>>> =
            (0..self.context.parallelism).map(|_| self.pool.take()).collect();
        let input = buffer::<T>(input);
        for part in &mut parts {
            (part.mark, part.stream) = (input.mark, self.stream);
        }
        match &mut *parts {
            [only] => self.fill(input, only),
            parts => self.route(input, parts),
        }
        self.rejections.end_batch();
        parts.into_iter().map(|part| part as AnyPart).collect()
    }
}
