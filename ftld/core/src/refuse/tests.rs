//! What is refused, by tables.

use super::*;
use crate::diff::{UpperNode, UpperTree, between};
use crate::id::Hash;
use crate::tree::Entry;

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

/// A tree from lines: `dir/`, `link -> target`, or a file's path.
fn base(lines: &[&str]) -> Tree {
    let entry = |node| Entry { node, mtime_ns: 0 };
    let nodes = upper(lines).into_iter().map(|(at, node)| match node {
        UpperNode::Dir { mode, .. } => (at, entry(Node::Dir { mode })),
        UpperNode::Symlink { target } => (at, entry(Node::Symlink { target })),
        _ => (at, entry(Node::File { mode: 0o644, size: 0, hash: Hash::of(b"base") })),
    });
    nodes.collect()
}

/// An upper layer from the same lines, and `!path` for whiteouts.
fn upper(lines: &[&str]) -> UpperTree {
    let node = |line: &str| {
        if let Some((at, target)) = line.split_once(" -> ") {
            (path(at), UpperNode::Symlink { target: target.into() })
        } else if let Some(at) = line.strip_suffix('/') {
            (path(at), UpperNode::Dir { mode: 0o755, opaque: false })
        } else if let Some(at) = line.strip_prefix('!') {
            (path(at), UpperNode::Whiteout)
        } else {
            (path(line), UpperNode::File { mode: 0o644, size: 3, hash: Hash::of(b"new") })
        }
    };
    lines.iter().map(|line| node(line)).collect()
}

/// The refused changes, as `path: reason's name`.
fn refused(in_base: &[&str], in_upper: &[&str]) -> Vec<String> {
    let diff = between(&base(in_base), &upper(in_upper), &|_, _| false);
    let name =
        |change: &Change| change.refused.as_ref().map(|why| format!("{}: {}", change.path, why.name()));
    diff.changes.iter().filter_map(name).collect()
}

#[test]
fn links_that_stay_inside_stand() {
    let inside =
        ["a/", "a/up -> ../x", "a/here -> .", "self -> a/here/here/up", "gone -> no/such/thing", "x"];
    assert_eq!(refused(&[], &inside), [""; 0]);
}

#[test]
fn links_that_leave_are_refused_and_nothing_else_is() {
    for (links, expected) in [
        (&["etc -> /etc", "x"][..], &["etc: symlink-leaves"][..]),
        (&["up -> ..", "x"], &["up: symlink-leaves"]),
        (&["a/", "a/up -> ../../x"], &["a/up: symlink-leaves"]),
        // Each of the two stays inside by its text.
        (&["a -> d/e", "b -> a/../../x", "d/", "d/e -> ."], &["b: symlink-leaves"]),
        (&["d/", "d/e/", "d/e/s -> ../..", "out -> d/e/s/.."], &["out: symlink-leaves"]),
        (&["a -> b", "b -> a", "s -> s"], &["a: symlink-loops", "b: symlink-loops", "s: symlink-loops"]),
    ] {
        assert_eq!(refused(&[], links), expected, "{links:?}");
    }
}

#[test]
fn links_to_what_no_session_may_touch_are_refused_and_others_are_not() {
    let in_base = ["d/", "src/", "src/credentials/", "old -> .git/config"];
    for target in [
        ".git/config",
        ".GIT",
        "d/../.git/hooks/../../x",
        ".hg/hgrc",
        "d/.ftlignore",
        ".env",
        ".env/.",
        "d/server.key.bak",
        ".ssh/known_hosts",
        "old",
    ] {
        let link = format!("l -> {target}");
        assert_eq!(refused(&in_base, &["x", &link]), ["l: symlink-forbidden"], "{target}");
    }
    for target in [".gitignore", "src/credentials", "src/credentials/x.rs", "d/id_rsa.pub", "environment"] {
        let link = format!("l -> {target}");
        assert_eq!(refused(&in_base, &[&link]), [""; 0], "{target}");
    }
    // A link of the base that goes there speaks against no other change.
    assert_eq!(refused(&in_base, &["in -> d"]), [""; 0]);
    assert_eq!(refused(&["c -> d/x", "d/"], &["d/", "d/x -> ../.git"]), ["d/x: symlink-forbidden"]);
}

