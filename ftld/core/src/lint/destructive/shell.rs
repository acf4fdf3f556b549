//! Commands of a script.
//!
//! Owns how a script is cut into commands and words, which of them run another command, and the few dangers
//! that several commands make together. It is no shell: where a shell would be needed to know, the words are
//! taken as they stand. Must not know what a single command does.

mod cut;

use std::ops::Range;

use cut::Cutter;

use super::commands::{Judged, judge, knows};
use super::target::{is_made, is_system};
use super::{Context, Gravity, Hit, sql};
use crate::lint::lexed::{Kind, Piece, find};
use crate::lint::place::Family;

/// Commands within commands that are looked into.
const DEEPEST: u8 = 4;
/// Words of one command.
const MOST: usize = 256;

/// One command.
#[derive(Default)]
struct Command {
    words: Vec<String>,
    span: Range<usize>,
    /// It reads what the one before it writes.
    piped: bool,
}

/// What runs the command in its arguments.
const RUNNERS: [&str; 38] = [
    "sudo",
    "doas",
    "env",
    "time",
    "nohup",
    "exec",
    "command",
    "builtin",
    "then",
    "do",
    "else",
    "elif",
    "if",
    "while",
    "until",
    "!",
    "{",
    "nice",
    "ionice",
    "stdbuf",
    "setsid",
    "timeout",
    "xargs",
    "parallel",
    "eatmydata",
    "chroot",
    "unbuffer",
    "watch",
    "strace",
    "cross-env",
    "dotenv",
    "start-process",
    "cmd",
    "caffeinate",
    "run",
    "busybox",
    "call",
    "&",
];
/// Options of these that have a value behind them.
const VALUED: [&str; 12] = ["-u", "-g", "-n", "-I", "-P", "-L", "-d", "-k", "-s", "-c", "-p", "-C"];
/// What takes a script as an argument.
const SHELLS: [&str; 9] = ["sh", "bash", "zsh", "dash", "ksh", "ash", "fish", "powershell", "pwsh"];
/// What fetches from the network.
const FETCHERS: [&str; 6] = ["curl", "wget", "iwr", "irm", "invoke-webrequest", "invoke-restmethod"];
/// What runs what it reads.
const READERS: [&str; 15] = [
    "sh",
    "bash",
    "zsh",
    "dash",
    "ksh",
    "fish",
    "python",
    "python3",
    "perl",
    "ruby",
    "node",
    "php",
    "iex",
    "invoke-expression",
    "source",
];

/// All in a script that destroys.
pub(super) fn search(context: &Context, family: Family, script: &[u8]) -> Vec<Hit> {
    let mut hits = Vec::new();
    within(context, family, script, 0, 0, &mut hits);
    hits
}

fn within(context: &Context, family: Family, script: &[u8], base: usize, depth: u8, hits: &mut Vec<Hit>) {
    if depth > DEEPEST {
        return;
    }
    let mut cut = Cutter {
        family,
        script,
        base,
        context,
        depth,
        commands: Vec::new(),
        hits,
        now: Command::default(),
        word: None,
        lost: 0,
    };
    cut.run();
    let commands = std::mem::take(&mut cut.commands);
    for (at, command) in commands.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| &commands[at]);
        if let Some((kind, says, gravity)) = whole(context, family, command, before, depth, hits) {
            hits.push(Hit { span: command.span.clone(), kind, says, gravity });
        }
    }
    bomb(script, base, hits);
    if family == Family::PowerShell {
        fetched(script, base, hits);
    }
}

/// Lines of PowerShell that run what they fetch.
fn fetched(script: &[u8], base: usize, hits: &mut Vec<Hit>) {
    let mut at = 0;
    for line in script.split_inclusive(|byte| *byte == b'\n') {
        let text = String::from_utf8_lossy(line).to_lowercase();
        let runs = text.contains("iex ") || text.contains("iex(") || text.contains("invoke-expression");
        if runs && text.contains("downloadstring") && !text.trim_start().starts_with('#') {
            let says = "runs what it fetches from the network, unseen";
            let span = base + at..base + at + line.len();
            hits.push(Hit { span, kind: "curl | sh", says, gravity: Gravity::Usual });
        }
        at += line.len();
    }
}

