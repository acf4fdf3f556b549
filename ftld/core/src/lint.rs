//! What a human should see in added content before it lands.
//!
//! Owns the search for shadows, real values, keys of vendors and destructive commands in what a change adds,
//! and the stable ids of what is found. A finding refuses nothing: it holds an approval until a human lets
//! it pass. Must not know where contents come from, nor how a finding is let pass. All of the search takes
//! time in proportion to the content, whatever stands in it, and nothing is too large to be searched.
//!
//! Reading order: [`place`] says what kind of file it is, [`lexed`] what in it is code, text or comment;
//! [`known`], [`vendor`] and [`assigned`] find credentials, [`destructive`] commands.

mod assigned;
mod destructive;
mod disguise;
mod drawn;
mod known;
mod lexed;
mod place;
mod shapes;
mod text;
mod vendor;
mod windows;
mod written;

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use crate::hunk::{Hunks, Tag};
use crate::tree::RelPath;

pub use disguise::disguised;
pub use known::Known;
use place::Place;
use text::Text;
pub use windows::{Windows, lint_windows};

/// Findings of one kind in one content at most; who sees so many need not see more.
const MOST: usize = 1000;

/// Something in added content that a human should see before it lands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Twelve hexadecimal characters: the same finding has the same id, wherever other changes move it.
    pub id: String,
    /// What kind.
    pub class: Class,
    /// Line in the new content, from 1; 0 for the path, and for what has no lines.
    pub line: u64,
    /// What was found, as a sentence without a full stop; at most the beginning that all values of a vendor
    /// have in common is said of a value.
    pub message: String,
    /// Whether the approval waits until it is let pass. Not so when the content already held the same.
    pub holds: bool,
}

/// The kinds of findings.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Class {
    /// A value that only a sandbox knows, and that means nothing elsewhere.
    Shadow,
    /// A real value of the human's.
    Secret,
    /// What looks like a credential.
    VendorKey,
    /// A command that destroys.
    Destructive,
}

/// Which lines of the new content are new.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Added {
    /// All of them, or it is not known which.
    All,
    /// These, from 1, in their order.
    Lines(Vec<Range<u64>>),
}

/// Something found, before it is a finding.
struct Found {
    class: Class,
    span: Range<usize>,
    message: String,
    /// What it is, to compare it with what was there before.
    what: Vec<u8>,
    /// Whether the old content had it.
    old: bool,
}

/// What a change adds that a human should see. `before` is empty for a new file, `added` comes from
/// [`Added::of`].
#[must_use]
pub fn lint(path: &RelPath, before: &[u8], after: &[u8], added: &Added, known: &Known) -> Vec<Finding> {
    let place = Place::of(path, after);
    let text = Text::new(after, disguise::is_read_as_text(&place, after));
    let mut found = known.in_text(after, before);
    // What is decoded has other places than the bytes it comes from.
    let decoded = text.is_decoded();
    let mut rest = credentials(&place, &text, before);
    if !text.is_binary() {
        let old = Text::new(before, true);
        rest.extend(destructive::search(&place, text.bytes(), old.bytes()));
    }
    rest.truncate(2 * MOST);
    rest.retain(|new| decoded || !found.iter().any(|old| touch(&old.span, &new.span)));
    let line = |found: &Found| if text.is_binary() { 0 } else { text.line(found.span.start) };
    let raw_line = |found: &Found| if text.is_binary() || decoded { 0 } else { text.line(found.span.start) };
    let last = |found: &Found| if text.is_binary() { 0 } else { text.line(found.span.end.saturating_sub(1)) };
    let mut placed: Vec<(u64, Found)> = Vec::new();
    let in_path = known.in_text(path.as_bytes(), b"").into_iter().map(|found| (0, found));
    placed.extend(in_path.map(|(line, found)| (line, Found { message: found.in_the_name(), ..found })));
    for one in found.drain(..) {
        let (first, last) = if decoded { (0, 0) } else { (raw_line(&one), last(&one)) };
        if first == 0 || added.holds(first, last) {
            placed.push((first, one));
        }
    }
    for one in rest {
        let (first, last) = (line(&one), last(&one));
        if first == 0 || added.holds(first, last) {
            placed.push((first, one));
        }
    }
    placed.sort_by(|(one, a), (other, b)| (one, a.span.start, a.class).cmp(&(other, b.span.start, b.class)));
    let mut seen = HashMap::new();
    placed.into_iter().map(|(line, found)| found.into_finding(path, line, &mut seen)).collect()
}

