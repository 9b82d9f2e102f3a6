//! SQL within a job file: a schema or a query, and where each of its bytes stands in the file.
//!
//! A literal string and a basic string without escapes hold the text as it is, so that a place in the text is one in the
//! file. In a string with escapes a fault is shown at the string's beginning, with its line and column in the text.

use std::ops::Range;

use super::document::Located;
use crate::config::diagnostics::{Diagnostic, Location, TextError, Texts};

/// Longest text of a schema or a query, in bytes.
pub(super) const SQL_BYTES_MAX: usize = 64 << 10;

/// A text of SQL with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SqlText {
    pub(crate) text: String,
    at: Location,
}

impl SqlText {
    pub(super) fn new(text: Located<String>) -> Self {
        Self { text: text.value, at: text.at }
    }

    /// A fault in the text, as one of the file.
    pub(crate) fn diagnose(&self, texts: &Texts, error: TextError) -> Diagnostic {
        let fault = Diagnostic::new(error.message);
        let fault = match &error.span {
            None => fault.at(&self.first_line(texts)),
            Some(span) => match self.place(texts, span) {
                Some(at) => fault.at(&at),
                None => {
                    let (line, column) = line_and_column(&self.text, span.start);
                    let label = format!("in this text, at line {line}, column {column}");
                    fault.at(&self.first_line(texts)).label(label)
                }
            },
        };
        match error.help {
            Some(help) => fault.help(help),
            None => fault,
        }
    }

    fn source<'t>(&self, texts: &'t Texts) -> &'t str {
        texts.get(self.at.text).and_then(|text| text.text.get(self.at.span.clone())).unwrap_or_default()
    }

    /// Where the string begins, to the end of its first line.
    fn first_line(&self, texts: &Texts) -> Location {
        let length = self.source(texts).lines().next().map_or(0, str::len);
        Location { text: self.at.text, span: self.at.span.start..self.at.span.start + length }
    }

    /// The same bytes in the file, when the string has no escapes.
    fn place(&self, texts: &Texts, span: &Range<usize>) -> Option<Location> {
        let (offset, body) = body(self.source(texts));
        let place =
            |position: usize| Some(self.at.span.start + offset + position_in(body, &self.text, position)?);
        Some(Location { text: self.at.text, span: place(span.start)?..place(span.end)? })
    }
}

/// What is between the quotes, and where it begins.
fn body(token: &str) -> (usize, &str) {
    for quotes in ["\"\"\"", "'''"] {
        if let Some(inner) = token.strip_prefix(quotes).and_then(|inner| inner.strip_suffix(quotes)) {
            // A line's end right behind the quotes is not part of the string.
            let inner = inner.strip_prefix("\r\n").or_else(|| inner.strip_prefix('\n')).unwrap_or(inner);
            return (token.len() - quotes.len() - inner.len(), inner);
        }
    }
    for quote in ['"', '\''] {
        if let Some(inner) = token.strip_prefix(quote).and_then(|inner| inner.strip_suffix(quote)) {
            return (1, inner);
        }
    }
    (0, token)
}

/// Where byte `position` of `text` is in `body`, which is the same text but may have CR LF where `text` has LF.
fn position_in(body: &str, text: &str, position: usize) -> Option<usize> {
    let position = position.min(text.len());
    if body == text {
        return Some(position);
    }
    let (mut from, mut found) = (0, None);
    for (index, byte) in text.bytes().chain([0]).enumerate() {
        if byte == b'\n' && body.as_bytes().get(from..from + 2) == Some(b"\r\n") {
            from += 1;
        }
        if index == position {
            found = Some(from);
        }
        if index < text.len() && body.as_bytes().get(from) != Some(&byte) {
            return None;
        }
        from += 1;
    }
    found.filter(|_| from == body.len() + 1)
}

/// Line and column, from 1, of a byte; columns are characters.
fn line_and_column(text: &str, position: usize) -> (usize, usize) {
    let mut at = position.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let before = text.get(..at).unwrap_or_default();
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::super::document::{self, Value};
    use super::super::report::Report;
    use super::*;
    use crate::config::diagnostics::Diagnostics;

    /// The fault at `word` of the text that `sql = …` gives.
    fn shown(file: &str, word: &str) -> String {
        let report = Report::new("job.toml", file, &[]);
        let table = document::parse(0, &report);
        let node = table.get("sql").unwrap();
        let Value::String(text) = &node.value else { panic!("no string") };
        let start = text.find(word).unwrap();
        let error = TextError { message: "wrong".into(), span: Some(start..start + word.len()), help: None };
        let sql = SqlText::new(Located { value: text.clone(), at: node.at.clone() });
        let fault = sql.diagnose(&report.texts, error);
        Diagnostics::new(&report.texts, vec![fault]).to_string()
    }

    #[test]
    fn a_place_in_the_text_is_one_in_the_file() {
        for (file, place) in [
            ("sql = \"SELECT ä, x\"", "1:18"),
            ("sql = 'SELECT x'", "1:15"),
            ("a = 1\nsql = \"\"\"\nSELECT\n  x\n\"\"\"", "4:3"),
            ("sql = '''SELECT\n x'''", "2:2"),
            ("sql = \"\"\"\r\nSELECT\r\n  x\r\n\"\"\"", "3:3"),
        ] {
            let shown = shown(file, "x");
            assert!(shown.contains(&format!("job.toml:{place}\n")), "{shown}");
        }
    }

    #[test]
    fn with_escapes_the_string_is_pointed_at() {
        let shown = shown("sql = \"\"\"SELECT \\\n   a,\n  x\"\"\"", "x");
        assert!(shown.contains("job.toml:1:7\n") && shown.contains("at line 2, column 3"), "{shown}");
    }
}
