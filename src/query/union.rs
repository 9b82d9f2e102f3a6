//! `UNION ALL`: pipelines whose rows go on together, the columns by their places.

use std::ops::Range;

use sqlparser::ast::{SelectItem, SetExpr, SetOperator, SetQuantifier, Spanned};
use sqlparser::tokenizer::Span;

use super::error::QueryError;
use super::expression::Expression;
use super::field::{Field, TimeAttribute};
use super::plan::{Calc, Input, Pipeline, Step};
use super::planner::{Planned, Planner};
use super::sql_type::SqlType;
use super::typed::{coerce, common_of, is_untyped_null};

/// SELECTs that may be in one union.
const UNION_MAX: usize = 32;

/// One side of a union.
struct Branch<P> {
    pipeline: Pipeline,
    fields: Vec<Field>,
    /// The bytes of the text that say the column of a number.
    place: P,
}

impl Planner<'_> {
    pub(super) fn set(&self, set: &SetExpr, depth: usize) -> Result<Planned, QueryError> {
        match set {
            SetExpr::Select(select) => self.select(select, depth),
            SetExpr::Query(inner) => self.query(inner, depth + 1),
            SetExpr::SetOperation { .. } => self.union(set, depth),
            other => Err(self.refuse(
                other,
                format!("{other} is not a SELECT"),
                "a query is one SELECT, or several with UNION ALL between them",
            )),
        }
    }

    /// `a UNION ALL b UNION ALL c`: the columns go together by their places.
    fn union(&self, set: &SetExpr, depth: usize) -> Result<Planned, QueryError> {
        let mut sides = Vec::new();
        // The parser hangs all but the last side to the left.
        let mut rest = set;
        while let SetExpr::SetOperation { op, set_quantifier, left, right } = rest {
            if (*op, *set_quantifier) != (SetOperator::Union, SetQuantifier::All) {
                let message = match op {
                    SetOperator::Union => "UNION without ALL is not supported".to_owned(),
                    op => format!("{op} is not supported"),
                };
                return Err(self.refuse(
                    right.as_ref(),
                    message,
                    "write UNION ALL; rows that are there twice are left out with ROW_NUMBER() … = 1 around it",
                ));
            }
            sides.push(right.as_ref());
            if sides.len() == UNION_MAX {
                let message = format!("more than {UNION_MAX} SELECTs are in union");
                return Err(self.refuse(right.as_ref(), message, "make several queries of it"));
            }
            rest = left;
        }
        sides.push(rest);
        sides.reverse();
        let planned = sides.iter().map(|side| self.set(side, depth)).collect::<Result<Vec<Planned>, _>>()?;
        let is_windowed = planned.iter().any(|side| side.is_windowed);
        if let Some((_, side)) =
            planned.iter().zip(&sides).find(|(planned, _)| !planned.late_fields.is_empty())
        {
            return Err(self.refuse(
                *side,
                "the late rows of one side of a UNION ALL cannot be kept",
                "make the windows a [[query]] of its own, and read that here",
            ));
        }
        let branches = planned.into_iter().zip(&sides).map(|(planned, side)| Branch {
            pipeline: planned.pipeline,
            fields: planned.fields,
            place: |column| self.text.range(column_span(side, column)),
        });
        let (input, fields) = union(branches.collect())?;
        let pipeline = Pipeline { input, steps: Vec::new() };
        Ok(Planned { pipeline, fields, late_fields: Vec::new(), window: None, is_windowed })
    }
}

/// Where the column of this number stands in a side of a union; the whole side where it is not written out.
fn column_span(side: &SetExpr, column: usize) -> Span {
    let SetExpr::Select(select) = side else { return side.span() };
    let is_wildcard =
        |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
    match select.projection.get(column) {
        Some(item) if !select.projection[..=column].iter().any(is_wildcard) => item.span(),
        _ => side.span(),
    }
}

/// The union of the branches, with its columns: named as in the first, of types that those of all become without loss. Event time and
/// processing time stay what they are where they are that in each branch.
///
/// # Errors
/// Branches of other numbers of columns, and types that do not go together.
fn union<P: Fn(usize) -> Range<usize>>(branches: Vec<Branch<P>>) -> Result<(Input, Vec<Field>), QueryError> {
    let mut fields: Vec<Field> = branches.first().map(|branch| branch.fields.clone()).unwrap_or_default();
    for (number, branch) in branches.iter().enumerate().skip(1) {
        let (found, wanted) = (branch.fields.len(), fields.len());
        if found != wanted {
            let message =
                format!("SELECT {} of the union has {found} columns, and the first has {wanted}", number + 1);
            return Err(QueryError::new(message)
                .at((branch.place)(wanted.min(found)))
                .help("the columns of a UNION ALL go together by their places"));
        }
        for (at, (field, other)) in fields.iter_mut().zip(&branch.fields).enumerate() {
            let is_known = branches[..number].iter().any(|before| !is_null(&before.pipeline, at));
            if !is_known {
                field.sql_type = other.sql_type;
            } else if !is_null(&branch.pipeline, at) {
                field.sql_type = common_of(field.sql_type, other.sql_type)
                    .ok_or_else(|| mismatch(number, at, field, other).at((branch.place)(at)))?;
            }
            if field.time != other.time {
                field.time = TimeAttribute::None;
            }
        }
    }
    fields.iter_mut().for_each(|field| field.relation.clear());
    let types: Vec<SqlType> = fields.iter().map(|field| field.sql_type).collect();
    let branches = branches.into_iter().map(|branch| cast(branch.pipeline, &branch.fields, &types));
    Ok((Input::Union(branches.collect::<Result<_, _>>()?), fields))
}

#[cold]
fn mismatch(number: usize, at: usize, field: &Field, other: &Field) -> QueryError {
    let (here, before) = (other.sql_type, field.sql_type);
    QueryError::new(format!(
        "column {} of SELECT {} of the union, {}, is {here}, and {} before it is {before}",
        at + 1,
        number + 1,
        other.name,
        field.name
    ))
    .help(format!("make one of the other with CAST(… AS {before}), or put the columns in the same order"))
}

/// Whether the column of this number is a NULL as it is written, which is of every type.
fn is_null(pipeline: &Pipeline, column: usize) -> bool {
    matches!(pipeline.steps.last(), Some(Step::Calc(calc)) if is_untyped_null(&calc.project[column]))
}

/// The pipeline with its columns as these types.
fn cast(mut pipeline: Pipeline, fields: &[Field], types: &[SqlType]) -> Result<Pipeline, QueryError> {
    let all = |project: Vec<Expression>| {
        let columns = project.into_iter().zip(types);
        columns.map(|(column, sql_type)| coerce(column, *sql_type)).collect::<Result<Vec<_>, _>>()
    };
    if let Some(Step::Calc(calc)) = pipeline.steps.last_mut() {
        calc.project = all(std::mem::take(&mut calc.project))?;
    } else if fields.iter().map(|field| field.sql_type).ne(types.iter().copied()) {
        let columns = fields.iter().enumerate();
        let columns = columns.map(|(at, field)| Expression::column(at, field.sql_type, &field.name));
        let project = all(columns.collect())?;
        let names = fields.iter().map(|field| field.name.clone()).collect();
        pipeline.steps.push(Step::Calc(Calc { filter: None, project, names }));
    }
    Ok(pipeline)
}
