//! The changed regions of a text file.
//!
//! Owns what text is, how two texts are compared, and the stable ids of the regions. The lines are the
//! exact bytes, line ends included: what is shown is what would be written. Must not know where the
//! contents come from. The time it takes is bounded by the limits, not by a clock.

mod words;

use std::collections::HashMap;
use std::ops::Range;

use similar::{Algorithm, DiffOp, DiffTag, capture_diff_slices, group_diff_ops};

use crate::refuse::{Content, Touched, hides_characters};

pub use words::changed_words;

/// Lines around a change that are shown with it.
const CONTEXT: usize = 3;
/// Bytes at a file's start that decide whether it is text.
const PROBE: usize = 8 * 1024;
/// In a text at most one byte in so many is a NUL or another byte that no text needs, when it has a NUL.
const ODD_ONE_IN: usize = 32;

/// How large the two sides together may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes.
    pub bytes: u64,
    /// Lines.
    pub lines: usize,
}

/// The changed regions, or why there are none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Hunks {
    /// In the order of lines.
    pub hunks: Vec<Hunk>,
    /// Lines added in all of them.
    pub added: u64,
    /// Lines removed in all of them.
    pub removed: u64,
    /// Why the content differs and yet there are no hunks.
    pub elided: Option<Elided>,
}

/// Why a file's change is not shown line by line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Elided {
    /// One of the sides is not text.
    Binary,
    /// More bytes than the limit.
    TooLarge,
    /// More lines than the limit.
    TooManyLines,
}

/// A changed region with the lines around it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hunk {
    /// Twelve hexadecimal characters: the same change has the same id, wherever other changes move it.
    pub id: String,
    /// First line before, from 1; the line before the insertion when `old_lines` is 0.
    pub old_start: u64,
    /// Lines before.
    pub old_lines: u64,
    /// First line after, from 1; the line before the deletion when `new_lines` is 0.
    pub new_start: u64,
    /// Lines after.
    pub new_lines: u64,
    /// The lines, those around the change included.
    pub lines: Vec<Line>,
}

/// One line of a hunk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// What happened to it.
    pub tag: Tag,
    /// Its bytes, with the line end if it has one.
    pub text: Vec<u8>,
}

/// What happened to a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tag {
    /// Nothing.
    Same,
    /// It is gone.
    Removed,
    /// It is new.
    Added,
}

/// The changed regions between two contents. Empty for equal ones.
#[must_use]
pub fn hunks(before: &[u8], after: &[u8], limits: Limits) -> Hunks {
    let elided = |why| Hunks { elided: Some(why), ..Hunks::default() };
    if before == after {
        return Hunks::default();
    }
    if before.len() as u64 + after.len() as u64 > limits.bytes {
        return elided(Elided::TooLarge);
    }
    if !is_text(before) || !is_text(after) {
        return elided(Elided::Binary);
    }
    let (old, new) = (lines(before), lines(after));
    if old.len() + new.len() > limits.lines {
        return elided(Elided::TooManyLines);
    }
    // Myers as `similar` has it gives up on the smallest script when the search becomes too expensive, so
    // that hostile texts cost no more than a bounded amount per line.
    let ops = capture_diff_slices(Algorithm::Myers, &old, &new);
    let mut seen = HashMap::new();
    let groups = group_diff_ops(ops, CONTEXT);
    let hunks: Vec<_> = groups.iter().map(|group| hunk(group, &old, &new, &mut seen)).collect();
    let count = |tag| hunks.iter().flat_map(|hunk| &hunk.lines).filter(|line| line.tag == tag).count() as u64;
    Hunks { added: count(Tag::Added), removed: count(Tag::Removed), hunks, elided: None }
}

/// Whether a content is text: either UTF-8 or an older encoding's few high bytes among ordinary ones. A few NULs
/// make no binary of a text: interpreters run such a file, so a human is shown it.
#[must_use]
pub fn is_text(content: &[u8]) -> bool {
    let start = &content[..content.len().min(PROBE)];
    let odd = |byte: &&u8| matches!(**byte, 0..=8 | 14..=26 | 28..=31 | 127);
    let odd = start.iter().filter(odd).count();
    if start.contains(&0) && odd * ODD_ONE_IN > start.len() {
        return false;
    }
    let cut = start.len() < content.len();
    match std::str::from_utf8(start) {
        Ok(_) => true,
        // The probe may end within a character.
        Err(error) if cut && error.error_len().is_none() => true,
        Err(_) => {
            let high = start.iter().filter(|byte| !byte.is_ascii()).count();
            odd == 0 && !start.iter().any(|byte| matches!(byte, 128..=159)) && high * 3 <= start.len()
        }
    }
}

