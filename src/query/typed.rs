//! Typed nodes of expressions: which types go together, the casts between them, and what can be computed once for all rows.

use super::datum::Datum;
use super::error::QueryError;
use super::expression::{Expression, Node};
use super::function::arithmetic::{ArithmeticOp, binary};
use super::function::{self, ScalarFunction, TimeUnit, check_date_format, check_pattern};
use super::literal::NULL;
use super::row_batch::RowBatch;
use super::sql_type::SqlType;
use super::vector::Failures;

pub(super) fn now(text: &str) -> Expression {
    Expression { sql_type: SqlType::Timestamp, node: Node::ProcessingTime, text: text.to_owned() }
}

pub(super) fn boolean(node: Node, text: String) -> Expression {
    Expression { sql_type: SqlType::Boolean, node, text }
}

/// True for a NULL as it is written, which is of every type; one that was cast or computed has a type.
pub(super) fn is_untyped_null(expression: &Expression) -> bool {
    matches!(expression.node, Node::Literal(Datum::Null)) && expression.text == NULL
}

/// The type that values of `left` and `right` both are of, or become without loss.
pub(super) fn common_of(left: SqlType, right: SqlType) -> Option<SqlType> {
    use SqlType::{BigInt, Decimal, Double};
    match (left, right) {
        _ if left == right => Some(left),
        (BigInt, Decimal) | (Decimal, BigInt) => Some(Decimal),
        (BigInt | Decimal, Double) | (Double, BigInt | Decimal) => Some(Double),
        _ => None,
    }
}

/// The type of all of them.
pub(super) fn common_type<'a>(
    expressions: impl IntoIterator<Item = &'a Expression>,
) -> Result<SqlType, QueryError> {
    let mut common: Option<SqlType> = None;
    for expression in expressions.into_iter().filter(|expression| !is_untyped_null(expression)) {
        let sql_type = expression.sql_type;
        common = Some(match common {
            None => sql_type,
            Some(before) => common_of(before, sql_type).ok_or_else(|| mismatch(before, sql_type))?,
        });
    }
    Ok(common.unwrap_or(SqlType::String))
}

pub(super) fn mismatch(left: SqlType, right: SqlType) -> QueryError {
    QueryError::new(format!("{left} and {right} do not go together"))
        .help(format!("make one of the other with CAST(… AS {left}) or CAST(… AS {right})"))
}

/// Both sides as one type. A text literal beside an instant is read as one.
pub(super) fn common(left: Expression, right: Expression) -> Result<(Expression, Expression), QueryError> {
    let is_text = |expression: &Expression| matches!(expression.node, Node::Literal(Datum::String(_)));
    let is_instant = |expression: &Expression| expression.sql_type == SqlType::Timestamp;
    let sql_type = if (is_text(&left) && is_instant(&right)) || (is_instant(&left) && is_text(&right)) {
        SqlType::Timestamp
    } else {
        common_type([&left, &right])?
    };
    Ok((coerce(left, sql_type)?, coerce(right, sql_type)?))
}

/// The expression as `to`, where that loses nothing.
///
/// # Errors
/// A type that does not fit.
pub(super) fn coerce(expression: Expression, to: SqlType) -> Result<Expression, QueryError> {
    if expression.sql_type == to {
        return Ok(expression);
    }
    if is_untyped_null(&expression) {
        return Ok(Expression { sql_type: to, ..expression });
    }
    let is_literal_instant =
        to == SqlType::Timestamp && matches!(expression.node, Node::Literal(Datum::String(_)));
    if !is_literal_instant && common_of(expression.sql_type, to) != Some(to) {
        let (text, from) = (&expression.text, expression.sql_type);
        return Err(QueryError::new(format!("{text} is {from}, and {to} is asked for here"))
            .help(format!("write CAST({text} AS {to})")));
    }
    let text = expression.text.clone();
    cast(expression, to, false, text).and_then(fold)
}

pub(super) fn cast(
    inner: Expression,
    to: SqlType,
    is_try: bool,
    text: String,
) -> Result<Expression, QueryError> {
    if inner.sql_type == to {
        return Ok(Expression { text, ..inner });
    }
    if is_untyped_null(&inner) {
        return Ok(Expression { sql_type: to, text, ..inner });
    }
    let kernel = function::cast::cast(inner.sql_type, to).map_err(QueryError::new)?;
    Ok(Expression { sql_type: to, node: Node::Cast(kernel, is_try, Box::new(inner)), text })
}

/// As text, for `||`.
pub(super) fn as_text(expression: Expression) -> Result<Expression, QueryError> {
    let text = expression.text.clone();
    cast(expression, SqlType::String, false, text)
}

