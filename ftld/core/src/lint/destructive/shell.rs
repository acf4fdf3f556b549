//! Commands of a script.
//!
//! Owns how a script is cut into commands and words, which of them run another command, and the few dangers
//! that several commands make together. It is no shell: where a shell would be needed to know, the words are
//! taken as they stand. Must not know what a single command does.

use std::ops::Range;

use super::commands::{Judged, judge, knows};
use super::{Context, Gravity, Hit, sql};
use crate::lint::lexed::{Kind, Piece, find};
use crate::lint::place::Family;

/// Bytes in quotes at most; what does not end there was no quote.
const QUOTED: usize = 4096;
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

/// Here-documents without an end that are looked for.
const LOST: u8 = 8;
/// Bytes in parentheses at most.
const ENCLOSED: usize = 1024;

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
        let made = before.is_some_and(|before| before.words.iter().any(|word| super::target::is_made(word)));
        let gravity = if made { Gravity::Harmless } else { Gravity::Usual };
        return Some(("xargs rm", "deletes all that it is told", gravity));
    }
    if let Some(to) = words
        .iter()
        .skip(1)
        .find_map(|word| word.strip_prefix('>'))
        .filter(|to| super::target::is_system(to) && to.starts_with("/dev/"))
    {
        let _ = to;
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

/// Cuts a script into commands.
struct Cutter<'a> {
    family: Family,
    script: &'a [u8],
    base: usize,
    context: &'a Context,
    depth: u8,
    commands: Vec<Command>,
    hits: &'a mut Vec<Hit>,
    now: Command,
    word: Option<String>,
    /// Here-documents whose end was not found; each costs all of the script.
    lost: u8,
}

impl Cutter<'_> {
    fn run(&mut self) {
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
