//! The calls of a keyed step, found while the SELECT list is resolved: each becomes a column behind the step.

use std::cell::RefCell;

use sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Spanned,
    WindowFrameBound, WindowFrameUnits, WindowSpec, WindowType,
};

use super::aggregate::{Aggregate, is_aggregate, literal_count};
use super::datum::Datum;
use super::error::{QueryError, SqlText};
use super::expression::{Case, Expression, Node};
use super::field::{Field, TimeAttribute, field_of};
use super::plan::{AggregateCall, Calc, OverCall, OverFunction, WINDOW_COLUMNS, Window};
use super::planner::window_column;
use super::resolve::{Bindings, NoBindings, Scope, arguments};
use super::sql_type::SqlType;
use super::typed::{coerce, is_untyped_null};

/// Calls a query may have.
const CALLS_MAX: usize = 64;
/// Rows a function with OVER may look back.
const ROWS_BACK_MAX: i64 = 1_000;
/// Where the numbers of the results of OVER begin until it is known how many columns stand before them.
const RESULTS_FROM: usize = 1 << 20;

/// The columns that are computed before a keyed step.
pub(super) struct Prepared {
    columns: Vec<Expression>,
}

impl Prepared {
    pub(super) fn of(columns: impl Iterator<Item = Expression>) -> Self {
        Self { columns: columns.collect() }
    }

    /// The number of the column that `expression` is computed in.
    fn column(&mut self, expression: Expression) -> usize {
        let is_same =
            |column: &Expression| column.text == expression.text && column.sql_type == expression.sql_type;
        match self.columns.iter().position(is_same) {
            Some(at) => at,
            None => {
                self.columns.push(expression);
                self.columns.len() - 1
            }
        }
    }

    /// The numbers of the columns that the fields of the input are passed on in.
    pub(super) fn columns_of(&mut self, fields: &[Field]) -> Vec<usize> {
        let pass = |(at, field): (usize, &Field)| Expression::column(at, field.sql_type, &field.name);
        fields.iter().enumerate().map(|field| self.column(pass(field))).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.columns.len()
    }

    pub(super) fn sql_type(&self, column: usize) -> SqlType {
        self.columns[column].sql_type
    }

    pub(super) fn text(&self, column: usize) -> String {
        self.columns[column].text.clone()
    }

    pub(super) fn into_calc(self, filter: Option<Expression>) -> Calc {
        let names = self.columns.iter().map(|column| column.text.clone()).collect();
        Calc { filter, project: self.columns, names }
    }
}

/// What an expression can name behind an aggregation: group keys, the window, aggregates.
pub(super) struct AfterAggregate<'a> {
    text: SqlText<'a>,
    fields: &'a [Field],
    keys: &'a [(Expr, Expression)],
    window: Option<Window>,
    prepared: &'a RefCell<Prepared>,
    calls: RefCell<Vec<AggregateCall>>,
}

impl<'a> AfterAggregate<'a> {
    pub(super) fn new(
        text: SqlText<'a>,
        fields: &'a [Field],
        keys: &'a [(Expr, Expression)],
        window: Option<Window>,
        prepared: &'a RefCell<Prepared>,
    ) -> Self {
        Self { text, fields, keys, window, prepared, calls: RefCell::default() }
    }

    pub(super) fn into_calls(self) -> Vec<AggregateCall> {
        self.calls.into_inner()
    }

