//! Inputs that a target begins with, kept as text.
//!
//! Owns the notation: one input per line, in the escapes of Rust's byte strings; a line that begins with `# `
//! is a comment. Must not know what an input means.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash as _, Hasher as _};
use std::io;
use std::path::Path;

use crate::Target;

/// The inputs of a text of seeds.
///
/// # Panics
/// At an escape that is none.
#[must_use]
pub fn read(text: &str) -> Vec<Vec<u8>> {
    text.lines().filter(|line| !line.starts_with("# ")).map(unescape).collect()
}

/// Writes a target's seeds into a directory, one file each.
///
/// # Errors
/// Those of the system.
pub fn write(target: &Target, dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    for seed in read(target.seeds) {
        let mut name = DefaultHasher::new();
        seed.hash(&mut name);
        fs::write(dir.join(format!("seed-{:016x}", name.finish())), seed)?;
    }
    Ok(())
}

/// A file, or every file of a directory, as a text of seeds: shortest first.
///
/// # Errors
/// Those of the system.
pub fn of_files(path: &Path) -> io::Result<String> {
    let mut inputs = Vec::new();
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            inputs.push(fs::read(entry?.path())?);
        }
    } else {
        inputs.push(fs::read(path)?);
    }
    inputs.sort_by(|one, other| (one.len(), one).cmp(&(other.len(), other)));
    inputs.dedup();
    Ok(inputs.iter().map(|input| escape(input) + "\n").collect())
}

/// An input as a line.
#[must_use]
pub fn escape(input: &[u8]) -> String {
    let line = input.escape_ascii().to_string().replace("\\'", "'").replace("\\\"", "\"");
    // It would be read as a comment.
    if line.starts_with("# ") { format!("\\x23{}", &line[1..]) } else { line }
}

fn unescape(line: &str) -> Vec<u8> {
    let mut input = Vec::new();
    let mut rest = line.as_bytes();
    while let [byte, behind @ ..] = rest {
        rest = behind;
        if *byte != b'\\' {
            input.push(*byte);
            continue;
        }
        let (meant, used) = match rest {
            [b'x', digits @ ..] => {
                let digits = digits.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
                let value = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                (value.unwrap_or_else(|| panic!("two digits behind \\x: {line}")), 3)
            }
            [b'n', ..] => (b'\n', 1),
            [b'r', ..] => (b'\r', 1),
            [b't', ..] => (b'\t', 1),
            [b'\\', ..] => (b'\\', 1),
            _ => panic!("no escape: {line}"),
        };
        input.push(meant);
        rest = &rest[used..];
    }
    input
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_input_has_a_line() {
        let all: Vec<u8> = (0..=255).collect();
        for input in [&all[..], b"", b"# x", b"\\x41", b"'\"\r\n\t", b"#"] {
            assert_eq!(read(&(escape(input) + "\n")), [input]);
        }
        assert_eq!(read("# a comment\na\\x62\n"), [b"ab"]);
    }
}
