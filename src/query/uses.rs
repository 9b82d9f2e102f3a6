//! Which kinds of functions an expression uses: what decides how its query is planned.

use sqlparser::tokenizer::{Token, Tokenizer};

use super::aggregate::is_aggregate;
use super::text;

/// What an expression uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Uses {
    pub(super) has_aggregate: bool,
    pub(super) has_over: bool,
}

impl Uses {
    /// Looks at the tokens only, so that what is wrong with the expression does not matter yet.
    pub(super) fn of(expression: &str) -> Self {
        let Ok(tokens) = Tokenizer::new(&text::DIALECT, expression).tokenize() else {
            return Self::default();
        };
        let tokens: Vec<Token> =
            tokens.into_iter().filter(|token| !matches!(token, Token::Whitespace(_))).collect();
        let word = |at: usize| match tokens.get(at) {
            Some(Token::Word(word)) if word.quote_style.is_none() => word.value.to_uppercase(),
            _ => String::new(),
        };
        let is_call = |at: usize| tokens.get(at + 1) == Some(&Token::LParen);
        let mut uses = Self::default();
        for at in (0..tokens.len()).filter(|at| is_call(*at)) {
            if word(at) == "OVER" {
                uses.has_over = true;
            } else if is_aggregate(&word(at)) && word(closing(&tokens, at + 1) + 1) != "OVER" {
                uses.has_aggregate = true;
            }
        }
        uses
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self {
            has_aggregate: self.has_aggregate || other.has_aggregate,
            has_over: self.has_over || other.has_over,
        }
    }
}

/// Where the parenthesis that opens at `open` closes.
fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token {
            Token::LParen => depth += 1,
            Token::RParen if depth == 1 => return at,
            Token::RParen => depth -= 1,
            _ => {}
        }
    }
    tokens.len()
}
