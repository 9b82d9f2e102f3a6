//! From the parser's expressions to typed ones: names become columns, functions kernels, and casts go where types differ.

use sqlparser::ast::{
    BinaryOperator, CastKind, CeilFloorKind, DataType, DateTimeField, Expr, FunctionArg, FunctionArgExpr,
    FunctionArguments, Spanned, TimezoneInfo, TrimWhereField, TypedString, UnaryOperator, Value,
};

use super::datum::Datum;
use super::error::{QueryError, SqlText};
use super::expression::{Case, Expression, Node};
use super::field::{Field, TimeAttribute, find};
use super::function::arithmetic::{ArithmeticOp, binary, negation};
use super::function::comparison::{ComparisonOp, comparison};
use super::function::{self, LikePattern, ScalarFunction, TimeUnit, check_date_format};
use super::interval;
use super::row_batch::RowBatch;
use super::sql_type::SqlType;
use super::vector::Failures;

/// Elements an `IN (…)` may list.
const IN_LIST_MAX: usize = 1_024;
/// The text of a NULL.
const NULL: &str = "NULL";

/// What stands for an expression of the text, when something was computed before: a group key, an aggregate.
pub(super) trait Bindings {
    /// What stands for `expression`, which is whole in the text.
    ///
    /// # Errors
    /// When it cannot stand here.
    fn bind(&self, expression: &Expr) -> Result<Option<Expression>, QueryError>;
}

/// Nothing was computed before.
pub(super) struct NoBindings;

impl Bindings for NoBindings {
    fn bind(&self, _: &Expr) -> Result<Option<Expression>, QueryError> {
        Ok(None)
    }
}

/// Where an expression stands.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) text: SqlText<'a>,
    pub(super) fields: &'a [Field],
    pub(super) bindings: &'a dyn Bindings,
}

