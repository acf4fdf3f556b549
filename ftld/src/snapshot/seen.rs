//! What is known of a project.
//!
//! Owns the one place where the tree with its marks and the paths that stay outside change together, so that
//! none of them tells of a path that another has forgotten. Must not know how a project is read.

use std::collections::BTreeSet;

use ftl_core::id::{Hash, SnapshotId};
use ftl_core::tree::{Entry, Node, RelPath, Tree};

use super::index::{Index, Stamp};
use super::outside::Outside;
use super::rules::{Class, Exclusion, Rules};

/// The rule that names a file which holds a private key.
const KEY: &str = "holds a private key";

/// What is known of a file that still has the stamp it was read with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Known {
    /// Its content.
    Content(Hash),
    /// It holds a private key, and stays outside.
    Key,
}

/// A project at one moment, with what it takes to see later what changed.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The root's device.
    pub(super) device: u64,
    /// The snapshot that was taken last.
    pub(super) last: Option<SnapshotId>,
    /// What stands where. The files with a mark need not be read again while they have the stamp that it was
    /// made of.
    pub(super) tree: Tree,
    pub(super) outside: Outside,
    pub(super) rules: Rules,
    /// The text of `.git/info/exclude`, which stands in no directory of the tree.
    pub(super) exclude: Option<Vec<u8>>,
    /// Files that have several names or had: another name may change them without an event here.
    pub(super) linked: BTreeSet<RelPath>,
    /// Files with a secret's name; another name of one stays outside as well.
    pub(super) secrets: BTreeSet<RelPath>,
    /// Files whose stamps cannot be trusted, and symbolic links with several names. They are read at each
    /// snapshot.
    pub(super) unsettled: BTreeSet<RelPath>,
    /// Something has a path too long to be named, and can only be found by looking everywhere.
    pub(super) is_odd: bool,
}

impl Seen {
    /// Nothing of a root on this device.
    pub(super) fn new(device: u64) -> Self {
        Self { device, ..Self::default() }
    }

    /// What an index tells of a project.
    pub(super) fn of_index(Index { device, last, files }: Index) -> Self {
        Self { device, last, tree: files, ..Self::default() }
    }

    /// What is to outlive the daemon. Costs nothing: the tree is shared.
    pub(super) fn index(&self) -> Index {
        Index { device: self.device, last: self.last, files: self.tree.clone() }
    }

    /// What a file is that still has the stamp it was read with.
    pub(super) fn known(&self, path: &RelPath, stamp: Stamp) -> Option<Known> {
        let key = || self.outside.is_key(path, stamp).then_some(Known::Key);
        stamp.find(&self.tree, path).map(Known::Content).or_else(key)
    }

    /// Whether a path is in the tree, or a file that was read and holds a private key.
    pub(super) fn has(&self, path: &RelPath) -> bool {
        self.tree.contains_key(path) || self.outside.has_key(path)
    }

    /// Makes that a file is read at the next look at it whatever its stamp says.
    pub(super) fn doubt(&mut self, path: &RelPath) {
        self.tree.mark(path, None);
        self.outside.doubt(path);
    }

    /// Puts a directory or a symbolic link into the tree.
    pub(super) fn put(&mut self, path: &RelPath, entry: Entry) {
        self.outside.remove(path);
        // An equal entry is left alone: the directories above it keep their hashes.
        if self.tree.get(path) != Some(&entry) {
            self.tree.insert(path, entry);
        }
    }

    /// Puts a file into the tree, with a mark if its stamp can be trusted later.
    pub(super) fn put_file(&mut self, path: RelPath, mode: u32, (stamp, hash): (Stamp, Hash), now_ns: i64) {
        let node = Node::File { mode: mode & 0o777, size: stamp.size, hash };
        self.put(&path, Entry { node, mtime_ns: stamp.mtime_ns });
        let mark = stamp.mark(now_ns);
        self.tree.mark(&path, mark);
        match mark.is_some() {
            true => self.unsettled.remove(&path),
            false => self.unsettled.insert(path),
        };
    }

    /// Notes that a path stays outside.
    pub(super) fn leave_out(&mut self, exclusion: Exclusion) {
        self.forget_inside(&exclusion.path);
        self.outside.put(exclusion);
    }

    /// Leaves a file out that holds a private key, until its stamp is another.
    pub(super) fn put_key(&mut self, path: RelPath, stamp: Stamp, now_ns: i64) {
        let is_linked = self.linked.contains(&path);
        self.exclude(&path, Class::Secret, KEY);
        if is_linked {
            self.linked.insert(path.clone());
        }
        match stamp.mark(now_ns) {
            Some(_) => self.outside.put_key(path, stamp),
            None => drop(self.unsettled.insert(path)),
        }
    }

    /// The same, by no file of rules.
    pub(super) fn exclude(&mut self, path: &RelPath, class: Class, rule: &str) {
        let (path, rule, source) = (path.clone(), rule.to_owned(), "built in".to_owned());
        self.leave_out(Exclusion { path, rule, source, class });
    }

    /// Forgets a path and all beneath it.
    pub(super) fn forget(&mut self, path: &RelPath) {
        self.forget_inside(path);
        self.outside.remove(path);
    }

    /// The same but for what is said of the path itself when it stays outside.
    fn forget_inside(&mut self, path: &RelPath) {
        let is_dir = self.tree.dir(Some(path)).is_some();
        if is_dir {
            self.outside.remove_beneath(path);
            for set in [&mut self.linked, &mut self.secrets, &mut self.unsettled] {
                *set = std::mem::take(set).into_iter().filter(|at| !at.is_beneath(path)).collect();
            }
        }
        for set in [&mut self.linked, &mut self.secrets, &mut self.unsettled] {
            set.remove(path);
        }
        self.tree.remove(path);
    }

    /// Forgets that a path was a file, before something else is put there.
    pub(super) fn forget_file(&mut self, path: &RelPath) {
        self.doubt(path);
        for set in [&mut self.linked, &mut self.secrets, &mut self.unsettled] {
            set.remove(path);
        }
    }

    /// Whether a directory is in the tree (`None`: the root, which always is).
    pub(super) fn has_dir(&self, path: Option<&RelPath>) -> bool {
        self.tree.dir(path).is_some()
    }

    /// The names that are known directly in a directory.
    pub(super) fn names_in(&self, at: Option<&RelPath>) -> BTreeSet<Vec<u8>> {
        self.tree.names_in(at).chain(self.outside.names_in(at)).map(<[u8]>::to_vec).collect()
    }

    /// Paths that are read at each snapshot whatever happens: no stamp and no event vouches for them.
    pub(super) fn doubtful(&self) -> impl Iterator<Item = &RelPath> {
        self.unsettled.iter().chain(self.outside.unread())
    }
}
