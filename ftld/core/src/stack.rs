//! Layers of a session, one over the other, as values.
//!
//! Owns what an overlay shows of several upper layers, and how a tree becomes a layer and a layer a tree.
//! Must not know where layers lie or who mounts them. Metadata of the layers themselves is read elsewhere.

use std::collections::BTreeSet;

use crate::diff::{SPECIAL_BITS, UpperNode, UpperTree};
use crate::tree::{self, Changed, Entry, Node, RelPath, Tree, changes};

/// One layer that shows what `upper` over `lower` shows, over whatever base.
#[must_use]
pub fn stack(lower: &UpperTree, upper: &UpperTree) -> UpperTree {
    let mut both = lower.clone();
    for (path, node) in upper {
        // Nothing that comes later makes known what the workspace shows there.
        if path.ancestors().any(|above| is_unknown(both.get(&above))) {
            continue;
        }
        let node = match (node, both.get(path)) {
            (UpperNode::Dir { opaque: false, .. }, Some(unknown)) if is_unknown(Some(unknown)) => continue,
            (UpperNode::Dir { mode, opaque: false }, Some(UpperNode::Dir { opaque, .. })) => {
                UpperNode::Dir { mode: *mode, opaque: *opaque }
            }
            (UpperNode::Dir { opaque: false, .. }, None) => node.clone(),
            // What stands below hides the base's directory, and this one hides what stands below.
            (UpperNode::Dir { mode, .. }, _) => UpperNode::Dir { mode: *mode, opaque: true },
            _ => node.clone(),
        };
        if hides(upper, path) {
            for beneath in beneath(&both, path) {
                both.remove(&beneath);
            }
        }
        both.insert(path.clone(), node);
    }
    both
}

fn is_unknown(node: Option<&UpperNode>) -> bool {
    matches!(node, Some(UpperNode::Special(kind)) if kind.is_unknown())
}

/// Whether the layer's node at a path lets nothing of the layers below shine through.
fn hides(layer: &UpperTree, path: &RelPath) -> bool {
    !matches!(layer.get(path), Some(UpperNode::Dir { opaque: false, .. }))
}

fn beneath(layer: &UpperTree, path: &RelPath) -> Vec<RelPath> {
    tree::beneath(layer, path).map(|(path, _)| path.clone()).collect()
}

/// The paths that both layers leave out of what they show: those of `lower` that `upper` does not hide,
/// and those of `upper`.
#[must_use]
pub fn left_out(
    lower: &BTreeSet<RelPath>,
    upper: &UpperTree,
    of_upper: &BTreeSet<RelPath>,
) -> BTreeSet<RelPath> {
    let is_hidden = |path: &RelPath| {
        let at = upper.contains_key(path);
        at || path.ancestors().any(|above| upper.contains_key(&above) && hides(upper, &above))
    };
    lower.iter().filter(|path| !is_hidden(path)).chain(of_upper).cloned().collect()
}

/// The tree that a layer over a base shows. Nodes that no tree can hold, such as sockets, are left out, and
/// so are set-id and sticky bits; where it is not known what the layer shows, the base's is kept. What differs
/// from the base gets the time `mtime_ns`, nanoseconds since the epoch.
#[must_use]
pub fn shown(base: &Tree, layer: &UpperTree, mtime_ns: i64) -> Tree {
    let mut tree = base.clone();
    for (path, node) in layer {
        let node = match node {
            // Whatever it shows, what the base has there is not known to be gone.
            UpperNode::Special(kind) if kind.is_unknown() => continue,
            UpperNode::Whiteout | UpperNode::Special(_) => {
                tree.remove(path);
                continue;
            }
            UpperNode::Dir { mode, .. } => Node::Dir { mode: mode & !SPECIAL_BITS },
            UpperNode::File { mode, size, hash } => {
                Node::File { mode: mode & !SPECIAL_BITS, size: *size, hash: *hash }
            }
            UpperNode::Symlink { target } => Node::Symlink { target: target.clone() },
        };
        let before = tree.get(path);
        let same = before.filter(|entry| entry.node == node);
        let mtime_ns = same.map_or(mtime_ns, |entry| entry.mtime_ns);
        let stays = before.is_some_and(|entry| entry.node.is_dir()) && !hides(layer, path);
        if !stays {
            tree.remove(path);
        }
        tree.insert(path, Entry { node, mtime_ns });
    }
    tree
}

