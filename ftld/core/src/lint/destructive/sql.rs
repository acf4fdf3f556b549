//! Statements of SQL that destroy.
//!
//! Owns which statements do, and where SQL stands in other languages. What a migration takes back, what is
//! temporary and what a dump makes anew is harmless. Must not know databases.

use std::ops::Range;

use super::{Gravity, Hit};
use crate::lint::lexed::{self, Kind};
use crate::lint::place::{Family, Place};

/// Bytes of a statement that are read.
const LONGEST: usize = 4096;

/// Statements of a file of SQL, of which the first byte is at `base`.
pub(super) fn search(place: &Place, text: &[u8], base: usize) -> Vec<Hit> {
    let mut plain = text.to_vec();
    // Strings stay, for they are part of conditions.
    for piece in lexed::pieces(Family::Sql, text).into_iter().filter(|piece| piece.kind == Kind::Comment) {
        let kept = text[piece.span.clone()].to_ascii_lowercase();
        let down = [&b"+goose down"[..], b"migrate:down", b"!down"]
            .iter()
            .any(|mark| lexed::find(&kept, 0, mark).is_some());
        if down {
            plain.truncate(piece.span.start);
            break;
        }
        plain[piece.span].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
    }
    let down =
        place.path.contains("down") || place.path.contains("rollback") || place.path.contains("teardown");
    let mut found = Vec::new();
    let mut at = 0;
    for statement in plain.split_inclusive(|byte| *byte == b';') {
        let blanks = statement.len() - statement.trim_ascii_start().len();
        if let Some((kind, says)) = judge(&statement[blanks..]) {
            let harmless = down && kind != "DROP DATABASE";
            let gravity = if harmless { Gravity::Harmless } else { Gravity::Usual };
            found.push(Hit { span: base + at + blanks..base + at + statement.len(), kind, says, gravity });
        }
        at += statement.len();
    }
    found
}

/// Statements in a string of a program; `open` says that more is put behind it.
pub(super) fn in_string(place: &Place, text: &[u8], span: Range<usize>, open: bool) -> Option<Hit> {
    let down = place.path.contains("migration") || place.path.contains("migrate");
    let all = text.split(|byte| *byte == b';').filter(|statement| !statement.trim_ascii().is_empty());
    let mut all = all.peekable();
    while let Some(statement) = all.next() {
        let last = all.peek().is_none();
        if let Some((kind, says)) = judge(statement.trim_ascii_start())
            && !(open && last && kind == "DELETE")
        {
            let gravity = if down { Gravity::Harmless } else { Gravity::Usual };
            return Some(Hit { span, kind, says, gravity });
        }
    }
    None
}

/// Statements in an argument of a database's client.
pub(super) fn in_command(word: &str, span: &Range<usize>) -> Option<Hit> {
    let mongo =
        ["dropDatabase(", ".drop(", "deleteMany({})", "remove({})"].iter().any(|call| word.contains(call));
    let judged = word.split(';').find_map(|statement| judge(statement.trim_start().as_bytes()));
    let (kind, says) = judged.or(mongo.then_some(("DROP DATABASE", "deletes data of a database")))?;
    Some(Hit { span: span.clone(), kind, says, gravity: Gravity::Usual })
}

/// Whether what stands before a string hands it to a database.
pub(super) fn is_run(before: &[u8]) -> bool {
    let before = String::from_utf8_lossy(before).to_lowercase();
    let statement = before.rsplit([';', '{', '}']).next().unwrap_or_default();
    let words = [
        "execute",
        "query",
        "exec(",
        "exec_",
        "executemany",
        "executescript",
        "raw(",
        "sql",
        "prepare",
        "cursor",
        "$executeraw",
        "statement",
        "text(",
        "db.run(",
        "db.all(",
        ".run(",
        "unsafe(",
    ];
    words.iter().any(|word| statement.contains(word))
}

/// What a statement destroys.
fn judge(statement: &[u8]) -> Option<(&'static str, &'static str)> {
    // Most statements begin otherwise.
    let first = statement.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let begins = ["drop", "truncate", "delete", "alter"]
        .iter()
        .any(|word| statement[..first].eq_ignore_ascii_case(word.as_bytes()));
    if !begins {
        return None;
    }
    let text = String::from_utf8_lossy(&statement[..statement.len().min(LONGEST)]).to_ascii_uppercase();
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || c == ';' || c == '(')
        .filter(|word| !word.is_empty())
        .collect();
    let named = |at: usize| {
        words
            .get(at)
            .is_some_and(|word| word.starts_with(|c: char| c.is_alphabetic() || "_\"`'[{$%#:?@.".contains(c)))
    };
    let temporary = words.iter().take(6).any(|word| {
        let word = word.trim_matches(['"', '`', '[', ']']);
        word.starts_with("TMP")
            || word.starts_with("TEMP")
            || word.starts_with('#')
            || word.ends_with("_TMP")
            || word.ends_with("_TEMP")
    });
    if temporary {
        return None;
    }
    match words.as_slice() {
        ["DROP", "TABLE" | "COLLECTION" | "KEYSPACE", ..] if named(2) => {
            Some(("DROP TABLE", "deletes a table with its rows"))
        }
        ["DROP", "DATABASE" | "SCHEMA", ..] if named(2) => Some(("DROP DATABASE", "deletes a database")),
        ["DROP", "OWNED", ..] => Some(("DROP DATABASE", "deletes all that a user has in a database")),
        ["TRUNCATE", "TABLE", ..] if named(2) => Some(("TRUNCATE", "deletes all rows of a table")),
        ["TRUNCATE", name] | ["TRUNCATE", name, "CASCADE" | "RESTART", ..]
            if named(1) && text.starts_with("TRUNCATE") && !name.contains('-') =>
        {
            Some(("TRUNCATE", "deletes all rows of a table"))
        }
        ["DELETE", "FROM", rest @ ..] if named(2) => {
            let narrowed = rest.iter().any(|word| matches!(*word, "WHERE" | "USING" | "LIMIT" | "JOIN"));
            (!narrowed).then_some(("DELETE", "deletes all rows of a table"))
        }
        ["ALTER", "TABLE", rest @ ..] => {
            let column = rest.windows(2).any(|pair| pair == ["DROP", "COLUMN"])
                || rest.windows(2).any(|pair| pair == ["DROP", "PARTITION"]);
            column.then_some(("DROP COLUMN", "deletes a column with its values"))
        }
        _ => None,
    }
}
