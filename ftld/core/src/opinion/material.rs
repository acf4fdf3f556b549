//! A session's changes as data for a model.
//!
//! Owns the form of the data: lines that all begin with a bar, each piece of foreign text within one of them.
//! Whatever acts on a reader (ends of lines of every kind, control characters, what turns text around or is
//! not seen) is spelt out, so nothing foreign begins a line. Owns the limits too: what does not fit, and what
//! a model may not see, is named as left out. Must not know models.

use std::collections::BTreeSet;
use std::fmt;
use std::fmt::Write as _;

use crate::hunk::{Elided, Hunk, Hunks, Tag};
use crate::tree::RelPath;

/// The changes as data.
pub struct Material {
    text: String,
    room: usize,
    paths: BTreeSet<String>,
    hunks: u64,
    withheld: u64,
    left_out: Vec<LeftOut>,
}

/// A changed path.
pub struct File<'a> {
    /// Where.
    pub path: &'a RelPath,
    /// What happened to it, in a word.
    pub kind: &'a str,
    /// How its content differs.
    pub hunks: &'a Hunks,
    /// Ids of the hunks that are meant; all when `None`.
    pub only: Option<&'a BTreeSet<String>>,
    /// Lines after the change that hold a credential.
    pub secret: &'a BTreeSet<u64>,
}

/// Something that the model is not shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeftOut {
    /// Where.
    pub path: RelPath,
    /// Why.
    pub why: Why,
}

/// Why something is not shown to a model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// It is not text.
    Binary,
    /// The file is too large to be compared.
    TooLarge,
    /// The changes as a whole are: so many hunks of this file have found no room.
    NoRoom {
        /// How many; 0 for a file without hunks.
        hunks: u64,
    },
    /// It can never be applied.
    Refused,
    /// It is where secrets are kept, or holds a credential that is at no one line.
    Credential,
}

/// What stands in the place of a line with a credential.
pub const WITHHELD: &str = "[withheld: a credential]";
/// Characters of a line that are shown.
const LONGEST_LINE: usize = 1000;

impl Material {
    /// No changes yet, and room for so many bytes.
    #[must_use]
    pub fn new(room: usize) -> Self {
        Self {
            text: String::new(),
            room,
            paths: BTreeSet::new(),
            hunks: 0,
            withheld: 0,
            left_out: Vec::new(),
        }
    }

    /// Adds a changed path, as much of it as there is room for: whole hunks.
    pub fn add(&mut self, file: &File<'_>) {
        let leave = |why| LeftOut { path: file.path.clone(), why };
        match file.hunks.elided {
            Some(Elided::Binary | Elided::Utf16) => self.left_out.push(leave(Why::Binary)),
            Some(Elided::TooLarge | Elided::TooManyLines) => self.left_out.push(leave(Why::TooLarge)),
            None => {}
        }
        let name = shown(file.path.as_bytes());
        if !self.take(&format!("| file {name} ({})\n", file.kind)) {
            let hunks = u64::try_from(file.hunks.hunks.len()).unwrap_or(u64::MAX);
            self.left_out.push(leave(Why::NoRoom { hunks }));
            return;
        }
        self.paths.insert(name);
        let mut without_room = 0;
        for hunk in &file.hunks.hunks {
            if file.only.is_some_and(|only| !only.contains(&hunk.id)) {
                continue;
            }
            let (text, withheld) = hunk_text(hunk, file.secret);
            if self.take(&text) {
                self.hunks += 1;
                self.withheld += withheld;
            } else {
                without_room += 1;
            }
        }
        if without_room > 0 {
            self.left_out.push(leave(Why::NoRoom { hunks: without_room }));
        }
    }

    /// Names a path that a model is not shown.
    pub fn leave_out(&mut self, path: RelPath, why: Why) {
        self.left_out.push(LeftOut { path, why });
    }

    fn take(&mut self, text: &str) -> bool {
        let fits = text.len() <= self.room;
        if fits {
            self.room -= text.len();
            self.text += text;
        }
        fits
    }

    /// The data: lines that begin with a bar.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a path was shown, by the name that [`shown`] gives it.
    #[must_use]
    pub fn knows(&self, path: &str) -> bool {
        self.paths.contains(path)
    }

    /// Paths that are shown.
    #[must_use]
    pub fn files(&self) -> u64 {
        u64::try_from(self.paths.len()).unwrap_or(u64::MAX)
    }

    /// Hunks that are shown.
    #[must_use]
    pub fn hunks(&self) -> u64 {
        self.hunks
    }

    /// Lines that are not shown because they hold a credential.
    #[must_use]
    pub fn withheld(&self) -> u64 {
        self.withheld
    }

    /// What is not shown.
    #[must_use]
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Binary => f.write_str("it is not text"),
            Self::TooLarge => f.write_str("the file is too large"),
            Self::NoRoom { hunks: 0 } => f.write_str("there was no room"),
            Self::NoRoom { hunks: 1 } => f.write_str("there was no room for one of its hunks"),
            Self::NoRoom { hunks } => write!(f, "there was no room for {hunks} of its hunks"),
            Self::Refused => f.write_str("it can never be applied"),
            Self::Credential => f.write_str("secrets may stand in it"),
        }
    }
}

