//! What a session's upper layer changes in its base tree.
//!
//! Owns the meaning of an overlay's upper layer (whiteouts, opaque directories, copied-up files) and the
//! list of changes that follows from it. Costs what changed, not what the project holds. Must not know
//! where the layers are: whoever reads them hands the nodes in. Which changes are refused is decided by
//! [`crate::refuse`].

mod rename;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::Hash;
use crate::refuse::{self, Refusal};
use crate::tree::{Entry, Node, RelPath, Tree};

pub use rename::{Rename, renames};

/// What stands at a path of the upper layer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UpperNode {
    /// The path is gone, with all that the base has beneath it.
    Whiteout,
    /// A directory.
    Dir {
        /// Permission bits with set-id and sticky bits, at most `0o7777`.
        mode: u32,
        /// Whether it hides what the base has beneath it.
        opaque: bool,
    },
    /// A regular file.
    File {
        /// Permission bits with set-id and sticky bits, at most `0o7777`.
        mode: u32,
        /// Bytes.
        size: u64,
        /// BLAKE3 of the content.
        hash: Hash,
    },
    /// A symbolic link.
    Symlink {
        /// The bytes it holds, unresolved.
        #[serde(with = "crate::event::as_bytes")]
        target: Vec<u8>,
    },
    /// Something that can never be applied.
    Special(SpecialKind),
}

/// Every path of an upper layer; a directory precedes what it holds.
pub type UpperTree = BTreeMap<RelPath, UpperNode>;

/// A kind of node that is neither file, directory nor symbolic link.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpecialKind {
    /// A Unix socket.
    Socket,
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// Metadata of an overlay that says a directory is that of another path.
    Redirected,
    /// Metadata of an overlay that says a file has its content elsewhere.
    ContentElsewhere,
    /// Metadata of an overlay by which a file or directory hides others, in a way that this daemon does not use.
    OddlyHiding,
    /// Other metadata of an overlay that this daemon never asks for.
    OddlyMarked,
    /// A node of a type that this daemon does not know.
    UnknownType,
}

/// What would stand at a changed path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum After {
    /// Nothing.
    Absent,
    /// A file, directory or symbolic link.
    Node(Node),
    /// Something that can never be applied; such a change is refused.
    Special(SpecialKind),
}

/// One changed path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Where.
    pub path: RelPath,
    /// What the base has there.
    pub before: Option<Node>,
    /// What the session leaves there.
    pub after: After,
    /// Why it can never be applied.
    pub refused: Option<Refusal>,
    /// How many further changes beneath a refused directory this entry stands for.
    pub stands_for: u64,
}

/// The name of a change in lists and JSON.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// A new text file or directory.
    Added,
    /// A path with another content or type.
    Modified,
    /// A path that is gone.
    Deleted,
    /// Only the permission bits differ.
    Mode,
    /// A new or changed symbolic link.
    Symlink,
    /// A new or changed file that is not text.
    Binary,
    /// Never applied.
    Refused,
}

/// What a session changed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Diff {
    /// The changes, sorted by path.
    pub changes: Vec<Change>,
    /// New paths that the ignore rules leave out; a directory counts once.
    pub ignored: u64,
}

/// The set-user-id, set-group-id and sticky bits.
pub const SPECIAL_BITS: u32 = 0o7000;

/// Files that stood in the workspace in the place of secret ones, which the base does not have.
pub type SeenFiles = BTreeMap<RelPath, Node>;

/// What the upper layer changes in the base. `ignored` is asked about new paths only (a path of the base
/// is never left out), and not about those beneath a directory that it already left out.
#[must_use]
pub fn between(base: &Tree, upper: &UpperTree, ignored: &dyn Fn(&RelPath, bool) -> bool) -> Diff {
    between_seen(base, &SeenFiles::new(), upper, ignored)
}

