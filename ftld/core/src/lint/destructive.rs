//! Commands that destroy, in scripts and in programs.
//!
//! Owns what is looked for in which kind of file and what counts as new: a file that already did the same
//! kind of thing is not reported for doing it again, unless what it destroys now is a home or a system. What
//! is only spoken of, in prose, comments and messages, is nothing. Must not know credentials.

mod calls;
mod commands;
mod shell;
mod sql;
mod target;
mod views;

use std::collections::HashSet;
use std::ops::Range;

use super::lexed::{self, Kind, Piece};
use super::place::{Family, Place};
use super::{Class, Found};

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Gravity {
    /// What it destroys is made anew: a build's output, a temporary directory.
    Harmless,
    /// What it destroys may be wanted.
    Usual,
    /// It destroys a home, a system or a disk.
    Grave,
}

/// Something that destroys.
#[derive(Clone, Debug)]
struct Hit {
    span: Range<usize>,
    /// What kind, to compare it with what was there before.
    kind: &'static str,
    says: &'static str,
    gravity: Gravity,
}

/// What surrounds a command.
struct Context {
    /// It runs while an image is built.
    image: bool,
    /// Names of variables that hold what is temporary.
    temporary: HashSet<String>,
}

/// Bytes of a program before a string that say what it is for.
const BEFORE: usize = 160;

/// What the new content has that destroys, and the old one had not.
pub(super) fn search(place: &Place, after: &[u8], before: &[u8]) -> Vec<Found> {
    if matches!(place.family, Family::Prose | Family::Generated | Family::Style | Family::Markup) {
        return Vec::new();
    }
    let new = hits(place, after);
    if new.is_empty() {
        return Vec::new();
    }
    let old = hits(place, before);
    let known: HashSet<&str> = old.iter().map(|hit| hit.kind).collect();
    let grave: HashSet<&[u8]> =
        old.iter().filter(|hit| hit.gravity == Gravity::Grave).map(|hit| &before[hit.span.clone()]).collect();
    let counts = |hit: &Hit| match hit.gravity {
        Gravity::Harmless => false,
        Gravity::Usual => !place.test && !known.contains(hit.kind),
        Gravity::Grave => !grave.contains(&after[hit.span.clone()]),
    };
    let mut found: Vec<Found> = Vec::new();
    for hit in new.into_iter().filter(counts) {
        if found.last().is_some_and(|last| super::touch(&last.span, &hit.span)) {
            continue;
        }
        let what = [hit.kind.as_bytes(), b"\0", after[hit.span.clone()].trim_ascii()].concat();
        found.push(Found {
            class: Class::Destructive,
            span: hit.span,
            message: hit.says.to_owned(),
            what,
            old: false,
        });
    }
    found
}

/// All that destroys, in the order of places.
fn hits(place: &Place, text: &[u8]) -> Vec<Hit> {
    let context = Context { image: place.family == Family::Docker, temporary: temporary(text) };
    let mut found = match place.family {
        Family::Shell | Family::Make | Family::Docker | Family::Yaml | Family::PowerShell | Family::Batch => {
            let applies = place.family != Family::Yaml || place.scripts;
            if applies {
                shell::search(&context, place.family, &views::of(place.family, text))
            } else {
                Vec::new()
            }
        }
        Family::Json | Family::Settings => {
            if place.scripts {
                data(&context, place.family, text)
            } else {
                Vec::new()
            }
        }
        Family::Sql => sql::search(place, text, 0),
        Family::Other | Family::Terraform => Vec::new(),
        _ => program(&context, place, text),
    };
    found.sort_by_key(|hit| (hit.span.start, std::cmp::Reverse(hit.gravity)));
    found
}

/// Strings of a list of scripts.
fn data(context: &Context, family: Family, text: &[u8]) -> Vec<Hit> {
    let mut found = Vec::new();
    let of_json = Family::Ruby;
    let pieces = lexed::pieces(if family == Family::Json { of_json } else { Family::Python }, text);
    for (at, piece) in pieces.iter().enumerate().filter(|(_, piece)| piece.kind == Kind::String) {
        let is_name = pieces
            .get(at + 1)
            .is_some_and(|next| text[next.span.clone()].trim_ascii_start().starts_with(b":"));
        let name = at
            .checked_sub(2)
            .map(|at| String::from_utf8_lossy(&text[pieces[at].span.clone()]).to_lowercase());
        let prose = name.is_some_and(|name| views::PROSE_KEYS.contains(&name.as_str()));
        if is_name || prose {
            continue;
        }
        let whole = unescaped(&text[piece.span.clone()]);
        let inner = shell::search(context, Family::Shell, &whole);
        found.extend(inner.into_iter().map(|hit| Hit { span: piece.span.clone(), ..hit }));
    }
    found
}

/// Calls, commands in strings and statements in strings.
fn program(context: &Context, place: &Place, text: &[u8]) -> Vec<Hit> {
    let pieces = lexed::pieces(place.family, text);
    let mut found = calls::search(context, place, text, &pieces);
    let tests = tests_from(place.family, text);
    for (at, piece) in pieces.iter().enumerate().filter(|(_, piece)| piece.kind == Kind::String) {
        if piece.span.len() < 2 {
            continue;
        }
        let before = &text[piece.span.start.saturating_sub(BEFORE)..piece.span.start.saturating_sub(1)];
        let inside = &text[piece.span.clone()];
        if runs_commands(before, text, piece) {
            let inner = shell::search(context, Family::Shell, &unescaped(inside));
            found.extend(inner.into_iter().map(|hit| Hit { span: piece.span.clone(), ..hit }));
        }
        if sql::is_run(before) {
            let open = text.get(piece.span.end + 1..).is_some_and(goes_on);
            found.extend(sql::in_string(place, &unescaped(inside), piece.span.clone(), open));
        }
        found.extend(shell::arguments(context, text, &pieces[at..]));
    }
    found.retain(|hit| hit.gravity == Gravity::Grave || hit.span.start < tests);
    found
}