#[test]
fn a_link_that_makes_an_unchanged_one_leave_is_refused() {
    let in_base = ["a/", "a/b/", "a/b/x", "c/", "link -> a/b/../../x"];
    // `a/b` now leads to `c`, one level higher, so that `link` leads out.
    assert_eq!(refused(&in_base, &["a/", "a/b -> ../c"]), ["a/b: symlink-leaves"]);
}

#[test]
fn a_link_of_the_base_that_always_left_speaks_against_no_other_change() {
    assert_eq!(refused(&["out -> /mnt"], &["x", "in -> x"]), [""; 0]);
    assert_eq!(refused(&["out -> /mnt"], &["through -> out/x"]), ["through: symlink-leaves"]);
}

#[test]
fn a_nested_bare_repository_is_refused_and_its_neighbours_are_not() {
    let repository = ["d/", "d/HEAD", "d/config", "d/notes", "d/objects/", "d/refs/", "d/refs/x"];
    let expected =
        ["d/HEAD", "d/config", "d/objects", "d/refs", "d/refs/x"].map(|at| format!("{at}: bare-repository"));
    assert_eq!(refused(&[], &repository), expected);
    assert_eq!(refused(&["d/", "d/objects/", "d/refs/"], &["d/", "d/head"]), ["d/head: bare-repository"]);
    assert_eq!(refused(&[], &["d/", "d/HEAD", "d/commondir"]).len(), 2);
    assert_eq!(refused(&["HEAD", "objects/", "refs/"], &["config", "src"]), ["config: bare-repository"]);
    assert_eq!(refused(&[], &["d/", "d/HEAD", "d/objects/", "e/", "e/refs/"]), [""; 0]);
}

#[test]
fn what_a_refused_change_leaves_behind_is_refused_with_it() {
    // The directory stays because a protected file in it does.
    assert_eq!(
        refused(&["d/", "d/.ftlignore", "d/x"], &["!d"]),
        ["d: still-holds", "d/.ftlignore: protected-name"]
    );
    // `up` stays absent, so that nothing can stand in it. (No kernel makes such a layer.)
    assert_eq!(refused(&[], &["up -> ..", "up/x"]), ["up: symlink-leaves", "up/x: no-parent"]);
}

#[test]
fn special_nodes_are_refused_and_block_nothing() {
    for kind in [SpecialKind::Socket, SpecialKind::Fifo, SpecialKind::CharDevice, SpecialKind::BlockDevice] {
        let mut layer = upper(&["x"]);
        layer.insert(path("s"), UpperNode::Special(kind));
        let diff = between(&base(&["s"]), &layer, &|_, _| false);
        let seen: Vec<_> = diff.changes.iter().map(|change| change.refused.clone()).collect();
        assert_eq!(seen, [Some(Refusal::SpecialFile { kind }), None]);
    }
}

#[test]
fn new_names_that_some_host_takes_for_another_collide() {
    let in_base = base(&["Makefile", "d/", "d/x", "old"]);
    let layer = upper(&["makefile", "d/", "d/X", "d/y", "!old", "OLD", "caf\u{e9}", "cafe\u{301}"]);
    let diff = between(&in_base, &layer, &|_, _| false);
    let found: Vec<_> = risk::collisions(&in_base, &diff.changes).into_iter().collect();
    assert_eq!(found, ["cafe\u{301}", "caf\u{e9}", "d/X", "makefile"].map(path));
}

#[test]
fn hidden_characters_are_seen_in_any_encoding() {
    for hidden in
        [&b"a\x1b[1m"[..], b"\x9b31m", "\u{9b}".as_bytes(), b"a\rb", "a\u{200b}b".as_bytes(), b"\x08"]
    {
        assert!(hides_characters(hidden), "{}", hidden.escape_ascii());
    }
    for plain in [&b"a\tb\r\nc\n"[..], "h\u{f6}he".as_bytes(), b"h\xf6he"] {
        assert!(!hides_characters(plain), "{}", plain.escape_ascii());
    }
}
