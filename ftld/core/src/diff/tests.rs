//! What an upper layer means, by tables and by a model that makes one.

use std::cell::Cell;

use proptest::prelude::*;

use super::*;
use crate::tree::Entry;

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

fn file(content: &str) -> Node {
    Node::File { mode: 0o644, size: content.len() as u64, hash: Hash::of(content.as_bytes()) }
}

fn dir() -> Node {
    Node::Dir { mode: 0o755 }
}

fn link(target: &str) -> Node {
    Node::Symlink { target: target.into() }
}

fn tree(nodes: &[(&str, Node)]) -> Tree {
    nodes.iter().map(|(at, node)| (path(at), Entry { node: node.clone(), mtime_ns: 0 })).collect()
}

fn copied_up(node: &Node) -> UpperNode {
    match node.clone() {
        Node::File { mode, size, hash } => UpperNode::File { mode, size, hash },
        Node::Dir { mode } => UpperNode::Dir { mode, opaque: false },
        Node::Symlink { target } => UpperNode::Symlink { target },
    }
}

fn upper(nodes: &[(&str, UpperNode)]) -> UpperTree {
    nodes.iter().map(|(at, node)| (path(at), node.clone())).collect()
}

fn diff(base: &Tree, nodes: &[(&str, UpperNode)]) -> Vec<String> {
    let diff = between(base, &upper(nodes), &|_, _| false);
    diff.changes.iter().map(|change| format!("{} {}", change.kind(false), change.path)).collect()
}

const OPAQUE: UpperNode = UpperNode::Dir { mode: 0o755, opaque: true };
const PLAIN: UpperNode = UpperNode::Dir { mode: 0o755, opaque: false };

#[test]
fn copied_up_files_that_did_not_change_are_no_changes() {
    let base = tree(&[("d", dir()), ("d/a", file("a")), ("d/l", link("a"))]);
    let seen = diff(&base, &[("d", PLAIN), ("d/a", copied_up(&file("a"))), ("d/l", copied_up(&link("a")))]);
    assert_eq!(seen, [""; 0]);
}

#[test]
fn each_kind_of_change_has_its_name() {
    let base = tree(&[("a", file("a")), ("b", file("b")), ("d", dir()), ("e", file("e")), ("l", link("a"))]);
    let executable = UpperNode::File { mode: 0o755, size: 1, hash: Hash::of(b"b") };
    let nodes = [
        ("a", copied_up(&file("A"))),
        ("b", executable),
        ("c", copied_up(&file("c"))),
        ("d", UpperNode::Dir { mode: 0o700, opaque: false }),
        ("e", UpperNode::Whiteout),
        ("f", UpperNode::Special(SpecialKind::Fifo)),
        ("l", copied_up(&link("b"))),
    ];
    let expected = ["modified a", "mode b", "added c", "mode d", "deleted e", "refused f", "symlink l"];
    assert_eq!(diff(&base, &nodes), expected);
}

#[test]
fn a_deleted_directory_is_one_deletion_for_every_path_in_it() {
    let base =
        tree(&[("d", dir()), ("d-x", file("")), ("d/a", file("a")), ("d/s", dir()), ("d/s/b", file("b"))]);
    let expected = ["deleted d", "deleted d/a", "deleted d/s", "deleted d/s/b"];
    assert_eq!(diff(&base, &[("d", UpperNode::Whiteout)]), expected);
}

#[test]
fn an_opaque_directory_hides_what_it_does_not_bring_back() {
    let base =
        tree(&[("d", dir()), ("d/a", file("a")), ("d/b", file("b")), ("d/s", dir()), ("d/s/c", file("c"))]);
    let nodes = [("d", OPAQUE), ("d/a", copied_up(&file("a"))), ("d/s", PLAIN)];
    assert_eq!(diff(&base, &nodes), ["deleted d/b", "deleted d/s/c"]);
}

#[test]
fn types_change_into_each_other() {
    let base = tree(&[("d", dir()), ("d/a", file("a")), ("f", file("f")), ("l", link("f"))]);
    let nodes = [
        ("d", copied_up(&file("now a file"))),
        ("f", OPAQUE),
        ("f/x", copied_up(&file("x"))),
        ("l", copied_up(&file("now a file"))),
    ];
    assert_eq!(diff(&base, &nodes), ["modified d", "deleted d/a", "modified f", "added f/x", "modified l"]);
}

