//! Which objects of a history a session gets.
//!
//! Owns the walk from commits to everything they reach, level by level, and what is left out of it: a
//! content that stands where secrets are kept, in any commit, or that begins with a private key. Commits and
//! trees keep their ids, so that such a content is only missing. The walk may be bounded; the commits at
//! its boundary are told. Must not know where objects come from.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::index::Listed;
use super::object::{self, Format, Id, Kind};
use crate::id::Hash;
use crate::refuse::{holds_private_key, secret_at_end};
use crate::tree::RelPath;

/// Where objects are read.
pub trait Source {
    /// Why one cannot be read.
    type Error;

    /// An object's kind and bytes, `None` when it is not there. Of a blob only the first
    /// [`crate::refuse::KEY_WINDOW`] bytes are needed.
    ///
    /// # Errors
    /// When no object can be read any more.
    fn read(&mut self, id: &Id) -> Result<Option<(Kind, Vec<u8>)>, Self::Error>;
}

/// Says whether a path is kept out of sandboxes for another reason than its name: by the project's own
/// rules. The second argument is whether it is a directory.
pub type Rule<'a> = dyn Fn(&RelPath, bool) -> bool + 'a;

/// What a walk may visit at most. A tree can name itself a billion times.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Entries of trees.
    pub entries: u64,
}

/// Why a walk stopped.
#[derive(Debug, thiserror::Error)]
pub enum WalkError<E> {
    /// There is more than [`Bounds`] allow.
    #[error("it has more than {0} paths to look at")]
    TooMuch(u64),
    /// Objects cannot be read.
    #[error(transparent)]
    Source(E),
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// Objects that the session may have.
    pub objects: BTreeSet<Id>,
    /// Contents that it must not have.
    pub withheld: BTreeSet<Id>,
    /// The walked commits with their parents.
    pub commits: BTreeMap<Id, Vec<Id>>,
    /// Commits that should be there and are not.
    pub missing: BTreeSet<Id>,
    /// Whether something that is known already must not be had, as this walk shows.
    pub regretted: bool,
}

/// A walk under way.
pub struct Walk<'a, S> {
    source: &'a mut S,
    format: Format,
    /// What an earlier walk has found.
    known: &'a BTreeSet<Id>,
    rule: &'a Rule<'a>,
    bounds: Bounds,
    entries: u64,
    /// Trees with a hash of their path.
    visited: HashSet<(Id, Hash)>,
    found: Found,
}

/// The commit that a reference stands for, and the annotated tags on the way to it.
pub type Target = (Id, Vec<Id>);

/// A tree that waits.
struct Waiting {
    tree: Id,
    path: Option<RelPath>,
    /// Whether it stands in a place for secrets.
    hidden: bool,
}

const TREE: u32 = 0o040_000;
const LINKED_REPOSITORY: u32 = 0o160_000;
/// How often a tag may stand for another.
const TAGS: usize = 5;

impl<'a, S: Source> Walk<'a, S> {
    /// A walk that has found nothing yet. `known` is what the session has anyway, `withheld` what earlier
    /// walks left out.
    pub fn new(
        source: &'a mut S,
        format: Format,
        known: &'a BTreeSet<Id>,
        withheld: BTreeSet<Id>,
        rule: &'a Rule<'a>,
        bounds: Bounds,
    ) -> Self {
        let found = Found { withheld, ..Found::default() };
        Self { source, format, known, rule, bounds, entries: 0, visited: HashSet::new(), found }
    }

    /// Walks from `starts` through their ancestors, the nearest first, until `limit` commits were taken.
    /// The last level is taken whole, unless it is very wide.
    ///
    /// # Errors
    /// When objects cannot be read or there are too many.
    pub fn commits(&mut self, starts: &[Id], limit: usize) -> Result<(), WalkError<S::Error>> {
        let (mut level, mut taken) = (starts.to_vec(), 0);
        while !level.is_empty() && taken < limit {
            let mut next = Vec::new();
            for id in std::mem::take(&mut level) {
                if self.has(&id) || self.found.missing.contains(&id) || taken >= limit.saturating_mul(4) {
                    continue;
                }
                let read = self.source.read(&id).map_err(WalkError::Source)?;
                let commit = read.and_then(|(kind, bytes)| {
                    (kind == Kind::Commit).then(|| object::commit(&bytes)).flatten()
                });
                let Some(commit) = commit else {
                    self.found.missing.insert(id);
                    continue;
                };
                self.tree(commit.tree)?;
                next.extend(&commit.parents);
                self.found.objects.insert(id);
                self.found.commits.insert(id, commit.parents);
                taken += 1;
            }
            level = next;
        }
        Ok(())
    }

    /// Whether a commit was found, now or earlier.
    #[must_use]
    pub fn has(&self, id: &Id) -> bool {
        self.known.contains(id) || self.found.commits.contains_key(id)
    }

    /// The commit that a reference stands for, and the annotated tags on the way to it.
    ///
    /// # Errors
    /// When objects cannot be read.
    pub fn resolve(&mut self, id: Id) -> Result<Option<Target>, WalkError<S::Error>> {
        let (mut id, mut tags) = (id, Vec::new());
        while tags.len() <= TAGS {
            match self.source.read(&id).map_err(WalkError::Source)? {
                Some((Kind::Commit, _)) => return Ok(Some((id, tags))),
                Some((Kind::Tag, bytes)) => {
                    let Some((target, Kind::Commit | Kind::Tag)) = object::tag(&bytes) else { break };
                    tags.push(id);
                    id = target;
                }
                _ => break,
            }
        }
        Ok(None)
    }

