//! Literals and the names of types.

use sqlparser::ast::{DataType, TimezoneInfo, TypedString, Value};

use super::datum::Datum;
use super::error::QueryError;
use super::expression::{Expression, Node};
use super::sql_type::SqlType;
use super::typed::{cast, fold};

/// The text of a NULL.
pub(super) const NULL: &str = "NULL";

pub(super) fn of_literal(datum: Datum, text: String) -> Expression {
    Expression { sql_type: datum.sql_type().unwrap_or(SqlType::String), node: Node::Literal(datum), text }
}

pub(super) fn literal(value: &Value) -> Result<Expression, QueryError> {
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

pub(super) fn number(text: &str) -> Result<Expression, QueryError> {
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

pub(super) fn typed_string(string: &TypedString) -> Result<Expression, QueryError> {
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