#[test]
fn set_id_bits_are_refused_even_when_nothing_else_changed() {
    let base = tree(&[("a", file("a")), ("d", dir())]);
    let nodes = [
        ("a", UpperNode::File { mode: 0o4644, size: 1, hash: Hash::of(b"a") }),
        ("d", UpperNode::Dir { mode: 0o2755, opaque: false }),
        ("d/x", copied_up(&file("x"))),
        ("new", UpperNode::Dir { mode: 0o2755, opaque: false }),
        ("new/x", copied_up(&file("x"))),
    ];
    assert_eq!(diff(&base, &nodes), ["refused a", "refused d", "added d/x", "refused new", "refused new/x"]);
}

#[test]
fn a_left_out_directory_counts_once_and_paths_of_the_base_are_never_left_out() {
    let base = tree(&[("out", dir()), ("out/kept", file("1"))]);
    let nodes = [
        ("build", PLAIN),
        ("build-log", copied_up(&file(""))),
        ("build/a", copied_up(&file(""))),
        ("build/s", PLAIN),
        ("build/s/b", copied_up(&file(""))),
        ("out", PLAIN),
        ("out/kept", copied_up(&file("2"))),
    ];
    let asked = Cell::new(0);
    let ignored = |at: &RelPath, is_dir: bool| {
        asked.set(asked.get() + 1);
        (at.as_bytes() == b"build" && is_dir) || at.as_bytes().starts_with(b"out")
    };
    let diff = between(&base, &upper(&nodes), &ignored);
    let paths: Vec<_> = diff.changes.iter().map(|change| change.path.to_string()).collect();
    assert_eq!((paths, diff.ignored, asked.get()), (vec!["build-log".to_owned(), "out/kept".into()], 1, 2));
}

#[test]
fn a_protected_directory_is_one_entry() {
    let nodes = [
        (".git", PLAIN),
        (".git/HEAD", copied_up(&file("ref"))),
        (".git/hooks", PLAIN),
        (".git/hooks/x", copied_up(&file("sh"))),
        ("a", copied_up(&file("a"))),
    ];
    let diff = between(&Tree::new(), &upper(&nodes), &|_, _| false);
    let shown: Vec<_> =
        diff.changes.iter().map(|change| (change.path.to_string(), change.stands_for)).collect();
    assert_eq!(shown, [(".git".to_owned(), 3), ("a".to_owned(), 0)]);
}

// === the property ===

/// A tree as nested values, so that every parent is a directory.
#[derive(Clone, Debug)]
enum Plant {
    File(u8, bool),
    Link(u8),
    Dir(bool, BTreeMap<u8, Plant>),
}

fn plant() -> impl Strategy<Value = Plant> {
    let leaf = prop_oneof![
        (0u8..3, any::<bool>()).prop_map(|(c, x)| Plant::File(c, x)),
        (0u8..3).prop_map(Plant::Link)
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        (any::<bool>(), proptest::collection::btree_map(0u8..5, inner, 0..4))
            .prop_map(|(m, held)| Plant::Dir(m, held))
    })
}

fn forest() -> impl Strategy<Value = Tree> {
    proptest::collection::btree_map(0u8..5, plant(), 0..5).prop_map(|held| {
        let mut tree = Tree::new();
        grow(None, &held, &mut tree);
        tree
    })
}

/// Names that sort around `/` and are refused nowhere.
const NAMES: [&str; 5] = ["a", "a-", "a0", "b\n", "-c"];

fn grow(at: Option<&RelPath>, held: &BTreeMap<u8, Plant>, tree: &mut Tree) {
    for (name, plant) in held {
        let path = RelPath::under(at, NAMES[usize::from(*name)].as_bytes()).unwrap();
        let node = match plant {
            Plant::File(content, executable) => Node::File {
                mode: if *executable { 0o755 } else { 0o644 },
                size: u64::from(*content),
                hash: Hash::of(&[*content]),
            },
            Plant::Link(target) => link(&format!("nowhere-{target}")),
            Plant::Dir(open, _) => Node::Dir { mode: if *open { 0o755 } else { 0o700 } },
        };
        tree.insert(&path, Entry { node, mtime_ns: 0 });
        if let Plant::Dir(_, held) = plant {
            grow(Some(&path), held, tree);
        }
    }
}