/// The same for a workspace that also showed `seen`. Whatever is changed there is refused, deletions too.
#[must_use]
pub fn between_seen(
    base: &Tree,
    seen: &SeenFiles,
    upper: &UpperTree,
    ignored: &dyn Fn(&RelPath, bool) -> bool,
) -> Diff {
    let base = &with_seen(base, seen);
    let mut changes = BTreeMap::new();
    let mut left_out = BTreeSet::new();
    let mut count = 0;
    for (path, node) in upper {
        let before = base.get(path).map(|entry| &entry.node);
        if before.is_none() && *node != UpperNode::Whiteout {
            let covered = path.parent().is_some_and(|parent| left_out.contains(&parent));
            let is_dir = matches!(node, UpperNode::Dir { .. });
            if covered || ignored(path, is_dir) {
                count += u64::from(!covered);
                left_out.insert(path.clone());
                continue;
            }
        }
        if before.is_some_and(Node::is_dir) && hides_the_base(node) {
            hide(base, upper, path, &mut changes);
        }
        if let Some(change) = changed(path, before, node) {
            changes.insert(path.clone(), change);
        }
    }
    for change in changes.values_mut().filter(|change| seen.contains_key(&change.path)) {
        change.refused.get_or_insert(Refusal::SecretFile);
    }
    refuse::judge(base, &mut changes);
    // What stood there is no content of the project, and not kept.
    for change in changes.values_mut().filter(|change| seen.contains_key(&change.path)) {
        change.before = None;
    }
    Diff { changes: refuse::gather(changes), ignored: count }
}

/// A base with the files that were seen over it. One whose directory the base does not have is left out:
/// there is nothing it could stand in.
#[must_use]
pub fn with_seen(base: &Tree, seen: &SeenFiles) -> Tree {
    let mut tree = base.clone();
    for (path, node) in seen {
        if !base.contains_key(path) && base.dir(path.parent().as_ref()).is_some() {
            tree.insert(path, Entry { node: node.clone(), mtime_ns: 0 });
        }
    }
    tree
}

/// The paths and nodes that a base becomes when every change that is not refused is applied.
#[cfg(test)]
pub(crate) fn resulting(base: &Tree, changes: &[Change]) -> BTreeMap<RelPath, Node> {
    let mut nodes: BTreeMap<_, _> = base.iter().map(|(path, entry)| (path, entry.node.clone())).collect();
    for change in changes.iter().filter(|change| change.refused.is_none()) {
        match &change.after {
            After::Node(node) => nodes.insert(change.path.clone(), node.clone()),
            After::Absent | After::Special(_) => nodes.remove(&change.path),
        };
    }
    nodes
}

fn hides_the_base(node: &UpperNode) -> bool {
    match node {
        UpperNode::Dir { opaque, .. } => *opaque,
        UpperNode::Special(kind) => !kind.is_unknown(),
        UpperNode::Whiteout | UpperNode::File { .. } | UpperNode::Symlink { .. } => true,
    }
}

/// Adds a deletion for every path of the base beneath `dir` that the upper layer does not bring back.
fn hide(base: &Tree, upper: &UpperTree, dir: &RelPath, changes: &mut BTreeMap<RelPath, Change>) {
    for (path, entry) in base.beneath(dir) {
        if matches!(upper.get(&path), None | Some(UpperNode::Whiteout)) {
            let change = Change::new(&path, Some(&entry.node), After::Absent);
            changes.insert(path, change);
        }
    }
}