    fn scope(&self) -> Scope<'_> {
        Scope { text: self.text, fields: self.fields, bindings: &NoBindings }
    }

    fn window_column_count(&self) -> usize {
        self.window.map_or(0, |window| window.kind.column_count())
    }

    /// The column of the window that `expression` names.
    fn window_column(&self, expression: &Expr) -> Option<Expression> {
        let at = match expression {
            Expr::Function(call) => {
                let name = call.name.to_string().to_uppercase();
                let name = ["TUMBLE_", "HOP_", "SESSION_"].iter().find_map(|kind| name.strip_prefix(kind))?;
                match name {
                    "START" => 0,
                    "END" => 1,
                    "ROWTIME" | "PROCTIME" => 2,
                    _ => return None,
                }
            }
            other => window_column(other)?,
        };
        let column = Expression::column(self.keys.len() + at, SqlType::Timestamp, WINDOW_COLUMNS[at]);
        (at < self.window_column_count()).then_some(column)
    }

    fn aggregate(&self, call: &Function, name: &str) -> Result<Expression, QueryError> {
        let (is_distinct, arguments) = aggregate_arguments(call)?;
        let scope = self.scope();
        let resolved =
            arguments.iter().map(|argument| scope.resolve(argument)).collect::<Result<Vec<_>, _>>()?;
        let (aggregate, resolved) = resolve_aggregate(name, resolved, is_distinct)?;
        let filter = match &call.filter {
            None => None,
            Some(filter) => Some(scope.of_type(filter, SqlType::Boolean)?),
        };
        let text = call.to_string();
        let mut calls = self.calls.borrow_mut();
        let first = self.keys.len() + self.window_column_count();
        let returns = aggregate.returns();
        if let Some(at) = calls.iter().position(|before| before.text == text) {
            return Ok(Expression::column(first + at, returns, &text));
        }
        if calls.len() == CALLS_MAX {
            return Err(QueryError::new(format!("there are more than {CALLS_MAX} aggregates")));
        }
        let mut prepared = self.prepared.borrow_mut();
        let arguments = resolved.into_iter().map(|argument| prepared.column(argument)).collect();
        let filter = filter.map(|filter| prepared.column(filter));
        calls.push(AggregateCall { aggregate, arguments, filter, text: text.clone() });
        Ok(Expression::column(first + calls.len() - 1, returns, &text))
    }
}

impl Bindings for AfterAggregate<'_> {
    fn bind(&self, expression: &Expr) -> Result<Option<Expression>, QueryError> {
        if let Some(column) = self.window_column(expression) {
            return Ok(Some(column));
        }
        let place = self.text.range(expression.span());
        let named = field_of(expression, self.fields);
        let is_key = |(key, resolved): &(Expr, Expression)| match &named {
            Some(Ok(field)) => resolved.as_column() == Some(*field),
            _ => key.to_string() == expression.to_string(),
        };
        if let Some(at) = self.keys.iter().position(is_key) {
            let key = &self.keys[at].1;
            return Ok(Some(Expression::column(at, key.sql_type, &key.text)));
        }
        if let Some(found) = named {
            found.map_err(|error| error.at(place.clone()))?;
            return Err(QueryError::new(format!(
                "{expression} is neither in GROUP BY nor inside an aggregate"
            ))
            .at(place)
            .help(format!("add it to GROUP BY, or write MAX({expression}) or LAST_VALUE({expression})")));
        }
        let Expr::Function(call) = expression else { return Ok(None) };
        let name = call.name.to_string().to_uppercase();
        let is_window = ["_START", "_END", "_ROWTIME"].iter().any(|part| name.ends_with(part))
            && ["TUMBLE", "HOP", "SESSION"].iter().any(|kind| name.starts_with(kind));
        if is_window {
            return Err(QueryError::new(format!("{name} needs a window in GROUP BY")).at(place));
        }
        if call.over.is_some() || !is_aggregate(&name) {
            return Ok(None);
        }
        self.aggregate(call, &name).map(Some).map_err(|error| match error.span {
            Some(_) => error,
            None => error.at(place),
        })
    }
}