/// The upper layer that turns `base` into `work`. The choices are what a real overlay may or may not do:
/// copy up what did not change, and replace a directory instead of changing it.
fn layer(base: &Tree, work: &Tree, choose: &mut dyn FnMut() -> bool) -> UpperTree {
    let mut upper = UpperTree::new();
    let is_dir = |tree: &Tree, at: &RelPath| tree.get(at).is_some_and(|entry| entry.node.is_dir());
    for (at, entry) in work.iter() {
        let at = &at;
        let old = base.get(at).map(|entry| &entry.node);
        let hidden = at.ancestors().any(|above| {
            matches!(upper.get(&above), Some(UpperNode::Dir { opaque: true, .. })) || !is_dir(base, &above)
        });
        let needed = hidden || old != Some(&entry.node) || choose();
        let replaced = entry.node.is_dir() && (old.is_some_and(|old| !old.is_dir()) || choose());
        if needed || replaced {
            let node = match copied_up(&entry.node) {
                UpperNode::Dir { mode, .. } => UpperNode::Dir { mode, opaque: replaced },
                node => node,
            };
            upper.insert(at.clone(), node);
        }
    }
    for at in base.keys().filter(|at| !work.contains_key(at)) {
        let parent_stays = at.parent().is_none_or(|parent| is_dir(work, &parent));
        let hidden = at
            .ancestors()
            .any(|above| matches!(upper.get(&above), Some(UpperNode::Dir { opaque: true, .. })));
        if parent_stays && !hidden {
            upper.insert(at.clone(), UpperNode::Whiteout);
        }
    }
    // An upper layer holds the directories above everything in it.
    for at in upper.keys().cloned().collect::<Vec<_>>() {
        for above in at.ancestors() {
            let mode = work.get(&above).unwrap().node.mode();
            upper.entry(above).or_insert(UpperNode::Dir { mode, opaque: false });
        }
    }
    upper
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn applying_the_diff_gives_the_work(base in forest(), work in forest(), choices in proptest::collection::vec(any::<bool>(), 64)) {
        let mut choices = choices.into_iter().cycle();
        let upper = layer(&base, &work, &mut || choices.next().unwrap());
        let diff = between(&base, &upper, &|_, _| false);
        for change in &diff.changes {
            prop_assert_eq!(&change.refused, &None);
            prop_assert_ne!(change.before.as_ref(), change.result());
            prop_assert_eq!(change.before.as_ref(), base.get(&change.path).map(|entry| &entry.node));
        }
        let work: BTreeMap<_, _> = work.iter().map(|(at, entry)| (at, entry.node.clone())).collect();
        prop_assert_eq!(resulting(&base, &diff.changes), work);
    }

    #[test]
    fn what_is_not_refused_leaves_a_tree_that_can_stand(base in forest(), hostile in hostile_upper()) {
        let diff = between(&base, &hostile, &|_, _| false);
        let result = resulting(&base, &diff.changes);
        for (at, node) in &result {
            if let Some(parent) = at.parent() {
                prop_assert!(result.get(&parent).is_some_and(Node::is_dir), "{} has no parent", at);
            }
            if let Node::Symlink { target } = node {
                prop_assert!(!target.starts_with(b"/"), "{} leaves", at);
            }
            prop_assert!(at.components().all(|name| refuse::protected(name).is_none()), "{}", at);
        }
    }
}

/// An upper layer that no kernel would make: any node anywhere.
fn hostile_upper() -> impl Strategy<Value = UpperTree> {
    let names = prop_oneof![
        Just(".git"),
        Just("a"),
        Just("a-"),
        Just("b\n"),
        Just(".GIT"),
        Just("HEAD"),
        Just("objects"),
        Just("refs")
    ];
    let at = proptest::collection::vec(names, 1..4).prop_map(|names| path(&names.join("/")));
    let node = prop_oneof![
        Just(UpperNode::Whiteout),
        (any::<bool>(), any::<bool>())
            .prop_map(|(set, opaque)| UpperNode::Dir { mode: if set { 0o4755 } else { 0o755 }, opaque }),
        Just(UpperNode::File { mode: 0o644, size: 7, hash: Hash::of(b"hostile") }),
        prop_oneof![Just("/etc"), Just(".."), Just("a"), Just("a/../.."), Just("../a-/b\n"), Just(".")]
            .prop_map(|target| UpperNode::Symlink { target: target.into() }),
        Just(UpperNode::Special(SpecialKind::Socket)),
    ];
    proptest::collection::btree_map(at, node, 0..12)
}