/// What a command does, alone and with the one that writes to it.
fn whole(
    context: &Context,
    family: Family,
    command: &Command,
    before: Option<&Command>,
    depth: u8,
    hits: &mut Vec<Hit>,
) -> Judged {
    let lower = matches!(family, Family::PowerShell | Family::Batch);
    let mut words: Vec<String> = unwrapped(&command.words).to_vec();
    if lower && let Some(first) = words.first_mut() {
        *first = first.to_ascii_lowercase();
    }
    let name = words.first().map(|word| program(word))?.to_owned();
    if command.piped && READERS.contains(&name.as_str()) && reads_all(&words) && before.is_some_and(fetches) {
        return Some(("curl | sh", "runs what it fetches from the network, unseen", Gravity::Usual));
    }
    let all = words.join(" ");
    let substituted = all.contains("$(curl")
        || all.contains("$(wget")
        || all.contains("<(curl")
        || all.contains("<(wget")
        || all.contains("`curl");
    let runs = SHELLS.contains(&name.as_str())
        || matches!(name.as_str(), "eval" | "source" | "." | "python" | "python3" | "ruby" | "iex");
    let inline = name == "iex"
        && (all.to_lowercase().contains("downloadstring")
            || FETCHERS.iter().any(|it| all.to_lowercase().contains(it)));
    if (runs && substituted) || inline {
        return Some(("curl | sh", "runs what it fetches from the network, unseen", Gravity::Usual));
    }
    for script in scripts(&name, &words) {
        let mut inner = Vec::new();
        within(context, Family::Shell, script.as_bytes(), 0, depth + 1, &mut inner);
        hits.extend(inner.into_iter().map(|hit| Hit { span: command.span.clone(), ..hit }));
    }
    if [
        "psql",
        "mysql",
        "mariadb",
        "sqlite3",
        "clickhouse-client",
        "sqlcmd",
        "cqlsh",
        "mongo",
        "mongosh",
        "duckdb",
    ]
    .contains(&name.as_str())
    {
        for word in &words[1..] {
            hits.extend(sql::in_command(word, &command.span));
        }
    }
    if command.words.iter().any(|word| word == "xargs" || word == "parallel") && name == "rm" {
        let made = before.is_some_and(|before| before.words.iter().any(|word| is_made(word)));
        let gravity = if made { Gravity::Harmless } else { Gravity::Usual };
        return Some(("xargs rm", "deletes all that it is told", gravity));
    }
    let onto =
        |word: &String| word.strip_prefix('>').is_some_and(|to| to.starts_with("/dev/") && is_system(to));
    if words.iter().any(onto) {
        return Some(("> /dev", "overwrites a disk", Gravity::Grave));
    }
    judge(context, &words)
}

/// A command without what only says how it is run.
fn unwrapped(words: &[String]) -> &[String] {
    let mut rest = words;
    loop {
        let Some(first) = rest.first() else { return rest };
        let variable = first.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        });
        let runner = RUNNERS.contains(&first.to_ascii_lowercase().as_str()) && rest.len() > 1;
        if !(variable || runner) {
            return rest;
        }
        rest = &rest[1..];
        if runner {
            while let Some(option) =
                rest.first().filter(|word| word.starts_with('-') || word.eq_ignore_ascii_case("/c"))
            {
                let valued = VALUED.contains(&option.as_str())
                    && !(first == "sudo" && matches!(option.as_str(), "-n" | "-s" | "-k"));
                rest = &rest[(1 + usize::from(valued)).min(rest.len())..];
            }
            // `timeout 5 rm`, `watch 2 rm`.
            let number = rest
                .first()
                .is_some_and(|word| word.bytes().next().is_some_and(|byte| byte.is_ascii_digit()));
            rest = &rest[usize::from(number && rest.len() > 1)..];
        }
    }
}

