//! Calls of programs that destroy.
//!
//! Owns the table of calls, and what tells a call from a definition and something made anew from something
//! wanted. Must not know commands of a shell.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};

use super::target::{is_made, is_system};
use super::{Context, Gravity, Hit};
use crate::lint::lexed::{Kind, Piece};
use crate::lint::place::{Family, Place};

/// Bytes of a call's arguments that are read, and of what stands before it.
const AROUND: usize = 200;

/// One line of the table.
struct Call {
    text: &'static str,
    kind: &'static str,
    says: &'static str,
}

/// The calls of one language with the search for them.
struct Language {
    calls: Vec<Call>,
    search: Option<AhoCorasick>,
}

static TABLE: LazyLock<HashMap<&'static str, Language>> = LazyLock::new(|| {
    let mut table: HashMap<&'static str, Vec<Call>> = HashMap::new();
    for line in include_str!("calls.txt").lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let mut fields = line.split('|').map(str::trim);
        let (Some(call), Some(kind), Some(says)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let Some((language, text)) = call.split_once(' ') else { continue };
        table.entry(language).or_default().push(Call { text, kind, says });
    }
    let build = |calls: Vec<Call>| {
        let texts = calls.iter().map(|call| call.text);
        let search = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(texts).ok();
        Language { calls, search }
    };
    table.into_iter().map(|(language, calls)| (language, build(calls))).collect()
});

fn language(family: Family) -> Option<&'static Language> {
    let name = match family {
        Family::Python => "python",
        Family::JavaScript => "javascript",
        Family::Rust => "rust",
        Family::Go => "go",
        Family::Ruby => "ruby",
        Family::Braces => "braces",
        Family::Php => "php",
        Family::Perl => "perl",
        Family::Lua => "lua",
        Family::Elixir => "elixir",
        _ => return None,
    };
    TABLE.get(name)
}

/// All calls of a program that destroy.
pub(super) fn search(context: &Context, place: &Place, text: &[u8], pieces: &[Piece]) -> Vec<Hit> {
    let Some(language) = language(place.family) else { return Vec::new() };
    let Some(search) = &language.search else { return Vec::new() };
    let mut found = Vec::new();
    let mut pieces = pieces.iter().peekable();
    let imported = imported(place.family, text);
    for hit in search.find_iter(text) {
        while pieces.peek().is_some_and(|piece| piece.span.end <= hit.start()) {
            pieces.next();
        }
        let in_code =
            pieces.peek().is_some_and(|piece| piece.kind == Kind::Code && piece.span.start <= hit.start());
        let call = &language.calls[hit.pattern().as_usize()];
        if !in_code || !is_call(text, hit.start(), call) || (call.kind == "delete imported" && !imported) {
            continue;
        }
        let span = hit.start()..end_of(text, hit.end());
        let gravity = gravity(context, text, &span, call);
        found.push(Hit { span, kind: kind(call.kind), says: call.says, gravity });
    }
    found
}