/// The aggregate, with its arguments as it takes them: literals that are its parameters are taken out.
fn resolve_aggregate(
    name: &str,
    arguments: Vec<Expression>,
    is_distinct: bool,
) -> Result<(Aggregate, Vec<Expression>), QueryError> {
    let mut arguments = arguments;
    let parameters = arguments.split_off(arguments.len() - literal_count(name, arguments.len()));
    let literal = |parameter: &Expression| match &parameter.node {
        Node::Literal(datum) => Ok(datum.clone()),
        _ => Err(QueryError::new(format!("{name} asks for a literal where {} is", parameter.text))
            .help("write it out, as in APPROX_PERCENTILE(x, 0.95) and LISTAGG(x, ';')")),
    };
    let parameters = parameters.iter().map(literal).collect::<Result<Vec<_>, _>>()?;
    let types: Vec<Option<SqlType>> =
        arguments.iter().map(|argument| (!is_untyped_null(argument)).then_some(argument.sql_type)).collect();
    let refused =
        |message| QueryError::new(message).help("tidegate functions lists the aggregates with their forms");
    let aggregate = Aggregate::resolve(name, &types, is_distinct, &parameters).map_err(refused)?;
    let arguments = arguments
        .into_iter()
        .zip(aggregate.argument_types())
        .map(|(argument, to)| coerce(argument, *to))
        .collect::<Result<_, _>>()?;
    Ok((aggregate, arguments))
}

/// Whether an aggregate is of distinct values, and its arguments; `*` is none.
fn aggregate_arguments(call: &Function) -> Result<(bool, Vec<Expr>), QueryError> {
    let FunctionArguments::List(list) = &call.args else { return Ok((false, Vec::new())) };
    if !call.within_group.is_empty() {
        return Err(QueryError::new("WITHIN GROUP is not supported").help("write APPROX_PERCENTILE(x, 0.95)"));
    }
    let is_distinct = list.duplicate_treatment == Some(DuplicateTreatment::Distinct);
    match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)] => Ok((is_distinct, Vec::new())),
        _ => arguments(call).map(|arguments| (is_distinct, arguments)),
    }
}

/// What an expression can name beside functions with OVER: the input's columns, and the functions' results.
pub(super) struct AfterOver<'a> {
    text: SqlText<'a>,
    fields: &'a [Field],
    prepared: &'a RefCell<Prepared>,
    found: RefCell<FoundOver>,
}

#[derive(Default)]
struct FoundOver {
    /// PARTITION BY as text, and its columns.
    keys: Option<(String, Vec<usize>)>,
    calls: Vec<OverCall>,
}

impl<'a> AfterOver<'a> {
    pub(super) fn new(text: SqlText<'a>, fields: &'a [Field], prepared: &'a RefCell<Prepared>) -> Self {
        Self { text, fields, prepared, found: RefCell::default() }
    }

    /// The columns of the key, and the calls.
    pub(super) fn into_parts(self) -> (Vec<usize>, Vec<OverCall>) {
        let found = self.found.into_inner();
        (found.keys.map(|(_, keys)| keys).unwrap_or_default(), found.calls)
    }

    /// Gives the results their numbers behind `width` columns.
    pub(super) fn shift_results(expression: &mut Expression, width: usize) {
        visit_columns(expression, &mut |column| {
            if *column >= RESULTS_FROM {
                *column = *column - RESULTS_FROM + width;
            }
        });
    }

