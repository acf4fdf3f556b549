//! Where a path's type, permissions and absence come from when two sides changed it.
//!
//! Owns that decision. Must not know contents: that both sides have another content is all it says.

use crate::tree::Node;

/// What two changes of one path make together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NodeMerge {
    /// This stands there: one side's, or one's content with the other's permissions; nothing for `None`.
    Take(Option<Node>),
    /// A file whose two contents are to be merged over the base's, or over an empty one where the base has no
    /// file.
    Contents {
        /// Its permission bits.
        mode: u32,
    },
    /// Nothing is right without being asked for.
    Conflict(Clash),
}

/// Why two changes of a path do not go together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clash {
    /// Ours deleted what theirs changed.
    DeletedInOurs,
    /// Theirs deleted what ours changed.
    DeletedInTheirs,
    /// The two are of different types.
    Types,
    /// Two permissions.
    Modes,
    /// Two targets of a symbolic link.
    Targets,
}

/// The bit that makes a file a program for its owner.
const EXECUTABLE: u32 = 0o100;

/// What `ours` and `theirs` make together of what was `base`; `None` is nothing. A side that is as the base
/// was gives way to the other one. Permissions and content are decided apart. Of two new nodes ours says the
/// permissions, for they follow from a program's umask and mean nothing, except whether a file is a program.
#[must_use]
pub fn merge_nodes(base: Option<&Node>, ours: Option<&Node>, theirs: Option<&Node>) -> NodeMerge {
    if ours == theirs || theirs == base {
        return NodeMerge::Take(ours.cloned());
    }
    if ours == base {
        return NodeMerge::Take(theirs.cloned());
    }
    match (ours, theirs) {
        (None, _) => NodeMerge::Conflict(Clash::DeletedInOurs),
        (_, None) => NodeMerge::Conflict(Clash::DeletedInTheirs),
        (Some(Node::File { mode, .. }), Some(Node::File { mode: other, .. })) => {
            let was = match base {
                Some(Node::File { mode, .. }) => Some(*mode),
                _ => None,
            };
            let new = was.is_none() && mode & EXECUTABLE == other & EXECUTABLE;
            match side(was, *mode, *other).or(new.then_some(*mode)) {
                Some(mode) => contents(base, (ours, theirs), mode),
                None => NodeMerge::Conflict(Clash::Modes),
            }
        }
        (Some(Node::Dir { .. }), Some(Node::Dir { .. })) => match base {
            Some(Node::Dir { .. }) => NodeMerge::Conflict(Clash::Modes),
            _ => NodeMerge::Take(ours.cloned()),
        },
        (Some(Node::Symlink { .. }), Some(Node::Symlink { .. })) => NodeMerge::Conflict(Clash::Targets),
        (Some(_), Some(_)) => NodeMerge::Conflict(Clash::Types),
    }
}

/// The content of two files, whose permissions are decided.
fn contents(base: Option<&Node>, (ours, theirs): (Option<&Node>, Option<&Node>), mode: u32) -> NodeMerge {
    let content = |node: Option<&Node>| match node {
        Some(Node::File { size, hash, .. }) => Some((*size, *hash)),
        _ => None,
    };
    match side(content(base), content(ours), content(theirs)) {
        Some(Some((size, hash))) => NodeMerge::Take(Some(Node::File { mode, size, hash })),
        _ => NodeMerge::Contents { mode },
    }
}

/// The value of the side that changed it, when not both did, each in its own way.
fn side<T: PartialEq>(base: impl Into<Option<T>>, ours: T, theirs: T) -> Option<T> {
    let base = base.into();
    if ours == theirs || base.as_ref() == Some(&theirs) {
        Some(ours)
    } else {
        (base.as_ref() == Some(&ours)).then_some(theirs)
    }
}

// === impl Clash ===

