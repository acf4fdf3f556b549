//! Directories as shared values: a tree is changed by copying the directories on the way to the change.
//!
//! Owns the tree's shape: copies cost nothing, a change costs the directories above it, and every
//! directory remembers its hash and its sums. Must not know where listings are kept.

use std::collections::{BTreeMap, btree_map};
use std::fmt;
use std::sync::{Arc, OnceLock};

use super::mark::Mark;
use super::{Entry, Node, RelPath, listing};
use crate::id::{Hash, SnapshotId};

/// Every path of a project at one moment. A copy shares everything with what it was copied from. The
/// root itself is not an entry; every other directory that something stands in is one.
///
/// Memory: about 150 bytes for a path where directories are large, shared by all trees that have its
/// directory in common; a directory of few names takes about 1,100 bytes.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tree {
    pub(super) root: Arc<Dir>,
}

/// What stands in one directory, by name.
#[derive(Clone, Default)]
pub struct Dir {
    pub(super) items: BTreeMap<Arc<[u8]>, Item>,
    sums: Sums,
    hash: OnceLock<Hash>,
}

/// One name of a directory.
#[derive(Clone)]
pub struct Item {
    pub(super) entry: Entry,
    /// What stands in it, when it is a directory.
    pub(super) dir: Option<Arc<Dir>>,
    /// No part of what the tree says: trees with other marks are equal.
    pub(super) mark: Option<Mark>,
}

/// What there is beneath a directory, all levels together.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Sums {
    paths: u64,
    files: u64,
    bytes: u64,
    links: u64,
}

/// The permission bits of a directory that nobody listed although something stands in it.
const IMPLIED: u32 = 0o755;

// === impl Tree ===

impl Tree {
    /// A tree without paths.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The tree whose root holds this.
    #[must_use]
    pub fn of_root(root: Arc<Dir>) -> Self {
        Self { root }
    }

    /// What stands in the root.
    #[must_use]
    pub fn root(&self) -> &Arc<Dir> {
        &self.root
    }

    /// The id of a snapshot with this tree: the hash of the root's listing. Equal trees, and only they,
    /// have equal ids. Costs the directories that changed since the last call.
    #[must_use]
    pub fn id(&self) -> SnapshotId {
        SnapshotId(self.root.hash())
    }

    /// Paths.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.root.sums.paths).unwrap_or(usize::MAX)
    }

    /// Whether there is no path.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.root.items.is_empty()
    }

    /// Regular files.
    #[must_use]
    pub fn files(&self) -> u64 {
        self.root.sums.files
    }

    /// Size of the files together, bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.root.sums.bytes
    }

    /// What stands at a path.
    #[must_use]
    pub fn get(&self, path: &RelPath) -> Option<&Entry> {
        self.item(path).map(|item| &item.entry)
    }

    /// Whether something stands at a path.
    #[must_use]
    pub fn contains_key(&self, path: &RelPath) -> bool {
        self.item(path).is_some()
    }

    /// What stands in the directory at a path (`None`: the root); `None` when there is no such directory.
    #[must_use]
    pub fn dir(&self, path: Option<&RelPath>) -> Option<&Arc<Dir>> {
        match path {
            None => Some(&self.root),
            Some(path) => self.item(path)?.dir.as_ref(),
        }
    }

    /// Puts an entry at a path. A directory keeps what stands in it; what is not a directory takes the
    /// place of all that stood there. Where something above the path is no directory, it becomes one.
    pub fn insert(&mut self, path: &RelPath, entry: Entry) {
        let names: Vec<&[u8]> = path.components().collect();
        Dir::put(&mut self.root, &names, entry);
    }

    /// Takes a path out, with all that stands beneath it. Says whether it was there.
    pub fn remove(&mut self, path: &RelPath) -> bool {
        let is_there = self.contains_key(path);
        if is_there {
            let names: Vec<&[u8]> = path.components().collect();
            Dir::take(&mut self.root, &names);
        }
        is_there
    }

    /// Every path and its entry; a directory precedes what stands in it, names are sorted by bytes.
    pub fn iter(&self) -> impl Iterator<Item = (RelPath, &Entry)> {
        Walk::over(&self.root, Vec::new(), false)
    }

    /// Every path, in the same order.
    pub fn keys(&self) -> impl Iterator<Item = RelPath> {
        self.iter().map(|(path, _)| path)
    }

    /// Every entry, in the same order.
    pub fn values(&self) -> impl Iterator<Item = &Entry> {
        self.iter().map(|(_, entry)| entry)
    }

    /// The symbolic links. Costs the directories that have any.
    pub fn links(&self) -> impl Iterator<Item = (RelPath, &Entry)> {
        Walk::over(&self.root, Vec::new(), true)
            .filter(|(_, entry)| matches!(entry.node, Node::Symlink { .. }))
    }

    /// Everything that stands beneath a directory; the directory itself is not included.
    pub fn beneath(&self, dir: &RelPath) -> impl Iterator<Item = (RelPath, &Entry)> {
        let held = self.item(dir).and_then(|item| item.dir.as_deref());
        let prefix = [dir.as_bytes(), b"/"].concat();
        held.into_iter().flat_map(move |held| Walk::over(held, prefix.clone(), false))
    }

    /// The names that stand directly in a directory (`None`: the root).
    pub fn names_in(&self, dir: Option<&RelPath>) -> impl Iterator<Item = &[u8]> {
        self.dir(dir).into_iter().flat_map(|dir| dir.items.keys().map(|name| &**name))
    }

    pub(super) fn item(&self, path: &RelPath) -> Option<&Item> {
        let mut dir = &self.root;
        let mut found: Option<&Item> = None;
        for name in path.components() {
            if let Some(above) = found {
                dir = above.dir.as_ref()?;
            }
            found = Some(dir.items.get(name)?);
        }
        found
    }
}

