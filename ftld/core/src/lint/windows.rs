//! The search of contents that are too large to be held at once.
//!
//! Owns the windows in which they are read, and that what several of them have is one finding. Takes memory with
//! the size of a window, and time with that of the content. Must not know where contents come from.

use std::collections::HashSet;
use std::io::{self, Read};

use super::disguise::is_read_as_text;
use super::place::Place;
use super::{Added, Finding, Known, MOST, lint};
use crate::hunk;
use crate::tree::RelPath;

/// How contents are cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Windows {
    /// Bytes of one window.
    pub bytes: usize,
    /// Bytes that two have in common at least: more than anything that is looked for has.
    pub shared: usize,
}

/// One piece of a content.
struct Window<'a> {
    bytes: &'a [u8],
    /// Lines before it.
    lines: u64,
    /// Lines that another window has as a whole, and this one may not: those up to the first of these, and those
    /// behind the second.
    others: (u64, u64),
}

/// The same as [`lint`] of a content that is new as a whole, whatever its size. Lines of it are counted from its
/// start; a content that begins like a binary one has none.
///
/// # Errors
/// When a content cannot be read.
pub fn lint_windows(
    path: &RelPath,
    before: &mut dyn Read,
    after: &mut dyn Read,
    known: &Known,
    windows: Windows,
) -> io::Result<Vec<Finding>> {
    let windows = Windows { shared: windows.shared.max(known.reach()), ..windows };
    let mut found: Vec<Finding> = Vec::new();
    let mut seen = HashSet::new();
    let mut binary = None;
    windows.each(after, &mut |window| {
        let is_binary = *binary.get_or_insert_with(|| !has_lines(path, window.bytes));
        for finding in window.search(path, known) {
            if found.len() == MOST {
                return;
            }
            let finding = Finding { line: if is_binary { 0 } else { finding.line }, ..finding };
            if seen.insert(finding.id.clone()) {
                found.push(finding);
            }
        }
    })?;
    if found.iter().any(|finding| finding.holds) {
        let mut old = HashSet::new();
        windows.each(before, &mut |window| {
            old.extend(window.search(path, known).map(|finding| finding.id));
        })?;
        found.iter_mut().for_each(|finding| finding.holds &= !old.contains(&finding.id));
    }
    Ok(found)
}

// === impl Window, Windows ===

impl Window<'_> {
    /// What is found in the lines that are this window's.
    fn search(&self, path: &RelPath, known: &Known) -> impl Iterator<Item = Finding> {
        let (lines, (until, behind)) = (self.lines, self.others);
        let found = lint(path, b"", self.bytes, &Added::All, known).into_iter();
        let placed =
            found.map(move |one| Finding { line: if one.line > 0 { one.line + lines } else { 0 }, ..one });
        placed.filter(move |one| one.line == 0 || (one.line > until && one.line <= behind))
    }
}

