//! Paths: where a field is in a JSON frame.
//!
//! Grammar:
//!   path    member ( "." member | "[" index "]" )*
//!   member  characters other than `.` `[` `]` `"` and blanks, or anything between `"` and `"` (`""` for a quote)
//!   index   digits, 0 for the first element
//!
//! Examples: `temperature`, `data.temp`, `values[0]`, `data."outside.temp"[2].value`.
//!
//! Limits: 32 steps; index 0 to 4,095.

use std::fmt;

/// Most steps of a path.
pub(crate) const PATH_STEPS_MAX: usize = 32;
/// Highest index of an array element.
pub(crate) const PATH_INDEX_MAX: usize = 4_095;

/// A step from a JSON value to one within it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PathStep {
    /// A member of an object, by name.
    Member(String),
    /// An element of an array, from 0.
    Element(usize),
}

/// The steps from a frame's object to a field's value: one or more, the first a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldPath(Vec<PathStep>);

impl FieldPath {
    /// The path of a member of the frame's object, whatever characters its name has.
    pub(crate) fn member(name: &str) -> Self {
        Self(vec![PathStep::Member(name.to_owned())])
    }

    /// Reads a path.
    ///
    /// # Errors
    /// What is wrong at which character, from 1.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parser = PathParser { text, position: 0 };
        let mut steps = vec![PathStep::Member(parser.member()?)];
        while let Some(character) = parser.peek() {
            if steps.len() == PATH_STEPS_MAX {
                return Err(parser.error(&format!("a path has at most {PATH_STEPS_MAX} steps")));
            }
            parser.position += character.len_utf8();
            steps.push(match character {
                '.' => PathStep::Member(parser.member()?),
                '[' => PathStep::Element(parser.index()?),
                _ => {
                    parser.position -= character.len_utf8();
                    return Err(parser.error("expected \".\" and a member, or \"[\" and an index"));
                }
            });
        }
        Ok(Self(steps))
    }

    pub(crate) fn steps(&self) -> &[PathStep] {
        &self.0
    }

    /// The member's name, of a path of one step.
    pub(super) fn only_member(&self) -> Option<&str> {
        match self.steps() {
            [PathStep::Member(name)] => Some(name),
            _ => None,
        }
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            match step {
                PathStep::Member(name) => {
                    f.write_str(if index == 0 { "" } else { "." })?;
                    if !name.is_empty() && name.chars().all(is_bare) {
                        f.write_str(name)?;
                    } else {
                        write!(f, "\"{}\"", name.replace('"', "\"\""))?;
                    }
                }
                PathStep::Element(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// True for the characters of a member that is not in quotes.
fn is_bare(character: char) -> bool {
    !matches!(character, '.' | '[' | ']' | '"') && !character.is_whitespace()
}

struct PathParser<'a> {
    text: &'a str,
    /// First byte not read yet.
    position: usize,
}

impl<'a> PathParser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.position..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn error(&self, message: &str) -> String {
        let character = self.text[..self.position].chars().count() + 1;
        format!(
            "path \"{}\" at character {character}: {message}; write it as data.temp, values[0] or data.\"a b\"",
            self.text
        )
    }

    fn member(&mut self) -> Result<String, String> {
        if self.peek() == Some('"') {
            return self.quoted_member();
        }
        let rest = self.rest();
        let length = rest.find(|character| !is_bare(character)).unwrap_or(rest.len());
        if length == 0 {
            return Err(self.error("a member's name is missing"));
        }
        self.position += length;
        Ok(rest[..length].to_owned())
    }

    fn quoted_member(&mut self) -> Result<String, String> {
        let mut name = String::new();
        let rest = &self.rest()[1..];
        let mut characters = rest.char_indices().peekable();
        while let Some((index, character)) = characters.next() {
            if character != '"' {
                name.push(character);
            } else if characters.next_if(|(_, next)| *next == '"').is_some() {
                name.push('"');
            } else {
                self.position += 1 + index + 1;
                return Ok(name);
            }
        }
        Err(self.error("the quote is not closed"))
    }

    fn index(&mut self) -> Result<usize, String> {
        let rest = self.rest();
        let length = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
        if length == 0 {
            return Err(self.error("an index is missing: digits, 0 for the first element"));
        }
        let index = match rest[..length].parse() {
            Ok(index) if index <= PATH_INDEX_MAX => index,
            _ => return Err(self.error(&format!("the index is above {PATH_INDEX_MAX}"))),
        };
        self.position += length;
        if self.peek() != Some(']') {
            return Err(self.error("\"]\" is missing"));
        }
        self.position += 1;
        Ok(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_and_written_back() {
        for text in [
            "temperature",
            "data.temp",
            "values[0]",
            "a.\"b.c\"[2].d[10][4095]",
            "\"\"",
            "a.\"\"\"\"",
            "é.ü-1",
        ] {
            assert_eq!(FieldPath::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(
            FieldPath::parse("a.\"b.\"\"c\"[2]").unwrap().steps(),
            [PathStep::Member("a".into()), PathStep::Member("b.\"c".into()), PathStep::Element(2)]
        );
        assert_eq!(FieldPath::parse("\"a\"").unwrap(), FieldPath::member("a"));
    }

    #[test]
    fn wrong_paths_are_refused_with_the_place() {
        let deep = "a.".repeat(PATH_STEPS_MAX) + "a";
        for (text, message) in [
            ("", "at character 1: a member's name is missing"),
            ("data..temp", "at character 6: a member's name is missing"),
            ("é.", "at character 3: a member's name is missing"),
            ("[0]", "at character 1: a member's name is missing"),
            ("a b", "at character 2: expected"),
            ("a]", "at character 2: expected"),
            ("a\"b\"", "at character 2: expected"),
            ("a.\"b", "at character 3: the quote is not closed"),
            ("a[]", "at character 3: an index is missing"),
            ("a[-1]", "at character 3: an index is missing"),
            ("a[4096]", "at character 3: the index is above 4095"),
            ("a[99999999999999999999]", "at character 3: the index is above 4095"),
            ("a[1", "at character 4: \"]\" is missing"),
            ("a[1]b", "at character 5: expected"),
            (&deep, "at character 64: a path has at most 32 steps"),
        ] {
            let error = FieldPath::parse(text).unwrap_err();
            assert!(error.contains(message), "{text:?}: {error}");
        }
    }
}