impl FromIterator<(RelPath, Entry)> for Tree {
    fn from_iter<I: IntoIterator<Item = (RelPath, Entry)>>(entries: I) -> Self {
        let mut tree = Self::new();
        entries.into_iter().for_each(|(path, entry)| tree.insert(&path, entry));
        tree
    }
}

impl<const N: usize> From<[(RelPath, Entry); N]> for Tree {
    fn from(entries: [(RelPath, Entry); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

// === impl Dir ===

impl Dir {
    /// A directory with these names.
    #[must_use]
    pub fn of(items: impl IntoIterator<Item = (Vec<u8>, Entry, Option<Arc<Self>>)>) -> Self {
        // Collected: a map that is filled name by name leaves half of each of its nodes empty.
        let item = |(name, entry, inner): (Vec<u8>, Entry, _)| (name.into(), Item::new(entry, inner));
        let items: BTreeMap<Arc<[u8]>, Item> = items.into_iter().map(item).collect();
        let sums = items.values().fold(Sums::default(), |sums, item| sums.plus(item.sums()));
        Self { items, sums, hash: OnceLock::new() }
    }

    /// The hash of its listing.
    #[must_use]
    pub fn hash(&self) -> Hash {
        *self.hash.get_or_init(|| Hash::of(&listing::encode(self)))
    }

    /// Its listing's bytes.
    #[must_use]
    pub fn listing(&self) -> Vec<u8> {
        listing::encode(self)
    }

    /// Its names with what stands there, sorted.
    pub fn items(&self) -> impl Iterator<Item = (&[u8], &Item)> {
        self.items.iter().map(|(name, item)| (&**name, item))
    }

    /// What has this name.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&Item> {
        self.items.get(name)
    }

    fn set(&mut self, name: &[u8], item: Item) {
        self.hash.take();
        let more = item.sums();
        let old = match self.items.get_mut(name) {
            Some(place) => Some(std::mem::replace(place, item)),
            None => self.items.insert(name.into(), item),
        };
        self.sums = self.sums.less(old.map_or_else(Sums::default, |old| old.sums())).plus(more);
    }

    fn put(at: &mut Arc<Self>, names: &[&[u8]], entry: Entry) {
        let dir = Arc::make_mut(at);
        match names {
            [] => {}
            [name] => {
                let kept = dir.items.get_mut(*name).and_then(|old| old.dir.clone());
                dir.set(name, Item::new(entry, kept));
            }
            [name, rest @ ..] => {
                if dir.items.get(*name).is_none_or(|item| item.dir.is_none()) {
                    let entry = Entry { node: Node::Dir { mode: IMPLIED }, mtime_ns: 0 };
                    dir.set(name, Item::new(entry, None));
                }
                dir.within(name, |inner| Self::put(inner, rest, entry));
            }
        }
    }

    fn take(at: &mut Arc<Self>, names: &[&[u8]]) {
        let dir = Arc::make_mut(at);
        match names {
            [] => {}
            [name] => {
                dir.hash.take();
                let old = dir.items.remove(*name);
                dir.sums = dir.sums.less(old.map_or_else(Sums::default, |old| old.sums()));
            }
            [name, rest @ ..] => dir.within(name, |inner| Self::take(inner, rest)),
        }
    }

    /// Changes what stands in one of its directories.
    fn within(&mut self, name: &[u8], change: impl FnOnce(&mut Arc<Self>)) {
        self.hash.take();
        if let Some(inner) = self.items.get_mut(name).and_then(|item| item.dir.as_mut()) {
            let before = inner.sums;
            change(inner);
            self.sums = self.sums.less(before).plus(inner.sums);
        }
    }
}

impl PartialEq for Dir {
    fn eq(&self, other: &Self) -> bool {
        match (self.hash.get(), other.hash.get()) {
            (Some(hash), Some(others)) => hash == others,
            _ => self.sums == other.sums && self.items == other.items,
        }
    }
}

impl Eq for Dir {}

// === impl Item ===

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.entry == other.entry && self.dir == other.dir
    }
}

