//! The tree against an ordinary map of paths.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

fn file(size: u64) -> Entry {
    Entry { node: Node::File { mode: 0o644, size, hash: Hash::of(&size.to_le_bytes()) }, mtime_ns: 1 }
}

fn link() -> Entry {
    Entry { node: Node::Symlink { target: b"x".to_vec() }, mtime_ns: 1 }
}

fn dir() -> Entry {
    Entry { node: Node::Dir { mode: IMPLIED }, mtime_ns: 0 }
}

fn listed(tree: &Tree) -> Vec<String> {
    tree.keys().map(|path| path.to_string()).collect()
}

#[test]
fn directories_come_before_what_stands_in_them_and_names_are_sorted() {
    let tree: Tree = ["z/y", "a-b", "a/b/c", "ab", "a/d"].map(|text| (path(text), file(1))).into();
    assert_eq!(listed(&tree), ["a", "a/b", "a/b/c", "a/d", "a-b", "ab", "z", "z/y"]);
    assert_eq!((tree.len(), tree.files(), tree.bytes()), (8, 5, 5));
    let beneath: Vec<_> = tree.beneath(&path("a")).map(|(path, _)| path.to_string()).collect();
    assert_eq!(beneath, ["a/b", "a/b/c", "a/d"]);
    assert_eq!(tree.names_in(Some(&path("a"))).collect::<Vec<_>>(), [b"b", b"d"]);
    assert_eq!(tree.names_in(Some(&path("ab"))).count(), 0);
}

#[test]
fn links_are_found_and_other_directories_not_entered() {
    let mut tree: Tree = ["a/b", "c/d"].map(|text| (path(text), file(1))).into();
    tree.insert(&path("c/e/l"), link());
    let links: Vec<_> = tree.links().map(|(path, _)| path.to_string()).collect();
    assert_eq!(links, ["c/e/l"]);
}

#[test]
fn a_copy_does_not_see_later_changes_and_shares_the_rest() {
    let before: Tree = ["a/b", "c/d"].map(|text| (path(text), file(1))).into();
    let mut after = before.clone();
    after.insert(&path("c/d"), file(2));
    assert_eq!(before.get(&path("c/d")), Some(&file(1)));
    assert_ne!(before.id(), after.id());
    let shared = |tree: &Tree| Arc::as_ptr(tree.dir(Some(&path("a"))).unwrap());
    assert_eq!(shared(&before), shared(&after));
    after.insert(&path("c/d"), file(1));
    assert_eq!((before.id(), &before), (after.id(), &after));
}

/// What an ordinary map of paths would hold.
fn insert(map: &mut BTreeMap<Vec<u8>, Entry>, at: &RelPath, entry: &Entry) {
    for above in at.ancestors() {
        let held = map.entry(above.as_bytes().to_vec()).or_insert_with(dir);
        if !held.node.is_dir() {
            *held = dir();
        }
    }
    if !entry.node.is_dir() {
        forget(map, at);
    }
    map.insert(at.as_bytes().to_vec(), entry.clone());
}

fn forget(map: &mut BTreeMap<Vec<u8>, Entry>, at: &RelPath) {
    map.retain(|path, _| path != at.as_bytes() && !RelPath::new(path.clone()).unwrap().is_beneath(at));
}

proptest! {
    #[test]
    fn any_changes_leave_what_a_plain_map_would_hold(
        steps in proptest::collection::vec((("[ab]", "[ab-]", "[abc]"), 1usize..4, 0u8..5), 0..40)
    ) {
        let (mut tree, mut map) = (Tree::new(), BTreeMap::new());
        for ((a, b, c), depth, what) in steps {
            let at = path(&[a, b, c][..depth].join("/"));
            match what {
                0 => { tree.remove(&at); forget(&mut map, &at); }
                1 => { tree.insert(&at, dir()); insert(&mut map, &at, &dir()); }
                2 => { tree.insert(&at, link()); insert(&mut map, &at, &link()); }
                size => { tree.insert(&at, file(size.into())); insert(&mut map, &at, &file(size.into())); }
            }
            let _hash_in_between = (size_is_odd(what)).then(|| tree.id());
        }
        let held: BTreeMap<Vec<u8>, Entry> =
            tree.iter().map(|(path, entry)| (path.as_bytes().to_vec(), entry.clone())).collect();
        prop_assert_eq!(&held, &map);
        let links = map.values().filter(|entry| matches!(entry.node, Node::Symlink { .. })).count();
        prop_assert_eq!((tree.len(), tree.links().count()), (map.len(), links));
        let anew: Tree = tree.iter().map(|(path, entry)| (path, entry.clone())).collect();
        prop_assert_eq!((anew.id(), anew.files(), anew.bytes()), (tree.id(), tree.files(), tree.bytes()));
    }
}

fn size_is_odd(what: u8) -> bool {
    what % 2 == 1
}