/// The change at one path of the upper layer, `None` when it was only copied up.
fn changed(path: &RelPath, before: Option<&Node>, node: &UpperNode) -> Option<Change> {
    let bits = match node {
        UpperNode::Dir { mode, .. } | UpperNode::File { mode, .. } => mode & SPECIAL_BITS,
        UpperNode::Whiteout | UpperNode::Symlink { .. } | UpperNode::Special(_) => 0,
    };
    let after = match node {
        UpperNode::Whiteout => After::Absent,
        UpperNode::Dir { mode, .. } => After::Node(Node::Dir { mode: mode & 0o777 }),
        UpperNode::File { mode, size, hash } => {
            After::Node(Node::File { mode: mode & 0o777, size: *size, hash: *hash })
        }
        UpperNode::Symlink { target } => After::Node(Node::Symlink { target: target.clone() }),
        UpperNode::Special(kind) => After::Special(*kind),
    };
    let same = match (before, &after) {
        (None, After::Absent) => true,
        (Some(before), After::Node(after)) => before == after,
        _ => false,
    };
    let refused = (bits != 0).then_some(Refusal::SpecialBits { mode: bits });
    (!same || bits != 0).then(|| Change { refused, ..Change::new(path, before, after) })
}

// === impl Change ===

impl Change {
    /// A change that nothing speaks against yet.
    #[must_use]
    pub fn new(path: &RelPath, before: Option<&Node>, after: After) -> Self {
        Self { path: path.clone(), before: before.cloned(), after, refused: None, stands_for: 0 }
    }

    /// The node that applying it leaves, `None` when it leaves nothing.
    #[must_use]
    pub fn result(&self) -> Option<&Node> {
        match &self.after {
            After::Node(node) => Some(node),
            After::Absent | After::Special(_) => None,
        }
    }

    /// What to call it. `binary` says whether a changed file's content, before or after, is not text.
    #[must_use]
    pub fn kind(&self, binary: bool) -> Kind {
        if self.refused.is_some() {
            return Kind::Refused;
        }
        match (&self.before, &self.after) {
            (_, After::Special(_)) => Kind::Refused,
            (_, After::Absent) => Kind::Deleted,
            (_, After::Node(Node::Symlink { .. })) => Kind::Symlink,
            (Some(Node::Dir { .. }), After::Node(Node::Dir { .. })) => Kind::Mode,
            (Some(Node::File { hash: old, .. }), After::Node(Node::File { hash: new, .. })) if old == new => {
                Kind::Mode
            }
            (_, After::Node(Node::File { .. })) if binary => Kind::Binary,
            (None, After::Node(_)) => Kind::Added,
            (Some(_), After::Node(_)) => Kind::Modified,
        }
    }
}

// === impl Kind, SpecialKind ===

impl Kind {
    /// The name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Modified => "modified",
            Self::Deleted => "deleted",
            Self::Mode => "mode",
            Self::Symlink => "symlink",
            Self::Binary => "binary",
            Self::Refused => "refused",
        }
    }
}

impl SpecialKind {
    /// Whether it is not known what the workspace shows there, so that nothing beneath it counts as gone.
    #[must_use]
    pub fn is_unknown(self) -> bool {
        match self {
            Self::Socket | Self::Fifo | Self::CharDevice | Self::BlockDevice => false,
            Self::Redirected
            | Self::ContentElsewhere
            | Self::OddlyHiding
            | Self::OddlyMarked
            | Self::UnknownType => true,
        }
    }

    /// The name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Fifo => "fifo",
            Self::CharDevice => "character-device",
            Self::BlockDevice => "block-device",
            Self::Redirected => "overlay-redirect",
            Self::ContentElsewhere => "overlay-metacopy",
            Self::OddlyHiding => "overlay-whiteout",
            Self::OddlyMarked => "overlay-mark",
            Self::UnknownType => "unknown-type",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for SpecialKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Socket => "a socket",
            Self::Fifo => "a FIFO",
            Self::CharDevice => "a character device",
            Self::BlockDevice => "a block device",
            Self::Redirected => "a directory that claims to be another one",
            Self::ContentElsewhere => "a file that claims to have its content elsewhere",
            Self::OddlyHiding => "something that hides others in a way unknown here",
            Self::OddlyMarked => "something with metadata of an overlay unknown here",
            Self::UnknownType => "a node of an unknown type",
        })
    }
}

#[cfg(test)]
mod tests;
