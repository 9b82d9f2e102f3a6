//! Expressions: typed trees of column kernels, evaluated over a whole batch at a time.
//!
//! Each node gives a vector for all rows of a batch. A row that fails is noted beside, and counts only where its value is
//! asked for: `CASE`, `COALESCE`, `AND` and `OR` take back what fails in rows they do not look at.

use std::fmt;

use super::column::{Column, Values};
use super::datum::Datum;
use super::function::arithmetic::{BinaryKernel, UnaryKernel};
use super::function::cast::CastKernel;
use super::function::{LikePattern, ScalarFunction, like};
use super::row_batch::RowBatch;
use super::sql_type::SqlType;
use super::vector::{Failures, Lane, Vector};

/// An expression over the columns of a row.
#[derive(Clone)]
pub(crate) struct Expression {
    pub(crate) sql_type: SqlType,
    pub(crate) node: Node,
    /// As SQL, for plans and messages.
    pub(crate) text: String,
}

/// What an expression does.
#[derive(Clone)]
pub(crate) enum Node {
    /// The column of this number.
    Column(usize),
    Literal(Datum),
    /// The processing time of the batch.
    ProcessingTime,
    Binary(BinaryKernel, Box<[Expression; 2]>),
    And(Box<[Expression; 2]>),
    Or(Box<[Expression; 2]>),
    Not(Box<Expression>),
    /// Whether it is NULL, or is not.
    IsNull(Box<Expression>, bool),
    /// `IS [NOT] TRUE|FALSE`: is it this value, or is it not.
    IsBoolean(Box<Expression>, bool, bool),
    Case(Box<Case>),
    Coalesce(Vec<Expression>),
    Function(ScalarFunction, Vec<Expression>),
    /// The kernel, and whether it gives NULL instead of failing.
    Cast(CastKernel, bool, Box<Expression>),
    /// Text, pattern, the escape character.
    Like(Box<[Expression; 2]>, Option<char>),
    /// Text, and a pattern that is a literal.
    LikePattern(Box<Expression>, LikePattern),
    Unary(UnaryKernel, Box<Expression>),
}

/// `CASE WHEN … THEN … ELSE … END`.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) branches: Vec<(Expression, Expression)>,
    pub(crate) otherwise: Option<Expression>,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.text, self.sql_type)
    }
}

impl Expression {
    /// The column of this number.
    pub(crate) fn column(index: usize, sql_type: SqlType, name: &str) -> Self {
        Self { sql_type, node: Node::Column(index), text: name.to_owned() }
    }

    /// The number of the column it is, if it is one and nothing more.
    pub(crate) fn as_column(&self) -> Option<usize> {
        match self.node {
            Node::Column(index) => Some(index),
            _ => None,
        }
    }