/// What `after` holds, with what could not be read there as `before` has it: it is not known to be gone.
#[must_use]
pub fn with_unread(before: &Tree, after: &Tree, unread: &BTreeSet<RelPath>) -> Tree {
    let mut tree = after.clone();
    for path in unread {
        let Some(entry) = before.get(path) else { continue };
        if after.contains_key(path) || after.dir(path.parent().as_ref()).is_none() {
            continue;
        }
        tree.insert(path, entry.clone());
        for (path, entry) in before.beneath(path) {
            tree.insert(&path, entry.clone());
        }
    }
    tree
}

/// The layer that makes of `before` what `after` holds. What differs only in time is no part of it.
#[must_use]
pub fn between(before: &Tree, after: &Tree) -> UpperTree {
    let mut layer = UpperTree::new();
    for Changed { path, before: was, after: is } in changes(before, after) {
        let was_dir = was.as_ref().is_some_and(|entry| entry.node.is_dir());
        let node = match (was.map(|entry| entry.node), is.map(|entry| entry.node)) {
            (was, is) if was == is => continue,
            (_, None) => UpperNode::Whiteout,
            (_, Some(Node::Dir { mode })) => UpperNode::Dir { mode, opaque: !was_dir },
            (_, Some(Node::File { mode, size, hash })) => UpperNode::File { mode, size, hash },
            (_, Some(Node::Symlink { target })) => UpperNode::Symlink { target },
        };
        layer.insert(path, node);
    }
    // What stands beneath a path that is no directory any more went with it.
    let ends: Vec<RelPath> = layer
        .iter()
        .filter(|(_, node)| !matches!(node, UpperNode::Dir { .. }))
        .map(|(path, _)| path.clone())
        .collect();
    for end in ends {
        for path in beneath(&layer, &end) {
            layer.remove(&path);
        }
    }
    layer
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_could_not_be_read_is_not_gone() {
        let path = |text: &str| RelPath::new(text).unwrap();
        let entry = |node| Entry { node, mtime_ns: 1 };
        let file = || entry(Node::File { mode: 0o600, size: 1, hash: Hash::of(b"f") });
        let dir = || entry(Node::Dir { mode: 0o755 });
        let before: Tree =
            [("d", dir()), ("d/f", file()), ("e", dir()), ("e/f", file()), ("f", file()), ("g", file())]
                .map(|(at, entry)| (path(at), entry))
                .into();
        let after: Tree = [("e".to_owned(), dir()), ("new".to_owned(), file())]
            .map(|(at, entry)| (path(&at), entry))
            .into();
        let unread = ["d", "e/f", "f", "new", "gone/f"].map(path).into();
        let known = with_unread(&before, &after, &unread);
        let paths: Vec<String> = known.keys().map(|path| path.to_string()).collect();
        assert_eq!(paths, ["d", "d/f", "e", "e/f", "f", "new"]);
    }
    use crate::diff::{SpecialKind, between as diff_between};
    use crate::id::Hash;

    fn path(text: &str) -> RelPath {
        RelPath::new(text).unwrap()
    }

    fn any_path() -> impl Strategy<Value = RelPath> {
        (("[ab]", "[abc]", "[ab]"), 1usize..4)
            .prop_map(|((a, b, c), depth)| path(&[a, b, c][..depth].join("/")))
    }

    fn file(size: u8) -> UpperNode {
        UpperNode::File { mode: 0o644, size: size.into(), hash: Hash::of(&[size]) }
    }

    /// A layer as an overlay writes one: whatever is in it stands in directories of it.
    fn any_layer() -> impl Strategy<Value = UpperTree> {
        let node = (0u8..9).prop_map(|what| match what {
            0 | 1 => UpperNode::Whiteout,
            2 | 3 => UpperNode::Dir { mode: 0o755, opaque: false },
            4 => UpperNode::Dir { mode: 0o700, opaque: true },
            5 => UpperNode::Symlink { target: b"t".to_vec() },
            6 => UpperNode::Special(SpecialKind::Fifo),
            size => file(size),
        });
        proptest::collection::vec((any_path(), node), 0..10).prop_map(|nodes| {
            let mut layer = UpperTree::new();
            for (path, node) in nodes {
                for above in path.ancestors() {
                    if !matches!(layer.get(&above), Some(UpperNode::Dir { .. })) {
                        layer.insert(above, UpperNode::Dir { mode: 0o711, opaque: false });
                    }
                }
                if !matches!(node, UpperNode::Dir { .. }) {
                    for gone in beneath(&layer, &path) {
                        layer.remove(&gone);
                    }
                }
                layer.insert(path, node);
            }
            layer
        })
    }

    fn any_paths() -> impl Strategy<Value = BTreeSet<RelPath>> {
        proptest::collection::btree_set(any_path(), 0..4)
    }

    fn any_tree() -> impl Strategy<Value = Tree> {
        let node = (0u8..5).prop_map(|what| match what {
            0 | 1 => Node::Dir { mode: 0o755 },
            2 => Node::Symlink { target: b"t".to_vec() },
            size => Node::File { mode: 0o644, size: size.into(), hash: Hash::of(&[size]) },
        });
        proptest::collection::vec((any_path(), node), 0..12).prop_map(|nodes| {
            nodes.into_iter().map(|(path, node)| (path, Entry { node, mtime_ns: 0 })).collect()
        })
    }

    /// What the kernel does: a path is looked up component by component, in every layer from the top down
    /// that the components above it let through.
    fn looked_up(base: &Tree, layers: &[&UpperTree], at: &RelPath) -> Option<UpperNode> {
        let mut open = layers.len() + 1;
        let parts: Vec<RelPath> = std::iter::once(at.clone()).chain(at.ancestors()).collect();
        let mut found = None;
        for part in parts.iter().rev() {
            found = None;
            let mut reached = 0;
            for index in 0..open {
                let node = match layers.get(index) {
                    Some(layer) => layer.get(part).cloned(),
                    None => base.get(part).map(|entry| match &entry.node {
                        Node::Dir { mode } => UpperNode::Dir { mode: *mode, opaque: true },
                        Node::File { mode, size, hash } => {
                            UpperNode::File { mode: *mode, size: *size, hash: *hash }
                        }
                        Node::Symlink { target } => UpperNode::Symlink { target: target.clone() },
                    }),
                };
                match (&found, node) {
                    (_, None) => {}
                    (None, Some(node @ UpperNode::Dir { opaque, .. })) => {
                        found = Some(node);
                        reached = index + 1;
                        if opaque {
                            break;
                        }
                    }
                    (Some(_), Some(UpperNode::Dir { opaque, .. })) => {
                        reached = index + 1;
                        if opaque {
                            break;
                        }
                    }
                    (None, Some(UpperNode::Whiteout)) | (Some(_), Some(_)) => break,
                    (None, node) => {
                        found = node;
                        break;
                    }
                }
            }
            match &found {
                Some(UpperNode::Dir { .. }) => open = reached,
                _ if part == at => {}
                _ => return None,
            }
        }
        found
    }

    fn view(base: &Tree, layers: &[&UpperTree]) -> BTreeMap<RelPath, UpperNode> {
        let named = layers.iter().flat_map(|layer| layer.keys().cloned());
        let paths: BTreeSet<RelPath> = named.chain(base.iter().map(|(path, _)| path)).collect();
        let plain = |node| match node {
            UpperNode::Dir { mode, .. } => UpperNode::Dir { mode, opaque: false },
            other => other,
        };
        paths
            .into_iter()
            .filter_map(|path| Some((path.clone(), plain(looked_up(base, layers, &path)?))))
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn a_stack_shows_what_the_kernel_shows_of_its_layers(
            base in any_tree(), lower in any_layer(), middle in any_layer(), upper in any_layer(),
        ) {
            let two = stack(&lower, &middle);
            prop_assert_eq!(view(&base, &[&two]), view(&base, &[&middle, &lower]));
            let three = stack(&two, &upper);
            prop_assert_eq!(view(&base, &[&three]), view(&base, &[&upper, &middle, &lower]));
            prop_assert_eq!(view(&base, &[&stack(&lower, &stack(&middle, &upper))]), view(&base, &[&three]));
        }

        #[test]
        fn what_layers_leave_out_is_the_same_in_any_order_of_joining(
            a in any_layer(), b in any_layer(), c in any_layer(),
            of_a in any_paths(), of_b in any_paths(), of_c in any_paths(),
        ) {
            let one_by_one = left_out(&left_out(&of_a, &b, &of_b), &c, &of_c);
            let upper_first = left_out(&of_a, &stack(&b, &c), &left_out(&of_b, &c, &of_c));
            prop_assert_eq!(one_by_one, upper_first);
            prop_assert_eq!(stack(&stack(&a, &b), &c), stack(&a, &stack(&b, &c)));
        }

        #[test]
        fn what_a_layer_shows_is_what_its_changes_make(base in any_tree(), lower in any_layer(), upper in any_layer()) {
            let layer = stack(&lower, &upper);
            let shown = shown(&base, &layer, 0);
            let seen: BTreeMap<RelPath, UpperNode> = view(&shown, &[]);
            let mut expected = view(&base, &[&upper, &lower]);
            expected.retain(|_, node| !matches!(node, UpperNode::Special(_)));
            prop_assert_eq!(&seen, &expected);
            // The diff tells the same story.
            let diff = diff_between(&base, &layer, &|_, _| false);
            for change in diff.changes.iter().filter(|change| change.refused.is_none()) {
                prop_assert_eq!(shown.get(&change.path).map(|entry| &entry.node), change.result());
            }
        }

        #[test]
        fn the_layer_between_two_trees_makes_one_of_the_other(before in any_tree(), after in any_tree()) {
            let layer = between(&before, &after);
            prop_assert_eq!(view(&before, &[&layer]), view(&after, &[]));
            prop_assert_eq!(shown(&before, &layer, 0), after);
        }
    }

    #[test]
    fn a_later_layer_does_not_make_known_what_a_directory_holds() {
        let dir = |opaque| UpperNode::Dir { mode: 0o755, opaque };
        let odd = UpperNode::Special(SpecialKind::OddlyMarked);
        let lower: UpperTree = [(path("d"), odd.clone())].into();
        let touched: UpperTree = [(path("d"), dir(false)), (path("d/x"), file(7))].into();
        assert_eq!(stack(&lower, &touched), lower);
        assert_eq!(stack(&stack(&lower, &touched), &touched), stack(&lower, &stack(&touched, &touched)));
        let replaced: UpperTree = [(path("d"), dir(true)), (path("d/x"), file(7))].into();
        assert_eq!(stack(&lower, &replaced), replaced);
        let base: Tree = [
            ("d", Node::Dir { mode: 0o755 }),
            ("d/old", Node::File { mode: 0o644, size: 1, hash: Hash::of(&[1]) }),
        ]
        .map(|(at, node)| (path(at), Entry { node, mtime_ns: 0 }))
        .into_iter()
        .collect();
        let diff = diff_between(&base, &stack(&lower, &touched), &|_, _| false);
        assert!(diff.changes.iter().all(|change| change.refused.is_some()), "{:?}", diff.changes);
    }

    #[test]
    fn what_is_left_out_below_goes_with_what_hides_it() {
        let set = |paths: &[&str]| -> BTreeSet<RelPath> { paths.iter().map(|text| path(text)).collect() };
        let upper: UpperTree = [
            ("a", UpperNode::Whiteout),
            ("b", UpperNode::Dir { mode: 0o755, opaque: false }),
            ("c", UpperNode::Dir { mode: 0o755, opaque: true }),
            ("d", UpperNode::Whiteout),
        ]
        .map(|(at, node)| (path(at), node))
        .into();
        let lower = set(&["a", "b/x", "c/x", "d/x", "e"]);
        assert_eq!(left_out(&lower, &upper, &set(&["f", "e"])), set(&["b/x", "e", "f"]));
    }
}
