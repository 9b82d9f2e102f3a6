//! Vectors: what an expression gives for the rows of a batch, and the rows it fails for.

use super::column::{Column, Values};
use super::datum::Datum;
use super::sql_type::SqlType;
use crate::metrics::RejectCause;

/// What an expression gives: a value for each row, or one for all of them.
#[derive(Debug)]
pub(crate) enum Vector<'a> {
    Borrowed(&'a Column),
    Owned(Column),
    Constant(&'a Datum, SqlType),
}

/// One value for all rows, or a value for each, as a kernel reads them.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Lane<'a, T> {
    Same(T),
    Each(&'a [T]),
}

impl<T: Copy> Lane<'_, T> {
    #[inline(always)]
    pub(crate) fn get(&self, row: usize) -> T {
        match self {
            Self::Same(value) => *value,
            Self::Each(values) => values[row],
        }
    }
}

impl Vector<'_> {
    pub(crate) fn sql_type(&self) -> SqlType {
        match self {
            Self::Borrowed(column) => column.sql_type,
            Self::Owned(column) => column.sql_type,
            Self::Constant(_, sql_type) => *sql_type,
        }
    }

    fn column(&self) -> Option<&Column> {
        match self {
            Self::Borrowed(column) => Some(column),
            Self::Owned(column) => Some(column),
            Self::Constant(..) => None,
        }
    }

    #[inline]
    pub(crate) fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Borrowed(column) => column.is_null(row),
            Self::Owned(column) => column.is_null(row),
            Self::Constant(datum, _) => datum.is_null(),
        }
    }

    /// True when no row can be NULL.
    pub(crate) fn has_no_nulls(&self) -> bool {
        match self {
            Self::Constant(datum, _) => !datum.is_null(),
            vector => vector.column().is_some_and(|column| column.nulls.is_empty()),
        }
    }

    /// Of a `BOOLEAN`. A NULL row has any value.
    pub(crate) fn booleans(&self) -> Lane<'_, bool> {
        match (self, self.column().map(|column| &column.values)) {
            (_, Some(Values::Boolean(values))) => Lane::Each(values),
            (Self::Constant(Datum::Boolean(value), _), _) => Lane::Same(*value),
            _ => Lane::Same(false),
        }
    }

    /// Of a `BIGINT`, `TIMESTAMP` or `INTERVAL`.
    pub(crate) fn integers(&self) -> Lane<'_, i64> {
        match (self, self.column().map(|column| &column.values)) {
            (_, Some(Values::BigInt(values))) => Lane::Each(values),
            (
                Self::Constant(Datum::BigInt(value) | Datum::Timestamp(value) | Datum::Interval(value), _),
                _,
            ) => Lane::Same(*value),
            _ => Lane::Same(0),
        }
    }

    /// Of a `DECIMAL`.
    pub(crate) fn decimals(&self) -> Lane<'_, i128> {
        match (self, self.column().map(|column| &column.values)) {
            (_, Some(Values::Decimal(values))) => Lane::Each(values),
            (Self::Constant(Datum::Decimal(value), _), _) => Lane::Same(*value),
            _ => Lane::Same(0),
        }
    }

    /// Of a `DOUBLE`.
    pub(crate) fn doubles(&self) -> Lane<'_, f64> {
        match (self, self.column().map(|column| &column.values)) {
            (_, Some(Values::Double(values))) => Lane::Each(values),
            (Self::Constant(Datum::Double(value), _), _) => Lane::Same(*value),
            _ => Lane::Same(0.0),
        }
    }

    /// The text of a row of a `STRING`; of a NULL row any.
    #[inline]
    pub(crate) fn text(&self, row: usize) -> &str {
        match (self, self.column().map(|column| &column.values)) {
            (_, Some(Values::String(texts))) => texts.get(row),
            (Self::Constant(Datum::String(text), _), _) => text,
            _ => "",
        }
    }

    /// The bytes of a row of `BYTES`; of a NULL row any.
    pub(crate) fn blob(&self, row: usize) -> &[u8] {
        match (self, self.column().map(|column| &column.values)) {
            (_, Some(Values::Bytes(blobs))) => blobs.get(row),
            (Self::Constant(Datum::Bytes(blob), _), _) => blob,
            _ => b"",
        }
    }

    /// The value of a row.
    pub(crate) fn datum(&self, row: usize) -> Datum {
        match self {
            Self::Borrowed(column) => column.datum(row),
            Self::Owned(column) => column.datum(row),
            Self::Constant(datum, _) => (*datum).clone(),
        }
    }

    /// As a column of `len` rows.
    pub(crate) fn into_column(self, len: usize) -> Column {
        match self {
            Self::Borrowed(column) => column.clone(),
            Self::Owned(column) => column,
            Self::Constant(datum, sql_type) => {
                let mut column = Column::new(sql_type);
                (0..len).for_each(|_| column.push(datum));
                column
            }
        }
    }
}

/// Rows an expression fails for, with the cause: they are taken out of the batch. In any order; a row may be there twice.
#[derive(Debug, Default)]
pub(crate) struct Failures(pub(crate) Vec<(u32, RejectCause)>);

impl Failures {
    #[cold]
    pub(crate) fn add(&mut self, row: usize, cause: RejectCause) {
        self.0.push((u32::try_from(row).expect("a batch is below 4 G rows"), cause));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each row once, in order.
    pub(crate) fn settled(&mut self) -> &[(u32, RejectCause)] {
        self.0.sort_unstable();
        self.0.dedup_by_key(|(row, _)| *row);
        &self.0
    }

    /// Appends the rows of `0..len` that did not fail and that `keeps` holds for.
    pub(crate) fn select(&mut self, len: usize, keeps: impl Fn(usize) -> bool, selection: &mut Vec<u32>) {
        let mut failed = self.settled().iter().map(|(row, _)| *row).peekable();
        let len = u32::try_from(len).expect("a batch is below 4 G rows");
        selection.extend((0..len).filter(|row| failed.next_if_eq(row).is_none() && keeps(*row as usize)));
    }
}

/// Causes of failing rows that are SQL's.
pub(crate) mod cause {
    use crate::metrics::RejectCause;

    /// A division or remainder by zero.
    pub(crate) const DIVISION_BY_ZERO: RejectCause = RejectCause::new("division-by-zero");
    /// A `CAST` of a text that is none of the type.
    pub(crate) const INVALID_CAST: RejectCause = RejectCause::new("invalid-cast");
    /// A function's argument outside what it is defined for.
    pub(crate) const OUT_OF_DOMAIN: RejectCause = RejectCause::new("out-of-domain");
}
