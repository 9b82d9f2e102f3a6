//! What is wrong with a job file, shown where it stands: file, line and column, the line itself, the cause under a caret,
//! and what to do about it.
//!
//! Several faults are shown at once, in the order of the text, at most [`DIAGNOSTICS_MAX`]; the others are counted. A place
//! is a byte range of one of several texts: the job file, and each `--set` of the command line. Ranges that a caller got
//! wrong are cut to the text, never a panic.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// Most faults that are shown.
pub(crate) const DIAGNOSTICS_MAX: usize = 20;

/// A fault in the text of a schema or a query, with its place in that text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TextError {
    /// What is wrong.
    pub(crate) message: String,
    /// Where, in bytes of the text.
    pub(crate) span: Option<Range<usize>>,
    /// What to do about it.
    pub(crate) help: Option<String>,
}

/// A text that can be pointed into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text {
    /// The file's path, or `command line`.
    pub(crate) name: String,
    pub(crate) text: String,
}

/// The job file, and behind it what `--set` added.
pub(crate) type Texts = Arc<[Text]>;

/// A place in one of the [`Texts`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Location {
    /// Number of the text: 0 is the job file.
    pub(crate) text: usize,
    /// Bytes of it.
    pub(crate) span: Range<usize>,
}

impl Location {
    /// Whether it was given on the command line.
    pub(crate) fn is_override(&self) -> bool {
        self.text != 0
    }
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Diagnostic {
    message: String,
    location: Option<Location>,
    label: Option<String>,
    also: Option<(Location, String)>,
    help: Option<String>,
}

impl Diagnostic {
    /// A fault with its cause.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), location: None, label: None, also: None, help: None }
    }

    /// Says where.
    #[must_use]
    pub(crate) fn at(mut self, location: &Location) -> Self {
        self.location = Some(location.clone());
        self
    }

    /// Says what stands there, in a few words.
    #[must_use]
    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Points at a second place.
    #[must_use]
    pub(crate) fn also(mut self, location: &Location, label: impl Into<String>) -> Self {
        self.also = Some((location.clone(), label.into()));
        self
    }

    /// Says what to do about it.
    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    fn order(&self) -> (usize, usize) {
        self.location.as_ref().map_or((0, 0), |location| (location.text, location.span.start))
    }
}

/// Whether what is shown has colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colours {
    /// Plain text.
    Never,
    /// Escape sequences of a terminal.
    Ansi,
}

/// Everything that is wrong with a job file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics {
    texts: Texts,
    /// In the order of the text; at least one, at most [`DIAGNOSTICS_MAX`].
    found: Vec<Diagnostic>,
    left_out: usize,
}

impl Diagnostics {
    /// Faults in these texts. `found` has one at least.
    pub(crate) fn new(texts: &Texts, mut found: Vec<Diagnostic>) -> Self {
        found.sort_by_key(Diagnostic::order);
        found.dedup();
        let left_out = found.len().saturating_sub(DIAGNOSTICS_MAX);
        found.truncate(DIAGNOSTICS_MAX);
        Self { texts: Arc::clone(texts), found, left_out }
    }

    /// A fault of a file that has no place in it, such as that it cannot be read.
    pub(crate) fn of_file(name: &str, fault: Diagnostic) -> Self {
        let texts = [Text { name: name.to_owned(), text: String::new() }];
        Self { texts: texts.into(), found: vec![fault], left_out: 0 }
    }

    /// What a person reads: each fault begins with `error:`; no line end behind the last.
    pub(crate) fn render(&self, colours: Colours) -> String {
        let renderer = match colours {
            Colours::Never => Renderer::plain(),
            Colours::Ansi => Renderer::styled(),
        };
        let mut shown: Vec<String> =
            self.found.iter().map(|fault| renderer.render(&[self.group(fault)])).collect();
        match self.left_out {
            0 if shown.len() > 1 => shown.push(format!("{} faults; nothing was started", shown.len())),
            0 => {}
            left_out => shown.push(format!("and {left_out} more faults; nothing was started")),
        }
        shown.join("\n\n")
    }

