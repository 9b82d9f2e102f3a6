//! What is wrong with a text of SQL, and where.

use std::ops::Range;

use sqlparser::tokenizer::{Location, Span};

/// A fault in a text: a schema or a query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct QueryError {
    /// One sentence.
    pub(crate) message: String,
    /// The bytes of the text it is about.
    pub(crate) span: Option<Range<usize>>,
    /// What to do.
    pub(crate) help: Option<String>,
    /// It follows from another one, which is said where it is.
    pub(crate) is_consequence: bool,
}

impl QueryError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), span: None, help: None, is_consequence: false }
    }

    /// Of what reads something that was refused.
    pub(crate) fn consequence() -> Self {
        Self { is_consequence: true, ..Self::new("it reads what was refused") }
    }

    pub(crate) fn at(mut self, span: Range<usize>) -> Self {
        self.span = Some(span).filter(|span| !span.is_empty());
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// A text, to turn the parser's lines and columns into bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SqlText<'a>(pub(crate) &'a str);

impl SqlText<'_> {
    /// The bytes of what the parser calls `span`; empty where it does not know.
    pub(crate) fn range(self, span: Span) -> Range<usize> {
        let (start, end) = (self.offset(span.start), self.offset(span.end));
        match (start, end) {
            (Some(start), Some(end)) if start <= end => start..end,
            _ => 0..0,
        }
    }

    /// The byte at a line and column, both counted from 1, in characters.
    pub(crate) fn offset(self, location: Location) -> Option<usize> {
        let line = usize::try_from(location.line).ok()?.checked_sub(1)?;
        let column = usize::try_from(location.column).ok()?.checked_sub(1)?;
        let start = match line {
            0 => 0,
            line => self.0.match_indices('\n').nth(line - 1)?.0 + 1,
        };
        let rest = &self.0[start..];
        let length = rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at);
        Some(start + length)
    }
}

/// The name among `known` that is most like `name`, when one is like it.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let scored = known.into_iter().map(|other| (distance(&name, &other.to_lowercase()), other));
    let (distance, nearest) = scored.min_by_key(|(distance, _)| *distance)?;
    (distance <= 1 + name.chars().count() / 4).then_some(nearest)
}

/// Insertions, deletions and replacements between two short texts (Levenshtein's distance, by rows).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (at, from) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (to, other) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *other);
            diagonal = row[to + 1];
            row[to + 1] = replaced.min(diagonal + 1).min(row[to] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_become_bytes() {
        let text = SqlText("SELECT ä,\n  b FROM t");
        let at = |line, column| text.offset(Location { line, column });
        assert_eq!((at(1, 8), at(1, 9), at(2, 3)), (Some(7), Some(9), Some(13)));
        assert_eq!((at(0, 0), at(3, 1), at(2, 99)), (None, None, Some(21)));
    }

    #[test]
    fn the_nearest_name_is_found() {
        assert_eq!(nearest("temprature", ["temperature", "ts"]), Some("temperature"));
        assert_eq!(nearest("xyz", ["temperature", "ts"]), None);
        assert_eq!(nearest("TS", ["temperature", "ts"]), Some("ts"));
    }
}
