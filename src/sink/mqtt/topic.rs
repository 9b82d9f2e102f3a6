//! Topics made from outputs: `averages/{0}`.
//!
//! `{N}` stands for column N of the output, from 0: of a tuple `(a,b)` what is between its commas, of a JSON object the
//! value of member N, of other text what is between blanks or commas; of a summary `{0}` is its key. `{{` and `}}` stand for braces.

use std::str::FromStr;

/// Longest topic that MQTT allows, in bytes.
const TOPIC_BYTES_MAX: usize = 65_535;

/// A topic with places for columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicTemplate {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Column(usize),
}

/// Why a text is not a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    #[error("the topic {template:?} must not be empty, begin with '$', or hold '+', '#' or NUL")]
    Topic { template: String },
    #[error("the topic {template:?} has a brace that is no column such as {{0}}; write {{{{ for a brace")]
    Brace { template: String },
}

/// Why an output has no topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TopicError {
    #[error("the output has no column {0}")]
    NoColumn(usize),
    #[error("column {0} is empty or holds '/', '+', '#' or NUL, which a topic level must not")]
    Level(usize),
    #[error("the topic would be longer than MQTT allows")]
    TooLong,
}

impl FromStr for TopicTemplate {
    type Err = TemplateError;

    fn from_str(template: &str) -> Result<Self, TemplateError> {
        let is_forbidden = |c| matches!(c, '+' | '#' | '\0');
        if template.is_empty() || template.starts_with('$') || template.contains(is_forbidden) {
            return Err(TemplateError::Topic { template: template.to_owned() });
        }
        let malformed = || TemplateError::Brace { template: template.to_owned() };
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = template;
        while let Some(at) = rest.find(['{', '}']) {
            text.push_str(&rest[..at]);
            let brace = &rest[at..];
            if let Some(behind) = brace.strip_prefix("{{") {
                text.push('{');
                rest = behind;
            } else if let Some(behind) = brace.strip_prefix("}}") {
                text.push('}');
                rest = behind;
            } else {
                let (column, behind) =
                    brace.strip_prefix('{').and_then(|inner| inner.split_once('}')).ok_or_else(malformed)?;
                let column = column.parse().map_err(|_| malformed())?;
                if !text.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut text)));
                }
                parts.push(Part::Column(column));
                rest = behind;
            }
        }
        text.push_str(rest);
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        Ok(Self { parts })
    }
}

impl TopicTemplate {
    /// The topic for an output of these columns.
    ///
    /// # Errors
    /// See [`TopicError`].
    pub(crate) fn topic<T: AsRef<str>>(&self, columns: &[T]) -> Result<String, TopicError> {
        let mut topic = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => topic.push_str(text),
                Part::Column(column) => {
                    let text = columns.get(*column).ok_or(TopicError::NoColumn(*column))?.as_ref();
                    if text.is_empty() || text.contains(['/', '+', '#', '\0']) {
                        return Err(TopicError::Level(*column));
                    }
                    topic.push_str(text);
                }
            }
        }
        if topic.len() > TOPIC_BYTES_MAX { Err(TopicError::TooLong) } else { Ok(topic) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_take_their_places() {
        let topic =
            |template: &str, columns: &[&str]| template.parse::<TopicTemplate>().unwrap().topic(columns);
        assert_eq!(topic("averages/{0}", &["7", "3"]), Ok("averages/7".to_owned()));
        assert_eq!(topic("{1}/{0}/x", &["a", "b"]), Ok("b/a/x".to_owned()));
        assert_eq!(topic("a/{{0}}", &[]), Ok("a/{0}".to_owned()));
        assert_eq!(topic("a/{2}", &["7"]), Err(TopicError::NoColumn(2)));
        for text in ["", "a/b", "+", "x#"] {
            assert_eq!(topic("a/{0}", &[text]), Err(TopicError::Level(0)));
        }
        let long = "x".repeat(TOPIC_BYTES_MAX);
        assert_eq!(topic("a/{0}", &[&long]), Err(TopicError::TooLong));
    }

    #[test]
    fn a_template_that_is_no_topic_is_refused() {
        for template in ["", "a/+", "#", "$SYS/x", "a/{", "a/{x}", "a/}b", "a/{0"] {
            assert!(template.parse::<TopicTemplate>().is_err(), "{template}");
        }
    }
}
