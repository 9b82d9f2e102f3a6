//! The slot between two operators of a query.

use std::any::Any;

use crate::operator::Slot;
use crate::query::row_batch::RowBatch;
use crate::query::sql_type::SqlType;

/// Rows between two operators, and those that came too late for their windows.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(crate) rows: RowBatch,
    pub(crate) late: RowBatch,
}

/// Which rows of a slot are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Results,
    Late,
}

impl Rows {
    pub(crate) fn new(types: &[SqlType], late: &[SqlType]) -> Self {
        Self { rows: RowBatch::new(types), late: RowBatch::new(late) }
    }

    pub(crate) fn side(&self, side: Side) -> &RowBatch {
        match side {
            Side::Results => &self.rows,
            Side::Late => &self.late,
        }
    }

    /// The rows behind a slot.
    pub(crate) fn of(slot: &mut dyn Slot) -> &mut Self {
        let slot: &mut dyn Any = slot;
        slot.downcast_mut().expect("the topology of a query connects operators of queries")
    }
}

impl Slot for Rows {
    fn clear(&mut self) {
        self.rows.clear();
        self.late.clear();
    }
}