    /// Its value for all rows of `rows`, a batch of processing time `now`. Rows it fails for have any value.
    pub(crate) fn evaluate<'a>(
        &'a self,
        rows: &'a RowBatch,
        now: i64,
        failures: &mut Failures,
    ) -> Vector<'a> {
        let len = rows.len;
        match &self.node {
            Node::Column(index) => Vector::Borrowed(&rows.columns[*index]),
            Node::Literal(datum) => Vector::Constant(datum, self.sql_type),
            Node::ProcessingTime => {
                Vector::Owned(Column::of(SqlType::Timestamp, Values::BigInt(vec![now; len])))
            }
            Node::Binary(kernel, sides) => {
                let [left, right] = sides.as_ref();
                let left = left.evaluate(rows, now, failures);
                let right = right.evaluate(rows, now, failures);
                Vector::Owned(kernel(&left, &right, len, failures))
            }
            Node::And(sides) => Vector::Owned(connective(sides, false, (rows, now), failures)),
            Node::Or(sides) => Vector::Owned(connective(sides, true, (rows, now), failures)),
            Node::Not(inner) => {
                let inner = inner.evaluate(rows, now, failures);
                let values = inner.booleans();
                let mut column = Column::of(
                    SqlType::Boolean,
                    Values::Boolean((0..len).map(|row| !values.get(row)).collect()),
                );
                copy_nulls(&inner, len, &mut column);
                Vector::Owned(column)
            }
            Node::IsNull(inner, wanted) => {
                let inner = inner.evaluate(rows, now, failures);
                let values = (0..len).map(|row| inner.is_null(row) == *wanted).collect();
                Vector::Owned(Column::of(SqlType::Boolean, Values::Boolean(values)))
            }
            Node::IsBoolean(inner, value, wanted) => {
                let inner = inner.evaluate(rows, now, failures);
                let values = inner.booleans();
                let is = |row| (!inner.is_null(row) && values.get(row) == *value) == *wanted;
                Vector::Owned(Column::of(SqlType::Boolean, Values::Boolean((0..len).map(is).collect())))
            }
            Node::Case(case) => Vector::Owned(case.evaluate(self.sql_type, (rows, now), failures)),
            Node::Coalesce(inner) => Vector::Owned(coalesce(inner, self.sql_type, (rows, now), failures)),
            Node::Function(function, arguments) => {
                let arguments: Vec<Vector<'_>> =
                    arguments.iter().map(|argument| argument.evaluate(rows, now, failures)).collect();
                Vector::Owned((function.eval)(&arguments, len, failures))
            }
            Node::Cast(kernel, is_try, inner) => {
                let inner = inner.evaluate(rows, now, failures);
                Vector::Owned(kernel(&inner, len, failures, *is_try))
            }
            Node::LikePattern(inner, pattern) => {
                let text = inner.evaluate(rows, now, failures);
                let is_like = |row| pattern.matches(text.text(row));
                let mut column =
                    Column::of(SqlType::Boolean, Values::Boolean((0..len).map(is_like).collect()));
                copy_nulls(&text, len, &mut column);
                Vector::Owned(column)
            }
            Node::Unary(kernel, inner) => {
                let inner = inner.evaluate(rows, now, failures);
                Vector::Owned(kernel(&inner, len, failures))
            }
            Node::Like(sides, escape) => {
                let [text, pattern] = sides.as_ref();
                let text = text.evaluate(rows, now, failures);
                let pattern = pattern.evaluate(rows, now, failures);
                let is_like = |row| like(text.text(row), pattern.text(row), *escape);
                let mut column =
                    Column::of(SqlType::Boolean, Values::Boolean((0..len).map(is_like).collect()));
                copy_nulls(&text, len, &mut column);
                copy_nulls(&pattern, len, &mut column);
                Vector::Owned(column)
            }
        }
    }
}

/// Makes NULL in `column` what is NULL in `from`.
fn copy_nulls(from: &Vector<'_>, len: usize, column: &mut Column) {
    if !from.has_no_nulls() {
        column.nulls.resize(len, false);
        (0..len).for_each(|row| column.nulls[row] |= from.is_null(row));
    }
}

/// `AND` (`decides` is false) or `OR` (true), with NULL as the unknown: where the left side decides, what the right side fails
/// for does not count.
fn connective(
    sides: &[Expression; 2],
    decides: bool,
    (rows, now): (&RowBatch, i64),
    failures: &mut Failures,
) -> Column {
    let [left, right] = sides;
    let len = rows.len;
    let left = left.evaluate(rows, now, failures);
    let left_values = left.booleans();
    let is_decided = |row: usize| !left.is_null(row) && left_values.get(row) == decides;
    let mut late = Failures::default();
    let right = right.evaluate(rows, now, &mut late);
    failures.0.extend(late.0.into_iter().filter(|(row, _)| !is_decided(*row as usize)));
    let right_values = right.booleans();
    if left.has_no_nulls() && right.has_no_nulls() {
        let values =
            match (left_values, right_values) {
                (Lane::Each(left), Lane::Each(right)) if decides => {
                    left.iter().zip(right).map(|(left, right)| *left | *right).collect()
                }
                (Lane::Each(left), Lane::Each(right)) => {
                    left.iter().zip(right).map(|(left, right)| *left & *right).collect()
                }
                (left, right) => (0..len)
                    .map(|row| {
                        if decides { left.get(row) | right.get(row) } else { left.get(row) & right.get(row) }
                    })
                    .collect(),
            };
        return Column::of(SqlType::Boolean, Values::Boolean(values));
    }
    let mut column = Column::of(SqlType::Boolean, Values::Boolean(vec![!decides; len]));
    column.nulls = vec![false; len];
    let Values::Boolean(values) = &mut column.values else { return column };
    for (row, (value, is_null)) in values.iter_mut().zip(&mut column.nulls).enumerate() {
        let right_decides = !right.is_null(row) && right_values.get(row) == decides;
        *value = if is_decided(row) || right_decides { decides } else { !decides };
        *is_null = !is_decided(row) && !right_decides && (left.is_null(row) || right.is_null(row));
    }
    column
}