/// Where the tests of a program begin that has them in the same file.
fn tests_from(family: Family, text: &[u8]) -> usize {
    let mark = if family == Family::Rust { lexed::find(text, 0, b"#[cfg(test)]\nmod ") } else { None };
    mark.unwrap_or(text.len())
}

/// Whether more is put behind a string.
fn goes_on(rest: &[u8]) -> bool {
    let rest = rest[..rest.len().min(80)].trim_ascii_start();
    rest.starts_with(b"+") || rest.starts_with(b".") || rest.starts_with(b"%") || rest.starts_with(b"\"")
}

/// How a string is begun that is handed to a shell, in lower case. A word with a blank behind it is a keyword.
const RUNS: [&str; 62] = [
    "system(",
    "system ",
    "popen(",
    "popen2(",
    "popen3(",
    "exec(",
    "execsync(",
    "exec ",
    "spawn(",
    "spawnsync(",
    "subprocess.run(",
    "subprocess.call(",
    "check_call(",
    "check_output(",
    "getoutput(",
    "shell(",
    "shell_exec(",
    "passthru(",
    "proc_open(",
    "execa(",
    "execacommand(",
    "execacommandsync(",
    "execcommand(",
    "run(",
    "sh(",
    "sh ",
    "cmd(",
    "processbuilder(",
    "process.start(",
    "command(\"sh\"",
    "\"-c\", ",
    "'-c', ",
    "\"-lc\", ",
    "\"/c\", ",
    ".arg(\"-c\").arg(",
    "local(",
    "sudo(",
    "capture2(",
    "capture2e(",
    "capture3(",
    "os.execute(",
    "io.popen(",
    "%x(",
    "shell: ",
    "command: ",
    "run: ",
    "script: ",
    "sh -c ",
    "args: [\"-c\", ",
    "runtime.getruntime().exec(",
    "exec.command(\"sh\", \"-c\", ",
    "exec.command(\"bash\", \"-c\", ",
    "shelljs.exec(",
    "cp.exec(",
    "$(",
    "bash(",
    "run_command(",
    "runcommand(",
    "execute_command(",
    "inline: ",
    "os.cmd(",
    "subprocess.popen(",
];

/// Whether what stands before a string hands it to a shell.
fn runs_commands(before: &[u8], text: &[u8], piece: &Piece) -> bool {
    let open = piece.span.start;
    // Templates with a tag, as shells within JavaScript have them.
    if text[..open].ends_with(b"$`") {
        return true;
    }
    let before = String::from_utf8_lossy(before).to_lowercase();
    let statement = before.rsplit([';', '{', '}']).next().unwrap_or_default();
    let tail = statement.trim_end_matches(|c: char| c.is_whitespace() || "frb\"'`[$@".contains(c));
    let keyword = statement.trim_end_matches(['"', '\'', '`']);
    // The call must be the nearest one that is open.
    RUNS.iter().any(|word| {
        let bare = word.trim_end();
        let is_keyword = word.ends_with(' ') && bare.bytes().all(|byte| byte.is_ascii_alphabetic());
        tail.ends_with(bare) && (!is_keyword || keyword.ends_with(word))
    })
}

/// A string without the escapes that programs write.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        match (text[at], text.get(at + 1)) {
            (b'\\', Some(next)) => {
                out.push(match next {
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'r' => b'\r',
                    other => *other,
                });
                at += 2;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

/// The names on lines that make something temporary.
fn temporary(text: &[u8]) -> HashSet<String> {
    let makers = [
        "mktemp",
        "mkdtemp",
        "tempfile",
        "TemporaryDirectory",
        "NamedTemporaryFile",
        "tmpdir",
        "MkdirTemp",
        "CreateTemp",
        "TempDir",
        "temp_dir",
        "tempdir",
        "createTempDirectory",
        "createTempFile",
        "mktmpdir",
        "tempnam",
        "GetTempPath",
        "gettempdir",
        "GetTempFileName",
        "temporaryDirectory",
        "File::Temp",
    ];
    let mut names = HashSet::new();
    let Ok(search) = aho_corasick::AhoCorasick::new(makers) else { return names };
    let mut done = 0;
    for hit in search.find_iter(text) {
        if hit.start() < done {
            continue;
        }
        let start = text[..hit.start()].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        // A line of a minified file is no line.
        let start = start.max(hit.start().saturating_sub(BEFORE));
        let line = &text[start..hit.start()];
        done = hit.end();
        // What it is made for stands before the sign.
        let line = String::from_utf8_lossy(line);
        let front = line.split_once('=').map_or("", |(front, _)| front);
        let words = front.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
        names.extend(words.map(str::to_ascii_lowercase));
        // `with tempfile.TemporaryDirectory() as name`.
        let end = text[hit.end()..].iter().take(BEFORE).position(|byte| *byte == b'\n').unwrap_or(0);
        let rest = String::from_utf8_lossy(&text[hit.end()..hit.end() + end]).into_owned();
        if let Some((_, name)) = rest.split_once(" as ") {
            names.insert(name.trim_end_matches([':', ' ']).to_ascii_lowercase());
        }
    }
    for word in [
        "let", "const", "var", "mut", "local", "export", "self", "this", "file", "string", "final", "err",
        "_",
    ] {
        names.remove(word);
    }
    names
}
