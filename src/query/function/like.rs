//! `LIKE`: `%` is any text, `_` any character, the escape character takes the next one as it is.
//!
//! Time is at most proportional to the length of the text times that of the longest part between two `%`: after a
//! `%` the first place its following part fits is kept, so nothing is tried twice. A constant pattern is analysed
//! once: patterns with `%` at the ends only are searched for as plain text.

use memchr::memmem;

/// True when the text matches the pattern. An escape character at the end of the pattern stands for itself.
pub(crate) fn like(text: &str, pattern: &str, escape: Option<char>) -> bool {
    let (mut text_at, mut pattern_at) = (0, 0);
    // Where to go on when a character does not fit: behind the last `%`, with it taking one character more.
    let mut again: Option<(usize, usize)> = None;
    loop {
        let (token, pattern_next) = next_token(pattern, pattern_at, escape);
        if token == Token::AnyText {
            again = Some((text_at, pattern_next));
            pattern_at = pattern_next;
            continue;
        }
        let character = text[text_at..].chars().next();
        let fits = match (token, character) {
            (Token::End, None) => return true,
            (Token::AnyCharacter, Some(_)) => true,
            (Token::Character(wanted), Some(character)) => wanted == character,
            _ => false,
        };
        if fits {
            text_at += character.map_or(0, char::len_utf8);
            pattern_at = pattern_next;
            continue;
        }
        let Some((from, behind)) = again else {
            return false;
        };
        let Some(skipped) = text[from..].chars().next() else {
            return false;
        };
        text_at = from + skipped.len_utf8();
        pattern_at = behind;
        again = Some((text_at, behind));
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    AnyText,
    AnyCharacter,
    Character(char),
    End,
}

/// The part of the pattern at a byte, and the byte behind it.
fn next_token(pattern: &str, at: usize, escape: Option<char>) -> (Token, usize) {
    let mut characters = pattern[at..].chars();
    let Some(character) = characters.next() else {
        return (Token::End, at);
    };
    let next = at + character.len_utf8();
    if Some(character) == escape {
        return match characters.next() {
            Some(escaped) => (Token::Character(escaped), next + escaped.len_utf8()),
            None => (Token::Character(character), next),
        };
    }
    let token = match character {
        '%' => Token::AnyText,
        '_' => Token::AnyCharacter,
        character => Token::Character(character),
    };
    (token, next)
}

/// A constant pattern.
#[derive(Debug, Clone)]
pub(crate) struct LikePattern(Shape);

#[derive(Debug, Clone)]
enum Shape {
    Equals(String),
    StartsWith(String),
    EndsWith(String),
    Contains(Box<memmem::Finder<'static>>),
    General { pattern: String, escape: Option<char> },
}

impl LikePattern {
    /// # Errors
    /// A text for the user: the escape character stands before nothing it could escape.
    pub(crate) fn new(pattern: &str, escape: Option<char>) -> Result<Self, String> {
        let mut tokens = Vec::new();
        let mut at = 0;
        while at < pattern.len() {
            let (token, next) = next_token(pattern, at, escape);
            if pattern[at..next].chars().eq(escape) {
                return Err(format!(
                    "the LIKE pattern {pattern:?} ends with its escape character; double it"
                ));
            }
            tokens.push(token);
            at = next;
        }
        tokens.dedup_by(|token, before| *token == Token::AnyText && *before == Token::AnyText);
        let starts_open = tokens.first() == Some(&Token::AnyText);
        let ends_open = tokens.len() > usize::from(starts_open) && tokens.last() == Some(&Token::AnyText);
        let middle = &tokens[usize::from(starts_open)..tokens.len() - usize::from(ends_open)];
        let plain: Option<String> = middle
            .iter()
            .map(|token| if let Token::Character(character) = token { Some(*character) } else { None })
            .collect();
        Ok(Self(match (plain, starts_open, ends_open) {
            (Some(plain), false, false) => Shape::Equals(plain),
            (Some(plain), false, true) => Shape::StartsWith(plain),
            (Some(plain), true, false) => Shape::EndsWith(plain),
            (Some(plain), true, true) => Shape::Contains(Box::new(memmem::Finder::new(&plain).into_owned())),
            (None, _, _) => Shape::General { pattern: pattern.to_owned(), escape },
        }))
    }

    /// True when the text matches.
    pub(crate) fn matches(&self, text: &str) -> bool {
        match &self.0 {
            Shape::Equals(plain) => text == plain,
            Shape::StartsWith(plain) => text.starts_with(plain.as_str()),
            Shape::EndsWith(plain) => text.ends_with(plain.as_str()),
            Shape::Contains(finder) => finder.find(text.as_bytes()).is_some(),
            Shape::General { pattern, escape } => like(text, pattern, *escape),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// By the definition, exponential.
    fn model(text: &[char], pattern: &[char], escape: Option<char>) -> bool {
        match pattern {
            [] => text.is_empty(),
            [first, second, rest @ ..] if Some(*first) == escape => {
                text.first() == Some(second) && model(&text[1..], rest, escape)
            }
            ['%', rest @ ..] if escape != Some('%') => {
                (0..=text.len()).any(|skipped| model(&text[skipped..], rest, escape))
            }
            ['_', rest @ ..] if escape != Some('_') => !text.is_empty() && model(&text[1..], rest, escape),
            [first, rest @ ..] => text.first() == Some(first) && model(&text[1..], rest, escape),
        }
    }

    #[test]
    fn a_hostile_pattern_takes_no_time() {
        let text = "a".repeat(20_000);
        assert!(!like(&text, &format!("{}b", "%a".repeat(50)), None));
    }

    #[test]
    fn an_escape_at_the_end_is_refused() {
        assert!(LikePattern::new("50!", Some('!')).unwrap_err().contains("double it"));
        assert!(LikePattern::new("50!!", Some('!')).unwrap().matches("50!"));
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(text in "[aü%]{0,8}", pattern in "[aü%_!]{0,7}", escaped: bool) {
            let escape = escaped.then_some('!');
            let characters = |text: &str| text.chars().collect::<Vec<_>>();
            let expected = model(&characters(&text), &characters(&pattern), escape);
            prop_assert_eq!(like(&text, &pattern, escape), expected);
            if let Ok(compiled) = LikePattern::new(&pattern, escape) {
                prop_assert_eq!(compiled.matches(&text), expected);
            }
        }
    }
}
