//! Scripts within files of other kinds.
//!
//! Owns which lines of a build server's job, an image's recipe or a list of targets are commands. A view has
//! every byte at the place where it was; what is no command is blank. Must not know commands.

use std::borrow::Cow;

use crate::lint::place::Family;

/// Names in lists under which somebody speaks.
pub(super) const PROSE_KEYS: [&str; 20] = [
    "name",
    "description",
    "title",
    "summary",
    "message",
    "help",
    "doc",
    "docs",
    "text",
    "label",
    "comment",
    "note",
    "notes",
    "body",
    "usage",
    "example",
    "keywords",
    "displayname",
    "pattern",
    "regex",
];

/// What of a file is a script.
pub(super) fn of(family: Family, text: &[u8]) -> Cow<'_, [u8]> {
    match family {
        Family::Make => Cow::Owned(make(text)),
        Family::Docker => Cow::Owned(docker(text)),
        Family::Yaml => Cow::Owned(yaml(text)),
        Family::Batch => Cow::Owned(batch(text)),
        _ => Cow::Borrowed(text),
    }
}

fn blank(out: &mut Vec<u8>, line: &[u8]) {
    out.extend(line.iter().map(|byte| if *byte == b'\n' { b'\n' } else { b' ' }));
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|byte| *byte == b'\n')
}

fn continues(line: &[u8]) -> bool {
    line.trim_ascii_end().ends_with(b"\\")
}

/// Recipes of a makefile; `$(X)` is a variable in it.
fn make(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut goes_on = false;
    for line in lines(text) {
        let recipe = line.starts_with(b"\t") || goes_on;
        goes_on = recipe && continues(line);
        if !recipe {
            blank(&mut out, line);
            continue;
        }
        let start = out.len();
        out.extend_from_slice(line);
        let line = &mut out[start..];
        let blanks = line.iter().take_while(|byte| matches!(byte, b'\t' | b' ')).count();
        for byte in line[blanks..].iter_mut().take_while(|byte| matches!(**byte, b'@' | b'-' | b'+')) {
            *byte = b' ';
        }
        let mut open = false;
        for at in 0..line.len() {
            let variable = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
            match line[at] {
                b'$' if line.get(at + 1) == Some(&b'$') => line[at] = b' ',
                b'$' if line.get(at + 1) == Some(&b'(') => {
                    let name = line[at + 2..].iter().take(64).take_while(|byte| variable(byte)).count();
                    if line.get(at + 2 + name) == Some(&b')') {
                        line[at + 1] = b'{';
                        open = true;
                    }
                }
                b')' if open => {
                    line[at] = b'}';
                    open = false;
                }
                _ => {}
            }
        }
    }
    out
}

/// What an image's recipe runs.
fn docker(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut goes_on = false;
    for line in lines(text) {
        let trimmed = line.trim_ascii_start();
        let word = trimmed.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        let runs = ["run", "cmd", "entrypoint", "onbuild"]
            .iter()
            .any(|name| trimmed[..word].eq_ignore_ascii_case(name.as_bytes()));
        if goes_on {
            // A comment within an instruction is no end of it.
            let comment = trimmed.starts_with(b"#");
            if comment {
                blank(&mut out, line)
            } else {
                out.extend_from_slice(line)
            }
            goes_on = comment || continues(line);
        } else if runs {
            let start = out.len();
            let skipped = line.len() - trimmed.len() + word;
            blank(&mut out, &line[..skipped]);
            out.extend_from_slice(&line[skipped..]);
            list(&mut out[start..]);
            goes_on = continues(line);
        } else {
            blank(&mut out, line);
        }
    }
    out
}

/// `["rm", "-r"]` as words.
fn list(line: &mut [u8]) {
    let trimmed = line.trim_ascii_start();
    if trimmed.starts_with(b"[\"") || trimmed.starts_with(b"['") || trimmed.starts_with(b"[ \"") {
        line.iter_mut().filter(|byte| matches!(byte, b'[' | b']' | b',')).for_each(|byte| *byte = b' ');
    }
}

/// Values of a YAML file that are no prose.
fn yaml(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut prose: Option<usize> = None;
    for line in lines(text) {
        let indent = line.iter().take_while(|byte| **byte == b' ').count();
        let empty = line.trim_ascii().is_empty();
        if let Some(above) = prose {
            if empty || indent > above {
                blank(&mut out, line);
                continue;
            }
            prose = None;
        }
        let mut at = indent;
        while line[at..].starts_with(b"- ") {
            at += 2 + line[at + 2..].iter().take_while(|byte| **byte == b' ').count();
        }
        let letter = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        let key = line[at..].iter().take_while(|byte| letter(byte)).count();
        let behind = line.get(at + key..).unwrap_or_default();
        let has_key = key > 0 && (behind.starts_with(b": ") || behind.trim_ascii() == b":");
        let name = String::from_utf8_lossy(&line[at..at + key]).to_lowercase();
        if has_key && PROSE_KEYS.contains(&name.as_str()) {
            blank(&mut out, line);
            prose = behind[1..].trim_ascii_start().starts_with(b"|").then_some(indent);
            prose = prose.or(behind[1..].trim_ascii_start().starts_with(b">").then_some(indent));
            continue;
        }
        let skip = if has_key { at + key + 1 } else { at };
        let start = out.len();
        blank(&mut out, &line[..skip]);
        out.extend_from_slice(&line[skip..]);
        let value = &mut out[start + skip..];
        list(value);
        unquote(value);
    }
    out
}

/// A line whose value is in quotes as a whole.
fn unquote(value: &mut [u8]) {
    let from = value.len() - value.trim_ascii_start().len();
    let to = value.trim_ascii_end().len();
    let quoted = to > from + 2 && matches!(value[from], b'"' | b'\'') && value[to - 1] == value[from];
    if quoted && value[from + 1..to - 1].contains(&b' ') && !value[from + 1..to - 1].contains(&value[from]) {
        (value[from], value[to - 1]) = (b' ', b' ');
    }
}

/// A batch file without its comments; a `@` only keeps a command from being shown.
fn batch(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for line in lines(text) {
        let trimmed = line.trim_ascii_start();
        let comment = trimmed.starts_with(b"::")
            || trimmed.get(..4).is_some_and(|word| word.eq_ignore_ascii_case(b"rem "));
        if comment || trimmed.get(..5).is_some_and(|word| word.eq_ignore_ascii_case(b"echo ")) {
            blank(&mut out, line);
            continue;
        }
        let start = out.len();
        out.extend_from_slice(line);
        out[start..]
            .iter_mut()
            .take_while(|byte| matches!(**byte, b' ' | b'@'))
            .for_each(|byte| *byte = b' ');
    }
    out
}
