//! From the words of a selection to the API's form, and back to words for the next command.
//!
//! Owns what `PATH:HUNK:LINES` means. Must not know what a selection does.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use ftl_proto::v1;

use crate::args::Choose;
use crate::failure::Failure;
use crate::project;
use crate::render::escape;

/// What is meant, in the API's form.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meant {
    /// Paths and parts.
    pub(crate) selection: v1::Selection,
    /// Decisions about conflicts.
    pub(crate) resolutions: Vec<v1::Resolution>,
    /// Findings that may pass.
    pub(crate) accepted: Vec<v1::Accepted>,
}

/// A path with a hunk of it, and lines of that.
#[derive(Debug, PartialEq, Eq)]
struct Place<'a> {
    path: &'a [u8],
    hunk: String,
    lines: Vec<v1::LineRange>,
}

impl Meant {
    /// Reads the options; paths are beneath `root`, relative ones from `cwd`.
    pub(crate) fn read(choose: &Choose, root: &Path, cwd: &Path) -> Result<Self, Failure> {
        let beneath = |path: &[u8]| -> Result<Vec<u8>, Failure> {
            Ok(project::beneath(Path::new(OsStr::from_bytes(path)), root, cwd)?)
        };
        let mut meant = Self::default();
        for path in &choose.paths {
            meant.selection.paths.push(beneath(path.as_os_str().as_bytes())?);
        }
        for word in &choose.hunks {
            let place = place(word.as_bytes()).ok_or_else(|| no_hunk(word))?;
            let choice = v1::HunkChoice { hunk: place.hunk, lines: place.lines, edited: None };
            meant.add(beneath(place.path)?, choice);
        }
        for word in &choose.edited {
            let (hunk, file) = cut(word.as_bytes(), b'=').ok_or_else(|| no_hunk(word))?;
            let place = place(hunk).filter(|place| place.lines.is_empty()).ok_or_else(|| no_hunk(word))?;
            let file = Path::new(OsStr::from_bytes(file));
            let edited = std::fs::read(cwd.join(file)).map_err(|source| Failure::Io {
                act: format!("read {}", escape::name(file.as_os_str().as_bytes())),
                source,
            })?;
            let choice = v1::HunkChoice { hunk: place.hunk, lines: Vec::new(), edited: Some(edited) };
            meant.add(beneath(place.path)?, choice);
        }
        let decisions = [
            (&choose.ours, v1::Decision::Ours),
            (&choose.theirs, v1::Decision::Theirs),
            (&choose.both, v1::Decision::Both),
        ];
        for (words, decision) in decisions {
            for word in words {
                let (path, number) = conflict(word.as_bytes());
                let path = beneath(path)?;
                let decision = decision.into();
                meant.resolutions.push(v1::Resolution { path, number, decision, bytes: Vec::new() });
            }
        }
        for word in &choose.accept {
            let Some((finding, why)) = word.split_once('=').filter(|(_, why)| !why.trim().is_empty()) else {
                return Err(Failure::Usage {
                    what: "--accept is given without a reason".to_owned(),
                    hint: "write it as --accept FINDING='why it may pass'".to_owned(),
                });
            };
            meant.accepted.push(v1::Accepted { finding: finding.to_owned(), why: why.to_owned() });
        }
        Ok(meant)
    }

    fn add(&mut self, path: Vec<u8>, choice: v1::HunkChoice) {
        match self.selection.parts.iter_mut().find(|part| part.path == path) {
            Some(part) => part.hunks.push(choice),
            None => self.selection.parts.push(v1::Part { path, hunks: vec![choice] }),
        }
    }
}

/// The options again, as a shell takes them: each begins with a space.
pub(crate) fn words(choose: &Choose) -> String {
    let mut text = String::new();
    let mut push = |option: &str, word: &[u8]| {
        text += &format!(" --{option} {}", quoted(word));
    };
    choose.paths.iter().for_each(|path| push("path", path.as_os_str().as_bytes()));
    let options = [
        ("hunk", &choose.hunks),
        ("edited", &choose.edited),
        ("ours", &choose.ours),
        ("theirs", &choose.theirs),
        ("both", &choose.both),
    ];
    for (option, words) in options {
        words.iter().for_each(|word| push(option, word.as_bytes()));
    }
    choose.accept.iter().for_each(|word| push("accept", word.as_bytes()));
    text
}