/// What the two contents say about a change's risk. An absent side is empty. What they are as a manifest
/// is left open: that is [`crate::refuse::touched`]'s, which needs the path and all of both contents. So is
/// whether it is disguised, which is [`crate::lint::disguised`]'s.
#[must_use]
pub fn content(before: &[u8], after: &[u8], hunks: &Hunks) -> Content {
    let binary = hunks.elided == Some(Elided::Binary) || !is_text(before) || !is_text(after);
    let mut lines = hunks.hunks.iter().flat_map(|hunk| &hunk.lines).filter(|line| line.tag == Tag::Added);
    let hidden_characters = match (binary, hunks.elided) {
        (true, _) => false,
        // What is not shown is searched as a whole.
        (false, Some(_)) => hides_characters(after),
        (false, None) => lines.any(|line| hides_characters(&line.text)),
    };
    Content {
        binary,
        disguised: false,
        hidden_characters,
        script: after.starts_with(b"#!"),
        was_script: before.starts_with(b"#!"),
        removed_lines: hunks.removed,
        touched: Touched::Unknown,
    }
}

/// The lines of a text, each with its line end.
pub(crate) fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').collect()
}

fn hunk(ops: &[DiffOp], old: &[&[u8]], new: &[&[u8]], seen: &mut HashMap<String, u32>) -> Hunk {
    let mut lines = Vec::new();
    let mut push =
        |tag, texts: &[&[u8]]| lines.extend(texts.iter().map(|text| Line { tag, text: text.to_vec() }));
    for op in ops {
        match op.tag() {
            DiffTag::Equal => push(Tag::Same, &old[op.old_range()]),
            DiffTag::Delete | DiffTag::Insert | DiffTag::Replace => {
                push(Tag::Removed, &old[op.old_range()]);
                push(Tag::Added, &new[op.new_range()]);
            }
        }
    }
    let before = span(ops, DiffOp::old_range);
    let after = span(ops, DiffOp::new_range);
    Hunk {
        id: id(&lines, seen),
        old_start: start(&before),
        old_lines: before.len() as u64,
        new_start: start(&after),
        new_lines: after.len() as u64,
        lines,
    }
}

fn span(ops: &[DiffOp], range: impl Fn(&DiffOp) -> Range<usize>) -> Range<usize> {
    let first = ops.first().map_or(0, |op| range(op).start);
    first..ops.last().map_or(first, |op| range(op).end)
}

fn start(range: &Range<usize>) -> u64 {
    // As in a unified diff: an empty side names the line before it.
    range.start as u64 + u64::from(!range.is_empty())
}

/// A hash over what goes and what comes; hunks that are equal in both are told apart by their order.
fn id(lines: &[Line], seen: &mut HashMap<String, u32>) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("ftl hunk id 1");
    for line in lines.iter().filter(|line| line.tag != Tag::Same) {
        hasher.update(&[u8::from(line.tag == Tag::Added)]);
        hasher.update(&(line.text.len() as u64).to_le_bytes()).update(&line.text);
    }
    let content = hasher.finalize().to_hex().to_string();
    let ordinal = seen.entry(content).or_default();
    hasher.update(b"#").update(&ordinal.to_le_bytes());
    *ordinal += 1;
    hasher.finalize().to_hex()[..12].to_owned()
}

// === impl Hunk, Limits, Elided, Tag ===

impl Hunk {
    /// Its lines among those before, counted from 0.
    pub(crate) fn old_range(&self) -> Range<usize> {
        let first = (self.old_start - u64::from(self.old_lines > 0)) as usize;
        first..first + self.old_lines as usize
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 4 << 20, lines: 120_000 }
    }
}

impl Elided {
    /// The reason in words.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Binary => "not text",
            Self::TooLarge => "too large to show",
            Self::TooManyLines => "too many lines to show",
        }
    }
}

