//! The schema of a source: its columns, where each is from, and its watermark.
//!
//! ```sql
//! sensor STRING NOT NULL,                           -- from the frame, by name or by its path
//! temperature DOUBLE,
//! plant STRING METADATA FROM 'topic-level-1',       -- what the source knows of the frame
//! ts TIMESTAMP(3),
//! arrival AS PROCTIME(),                            -- computed
//! WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
//! ```

use std::fmt;

use sqlparser::ast::{BinaryOperator, Expr, Spanned};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

use super::error::{QueryError, SqlText, nearest};
use super::expression::{Expression, Node};
use super::field::{Field, TimeAttribute, find};
use super::interval;
use super::literal::sql_type;
use super::resolve::{NoBindings, Scope};
use super::sql_type::SqlType;
use super::text;

/// Columns a schema may have.
const COLUMNS_MAX: usize = 256;
/// Levels of a topic that have a column.
const TOPIC_LEVELS_MAX: usize = 64;

/// The columns of a source.
#[derive(Debug, Clone)]
pub(crate) struct Schema {
    pub(crate) columns: Vec<SchemaColumn>,
    pub(crate) watermark: Option<Watermark>,
}

/// One column.
#[derive(Debug, Clone)]
pub(crate) struct SchemaColumn {
    pub(crate) name: String,
    pub(crate) sql_type: SqlType,
    pub(crate) origin: Origin,
    /// A frame where it is NULL is rejected.
    pub(crate) is_required: bool,
}

/// Where a column's values are from.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// The frame.
    Frame,
    /// What the source knows of the frame.
    Metadata(Metadata),
    /// Other columns.
    Computed(Expression),
}

/// What a source knows of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Metadata {
    /// `topic`: of the MQTT message.
    Topic,
    /// `topic-level-N`, from 0.
    TopicLevel(usize),
    /// `qos` of the MQTT message.
    Qos,
    /// `retained`: the broker had kept it.
    Retained,
    /// `user-property-NAME` of the MQTT message.
    UserProperty(String),
    /// `receive-time`: of the MQTT message by the wall clock, else the batch's processing time.
    ReceiveTime,
    /// `offset` of the batch in the journal.
    Offset,
    /// `origin`: who sent it.
    Origin,
}

impl fmt::Display for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic => f.write_str("topic"),
            Self::TopicLevel(level) => write!(f, "topic-level-{level}"),
            Self::Qos => f.write_str("qos"),
            Self::Retained => f.write_str("retained"),
            Self::UserProperty(name) => write!(f, "user-property-{name}"),
            Self::ReceiveTime => f.write_str("receive-time"),
            Self::Offset => f.write_str("offset"),
            Self::Origin => f.write_str("origin"),
        }
    }
}

/// `WATERMARK FOR column AS column - delay`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Watermark {
    /// Number of the column.
    pub(crate) column: usize,
    pub(crate) delay_ms: i64,
}

impl Schema {
    /// Reads the schema of the source `relation`.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub(crate) fn parse(relation: &str, text: &str) -> Result<Self, QueryError> {
        let mut parser = text::parser(text)?;
        let mut builder = Builder { text: SqlText(text), relation, columns: Vec::new(), watermark: None };
        loop {
            builder.element(&mut parser)?;
            if !parser.consume_token(&Token::Comma) || parser.peek_token_ref().token == Token::EOF {
                break;
            }
        }
        if parser.peek_token_ref().token != Token::EOF {
            let token = parser.peek_token_ref();
            return Err(QueryError::new(format!(
                "expected , or the end of the schema, found {}",
                token.token
            ))
            .at(SqlText(text).range(token.span))
            .help(
                "a column is: name TYPE [NOT NULL], name TYPE METADATA FROM 'key', or name AS expression",
            ));
        }
        builder.finish()
    }

    /// The fields of the relation.
    pub(crate) fn fields(&self, relation: &str) -> Vec<Field> {
        let mut fields = fields(relation, &self.columns);
        if let Some(watermark) = &self.watermark {
            fields[watermark.column].time = TimeAttribute::Event;
        }
        fields
    }
}

