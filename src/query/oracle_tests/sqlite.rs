//! SQLite as an oracle: the readings as a table, and rows as typed cells.

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, ToSql, params_from_iter};

use super::grammar::{Kind, TEXTS};
use crate::disk::Random;

/// One value, as both give it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
}

impl Cell {
    pub(super) fn random(kind: Kind, random: &mut Random) -> Self {
        if random.below(6) == 0 {
            return Self::Null;
        }
        // Few values, so that some are equal, and now and then a larger one.
        let range = if random.below(4) == 0 { 1_000 } else { 5 };
        let number = random.below(2 * range + 1).cast_signed() - range.cast_signed();
        match kind {
            Kind::Int => Self::Int(number),
            Kind::Double => Self::Double(number as f64 * 0.25),
            Kind::Text => Self::Text(TEXTS[random.below(TEXTS.len() as u64) as usize].to_owned()),
            Kind::Bool => Self::Bool(number % 2 == 0),
        }
    }

    pub(super) fn json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(value) => (*value).into(),
            Self::Int(value) => (*value).into(),
            Self::Double(value) => (*value).into(),
            Self::Text(value) => value.as_str().into(),
        }
    }

    #[track_caller]
    pub(super) fn of_json(value: &serde_json::Value, kind: Kind) -> Self {
        if value.is_null() {
            return Self::Null;
        }
        let cell = match kind {
            Kind::Bool => value.as_bool().map(Self::Bool),
            Kind::Int => value.as_i64().map(Self::Int),
            Kind::Double => value.as_f64().map(Self::double),
            Kind::Text => value.as_str().map(|text| Self::Text(text.to_owned())),
        };
        cell.unwrap_or_else(|| panic!("{value} is not {kind:?}"))
    }

    #[track_caller]
    fn of_sqlite(value: ValueRef<'_>, kind: Kind) -> Self {
        match (value, kind) {
            (ValueRef::Null, _) => Self::Null,
            (ValueRef::Integer(value), Kind::Bool) => Self::Bool(value != 0),
            (ValueRef::Integer(value), Kind::Int) => Self::Int(value),
            (ValueRef::Integer(value), Kind::Double) => Self::double(value as f64),
            (ValueRef::Real(value), Kind::Double) => Self::double(value),
            (ValueRef::Text(text), Kind::Text) => Self::Text(String::from_utf8(text.to_vec()).unwrap()),
            (value, kind) => panic!("{value:?} is not {kind:?}"),
        }
    }

    /// Both zeros are one value; they look different when sorted by their text.
    fn double(value: f64) -> Self {
        Self::Double(value + 0.0)
    }
}

impl ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Owned(match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Integer(i64::from(*value)),
            Self::Int(value) => Value::Integer(*value),
            Self::Double(value) => Value::Real(*value),
            Self::Text(value) => Value::Text(value.clone()),
        }))
    }
}

/// A database in memory.
pub(super) struct Sqlite(Connection);

impl Sqlite {
    /// With a table `readings` of these columns, numbered by `n` from 1.
    pub(super) fn with_readings(columns: &[(String, Kind)], rows: &[Vec<Cell>]) -> Self {
        let connection = Connection::open_in_memory().unwrap();
        let declared: String =
            columns.iter().map(|(name, kind)| format!(", {name} {}", kind.sqlite())).collect();
        let places = ", ?".repeat(columns.len());
        connection
            .execute_batch(&format!(
                "PRAGMA case_sensitive_like = ON; CREATE TABLE readings (n INTEGER PRIMARY KEY{declared}); BEGIN"
            ))
            .unwrap();
        let mut insert = connection.prepare(&format!("INSERT INTO readings VALUES (NULL{places})")).unwrap();
        rows.iter().for_each(|row| assert_eq!(insert.execute(params_from_iter(row)).unwrap(), 1));
        drop(insert);
        connection.execute_batch("COMMIT").unwrap();
        Self(connection)
    }

    /// The rows of a query, which may have the one parameter.
    #[track_caller]
    pub(super) fn rows(&self, sql: &str, kinds: &[Kind], parameter: Option<i64>) -> Vec<Vec<Cell>> {
        let mut statement = self.0.prepare_cached(sql).unwrap_or_else(|error| panic!("{error}: {sql}"));
        let mut rows = statement.query(params_from_iter(parameter)).unwrap();
        let mut found = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            let cell = |(at, kind): (usize, &Kind)| Cell::of_sqlite(row.get_ref(at).unwrap(), *kind);
            found.push(kinds.iter().enumerate().map(cell).collect());
        }
        found
    }
}