mod seen {
    use super::*;

    /// `kind path: refusal` of each change in a workspace that also showed `seen`.
    fn diff(base: &Tree, seen: &[&str], nodes: &[(&str, UpperNode)]) -> Vec<String> {
        let seen: SeenFiles = seen.iter().map(|at| (path(at), file("shadow"))).collect();
        // A rule that leaves everything out: `.env` is in most projects' ignore files.
        let diff = between_seen(base, &seen, &upper(nodes), &|_, _| true);
        assert_eq!(diff.ignored, 0);
        assert!(
            diff.changes.iter().all(|change| !seen.contains_key(&change.path) || change.before.is_none())
        );
        let refusal = |change: &Change| change.refused.as_ref().map_or("", Refusal::name);
        diff.changes
            .iter()
            .map(|change| format!("{} {}: {}", change.kind(false), change.path, refusal(change)))
            .collect()
    }

    #[test]
    fn what_was_only_read_or_copied_up_is_no_change() {
        let base = tree(&[("a", dir()), ("a/x", file("x"))]);
        assert_eq!(diff(&base, &[".env", "a/.env"], &[]), [""; 0]);
        let touched =
            [(".env", copied_up(&file("shadow"))), ("a", PLAIN), ("a/.env", copied_up(&file("shadow")))];
        assert_eq!(diff(&base, &[".env", "a/.env"], &touched), [""; 0]);
    }

    #[test]
    fn every_change_is_refused_and_deletions_are_none_in_silence() {
        let base = tree(&[("a", dir()), ("a/x", file("x"))]);
        let mode = UpperNode::File { mode: 0o600, size: 6, hash: Hash::of(b"shadow") };
        for node in [
            UpperNode::Whiteout,
            copied_up(&file("other")),
            mode,
            copied_up(&dir()),
            copied_up(&link("a/x")),
            UpperNode::Special(SpecialKind::Fifo),
        ] {
            let changes = diff(&base, &["a/.env"], &[("a", PLAIN), ("a/.env", node.clone())]);
            assert_eq!(changes, ["refused a/.env: secret-file"], "{node:?}");
        }
    }

    #[test]
    fn a_directory_that_goes_with_a_secret_in_it_stays() {
        let base = tree(&[("a", dir()), ("a/b", dir()), ("a/b/x", file("x"))]);
        let changes = diff(&base, &["a/b/.env"], &[("a", UpperNode::Whiteout)]);
        let expected = [
            "refused a: still-holds",
            "refused a/b: still-holds",
            "refused a/b/.env: secret-file",
            "deleted a/b/x: ",
        ];
        assert_eq!(changes, expected);
        // Made anew, without what was in it.
        let changes = diff(&base, &["a/b/.env"], &[("a", PLAIN), ("a/b", OPAQUE)]);
        assert_eq!(changes, ["refused a/b/.env: secret-file", "deleted a/b/x: "]);
        assert_eq!(
            diff(&base, &["a/b/.env"], &[("a", PLAIN), ("a/b", copied_up(&link("x")))]),
            ["refused a/b: still-holds", "refused a/b/.env: secret-file", "deleted a/b/x: "]
        );
    }

    #[test]
    fn what_no_sandbox_saw_is_as_it_was() {
        let changes = between(&tree(&[]), &upper(&[(".env", UpperNode::Whiteout)]), &|_, _| false).changes;
        assert_eq!(changes, []);
        let made = between(&tree(&[]), &upper(&[(".env", copied_up(&file("x")))]), &|_, _| false).changes;
        assert_eq!(made[0].refused, None);
        // A file whose directory went with an application leaves nothing.
        assert_eq!(diff(&tree(&[]), &["gone/.env"], &[("gone", UpperNode::Whiteout)]), [""; 0]);
    }
}
