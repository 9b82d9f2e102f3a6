//! The table of scalar functions, and finding the form of one for its arguments.
//!
//! A function has forms: argument types, result type and kernel. Of the forms the arguments can be cast to without
//! being asked (`BIGINT` to `DECIMAL` to `DOUBLE`; an untyped NULL to anything) the first is taken, so the narrowest
//! types come first.

use crate::query::column::Column;
use crate::query::sql_type::SqlType;
use crate::query::vector::{Failures, Vector};

use super::{extremum, logarithm, numeric, padding, regexp, rounding, text, text_search, time};

/// Computes a function for all rows: arguments of the types asked for, the number of rows, where failing rows go.
pub(crate) type Eval = fn(&[Vector<'_>], usize, &mut Failures) -> Column;

/// A function found for its arguments.
#[derive(Debug, Clone)]
pub(crate) struct ScalarFunction {
    pub(crate) name: &'static str,
    /// The types the planner casts the arguments to.
    pub(crate) arguments: Vec<SqlType>,
    pub(crate) returns: SqlType,
    pub(crate) eval: Eval,
}

/// One row of the functions' documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FunctionLine {
    pub(crate) name: &'static str,
    /// As `ROUND(DOUBLE) | ROUND(DOUBLE, BIGINT)`.
    pub(crate) forms: String,
    pub(crate) about: &'static str,
}

/// A function of the table.
pub(super) struct Function {
    pub(super) name: &'static str,
    /// Other names of it.
    pub(super) aliases: &'static [&'static str],
    pub(super) about: &'static str,
    pub(super) forms: &'static [Form],
}

/// One way to call a function.
pub(super) struct Form {
    arguments: &'static [SqlType],
    /// The type of any number of further arguments.
    further: Option<SqlType>,
    returns: SqlType,
    eval: Eval,
}

/// A form of a fixed number of arguments.
pub(super) const fn form(arguments: &'static [SqlType], returns: SqlType, eval: Eval) -> Form {
    Form { arguments, further: None, returns, eval }
}

/// A form of these arguments and any number of the last one's type.
pub(super) const fn variadic(arguments: &'static [SqlType], returns: SqlType, eval: Eval) -> Form {
    let further = Some(arguments[arguments.len() - 1]);
    Form { arguments, further, returns, eval }
}

/// The files of the table.
const TABLES: [&[Function]; 9] = [
    numeric::FUNCTIONS,
    rounding::FUNCTIONS,
    logarithm::FUNCTIONS,
    extremum::FUNCTIONS,
    text::FUNCTIONS,
    text_search::FUNCTIONS,
    padding::FUNCTIONS,
    regexp::FUNCTIONS,
    time::FUNCTIONS,
];

/// The most arguments a call may have.
const ARGUMENTS_MAX: usize = 255;
/// The most names an error about an unknown one lists.
const NEAREST_NAMES_MAX: usize = 3;

fn functions() -> impl Iterator<Item = &'static Function> {
    TABLES.into_iter().flatten()
}

/// Every function, by name.
pub(crate) fn all() -> Vec<FunctionLine> {
    let mut lines: Vec<FunctionLine> = functions()
        .flat_map(|function| {
            std::iter::once(&function.name).chain(function.aliases).map(|name| FunctionLine {
                name,
                forms: function.usage(name),
                about: function.about,
            })
        })
        .collect();
    lines.sort_by_key(|line| line.name);
    lines
}

/// The function of this name (in any case) for arguments of these types; `None` is an untyped NULL.
///
/// # Errors
/// A text for the user: the function is unknown (with the nearest names), or takes other arguments (with its forms).
pub(crate) fn resolve(name: &str, arguments: &[Option<SqlType>]) -> Result<ScalarFunction, String> {
    let found = functions().find_map(|function| function.called(name).map(|name| (function, name)));
    let Some((function, name)) = found else {
        return Err(unknown(name));
    };
    if arguments.len() > ARGUMENTS_MAX {
        return Err(format!("{name} has {} arguments; at most {ARGUMENTS_MAX} are allowed", arguments.len()));
    }
    let fitting = function.forms.iter().find_map(|form| Some((form, form.fit(arguments)?)));
    let Some((form, arguments)) = fitting else {
        return Err(format!(
            "{name}({}) is not defined; its forms are {} (CAST(x AS type) converts)",
            listed(arguments.iter().map(|argument| argument.map_or("NULL".into(), |of| of.to_string()))),
            function.usage(name),
        ));
    };
    Ok(ScalarFunction { name, arguments, returns: form.returns, eval: form.eval })
}

impl Function {
    /// The name it is called by, when `name` is one of its names.
    fn called(&self, name: &str) -> Option<&'static str> {
        std::iter::once(&self.name).chain(self.aliases).find(|own| own.eq_ignore_ascii_case(name)).copied()
    }

    fn usage(&self, name: &str) -> String {
        let forms = self.forms.iter().map(|form| {
            let further = form.further.map(|_| "…".to_owned());
            let arguments = form.arguments.iter().map(|argument| argument.to_string()).chain(further);
            format!("{name}({})", listed(arguments))
        });
        forms.collect::<Vec<_>>().join(" | ")
    }
}

impl Form {
    /// The types to cast arguments of these types to, when they can be.
    fn fit(&self, arguments: &[Option<SqlType>]) -> Option<Vec<SqlType>> {
        let few = arguments.len() < self.arguments.len();
        if few || (self.further.is_none() && arguments.len() > self.arguments.len()) {
            return None;
        }
        let to = self.arguments.iter().copied().chain(self.further.into_iter().cycle());
        arguments
            .iter()
            .zip(to)
            .map(|(from, to)| from.is_none_or(|from| widens(from, to)).then_some(to))
            .collect()
    }
}

/// True when a value of type `from` becomes one of type `to` without a `CAST`.
pub(crate) fn widens(from: SqlType, to: SqlType) -> bool {
    use SqlType::{BigInt, Decimal, Double};
    from == to || matches!((from, to), (BigInt, Decimal | Double) | (Decimal, Double))
}

fn listed(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

fn unknown(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    let names = functions().flat_map(|function| std::iter::once(&function.name).chain(function.aliases));
    format!("there is no function {name}{}", did_you_mean(&upper, names.copied()))
}

/// `; did you mean A, B?` with the names nearest to `name`, or nothing when none is near.
pub(crate) fn did_you_mean(name: &str, names: impl Iterator<Item = &'static str>) -> String {
    let most = (name.len() / 3).max(1);
    let mut near: Vec<(usize, &str)> = names
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(far, _)| *far <= most)
        .collect();
    near.sort_unstable();
    near.truncate(NEAREST_NAMES_MAX);
    if near.is_empty() {
        return String::new();
    }
    format!("; did you mean {}?", listed(near.into_iter().map(|(_, name)| name.to_owned())))
}

/// The longest name edits are counted for, in bytes.
const COMPARED_NAME_BYTES_MAX: usize = 64;

/// The number of bytes to insert, delete or replace to make one name of the other (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    if left.len() > COMPARED_NAME_BYTES_MAX {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, from) in left.bytes().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, to) in right.bytes().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

/// Each form of each function, as it is resolved; of a variadic one that with one argument more.
#[cfg(test)]
pub(super) fn all_forms() -> Vec<ScalarFunction> {
    functions()
        .flat_map(|function| function.forms.iter().map(move |form| (function.name, form)))
        .map(|(name, form)| {
            let arguments = form.arguments.iter().copied().chain(form.further).collect();
            ScalarFunction { name, arguments, returns: form.returns, eval: form.eval }
        })
        .collect()
}