/// A word as a shell takes it.
pub(crate) fn quoted(word: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-./:,+@%=".contains(byte);
    if !word.is_empty() && word.iter().all(plain) {
        return String::from_utf8_lossy(word).into_owned();
    }
    format!("'{}'", escape::name(word).replace('\'', "'\\''"))
}

/// What stands in front of the last such byte, and behind it.
fn cut(word: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = word.iter().rposition(|one| *one == byte)?;
    Some((&word[..at], &word[at + 1..])).filter(|(before, after)| !before.is_empty() && !after.is_empty())
}

/// `PATH:HUNK` or `PATH:HUNK:LINES`. Where both readings fit, there are lines.
fn place(word: &[u8]) -> Option<Place<'_>> {
    let (before, last) = cut(word, b':')?;
    if let (Some(lines), Some((path, middle))) = (lines(last), cut(before, b':'))
        && let Some(hunk) = hunk(middle)
    {
        return Some(Place { path, hunk, lines });
    }
    Some(Place { path: before, hunk: hunk(last)?, lines: Vec::new() })
}

/// A number from 1, or an id.
fn hunk(word: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(word).ok()?;
    let is_number = text.len() < 10 && text.parse::<u32>().is_ok_and(|number| number > 0);
    let is_id = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_number || is_id).then(|| text.to_ascii_lowercase())
}

/// `3`, `3-7` or several of them with commas, counted from 1.
fn lines(word: &[u8]) -> Option<Vec<v1::LineRange>> {
    let text = std::str::from_utf8(word).ok()?;
    let range = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        (first > 0 && first <= last)
            .then(|| v1::LineRange { first: first - 1, count: (last - first).saturating_add(1) })
    };
    text.split(',').map(range).collect()
}

/// `PATH` or `PATH:NUMBER`; 0 stands for all of the path.
fn conflict(word: &[u8]) -> (&[u8], u32) {
    let numbered = cut(word, b':').and_then(|(path, number)| {
        let number = std::str::from_utf8(number).ok()?.parse().ok().filter(|number| *number > 0)?;
        Some((path, number))
    });
    numbered.unwrap_or((word, 0))
}

fn no_hunk(word: &OsStr) -> Failure {
    Failure::Usage {
        what: format!("{} names no hunk", escape::name(word.as_bytes())),
        hint: "write PATH:NUMBER, as in --hunk src/main.rs:2, or with some of its lines src/main.rs:2:3-7"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path, a hunk's name, and lines as first and count.
    type Read = (String, String, Vec<(u32, u32)>);

    fn read(word: &str) -> Option<Read> {
        let place = place(word.as_bytes())?;
        let lines = place.lines.iter().map(|range| (range.first, range.count)).collect();
        Some((String::from_utf8_lossy(place.path).into_owned(), place.hunk, lines))
    }

    #[test]
    fn a_hunk_and_its_lines_are_read_from_the_end() {
        let told = |path: &str, hunk: &str, lines: &[(u32, u32)]| {
            Some((path.to_owned(), hunk.to_owned(), lines.to_vec()))
        };
        assert_eq!(read("a.rs:2"), told("a.rs", "2", &[]));
        assert_eq!(read("a:b:2"), told("a:b", "2", &[]));
        assert_eq!(read("a.rs:0123456789AB"), told("a.rs", "0123456789ab", &[]));
        assert_eq!(read("a.rs:2:3-7,9"), told("a.rs", "2", &[(2, 5), (8, 1)]));
        for wrong in ["a.rs", "a.rs:", ":2", "a.rs:0", "a.rs:x", "a.rs:2:", "a.rs:123456789012345"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert_eq!(read("a.rs:2:7-3"), None);
    }

    #[test]
    fn a_conflict_is_one_of_a_path_or_all() {
        assert_eq!(conflict(b"a:2"), (&b"a"[..], 2));
        assert_eq!(conflict(b"a"), (&b"a"[..], 0));
        assert_eq!(conflict(b"a:0"), (&b"a:0"[..], 0));
    }

    #[test]
    fn options_are_told_as_they_can_be_typed() {
        let choose = Choose {
            paths: vec!["a b".into()],
            hunks: vec!["c:1:2-3".into()],
            accept: vec!["f=it's a test".into()],
            ..Choose::default()
        };
        assert_eq!(words(&choose), r" --path 'a b' --hunk c:1:2-3 --accept 'f=it'\''s a test'");
        assert!(words(&Choose::default()).is_empty());
    }
}
