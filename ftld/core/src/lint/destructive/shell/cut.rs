//! Cutting a script into commands and words.
//!
//! Owns quotes, substitutions, here-documents and comments, as far as they decide where a command ends. What
//! stands in a substitution is searched as a script of its own. Must not know what a command does.

use super::{Command, MOST, program, within};
use crate::lint::destructive::{Context, Hit};
use crate::lint::lexed::find;
use crate::lint::place::Family;

/// Bytes in quotes at most; what does not end there was no quote.
const QUOTED: usize = 4096;
/// Here-documents without an end that are looked for.
const LOST: u8 = 8;
/// Bytes in parentheses at most.
const ENCLOSED: usize = 1024;

/// Cuts a script into commands.
pub(super) struct Cutter<'a> {
    pub(super) family: Family,
    pub(super) script: &'a [u8],
    pub(super) base: usize,
    pub(super) context: &'a Context,
    pub(super) depth: u8,
    pub(super) commands: Vec<Command>,
    pub(super) hits: &'a mut Vec<Hit>,
    pub(super) now: Command,
    pub(super) word: Option<String>,
    /// Here-documents whose end was not found; each costs all of the script.
    pub(super) lost: u8,
}

impl Cutter<'_> {
    /// Cuts all of it.
    pub(super) fn run(&mut self) {
        let escapes = !matches!(self.family, Family::PowerShell | Family::Batch);
        let mut at = 0;
        let mut heredoc: Option<(Vec<u8>, bool)> = None;
        while at < self.script.len() {
            let rest = &self.script[at..];
            match rest[0] {
                b'\\' if escapes && rest.len() > 1 => {
                    if rest[1] != b'\n' {
                        self.push(at, char::from(rest[1]));
                    }
                    at += 2;
                }
                b'`' if !escapes => at += 1 + usize::from(rest.get(1) == Some(&b'\n')),
                quote @ (b'\'' | b'"' | b'`') => at = self.quoted(at, quote),
                b'$' if rest.starts_with(b"$(") && rest.get(2) != Some(&b'(') => at = self.substituted(at),
                b'<' if rest.starts_with(b"<(") => at = self.substituted(at),
                b'<' if rest.starts_with(b"<<") && rest.get(2) != Some(&b'<') => {
                    let (delimiter, length) = delimiter(rest);
                    heredoc = (!delimiter.is_empty()).then(|| (delimiter, self.feeds()));
                    self.end_word();
                    at += length;
                }
                b'#' if self.word.is_none() && self.family != Family::Batch => {
                    at = find(self.script, at, b"\n").unwrap_or(self.script.len());
                }
                b'\n' => {
                    self.end(at, false);
                    at += 1;
                    if let Some((delimiter, true)) = heredoc.take()
                        && self.lost < LOST
                    {
                        let end = skip(self.script, at, &delimiter);
                        self.lost += u8::from(end == at);
                        at = end;
                    }
                }
                b' ' | b'\t' | b'\r' => {
                    self.end_word();
                    at += 1;
                }
                b'>' => {
                    self.end_word();
                    at += run_of(rest, |byte| matches!(byte, b'>' | b'&' | b'|'));
                    at += run_of(&self.script[at..], |byte| byte == b' ');
                    self.push(at, '>');
                }
                b'|' => {
                    let both = usize::from(rest.starts_with(b"||") || rest.starts_with(b"|&"));
                    self.end(at, !rest.starts_with(b"||"));
                    at += 1 + both;
                }
                b'&' if self.word.is_none()
                    && self.now.words.is_empty()
                    && self.family == Family::PowerShell =>
                {
                    at += 1
                }
                b'&' if rest.get(1).is_some_and(|byte| *byte == b'>') => at += 1,
                b';' | b'&' => {
                    self.end(at, false);
                    at += 1;
                }
                b'(' | b')' if self.word.is_none() || rest[0] == b')' => {
                    self.end(at, false);
                    at += 1;
                }
                byte => {
                    self.push(at, char::from(byte));
                    at += 1;
                }
            }
        }
        self.end(self.script.len(), false);
    }

    fn push(&mut self, at: usize, c: char) {
        if self.now.words.is_empty() && self.word.is_none() {
            self.now.span.start = self.base + at;
        }
        self.word.get_or_insert_default().push(c);
    }

    fn end_word(&mut self) {
        if let Some(word) = self.word.take()
            && self.now.words.len() < MOST
        {
            self.now.words.push(word);
        }
    }

    /// Ends a command; the next one is `piped` to it or not.
    fn end(&mut self, at: usize, piped: bool) {
        self.end_word();
        if !self.now.words.is_empty() {
            self.now.span.end = self.base + at;
            let next = Command { piped, ..Command::default() };
            self.commands.push(std::mem::replace(&mut self.now, next));
        } else if piped {
            self.now.piped = true;
        }
    }

    /// Takes in what stands in quotes, and says where it ends.
    fn quoted(&mut self, at: usize, quote: u8) -> usize {
        let inside = &self.script[at + 1..];
        let mut length = 0;
        while length < inside.len().min(QUOTED) && inside[length] != quote {
            length += 1 + usize::from(quote == b'"' && inside[length] == b'\\');
        }
        if length >= inside.len().min(QUOTED) {
            // Nothing ends it: an apostrophe.
            self.push(at, '\'');
            return at + 1;
        }
        let inside = &inside[..length];
        if quote == b'`' {
            within(self.context, self.family, inside, self.base + at + 1, self.depth + 1, self.hits);
        } else if quote == b'"' && find(inside, 0, b"$(").is_some() {
            self.inner(inside, at + 1);
        }
        self.push(at, ' ');
        let text = String::from_utf8_lossy(inside);
        let word = self.word.get_or_insert_default();
        word.pop();
        word.push_str(&text);
        at + length + 2
    }

    /// Commands whose output stands in quotes.
    fn inner(&mut self, inside: &[u8], at: usize) {
        let mut from = 0;
        while let Some(start) = find(inside, from, b"$(") {
            let length = balanced(&inside[start + 1..]);
            let inner = &inside[start + 2..start + 1 + length];
            within(self.context, self.family, inner, self.base + at + start + 2, self.depth + 1, self.hits);
            from = start + 1 + length.max(1);
        }
    }

    /// A command whose output is part of a word.
    fn substituted(&mut self, at: usize) -> usize {
        let length = balanced(&self.script[at + 1..]);
        let inside = &self.script[at + 2..(at + 1 + length).max(at + 2)];
        within(self.context, self.family, inside, self.base + at + 2, self.depth + 1, self.hits);
        self.push(at, char::from(self.script[at]));
        let text = String::from_utf8_lossy(&inside[..inside.len().min(80)]).into_owned();
        self.word.get_or_insert_default().push_str(&format!("({text})"));
        (at + 2 + length).min(self.script.len())
    }

    /// Whether the lines that follow are only text to the command.
    fn feeds(&self) -> bool {
        let runs = ["sh", "bash", "zsh", "ssh", "sudo", "su", "docker", "kubectl", "vagrant", "fish"];
        let first = self.now.words.iter().find(|word| !word.contains('='));
        !first.is_some_and(|word| runs.contains(&program(word)))
    }
}