/// A name that was imported does the same as with its module before it.
fn kind(kind: &'static str) -> &'static str {
    if kind == "delete imported" { "delete file" } else { kind }
}

/// Whether Python's `remove` and `unlink` were imported by name.
fn imported(family: Family, text: &[u8]) -> bool {
    family == Family::Python && {
        let mut lines = text
            .split(|byte| *byte == b'\n')
            .filter(|line| line.trim_ascii_start().starts_with(b"from os import "));
        lines.any(|line| {
            let names = String::from_utf8_lossy(line).into_owned();
            names.split([',', ' ', '(']).any(|name| name.trim() == "remove" || name.trim() == "unlink")
        })
    }
}

/// Whether it is called here, and not another one's name ends so, nor is it defined.
fn is_call(text: &[u8], at: usize, call: &Call) -> bool {
    let before = &text[at.saturating_sub(AROUND)..at];
    let last = before.last().copied().unwrap_or(b' ');
    let method = call.text.starts_with(['.', '-']);
    if !method && (last.is_ascii_alphanumeric() || matches!(last, b'_' | b'.' | b'$' | b'>')) {
        // `std::fs::` and `fs.promises.` may stand before a longer name, but `x.rmtree(` is another one.
        let promised = before.ends_with(b"promises.");
        return promised;
    }
    if method && !(last.is_ascii_alphanumeric() || matches!(last, b'_' | b')' | b']' | b'"' | b'\'' | b'}')) {
        return false;
    }
    let line = before.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line).into_owned();
    let word = line.trim_end().rsplit([' ', '\t']).next().unwrap_or_default().to_owned();
    let defines = ["def", "fn", "func", "function", "void", "sub", "fun", "static", "bool", "int", "boolean"];
    // What follows on the same line is a statement of its own.
    let statement = line.rsplit(';').next().unwrap_or_default().trim_start();
    let imports = ["import ", "use ", "from "].iter().any(|word| statement.starts_with(word));
    let defined = line.ends_with([' ', '\t']) && defines.contains(&word.as_str());
    !defined && !imports
}

/// Where a call's arguments end.
fn end_of(text: &[u8], from: usize) -> usize {
    let opened = text[from - 1] == b'(';
    let mut open = i32::from(opened);
    for (at, byte) in text[from..].iter().enumerate().take(AROUND) {
        match byte {
            b'(' => open += 1,
            b')' => open -= 1,
            b'\n' if !opened => return from + at,
            _ => {}
        }
        if opened && open == 0 {
            return from + at + 1;
        }
    }
    from + text[from..].iter().take(AROUND).take_while(|byte| **byte != b'\n').count()
}

fn gravity(context: &Context, text: &[u8], span: &Range<usize>, call: &Call) -> Gravity {
    let receiver = if call.text.starts_with('.') { receiver(text, span.start) } else { String::new() };
    let arguments =
        String::from_utf8_lossy(&text[span.start + call.text.len().min(span.len())..span.end]).into_owned();
    let target = format!("{receiver} {arguments}");
    let files = matches!(call.kind, "delete tree" | "delete file" | "delete imported");
    if !files {
        return Gravity::Usual;
    }
    let literal = arguments.trim_start_matches(['(', ' ', 'f', 'r', '\n', '\t']);
    let literal = literal.strip_prefix(['"', '\'', '`']).and_then(|rest| rest.split(['"', '\'', '`']).next());
    let homes = [
        "expanduser(\"~\")",
        "expanduser('~')",
        "Path.home()",
        "os.homedir()",
        "homedir()",
        "Dir.home",
        "env::home_dir()",
        "os.UserHomeDir()",
        "getenv(\"HOME\")",
        "System.getProperty(\"user.home\")",
    ];
    let home = homes.iter().any(|home| {
        let rest = target.trim().trim_end_matches([')', ';', ' ']);
        let bare = home.trim_end_matches(')');
        rest.trim_start_matches('(')
            .trim_end_matches(", ignore_errors=True")
            .trim_end_matches([')', ' '])
            .ends_with(bare)
    });
    if call.kind == "delete tree" && (home || literal.is_some_and(is_system)) {
        return Gravity::Grave;
    }
    let name = |word: &str| context.temporary.contains(&word.to_ascii_lowercase());
    let temporary = target.split(|c: char| !c.is_alphanumeric() && c != '_').any(name);
    if temporary || is_made(&target) { Gravity::Harmless } else { Gravity::Usual }
}

/// What a method is called on.
fn receiver(text: &[u8], at: usize) -> String {
    let before = &text[at.saturating_sub(AROUND / 2)..at];
    let letter = |byte: &&u8| byte.is_ascii_alphanumeric() || b"_.()[]\"'/-".contains(byte);
    let length = before.iter().rev().take_while(letter).count();
    String::from_utf8_lossy(&before[before.len() - length..]).into_owned()
}
