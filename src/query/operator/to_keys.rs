//! The tail in front of a keyed step: rows to the subtasks that own their keys.

use std::borrow::Cow;
use std::sync::Arc;

use super::rows::Rows;
use crate::metrics::{RejectCause, Rejections};
use crate::operator::{AnyPart, PartPool, Slot, SubtaskContext, Tail, owners};
use crate::query::group_key::{GroupKey, GroupKeyBuilder};
use crate::query::row_batch::RowBatch;
use crate::query::sql_type::SqlType;
use crate::state::KeyGroup;
use crate::state::key::{KeyEncoder, KeyHash};

/// Rows on their way to one subtask, with their keys.
#[derive(Debug, Default)]
pub(crate) struct KeyedRowsPart {
    pub(crate) hashes: Vec<KeyHash>,
    pub(crate) keys: Vec<GroupKey>,
    pub(crate) rows: RowBatch,
    /// Which of the streams the receiving stage reads this is of.
    pub(crate) stream: usize,
}

/// Computes the keys of rows and gives each row to the owner of its key group, in their order.
pub(crate) struct ToKeys {
    keys: Vec<usize>,
    types: Vec<SqlType>,
    context: SubtaskContext,
    /// Receiving subtask by key group.
    owners: Vec<u16>,
    encoder: KeyEncoder,
    builder: GroupKeyBuilder,
    /// Rows for each receiver.
    routed: Vec<Vec<u32>>,
    rejections: Rejections,
    pool: Arc<PartPool<Box<KeyedRowsPart>>>,
    /// Which of the streams the receiving stage reads this is.
    stream: usize,
}

impl ToKeys {
    /// `keys`: numbers of the columns; `types`: of all columns; `stream`: which of those the receiving stage reads this is.
    pub(crate) fn new(
        name: &str,
        keys: Vec<usize>,
        types: Vec<SqlType>,
        context: &SubtaskContext,
        (pool, stream): (Arc<PartPool<Box<KeyedRowsPart>>>, usize),
    ) -> Self {
        Self {
            keys,
            types,
            context: context.clone(),
            owners: owners(context),
            encoder: KeyEncoder::new(),
            builder: GroupKeyBuilder::default(),
            routed: vec![Vec::new(); context.parallelism],
            rejections: Rejections::new(name, Arc::clone(&context.metrics)),
            pool,
            stream,
        }
    }

    fn part(&self) -> Box<KeyedRowsPart> {
        let mut part = self.pool.take();
        part.stream = self.stream;
        if part.rows.columns.is_empty() {
            part.rows = RowBatch::new(&self.types);
        }
        part
    }
}

impl Tail for ToKeys {
    fn run(&mut self, input: &mut dyn Slot) -> Vec<AnyPart> {
        let input = &mut Rows::of(input).rows;
        let mut parts: Vec<Box<KeyedRowsPart>> = (0..self.context.parallelism).map(|_| self.part()).collect();
        self.routed.iter_mut().for_each(Vec::clear);
        let mut is_whole = true;
        for row in 0..input.len {
            self.builder.clear();
            for key in &self.keys {
                self.builder.append(&input.columns[*key], row);
            }
            let Ok((key, hash)) = self.builder.end(&mut self.encoder) else {
                is_whole = false;
                self.rejections
                    .reject(RejectCause::KEY_TOO_LONG, None, || Cow::Borrowed(self.builder.bytes()));
                continue;
            };
            let owner = match parts.len() {
                1 => 0,
                _ => {
                    let group = KeyGroup::of(hash, self.context.max_parallelism);
                    usize::from(self.owners[usize::from(group.0)])
                }
            };
            parts[owner].hashes.push(hash);
            parts[owner].keys.push(key);
            self.routed[owner].push(u32::try_from(row).expect("a batch is below 4 G rows"));
        }
        for (part, rows) in parts.iter_mut().zip(&self.routed) {
            part.rows.mark = input.mark;
            if is_whole && rows.len() == input.len {
                // All of them: the columns go as they are.
                let mark = input.mark;
                std::mem::swap(&mut part.rows, input);
                input.mark = mark;
            } else {
                part.rows.extend_rows(input, rows);
            }
        }
        self.rejections.end_batch();
        parts.into_iter().map(|part| part as AnyPart).collect()
    }
}
