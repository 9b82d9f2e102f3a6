//! Row batches: the rows of one batch in one subtask, column by column.

use super::column::Column;
use super::sql_type::SqlType;

/// Rows, as columns of equal length.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct RowBatch {
    pub(crate) columns: Vec<Column>,
    /// Number of rows; kept apart because a batch may have no column.
    pub(crate) len: usize,
    /// Event time of each row, in milliseconds; empty when the stream has none.
    pub(crate) times: Vec<i64>,
    /// How far event time is: the highest time seen in this step, or the watermark of the stage it comes from.
    pub(crate) mark: Option<i64>,
}

impl RowBatch {
    /// An empty batch of columns of these types.
    pub(crate) fn new(types: &[SqlType]) -> Self {
        Self { columns: types.iter().map(|sql_type| Column::new(*sql_type)).collect(), ..Self::default() }
    }

    /// Drops all rows, keeping the allocations.
    pub(crate) fn clear(&mut self) {
        self.columns.iter_mut().for_each(Column::clear);
        self.len = 0;
        self.times.clear();
        self.mark = None;
    }

    /// Appends the rows `rows` of `from`, a batch of the same columns.
    pub(crate) fn extend_rows(&mut self, from: &Self, rows: &[u32]) {
        self.extend_columns(from.columns.len(), from, rows);
    }

    /// Appends the rows `rows` of `from`, as far as its first `count` columns go, which are the first here too.
    pub(crate) fn extend_columns(&mut self, count: usize, from: &Self, rows: &[u32]) {
        for (to, from) in self.columns.iter_mut().zip(&from.columns).take(count) {
            to.extend_rows(from, rows);
        }
        if !from.times.is_empty() {
            self.times.extend(rows.iter().map(|row| from.times[*row as usize]));
        }
        self.len += rows.len();
    }
}