impl Scope<'_> {
    /// An error about `expression`.
    pub(super) fn error(&self, expression: &Expr, message: impl Into<String>) -> QueryError {
        QueryError::new(message).at(self.text.range(expression.span()))
    }

    /// The typed expression.
    ///
    /// # Errors
    /// Names that are not there, types that do not fit, and what the dialect does not have.
    pub(super) fn resolve(&self, expression: &Expr) -> Result<Expression, QueryError> {
        if let Some(bound) = self.bindings.bind(expression)? {
            return Ok(bound);
        }
        let place = |error: QueryError| match error.span {
            Some(_) => error,
            None => error.at(self.text.range(expression.span())),
        };
        self.node(expression).map_err(place).and_then(|resolved| fold(resolved).map_err(place))
    }

    fn node(&self, expression: &Expr) -> Result<Expression, QueryError> {
        let text = expression.to_string();
        match expression {
            Expr::Identifier(name) => self.column(None, &name.value),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [relation, name] => self.column(Some(&relation.value), &name.value),
                _ => Err(QueryError::new(format!("{text} has too many parts"))
                    .help("name a column, or relation.column")),
            },
            Expr::Nested(inner) => self.resolve(inner),
            Expr::Value(value) => literal(&value.value),
            Expr::TypedString(string) => typed_string(string),
            Expr::Interval(interval) => match interval::milliseconds(interval) {
                Ok(length) => Ok(of_literal(Datum::Interval(length), text)),
                Err(message) => Err(QueryError::new(message)),
            },
            Expr::UnaryOp { op, expr } => self.unary(*op, expr, text),
            Expr::BinaryOp { left, op, right } => self.binary(left, op, right, text),
            Expr::IsNull(inner) => self.is_null(inner, true, text),
            Expr::IsNotNull(inner) => self.is_null(inner, false, text),
            Expr::IsTrue(inner) => self.is_boolean(inner, true, true, text),
            Expr::IsNotTrue(inner) => self.is_boolean(inner, true, false, text),
            Expr::IsFalse(inner) => self.is_boolean(inner, false, true, text),
            Expr::IsNotFalse(inner) => self.is_boolean(inner, false, false, text),
            Expr::IsUnknown(inner) => self.is_null(inner, true, text),
            Expr::IsNotUnknown(inner) => self.is_null(inner, false, text),
            Expr::IsDistinctFrom(left, right) => {
                self.compare(ComparisonOp::IsDistinctFrom, self.resolve(left)?, self.resolve(right)?, text)
            }
            Expr::IsNotDistinctFrom(left, right) => {
                self.compare(ComparisonOp::IsNotDistinctFrom, self.resolve(left)?, self.resolve(right)?, text)
            }
            Expr::Between { expr, negated, low, high } => self.between(expr, *negated, low, high, text),
            Expr::InList { expr, list, negated } => self.in_list(expr, list, *negated, text),
            Expr::Like { negated, any: false, expr, pattern, escape_char } => {
                let escape = match escape_char.as_deref() {
                    None => None,
                    Some(escape) => match self.resolve(escape)?.node {
                        Node::Literal(Datum::String(text)) if text.chars().count() == 1 => {
                            text.chars().next()
                        }
                        _ => return Err(QueryError::new(format!("ESCAPE {escape} is not one character"))),
                    },
                };
                let of = self.of_type(expr, SqlType::String)?;
                let pattern = self.of_type(pattern, SqlType::String)?;
                let node = match &pattern.node {
                    Node::Literal(Datum::String(text)) => {
                        let pattern = LikePattern::new(text, escape).map_err(QueryError::new)?;
                        Node::LikePattern(Box::new(of), pattern)
                    }
                    _ => Node::Like(Box::new([of, pattern]), escape),
                };
                let like = boolean(node, text.clone());
                Ok(if *negated { boolean(Node::Not(Box::new(like)), text) } else { like })
            }
            Expr::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref(), text)
            }
            Expr::Cast { kind, expr, data_type, format: None, .. } => {
                let to = sql_type(data_type)?;
                let inner = self.resolve(expr)?;
                let is_try = matches!(kind, CastKind::TryCast | CastKind::SafeCast);
                cast(inner, to, is_try, text)
            }
            Expr::Extract { field, expr, .. } => {
                let function = function::extract(&field.to_string()).map_err(QueryError::new)?;
                apply(function, vec![self.resolve(expr)?], text)
            }
            Expr::Floor { expr, field } => self.round("FLOOR", expr, field, text),
            Expr::Ceil { expr, field } => self.round("CEIL", expr, field, text),
            Expr::Position { expr, r#in } => self.call("POSITION", &[expr, r#in], text),
            Expr::Substring { expr, substring_from: Some(from), substring_for, .. } => match substring_for {
                Some(length) => self.call("SUBSTRING", &[expr, from, length], text),
                None => self.call("SUBSTRING", &[expr, from], text),
            },
            Expr::Trim { expr, trim_where, trim_what, trim_characters: None } => {
                let name = match trim_where {
                    None | Some(TrimWhereField::Both) => "TRIM",
                    Some(TrimWhereField::Leading) => "LTRIM",
                    Some(TrimWhereField::Trailing) => "RTRIM",
                };
                match trim_what {
                    Some(what) => self.call(name, &[expr, what], text),
                    None => self.call(name, &[expr], text),
                }
            }
            Expr::Function(call) => self.function(call, text),
            Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => {
                Err(QueryError::new("a query inside an expression is not supported")
                    .help("make it a [[query]] of its own, or a query in FROM"))
            }
            other => Err(QueryError::new(format!("{other} is not supported"))
                .help("docs/sql.md lists the expressions there are")),
        }
    }

    fn column(&self, relation: Option<&str>, name: &str) -> Result<Expression, QueryError> {
        match find(self.fields, relation, name) {
            Ok(index) => {
                let field = &self.fields[index];
                Ok(match field.time {
                    TimeAttribute::Processing => Expression {
                        sql_type: field.sql_type,
                        node: Node::ProcessingTime,
                        text: field.name.clone(),
                    },
                    _ => Expression::column(index, field.sql_type, &field.name),
                })
            }
            Err(_) if relation.is_none() && is_now(name) => Ok(now(name)),
            Err(error) => Err(error),
        }
    }

    /// The expression, cast to `sql_type` where that loses nothing.
    ///
    /// # Errors
    /// Those of [`resolve`](Self::resolve), and a type that does not fit.
    pub(super) fn of_type(&self, expression: &Expr, sql_type: SqlType) -> Result<Expression, QueryError> {
        coerce(self.resolve(expression)?, sql_type)
            .map_err(|error| error.at(self.text.range(expression.span())))
    }

    fn unary(&self, op: UnaryOperator, inner: &Expr, text: String) -> Result<Expression, QueryError> {
        match op {
            UnaryOperator::Not => {
                Ok(boolean(Node::Not(Box::new(self.of_type(inner, SqlType::Boolean)?)), text))
            }
            UnaryOperator::Plus => self.resolve(inner),
            UnaryOperator::Minus => {
                // The least integer has no positive counterpart.
                if let Expr::Value(value) = inner
                    && let Value::Number(digits, _) = &value.value
                {
                    return number(&format!("-{digits}"));
                }
                let inner = self.resolve(inner)?;
                let kernel = negation(inner.sql_type).map_err(QueryError::new)?;
                Ok(Expression { sql_type: inner.sql_type, node: Node::Unary(kernel, Box::new(inner)), text })
            }
            other => Err(QueryError::new(format!("the operator {other} is not supported"))),
        }
    }

    fn binary(
        &self,
        left: &Expr,
        op: &BinaryOperator,
        right: &Expr,
        text: String,
    ) -> Result<Expression, QueryError> {
        if matches!(op, BinaryOperator::And | BinaryOperator::Or) {
            let sides =
                Box::new([self.of_type(left, SqlType::Boolean)?, self.of_type(right, SqlType::Boolean)?]);
            return Ok(boolean(
                if *op == BinaryOperator::And { Node::And(sides) } else { Node::Or(sides) },
                text,
            ));
        }
        let (left, right) = (self.resolve(left)?, self.resolve(right)?);
        let arithmetic = |op| arithmetic(op, left.clone(), right.clone(), text.clone());
        let compare = |op| self.compare(op, left.clone(), right.clone(), text.clone());
        match op {
            BinaryOperator::Plus => arithmetic(ArithmeticOp::Add),
            BinaryOperator::Minus => arithmetic(ArithmeticOp::Subtract),
            BinaryOperator::Multiply => arithmetic(ArithmeticOp::Multiply),
            BinaryOperator::Divide => arithmetic(ArithmeticOp::Divide),
            BinaryOperator::Modulo => arithmetic(ArithmeticOp::Remainder),
            BinaryOperator::Eq => compare(ComparisonOp::Equal),
            BinaryOperator::NotEq => compare(ComparisonOp::NotEqual),
            BinaryOperator::Lt => compare(ComparisonOp::Less),
            BinaryOperator::LtEq => compare(ComparisonOp::LessOrEqual),
            BinaryOperator::Gt => compare(ComparisonOp::Greater),
            BinaryOperator::GtEq => compare(ComparisonOp::GreaterOrEqual),
            BinaryOperator::StringConcat => {
                let texts = [as_text(left)?, as_text(right)?];
                call_resolved("CONCAT", texts.into(), text)
            }
            other => Err(QueryError::new(format!("the operator {other} is not supported"))
                .help("there are + - * / % || = <> < <= > >= AND OR NOT")),
        }
    }

    fn compare(
        &self,
        op: ComparisonOp,
        left: Expression,
        right: Expression,
        text: String,
    ) -> Result<Expression, QueryError> {
        let (left, right) = common(left, right)?;
        let kernel = comparison(op, left.sql_type);
        Ok(boolean(Node::Binary(kernel, Box::new([left, right])), text))
    }

    fn is_null(&self, inner: &Expr, wanted: bool, text: String) -> Result<Expression, QueryError> {
        Ok(boolean(Node::IsNull(Box::new(self.resolve(inner)?), wanted), text))
    }

    fn is_boolean(
        &self,
        inner: &Expr,
        value: bool,
        wanted: bool,
        text: String,
    ) -> Result<Expression, QueryError> {
        let inner = self.of_type(inner, SqlType::Boolean)?;
        Ok(boolean(Node::IsBoolean(Box::new(inner), value, wanted), text))
    }

    fn between(
        &self,
        inner: &Expr,
        is_negated: bool,
        low: &Expr,
        high: &Expr,
        text: String,
    ) -> Result<Expression, QueryError> {
        let inner = self.resolve(inner)?;
        let above =
            self.compare(ComparisonOp::GreaterOrEqual, inner.clone(), self.resolve(low)?, text.clone())?;
        let below = self.compare(ComparisonOp::LessOrEqual, inner, self.resolve(high)?, text.clone())?;
        let between = boolean(Node::And(Box::new([above, below])), text.clone());
        Ok(if is_negated { boolean(Node::Not(Box::new(between)), text) } else { between })
    }

    fn in_list(
        &self,
        inner: &Expr,
        list: &[Expr],
        is_negated: bool,
        text: String,
    ) -> Result<Expression, QueryError> {
        if list.len() > IN_LIST_MAX {
            return Err(QueryError::new(format!(
                "IN lists {} values; at most {IN_LIST_MAX} are allowed",
                list.len()
            )));
        }
        let inner = self.resolve(inner)?;
        let mut parts = Vec::with_capacity(list.len());
        for element in list {
            parts.push(self.compare(
                ComparisonOp::Equal,
                inner.clone(),
                self.resolve(element)?,
                text.clone(),
            )?);
        }
        // A balanced tree, so that a long list is not a deep one.
        while parts.len() > 1 {
            let mut pairs = parts.into_iter();
            let mut joined = Vec::new();
            while let Some(left) = pairs.next() {
                joined.push(match pairs.next() {
                    Some(right) => boolean(Node::Or(Box::new([left, right])), text.clone()),
                    None => left,
                });
            }
            parts = joined;
        }
        let any = parts.pop().ok_or_else(|| QueryError::new("IN lists no value"))?;
        Ok(if is_negated { boolean(Node::Not(Box::new(any)), text) } else { any })
    }

    fn case(
        &self,
        operand: Option<&Expr>,
        conditions: &[sqlparser::ast::CaseWhen],
        otherwise: Option<&Expr>,
        text: String,
    ) -> Result<Expression, QueryError> {
        let mut branches = Vec::with_capacity(conditions.len());
        for when in conditions {
            let condition = match operand {
                None => self.of_type(&when.condition, SqlType::Boolean)?,
                Some(operand) => self.compare(
                    ComparisonOp::Equal,
                    self.resolve(operand)?,
                    self.resolve(&when.condition)?,
                    when.condition.to_string(),
                )?,
            };
            branches.push((condition, self.resolve(&when.result)?));
        }
        let otherwise = otherwise.map(|otherwise| self.resolve(otherwise)).transpose()?;
        let results = branches.iter().map(|(_, result)| result).chain(&otherwise);
        let sql_type = common_type(results)?;
        let branches = branches
            .into_iter()
            .map(|(condition, result)| Ok((condition, coerce(result, sql_type)?)))
            .collect::<Result<_, QueryError>>()?;
        let otherwise = otherwise.map(|otherwise| coerce(otherwise, sql_type)).transpose()?;
        Ok(Expression { sql_type, node: Node::Case(Box::new(Case { branches, otherwise })), text })
    }

    fn round(
        &self,
        name: &str,
        inner: &Expr,
        field: &CeilFloorKind,
        text: String,
    ) -> Result<Expression, QueryError> {
        match field {
            CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) => self.call(name, &[inner], text),
            CeilFloorKind::DateTimeField(unit) => {
                let unit = time_unit(&unit.to_string())?;
                let function = match name {
                    "FLOOR" => function::floor_timestamp(unit),
                    _ => function::ceil_timestamp(unit),
                };
                apply(function, vec![self.resolve(inner)?], text)
            }
            CeilFloorKind::Scale(scale) => {
                Err(QueryError::new(format!("{name} to the scale {scale} is not supported"))
                    .help("use ROUND or TRUNCATE, which take a number of decimals"))
            }
        }
    }

    fn call(&self, name: &str, arguments: &[&Expr], text: String) -> Result<Expression, QueryError> {
        let arguments = arguments.iter().map(|argument| self.resolve(argument)).collect::<Result<_, _>>()?;
        call_resolved(name, arguments, text)
    }

    fn function(&self, call: &sqlparser::ast::Function, text: String) -> Result<Expression, QueryError> {
        let name = call.name.to_string().to_uppercase();
        if call.over.is_some() {
            return Err(QueryError::new(format!("{name} OVER cannot stand here"))
                .help("functions with OVER stand in the SELECT list, as a whole item"));
        }
        if super::aggregate::is_aggregate(&name) {
            return Err(QueryError::new(format!("the aggregate {name} cannot stand here"))
                .help("aggregates stand in SELECT and HAVING, not in WHERE, GROUP BY or another aggregate"));
        }
        let arguments = arguments(call)?;
        match (name.as_str(), arguments.as_slice()) {
            ("PROCTIME" | "CURRENT_TIMESTAMP" | "NOW" | "LOCALTIMESTAMP", []) => Ok(now(&text)),
            ("COALESCE" | "IFNULL" | "NVL", [_, ..]) => {
                let inner =
                    arguments.iter().map(|argument| self.resolve(argument)).collect::<Result<Vec<_>, _>>()?;
                let sql_type = common_type(inner.iter())?;
                let inner =
                    inner.into_iter().map(|inner| coerce(inner, sql_type)).collect::<Result<_, _>>()?;
                Ok(Expression { sql_type, node: Node::Coalesce(inner), text })
            }
            ("NULLIF", [left, right]) => {
                let (left, right) = (self.resolve(left)?, self.resolve(right)?);
                let is_equal = self.compare(ComparisonOp::Equal, left.clone(), right, text.clone())?;
                let sql_type = left.sql_type;
                let null = of_literal(Datum::Null, NULL.to_owned());
                let branches = vec![(is_equal, coerce(null, sql_type)?)];
                let case = Case { branches, otherwise: Some(left) };
                Ok(Expression { sql_type, node: Node::Case(Box::new(case)), text })
            }
            ("IF", [condition, yes, no]) => {
                let condition = self.of_type(condition, SqlType::Boolean)?;
                let (yes, no) = (self.resolve(yes)?, self.resolve(no)?);
                let sql_type = common_type([&yes, &no])?;
                let branches = vec![(condition, coerce(yes, sql_type)?)];
                let case = Case { branches, otherwise: Some(coerce(no, sql_type)?) };
                Ok(Expression { sql_type, node: Node::Case(Box::new(case)), text })
            }
            ("TIMESTAMPDIFF" | "TIMESTAMPADD", [Expr::Identifier(unit), rest @ ..]) => {
                let unit = time_unit(&unit.value)?;
                let function = match name.as_str() {
                    "TIMESTAMPDIFF" => function::timestamp_difference(unit),
                    _ => function::timestamp_add(unit),
                };
                if rest.len() != function.arguments.len() {
                    return Err(QueryError::new(format!("{name} has {} arguments", rest.len() + 1))
                        .help("write TIMESTAMPDIFF(SECOND, from, to) or TIMESTAMPADD(SECOND, count, time)"));
                }
                let arguments =
                    rest.iter().map(|argument| self.resolve(argument)).collect::<Result<_, _>>()?;
                apply(function, arguments, text)
            }
            _ => self.call(&name, &arguments.iter().collect::<Vec<_>>(), text),
        }
    }
}

