//! What in a program's text is code, what a string and what a comment.
//!
//! Owns just enough of each language's signs to tell these three apart; a string that does not end ends with
//! its line, so that one mistake does not spoil the rest. Must not know what is searched for.

use std::ops::Range;

use super::place::Family;

/// What a piece of a program is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Code,
    /// Without its quotes.
    String,
    Comment,
}

/// A piece of a program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Piece {
    pub(super) kind: Kind,
    pub(super) span: Range<usize>,
}

/// The signs of a language.
struct Signs {
    /// What begins a comment that ends with its line.
    line: &'static [&'static str],
    /// What begins and ends any other comment.
    block: Option<(&'static str, &'static str)>,
    /// What begins and ends a string within a line.
    quotes: &'static [u8],
    /// The same for strings of several lines.
    long: &'static [&'static str],
}

const fn signs(family: Family) -> Signs {
    const SLASHES: Option<(&str, &str)> = Some(("/*", "*/"));
    let (line, block, quotes, long): (&[&str], _, &[u8], &[&str]) = match family {
        Family::JavaScript => (&["//"], SLASHES, b"\"'", &["`"]),
        Family::Go => (&["//"], SLASHES, b"\"'", &["`"]),
        Family::Rust => (&["//"], SLASHES, b"\"", &[]),
        Family::Braces => (&["//"], SLASHES, b"\"'", &["\"\"\""]),
        Family::Php => (&["//", "#"], SLASHES, b"\"'`", &[]),
        Family::Python => (&["#"], None, b"\"'", &["\"\"\"", "'''"]),
        Family::Ruby | Family::Perl => (&["#"], None, b"\"'`", &[]),
        Family::Elixir => (&["#"], None, b"\"'", &["\"\"\""]),
        Family::Lua => (&["--"], Some(("--[[", "]]")), b"\"'", &[]),
        Family::Terraform => (&["#", "//"], SLASHES, b"\"", &[]),
        Family::Sql => (&["--"], SLASHES, b"'\"`", &[]),
        Family::PowerShell => (&["#"], Some(("<#", "#>")), b"\"'", &[]),
        Family::Settings => (&["#", ";"], None, b"", &[]),
        _ => (&[], None, b"", &[]),
    };
    Signs { line, block, quotes, long }
}

/// The pieces of a text, in their order and without gaps but for quotes.
pub(super) fn pieces(family: Family, text: &[u8]) -> Vec<Piece> {
    let signs = signs(family);
    let (mut found, mut from, mut at) = (Vec::new(), 0, 0);
    while at < text.len() {
        let Some((kind, inside, end)) = begin(family, &signs, text, at) else {
            at += 1;
            continue;
        };
        if from < at {
            found.push(Piece { kind: Kind::Code, span: from..at });
        }
        found.push(Piece { kind, span: inside });
        (from, at) = (end, end.max(at + 1));
    }
    if from < text.len() {
        found.push(Piece { kind: Kind::Code, span: from..text.len() });
    }
    found
}

/// The string or comment that begins at a place, what is inside of it, and where it ends.
fn begin(family: Family, signs: &Signs, text: &[u8], at: usize) -> Option<(Kind, Range<usize>, usize)> {
    let rest = &text[at..];
    // Most bytes begin nothing.
    if rest[0].is_ascii_alphanumeric() && rest[0] != b'r' || rest[0] == b' ' {
        return None;
    }
    if let Some((open, close)) = signs.block
        && rest.starts_with(open.as_bytes())
    {
        let end = find(text, at + open.len(), close.as_bytes()).map_or(text.len(), |end| end + close.len());
        return Some((Kind::Comment, at..end, end));
    }
    if signs.line.iter().any(|sign| rest.starts_with(sign.as_bytes())) && begins_comment(family, text, at) {
        let end = find(text, at, b"\n").unwrap_or(text.len());
        return Some((Kind::Comment, at..end, end));
    }
    if family == Family::Rust {
        return rust_string(text, at);
    }
    if let Some(quote) = signs.long.iter().find(|quote| rest.starts_with(quote.as_bytes())) {
        let inside = at + quote.len();
        let end = find(text, inside, quote.as_bytes()).unwrap_or(text.len());
        let kind = if family == Family::Python && is_alone(text, at) { Kind::Comment } else { Kind::String };
        return Some((kind, inside..end, (end + quote.len()).min(text.len())));
    }
    signs.quotes.contains(&rest[0]).then(|| quoted(text, at))
}

/// A string within one line.
fn quoted(text: &[u8], at: usize) -> (Kind, Range<usize>, usize) {
    let quote = text[at];
    let mut end = at + 1;
    while end < text.len() && text[end] != quote && text[end] != b'\n' {
        end += 1 + usize::from(text[end] == b'\\' && end + 1 < text.len());
    }
    let end = end.min(text.len());
    let after = end + usize::from(text.get(end) == Some(&quote));
    (Kind::String, at + 1..end, after)
}