impl Tag {
    /// The sign in front of a line.
    #[must_use]
    pub fn sign(self) -> &'static str {
        match self {
            Self::Same => " ",
            Self::Removed => "-",
            Self::Added => "+",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(before: &[u8], after: &[u8]) -> String {
        let mut out = String::new();
        for hunk in hunks(before, after, Limits::default()).hunks {
            let head = [hunk.old_start, hunk.old_lines, hunk.new_start, hunk.new_lines];
            out += &format!("@@ -{},{} +{},{} @@\n", head[0], head[1], head[2], head[3]);
            for line in &hunk.lines {
                out += &format!("{}{}\n", line.tag.sign(), line.text.escape_ascii());
            }
        }
        out
    }

    #[test]
    fn lines_are_exact_bytes() {
        assert_eq!(shown(b"a\nb", b"a\nb\n"), "@@ -1,2 +1,2 @@\n a\\n\n-b\n+b\\n\n");
        assert_eq!(shown(b"a\r\n", b"a\n"), "@@ -1,1 +1,1 @@\n-a\\r\\n\n+a\\n\n");
        assert_eq!(shown(b"", b"\x1b[2J\xff\n"), "@@ -0,0 +1,1 @@\n+\\x1b[2J\\xff\\n\n");
        assert_eq!(shown(b"gone\n", b""), "@@ -1,1 +0,0 @@\n-gone\\n\n");
        assert_eq!(shown(b"same", b"same"), "");
    }

    #[test]
    fn far_changes_are_two_hunks_and_near_ones_are_one() {
        let text = |changed: &[usize]| -> Vec<u8> {
            (0..30)
                .flat_map(|n| format!("{n}{}\n", if changed.contains(&n) { "!" } else { "" }).into_bytes())
                .collect()
        };
        let count = |changed: &[usize]| hunks(&text(&[]), &text(changed), Limits::default()).hunks.len();
        assert_eq!((count(&[3, 20]), count(&[3, 8])), (2, 1));
    }

    #[test]
    fn an_id_stays_when_other_changes_move_the_hunk() {
        let filler = "x\n".repeat(20);
        let before = format!("{filler}old\n{filler}old\n{filler}");
        let after = format!("{filler}new\n{filler}new\n{filler}");
        let ids = |before: &str, after: &str| -> Vec<String> {
            let found = hunks(before.as_bytes(), after.as_bytes(), Limits::default());
            found.hunks.into_iter().map(|hunk| hunk.id).collect()
        };
        let first = ids(&before, &after);
        assert_ne!(first[0], first[1]);
        let moved = ids(&before, &format!("more\n{after}"));
        assert_eq!(moved[1..], first);
    }

    #[test]
    fn limits_and_binaries_say_why_there_are_no_hunks() {
        let limits = Limits { bytes: 10, lines: 3 };
        assert_eq!(hunks(b"0123456789", b"x", limits).elided, Some(Elided::TooLarge));
        assert_eq!(hunks(b"1\n2\n", b"3\n4\n", limits).elided, Some(Elided::TooManyLines));
        assert_eq!(hunks(b"a\0", b"x", limits).elided, Some(Elided::Binary));
    }

    #[test]
    fn text_is_told_from_binaries() {
        let long = [vec![b'a'; PROBE - 1], "\u{e9}tat".into()].concat();
        let few_nuls = [&b"/* \0 */ run(\"something that is long enough\");\n"[..], &[b'x'; 40]].concat();
        for text in [&b""[..], &few_nuls, b"a\n", "h\u{f6}he\x1b".as_bytes(), b"caf\xe9 au lait\n", &long] {
            assert!(is_text(text), "{}", text.escape_ascii());
        }
        for binary in [&b"\x7fELF\x02\x01\x01\0"[..], b"\x89PNG\r\n\x1a\n\x01", b"\xff\xfe\xfd", b"a\0"] {
            assert!(!is_text(binary), "{}", binary.escape_ascii());
        }
    }

    #[test]
    fn hostile_texts_of_the_largest_size_are_compared_in_bounded_work() {
        // Two texts of few distinct lines in unlike orders: the worst for the classical search.
        let text = |step: u32| -> Vec<u8> {
            (0..20_000u32).flat_map(|n| [b'a' + ((n * n / 7 + n * step) % 5) as u8, b'\n']).collect()
        };
        let found = hunks(&text(3), &text(11), Limits::default());
        assert_eq!(found.elided, None);
        assert!(found.added > 0);
    }

    proptest! {
        #[test]
        fn hunks_hold_the_whole_change(before in "[ab\n]{0,60}", after in "[ab\n]{0,60}") {
            let found = hunks(before.as_bytes(), after.as_bytes(), Limits::default());
            let mut lines: Vec<Vec<u8>> = self::lines(before.as_bytes()).iter().map(|line| line.to_vec()).collect();
            for hunk in found.hunks.iter().rev() {
                let start = (hunk.old_start - u64::from(hunk.old_lines > 0)) as usize;
                let kept = hunk.lines.iter().filter(|line| line.tag != Tag::Removed).map(|line| line.text.clone());
                lines.splice(start..start + hunk.old_lines as usize, kept.collect::<Vec<_>>());
            }
            prop_assert_eq!(lines.concat(), after.as_bytes());
        }
    }
}
