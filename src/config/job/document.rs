//! A job file as a tree of values, each with its place in the text, and `--set` applied to it.
//!
//! Limits: a file of [`JOB_BYTES_MAX`], tables and arrays nested [`DEPTH_MAX`] deep. Entries keep the order of the text.

use toml::Spanned;
use toml::de::{DeArray, DeInteger, DeTable, DeValue};

use super::report::Report;
use super::syntax;
use crate::config::diagnostics::{Diagnostic, Location};

/// Longest job file, in bytes.
pub(crate) const JOB_BYTES_MAX: usize = 1 << 20;
/// Tables and arrays within each other.
const DEPTH_MAX: usize = 16;

/// Something with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Located<T> {
    pub(crate) value: T,
    pub(crate) at: Location,
}

impl<T> Located<T> {
    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U) -> Located<U> {
        Located { value: change(self.value), at: self.at }
    }
}

/// A value, as TOML has it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    String(String),
    /// `None`: it does not fit 64 bits.
    Integer(Option<i64>),
    Float,
    Boolean(bool),
    Datetime,
    Array(Vec<Node>),
    Table(Table),
}

impl Value {
    /// Its type, with an article.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float => "a float",
            Self::Boolean(_) => "a boolean",
            Self::Datetime => "a date or time",
            Self::Array(_) => "an array",
            Self::Table(_) => "a table",
        }
    }
}

pub(super) type Node = Located<Value>;

/// A table's entries, in the order of the text.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Table {
    pub(super) entries: Vec<(Located<String>, Node)>,
}

impl Table {
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entries.iter().find(|(known, _)| known.value == key).map(|(_, node)| node)
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.entries.iter_mut().find(|(known, _)| known.value == key).map(|(_, node)| node)
    }

    /// Puts `node` in the place of what the key had, if it had anything.
    pub(super) fn set(&mut self, key: Located<String>, node: Node) {
        self.entries.retain(|(known, _)| known.value != key.value);
        self.entries.push((key, node));
    }
}

/// The tree of text number `text`; faults go to the report, and the tree may then lack something.
pub(super) fn parse(text: usize, report: &Report) -> Table {
    let source = report.text(text);
    let (table, faults) = DeTable::parse_recoverable(source);
    for fault in syntax::diagnose(text, source, &faults) {
        report.add(fault);
    }
    convert_table(text, table.get_ref(), 0, report)
}

fn convert_table(text: usize, table: &DeTable<'_>, depth: usize, report: &Report) -> Table {
    let mut entries: Vec<_> = table
        .iter()
        .filter_map(|(key, value)| {
            let at = Location { text, span: key.span() };
            let node = convert(text, value, depth + 1, report)?;
            Some((Located { value: key.get_ref().to_string(), at }, node))
        })
        .collect();
    entries.sort_by_key(|(key, _)| key.at.span.start);
    Table { entries }
}

fn convert(text: usize, value: &Spanned<DeValue<'_>>, depth: usize, report: &Report) -> Option<Node> {
    let at = Location { text, span: value.span() };
    if depth > DEPTH_MAX {
        let fault = Diagnostic::new(format!("tables or arrays are nested more than {DEPTH_MAX} deep"));
        report.add(fault.at(&at).help("a job file needs three levels at most"));
        return None;
    }
    let value = match value.get_ref() {
        DeValue::String(string) => Value::String(string.to_string()),
        DeValue::Integer(integer) => Value::Integer(integer_value(integer)),
        DeValue::Float(_) => Value::Float,
        DeValue::Boolean(boolean) => Value::Boolean(*boolean),
        DeValue::Datetime(_) => Value::Datetime,
        DeValue::Array(array) => Value::Array(convert_array(text, array, depth, report)),
        DeValue::Table(table) => Value::Table(convert_table(text, table, depth, report)),
    };
    Some(Node { value, at })
}

fn convert_array(text: usize, array: &DeArray<'_>, depth: usize, report: &Report) -> Vec<Node> {
    array.iter().filter_map(|value| convert(text, value, depth + 1, report)).collect()
}

fn integer_value(integer: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_order_and_places() {
        let source = "b = 1\na = \"x\"\n[[t]]\nc = [1, 0x10]\n";
        let report = Report::new("job.toml", source, &[]);
        let table = parse(0, &report);
        assert!(report.is_empty());
        let keys: Vec<_> = table.entries.iter().map(|(key, _)| key.value.as_str()).collect();
        assert_eq!(keys, ["b", "a", "t"]);
        let node = table.get("a").unwrap();
        assert_eq!((&node.value, &source[node.at.span.clone()]), (&Value::String("x".into()), "\"x\""));
        let Value::Array(tables) = &table.get("t").unwrap().value else { panic!("no array") };
        assert_eq!(&source[tables[0].at.span.clone()], "[[t]]");
        let Value::Table(first) = &tables[0].value else { panic!("no table") };
        let Value::Array(numbers) = &first.get("c").unwrap().value else { panic!("no array") };
        assert_eq!(numbers[1].value, Value::Integer(Some(16)));
    }

    #[test]
    fn deep_nesting_is_refused_and_harmless() {
        let deep = [
            format!("a = {}{}", "[".repeat(10_000), "]".repeat(10_000)),
            format!("{}a = 1", "a.".repeat(100_000)),
            format!("[{}a]\nb = 1", "a.".repeat(100_000)),
            format!("a = {}1{}", "{a = ".repeat(10_000), "}".repeat(10_000)),
            format!("a = {}{}", "[".repeat(20), "]".repeat(20)),
        ];
        for source in deep {
            let report = Report::new("job.toml", &source, &[]);
            parse(0, &report);
            assert!(!report.is_empty(), "{}", &source[..30]);
        }
    }
}
