//! Whole reviews: what can be chosen of one, what its digest covers, and the way to an approval.

use std::collections::BTreeSet;

use super::*;
use crate::diff::{After, SpecialKind, UpperNode, UpperTree, between};
use crate::id::Hash;
use crate::tree::{Entry, Node};

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

fn file(content: &[u8]) -> UpperNode {
    UpperNode::File { mode: 0o644, size: content.len() as u64, hash: Hash::of(content) }
}

const DIR: UpperNode = UpperNode::Dir { mode: 0o755, opaque: true };

fn base() -> Tree {
    let node = Node::File { mode: 0o644, size: 3, hash: Hash::of(b"old") };
    [(path("f"), Entry { node, mtime_ns: 0 })].into()
}

fn changes() -> Vec<Change> {
    let upper: UpperTree = [
        ("a", DIR),
        ("a-b", file(b"1")),
        ("a/b", DIR),
        ("a/b/c", file(b"2")),
        ("a/d", file(b"3")),
        ("f", DIR),
        ("f/g", file(b"4")),
        ("pipe", UpperNode::Special(SpecialKind::Fifo)),
        ("r", DIR),
        ("r/pipe", UpperNode::Special(SpecialKind::Fifo)),
    ]
    .map(|(at, node)| (path(at), node))
    .into();
    between(&base(), &upper, &|_, _| false).changes
}

fn review() -> Review {
    let session = SessionId::from_random([7; 10]);
    Review::new(session, b"/project", SnapshotId(Hash::of(b"base")), Arc::new(base()), changes())
}

/// No contents: for projects that are as the session's base.
struct Nowhere;

impl Contents for Nowhere {
    fn stored(&self, _: Hash) -> Option<Vec<u8>> {
        None
    }

    fn on_host(&self, _: &RelPath, _: Hash) -> Option<Vec<u8>> {
        None
    }
}

/// Selects some paths, proposes them for a project that is as the base, and approves that by a digest.
pub(crate) fn approve(review: &Review, digest: &str, paths: &[RelPath]) -> Result<Approval, ApproveRefused> {
    let wanted = Wanted { paths: paths.to_vec(), ..Wanted::default() };
    let selected = review.select(&wanted, &|_| None)?;
    let host = crate::merge::to_observe(selected.0.iter().map(|change| &change.path))
        .into_iter()
        .map(|path| (path.clone(), review.tree.get(&path).map(|entry| entry.node.clone())))
        .collect();
    match Proposal::new(review, b"/project", selected, &wanted, &host, &Nowhere) {
        Ok(proposal) => proposal.approve(digest),
        Err(ProposeError::Path(refused)) => Err(refused),
        Err(ProposeError::Conflicts(conflicts)) => Err(ApproveRefused::Moved(conflicts)),
        Err(other) => panic!("{other}"),
    }
}

fn approved(paths: &[&str]) -> Result<Vec<String>, ApproveRefused> {
    let review = review();
    let digest = review.digest().unwrap().to_string();
    let paths: Vec<_> = paths.iter().map(|text| path(text)).collect();
    let approval = approve(&review, &digest[..12], &paths)?;
    Ok(approval.changes().iter().map(|change| change.path.to_string()).collect())
}

#[test]
fn a_path_brings_what_is_beneath_it_and_the_new_directories_above() {
    assert_eq!(approved(&[]).unwrap(), ["a", "a-b", "a/b", "a/b/c", "a/d", "f", "f/g", "r"]);
    assert_eq!(approved(&["a/b/c"]).unwrap(), ["a", "a/b", "a/b/c"]);
    assert_eq!(approved(&["a"]).unwrap(), ["a", "a/b", "a/b/c", "a/d"]);
    assert_eq!(approved(&["f/g", "a-b"]).unwrap(), ["a-b", "f", "f/g"]);
}

#[test]
fn what_cannot_be_applied_is_named() {
    assert_eq!(approved(&["no"]), Err(ApproveRefused::Unknown { path: path("no") }));
    let refusal = Refusal::SpecialFile { kind: SpecialKind::Fifo };
    assert_eq!(approved(&["a", "pipe"]), Err(ApproveRefused::Refused { path: path("pipe"), refusal }));
    assert_eq!(approved(&["r"]).unwrap(), ["r"]);
}

#[test]
fn what_is_safe_only_with_the_rest_is_not_approved_alone() {
    let link = |target: &str| UpperNode::Symlink { target: target.into() };
    let entry = |node| Entry { node, mtime_ns: 0 };
    let base: Tree = [
        (path("s"), entry(Node::Symlink { target: b".".into() })),
        (path("t"), entry(Node::Dir { mode: 0o755 })),
    ]
    .into();
    let upper: UpperTree =
        [("s", DIR), ("s/t", DIR), ("x", file(b"1")), ("y", link("s/t/../../outside.txt"))]
            .map(|(at, node)| (path(at), node))
            .into();
    let changes = between(&base, &upper, &|_, _| false).changes;
    let (session, id) = (SessionId::from_random([7; 10]), SnapshotId(Hash::of(b"")));
    let review = Review::new(session, b"/project", id, Arc::new(base), changes);
    let digest = review.digest().unwrap().to_string();
    let leaves = Err(ApproveRefused::Refused { path: path("y"), refusal: Refusal::SymlinkLeaves });
    for (chosen, expected) in [
        (&[][..], Ok(4)),
        (&["s", "y"], Ok(3)),
        (&["s/t", "y"], Ok(3)),
        (&["x"], Ok(1)),
        (&["s"], Ok(2)),
        (&["y"], leaves.clone()),
        (&["x", "y"], leaves),
    ] {
        let paths: Vec<_> = chosen.iter().map(|text| path(text)).collect();
        let approval = approve(&review, &digest, &paths);
        assert_eq!(approval.map(|approval| approval.changes().len()), expected, "{chosen:?}");
    }
}

