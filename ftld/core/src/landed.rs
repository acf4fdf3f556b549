//! What is left of a session's work after parts of it were applied.
//!
//! Owns the comparison of the workspace with the project as applications left it, so that a session can
//! go on after an approval: what was applied is no change any more, and changing it again is one. Must not
//! know when or why something was applied.

use std::collections::BTreeMap;

use crate::diff::{UpperNode, UpperTree};
use crate::tree::{Entry, Node, RelPath, Tree};

/// What stands at the paths that applications changed; `None` where they deleted something.
pub type Landed = BTreeMap<RelPath, Option<Node>>;

/// The base as the applications left it.
#[must_use]
pub fn base(base: &Tree, landed: &Landed) -> Tree {
    let mut tree = base.clone();
    for (path, node) in landed {
        match node {
            Some(node) => {
                let mtime_ns = tree.get(path).map_or(0, |entry| entry.mtime_ns);
                tree.insert(path, Entry { node: node.clone(), mtime_ns });
            }
            None => {
                tree.remove(path);
            }
        }
    }
    tree
}

/// The upper layer as it would be over that base: what was applied and is no more in the workspace has
/// left no trace in a layer over the old base, and gets one.
#[must_use]
pub fn upper(base: &Tree, upper: &UpperTree, landed: &Landed) -> UpperTree {
    let mut layer = upper.clone();
    for (path, node) in landed {
        if node.is_some() && !base.contains_key(path) {
            layer.entry(path.clone()).or_insert(UpperNode::Whiteout);
        }
    }
    layer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diff::{After, between};
    use crate::id::Hash;

    fn path(text: &str) -> RelPath {
        RelPath::new(text).unwrap()
    }

    fn file(content: &str) -> Node {
        Node::File { mode: 0o644, size: content.len() as u64, hash: Hash::of(content.as_bytes()) }
    }

    fn above(content: &str) -> UpperNode {
        UpperNode::File { mode: 0o644, size: content.len() as u64, hash: Hash::of(content.as_bytes()) }
    }

    /// The changes left, as `path -> content` with `None` for a deletion.
    fn left(
        base_files: &[(&str, &str)],
        layer: &[(&str, UpperNode)],
        landed: &[(&str, Option<&str>)],
    ) -> Vec<String> {
        let tree: Tree = base_files
            .iter()
            .map(|(name, content)| (path(name), Entry { node: file(content), mtime_ns: 1 }))
            .collect();
        let layer: UpperTree = layer.iter().map(|(name, node)| (path(name), node.clone())).collect();
        let landed: Landed = landed.iter().map(|(name, content)| (path(name), content.map(file))).collect();
        let diff = between(&base(&tree, &landed), &upper(&tree, &layer, &landed), &|_, _| false);
        let kind = |after: &After| if *after == After::Absent { "gone" } else { "there" };
        diff.changes.iter().map(|change| format!("{} {}", change.path, kind(&change.after))).collect()
    }

    #[test]
    fn what_landed_is_no_change_any_more() {
        let layer = [("f", above("new")), ("g", above("added")), ("h", UpperNode::Whiteout)];
        let files = [("f", "old"), ("h", "x")];
        assert_eq!(left(&files, &layer, &[]), ["f there", "g there", "h gone"]);
        assert_eq!(left(&files, &layer, &[("f", Some("new"))]), ["g there", "h gone"]);
        let all = [("f", Some("new")), ("g", Some("added")), ("h", None)];
        assert!(left(&files, &layer, &all).is_empty());
    }

    #[test]
    fn changing_what_landed_is_a_change_again() {
        let landed = [("f", Some("new")), ("g", Some("added")), ("h", None)];
        let files = [("f", "old"), ("h", "x")];
        let later = [("f", above("old")), ("h", above("x"))];
        assert_eq!(left(&files, &later, &landed), ["f there", "g gone", "h there"]);
    }
}
