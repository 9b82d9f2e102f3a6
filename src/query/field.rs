//! Fields: the named columns of a relation.

use sqlparser::ast::Expr;

use super::error::{QueryError, nearest};
use super::sql_type::SqlType;

/// Which clock a column is an instant of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeAttribute {
    /// None: an instant like any other value.
    None,
    /// The stream's event time: it has a watermark.
    Event,
    /// Processing time.
    Processing,
}

/// A column of a relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    /// The relation's name or alias.
    pub(crate) relation: String,
    pub(crate) name: String,
    pub(crate) sql_type: SqlType,
    pub(crate) time: TimeAttribute,
}

impl Field {
    pub(crate) fn new(relation: &str, name: &str, sql_type: SqlType) -> Self {
        let (relation, name) = (relation.to_owned(), name.to_owned());
        Self { relation, name, sql_type, time: TimeAttribute::None }
    }
}

/// The number of the field `name` means, of the relation `relation` when one is given: the one of exactly that name, or else the only one
/// that differs in upper and lower case.
///
/// # Errors
/// When there is none, or more than one.
pub(crate) fn find(fields: &[Field], relation: Option<&str>, name: &str) -> Result<usize, QueryError> {
    let is_of = |field: &Field| relation.is_none_or(|relation| field.relation.eq_ignore_ascii_case(relation));
    let numbered = || fields.iter().enumerate().filter(|(_, field)| is_of(field));
    let exact: Vec<usize> = numbered().filter(|(_, field)| field.name == name).map(|(at, _)| at).collect();
    let like = numbered().filter(|(_, field)| field.name.eq_ignore_ascii_case(name)).map(|(at, _)| at);
    let found = if exact.is_empty() { like.collect() } else { exact };
    match *found {
        [one] => Ok(one),
        [] => Err(unknown(fields, relation, name)),
        _ => Err(QueryError::new(format!("there is more than one column {name}"))
            .help("name the relation too, or give one an alias with AS")),
    }
}

/// The field that `expression`, a column's name, means.
pub(super) fn field_of(expression: &Expr, fields: &[Field]) -> Option<Result<usize, QueryError>> {
    match expression {
        Expr::Identifier(name) => Some(find(fields, None, &name.value)),
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [relation, name] => Some(find(fields, Some(&relation.value), &name.value)),
            _ => None,
        },
        _ => None,
    }
}

fn unknown(fields: &[Field], relation: Option<&str>, name: &str) -> QueryError {
    if let Some(relation) = relation
        && !fields.iter().any(|field| field.relation.eq_ignore_ascii_case(relation))
    {
        let known = fields.first().map_or("none", |field| &field.relation);
        return QueryError::new(format!("there is no relation {relation} here"))
            .help(format!("the relation is called {known}"));
    }
    let error = QueryError::new(format!("there is no column {name}"));
    let names = || fields.iter().map(|field| field.name.as_str());
    match nearest(name, names()) {
        Some(near) => error.help(format!("did you mean {near}?")),
        None => error.help(format!("the columns are {}", names().collect::<Vec<_>>().join(", "))),
    }
}