#[test]
fn only_the_whole_digest_or_a_long_start_of_it_approves() {
    let review = review();
    let digest = review.digest().unwrap().to_string();
    assert!(approve(&review, &digest, &[]).is_ok());
    assert!(matches!(approve(&review, &digest[..11], &[]), Err(ApproveRefused::Short { .. })));
    for wrong in ["000000000000", &format!("{digest}0"), &digest.to_uppercase(), &digest[1..]] {
        assert!(matches!(approve(&review, wrong, &[]), Err(ApproveRefused::Digest { .. })), "{wrong}");
    }
}

#[test]
fn the_digest_covers_all_that_would_be_written() {
    let session = |n| SessionId::from_random([n; 10]);
    let base = |text: &[u8]| SnapshotId(Hash::of(text));
    let mut digests = vec![
        digest(&session(1), b"/p", base(b""), &changes()),
        digest(&session(2), b"/p", base(b""), &changes()),
        digest(&session(1), b"/q", base(b""), &changes()),
        digest(&session(1), b"/p", base(b"x"), &changes()),
        digest(&session(1), b"/p", base(b""), &changes()[1..]),
    ];
    let one = changes().swap_remove(1);
    let file = |mode| After::Node(Node::File { mode, size: 1, hash: Hash::of(b"1") });
    for other in [
        Change { path: path("a-c"), ..one.clone() },
        Change { before: Some(Node::Dir { mode: 0 }), ..one.clone() },
        Change { after: After::Absent, ..one.clone() },
        Change { after: file(0o600), ..one.clone() },
        Change { after: file(0o755), ..one.clone() },
        Change { after: After::Node(Node::Symlink { target: b"1".into() }), ..one.clone() },
    ] {
        let mut edited = changes();
        edited[1] = other;
        digests.push(digest(&session(1), b"/p", base(b""), &edited));
    }
    let distinct: BTreeSet<_> = digests.iter().collect();
    assert_eq!(distinct.len(), digests.len());
    assert!(!digests.contains(&None));
}

#[test]
fn refused_changes_are_not_in_the_digest_and_alone_have_none() {
    let refused: Vec<_> = changes().into_iter().filter(|change| change.refused.is_some()).collect();
    let standing: Vec<_> = changes().into_iter().filter(|change| change.refused.is_none()).collect();
    let of = |changes: &[Change]| {
        digest(&SessionId::from_random([1; 10]), b"/p", SnapshotId(Hash::of(b"")), changes)
    };
    assert_eq!(of(&changes()), of(&standing));
    assert_eq!(of(&refused), None);
    let review = Review::new(
        SessionId::from_random([1; 10]),
        b"/p",
        SnapshotId(Hash::of(b"")),
        Arc::default(),
        refused,
    );
    assert_eq!(approve(&review, "000000000000", &[]), Err(ApproveRefused::Nothing));
}

#[test]
fn a_directory_that_goes_is_named_with_all_that_was_in_it() {
    let node = |node| Entry { node, mtime_ns: 0 };
    let old = Node::File { mode: 0o644, size: 3, hash: Hash::of(b"old") };
    let base: Tree = [
        (path("d"), node(Node::Dir { mode: 0o755 })),
        (path("d/big"), node(old.clone())),
        (path("d/small"), node(old.clone())),
        (path("e"), node(old)),
    ]
    .into();
    let upper: UpperTree =
        [("d", UpperNode::Whiteout), ("e", file(b"1"))].map(|(at, node)| (path(at), node)).into();
    let changes = between(&base, &upper, &|_, _| false).changes;
    let session = SessionId::from_random([7; 10]);
    let review = Review::new(session, b"/project", SnapshotId(Hash::of(b"b")), Arc::new(base), changes);
    let naming = |change: &Change| (change.path == path("d/big")).then(|| "it is large".to_owned());
    let select = |paths: &[&str]| {
        let wanted = Wanted { paths: paths.iter().map(|at| path(at)).collect(), ..Wanted::default() };
        let (taken, left) = review.select(&wanted, &naming).unwrap();
        let taken: Vec<_> = taken.iter().map(|change| change.path.to_string()).collect();
        let left: Vec<_> = left.iter().map(|left| left.path.to_string()).collect();
        (taken.join(" "), left.join(" "))
    };
    // The directory cannot go while something in it stays.
    assert_eq!(select(&[]), ("d/small e".to_owned(), "d d/big".to_owned()));
    assert_eq!(select(&["d"]), ("d d/big d/small".to_owned(), String::new()));
}
