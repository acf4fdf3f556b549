//! The files that projects keep their environment in.
//!
//! Owns the dialect: what a line of a `.env` file means, and how to write one that means the same. Must not
//! know which values are secret, nor read files.
//!
//! Why not a crate: `dotenvy`, the one that is kept up, puts the daemon's own environment in place of
//! `$NAME`, gives no line numbers and stops at the first fault. Here `$NAME` stays as it is written; a
//! secret that is put together from others is one secret, and whoever reads it puts it together.
//!
//! The dialect is what the common libraries agree on: `export` in front, quotes of three kinds over several
//! lines, `\n`, `\r`, `\t`, `\\`, `\"`, `\$` and `` \` `` inside double quotes only, `#` behind a space or at
//! the beginning. `NAME: value` is none of it.

pub mod mask;
#[cfg(test)]
mod tests;

use std::ops::Range;

use super::secret_value::Secret;

/// One variable.
#[derive(Clone)]
pub struct Entry {
    /// Name: letters, digits, `_`, `.` and `-`, no digit first.
    pub name: String,
    /// Value, without quotes.
    pub value: Secret,
    /// Line it begins on, from 1.
    pub line: usize,
}

/// A line that means nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a line. No part of the line is in it, since that may be secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// It has bytes that are not UTF-8, or NUL.
    #[error("the line is not text")]
    NotText,
    /// It is no assignment.
    #[error("the line has no `NAME=` at its beginning")]
    NoAssignment,
    /// A quote is opened and never closed.
    #[error("the quote is not closed")]
    OpenQuote,
    /// Something stands behind the closing quote.
    #[error("something stands behind the closing quote")]
    AfterQuote,
    /// The file is longer than 1 MiB; what is beyond is not read.
    #[error("the file is longer than 1 MiB")]
    TooLong,
    /// There are more than 10,000 variables; what is beyond is not read.
    #[error("the file has more than 10000 variables")]
    TooMany,
}

/// Bytes that are read.
const LONGEST: usize = 1 << 20;
/// Variables that are read.
const MOST: usize = 10_000;
/// What marks a file as UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Reads a file. What means nothing is left out and reported; the rest counts. A name may come twice; the
/// last one is in force. `$NAME` in a value stays as it is written.
#[must_use]
pub fn parse(bytes: &[u8]) -> (Vec<Entry>, Vec<Problem>) {
    let (mut entries, mut problems) = (Vec::new(), Vec::new());
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let (mut rest, whole) = match bytes.get(..LONGEST) {
        Some(start) if bytes.len() > LONGEST => (whole_lines(start), false),
        _ => (bytes, true),
    };
    let mut line = 1;
    while !rest.is_empty() {
        if entries.len() == MOST {
            problems.push(Problem { line, fault: Fault::TooMany });
            return (entries, problems);
        }
        let taken = match statement(rest) {
            Ok((entry, taken)) => {
                entries.extend(entry.map(|Statement { name, value, .. }| Entry { name, value, line }));
                taken
            }
            Err(fault) => {
                problems.push(Problem { line, fault });
                line_length(rest)
            }
        };
        line += rest[..taken].iter().filter(|byte| **byte == b'\n').count();
        rest = &rest[taken..];
    }
    if !whole {
        problems.push(Problem { line, fault: Fault::TooLong });
    }
    (entries, problems)
}

/// Writes a file that [`parse`] reads as the same names and values. Values are without NUL, names as
/// [`Entry::name`] has them.
#[must_use]
pub fn render<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::new();
    for (name, value) in variables {
        text.push_str(name);
        text.push('=');
        quote(value, &mut text);
        text.push('\n');
    }
    text
}

/// Writes a value so that as many dialects as possible read the same.
fn quote(value: &str, text: &mut String) {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_./:@%+,=~-?&".contains(&byte);
    if value.bytes().all(plain) {
        text.push_str(value);
    } else if !value.contains(['\'', '\n', '\r']) {
        text.push('\'');
        text.push_str(value);
        text.push('\'');
    } else {
        text.push('"');
        for c in value.chars() {
            match c {
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\\' | '"' | '$' | '`' => text.extend(['\\', c]),
                _ => text.push(c),
            }
        }
        text.push('"');
    }
}

/// Everything up to the last line's end.
fn whole_lines(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    &bytes[..end]
}

/// Length of the first line, with its end.
fn line_length(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1)
}

/// One assignment.
struct Statement {
    name: String,
    value: Secret,
    /// Where the value stands, with its quotes.
    at: Range<usize>,
}

/// Reads one assignment, or an empty line; gives back how many bytes it takes, its line's end included.
fn statement(bytes: &[u8]) -> Result<(Option<Statement>, usize), Fault> {
    let length = line_length(bytes);
    let text = text_of(&bytes[..length])?;
    let trimmed = text.trim_start();
    if trimmed.is_empty() || trimmed.starts_with('#') {
        return Ok((None, length));
    }
    let unexported = trimmed.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t']));
    let assignment = unexported.unwrap_or(trimmed).trim_start();
    let (name, value) = assignment.split_once('=').ok_or(Fault::NoAssignment)?;
    let name = name.trim_end();
    if !is_name(name) {
        return Err(Fault::NoAssignment);
    }
    let value = value.trim_start_matches([' ', '\t']);
    let Some(quote) = value.bytes().next().filter(|byte| b"'\"`".contains(byte)) else {
        let plain = unquoted(value);
        let start = length - value.trim_start().len();
        let at = start..start + plain.len();
        return Ok((Some(Statement { name: name.to_owned(), value: plain.into(), at }), length));
    };
    // The value may go on over more lines than this one.
    let from = length - value.len() + 1;
    let (value, inside) = quoted(&bytes[from..], quote)?;
    let after = from + inside + 1;
    let end = after + line_length(&bytes[after..]);
    let behind = text_of(&bytes[after..end])?.trim();
    if !behind.is_empty() && !behind.starts_with('#') {
        return Err(Fault::AfterQuote);
    }
    Ok((Some(Statement { name: name.to_owned(), value, at: from - 1..after }), end))
}

fn text_of(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0')).ok_or(Fault::NotText)
}

fn is_name(name: &str) -> bool {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    first && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// A value up to a comment, without spaces around it.
fn unquoted(value: &str) -> &str {
    let comment = value
        .char_indices()
        .find(|(at, c)| *c == '#' && value[..*at].chars().next_back().is_none_or(char::is_whitespace));
    value[..comment.map_or(value.len(), |(at, _)| at)].trim()
}

/// A value up to its closing quote, and how many bytes it takes.
fn quoted(bytes: &[u8], quote: u8) -> Result<(Secret, usize), Fault> {
    let mut escaped = false;
    let closing = bytes.iter().position(|byte| {
        let here = *byte == quote && !escaped;
        escaped = quote == b'"' && *byte == b'\\' && !escaped;
        here
    });
    let closing = closing.ok_or(Fault::OpenQuote)?;
    let text = text_of(&bytes[..closing])?.replace("\r\n", "\n");
    let value = if quote == b'"' { unescaped(&text) } else { text };
    Ok((Secret::new(value), closing))
}

fn unescaped(text: &str) -> String {
    let mut value = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        let next = if c == '\\' { rest.clone().next() } else { None };
        let meant = match next {
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some(c @ ('\\' | '"' | '$' | '`')) => c,
            _ => {
                value.push(c);
                continue;
            }
        };
        value.push(meant);
        rest.next();
    }
    value
}
