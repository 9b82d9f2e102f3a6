//! Templates: a sink's line as text with columns in it, such as `({key},{average})`.
//!
//! `{name}` is the value of a column, `{{` and `}}` are the braces themselves; everything else is as it is.

/// A template's texts and columns, in turn.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Template {
    /// Each column with the text before it.
    pub(super) columns: Vec<(String, usize)>,
    /// The text behind the last column.
    pub(super) tail: String,
}

impl Template {
    /// Reads a template over columns of these names.
    ///
    /// # Errors
    /// What is wrong at which character, from 1; a column that is unknown, with the ones there are.
    pub(super) fn parse(text: &str, names: &[String]) -> Result<Self, String> {
        let mut template = Self { columns: Vec::new(), tail: String::new() };
        let mut rest = text;
        while let Some(position) = rest.find(['{', '}']) {
            let (before, brace) = rest.split_at(position);
            template.tail.push_str(before);
            if brace.starts_with("{{") || brace.starts_with("}}") {
                template.tail.push_str(&brace[..1]);
                rest = &brace[2..];
                continue;
            }
            let at = text.len() - brace.len();
            if brace.starts_with('}') {
                return Err(error(text, at, "\"}\" without \"{\"; write \"}}\" for the brace itself"));
            }
            let end = brace
                .find('}')
                .ok_or_else(|| error(text, at, "\"{\" is not closed; write \"{{\" for the brace itself"))?;
            let name = &brace[1..end];
            let index = names
                .iter()
                .position(|other| other == name)
                .ok_or_else(|| error(text, at, &unknown_column(name, names)))?;
            template.columns.push((std::mem::take(&mut template.tail), index));
            rest = &brace[end + 1..];
        }
        template.tail.push_str(rest);
        Ok(template)
    }
}

fn unknown_column(name: &str, names: &[String]) -> String {
    format!("there is no column \"{name}\"; the query gives {}", names.join(", "))
}

fn error(text: &str, position: usize, message: &str) -> String {
    let character = text[..position].chars().count() + 1;
    format!("template \"{text}\" at character {character}: {message}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_read() {
        let names = ["key".to_owned(), "average".to_owned()];
        let columns = |pieces: &[(&str, usize)]| {
            pieces.iter().map(|(text, index)| ((*text).to_owned(), *index)).collect::<Vec<_>>()
        };
        for (text, pieces, tail) in [
            ("({key},{average})", columns(&[("(", 0), (",", 1)]), ")"),
            ("", columns(&[]), ""),
            ("a{{b}}c", columns(&[]), "a{b}c"),
            ("{average}{average}{{{key}}}", columns(&[("", 1), ("", 1), ("{", 0)]), "}"),
        ] {
            let expected = Template { columns: pieces, tail: tail.to_owned() };
            assert_eq!(Template::parse(text, &names), Ok(expected), "{text}");
        }
    }

    #[test]
    fn wrong_templates_are_refused_with_the_place() {
        let names = ["key".to_owned(), "average".to_owned()];
        for (text, message) in [
            ("é{kay}", "at character 2: there is no column \"kay\"; the query gives key, average"),
            ("{}", "at character 1: there is no column \"\"; the query gives key, average"),
            ("{key", "at character 1: \"{\" is not closed"),
            ("{key} }", "at character 7: \"}\" without \"{\""),
        ] {
            let error = Template::parse(text, &names).unwrap_err();
            assert!(error.contains(message), "{text:?}: {error}");
        }
    }
}
