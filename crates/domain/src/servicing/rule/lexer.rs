//! From text to tokens with their places.

use super::{RuleError, error_at};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Name(String),
    Int(i64),
    Text(String),
    /// One of the operators and brackets.
    Sign(&'static str),
    End,
}

#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub token: Token,
    pub start: usize,
    pub end: usize,
}

/// Longer signs first, so that `<=` is not read as `<`.
const SIGNS: [&str; 22] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "+", "-", "*", "(", ")", "[", "]", ",", ".", "?", ":",
    "/", "%",
];

pub(super) fn tokens(source: &str) -> Result<Vec<Placed>, RuleError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < source.len() {
        let rest = &source[at..];
        let first = rest.chars().next().unwrap_or(' ');
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
            continue;
        }
        let (token, length) = if first.is_ascii_alphabetic() || first == '_' {
            let length = rest
                .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                .unwrap_or(rest.len());
            (Token::Name(rest[..length].to_owned()), length)
        } else if first.is_ascii_digit() {
            let length = rest
                .find(|c: char| !c.is_ascii_alphanumeric())
                .unwrap_or(rest.len());
            let number = rest[..length].parse().map_err(|_| {
                error_at(
                    source,
                    at,
                    format!("{:?} is no number that fits 64 bits", &rest[..length]),
                )
            })?;
            (Token::Int(number), length)
        } else if first == '"' || first == '\'' {
            text(source, at, first)?
        } else if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
            (Token::Sign(sign), sign.len())
        } else {
            return Err(error_at(source, at, format!("{first:?} has no meaning here")));
        };
        tokens.push(Placed {
            token,
            start: at,
            end: at + length,
        });
        at += length;
    }
    tokens.push(Placed {
        token: Token::End,
        start: source.len(),
        end: source.len(),
    });
    Ok(tokens)
}

fn text(source: &str, start: usize, quote: char) -> Result<(Token, usize), RuleError> {
    let mut value = String::new();
    let mut characters = source[start + 1..].char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            c if c == quote => return Ok((Token::Text(value), index + 2)),
            '\n' => break,
            '\\' => match characters.next() {
                Some((_, escaped @ ('\\' | '"' | '\''))) => value.push(escaped),
                Some((_, 'n')) => value.push('\n'),
                _ => {
                    return Err(error_at(
                        source,
                        start + 1 + index,
                        "after \\ comes one of \\ \" ' n",
                    ));
                }
            },
            c => value.push(c),
        }
    }
    Err(error_at(
        source,
        start,
        "this text has no closing quote on its line",
    ))
}