    fn scope(&self) -> Scope<'_> {
        Scope { text: self.text, fields: self.fields, bindings: &NoBindings }
    }

    fn call(&self, call: &Function, spec: &WindowSpec) -> Result<Expression, QueryError> {
        let name = call.name.to_string().to_uppercase();
        self.partition(spec)?;
        let order = self.order(spec)?;
        let (function, sql_type) = match name.as_str() {
            "LAG" => self.lag(call)?,
            "ROW_NUMBER" => match order {
                Some(time) => (OverFunction::IsNewest { time }, SqlType::BigInt),
                None => (OverFunction::RowNumber, SqlType::BigInt),
            },
            _ if order.is_some() => {
                return Err(QueryError::new(format!("{name} OVER goes by ascending time"))
                    .help("leave DESC out; only ROW_NUMBER() takes it, to keep the newest row of a key"));
            }
            name if is_aggregate(name) => self.running(call, name, spec)?,
            _ => {
                return Err(QueryError::new(format!("{name} OVER is not supported"))
                    .help("there are LAG, ROW_NUMBER and the aggregates"));
            }
        };
        let text = call.to_string();
        let mut found = self.found.borrow_mut();
        let at = match found.calls.iter().position(|before| before.text == text) {
            Some(at) => at,
            None if found.calls.len() == CALLS_MAX => {
                return Err(QueryError::new(format!("there are more than {CALLS_MAX} functions with OVER")));
            }
            None => {
                found.calls.push(OverCall { function, sql_type, text: text.clone() });
                found.calls.len() - 1
            }
        };
        Ok(Expression::column(RESULTS_FROM + at, sql_type, &text))
    }

    fn partition(&self, spec: &WindowSpec) -> Result<(), QueryError> {
        let text: Vec<String> = spec.partition_by.iter().map(ToString::to_string).collect();
        let text = text.join(", ");
        let scope = self.scope();
        let keys = spec.partition_by.iter().map(|key| scope.resolve(key)).collect::<Result<Vec<_>, _>>()?;
        let mut found = self.found.borrow_mut();
        match &found.keys {
            Some((before, _)) if *before == text => Ok(()),
            Some((before, _)) => Err(QueryError::new(format!(
                "PARTITION BY {text} beside PARTITION BY {before}"
            ))
            .help("all functions with OVER of a SELECT have one key; put the other into a query of its own")),
            None => {
                let mut prepared = self.prepared.borrow_mut();
                found.keys = Some((text, keys.into_iter().map(|key| prepared.column(key)).collect()));
                Ok(())
            }
        }
    }

    /// The column of a descending order; none where it ascends.
    fn order(&self, spec: &WindowSpec) -> Result<Option<usize>, QueryError> {
        let help = "rows are taken in the order they come; ORDER BY names event time or processing time";
        let order = match spec.order_by.as_slice() {
            [] => return Ok(None),
            [order] => order,
            [_, second, ..] => {
                return Err(QueryError::new("ORDER BY has two columns")
                    .at(self.text.range(second.span()))
                    .help(help));
            }
        };
        let place = self.text.range(order.expr.span());
        let is_time = match field_of(&order.expr, self.fields) {
            Some(field) => {
                self.fields[field.map_err(|error| error.at(place.clone()))?].time != TimeAttribute::None
            }
            None => order.expr.to_string().eq_ignore_ascii_case("PROCTIME()"),
        };
        if !is_time {
            return Err(QueryError::new(format!("{} is neither event time nor processing time", order.expr))
                .at(place)
                .help(help));
        }
        let is_descending = matches!(order.options.sort, Some(sqlparser::ast::OrderBySort::Desc));
        if !is_descending {
            return Ok(None);
        }
        let time = self.scope().resolve(&order.expr)?;
        Ok(Some(self.prepared.borrow_mut().column(time)))
    }

    fn lag(&self, call: &Function) -> Result<(OverFunction, SqlType), QueryError> {
        let forms = "LAG(x), LAG(x, rows) or LAG(x, rows, default)";
        let arguments = arguments(call)?;
        let scope = self.scope();
        let (value, rest) = match arguments.as_slice() {
            [value, rest @ ..] if rest.len() <= 2 => (scope.resolve(value)?, rest),
            _ => return Err(QueryError::new("LAG has other arguments").help(forms)),
        };
        let rows = match rest.first().map(|rows| scope.resolve(rows)).transpose()?.map(|rows| rows.node) {
            None => 1,
            Some(Node::Literal(Datum::BigInt(rows))) if (1..=ROWS_BACK_MAX).contains(&rows) => rows as usize,
            Some(_) => {
                return Err(QueryError::new(format!(
                    "LAG goes back a constant number of rows, 1 to {ROWS_BACK_MAX}"
                ))
                .help(forms));
            }
        };
        let sql_type = value.sql_type;
        let default = rest.get(1).map(|default| scope.of_type(default, sql_type)).transpose()?;
        let mut prepared = self.prepared.borrow_mut();
        let argument = prepared.column(value);
        let default = default.map(|default| prepared.column(default));
        Ok((OverFunction::Lag { argument, rows, default }, sql_type))
    }

    fn running(
        &self,
        call: &Function,
        name: &str,
        spec: &WindowSpec,
    ) -> Result<(OverFunction, SqlType), QueryError> {
        let (is_distinct, arguments) = aggregate_arguments(call)?;
        let scope = self.scope();
        let resolved =
            arguments.iter().map(|argument| scope.resolve(argument)).collect::<Result<Vec<_>, _>>()?;
        let (aggregate, resolved) = resolve_aggregate(name, resolved, is_distinct)?;
        let rows = match &spec.window_frame {
            None => None,
            Some(frame) => frame_rows(frame)?,
        };
        let mut prepared = self.prepared.borrow_mut();
        let arguments = resolved.into_iter().map(|argument| prepared.column(argument)).collect();
        let sql_type = aggregate.returns();
        Ok((OverFunction::Running { aggregate, arguments, rows }, sql_type))
    }
}