impl Eq for Item {}

impl Item {
    /// Only a directory holds something, and a directory always does, be it nothing.
    fn new(entry: Entry, dir: Option<Arc<Dir>>) -> Self {
        let dir = entry.node.is_dir().then(|| dir.unwrap_or_default());
        Self { entry, dir, mark: None }
    }

    /// The node and its time.
    #[must_use]
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// What stands in it, when it is a directory.
    #[must_use]
    pub fn dir(&self) -> Option<&Arc<Dir>> {
        self.dir.as_ref()
    }

    fn sums(&self) -> Sums {
        let own = match &self.entry.node {
            Node::File { size, .. } => Sums { paths: 1, files: 1, bytes: *size, links: 0 },
            Node::Dir { .. } => Sums { paths: 1, ..Sums::default() },
            Node::Symlink { .. } => Sums { paths: 1, links: 1, ..Sums::default() },
        };
        self.dir.as_ref().map_or(own, |dir| own.plus(dir.sums))
    }
}

impl Sums {
    fn plus(self, more: Self) -> Self {
        Self {
            paths: self.paths + more.paths,
            files: self.files + more.files,
            bytes: self.bytes.wrapping_add(more.bytes),
            links: self.links + more.links,
        }
    }

    fn less(self, part: Self) -> Self {
        Self {
            paths: self.paths - part.paths,
            files: self.files - part.files,
            bytes: self.bytes.wrapping_sub(part.bytes),
            links: self.links - part.links,
        }
    }
}

// === walking ===

/// The names of a directory that are still to come.
type Names<'a> = btree_map::Iter<'a, Arc<[u8]>, Item>;

/// A walk through directories, in the order of names.
pub(super) struct Walk<'a> {
    path: Vec<u8>,
    /// The directories on the way down, with the length of the path to each.
    open: Vec<(usize, Names<'a>)>,
    only_links: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn over(dir: &'a Dir, prefix: Vec<u8>, only_links: bool) -> Self {
        Self { open: vec![(prefix.len(), dir.items.iter())], path: prefix, only_links }
    }

    /// The next path and all that is known of it.
    pub(super) fn next_item(&mut self) -> Option<(RelPath, &'a Item)> {
        loop {
            let (length, items) = self.open.last_mut()?;
            self.path.truncate(*length);
            let Some((name, item)) = items.next() else {
                self.open.pop();
                continue;
            };
            self.path.extend_from_slice(name);
            let path = RelPath(self.path.clone());
            if let Some(dir) = item.dir.as_deref().filter(|dir| !self.only_links || dir.sums.links > 0) {
                self.path.push(b'/');
                self.open.push((self.path.len(), dir.items.iter()));
            }
            return Some((path, item));
        }
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = (RelPath, &'a Entry);

    fn next(&mut self) -> Option<Self::Item> {
        self.next_item().map(|(path, item)| (path, &item.entry))
    }
}

#[cfg(test)]
mod tests;
