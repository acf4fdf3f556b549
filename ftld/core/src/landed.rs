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

/// The upper layer as it would be over that base: where the workspace shows what the old base has, and
/// something else was applied, a layer over the old base has no trace of it, and gets one. Work that was gone
/// back from after it was applied is such a case.
#[must_use]
pub fn upper(base: &Tree, upper: &UpperTree, landed: &Landed) -> UpperTree {
    let mut layer = upper.clone();
    for (path, node) in landed {
        let hides = |above: &RelPath| {
            upper.get(above).is_some_and(|node| !matches!(node, UpperNode::Dir { opaque: false, .. }))
        };
        let was = base.get(path).map(|entry| &entry.node);
        if upper.contains_key(path) || was == node.as_ref() || path.ancestors().any(|above| hides(&above)) {
            continue;
        }
        let shown = match was.cloned() {
            None => UpperNode::Whiteout,
            Some(Node::Dir { mode }) => UpperNode::Dir { mode, opaque: false },
            Some(Node::File { mode, size, hash }) => UpperNode::File { mode, size, hash },
            Some(Node::Symlink { target }) => UpperNode::Symlink { target },
        };
        layer.insert(path.clone(), shown);
    }
    layer
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    use crate::diff::{After, between, resulting};
    use crate::id::Hash;
    use crate::stack;
    use crate::tree::{Changed, changes};

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
    fn what_was_gone_back_from_after_it_landed_is_to_be_taken_back() {
        let landed = [("f", Some("new")), ("g", Some("added")), ("h", None)];
        let files = [("f", "old"), ("h", "x")];
        assert_eq!(left(&files, &[], &landed), ["f there", "g gone", "h there"]);
    }

    fn any_tree() -> impl Strategy<Value = Tree> {
        let at = (("[ab]", "[ab]", "[ab]"), 1usize..4);
        let file = (at, 0u8..3).prop_map(|((names, depth), what)| {
            let (a, b, c) = names;
            (path(&[a, b, c][..depth].join("/")), Entry { node: file(&what.to_string()), mtime_ns: 0 })
        });
        proptest::collection::vec(file, 0..8).prop_map(|entries| entries.into_iter().collect())
    }

    proptest! {
        #[test]
        fn what_is_left_makes_of_the_project_what_the_workspace_shows(
            old in any_tree(), applied in any_tree(), shown in any_tree()
        ) {
            let differs = |changed: &Changed| {
                changed.before.as_ref().map(|entry| &entry.node) != changed.after.as_ref().map(|entry| &entry.node)
            };
            let landed: Landed = changes(&old, &applied).into_iter().filter(differs)
                .map(|changed| (changed.path, changed.after.map(|entry| entry.node))).collect();
            let now = base(&old, &landed);
            let layer = upper(&old, &stack::between(&old, &shown), &landed);
            let left = resulting(&now, &between(&now, &layer, &|_, _| false).changes);
            let wanted: BTreeMap<_, _> = shown.iter().map(|(path, entry)| (path, entry.node.clone())).collect();
            prop_assert_eq!(left, wanted);
        }
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
