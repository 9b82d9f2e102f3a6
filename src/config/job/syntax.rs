//! Faults of the TOML itself, with what to do about the usual ones.
//!
//! What follows an array or a string that is not closed is misread, so nothing behind such a fault is reported.

use std::ops::Range;

use toml::de::Error;

use crate::config::diagnostics::{Diagnostic, Location};

/// Longest text that a remedy repeats, in bytes.
const REPEATED_BYTES_MAX: usize = 60;

/// The faults that the parser found in text number `text`, in order.
pub(super) fn diagnose(text: usize, source: &str, errors: &[Error]) -> Vec<Diagnostic> {
    let mut spans: Vec<_> =
        errors.iter().map(|error| (error.span().unwrap_or(0..0), error.message())).collect();
    spans.sort_by_key(|(span, _)| span.start);
    let mut faults = Vec::new();
    let mut line_before = None;
    for (span, message) in spans {
        let before = source.get(..span.start).unwrap_or(source);
        let line = before.matches('\n').count();
        if line_before.replace(line) != Some(line) {
            faults.push(fault(source, message, &span).at(&Location { text, span: shown(source, &span) }));
        }
        if !is_contained(message) {
            break;
        }
    }
    faults
}

/// Whether what follows is read as it is meant.
fn is_contained(message: &str) -> bool {
    ["string values must be quoted", "duplicate key", "invalid boolean"]
        .iter()
        .any(|start| message.starts_with(start))
}

/// A place that can be seen: not behind the text's last line.
fn shown(source: &str, span: &Range<usize>) -> Range<usize> {
    let end = source.trim_end().len();
    if span.start > end { end..end } else { span.clone() }
}

fn fault(source: &str, message: &str, span: &Range<usize>) -> Diagnostic {
    let found = source.get(span.clone()).unwrap_or_default();
    let starts = |start: &str| message.starts_with(start);
    if starts("string values must be quoted") {
        return unquoted(found);
    }
    if starts("duplicate key") {
        let is_header = source.get(..span.start).unwrap_or_default().trim_end().ends_with('[');
        let (what, help) = if is_header {
            (
                format!("the section [{found}] is given twice"),
                format!("put all keys under one header, or write [[{found}]] where there may be several"),
            )
        } else {
            (format!("`{found}` is given twice"), "remove one of them".to_owned())
        };
        return Diagnostic::new(what).label("the second").help(help);
    }
    let (what, help) = if starts("invalid boolean") {
        ("this is no boolean", "write true or false, in small letters")
    } else if starts("unclosed table") {
        (
            "the header of a section is not closed",
            "write `]` behind the name, or `]]` where it began with `[[`",
        )
    } else if starts("unclosed array") || message.contains("array") {
        (
            "an array is not well formed",
            "put commas between its values and `]` behind the last: [\"a\", \"b\"]",
        )
    } else if starts("unclosed inline table")
        || message.contains("inline table")
        || message.contains("key-value pairs")
    {
        (
            "an inline table is not well formed",
            "put commas between its entries and `}` behind the last: { a = 1, b = 2 }",
        )
    } else if starts("key with no value") {
        ("a key has no value", "write `key = value`")
    } else if message.contains("escape") {
        ("a backslash begins no known escape", "write \\\\ for a backslash, or put the text in single quotes")
    } else if message.contains("string") {
        (
            "a string is not closed",
            "write the closing quote; a text of several lines stands between three quotes: \"\"\"…\"\"\"",
        )
    } else if starts("unexpected key or value") {
        (
            "something stands behind the value",
            "begin a new line for the next key; write \\\" for a quote within a string",
        )
    } else if message.contains("recursion") {
        ("tables or arrays are nested too deep", "a job file needs three levels at most")
    } else {
        let fault = Diagnostic::new(format!("this is not TOML: {message}"));
        return fault.help("config/reference.toml shows how each key is written");
    };
    Diagnostic::new(what).help(help)
}

fn unquoted(found: &str) -> Diagnostic {
    match found.trim() {
        "" => Diagnostic::new("a value is missing").help("write a value behind the `=`"),
        "yes" | "no" | "on" | "off" => Diagnostic::new("this is no value").help("write true or false"),
        text if text.len() <= REPEATED_BYTES_MAX && !text.contains(['"', '\\']) => {
            Diagnostic::new("a text stands in quotes").label("no quotes").help(format!("write \"{text}\""))
        }
        _ => Diagnostic::new("a text stands in quotes")
            .label("no quotes")
            .help("put it in single quotes: 'text'"),
    }
}