pub(super) fn arithmetic(
    op: ArithmeticOp,
    left: Expression,
    right: Expression,
    text: String,
) -> Result<Expression, QueryError> {
    let (left, right) = match (left.sql_type, right.sql_type) {
        (from, to) if is_untyped_null(&left) => {
            (coerce(left, if to.is_numeric() { to } else { from })?, right)
        }
        (from, _) if is_untyped_null(&right) => (left, coerce(right, from)?),
        (from, to) if from.is_numeric() && to.is_numeric() => common(left, right)?,
        _ => (left, right),
    };
    let operator = binary(op, left.sql_type, right.sql_type).map_err(QueryError::new)?;
    let sides = Box::new([coerce(left, operator.left)?, coerce(right, operator.right)?]);
    Ok(Expression { sql_type: operator.returns, node: Node::Binary(operator.eval, sides), text })
}

pub(super) fn time_unit(name: &str) -> Result<TimeUnit, QueryError> {
    TimeUnit::parse(name).ok_or_else(|| {
        QueryError::new(format!("{name} is not a unit of time"))
            .help("there are MILLISECOND, SECOND, MINUTE, HOUR, DAY, WEEK, MONTH, QUARTER and YEAR")
    })
}

pub(super) fn call_resolved(
    name: &str,
    arguments: Vec<Expression>,
    text: String,
) -> Result<Expression, QueryError> {
    let types: Vec<Option<SqlType>> =
        arguments.iter().map(|argument| (!is_untyped_null(argument)).then_some(argument.sql_type)).collect();
    let refused =
        |message| QueryError::new(message).help("tidegate functions lists the functions with their forms");
    let function = function::resolve(name, &types).map_err(refused)?;
    apply(function, arguments, text)
}

pub(super) fn apply(
    function: ScalarFunction,
    arguments: Vec<Expression>,
    text: String,
) -> Result<Expression, QueryError> {
    // What is wrong with a pattern that never changes is said now, not for each row.
    if function.name == "DATE_FORMAT"
        && let [_, Expression { node: Node::Literal(Datum::String(pattern)), .. }] = arguments.as_slice()
    {
        check_date_format(pattern)
            .map_err(|message| QueryError::new(message).help("write the pattern as 'yyyy-MM-dd HH:mm:ss'"))?;
    }
    if function.name.starts_with("REGEXP") {
        let help = "write the pattern as '^[a-z]+-[0-9]+$'; docs/sql.md says what there is";
        match &arguments[1] {
            Expression { node: Node::Literal(Datum::String(pattern)), .. } => {
                check_pattern(pattern).map_err(|message| QueryError::new(message).help(help))?;
            }
            pattern if is_untyped_null(pattern) => {}
            pattern => {
                let message = format!("{} asks for a literal where {} is", function.name, pattern.text);
                return Err(QueryError::new(message).help(help));
            }
        }
    }
    let arguments = arguments
        .into_iter()
        .zip(&function.arguments)
        .map(|(argument, to)| coerce(argument, *to))
        .collect::<Result<_, _>>()?;
    Ok(Expression { sql_type: function.returns, node: Node::Function(function, arguments), text })
}

/// Computes what consists of literals only.
pub(super) fn fold(expression: Expression) -> Result<Expression, QueryError> {
    let is_literal = |expression: &Expression| matches!(expression.node, Node::Literal(_));
    let is_constant = match &expression.node {
        Node::Binary(_, sides) | Node::And(sides) | Node::Or(sides) | Node::Like(sides, _) => {
            sides.iter().all(is_literal)
        }
        Node::Not(inner)
        | Node::IsNull(inner, _)
        | Node::IsBoolean(inner, ..)
        | Node::Cast(_, _, inner)
        | Node::LikePattern(inner, _)
        | Node::Unary(_, inner) => is_literal(inner),
        Node::Function(_, arguments) => arguments.iter().all(is_literal),
        Node::Column(_) | Node::Literal(_) | Node::ProcessingTime | Node::Case(_) | Node::Coalesce(_) => {
            false
        }
    };
    if !is_constant {
        return Ok(expression);
    }
    let row = RowBatch { len: 1, ..RowBatch::default() };
    let mut failures = Failures::default();
    let datum = expression.evaluate(&row, 0, &mut failures).datum(0);
    if let Some((_, cause)) = failures.0.first() {
        return Err(QueryError::new(format!("{} fails for every row: {}", expression.text, cause.as_str()))
            .help("every row would be rejected for it: write another literal"));
    }
    Ok(Expression { node: Node::Literal(datum), ..expression })
}