/// Rows of a frame that ends at the current one; none where it begins with the first.
fn frame_rows(frame: &sqlparser::ast::WindowFrame) -> Result<Option<usize>, QueryError> {
    let is_current = matches!(frame.end_bound, None | Some(WindowFrameBound::CurrentRow));
    match &frame.start_bound {
        WindowFrameBound::Preceding(None) if is_current => Ok(None),
        WindowFrameBound::Preceding(Some(rows)) if is_current && frame.units == WindowFrameUnits::Rows => {
            match rows.to_string().parse::<i64>() {
                Ok(rows) if (0..ROWS_BACK_MAX).contains(&rows) => Ok(Some(rows as usize + 1)),
                _ => Err(QueryError::new(format!(
                    "the frame goes back {rows} rows; it can go back 0 to {}",
                    ROWS_BACK_MAX - 1
                ))),
            }
        }
        _ => Err(QueryError::new("this frame is not supported")
            .help("there are ROWS BETWEEN n PRECEDING AND CURRENT ROW and UNBOUNDED PRECEDING")),
    }
}

impl Bindings for AfterOver<'_> {
    fn bind(&self, expression: &Expr) -> Result<Option<Expression>, QueryError> {
        let Expr::Function(call) = expression else { return Ok(None) };
        let place = |error: QueryError| match error.span {
            Some(_) => error,
            None => error.at(self.text.range(expression.span())),
        };
        match &call.over {
            None => Ok(None),
            Some(WindowType::WindowSpec(spec)) => self.call(call, spec).map(Some).map_err(place),
            Some(WindowType::NamedWindow(_)) => Err(place(
                QueryError::new("named windows are not supported").help("write the OVER clause out"),
            )),
        }
    }
}

/// Calls `visit` with every column number in `expression`.
fn visit_columns(expression: &mut Expression, visit: &mut impl FnMut(&mut usize)) {
    match &mut expression.node {
        Node::Column(column) => visit(column),
        Node::Literal(_) | Node::ProcessingTime => {}
        Node::Binary(_, sides) | Node::And(sides) | Node::Or(sides) | Node::Like(sides, _) => {
            sides.iter_mut().for_each(|side| visit_columns(side, visit));
        }
        Node::Not(inner)
        | Node::IsNull(inner, _)
        | Node::IsBoolean(inner, ..)
        | Node::Cast(_, _, inner)
        | Node::LikePattern(inner, _)
        | Node::Unary(_, inner) => {
            visit_columns(inner, visit);
        }
        Node::Coalesce(inner) | Node::Function(_, inner) => {
            inner.iter_mut().for_each(|inner| visit_columns(inner, visit));
        }
        Node::Case(case) => {
            let Case { branches, otherwise } = case.as_mut();
            for (condition, result) in branches {
                visit_columns(condition, visit);
                visit_columns(result, visit);
            }
            otherwise.iter_mut().for_each(|otherwise| visit_columns(otherwise, visit));
        }
    }
}