fn program(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

/// Whether an interpreter is given no file of its own to run.
fn reads_all(words: &[String]) -> bool {
    words[1..].iter().all(|word| word.starts_with('-') || word.starts_with('>') || word.starts_with("2>"))
        || words[1..].iter().any(|word| word == "-s" || word == "-" || word == "/dev/stdin")
}

fn fetches(command: &Command) -> bool {
    let words = unwrapped(&command.words);
    words.first().is_some_and(|word| FETCHERS.contains(&program(word).to_ascii_lowercase().as_str()))
        || words.iter().any(|word| word.to_ascii_lowercase().contains("downloadstring"))
}

/// Scripts among a command's arguments.
fn scripts<'a>(name: &str, words: &'a [String]) -> Vec<&'a str> {
    let behind = |option: fn(&str) -> bool| {
        let at = words.iter().position(|word| option(word));
        at.and_then(|at| words.get(at + 1)).map(String::as_str).into_iter().collect()
    };
    match name {
        _ if SHELLS.contains(&name) => behind(|word| {
            word.eq_ignore_ascii_case("-command")
                || (word.starts_with('-') && !word.starts_with("--") && word.len() <= 5 && word.contains('c'))
        }),
        "su" | "runuser" => behind(|word| word == "-c" || word == "--command"),
        "eval" | "trap" => words[1..].iter().map(String::as_str).take(1).collect(),
        "ssh" | "concurrently" | "npm-run-all" | "hyperfine" | "sshpass" => {
            words[1..].iter().filter(|word| word.contains(' ')).map(String::as_str).collect()
        }
        "docker" | "podman" | "kubectl" => {
            let at = words.iter().position(|word| SHELLS.contains(&program(word)));
            at.and_then(|at| words.get(at + 2)).map(String::as_str).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// A function that starts itself twice.
fn bomb(script: &[u8], base: usize, hits: &mut Vec<Hit>) {
    let Some(at) =
        find(script, 0, b"|:&").or_else(|| find(script, 0, b"| :&")).or_else(|| find(script, 0, b"| : &"))
    else {
        return;
    };
    let start = at.saturating_sub(16);
    let near: Vec<u8> =
        script[start..at].iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    if near.ends_with(b":(){:") {
        hits.push(Hit {
            span: base + start..base + at + 3,
            kind: "bomb",
            says: "starts itself until the machine stands still",
            gravity: Gravity::Grave,
        });
    }
}

/// A command that a program gives as a list: `["git", "push", "--force"]`. The pieces begin with a string.
pub(super) fn arguments(context: &Context, text: &[u8], pieces: &[Piece]) -> Option<Hit> {
    let first = pieces.first()?;
    let name = std::str::from_utf8(&text[first.span.clone()]).ok()?;
    let plain = (2..=24).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._/".contains(&byte));
    if !plain || !knows(name) {
        return None;
    }
    let mut words = vec![name.to_owned()];
    let mut end = first.span.end;
    for piece in pieces[1..].iter().take(24) {
        let inside = &text[piece.span.clone()];
        match piece.kind {
            Kind::Comment => {}
            Kind::String => {
                words.push(String::from_utf8_lossy(inside).into_owned());
                end = piece.span.end;
            }
            Kind::Code => {
                let code = String::from_utf8_lossy(&inside[..inside.len().min(120)]).into_owned();
                let end = ends(&code);
                words.extend(names(&code[..end]).map(|name| format!("${name}")));
                if end < code.len() {
                    break;
                }
            }
        }
    }
    if words.len() < 2 {
        return None;
    }
    let (kind, says, gravity) = judge(context, &words)?;
    Some(Hit { span: first.span.start..end, kind, says, gravity })
}

/// Where code between two strings leaves the list that they are in.
fn ends(code: &str) -> usize {
    let sign = code.find([';', '=', '{', '}', ':']).unwrap_or(code.len());
    let line = code.match_indices('\n').map(|(at, _)| at).find(|at| {
        let next = code[*at..].trim_start().chars().next();
        next.is_some_and(|c| !".)]\"',&".contains(c))
            || code[..*at].trim_end().ends_with(')') && next != Some('.')
    });
    sign.min(line.unwrap_or(code.len()))
}

/// The names in code that are no calls.
fn names(code: &str) -> impl Iterator<Item = String> {
    let letter = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    let pieces: Vec<&str> = code.split_inclusive(|c: char| !letter(c)).collect();
    let name = |piece: &str| {
        let called = piece.ends_with(['(', '!']);
        let name = piece.trim_matches(|c: char| !letter(c) || c == '.');
        (!called && !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()))
            .then(|| name.replace('.', "_"))
    };
    pieces.into_iter().filter_map(name).collect::<Vec<_>>().into_iter()
}
