//! SQL text to the parser's tree: what of Flink's syntax the parser does not know is taken out of the tokens first.

use sqlparser::ast::Query;
use sqlparser::dialect::GenericDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

use super::error::{QueryError, SqlText};

/// Depth to which expressions and queries may be nested.
const DEPTH_MAX: usize = 64;
/// Longest text of SQL, in bytes.
const TEXT_BYTES_MAX: usize = 64 << 10;

pub(super) static DIALECT: GenericDialect = GenericDialect {};

/// A parser over `text`.
///
/// # Errors
/// What cannot be a token, and a text that is too long.
pub(super) fn parser(text: &str) -> Result<Parser<'static>, QueryError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(QueryError::new(format!(
            "the text has {} bytes; at most {TEXT_BYTES_MAX} are read",
            text.len()
        )));
    }
    let tokens = Tokenizer::new(&DIALECT, text).tokenize_with_location().map_err(|error| {
        let at = SqlText(text).offset(error.location).unwrap_or(0);
        QueryError::new(error.message).at(at..(at + 1).min(text.len()))
    })?;
    let tokens = without_table_keywords(tokens);
    Ok(Parser::new(&DIALECT).with_recursion_limit(DEPTH_MAX).with_tokens_with_locations(tokens))
}

/// `TABLE name` and `TABLE name PARTITION BY …` as an argument of a window function become `name`.
fn without_table_keywords(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let significant = |token: &TokenWithSpan| !matches!(token.token, Token::Whitespace(_));
    let tokens: Vec<TokenWithSpan> = tokens.into_iter().filter(significant).collect();
    let keyword = |at: usize| match tokens.get(at).map(|token| &token.token) {
        Some(Token::Word(word)) => word.keyword,
        _ => Keyword::NoKeyword,
    };
    let mut kept = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        let is_argument = at > 0 && matches!(tokens[at - 1].token, Token::LParen | Token::RArrow);
        let is_name = matches!(tokens.get(at + 1).map(|token| &token.token), Some(Token::Word(_)));
        if is_argument && keyword(at) == Keyword::TABLE && is_name {
            kept.push(tokens[at + 1].clone());
            at += 2;
            if keyword(at) == Keyword::PARTITION && keyword(at + 1) == Keyword::BY {
                let is_descriptor = |token: &TokenWithSpan| matches!(&token.token, Token::Word(word) if word.value.eq_ignore_ascii_case("DESCRIPTOR"));
                let length = tokens[at..].iter().position(is_descriptor).unwrap_or(0);
                at += length.saturating_sub(1);
            }
            continue;
        }
        kept.push(tokens[at].clone());
        at += 1;
    }
    kept
}

/// The one query that `text` is.
///
/// # Errors
/// Text that does not parse, or is not one query.
pub(super) fn parse_query(text: &str) -> Result<Query, QueryError> {
    let mut parser = parser(text)?;
    while parser.consume_token(&Token::SemiColon) {}
    let first = parser.peek_token();
    match &first.token {
        Token::EOF => return Err(QueryError::new("the text is empty").help("write one SELECT")),
        Token::LParen => {}
        Token::Word(word) if matches!(word.keyword, Keyword::SELECT | Keyword::WITH | Keyword::VALUES) => {}
        _ => {
            return Err(QueryError::new("this is not a SELECT")
                .at(SqlText(text).range(first.span))
                .help("sources and sinks are tables of the job file; a query is one SELECT"));
        }
    }
    // Not as a statement of any kind: most of the parser is about the others, and stays out of the program so.
    let query = parser.parse_query().map_err(|error| parse_error(text, &parser, &error))?;
    let is_ended = parser.consume_token(&Token::SemiColon);
    while parser.consume_token(&Token::SemiColon) {}
    let next = parser.peek_token();
    match next.token {
        Token::EOF => Ok(*query),
        _ if is_ended => Err(QueryError::new("there is more than one statement")
            .at(SqlText(text).range(next.span))
            .help("write one SELECT a query; another [[query]] can read this one by its name")),
        _ => {
            let error = parser.expected::<()>("end of statement", next).expect_err("it is always an error");
            Err(parse_error(text, &parser, &error))
        }
    }
}

/// The parser's error, with the bytes it is about.
pub(super) fn parse_error(text: &str, parser: &Parser<'_>, error: &ParserError) -> QueryError {
    let message = match error {
        ParserError::RecursionLimitExceeded => {
            return QueryError::new(format!("the text is nested deeper than {DEPTH_MAX} levels"))
                .help("split it: a query can read another by its name");
        }
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
    };
    // The place is at the end of the message: "… at Line: 1, Column: 34".
    let (message, place) = message.rsplit_once(" at Line: ").unwrap_or((message, ""));
    let location = place.split_once(", Column: ").and_then(|(line, column)| {
        Some(Location { line: line.parse().ok()?, column: column.trim().parse().ok()? })
    });
    let sql = SqlText(text);
    let start = location.and_then(|location| sql.offset(location)).unwrap_or_else(|| {
        // Nothing but the end, or the token the parser stands at.
        match parser.peek_token_ref().token {
            Token::EOF => text.trim_end().len(),
            _ => sql.range(parser.peek_token_ref().span).start,
        }
    });
    // At the end there is nothing to point at but what stands before it.
    let end = text.trim_end().len();
    let start = match text[..end].char_indices().next_back() {
        Some((last, _)) if start >= end => last,
        _ => start,
    };
    let rest = &text[start..];
    let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    let length = length.max(rest.chars().next().map_or(0, char::len_utf8));
    let message = message.strip_prefix("sql parser error: ").unwrap_or(message);
    let mut chars = message.chars();
    let lower: String = chars.next().map(|c| c.to_ascii_lowercase()).into_iter().chain(chars).collect();
    QueryError::new(lower.replace("found: EOF", "found the end of the text"))
        .at(start..start + length)
        .help("the dialect is Flink SQL's SELECT; docs/sql.md lists what of it there is")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_functions_are_read_as_flink_writes_them() {
        for text in [
            "SELECT * FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE))",
            "SELECT * FROM TABLE(SESSION(TABLE r PARTITION BY a, b, DESCRIPTOR(ts), INTERVAL '5' MINUTES))",
            "SELECT * FROM TABLE(TUMBLE(DATA => TABLE r, TIMECOL => DESCRIPTOR(ts), SIZE => INTERVAL '1' MINUTE))",
        ] {
            let query = parse_query(text).unwrap();
            assert!(
                !query.to_string().contains("PARTITION") && query.to_string().contains("DESCRIPTOR"),
                "{query}"
            );
        }
    }

    #[test]
    fn errors_say_where() {
        let error = parse_query("SELECT a,\n  FROM t WHERE").unwrap_err();
        assert!(error.span.is_some(), "{error:?}");
        let error = parse_query("SELECT a FROM t WHERE (a > 1").unwrap_err();
        assert_eq!(error.message, "expected: ), found the end of the text");
        assert!(parse_query("").is_err() && parse_query("SELECT 1; SELECT 2").is_err());
        assert!(parse_query("DROP TABLE t").is_err() && parse_query("SELECT 'a").is_err());
        let deep = format!("SELECT {}1{}", "(".repeat(5_000), ")".repeat(5_000));
        assert!(parse_query(&deep).unwrap_err().message.contains("nested"));
    }
}
