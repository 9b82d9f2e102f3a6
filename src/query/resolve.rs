//! From the parser's expressions to typed ones: names become columns, functions kernels, and casts go where types differ.

use sqlparser::ast::{
    BinaryOperator, CastKind, CeilFloorKind, DateTimeField, Expr, FunctionArg, FunctionArgExpr,
    FunctionArguments, Spanned, TrimWhereField, UnaryOperator, Value,
};

use super::datum::Datum;
use super::error::{QueryError, SqlText};
use super::expression::{Case, Expression, Node};
use super::field::{Field, TimeAttribute, find};
use super::function::arithmetic::{ArithmeticOp, negation};
use super::function::comparison::{ComparisonOp, comparison};
use super::function::{self, LikePattern};
use super::interval;
use super::literal::{NULL, literal, number, of_literal, sql_type, typed_string};
use super::sql_type::SqlType;
use super::typed::{
    apply, arithmetic, as_text, boolean, call_resolved, cast, coerce, common, common_type, fold, now,
    time_unit,
};

/// Elements an `IN (…)` may list.
const IN_LIST_MAX: usize = 1_024;

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
            Expr::RLike { negated, expr, pattern, .. } => {
                let found = self.call("REGEXP", &[expr, pattern], text.clone())?;
                Ok(if *negated { boolean(Node::Not(Box::new(found)), text) } else { found })
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