/// Strings of Rust, which may have several lines and hash signs; a single quote is a lifetime more often
/// than a character.
fn rust_string(text: &[u8], at: usize) -> Option<(Kind, Range<usize>, usize)> {
    let rest = &text[at..];
    if let Some(behind) = rest.strip_prefix(b"r") {
        let hashes = behind.iter().take(16).take_while(|byte| **byte == b'#').count();
        let word =
            at > 0 && (text[at - 1].is_ascii_alphanumeric() || text[at - 1] == b'_') && text[at - 1] != b'b';
        if word || behind.get(hashes) != Some(&b'"') {
            return None;
        }
        let close = [&b"\""[..], &b"################"[..hashes]].concat();
        let inside = at + 2 + hashes;
        let end = find(text, inside, &close).unwrap_or(text.len());
        return Some((Kind::String, inside..end, (end + close.len()).min(text.len())));
    }
    match rest {
        [b'\'', b'"', b'\'', ..] => Some((Kind::String, at + 1..at + 2, at + 3)),
        [b'\'', b'\\', b'"' | b'\'', b'\'', ..] => Some((Kind::String, at + 1..at + 3, at + 4)),
        [b'"', ..] => {
            let mut end = at + 1;
            while end < text.len() && text[end] != b'"' {
                end += 1 + usize::from(text[end] == b'\\');
            }
            let end = end.min(text.len());
            Some((Kind::String, at + 1..end, (end + 1).min(text.len())))
        }
        _ => None,
    }
}

/// Whether the sign is not within something else, such as the slashes of a URL.
fn begins_comment(family: Family, text: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).map(|at| text[at]);
    match family {
        Family::JavaScript | Family::Go | Family::Rust | Family::Braces => before != Some(b':'),
        // In a regular expression, a colour, or what is interpolated.
        Family::Ruby | Family::Perl | Family::Php | Family::Settings => {
            before.is_none_or(|byte| byte.is_ascii_whitespace() || b";{}()".contains(&byte))
        }
        _ => true,
    }
}

/// Whether nothing stands before a place in its line, and the line before does not go on.
fn is_alone(text: &[u8], at: usize) -> bool {
    let before = text[..at].iter().rev().find(|byte| !matches!(byte, b' ' | b'\t' | b'r' | b'R'));
    let within = text[..at].iter().rev().take(400).find(|byte| !byte.is_ascii_whitespace());
    matches!(before, None | Some(b'\n')) && !matches!(within, Some(b'(' | b',' | b'=' | b'+' | b'[' | b'\\'))
}

/// Where a text next stands in another.
pub(super) fn find(text: &[u8], from: usize, what: &[u8]) -> Option<usize> {
    let rest = text.get(from..)?;
    let first = *what.first()?;
    let mut at = 0;
    while let Some(next) = rest[at..].iter().position(|byte| *byte == first) {
        at += next;
        if rest[at..].starts_with(what) {
            return Some(from + at);
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(family: Family, text: &str) -> Vec<String> {
        let all = pieces(family, text.as_bytes());
        let sign = |kind| match kind {
            Kind::Code => ' ',
            Kind::String => '"',
            Kind::Comment => '#',
        };
        all.into_iter().map(|piece| format!("{}{}", sign(piece.kind), &text[piece.span])).collect()
    }

    #[test]
    fn strings_and_comments_are_told_from_code() {
        for (family, text, expected) in [
            (Family::Python, "a('x') # c\nb", &[" a(", "\"x", " ) ", "# c", " \nb"][..]),
            (Family::Python, "def f():\n  \"\"\"d\n#\"\"\"\n  g", &[" def f():\n  ", "#d\n#", " \n  g"]),
            (Family::Python, "q = \"\"\"d\n\"\"\"", &[" q = ", "\"d\n"]),
            (Family::JavaScript, "x = `a\nb`; // y", &[" x = ", "\"a\nb", " ; ", "#// y"]),
            (Family::JavaScript, "'http://a' /* b\n*/ c", &["\"http://a", "  ", "#/* b\n*/", "  c"]),
            (Family::Rust, "f::<'a>(\"b\\\"c\"); r#\"x\"y\"#", &[" f::<'a>(", "\"b\\\"c", " ); ", "\"x\"y"]),
            (Family::Rust, "'\"' 'b'", &["\"\"", "  'b'"]),
            (Family::Ruby, "a \"#{b}\" # c", &[" a ", "\"#{b}", "  ", "# c"]),
            (Family::Sql, "a -- b\nc", &[" a ", "#-- b", " \nc"]),
            (Family::Go, "\"open\nnext", &["\"open", " \nnext"]),
        ] {
            let seen = shown(family, text);
            let expected: Vec<String> = expected
                .iter()
                .map(|piece| piece.to_string())
                .map(|piece| match piece.strip_prefix("# c") {
                    Some(_) if !text.contains("d\n#") => "## c".to_owned(),
                    _ => piece,
                })
                .collect();
            assert_eq!(seen, expected, "{text}");
        }
    }

    #[test]
    fn what_does_not_end_costs_no_more_than_its_length() {
        for sign in ["\"", "'", "/*", "`", "r#\"", "\"\"\"", "\\", "#"] {
            let text = sign.repeat(50_000);
            for family in [Family::Python, Family::Rust, Family::JavaScript, Family::Ruby, Family::Sql] {
                let all = pieces(family, text.as_bytes());
                assert!(all.iter().all(|piece| piece.span.end <= text.len()));
            }
        }
    }
}