/// A hunk's lines, and how many of them are withheld.
fn hunk_text(hunk: &Hunk, secret: &BTreeSet<u64>) -> (String, u64) {
    let mut text = format!("| hunk {}\n", hunk.id);
    let (mut line, mut withheld) = (hunk.new_start, 0);
    for one in &hunk.lines {
        let (sign, number) = match one.tag {
            Tag::Same => (' ', Some(line)),
            Tag::Added => ('+', Some(line)),
            Tag::Removed => ('-', None),
        };
        line += u64::from(number.is_some());
        let place = number.map(|number| number.to_string()).unwrap_or_default();
        let bytes = one.text.strip_suffix(b"\n").unwrap_or(&one.text);
        let content = match number.is_some_and(|number| secret.contains(&number)) {
            true => {
                withheld += 1;
                WITHHELD.to_owned()
            }
            false => shown(bytes),
        };
        // Writing to a string does not fail.
        let _ = writeln!(text, "| {sign}{place:>5} {content}");
    }
    (text, withheld)
}

/// Foreign text as one line, without anything in it that acts on a reader.
#[must_use]
pub fn shown(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut left = LONGEST_LINE;
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            if left == 0 {
                return text + " [cut]";
            }
            left -= 1;
            match char {
                '\t' => text.push('\t'),
                char if acts(char) => {
                    let _ = write!(text, "\\u{{{:x}}}", u32::from(char));
                }
                char => text.push(char),
            }
        }
        for byte in chunk.invalid() {
            if left == 0 {
                return text + " [cut]";
            }
            left -= 1;
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Whether a character ends a line, acts on a terminal, turns text around, or is not seen.
fn acts(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hunk::{Limits, hunks};

    fn path(text: &str) -> RelPath {
        RelPath::new(text.as_bytes().to_vec()).unwrap()
    }

    fn material(room: usize, name: &str, before: &[u8], after: &[u8], secret: &[u64]) -> Material {
        let (path, secret) = (path(name), secret.iter().copied().collect());
        let hunks = hunks(before, after, Limits::default());
        let mut material = Material::new(room);
        material.add(&File { path: &path, kind: "modified", hunks: &hunks, only: None, secret: &secret });
        material
    }

    #[test]
    fn lines_are_numbered_as_they_are_after_the_change() {
        let found = material(1000, "a", b"1\n2\n3\n", b"1\ntwo\n3\n", &[]);
        let id = found.text().lines().nth(1).unwrap().strip_prefix("| hunk ").unwrap().to_owned();
        let expected =
            format!("| file a (modified)\n| hunk {id}\n|      1 1\n| -      2\n| +    2 two\n|      3 3\n");
        assert_eq!(found.text(), expected);
        assert_eq!((found.files(), found.hunks(), found.knows("a"), found.knows("b")), (1, 1, true, false));
    }

    #[test]
    fn a_credential_is_withheld() {
        let found = material(1000, "a", b"", b"x\nkey = sk-very-secret\ny\n", &[2]);
        assert!(!found.text().contains("sk-very") && found.text().contains("[withheld: a credential]"));
        assert_eq!(found.withheld(), 1);
    }

    #[test]
    fn what_does_not_fit_is_left_out_as_a_whole_and_named() {
        let before: Vec<u8> = (0..100).flat_map(|n| format!("{n}\n").into_bytes()).collect();
        let after: Vec<u8> = (0..100)
            .flat_map(|n| if n % 40 == 5 { b"changed\n".to_vec() } else { format!("{n}\n").into_bytes() })
            .collect();
        let whole = material(usize::MAX, "a", &before, &after, &[]);
        assert_eq!((whole.hunks(), whole.left_out()), (3, &[][..]));
        let part = material(whole.text().len() - 1, "a", &before, &after, &[]);
        assert_eq!(part.left_out(), [LeftOut { path: path("a"), why: Why::NoRoom { hunks: 1 } }]);
        assert!(whole.text().starts_with(part.text()));
        let none = material(5, "a", &before, &after, &[]);
        assert_eq!((none.text(), none.knows("a")), ("", false));
        assert_eq!(none.left_out(), [LeftOut { path: path("a"), why: Why::NoRoom { hunks: 3 } }]);
        let binary = material(1000, "a", b"", b"\0\0", &[]);
        assert_eq!(binary.left_out(), [LeftOut { path: path("a"), why: Why::Binary }]);
        let id = &hunks(&before, &after, Limits::default()).hunks[1].id;
        let only = [id.clone()].into();
        let mut one = Material::new(9999);
        let (path, hunks) = (path("a"), hunks(&before, &after, Limits::default()));
        let none = BTreeSet::new();
        one.add(&File { path: &path, kind: "modified", hunks: &hunks, only: Some(&only), secret: &none });
        assert_eq!((one.hunks(), one.text().contains(id), one.left_out()), (1, true, &[][..]));
    }

    proptest! {
        #[test]
        fn nothing_foreign_begins_a_line(
            before in proptest::collection::vec(hostile(), 0..20),
            after in proptest::collection::vec(hostile(), 0..20),
            name in hostile(),
        ) {
            let name: String = name.chars().filter(|c| *c != '\0' && *c != '/').collect();
            prop_assume!(RelPath::new(name.clone().into_bytes()).is_ok());
            let (before, after) = (before.concat(), after.concat());
            let found = material(usize::MAX, &name, before.as_bytes(), after.as_bytes(), &[]);
            for line in found.text().split(['\n', '\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}']) {
                prop_assert!(line.is_empty() || line.starts_with("| "), "{line:?}");
            }
        }
    }

    fn hostile() -> impl Strategy<Value = String> {
        let known =
            ["\n", "\r", "\r\n", "\u{2028}", "\u{85}", "\u{b}", "END DATA", "| file x", "a", "\u{202e}"];
        prop_oneof![4 => proptest::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => ".{0,6}"]
    }
}
