//! Columns: the values of one expression for all rows of a batch.
//!
//! A column holds a value for each row, also where the row is NULL (then any value), so that kernels run over plain
//! slices; which rows are NULL is beside it, and costs nothing where none is.

use super::datum::Datum;
use super::sql_type::SqlType;

/// Texts in one buffer; `ends[i]` is the byte behind text `i`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Texts {
    text: String,
    ends: Vec<u32>,
}

impl Texts {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    #[inline]
    pub(crate) fn get(&self, row: usize) -> &str {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        &self.text[start..self.ends[row] as usize]
    }

    #[inline]
    pub(crate) fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.end_text();
    }

    /// Appends a text piece by piece: `write` appends to the buffer and never takes anything from it.
    #[inline]
    pub(crate) fn push_with(&mut self, write: impl FnOnce(&mut String)) {
        write(&mut self.text);
        self.end_text();
    }

    #[inline]
    fn end_text(&mut self) {
        self.ends.push(u32::try_from(self.text.len()).expect("a batch's texts are below 4 GiB"));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|row| self.get(row))
    }

    /// Becomes a copy of `from`, keeping the allocations.
    fn copy_from(&mut self, from: &Self) {
        self.text.clone_from(&from.text);
        self.ends.clone_from(&from.ends);
    }

    /// Drops the texts from `len` on.
    pub(crate) fn truncate(&mut self, len: usize) {
        if len < self.ends.len() {
            self.ends.truncate(len);
            self.text.truncate(self.ends.last().map_or(0, |end| *end as usize));
        }
    }

    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }
}

/// Byte strings in one buffer; `ends[i]` is the byte behind string `i`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Blobs {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Blobs {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn get(&self, row: usize) -> &[u8] {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        &self.bytes[start..self.ends[row] as usize]
    }

    pub(crate) fn push(&mut self, blob: &[u8]) {
        self.bytes.extend_from_slice(blob);
        self.ends.push(u32::try_from(self.bytes.len()).expect("a batch's byte strings are below 4 GiB"));
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        if len < self.ends.len() {
            self.ends.truncate(len);
            self.bytes.truncate(self.ends.last().map_or(0, |end| *end as usize));
        }
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

/// The values of a column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Values {
    Boolean(Vec<bool>),
    /// `BIGINT`; `TIMESTAMP` and `INTERVAL` in milliseconds.
    BigInt(Vec<i64>),
    Decimal(Vec<i128>),
    Double(Vec<f64>),
    String(Texts),
    Bytes(Blobs),
}

/// A value for each row of a batch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Column {
    pub(crate) sql_type: SqlType,
    pub(crate) values: Values,
    /// Which rows are NULL; empty when none is.
    pub(crate) nulls: Vec<bool>,
}

impl Column {
    pub(crate) fn new(sql_type: SqlType) -> Self {
        let values = match sql_type {
            SqlType::Boolean => Values::Boolean(Vec::new()),
            SqlType::BigInt | SqlType::Timestamp | SqlType::Interval => Values::BigInt(Vec::new()),
            SqlType::Decimal => Values::Decimal(Vec::new()),
            SqlType::Double => Values::Double(Vec::new()),
            SqlType::String => Values::String(Texts::default()),
            SqlType::Bytes => Values::Bytes(Blobs::default()),
        };
        Self { sql_type, values, nulls: Vec::new() }
    }

