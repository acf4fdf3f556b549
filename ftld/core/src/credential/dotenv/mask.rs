//! A `.env` file as a sandbox may see it.
//!
//! Owns that the text stays as it was but for secret values, and that what is not understood with certainty
//! is left out. Must not know which values are secret, nor where shadows come from.

use super::{BYTE_ORDER_MARK, LONGEST, line_length, quote, statement};
use crate::credential::classify::{self, Class};

/// What a sandbox sees of a variable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Shown {
    /// The value as it is.
    Plain,
    /// Another value.
    Instead(String),
    /// Nothing.
    Withheld,
}

/// Shorter real values are not looked for in comments: they are parts of words.
const SHORTEST_IN_COMMENT: usize = 4;
/// Shorter real values are not looked for in other variables, which are judged by themselves.
const SHORTEST: usize = 8;
/// A value of so many letters and nothing else may be a word: `postgres` is the user's name as often as the
/// password, and the environment shows the one that is not secret as well.
const LONGEST_WORD: usize = 10;
/// How every line begins that stands for something withheld.
pub const WITHHELD: &str = "# withheld by FTL";

/// A file with other values in it. Order, comments and quotes stay. `reals` are values that must not be in
/// it; `shown` is asked about each variable by name and value. From the first line on that cannot be read
/// nothing is shown: what follows may be the rest of a value.
#[must_use]
pub fn mask(bytes: &[u8], reals: &[&str], shown: &mut dyn FnMut(&str, &str) -> Shown) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    if rest.len() > LONGEST {
        return b"# withheld by FTL: the file is too long\n".to_vec();
    }
    while !rest.is_empty() {
        let (seen, taken) = match statement(rest) {
            Ok((None, taken)) => (comment(&rest[..taken], reals), taken),
            Ok((Some(one), taken)) => {
                let (before, after) = (&rest[..one.at.start], &rest[one.at.end..taken]);
                let written = &rest[one.at.clone()];
                let kept = shown(&one.name, one.value.expose());
                let seen = match kept {
                    Shown::Plain => Some((written.to_vec(), one.value.expose().to_owned())),
                    Shown::Instead(text) => Some((rewritten(written, &text), text)),
                    Shown::Withheld => None,
                };
                let line = seen.and_then(|(value, means)| {
                    let line = [before, &value, &behind(after, reals)].concat();
                    is_safe(&line, &one.name, &means, reals).then_some(line)
                });
                (line.unwrap_or_else(|| withheld(&one.name)), taken)
            }
            Err(_) => {
                out.extend(b"# withheld by FTL: what follows cannot be read with certainty\n");
                return out;
            }
        };
        out.extend(seen);
        rest = &rest[taken..];
    }
    out
}

/// Whether a text has one of the values in it. Short ones and words are not looked for.
#[must_use]
pub fn holds(text: &[u8], reals: &[&str]) -> bool {
    let text = String::from_utf8_lossy(text);
    reals.iter().any(|real| real.len() >= SHORTEST && !is_word(real) && text.contains(real))
}

fn is_word(real: &str) -> bool {
    real.len() <= LONGEST_WORD && real.bytes().all(|byte| byte.is_ascii_lowercase())
}

/// A value in the quotes of another one, as far as it can stand there.
fn rewritten(written: &[u8], text: &str) -> Vec<u8> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_./:@%+,=~-?&".contains(&byte);
    let mut value = String::new();
    match written.first() {
        Some(mark @ (b'"' | b'\'' | b'`')) if text.bytes().all(plain) => {
            value.push((*mark).into());
            value.push_str(text);
            value.push((*mark).into());
        }
        _ => quote(text, &mut value),
    }
    value.into_bytes()
}

/// What stands behind a value: spaces and a comment.
fn behind(after: &[u8], reals: &[&str]) -> Vec<u8> {
    let text = String::from_utf8_lossy(after);
    match text.trim().is_empty() || is_harmless(&text, reals) {
        true => after.to_vec(),
        false => b"\n".to_vec(),
    }
}

/// A line without a variable.
fn comment(line: &[u8], reals: &[&str]) -> Vec<u8> {
    match is_harmless(&String::from_utf8_lossy(line), reals) {
        true => line.to_vec(),
        false => b"# withheld by FTL: a comment that may hold a secret\n".to_vec(),
    }
}

fn withheld(name: &str) -> Vec<u8> {
    match classify::looks_secret(name) {
        true => b"# withheld by FTL\n".to_vec(),
        false => format!("# withheld by FTL: {name}\n").into_bytes(),
    }
}

/// Whether a comment has nothing in it that is, or looks like, a secret.
fn is_harmless(comment: &str, reals: &[&str]) -> bool {
    let text = comment.trim().trim_start_matches(['#', ' ', '\t']);
    if reals.iter().any(|real| real.len() >= SHORTEST_IN_COMMENT && text.contains(real)) {
        return false;
    }
    if classify::looks_secret(text) || text.split_whitespace().any(|word| is_secret("", word)) {
        return false;
    }
    // A variable that was commented out, in one of the ways in which people do that.
    let assigned = text.split_once('=').or_else(|| text.split_once(':'));
    let variable = assigned.is_some_and(|(name, value)| {
        let name = name.trim().rsplit(char::is_whitespace).next().unwrap_or_default();
        is_secret(name, value.trim().trim_matches(['"', '\'', '`']))
    });
    // Prose about a secret with something in it that is no word.
    let mut words = text.split(|c: char| c.is_whitespace() || ",;".contains(c));
    let about = words.clone().any(classify::names_secret);
    let odd = |word: &str| {
        word.bytes().any(|byte| byte.is_ascii_digit()) && word.bytes().any(|byte| byte.is_ascii_alphabetic())
    };
    !(variable || (about && words.any(odd)))
}

fn is_secret(name: &str, value: &str) -> bool {
    classify::classify(name, value) != Class::Plain
}

/// Whether a line means what it should and holds nothing that it must not.
fn is_safe(line: &[u8], name: &str, means: &str, reals: &[&str]) -> bool {
    let same = matches!(
        statement(line),
        Ok((Some(read), taken)) if taken == line.len() && read.name == name && read.value.expose() == means
    );
    let holds = holds(line, reals) || holds(means.as_bytes(), reals);
    same && !holds && !classify::looks_secret(name) && line_length(line) > 0
}