fn fields(relation: &str, columns: &[SchemaColumn]) -> Vec<Field> {
    let field = |column: &SchemaColumn| {
        let is_now =
            matches!(&column.origin, Origin::Computed(Expression { node: Node::ProcessingTime, .. }));
        let time = if is_now { TimeAttribute::Processing } else { TimeAttribute::None };
        Field { time, ..Field::new(relation, &column.name, column.sql_type) }
    };
    columns.iter().map(field).collect()
}

struct Builder<'a> {
    text: SqlText<'a>,
    relation: &'a str,
    columns: Vec<SchemaColumn>,
    watermark: Option<(Expr, Expr)>,
}

impl Builder<'_> {
    fn element(&mut self, parser: &mut Parser<'static>) -> Result<(), QueryError> {
        let is_watermark = matches!(&parser.peek_token_ref().token,
            Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("WATERMARK"));
        if is_watermark
            && matches!(&parser.peek_nth_token_ref(1).token, Token::Word(word) if word.keyword == Keyword::FOR)
        {
            parser.next_token();
            parser.next_token();
            let place = self.text.range(parser.peek_token_ref().span);
            if self.watermark.is_some() {
                return Err(QueryError::new("there is a second WATERMARK")
                    .at(place)
                    .help("a source has one event time"));
            }
            let text = self.text.0;
            let parsed = parser.parse_identifier().and_then(|name| {
                parser.expect_keyword(Keyword::AS)?;
                Ok((Expr::Identifier(name), parser.parse_expr()?))
            });
            self.watermark = Some(parsed.map_err(|error| text::parse_error(text, parser, &error))?);
            return Ok(());
        }
        self.column(parser)
    }

    fn column(&mut self, parser: &mut Parser<'static>) -> Result<(), QueryError> {
        let text = self.text.0;
        let failed = |parser: &Parser<'_>, error: &ParserError| text::parse_error(text, parser, error);
        let place = self.text.range(parser.peek_token_ref().span);
        let name = parser.parse_identifier().map_err(|error| failed(parser, &error))?.value;
        if self.columns.iter().any(|column| column.name == name) {
            return Err(QueryError::new(format!("there are two columns {name}")).at(place));
        }
        if self.columns.len() == COLUMNS_MAX {
            return Err(QueryError::new(format!("there are more than {COLUMNS_MAX} columns")).at(place));
        }
        if parser.parse_keyword(Keyword::AS) {
            let expression = parser.parse_expr().map_err(|error| failed(parser, &error))?;
            let fields = fields(self.relation, &self.columns);
            let scope = Scope { text: self.text, fields: &fields, bindings: &NoBindings };
            let expression = scope.resolve(&expression)?;
            let (sql_type, origin) = (expression.sql_type, Origin::Computed(expression));
            self.columns.push(SchemaColumn { name, sql_type, origin, is_required: false });
            return Ok(());
        }
        let type_place = self.text.range(parser.peek_token_ref().span);
        let data_type = parser.parse_data_type().map_err(|error| failed(parser, &error))?;
        let sql_type = sql_type(&data_type).map_err(|error| error.at(type_place.clone()))?;
        if matches!(sql_type, SqlType::Interval | SqlType::Decimal) {
            return Err(QueryError::new(format!("a column of a source cannot be {sql_type}")).at(type_place));
        }
        let mut origin = Origin::Frame;
        let is_metadata = matches!(&parser.peek_token_ref().token,
            Token::Word(word) if word.value.eq_ignore_ascii_case("METADATA"));
        if is_metadata {
            parser.next_token();
            let mut key_place = place;
            let mut key = name.clone();
            if parser.parse_keyword(Keyword::FROM) {
                key_place = self.text.range(parser.peek_token_ref().span);
                key = parser.parse_literal_string().map_err(|error| failed(parser, &error))?;
            }
            let _is_virtual = parser.parse_keyword(Keyword::VIRTUAL);
            let metadata = metadata(&key, sql_type).map_err(|error| error.at(key_place))?;
            origin = Origin::Metadata(metadata);
        }
        let is_required = parser.parse_keywords(&[Keyword::NOT, Keyword::NULL]);
        if !is_required {
            let _may_be_null = parser.parse_keyword(Keyword::NULL);
        }
        self.columns.push(SchemaColumn { name, sql_type, origin, is_required });
        Ok(())
    }

    fn finish(self) -> Result<Schema, QueryError> {
        let Some((column, expression)) = self.watermark else {
            return Ok(Schema { columns: self.columns, watermark: None });
        };
        let fields = fields(self.relation, &self.columns);
        let place = |expression: &Expr| self.text.range(expression.span());
        let number = |expression: &Expr| match expression {
            Expr::Identifier(name) => {
                find(&fields, None, &name.value).map_err(|error| error.at(place(expression)))
            }
            other => Err(QueryError::new(format!("{other} is not a column")).at(place(expression))),
        };
        let index = number(&column)?;
        if fields[index].sql_type != SqlType::Timestamp {
            let message = format!("{column} is {}, and event time is a TIMESTAMP(3)", fields[index].sql_type);
            return Err(QueryError::new(message).at(place(&column)).help(format!(
                "declare {column} TIMESTAMP(3), or compute one: ts AS TO_TIMESTAMP_LTZ({column}, 3)"
            )));
        }
        let shape = || {
            QueryError::new("the watermark is not of the form column - INTERVAL")
                .at(place(&expression))
                .help(format!("write WATERMARK FOR {column} AS {column} - INTERVAL '5' SECOND"))
        };
        let delay_ms = match &expression {
            same @ Expr::Identifier(_) if number(same)? == index => 0,
            Expr::BinaryOp { left, op: BinaryOperator::Minus, right } if number(left)? == index => {
                match right.as_ref() {
                    Expr::Interval(interval) => interval::milliseconds(interval)
                        .map_err(|message| QueryError::new(message).at(place(right)))?,
                    _ => return Err(shape()),
                }
            }
            _ => return Err(shape()),
        };
        if delay_ms < 0 {
            return Err(QueryError::new("the watermark's delay is negative").at(place(&expression)));
        }
        Ok(Schema { columns: self.columns, watermark: Some(Watermark { column: index, delay_ms }) })
    }
}

