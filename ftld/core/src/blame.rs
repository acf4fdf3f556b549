//! Which turn made which part of a change, and with which call of a tool.
//!
//! Owns the way from a hunk back to the turns that put its lines there or took them away, and which of a
//! turn's tool calls speak of a path. What it says is a finding about what the agent told and left behind, not
//! a proof: an agent can write a file in the midst of another call. Must not know where the versions of a file
//! or the calls are kept.

use std::collections::BTreeSet;

use similar::{Algorithm, DiffTag, capture_diff_slices};

use crate::hunk::{Hunk, Tag};
use crate::tree::RelPath;

/// A file's content when a turn was over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Version {
    /// The turn.
    pub turn: u32,
    /// What it left; empty when nothing stood at the path.
    pub content: Vec<u8>,
}

/// One call of a tool, as the agent told of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call {
    /// The number of the event that told of it.
    pub seq: u64,
    /// The turn.
    pub turn: u32,
    /// The tool's name.
    pub name: String,
    /// Its most telling argument.
    pub detail: String,
    /// When it began, microseconds since the Unix epoch.
    pub time_us: i64,
}

/// Where a line of the current version comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The line with this index, from 0, of what was there before.
    Before(usize),
    /// A turn.
    Turn(u32),
}

/// The turns that made each hunk, one set for each of `hunks`, which lead from `before` to the last of
/// `versions`. A hunk whose lines no turn can be found for is every turn's that changed the file.
#[must_use]
pub fn turns(before: &[u8], versions: &[Version], hunks: &[Hunk]) -> Vec<BTreeSet<u32>> {
    let old = lines(before);
    let mut removed_by: Vec<Option<u32>> = vec![None; old.len()];
    let mut origins: Vec<Origin> = (0..old.len()).map(Origin::Before).collect();
    let mut current = old;
    let mut changed = BTreeSet::new();
    for version in versions {
        let next = lines(&version.content);
        let mut after = Vec::with_capacity(next.len());
        for op in capture_diff_slices(Algorithm::Myers, &current, &next) {
            if op.tag() == DiffTag::Equal {
                after.extend_from_slice(origins.get(op.old_range()).unwrap_or_default());
                continue;
            }
            changed.insert(version.turn);
            for origin in origins.get(op.old_range()).unwrap_or_default() {
                if let Origin::Before(line) = origin
                    && let Some(place) = removed_by.get_mut(*line)
                {
                    *place = Some(version.turn);
                }
            }
            after.extend(op.new_range().map(|_| Origin::Turn(version.turn)));
        }
        (origins, current) = (after, next);
    }
    hunks.iter().map(|hunk| of_hunk(hunk, &origins, &removed_by, &changed)).collect()
}

fn of_hunk(
    hunk: &Hunk,
    origins: &[Origin],
    removed_by: &[Option<u32>],
    changed: &BTreeSet<u32>,
) -> BTreeSet<u32> {
    let index = |start: u64, count: u64| {
        usize::try_from(start.saturating_sub(u64::from(count > 0))).unwrap_or(usize::MAX)
    };
    let mut old = index(hunk.old_start, hunk.old_lines);
    let mut new = index(hunk.new_start, hunk.new_lines);
    let mut found = BTreeSet::new();
    for line in &hunk.lines {
        match line.tag {
            Tag::Removed => found.extend(removed_by.get(old).copied().flatten()),
            Tag::Added => found.extend(origins.get(new).and_then(|origin| match origin {
                Origin::Turn(turn) => Some(*turn),
                Origin::Before(_) => None,
            })),
            Tag::Same => {}
        }
        old += usize::from(line.tag != Tag::Added);
        new += usize::from(line.tag != Tag::Removed);
    }
    if found.is_empty() { changed.clone() } else { found }
}

/// Whether a call names the path. The agent sees the project at `workspace`.
#[must_use]
pub fn names(path: &RelPath, workspace: &str, call: &Call) -> bool {
    let Ok(relative) = std::str::from_utf8(path.as_bytes()) else { return false };
    let absolute = format!("{}/{relative}", workspace.trim_end_matches('/'));
    stands_alone(&call.detail, &absolute) || stands_alone(&call.detail, relative)
}

/// Whether `path` stands in the text as a path of its own, and not as a part of a longer one.
fn stands_alone(text: &str, path: &str) -> bool {
    let belongs = |c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    text.match_indices(path).any(|(at, _)| {
        let mut before = text.get(..at).unwrap_or_default().chars().rev();
        // `./a` is `a`.
        let clear = match before.next() {
            Some('/') => before.next() == Some('.') && !before.next().is_some_and(belongs),
            other => !other.is_some_and(belongs),
        };
        let mut behind = text.get(at + path.len()..).unwrap_or_default().chars();
        let ends = match behind.next() {
            // A full stop at the end of a sentence.
            Some('.') => !behind.next().is_some_and(belongs),
            other => !other.is_some_and(belongs),
        };
        clear && ends
    })
}

fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').collect()
}

#[cfg(test)]
mod tests;
