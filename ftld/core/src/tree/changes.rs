//! What differs between two trees.
//!
//! Owns the comparison; it passes by every directory that both have in common, so that it costs what
//! changed. Must not know what a difference means to anyone.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::dir::{Dir, Item, Tree};
use super::{Entry, RelPath};

/// A path that two trees do not have in common.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Changed {
    /// Where.
    pub path: RelPath,
    /// What the first tree has there.
    pub before: Option<Entry>,
    /// What the second tree has there.
    pub after: Option<Entry>,
}

/// Every path at which the trees differ in node or time. A directory precedes what stands in it; all that
/// stands beneath a directory that only one of them has is listed.
#[must_use]
pub fn changes(before: &Tree, after: &Tree) -> Vec<Changed> {
    let mut found = Vec::new();
    compare(Some(before.root()), Some(after.root()), &mut Vec::new(), &mut found);
    found
}

fn compare(
    before: Option<&Arc<Dir>>,
    after: Option<&Arc<Dir>>,
    path: &mut Vec<u8>,
    found: &mut Vec<Changed>,
) {
    if let (Some(before), Some(after)) = (before, after)
        && (Arc::ptr_eq(before, after) || before.hash() == after.hash())
    {
        return;
    }
    let names = [before, after].into_iter().flatten().flat_map(|dir| dir.items().map(|(name, _)| name));
    for name in names.collect::<BTreeSet<_>>() {
        let length = path.len();
        path.extend_from_slice(name);
        let (old, new) = (before.and_then(|dir| dir.get(name)), after.and_then(|dir| dir.get(name)));
        let (was, is) = (old.map(Item::entry), new.map(Item::entry));
        if was != is {
            let path = RelPath(path.clone());
            found.push(Changed { path, before: was.cloned(), after: is.cloned() });
        }
        path.push(b'/');
        let (old, new) = (old.and_then(Item::dir), new.and_then(Item::dir));
        if old.is_some() || new.is_some() {
            compare(old, new, path, found);
        }
        path.truncate(length);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::Hash;
    use crate::tree::Node;

    fn path(text: &str) -> RelPath {
        RelPath::new(text).unwrap()
    }

    fn any_tree() -> impl Strategy<Value = Tree> {
        let entry = (0u8..4).prop_map(|what| Entry {
            node: match what {
                0 => Node::Dir { mode: 0o755 },
                1 => Node::Symlink { target: b"t".to_vec() },
                size => Node::File { mode: 0o644, size: size.into(), hash: Hash::of(&[size]) },
            },
            mtime_ns: 0,
        });
        let at = (("[ab]", "[ab]", "[ab]"), 1usize..4);
        proptest::collection::vec((at, entry), 0..12).prop_map(|entries| {
            let of =
                |((a, b, c), depth): ((String, String, String), usize)| path(&[a, b, c][..depth].join("/"));
            entries.into_iter().map(|(at, entry)| (of(at), entry)).collect()
        })
    }

    proptest! {
        #[test]
        fn applied_to_the_first_tree_they_give_the_second(before in any_tree(), after in any_tree()) {
            let mut tree = before.clone();
            let changes = changes(&before, &after);
            for Changed { path, before: was, after: is } in &changes {
                prop_assert_eq!(before.get(path), was.as_ref());
                prop_assert_ne!(was, is);
                match is {
                    Some(entry) => tree.insert(path, entry.clone()),
                    None => { tree.remove(path); }
                }
            }
            prop_assert_eq!(tree.id(), after.id());
            prop_assert_eq!(tree, after);
        }
    }
}