    /// Takes tags along whose commit was found.
    pub fn keep_tags(&mut self, tags: impl IntoIterator<Item = Id>) {
        self.found.objects.extend(tags);
    }

    /// The files of a commit that was found, for an index.
    ///
    /// # Errors
    /// When objects cannot be read or there are too many.
    pub fn files(&mut self, commit: &Id) -> Result<Vec<Listed>, WalkError<S::Error>> {
        let mut files = Vec::new();
        let Some((Kind::Commit, bytes)) = self.source.read(commit).map_err(WalkError::Source)? else {
            return Ok(files);
        };
        let Some(commit) = object::commit(&bytes) else { return Ok(files) };
        let mut todo = vec![Waiting { tree: commit.tree, path: None, hidden: false }];
        while let Some(at) = todo.pop() {
            for entry in self.entries_of(&at)? {
                let Ok(path) = RelPath::under(at.path.as_ref(), &entry.name) else { continue };
                let is_dir = entry.mode == TREE;
                let hidden = at.hidden || self.is_kept_out(&path, is_dir);
                if is_dir {
                    todo.push(Waiting { tree: entry.id, path: Some(path), hidden });
                } else {
                    let hidden = hidden || self.found.withheld.contains(&entry.id);
                    files.push(Listed::new(path, entry.mode, entry.id, hidden));
                }
            }
        }
        files.sort_by(|one, other| one.path.cmp(&other.path));
        files.dedup_by(|one, other| one.path == other.path);
        Ok(files)
    }

    /// Ends the walk.
    #[must_use]
    pub fn finish(self) -> Found {
        let mut found = self.found;
        found.objects.retain(|id| !found.withheld.contains(id) && !self.known.contains(id));
        found
    }

    fn tree(&mut self, root: Id) -> Result<(), WalkError<S::Error>> {
        let mut todo = vec![Waiting { tree: root, path: None, hidden: false }];
        while let Some(at) = todo.pop() {
            let place = Hash::of(at.path.as_ref().map_or(b"", RelPath::as_bytes));
            if !self.visited.insert((at.tree, place)) {
                continue;
            }
            let entries = self.entries_of(&at)?;
            for entry in entries {
                if entry.mode == LINKED_REPOSITORY {
                    continue;
                }
                // A path that cannot be beneath a root is no path that a rule could judge.
                let path = RelPath::under(at.path.as_ref(), &entry.name).ok();
                let is_dir = entry.mode == TREE;
                let hidden = at.hidden || path.as_ref().is_none_or(|path| self.is_kept_out(path, is_dir));
                match (is_dir, path) {
                    (true, Some(path)) => {
                        todo.push(Waiting { tree: entry.id, path: Some(path), hidden });
                    }
                    (true, None) => {}
                    (false, _) => self.blob(entry.id, hidden)?,
                }
            }
        }
        Ok(())
    }

    fn entries_of(&mut self, at: &Waiting) -> Result<Vec<object::TreeEntry>, WalkError<S::Error>> {
        let read = self.source.read(&at.tree).map_err(WalkError::Source)?;
        let Some((Kind::Tree, bytes)) = read else { return Ok(Vec::new()) };
        let Some(entries) = object::tree(&bytes, self.format) else { return Ok(Vec::new()) };
        self.entries += entries.len() as u64;
        if self.entries > self.bounds.entries {
            return Err(WalkError::TooMuch(self.bounds.entries));
        }
        self.found.objects.insert(at.tree);
        Ok(entries)
    }

    fn blob(&mut self, id: Id, hidden: bool) -> Result<(), WalkError<S::Error>> {
        if self.found.withheld.contains(&id) {
            return Ok(());
        }
        if hidden {
            self.found.regretted |= self.known.contains(&id);
            self.found.withheld.insert(id);
            return Ok(());
        }
        if self.known.contains(&id) || self.found.objects.contains(&id) {
            return Ok(());
        }
        match self.source.read(&id).map_err(WalkError::Source)? {
            Some((Kind::Blob, start)) if holds_private_key(&start) => {
                self.found.withheld.insert(id);
            }
            Some((Kind::Blob, _)) => {
                self.found.objects.insert(id);
            }
            // Missing in the project's repository too, or something else than its tree says.
            _ => {}
        }
        Ok(())
    }

    fn is_kept_out(&self, path: &RelPath, is_dir: bool) -> bool {
        secret_at_end(path, is_dir).is_some() || (self.rule)(path, is_dir)
    }
}

impl Found {
    /// The walked commits of which a parent is neither among them nor `known`.
    #[must_use]
    pub fn boundary(&self, known: &BTreeSet<Id>) -> BTreeSet<Id> {
        let absent = |id: &&Id| !known.contains(id) && !self.commits.contains_key(id);
        let cut = self.commits.iter().filter(|(_, parents)| parents.iter().any(|id| absent(&id)));
        cut.map(|(id, _)| *id).collect()
    }
}

#[cfg(test)]
mod tests;