impl Clash {
    /// What is wrong, in words.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::DeletedInOurs => "it was deleted in the project and changed in the session",
            Self::DeletedInTheirs => "it was changed in the project and deleted in the session",
            Self::Types => "it is of one type in the project and of another one in the session",
            Self::Modes => "it has other permissions in the project than in the session",
            Self::Targets => "it leads elsewhere in the project than in the session",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Hash;

    fn file(mode: u32, content: &str) -> Option<Node> {
        Some(Node::File { mode, size: content.len() as u64, hash: Hash::of(content.as_bytes()) })
    }

    fn dir(mode: u32) -> Option<Node> {
        Some(Node::Dir { mode })
    }

    fn link(target: &str) -> Option<Node> {
        Some(Node::Symlink { target: target.into() })
    }

    #[test]
    fn each_of_permissions_and_content_comes_from_the_side_that_changed_it() {
        use Clash::{DeletedInOurs, DeletedInTheirs, Modes, Targets, Types};
        use NodeMerge::{Conflict, Contents, Take};
        let (x, y) = (file(0o755, "a"), file(0o644, "b"));
        let cases = [
            // One side, or both alike.
            (file(0o644, "a"), file(0o644, "a"), y.clone(), Take(y.clone())),
            (file(0o644, "a"), y.clone(), file(0o644, "a"), Take(y.clone())),
            (file(0o644, "a"), y.clone(), y.clone(), Take(y.clone())),
            (None, None, y.clone(), Take(y.clone())),
            (None, y.clone(), y.clone(), Take(y.clone())),
            (y.clone(), None, None, Take(None)),
            (y.clone(), None, y.clone(), Take(None)),
            (y.clone(), y.clone(), None, Take(None)),
            // Files.
            (file(0o644, "a"), x.clone(), y.clone(), Take(file(0o755, "b"))),
            (file(0o644, "a"), y.clone(), x.clone(), Take(file(0o755, "b"))),
            (file(0o644, "a"), y.clone(), file(0o644, "c"), Contents { mode: 0o644 }),
            (file(0o644, "a"), file(0o755, "c"), y.clone(), Contents { mode: 0o755 }),
            (file(0o644, "a"), file(0o755, "b"), file(0o755, "c"), Contents { mode: 0o755 }),
            (file(0o644, "a"), x.clone(), file(0o600, "a"), Conflict(Modes)),
            (file(0o644, "a"), x.clone(), file(0o600, "b"), Conflict(Modes)),
            // New ones.
            (None, file(0o664, "a"), file(0o644, "b"), Contents { mode: 0o664 }),
            (None, file(0o664, "b"), file(0o644, "b"), Take(file(0o664, "b"))),
            (None, file(0o755, "b"), file(0o644, "b"), Conflict(Modes)),
            (link("t"), file(0o664, "a"), file(0o644, "b"), Contents { mode: 0o664 }),
            (None, dir(0o775), dir(0o755), Take(dir(0o775))),
            // Deletions.
            (file(0o644, "a"), None, y.clone(), Conflict(DeletedInOurs)),
            (file(0o644, "a"), x.clone(), None, Conflict(DeletedInTheirs)),
            (dir(0o755), None, dir(0o700), Conflict(DeletedInOurs)),
            // Directories, links, other types.
            (dir(0o755), dir(0o700), dir(0o750), Conflict(Modes)),
            (dir(0o755), dir(0o755), dir(0o750), Take(dir(0o750))),
            (link("a"), link("b"), link("c"), Conflict(Targets)),
            (None, link("b"), link("c"), Conflict(Targets)),
            (link("a"), link("b"), link("b"), Take(link("b"))),
            (link("a"), link("b"), y.clone(), Conflict(Types)),
            (y.clone(), dir(0o755), link("c"), Conflict(Types)),
            (y.clone(), dir(0o755), y.clone(), Take(dir(0o755))),
        ];
        for (base, ours, theirs, wanted) in cases {
            let found = merge_nodes(base.as_ref(), ours.as_ref(), theirs.as_ref());
            assert_eq!(found, wanted, "{base:?} {ours:?} {theirs:?}");
        }
    }
}
