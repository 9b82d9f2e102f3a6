//! Texts with places for columns: `({key},{average})`, `machines/{machine}/state`.
//!
//! `{name}` stands for the column of that name; `{{` and `}}` stand for braces.

use std::str::FromStr;

/// A text with places for columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<TemplatePart>,
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TemplatePart {
    /// Text as it is.
    Text(String),
    /// The value of the column of this name.
    Column(String),
}

/// Why a text is not a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    #[error("a brace is no column such as {{key}}; write {{{{ or }}}} for a brace")]
    Brace,
}

impl Template {
    /// Its pieces, in order.
    pub(crate) fn parts(&self) -> &[TemplatePart] {
        &self.parts
    }

    /// The columns it names, in order, each as often as it is named.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            TemplatePart::Column(name) => Some(name.as_str()),
            TemplatePart::Text(_) => None,
        })
    }

    /// The same template with `{N}`, the number of the column among `columns`, for each name; `None` when it names a column
    /// that is not there.
    pub(crate) fn numbered(&self, columns: &[&str]) -> Option<String> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                TemplatePart::Text(part) => text.push_str(&part.replace('{', "{{").replace('}', "}}")),
                TemplatePart::Column(name) => {
                    let number = columns.iter().position(|column| column == name)?;
                    text.push_str(&format!("{{{number}}}"));
                }
            }
        }
        Some(text)
    }
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(template: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = template;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, brace) = rest.split_at(at);
            text.push_str(before);
            if let Some(behind) = brace.strip_prefix("{{") {
                text.push('{');
                rest = behind;
            } else if let Some(behind) = brace.strip_prefix("}}") {
                text.push('}');
                rest = behind;
            } else {
                let inner = brace.strip_prefix('{').ok_or(TemplateError::Brace)?;
                let (name, behind) = inner.split_once('}').ok_or(TemplateError::Brace)?;
                if name.is_empty() || name.contains('{') {
                    return Err(TemplateError::Brace);
                }
                if !text.is_empty() {
                    parts.push(TemplatePart::Text(std::mem::take(&mut text)));
                }
                parts.push(TemplatePart::Column(name.to_owned()));
                rest = behind;
            }
        }
        text.push_str(rest);
        if !text.is_empty() {
            parts.push(TemplatePart::Text(text));
        }
        Ok(Self { parts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_and_text_take_turns() {
        let template: Template = "({key},{{{average}}})".parse().unwrap();
        assert_eq!(template.columns().collect::<Vec<_>>(), ["key", "average"]);
        assert_eq!(template.numbered(&["average", "key"]).unwrap(), "({1},{{{0}}})");
        assert_eq!(template.numbered(&["key"]), None);
    }

    #[test]
    fn a_brace_that_is_no_column_is_refused() {
        for text in ["{", "}", "{}", "a{b", "{a{b}", "a}b"] {
            assert_eq!(text.parse::<Template>(), Err(TemplateError::Brace), "{text}");
        }
    }
}