/// The metadata that `key` names, which is of one type.
fn metadata(key: &str, asked: SqlType) -> Result<Metadata, QueryError> {
    let known = [
        "topic",
        "topic-level-0",
        "qos",
        "retained",
        "user-property-NAME",
        "receive-time",
        "offset",
        "origin",
    ];
    let (metadata, sql_type) = match key {
        "topic" => (Metadata::Topic, SqlType::String),
        "qos" => (Metadata::Qos, SqlType::BigInt),
        "retained" => (Metadata::Retained, SqlType::Boolean),
        "receive-time" => (Metadata::ReceiveTime, SqlType::Timestamp),
        "offset" => (Metadata::Offset, SqlType::BigInt),
        "origin" => (Metadata::Origin, SqlType::String),
        key => {
            let level = key.strip_prefix("topic-level-").and_then(|level| level.parse().ok());
            let property = key.strip_prefix("user-property-").filter(|name| !name.is_empty());
            match (level, property) {
                (Some(level), _) if level < TOPIC_LEVELS_MAX => {
                    (Metadata::TopicLevel(level), SqlType::String)
                }
                (_, Some(name)) => (Metadata::UserProperty(name.to_owned()), SqlType::String),
                _ => {
                    let near = nearest(key, known).map(|near| format!("did you mean '{near}'? "));
                    return Err(QueryError::new(format!("there is no metadata '{key}'")).help(format!(
                        "{}there are {}",
                        near.unwrap_or_default(),
                        known.join(", ")
                    )));
                }
            }
        }
    };
    if sql_type == asked {
        Ok(metadata)
    } else {
        Err(QueryError::new(format!("the metadata '{key}' is {sql_type}, not {asked}"))
            .help(format!("declare the column as {sql_type}")))
    }
}
