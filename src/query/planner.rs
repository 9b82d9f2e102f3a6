//! The planner: a parsed SELECT to a plan.
//!
//! One SELECT becomes at most three steps: what is computed before, the keyed step, what is computed behind. A SELECT in FROM puts
//! its steps before.

use std::cell::RefCell;

use sqlparser::ast::{
    Expr, Function, GroupByExpr, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, Spanned,
    TableAlias, TableFactor,
};

use super::error::{QueryError, SqlText, nearest};
use super::expression::{Expression, Node};
use super::field::{Field, TimeAttribute};
use super::group_window::{self, GroupWindow};
use super::plan::{
    AggregateStep, Calc, Input, OverStep, Pipeline, QueryPlan, Step, WINDOW_COLUMNS, WatermarkPer, Window,
};
use super::planned_calls::{AfterAggregate, AfterOver, Prepared};
use super::resolve::{NoBindings, Scope};
use super::sql_type::SqlType;
use super::text;
use super::unsupported::{clause_of_query, clause_of_select};
use super::uses::Uses;

/// Columns a query may give.
const COLUMNS_MAX: usize = 256;
/// SELECTs that may be nested in FROM.
const DEPTH_MAX: usize = 8;

/// What a query can read.
#[derive(Debug, Clone)]
pub(crate) struct Relation {
    pub(crate) name: String,
    /// None of a query that was refused.
    pub(crate) fields: Option<Vec<Field>>,
    /// Its rows are, or come from, results of windows of event time.
    pub(crate) is_windowed: bool,
}

/// Plans the query `name`, which is the text `sql`.
///
/// # Errors
/// What is wrong with it, and where.
pub(crate) fn plan(
    name: &str,
    sql: &str,
    relations: &[Relation],
    options: PlanOptions,
) -> Result<QueryPlan, QueryError> {
    let query = text::parse_query(sql)?;
    let planner = Planner { text: SqlText(sql), relations, options };
    let planned = planner.query(&query, 0)?;
    let has_event_window = planned.pipeline.has_step(is_event_window);
    if options.lateness_ms > 0 && !has_event_window {
        return Err(QueryError::new("there is no window of event time that rows could be late for")
            .help("leave out allowed-lateness and what reads the late rows, or group by a window"));
    }
    if options.watermark_per == WatermarkPer::KeyGroup && !has_event_window {
        return Err(QueryError::new("there is no window of event time that a key group could close")
            .help("leave out watermark-per, or group by a window"));
    }
    let named = |fields: Vec<Field>| {
        fields.into_iter().map(|field| Field { relation: name.to_owned(), ..field }).collect()
    };
    Ok(QueryPlan {
        name: name.to_owned(),
        pipeline: planned.pipeline,
        is_windowed: planned.is_windowed,
        fields: named(planned.fields),
        late_fields: named(planned.late_fields),
    })
}

fn is_event_window(step: &Step) -> bool {
    matches!(step, Step::Aggregate(AggregateStep { window: Some(Window { is_event_time: true, .. }), .. }))
}

/// What a query is told besides its text.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PlanOptions {
    /// How long behind its end a window still takes rows, in milliseconds.
    pub(crate) lateness_ms: i64,
    /// Somebody reads the rows that come later.
    pub(crate) keeps_late: bool,
    /// Whose rows close a window.
    pub(crate) watermark_per: WatermarkPer,
}

pub(super) struct Planner<'a> {
    pub(super) text: SqlText<'a>,
    relations: &'a [Relation],
    options: PlanOptions,
}

/// What a relation comes from.
pub(super) struct Planned {
    pub(super) pipeline: Pipeline,
    pub(super) fields: Vec<Field>,
    pub(super) late_fields: Vec<Field>,
    /// The window of a window function in FROM.
    pub(super) window: Option<GroupWindow>,
    /// Its rows are, or come from, results of windows of event time.
    pub(super) is_windowed: bool,
}

