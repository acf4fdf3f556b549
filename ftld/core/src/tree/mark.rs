//! What a tree remembers of its files beside what they are.
//!
//! Owns marks, by which whoever reads a project sees that a file is still as it was read, and the joining of
//! a tree with an earlier one so that both together take little more memory than one. Marks are no part of a
//! tree: they change no id, no comparison and no listing. Must not know where marks come from.

use std::num::NonZeroU64;
use std::sync::Arc;

use super::dir::{Dir, Item, Tree, Walk};
use super::{Entry, RelPath};

/// What tells a file's state from another, together with the size and the time of its entry. It stands in the
/// tree because the names and the rest would be needed a second time otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    /// The number of the file on its file system.
    pub inode: NonZeroU64,
    /// The time of the last change to the node, in nanoseconds since the Unix epoch.
    pub ctime_ns: i64,
}

impl Tree {
    /// An entry that has a mark.
    #[must_use]
    pub fn marked(&self, path: &RelPath) -> Option<(&Entry, Mark)> {
        let item = self.item(path)?;
        item.mark.map(|mark| (&item.entry, mark))
    }

    /// Marks a path, or takes its mark away. Says nothing when there is no such path. A new entry at a path
    /// has no mark.
    pub fn mark(&mut self, path: &RelPath, mark: Option<Mark>) {
        // Only a mark that changes may cost a copy of the directories above.
        if self.item(path).is_some_and(|item| item.mark != mark) {
            let names: Vec<&[u8]> = path.components().collect();
            set(&mut self.root, &names, mark);
        }
    }

    /// Every entry with a mark, in the order of [`Tree::iter`].
    pub fn marks(&self) -> impl Iterator<Item = (RelPath, &Entry, Mark)> {
        let mut walk = Walk::over(&self.root, Vec::new(), false);
        std::iter::from_fn(move || walk.next_item())
            .filter_map(|(path, item)| item.mark.map(|mark| (path, &item.entry, mark)))
    }

    /// Takes as little memory as it can beside an earlier tree: directories that both have are shared, marks
    /// included, and so are names. Costs a look at every path that is not shared yet.
    pub fn join(&mut self, before: &Self) {
        join(&mut self.root, Some(&before.root));
    }
}

fn set(at: &mut Arc<Dir>, names: &[&[u8]], mark: Option<Mark>) {
    let dir = Arc::make_mut(at);
    let Some((name, rest)) = names.split_first() else { return };
    let Some(item) = dir.items.get_mut(*name) else { return };
    match item.dir.as_mut() {
        Some(inner) if !rest.is_empty() => set(inner, rest, mark),
        _ => item.mark = mark,
    }
}

fn join(at: &mut Arc<Dir>, before: Option<&Arc<Dir>>) {
    // What others have as well stays where it is.
    let Some(dir) = Arc::get_mut(at) else { return };
    let one = |(name, mut item): (Arc<[u8]>, Item)| {
        let known = before.and_then(|before| before.items.get_key_value(&*name));
        if let Some(inner) = item.dir.as_mut() {
            join(inner, known.and_then(|(_, known)| known.dir.as_ref()));
        }
        (known.map_or(name, |(known, _)| Arc::clone(known)), item)
    };
    // Collected anew, which fills the map's nodes.
    dir.items = std::mem::take(&mut dir.items).into_iter().map(one).collect();
    let is_same = |before: &&Arc<Dir>| {
        before.items.len() == at.items.len()
            && before.items.iter().zip(&at.items).all(|((name, was), (other, is))| {
                name == other && was.entry == is.entry && was.mark == is.mark && same_dir(was, is)
            })
    };
    if let Some(before) = before.filter(is_same) {
        *at = Arc::clone(before);
    }
}

fn same_dir(was: &Item, is: &Item) -> bool {
    match (&was.dir, &is.dir) {
        (Some(was), Some(is)) => Arc::ptr_eq(was, is),
        (None, None) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Hash;
    use crate::tree::Node;

    fn path(text: &str) -> RelPath {
        RelPath::new(text).unwrap()
    }

    fn file(size: u64) -> Entry {
        Entry { node: Node::File { mode: 0o644, size, hash: Hash::of(b"x") }, mtime_ns: 1 }
    }

    fn mark(inode: u64) -> Option<Mark> {
        Some(Mark { inode: NonZeroU64::new(inode).unwrap(), ctime_ns: 7 })
    }

    fn tree() -> Tree {
        let mut tree: Tree = ["a/f", "a/g", "b/c/f", "h"].map(|at| (path(at), file(1))).into();
        ["a/f", "a/g", "b/c/f", "h"]
            .iter()
            .zip(1..)
            .for_each(|(at, inode)| tree.mark(&path(at), mark(inode)));
        tree
    }

    #[test]
    fn a_mark_is_no_part_of_the_tree_and_goes_with_its_entry() {
        let (before, mut after) = (tree(), tree());
        let id = after.id();
        after.mark(&path("b/c/f"), mark(9));
        after.mark(&path("none/f"), mark(9));
        assert_eq!((after.id(), &after), (id, &before));
        assert_eq!(before.marked(&path("b/c/f")), Some((&file(1), mark(3).unwrap())));
        assert_eq!(after.marked(&path("b/c/f")), Some((&file(1), mark(9).unwrap())));
        after.insert(&path("b/c/f"), file(2));
        assert_eq!(after.marked(&path("b/c/f")), None);
        after.mark(&path("a/f"), None);
        let left: Vec<_> = after.marks().map(|(path, ..)| path.to_string()).collect();
        assert_eq!(left, ["a/g", "h"]);
    }

    #[test]
    fn joined_trees_share_the_directories_that_are_the_same() {
        let before = tree();
        let mut after = tree();
        after.insert(&path("a/f"), file(2));
        let expected = after.clone().id();
        // Nobody else has it.
        let mut after = after.iter().map(|(path, entry)| (path, entry.clone())).collect::<Tree>();
        ["a/g", "b/c/f", "h"].iter().zip(2..).for_each(|(at, inode)| after.mark(&path(at), mark(inode)));
        after.join(&before);
        assert_eq!(after.id(), expected);
        let at = |tree: &Tree, dir: &str| Arc::as_ptr(tree.dir(Some(&path(dir))).unwrap());
        assert_eq!(at(&before, "b"), at(&after, "b"));
        assert_ne!(at(&before, "a"), at(&after, "a"));
        let name = |tree: &Tree| tree.names_in(Some(&path("a"))).next().unwrap().as_ptr();
        assert_eq!(name(&before), name(&after));
        let mut other = tree();
        other.mark(&path("b/c/f"), mark(9));
        other.join(&before);
        assert_eq!(other.marked(&path("b/c/f")).unwrap().1, mark(9).unwrap());
        assert_ne!(at(&before, "b"), at(&other, "b"));
    }
}