impl Windows {
    /// Reads a content to its end, piece by piece. A mark of UTF-16 at its start stands before each of them.
    fn each(self, content: &mut dyn Read, act: &mut dyn FnMut(&Window<'_>)) -> io::Result<()> {
        let bytes = self.bytes.max(2 * self.shared) & !1;
        let shared = self.shared & !1;
        let mut held: Vec<u8> = Vec::new();
        let (mut lines, mut until) = (0, 0);
        let mut is_first = true;
        loop {
            let room = bytes.saturating_sub(held.len());
            let read = Read::take(&mut *content, room as u64).read_to_end(&mut held)?;
            if read < room {
                act(&Window { bytes: &held, lines, others: (until, u64::MAX) });
                return Ok(());
            }
            // A file can have a hole of any size. Only what kind of content it is has to be seen at its beginning.
            if is_void(&held) && !std::mem::take(&mut is_first) {
                let gone = held.len() - shared;
                held.drain(..gone);
                until = 0;
                continue;
            }
            is_first = false;
            // Between lines in the midst of what two windows share; without one both have all of it.
            let (first, middle) = (held.len() - shared, held.len() - shared / 2);
            let end = held[first..middle].iter().rposition(|byte| *byte == b'\n').map(|at| first + at + 1);
            let before = end.map(|end| lines + newlines(&held[..end]));
            act(&Window { bytes: &held, lines, others: (until, before.unwrap_or(u64::MAX)) });
            until = before.unwrap_or_default();
            let mark =
                held.first_chunk::<2>().filter(|mark| matches!(*mark, [0xff, 0xfe] | [0xfe, 0xff])).copied();
            let gone = held.len() - shared;
            lines += newlines(&held[..gone]);
            held.drain(..gone);
            if let Some(mark) = mark {
                held.splice(0..0, mark);
            }
        }
    }
}

fn has_lines(path: &RelPath, beginning: &[u8]) -> bool {
    hunk::is_text(beginning) || is_read_as_text(&Place::of(path, beginning), beginning)
}

/// Whether there is nothing but zeros, compared by the page.
fn is_void(bytes: &[u8]) -> bool {
    const PAGE: [u8; 4096] = [0; 4096];
    bytes.chunks(PAGE.len()).all(|part| part == &PAGE[..part.len()])
}

fn newlines(text: &[u8]) -> u64 {
    text.iter().filter(|byte| **byte == b'\n').count() as u64
}

impl Default for Windows {
    fn default() -> Self {
        Self { bytes: 4 << 20, shared: 64 << 10 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = "kq8ZtW3rPm5LxV2nB9yD4cF7hJ1sG6";
    const SMALL: Windows = Windows { bytes: 4096, shared: 512 };

    fn known() -> Known {
        Known::new(&[("KEY", VALUE)], &[])
    }

    /// `rows` lines of nothing, with `what` in line `at`, from 1.
    fn text(rows: usize, at: usize, what: &str) -> Vec<u8> {
        let line = |row: usize| if row == at { format!("{what}\n") } else { format!("{row:>60}\n") };
        (1..=rows).map(line).collect::<String>().into_bytes()
    }

    fn found(before: &[u8], after: &[u8]) -> Vec<Finding> {
        let path = RelPath::new("big.txt").unwrap();
        lint_windows(&path, &mut &*before, &mut &*after, &known(), SMALL).unwrap()
    }

    #[test]
    fn what_is_looked_for_is_found_wherever_it_stands_and_once() {
        // Every place about the end of a window, and the last line.
        for at in (50..90).chain([399, 400]) {
            let after = text(400, at, VALUE);
            let findings = found(b"", &after);
            let told: Vec<_> = findings.iter().map(|one| (one.line, one.holds)).collect();
            assert_eq!(told, [(at as u64, true)], "{findings:?}");
        }
    }

    #[test]
    fn what_was_there_before_holds_nothing() {
        let (before, after) = (text(300, 20, VALUE), text(400, 350, VALUE));
        assert_eq!(found(&before, &after).iter().map(|one| one.holds).collect::<Vec<_>>(), [false]);
        assert_eq!(found(&after, &before).iter().map(|one| one.line).collect::<Vec<_>>(), [20]);
    }

    #[test]
    fn it_is_the_same_as_one_search_of_the_whole() {
        let after = text(700, 600, "rm -rf / # and the rest");
        let path = RelPath::new("clean.sh").unwrap();
        let whole = lint(&path, b"", &after, &Added::All, &known());
        let parts = lint_windows(&path, &mut &b""[..], &mut &*after, &known(), SMALL).unwrap();
        assert!(!whole.is_empty());
        assert_eq!(parts, whole);
    }

    #[test]
    fn wide_characters_are_read_in_every_window() {
        let wide = |text: &[u8]| -> Vec<u8> {
            let units =
                String::from_utf8_lossy(text).encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
            [&[0xff, 0xfe][..], &units].concat()
        };
        let findings = found(b"", &wide(&text(400, 300, VALUE)));
        assert_eq!(findings.len(), 1, "{findings:?}");
    }

    #[test]
    fn behind_a_hole_it_is_searched_on() {
        let mut reads = 0;
        let hole = vec![0; 64 * 4096 + 17];
        for content in [
            [&hole[..], format!("\nkey = {VALUE}\n").as_bytes(), &hole[..]].concat(),
            [format!("key = {VALUE}\n").as_bytes(), &hole[..]].concat(),
            [text(100, 7, &format!("key = {VALUE}")).as_slice(), &hole[..]].concat(),
        ] {
            assert_eq!(found(b"", &content).len(), 1, "{reads}");
            reads += 1;
        }
        assert!(found(b"", &hole).is_empty());
        // Windows of nothing but zeros are passed over.
        SMALL
            .each(&mut hole.as_slice(), &mut |window| {
                reads += 1;
                assert!(window.bytes.len() <= SMALL.bytes);
            })
            .unwrap();
        assert_eq!(reads, 3 + 2, "the beginning and the end");
    }
}