impl Planned {
    /// What comes of it behind further steps, with these columns.
    fn then(self, steps: impl IntoIterator<Item = Step>, fields: Vec<Field>) -> Self {
        let mut pipeline = self.pipeline;
        pipeline.steps.extend(steps);
        Self { pipeline, fields, late_fields: Vec::new(), window: None, is_windowed: self.is_windowed }
    }
}

impl Planner<'_> {
    fn at(&self, node: &impl Spanned, error: QueryError) -> QueryError {
        match error.span {
            Some(_) => error,
            None => error.at(self.text.range(node.span())),
        }
    }

    pub(super) fn refuse(&self, node: &impl Spanned, message: impl Into<String>, help: &str) -> QueryError {
        QueryError::new(message).at(self.text.range(node.span())).help(help)
    }

    pub(super) fn query(&self, query: &Query, depth: usize) -> Result<Planned, QueryError> {
        if depth > DEPTH_MAX {
            return Err(QueryError::new(format!("more than {DEPTH_MAX} SELECTs are nested")));
        }
        if let Some((span, clause, help)) = clause_of_query(query) {
            let error = QueryError::new(format!("{clause} is not supported"));
            return Err(error.at(self.text.range(span)).help(help));
        }
        self.set(&query.body, depth)
    }

    fn from(&self, select: &Select, depth: usize) -> Result<Planned, QueryError> {
        let help = "a query reads one source or query; joins are not there yet";
        let table = match select.from.as_slice() {
            [table] => table,
            [] => return Err(self.refuse(select, "there is no FROM", "name the source or query to read")),
            [_, second, ..] => {
                return Err(self.refuse(second, "there is more than one relation in FROM", help));
            }
        };
        if let Some(join) = table.joins.first() {
            return Err(self.refuse(join, "JOIN is not supported", help));
        }
        match &table.relation {
            TableFactor::Table { name, alias, args: None, .. } => {
                self.named(&name.to_string(), alias.as_ref()).map_err(|error| self.at(name, error))
            }
            TableFactor::Derived { subquery, alias, .. } => {
                let mut planned = self.query(subquery, depth + 1)?;
                let name = alias.as_ref().map_or("", |alias| alias.name.value.as_str());
                planned.fields.iter_mut().for_each(|field| name.clone_into(&mut field.relation));
                Ok(planned)
            }
            TableFactor::TableFunction { expr: Expr::Function(call), alias } => self.window_function(call, alias.as_ref()),
            other => Err(self.refuse(other, format!("FROM {other} is not supported"),
                "name a source or query, a SELECT in parentheses, or TABLE(TUMBLE(TABLE name, DESCRIPTOR(time), INTERVAL …))")),
        }
    }

    fn named(&self, name: &str, alias: Option<&TableAlias>) -> Result<Planned, QueryError> {
        let name = name.trim_matches(['`', '"']);
        let Some(relation) = self.relations.iter().find(|relation| relation.name == name) else {
            let known = || self.relations.iter().map(|relation| relation.name.as_str());
            let error = QueryError::new(format!("there is no source or query {name}"));
            return Err(match nearest(name, known()) {
                Some(near) => error.help(format!("did you mean {near}?")),
                None => error.help(format!(
                    "there are {}; a query reads those that stand before it in the file",
                    known().collect::<Vec<_>>().join(", ")
                )),
            });
        };
        let mut fields = relation.fields.clone().ok_or_else(QueryError::consequence)?;
        if let Some(alias) = alias {
            fields.iter_mut().for_each(|field| alias.name.value.clone_into(&mut field.relation));
        }
        let pipeline = Pipeline { input: Input::Relation(relation.name.clone()), steps: Vec::new() };
        let is_windowed = relation.is_windowed;
        Ok(Planned { pipeline, fields, late_fields: Vec::new(), window: None, is_windowed })
    }

    fn window_function(&self, call: &Function, alias: Option<&TableAlias>) -> Result<Planned, QueryError> {
        let name = call.name.to_string().to_uppercase();
        let arguments = super::resolve::arguments(call).map_err(|error| self.at(call, error))?;
        let [relation, rest @ ..] = arguments.as_slice() else {
            return Err(self.refuse(call, format!("{name} names no relation"), group_window::FORMS));
        };
        let mut planned =
            self.named(&relation.to_string(), alias).map_err(|error| self.at(relation, error))?;
        let scope = Scope { text: self.text, fields: &planned.fields, bindings: &NoBindings };
        let window =
            group_window::of_table_function(&name, rest, &scope).map_err(|error| self.at(call, error))?;
        planned.window = Some(window);
        Ok(planned)
    }

    pub(super) fn select(&self, select: &Select, depth: usize) -> Result<Planned, QueryError> {
        if let Some((clause, help)) = clause_of_select(select) {
            return Err(self.refuse(select, format!("{clause} is not supported"), help));
        }
        let from = self.from(select, depth)?;
        let scope = Scope { text: self.text, fields: &from.fields, bindings: &NoBindings };
        let filter = match &select.selection {
            None => None,
            Some(filter) => Some(scope.of_type(filter, SqlType::Boolean)?),
        };
        let groups = match &select.group_by {
            GroupByExpr::Expressions(groups, modifiers) if modifiers.is_empty() => groups.as_slice(),
            other => {
                return Err(self.refuse(
                    other,
                    format!("{other} is not supported"),
                    "list the keys: GROUP BY a, b",
                ));
            }
        };
        let uses = Self::uses(select);
        if !groups.is_empty() || uses.has_aggregate || select.having.is_some() {
            if uses.has_over {
                return Err(self.refuse(
                    select,
                    "aggregates by group and functions with OVER do not go together",
                    "put one of them into a query of its own",
                ));
            }
            return self.aggregate(select, groups, from, filter);
        }
        if from.window.is_some() {
            return Err(self.refuse(
                select,
                "a window function needs a GROUP BY",
                "group by window_start, window_end and the key",
            ));
        }
        if uses.has_over {
            return self.over(select, from, filter);
        }
        let (project, names) = self.items(select, &scope, &from.fields)?;
        let fields = given(&project, &names, &from.fields);
        Ok(from.then([Step::Calc(Calc { filter, project, names })], fields))
    }

    /// Which kinds of functions the SELECT list and HAVING use.
    fn uses(select: &Select) -> Uses {
        let items = select.projection.iter().filter_map(|item| match item {
            SelectItem::UnnamedExpr(expression) | SelectItem::ExprWithAlias { expr: expression, .. } => {
                Some(expression)
            }
            _ => None,
        });
        items
            .chain(&select.having)
            .fold(Uses::default(), |uses, expression| uses.and(Uses::of(&expression.to_string())))
    }

    /// The items of the SELECT list, with their names.
    fn items(
        &self,
        select: &Select,
        scope: &Scope<'_>,
        all: &[Field],
    ) -> Result<(Vec<Expression>, Vec<String>), QueryError> {
        let mut items: Vec<(Expression, String)> = Vec::new();
        for item in &select.projection {
            match item {
                SelectItem::UnnamedExpr(expression) => {
                    let resolved = scope.resolve(expression)?;
                    let name = match expression {
                        Expr::Identifier(name) => name.value.clone(),
                        Expr::CompoundIdentifier(parts) => {
                            parts.last().map(|name| name.value.clone()).unwrap_or_default()
                        }
                        _ => format!("EXPR${}", items.len()),
                    };
                    items.push((resolved, name));
                }
                SelectItem::ExprWithAlias { expr, alias } => {
                    items.push((scope.resolve(expr)?, alias.value.clone()))
                }
                SelectItem::Wildcard(_) => items.extend(wildcard(all, None)),
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                    let name = name.to_string();
                    let columns: Vec<_> = wildcard(all, Some(&name)).collect();
                    if columns.is_empty() {
                        return Err(self.refuse(
                            item,
                            format!("there is no relation {name} here"),
                            "write * alone",
                        ));
                    }
                    items.extend(columns);
                }
                other => {
                    return Err(self.refuse(other, format!("{other} is not supported"), "name the columns"));
                }
            }
            let (_, name) =
                items.last().ok_or_else(|| self.refuse(item, "there are no columns", "name some"))?;
            if items[..items.len() - 1].iter().any(|(_, other)| other == name) {
                return Err(self.refuse(
                    item,
                    format!("there are two columns {name}"),
                    "give one another name with AS",
                ));
            }
        }
        if items.len() > COLUMNS_MAX {
            return Err(self.refuse(
                select,
                format!("there are more than {COLUMNS_MAX} columns"),
                "name fewer",
            ));
        }
        Ok(items.into_iter().unzip())
    }

    fn aggregate(
        &self,
        select: &Select,
        groups: &[Expr],
        from: Planned,
        filter: Option<Expression>,
    ) -> Result<Planned, QueryError> {
        let scope = Scope { text: self.text, fields: &from.fields, bindings: &NoBindings };
        let mut keys: Vec<(Expr, Expression)> = Vec::new();
        let (mut window, mut has_window_bounds) = (None, (false, false));
        for group in groups {
            if from.window.is_some()
                && let Some(at) = window_column(group)
            {
                has_window_bounds = (has_window_bounds.0 || at == 0, has_window_bounds.1 || at == 1);
            } else if let Some(found) =
                group_window::of_group(group, &scope).map_err(|error| self.at(group, error))?
            {
                if window.is_some() || from.window.is_some() {
                    return Err(self.refuse(
                        group,
                        "there is a second window",
                        "a query groups by one window",
                    ));
                }
                window = Some(found);
            } else {
                keys.push((group.clone(), scope.resolve(group)?));
            }
        }
        if from.window.is_some() && has_window_bounds != (true, true) {
            return Err(self.refuse(
                select,
                "the GROUP BY does not hold window_start and window_end",
                "add both to the GROUP BY: then each window is a group",
            ));
        }
        let window = window.or(from.window).map(|window| self.window(window));
        let is_event_window = window.is_some_and(|window| window.is_event_time);
        let is_by_group = is_event_window && self.options.watermark_per == WatermarkPer::KeyGroup;
        if is_by_group && from.is_windowed {
            return Err(self.refuse(
                select,
                "these rows are results of windows, whose key groups have no event time of their own",
                "leave out watermark-per here; give it to the query that groups the readings",
            ));
        }
        let key_types: Vec<SqlType> = keys.iter().map(|(_, key)| key.sql_type).collect();
        let key_texts: Vec<String> = keys.iter().map(|(_, key)| key.text.clone()).collect();
        let prepared = RefCell::new(Prepared::of(keys.iter().map(|(_, key)| key.clone())));
        let after = AfterAggregate::new(self.text, &from.fields, &keys, window, &prepared);
        let bound = Scope { text: self.text, fields: &[], bindings: &after };
        let (project, names) = self.items(select, &bound, &[])?;
        let having = match &select.having {
            None => None,
            Some(having) => Some(bound.of_type(having, SqlType::Boolean)?),
        };
        let calls = after.into_calls();
        let mut given_fields: Vec<Field> =
            keys.iter().map(|(_, key)| Field::new("", &key.text, key.sql_type)).collect();
        for name in WINDOW_COLUMNS.iter().take(window.map_or(0, |window| window.kind.column_count())) {
            let mut field = Field::new("", name, SqlType::Timestamp);
            // Of key groups there is no one watermark that what reads the results could go by.
            if *name == WINDOW_COLUMNS[2] && is_event_window && !is_by_group {
                field.time = TimeAttribute::Event;
            }
            given_fields.push(field);
        }
        given_fields.extend(calls.iter().map(|call| Field::new("", &call.text, call.aggregate.returns())));
        let mut prepared = prepared.into_inner();
        let keeps_late = self.options.keeps_late && is_event_window;
        let late_fields = if keeps_late { from.fields.clone() } else { Vec::new() };
        let late = prepared.columns_of(&late_fields);
        let fields = given(&project, &names, &given_fields);
        let steps = [
            Step::Calc(prepared.into_calc(filter)),
            Step::Aggregate(AggregateStep { key_types, key_texts, calls, window, late }),
            Step::Calc(Calc { filter: having, project, names }),
        ];
        let is_windowed = from.is_windowed || is_event_window;
        Ok(Planned { late_fields, is_windowed, ..from.then(steps, fields) })
    }

    fn over(
        &self,
        select: &Select,
        from: Planned,
        filter: Option<Expression>,
    ) -> Result<Planned, QueryError> {
        let columns = from.fields.iter().enumerate();
        let prepared = RefCell::new(Prepared::of(
            columns.map(|(at, field)| Expression::column(at, field.sql_type, &field.name)),
        ));
        let after = AfterOver::new(self.text, &from.fields, &prepared);
        let bound = Scope { text: self.text, fields: &from.fields, bindings: &after };
        let (mut project, names) = self.items(select, &bound, &from.fields)?;
        let (keys, calls) = after.into_parts();
        let prepared = prepared.into_inner();
        // The results stand behind what was prepared, which only now is known to be so much.
        let width = prepared.len();
        project.iter_mut().for_each(|expression| AfterOver::shift_results(expression, width));
        let key_types = keys.iter().map(|key| prepared.sql_type(*key)).collect();
        let key_texts = keys.iter().map(|key| prepared.text(*key)).collect();
        let fields = given(&project, &names, &from.fields);
        let steps = [
            Step::Calc(prepared.into_calc(filter)),
            Step::Over(OverStep { keys, key_types, key_texts, calls }),
            Step::Calc(Calc { filter: None, project, names }),
        ];
        Ok(from.then(steps, fields))
    }

    /// The window to group by, as the query is told.
    fn window(&self, window: GroupWindow) -> Window {
        let GroupWindow { kind, is_event_time } = window;
        let PlanOptions { lateness_ms, watermark_per, .. } =
            if is_event_time { self.options } else { PlanOptions::default() };
        Window { kind, is_event_time, watermark_per, lateness_ms }
    }
}