impl Case {
    fn evaluate(&self, sql_type: SqlType, (rows, now): (&RowBatch, i64), failures: &mut Failures) -> Column {
        // The branch of each row: none is open, the last is ELSE.
        let mut chosen: Vec<Option<usize>> = vec![None; rows.len];
        for (branch, (condition, _)) in self.branches.iter().enumerate() {
            let mut late = Failures::default();
            let condition = condition.evaluate(rows, now, &mut late);
            failures.0.extend(late.0.into_iter().filter(|(row, _)| chosen[*row as usize].is_none()));
            let values = condition.booleans();
            for (row, chosen) in chosen.iter_mut().enumerate() {
                if chosen.is_none() && !condition.is_null(row) && values.get(row) {
                    *chosen = Some(branch);
                }
            }
        }
        let results = self.branches.iter().map(|(_, result)| result).chain(&self.otherwise);
        let results: Vec<Vector<'_>> = results
            .enumerate()
            .map(|(branch, result)| {
                let mut late = Failures::default();
                let result = result.evaluate(rows, now, &mut late);
                let is_chosen = |row: u32| chosen[row as usize].unwrap_or(self.branches.len()) == branch;
                failures.0.extend(late.0.into_iter().filter(|(row, _)| is_chosen(*row)));
                result
            })
            .collect();
        pick(sql_type, &results, rows.len, |row| chosen[row].unwrap_or(self.branches.len()))
    }
}

/// The first that is not NULL.
fn coalesce(
    inner: &[Expression],
    sql_type: SqlType,
    (rows, now): (&RowBatch, i64),
    failures: &mut Failures,
) -> Column {
    let mut chosen: Vec<Option<usize>> = vec![None; rows.len];
    let mut results = Vec::with_capacity(inner.len());
    for (index, expression) in inner.iter().enumerate() {
        let mut late = Failures::default();
        let result = expression.evaluate(rows, now, &mut late);
        failures.0.extend(late.0.into_iter().filter(|(row, _)| chosen[*row as usize].is_none()));
        for (row, chosen) in chosen.iter_mut().enumerate() {
            if chosen.is_none() && !result.is_null(row) {
                *chosen = Some(index);
            }
        }
        results.push(result);
    }
    pick(sql_type, &results, rows.len, |row| chosen[row].unwrap_or(results.len()))
}

/// Row by row the value of the result that `chosen` names; NULL where there is none of that number.
fn pick(sql_type: SqlType, results: &[Vector<'_>], len: usize, chosen: impl Fn(usize) -> usize) -> Column {
    let mut column = Column::new(sql_type);
    macro_rules! pick_lane {
        ($values:expr, $lane:ident) => {{
            let lanes: Vec<_> = results.iter().map(Vector::$lane).collect();
            $values.extend(
                (0..len)
                    .map(|row| lanes.get(chosen(row)).map_or_else(Default::default, |lane| lane.get(row))),
            );
        }};
    }
    match &mut column.values {
        Values::Boolean(values) => pick_lane!(values, booleans),
        Values::BigInt(values) => pick_lane!(values, integers),
        Values::Decimal(values) => pick_lane!(values, decimals),
        Values::Double(values) => pick_lane!(values, doubles),
        Values::String(texts) => {
            (0..len)
                .for_each(|row| texts.push(results.get(chosen(row)).map_or("", |result| result.text(row))));
        }
        Values::Bytes(blobs) => {
            (0..len)
                .for_each(|row| blobs.push(results.get(chosen(row)).map_or(b"", |result| result.blob(row))));
        }
    }
    let is_null = |row: usize| results.get(chosen(row)).is_none_or(|result| result.is_null(row));
    if (0..len).any(is_null) {
        column.nulls = (0..len).map(is_null).collect();
    }
    column
}
