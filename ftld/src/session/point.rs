//! States that a human can name: snapshots, sessions, and sessions' checkpoints.
//!
//! Owns how a name is read, which tree it stands for, and how two of them are compared. Must not know what is
//! done with it.

use std::collections::BTreeSet;
use std::sync::Arc;

use ftl_core::diff::{self, Change, SPECIAL_BITS, SeenFiles, UpperNode, UpperTree};
use ftl_core::id::SnapshotId;
use ftl_core::lifecycle::Refusal;
use ftl_core::refuse::Surroundings;
use ftl_core::stack;
use ftl_core::tree::{RelPath, Tree};

use super::{Error, Sessions, captured, checkpoint, layers, workspace};

/// A state by its name.
#[derive(Clone, Debug)]
pub struct Point {
    /// What is there.
    pub tree: Arc<Tree>,
    /// What could not be read when it was taken, and so is not known to be gone.
    pub unread: BTreeSet<RelPath>,
    /// The snapshot whose rules say what was left out of it.
    pub(super) rules: SnapshotId,
    /// The name in full.
    pub name: String,
    /// What the session's workspace showed in the place of secret files.
    seen: SeenFiles,
    /// What the session changed.
    upper: UpperTree,
    /// What the session's workspace held, also what a review refuses.
    whole: Arc<Tree>,
}

/// What differs between two states.
#[derive(Debug)]
pub struct Compared {
    /// The id of the first state's tree.
    pub base: SnapshotId,
    /// The changes; those that a review refuses are marked.
    pub changes: Vec<Change>,
    /// What all changes say of each of them.
    pub around: Arc<Surroundings>,
}

/// How the id of every session begins.
const SESSION: &str = "s-";

impl Sessions {
    /// The state that a human means: a snapshot's id or a prefix that fits only one, a session
    /// (`s-…`, its work as it is now), or one of its checkpoints (`s-…@3`; `@0` is where it began).
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn point(&self, text: &str) -> Result<Point, Error> {
        let (session, number) = match text.split_once('@') {
            Some((session, number)) => (session, Some(number)),
            None if text.starts_with(SESSION) => (text, None),
            None => {
                let id = self.snapshot(text)?;
                let (tree, name) = (self.parts().store.tree(id)?, format!("snapshot {id}"));
                let (seen, upper, whole) = (SeenFiles::new(), UpperTree::new(), Arc::clone(&tree));
                let unread = self.parts().store.unread(id)?;
                return Ok(Point { tree, unread, rules: id, name, seen, upper, whole });
            }
        };
        let no_such = || Error::NoSuchSnapshot { text: text.chars().take(80).collect() };
        let number = number.map(str::parse).transpose().map_err(|_| no_such())?;
        if session.is_empty() {
            return Err(no_such());
        }
        let record = self.get(&self.resolve(session, &[])?)?;
        let rules = record.base.ok_or_else(no_such)?;
        let (base, unread) = (self.parts().store.tree(rules)?, self.parts().store.unread(rules)?);
        let (work, time_us, name) = match number {
            // What it is by now is not known before the turn has ended.
            None if !record.state.is_idle() => return Err(Error::Refused(Refusal::Busy(record.state))),
            None if layers::is_loose(self.parts(), &record) && record.work == record.stack.work => {
                return Err(Error::UnreadWork { session: record.id });
            }
            None if record.stack.is_unread() => {
                return Err(Error::UnreadableCheckpoint { number: record.at });
            }
            None => (record.work, record.updated_us, format!("session {}", record.id)),
            Some(number) => {
                let stack = checkpoint::stack_at(&record, number)?;
                let time_us = record.checkpoint(number).map_or(0, |checkpoint| checkpoint.time_us);
                (stack.work, time_us, format!("{}@{number}", record.id))
            }
        };
        let work = captured::get(self.parts(), work)?;
        let mtime_ns = time_us.saturating_mul(1000);
        let (upper, seen) = (work.upper.iter().cloned().collect(), work.seen.iter().cloned().collect());
        let tree = Arc::new(workspace::allowed(&base, work, mtime_ns));
        let whole = stack::shown(&diff::with_seen(&base, &seen), &upper, mtime_ns);
        Ok(Point { tree, unread, rules, name, seen, upper, whole: Arc::new(whole) })
    }

    /// The id of the snapshot that a human means.
    pub(super) fn snapshot(&self, text: &str) -> Result<SnapshotId, Error> {
        let rows = self.parts().db.snapshots(text)?;
        let mut ids: Vec<SnapshotId> = rows.into_iter().map(|row| row.snapshot).collect();
        ids.sort_unstable();
        ids.dedup();
        match ids.as_slice() {
            [] => Err(Error::NoSuchSnapshot { text: text.chars().take(80).collect() }),
            [id] if !text.is_empty() => Ok(*id),
            _ => Err(Error::AmbiguousSnapshot { text: text.to_owned() }),
        }
    }
}

impl Point {
    /// What is not known because it could not be read, and was not made anew by a session since.
    pub fn unread(&self) -> impl Iterator<Item = &RelPath> {
        self.unread.iter().filter(|path| self.tree.get(path).is_none_or(|entry| entry.node.is_dir()))
    }

    /// What was there, with what the other one showed in the place of secret files that this one never had.
    fn with_seen_of(&self, other: &Self) -> Tree {
        let mut seen = other.seen.clone();
        seen.retain(|path, _| !self.seen.contains_key(path));
        diff::with_seen(&self.whole, &seen)
    }

    /// Whether what was shown in the place of a secret file is there as it was shown.
    fn has_untouched(&self, path: &RelPath) -> bool {
        self.seen.get(path).is_some_and(|node| self.whole.get(path).is_some_and(|entry| entry.node == *node))
    }
}

/// What makes of one state the other, judged as a review judges a session's work.
#[must_use]
pub fn compare(before: &Point, after: &Point) -> Compared {
    let mut seen = after.seen.clone();
    seen.extend(before.seen.clone());
    // What nobody changed stands in both. Two sessions have different shadows, which is no difference.
    let old = before.with_seen_of(after);
    let mut new = after.with_seen_of(before);
    for path in after.seen.keys().filter(|path| before.has_untouched(path) && after.has_untouched(path)) {
        if let Some(entry) = old.get(path) {
            new.insert(path, entry.clone());
        }
    }
    let new = stack::with_unread(&old, &new, &after.unread);
    let mut layer = stack::between(&old, &new);
    // A tree cannot hold these.
    let odd =
        after.upper.iter().filter(|(path, node)| is_odd(node) && before.upper.get(*path) != Some(*node));
    layer.extend(odd.map(|(path, node)| (path.clone(), node.clone())));
    let mut changes = diff::between_seen(&old, &seen, &layer, &|_, _| false).changes;
    // What stands there as it was shown is nobody's work, and its content is in no store.
    let is_shown = |change: &Change| {
        let mut shown = [before, after].into_iter().filter_map(|point| point.seen.get(&change.path));
        shown.any(|node| change.result() == Some(node))
    };
    changes.retain(|change| !is_shown(change));
    let around = Arc::new(Surroundings::of(&old, &changes));
    Compared { base: before.tree.id(), changes, around }
}

/// Whether a node is something that a tree cannot hold.
fn is_odd(node: &UpperNode) -> bool {
    match node {
        UpperNode::Special(_) => true,
        UpperNode::Dir { mode, .. } | UpperNode::File { mode, .. } => mode & SPECIAL_BITS != 0,
        UpperNode::Whiteout | UpperNode::Symlink { .. } => false,
    }
}