/// The fields of projected columns: a time attribute that is passed on stays one.
fn given(project: &[Expression], names: &[String], input: &[Field]) -> Vec<Field> {
    let field = |(expression, name): (&Expression, &String)| {
        let source = expression.as_column().and_then(|column| input.get(column));
        Field {
            time: match (&expression.node, source) {
                (Node::ProcessingTime, _) => TimeAttribute::Processing,
                (_, Some(field)) => field.time,
                (_, None) => TimeAttribute::None,
            },
            ..Field::new("", name, expression.sql_type)
        }
    };
    project.iter().zip(names).map(field).collect()
}

fn wildcard<'a>(
    fields: &'a [Field],
    relation: Option<&'a str>,
) -> impl Iterator<Item = (Expression, String)> + 'a {
    let is_of = move |field: &Field| relation.is_none_or(|relation| field.relation == relation);
    let numbered = fields.iter().enumerate().filter(move |(_, field)| is_of(field));
    numbered.map(|(at, field)| (Expression::column(at, field.sql_type, &field.name), field.name.clone()))
}

/// Which of the columns of a window `expression` names.
pub(super) fn window_column(expression: &Expr) -> Option<usize> {
    let name = match expression {
        Expr::Identifier(name) => &name.value,
        Expr::CompoundIdentifier(parts) => &parts.last()?.value,
        _ => return None,
    };
    WINDOW_COLUMNS.iter().position(|column| name.eq_ignore_ascii_case(column))
}