/// Bytes to the parenthesis that closes the first one; all of a long text when there is none.
fn balanced(text: &[u8]) -> usize {
    let mut open = 0_usize;
    for (at, byte) in text.iter().enumerate().take(ENCLOSED) {
        match byte {
            b'(' => open += 1,
            b')' if open <= 1 => return at,
            b')' => open -= 1,
            _ => {}
        }
    }
    // Nothing closes it; go on behind the sign.
    1.min(text.len())
}

fn run_of(text: &[u8], of: impl Fn(u8) -> bool) -> usize {
    text.iter().take_while(|byte| of(**byte)).count()
}

/// What ends a here-document, and the length of what says so.
fn delimiter(text: &[u8]) -> (Vec<u8>, usize) {
    let mut at = 2 + usize::from(text.get(2) == Some(&b'-'));
    at += run_of(&text[at..], |byte| byte == b' ');
    let quote = run_of(&text[at..], |byte| matches!(byte, b'\'' | b'"' | b'\\'));
    at += quote.min(1);
    let length = run_of(&text[at..], |byte| byte.is_ascii_alphanumeric() || byte == b'_').min(64);
    (text[at..at + length].to_vec(), at + length + quote.min(1))
}

/// Where a here-document's text ends.
fn skip(script: &[u8], from: usize, delimiter: &[u8]) -> usize {
    let mut at = from;
    for line in script[from..].split_inclusive(|byte| *byte == b'\n') {
        at += line.len();
        if line.trim_ascii() == delimiter {
            return at;
        }
    }
    from
}