/// What a human should see in a path and in where the link that stands there leads: a name can say as much as a
/// content.
#[must_use]
pub fn lint_name(path: &RelPath, target: Option<&[u8]>, known: &Known) -> Vec<Finding> {
    let mut seen = HashMap::new();
    let mut found = Vec::new();
    for (name, told) in [(Some(path.as_bytes()), "the path itself"), (target, "where the link leads")] {
        let Some(name) = name else { continue };
        let place = Place::of(path, b"");
        let mut here = known.in_text(name, b"");
        let vendors = vendor::search(&place, name);
        let new: Vec<Found> =
            vendors.into_iter().filter(|new| !here.iter().any(|old| touch(&old.span, &new.span))).collect();
        here.extend(new);
        let here =
            here.into_iter().map(|one| Found { message: format!("in {told}: {}", one.message), ..one });
        found.extend(here.map(|one| one.into_finding(path, 0, &mut seen)));
    }
    found
}

/// What looks like a credential, each place once.
fn credentials(place: &Place, text: &Text<'_>, before: &[u8]) -> Vec<Found> {
    let mut found = vendor::search(place, text.bytes());
    if !text.is_binary() {
        let more = assigned::search(place, text.bytes());
        found.extend(more);
    }
    found.sort_by_key(|found| (found.span.start, std::cmp::Reverse(found.span.end)));
    let mut kept: Vec<Found> = Vec::new();
    for mut one in found.into_iter().take(MOST) {
        if kept.last().is_some_and(|last| touch(&last.span, &one.span)) {
            continue;
        }
        one.old = !before.is_empty() && memchr(before, &one.what);
        kept.push(one);
    }
    kept
}

fn touch(one: &Range<usize>, other: &Range<usize>) -> bool {
    one.start < other.end && other.start < one.end
}

/// Whether a text stands in another; both are short or this is rare.
fn memchr(text: &[u8], what: &[u8]) -> bool {
    aho_corasick::AhoCorasick::new([what]).is_ok_and(|search| search.is_match(text))
}

// === impl Found, Added, Class ===

impl Found {
    fn in_the_name(&self) -> String {
        format!("in the path itself: {}", self.message)
    }

    fn into_finding(self, path: &RelPath, line: u64, seen: &mut HashMap<[u8; 32], u32>) -> Finding {
        let mut hasher = blake3::Hasher::new_derive_key("ftl lint finding id 1");
        for part in [self.class.name().as_bytes(), path.as_bytes(), &self.what] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        let ordinal = seen.entry(*hasher.finalize().as_bytes()).or_default();
        hasher.update(&ordinal.to_le_bytes());
        *ordinal += 1;
        let id = hasher.finalize().to_hex()[..12].to_owned();
        Finding { id, class: self.class, line, message: self.message, holds: !self.old }
    }
}

impl Added {
    /// The added lines of a comparison; all lines when it has none to show.
    #[must_use]
    pub fn of(hunks: &Hunks) -> Self {
        if hunks.elided.is_some() {
            return Self::All;
        }
        let mut lines: Vec<Range<u64>> = Vec::new();
        for hunk in &hunks.hunks {
            let mut at = hunk.new_start;
            for line in &hunk.lines {
                match (line.tag, lines.last_mut()) {
                    (Tag::Removed, _) => continue,
                    (Tag::Same, _) => {}
                    (Tag::Added, Some(last)) if last.end == at => last.end += 1,
                    (Tag::Added, _) => lines.push(at..at + 1),
                }
                at += 1;
            }
        }
        Self::Lines(lines)
    }

    /// Whether one of the lines from `first` to `last` is new.
    fn holds(&self, first: u64, last: u64) -> bool {
        match self {
            Self::All => true,
            Self::Lines(lines) => {
                let at = lines.partition_point(|range| range.end <= first);
                lines.get(at).is_some_and(|range| range.start <= last)
            }
        }
    }
}

impl Class {
    /// The name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Shadow => "shadow",
            Self::Secret => "secret",
            Self::VendorKey => "vendor-key",
            Self::Destructive => "destructive",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests;