    fn group<'a>(&'a self, fault: &'a Diagnostic) -> Group<'a> {
        let title = Level::ERROR.primary_title(&fault.message);
        let text_of = |location: &Location| self.texts.get(location.text);
        let group = match &fault.location {
            Some(location) if text_of(location).is_some() => {
                let text = text_of(location).expect("looked at in the guard");
                let mut primary = AnnotationKind::Primary.span(within(&text.text, &location.span));
                if let Some(label) = &fault.label {
                    primary = primary.label(label);
                }
                let mut snippet = Snippet::source(&text.text).path(&text.name).annotation(primary);
                if let Some((other, label)) = &fault.also
                    && other.text == location.text
                {
                    let span = within(&text.text, &other.span);
                    snippet = snippet.annotation(AnnotationKind::Context.span(span).label(label));
                }
                title.element(snippet)
            }
            _ => Group::with_title(title),
        };
        match &fault.help {
            Some(help) => group.element(Level::HELP.message(help)),
            None => group,
        }
    }
}

/// The range, cut to whole characters of the text and to one line where it begins with a line's end.
fn within(text: &str, span: &Range<usize>) -> Range<usize> {
    let start = floor_char_boundary(text, span.start);
    start..floor_char_boundary(text, span.end).max(start)
}

fn floor_char_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Colours::Never))
    }
}

impl std::error::Error for Diagnostics {}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Texts {
        [Text { name: "job.toml".to_owned(), text: text.to_owned() }].into()
    }

    fn at(span: Range<usize>) -> Location {
        Location { text: 0, span }
    }

    #[test]
    fn a_fault_is_shown_with_its_line_cause_and_remedy() {
        let texts = texts("a = 1\nb = 2\n");
        let fault = Diagnostic::new("`b` is 2").at(&at(10..11)).label("must be 1").help("write b = 1");
        let shown = Diagnostics::new(&texts, vec![fault]).to_string();
        let expected = "\
error: `b` is 2
 --> job.toml:2:5
  |
2 | b = 2
  |     ^ must be 1
  |
  = help: write b = 1";
        assert_eq!(shown, expected);
    }

    #[test]
    fn colours_come_only_when_asked_for() {
        let faults = Diagnostics::new(&texts("a"), vec![Diagnostic::new("wrong").at(&at(0..1))]);
        assert!(!faults.to_string().contains('\x1b'));
        assert!(faults.render(Colours::Ansi).contains('\x1b'));
    }

    #[test]
    fn ranges_outside_the_text_or_inside_a_character_are_cut() {
        let texts = texts("key = \"äöü\"\r\n");
        for (start, end) in [(0, 99), (8, 9), (98, 99), (9, 3), (usize::MAX, 0), (13, 15)] {
            let location = Location { text: 0, span: Range { start, end } };
            let shown = Diagnostics::new(&texts, vec![Diagnostic::new("wrong").at(&location)]).to_string();
            assert!(shown.contains("job.toml:"), "{shown}");
        }
        let elsewhere = Location { text: 7, span: 0..1 };
        let shown = Diagnostics::new(&texts, vec![Diagnostic::new("wrong").at(&elsewhere)]).to_string();
        assert_eq!(shown, "error: wrong");
    }

    #[test]
    fn at_most_twenty_are_shown_in_the_order_of_the_text() {
        let text = "x\n".repeat(30);
        let faults = (0..30)
            .rev()
            .map(|line| Diagnostic::new(format!("fault {line}")).at(&at(line * 2..line * 2 + 1)));
        let shown = Diagnostics::new(&texts(&text), faults.collect()).to_string();
        assert!(shown.starts_with("error: fault 0\n") && shown.contains("fault 19"), "{shown}");
        assert!(!shown.contains("fault 20"), "{shown}");
        assert!(shown.ends_with("and 10 more faults; nothing was started"), "{shown}");
    }
}
