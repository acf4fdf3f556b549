//! What the rest of a review says about one of its changes.
//!
//! Owns the judgements that no change allows by itself: names that a host takes for each other, many deletions
//! that are small one by one, and the other names that links of the resulting tree give a path. Must not know
//! contents, nor what a name means: that is [`super::risk`]'s. The work is bounded by the number of changes and
//! of links.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::risk::collisions;
use super::{Outcome, symlink};
use crate::diff::{After, Change};
use crate::id::Hash;
use crate::tree::{Node, RelPath, Tree};

/// Names of one path that are looked at. A path with more of them is risky for that alone.
const MOST_NAMES: usize = 256;

/// Files from which on what is lost is many, whatever the project holds.
const MANY_FILES: u64 = 20;
/// Files from which on a part of the project counts.
const SOME_FILES: u64 = 5;
/// That part: one in so many of the files.
const ONE_IN: u64 = 4;
/// Bytes that many small losses may have together: about a thousand lines.
const MUCH: u64 = 32 * 1024;
/// Bytes from which on a file that shrinks to less than half of itself counts as lost.
const SHRINKS: u64 = 512;

/// What is known of all changes of a review together.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    collisions: BTreeSet<RelPath>,
    sweep: Option<Sweep>,
    /// What moved to another path as it is.
    moved: BTreeSet<RelPath>,
    /// The links by where they lead in the end; `None` is the root.
    links: BTreeMap<Option<RelPath>, Vec<RelPath>>,
}

/// What that says about one change.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Around {
    /// On a host that folds names it is the same as another path.
    pub collides: bool,
    /// It is one of the losses that are many together.
    pub swept: Option<Sweep>,
    /// Its other names, through links.
    pub also: Vec<RelPath>,
    /// It has more of them than are looked at.
    pub more: bool,
}

/// Why losses are many together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Sweep {
    /// Their number.
    Files,
    /// Their part of the project.
    Share,
    /// Their size.
    Bytes,
}

impl Surroundings {
    /// What `changes`, made to `base`, say together.
    #[must_use]
    pub fn of(base: &Tree, changes: &[Change]) -> Self {
        let collisions = collisions(base, changes);
        let moved = moved(changes);
        let sweep = sweep(base, changes, &moved);
        Self { collisions, sweep, moved, links: links(base, changes) }
    }

    /// What they say about one of them.
    #[must_use]
    pub fn at(&self, change: &Change) -> Around {
        let (also, more) = self.names(&change.path);
        let counts = || is_gone(change) && !self.moved.contains(&change.path);
        Around {
            collides: self.collisions.contains(&change.path),
            swept: self.sweep.filter(|_| counts()),
            also,
            more,
        }
    }

    /// The names that a path has through links, and whether there are more. No link is gone through twice.
    fn names(&self, path: &RelPath) -> (Vec<RelPath>, bool) {
        let mut names: Vec<(RelPath, Vec<&RelPath>)> = vec![(path.clone(), Vec::new())];
        let mut seen = HashSet::from([path.clone()]);
        let mut at = 0;
        while at < names.len() && !self.links.is_empty() {
            let (name, through) = names[at].clone();
            at += 1;
            let above = name.ancestors().map(Some).chain([None]);
            for place in std::iter::once(Some(name.clone())).chain(above) {
                for link in self.links.get(&place).into_iter().flatten() {
                    let Some(other) = under(link, &name, place.as_ref()) else { continue };
                    if through.contains(&link) || !seen.insert(other.clone()) {
                        continue;
                    }
                    if names.len() > MOST_NAMES {
                        return (names.into_iter().skip(1).map(|(name, _)| name).collect(), true);
                    }
                    names.push((other, [through.as_slice(), &[link]].concat()));
                }
            }
        }
        (names.into_iter().skip(1).map(|(name, _)| name).collect(), false)
    }
}

/// The name that what stands at `name`, in or at `place`, has through a link to `place`.
fn under(link: &RelPath, name: &RelPath, place: Option<&RelPath>) -> Option<RelPath> {
    let rest = match place {
        Some(place) => name.as_bytes().strip_prefix(place.as_bytes())?.to_vec(),
        None => [b"/", name.as_bytes()].concat(),
    };
    RelPath::new([link.as_bytes(), &rest].concat()).ok()
}

/// Where the links of the resulting tree lead.
fn links(base: &Tree, changes: &[Change]) -> BTreeMap<Option<RelPath>, Vec<RelPath>> {
    let is_link = |change: &&Change| matches!(change.result(), Some(Node::Symlink { .. }));
    let mut paths: BTreeSet<RelPath> = base.links().map(|(path, _)| path).collect();
    paths.extend(changes.iter().filter(is_link).map(|change| change.path.clone()));
    let mut found: BTreeMap<Option<RelPath>, Vec<RelPath>> = BTreeMap::new();
    if paths.is_empty() {
        return found;
    }
    let changed: BTreeMap<RelPath, Change> = changes.iter().map(|c| (c.path.clone(), c.clone())).collect();
    let outcome = Outcome { base, changes: &changed };
    for path in paths {
        if let Some(end) = symlink::end(&outcome, &path) {
            found.entry(end).or_default().push(path);
        }
    }
    found
}

fn size(node: Option<&Node>) -> u64 {
    match node {
        Some(Node::File { size, .. }) => *size,
        _ => 0,
    }
}

/// Whether a path is gone, or most of what its file held.
fn is_gone(change: &Change) -> bool {
    if change.after == After::Absent {
        return true;
    }
    let Some(Node::File { size: old, .. }) = change.before else { return false };
    match change.result() {
        Some(Node::File { size, .. }) => old >= SHRINKS && size * 2 < old,
        _ => true,
    }
}

/// The files that are gone and whose content stands at a new path.
fn moved(changes: &[Change]) -> BTreeSet<RelPath> {
    let standing = || changes.iter().filter(|change| change.refused.is_none());
    let is_new = |change: &&Change| change.before.is_none();
    let new: HashSet<Hash> =
        standing().filter(is_new).filter_map(|change| change.result().and_then(Node::hash)).collect();
    let stays = |change: &&Change| {
        let old = change.before.as_ref().filter(|node| size(Some(node)) > 0).and_then(Node::hash);
        change.after == After::Absent && old.is_some_and(|hash| new.contains(&hash))
    };
    standing().filter(stays).map(|change| change.path.clone()).collect()
}

/// Whether what is lost in all is many, and why.
fn sweep(base: &Tree, changes: &[Change], moved: &BTreeSet<RelPath>) -> Option<Sweep> {
    let is_lost = |change: &&Change| {
        let was_file = matches!(change.before, Some(Node::File { .. }));
        change.refused.is_none() && was_file && is_gone(change) && !moved.contains(&change.path)
    };
    let (mut files, mut bytes) = (0u64, 0u64);
    for change in changes.iter().filter(is_lost) {
        files += 1;
        bytes += size(change.before.as_ref()).saturating_sub(size(change.result()));
    }
    match () {
        () if files >= MANY_FILES => Some(Sweep::Files),
        () if files >= SOME_FILES && files * ONE_IN >= base.files() => Some(Sweep::Share),
        () if bytes >= MUCH => Some(Sweep::Bytes),
        () => None,
    }
}

// === impl Sweep ===

impl Sweep {
    /// The reason in words.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Files => "it is one of very many files that go at once",
            Self::Share => "it goes together with a large part of the project's files",
            Self::Bytes => "it goes together with others, which is much in sum",
        }
    }
}

#[cfg(test)]
mod tests;