/// The arguments of a call, all of them expressions.
///
/// # Errors
/// Named ones, `*`, and clauses that only other dialects have.
pub(super) fn arguments(call: &sqlparser::ast::Function) -> Result<Vec<Expr>, QueryError> {
    let list = match &call.args {
        FunctionArguments::None => return Ok(Vec::new()),
        FunctionArguments::Subquery(_) => {
            return Err(QueryError::new("a query as an argument is not supported"));
        }
        FunctionArguments::List(list) => list,
    };
    let argument = |argument: &FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Ok(expression.clone()),
        FunctionArg::Named { arg: FunctionArgExpr::Expr(expression), .. } => Ok(expression.clone()),
        other => Err(QueryError::new(format!("the argument {other} is not an expression"))),
    };
    list.args.iter().map(argument).collect()
}

fn is_now(name: &str) -> bool {
    ["CURRENT_TIMESTAMP", "LOCALTIMESTAMP"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

fn now(text: &str) -> Expression {
    Expression { sql_type: SqlType::Timestamp, node: Node::ProcessingTime, text: text.to_owned() }
}

fn boolean(node: Node, text: String) -> Expression {
    Expression { sql_type: SqlType::Boolean, node, text }
}

fn of_literal(datum: Datum, text: String) -> Expression {
    Expression { sql_type: datum.sql_type().unwrap_or(SqlType::String), node: Node::Literal(datum), text }
}

fn literal(value: &Value) -> Result<Expression, QueryError> {
    match value {
        Value::Number(text, _) => number(text),
        Value::SingleQuotedString(text) => {
            Ok(of_literal(Datum::String(text.as_str().into()), format!("'{text}'")))
        }
        Value::Boolean(value) => Ok(of_literal(Datum::Boolean(*value), value.to_string().to_uppercase())),
        Value::Null => Ok(of_literal(Datum::Null, NULL.to_owned())),
        other => Err(QueryError::new(format!("the literal {other} is not supported"))
            .help("there are numbers, 'text', TRUE, FALSE, NULL, TIMESTAMP '…' and INTERVAL '…' unit")),
    }
}

fn number(text: &str) -> Result<Expression, QueryError> {
    let datum = if let Ok(number) = text.parse::<i64>() {
        Datum::BigInt(number)
    } else if let Ok(number) = text.parse::<i128>() {
        Datum::Decimal(number)
    } else {
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Datum::Double(number),
            _ => return Err(QueryError::new(format!("the number {text} does not fit a DOUBLE"))),
        }
    };
    Ok(of_literal(datum, text.to_owned()))
}

fn typed_string(string: &TypedString) -> Result<Expression, QueryError> {
    let text = string.to_string();
    let to = sql_type(&string.data_type)?;
    match &string.value.value {
        Value::SingleQuotedString(value) => {
            let inner = of_literal(Datum::String(value.as_str().into()), format!("'{value}'"));
            fold(cast(inner, to, false, text)?)
        }
        other => Err(QueryError::new(format!("{other} is not a text"))),
    }
}

/// The type a name of SQL means.
///
/// # Errors
/// One there is not.
pub(super) fn sql_type(data_type: &DataType) -> Result<SqlType, QueryError> {
    Ok(match data_type {
        DataType::Boolean | DataType::Bool => SqlType::Boolean,
        DataType::TinyInt(_)
        | DataType::SmallInt(_)
        | DataType::Int(_)
        | DataType::Integer(_)
        | DataType::BigInt(_) => SqlType::BigInt,
        DataType::Float(_) | DataType::Real | DataType::Double(_) | DataType::DoublePrecision => {
            SqlType::Double
        }
        DataType::String(_)
        | DataType::Text
        | DataType::Varchar(_)
        | DataType::Char(_)
        | DataType::Character(_)
        | DataType::CharacterVarying(_) => SqlType::String,
        DataType::Timestamp(
            _,
            TimezoneInfo::None | TimezoneInfo::WithoutTimeZone | TimezoneInfo::WithTimeZone,
        )
        | DataType::Datetime(_) => SqlType::Timestamp,
        DataType::Bytes(_) | DataType::Binary(_) | DataType::Varbinary(_) => SqlType::Bytes,
        other if other.to_string().to_uppercase().starts_with("TIMESTAMP_LTZ") => SqlType::Timestamp,
        other => {
            return Err(QueryError::new(format!("the type {other} is not supported"))
                .help("there are BOOLEAN, INT, BIGINT, DOUBLE, STRING, TIMESTAMP(3) and BYTES"));
        }
    })
}

/// True for a NULL as it is written, which is of every type; one that was cast or computed has a type.
pub(super) fn is_untyped_null(expression: &Expression) -> bool {
    matches!(expression.node, Node::Literal(Datum::Null)) && expression.text == NULL
}

/// The type that values of `left` and `right` both are of, or become without loss.
fn common_of(left: SqlType, right: SqlType) -> Option<SqlType> {
    use SqlType::{BigInt, Decimal, Double};
    match (left, right) {
        _ if left == right => Some(left),
        (BigInt, Decimal) | (Decimal, BigInt) => Some(Decimal),
        (BigInt | Decimal, Double) | (Double, BigInt | Decimal) => Some(Double),
        _ => None,
    }
}

/// The type of all of them.
fn common_type<'a>(expressions: impl IntoIterator<Item = &'a Expression>) -> Result<SqlType, QueryError> {
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

fn mismatch(left: SqlType, right: SqlType) -> QueryError {
    QueryError::new(format!("{left} and {right} do not go together"))
        .help(format!("make one of the other with CAST(… AS {left}) or CAST(… AS {right})"))
}

/// Both sides as one type. A text literal beside an instant is read as one.
fn common(left: Expression, right: Expression) -> Result<(Expression, Expression), QueryError> {
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

fn cast(inner: Expression, to: SqlType, is_try: bool, text: String) -> Result<Expression, QueryError> {
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
fn as_text(expression: Expression) -> Result<Expression, QueryError> {
    let text = expression.text.clone();
    cast(expression, SqlType::String, false, text)
}

fn arithmetic(
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

fn time_unit(name: &str) -> Result<TimeUnit, QueryError> {
    TimeUnit::parse(name).ok_or_else(|| {
        QueryError::new(format!("{name} is not a unit of time"))
            .help("there are MILLISECOND, SECOND, MINUTE, HOUR, DAY, WEEK, MONTH, QUARTER and YEAR")
    })
}

fn call_resolved(name: &str, arguments: Vec<Expression>, text: String) -> Result<Expression, QueryError> {
    let types: Vec<Option<SqlType>> =
        arguments.iter().map(|argument| (!is_untyped_null(argument)).then_some(argument.sql_type)).collect();
    let refused =
        |message| QueryError::new(message).help("tidegate functions lists the functions with their forms");
    let function = function::resolve(name, &types).map_err(refused)?;
    apply(function, arguments, text)
}

fn apply(
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
    let arguments = arguments
        .into_iter()
        .zip(&function.arguments)
        .map(|(argument, to)| coerce(argument, *to))
        .collect::<Result<_, _>>()?;
    Ok(Expression { sql_type: function.returns, node: Node::Function(function, arguments), text })
}

/// Computes what consists of literals only.
fn fold(expression: Expression) -> Result<Expression, QueryError> {
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