    /// A column of `values`, without NULL.
    pub(crate) fn of(sql_type: SqlType, values: Values) -> Self {
        Self { sql_type, values, nulls: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        match &self.values {
            Values::Boolean(values) => values.len(),
            Values::BigInt(values) => values.len(),
            Values::Decimal(values) => values.len(),
            Values::Double(values) => values.len(),
            Values::String(texts) => texts.len(),
            Values::Bytes(blobs) => blobs.len(),
        }
    }

    #[inline]
    pub(crate) fn is_null(&self, row: usize) -> bool {
        self.nulls.get(row).copied().unwrap_or(false)
    }

    /// Notes that a value was pushed that is not NULL.
    #[inline]
    pub(crate) fn pushed(&mut self) {
        if !self.nulls.is_empty() {
            self.nulls.push(false);
        }
    }

    pub(crate) fn push_null(&mut self) {
        let len = self.len();
        self.nulls.resize(len, false);
        self.nulls.push(true);
        match &mut self.values {
            Values::Boolean(values) => values.push(false),
            Values::BigInt(values) => values.push(0),
            Values::Decimal(values) => values.push(0),
            Values::Double(values) => values.push(0.0),
            Values::String(texts) => texts.push(""),
            Values::Bytes(blobs) => blobs.push(b""),
        }
    }

    /// Pushes a value of the column's type, or NULL.
    ///
    /// # Panics
    /// When it is of another type: the planner checked the types.
    pub(crate) fn push(&mut self, datum: &Datum) {
        match (&mut self.values, datum) {
            (_, Datum::Null) => return self.push_null(),
            (Values::Boolean(values), Datum::Boolean(value)) => values.push(*value),
            (
                Values::BigInt(values),
                Datum::BigInt(value) | Datum::Timestamp(value) | Datum::Interval(value),
            ) => {
                values.push(*value);
            }
            (Values::Decimal(values), Datum::Decimal(value)) => values.push(*value),
            (Values::Double(values), Datum::Double(value)) => values.push(*value),
            (Values::String(texts), Datum::String(text)) => texts.push(text),
            (Values::Bytes(blobs), Datum::Bytes(blob)) => blobs.push(blob),
            (_, datum) => panic!("a {} column got {datum:?}", self.sql_type),
        }
        self.pushed();
    }

    /// Pushes a text, or NULL, onto a column of `STRING`.
    pub(crate) fn push_text(&mut self, text: Option<&str>) {
        match (&mut self.values, text) {
            (Values::String(texts), Some(text)) => {
                texts.push(text);
                self.pushed();
            }
            _ => self.push_null(),
        }
    }

    /// The value of a row.
    pub(crate) fn datum(&self, row: usize) -> Datum {
        if self.is_null(row) {
            return Datum::Null;
        }
        match &self.values {
            Values::Boolean(values) => Datum::Boolean(values[row]),
            Values::BigInt(values) => match self.sql_type {
                SqlType::Timestamp => Datum::Timestamp(values[row]),
                SqlType::Interval => Datum::Interval(values[row]),
                _ => Datum::BigInt(values[row]),
            },
            Values::Decimal(values) => Datum::Decimal(values[row]),
            Values::Double(values) => Datum::Double(values[row]),
            Values::String(texts) => Datum::String(texts.get(row).into()),
            Values::Bytes(blobs) => Datum::Bytes(blobs.get(row).into()),
        }
    }

    /// Drops the rows from `len` on.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.nulls.truncate(len);
        match &mut self.values {
            Values::Boolean(values) => values.truncate(len),
            Values::BigInt(values) => values.truncate(len),
            Values::Decimal(values) => values.truncate(len),
            Values::Double(values) => values.truncate(len),
            Values::String(texts) => texts.truncate(len),
            Values::Bytes(blobs) => blobs.truncate(len),
        }
    }

    /// Drops all rows, keeping the allocations.
    pub(crate) fn clear(&mut self) {
        self.nulls.clear();
        match &mut self.values {
            Values::Boolean(values) => values.clear(),
            Values::BigInt(values) => values.clear(),
            Values::Decimal(values) => values.clear(),
            Values::Double(values) => values.clear(),
            Values::String(texts) => texts.clear(),
            Values::Bytes(blobs) => blobs.clear(),
        }
    }

    /// Becomes a copy of `from`, keeping the allocations.
    pub(crate) fn copy_from(&mut self, from: &Self) {
        self.nulls.clone_from(&from.nulls);
        match (&mut self.values, &from.values) {
            (Values::Boolean(to), Values::Boolean(from)) => to.clone_from(from),
            (Values::BigInt(to), Values::BigInt(from)) => to.clone_from(from),
            (Values::Decimal(to), Values::Decimal(from)) => to.clone_from(from),
            (Values::Double(to), Values::Double(from)) => to.clone_from(from),
            (Values::String(to), Values::String(from)) => to.copy_from(from),
            (to, from) => *to = from.clone(),
        }
    }

    /// Appends the rows `rows` of `from`, a column of the same type.
    pub(crate) fn extend_rows(&mut self, from: &Self, rows: &[u32]) {
        let before = self.len();
        let rows_of = || rows.iter().map(|row| *row as usize);
        match (&mut self.values, &from.values) {
            (Values::Boolean(to), Values::Boolean(from)) => to.extend(rows_of().map(|row| from[row])),
            (Values::BigInt(to), Values::BigInt(from)) => to.extend(rows_of().map(|row| from[row])),
            (Values::Decimal(to), Values::Decimal(from)) => to.extend(rows_of().map(|row| from[row])),
            (Values::Double(to), Values::Double(from)) => to.extend(rows_of().map(|row| from[row])),
            (Values::String(to), Values::String(from)) => rows_of().for_each(|row| to.push(from.get(row))),
            (Values::Bytes(to), Values::Bytes(from)) => rows_of().for_each(|row| to.push(from.get(row))),
            (_, _) => panic!("a {} column got a {} one", self.sql_type, from.sql_type),
        }
        if !self.nulls.is_empty() || !from.nulls.is_empty() {
            self.nulls.resize(before, false);
            self.nulls.extend(rows_of().map(|row| from.is_null(row)));
        }
    }
}
