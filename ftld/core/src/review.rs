//! What a human is shown and what a human approves.
//!
//! Owns the digest over base and result, and the only way to an [`Approval`]: naming that digest, be it that
//! of a whole [`Review`] or of a [`Proposal`] made of parts of it. Whoever holds an approval holds exactly the
//! changes that were approved. Must not know who the human is or how the changes are shown.

mod choose;
mod join;
mod proposal;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::diff::Change;
use crate::id::{Digest, SessionId, SnapshotId};
use crate::merge::Conflicts;
use crate::refuse::{self, Refusal};
use crate::tree::{Node, RelPath, Tree};

pub use choose::LeftOut;
pub use join::Contents;
pub use proposal::{Contested, Item, Proposal, ProposeError, Resolution, Wanted};

/// Characters of a digest that name it.
pub const SHORTEST: usize = 12;

/// A session's changes, ready to be judged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Review {
    session: SessionId,
    base: SnapshotId,
    tree: Arc<Tree>,
    digest: Option<Digest>,
    changes: Vec<Change>,
}

/// The proof that a human approved these bytes. Only [`Review::approve`] and [`Proposal::approve`] make one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Approval {
    session: SessionId,
    digest: Digest,
    changes: Vec<Change>,
}

/// Why an approval is not one.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ApproveRefused {
    /// Every change is refused, or there is none.
    #[error("nothing in the session can be approved")]
    Nothing,
    /// Too few characters to name a digest.
    #[error("a digest is named by at least {SHORTEST} of its characters, {given:?} has fewer")]
    Short {
        /// What was given.
        given: String,
    },
    /// The digest is that of other bytes than those that would be applied.
    #[error("the digest {given:?} is not that of the changes as they are now")]
    Digest {
        /// What was given.
        given: String,
        /// What would be right for what is there now.
        current: Digest,
    },
    /// A path that did not change.
    #[error("{path} is not among the changes")]
    Unknown {
        /// Which.
        path: RelPath,
    },
    /// A path that can never be applied, or not without the changes that were left out.
    #[error("{path} is refused: {refusal}")]
    Refused {
        /// Which.
        path: RelPath,
        /// Why.
        refusal: Refusal,
    },
    /// All that was asked for must be named to be approved.
    #[error("{} must be named to be approved: {}", paths(.left.len()), list_left(.left))]
    Unnamed {
        /// Which, and why.
        left: Vec<LeftOut>,
    },
    /// The human has edited what was shown without those edits.
    #[error(transparent)]
    Moved(Conflicts),
    /// Conflicts with the human's own edits wait for a decision.
    #[error("conflicts with the project's own edits wait for a decision: {}", list(.at))]
    Open {
        /// Where.
        at: Vec<RelPath>,
    },
}

fn paths(count: usize) -> String {
    if count == 1 { "one path".to_owned() } else { format!("{count} paths") }
}

/// The first few in words.
fn first<T>(all: &[T], told: impl Fn(&T) -> String) -> String {
    let shown: Vec<String> = all.iter().take(5).map(told).collect();
    let more = if all.len() > shown.len() { ", \u{2026}" } else { "" };
    format!("{}{more}", shown.join(", "))
}

fn list(paths: &[RelPath]) -> String {
    first(paths, ToString::to_string)
}

fn list_left(left: &[LeftOut]) -> String {
    first(left, |one| format!("{} ({})", one.path, one.why))
}

/// The digest over everything that approving would allow: the session, the project, the base, and path,
/// before and after of every change that is not refused. `None` when there is no such change.
#[must_use]
pub fn digest(session: &SessionId, root: &[u8], base: SnapshotId, changes: &[Change]) -> Option<Digest> {
    let mut hasher = blake3::Hasher::new_derive_key("ftl review digest 1");
    let feed_bytes = |hasher: &mut blake3::Hasher, bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    };
    feed_bytes(&mut hasher, session.as_str().as_bytes());
    feed_bytes(&mut hasher, root);
    hasher.update(&base.0.0);
    let mut any = false;
    for change in changes.iter().filter(|change| change.refused.is_none()) {
        any = true;
        feed_bytes(&mut hasher, change.path.as_bytes());
        for node in [change.before.as_ref(), change.result()] {
            match node {
                Some(node) => node.feed(hasher.update(b"+")),
                None => drop(hasher.update(b"-")),
            }
        }
    }
    any.then(|| Digest(crate::id::Hash(*hasher.finalize().as_bytes())))
}

// === impl Review ===

impl Review {
    /// The review of a session's changes to the project at `root`. `tree` is what they were judged over:
    /// the base, with what was applied since.
    #[must_use]
    pub fn new(
        session: SessionId,
        root: &[u8],
        base: SnapshotId,
        tree: Arc<Tree>,
        changes: Vec<Change>,
    ) -> Self {
        let digest = digest(&session, root, base, &changes);
        Self { session, base, tree, digest, changes }
    }

    /// Whose changes.
    #[must_use]
    pub fn session(&self) -> &SessionId {
        &self.session
    }

    /// What they were made to.
    #[must_use]
    pub fn base(&self) -> SnapshotId {
        self.base
    }

    /// What to name for an approval; `None` when nothing can be approved.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// All of them, refused ones included, sorted by path.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Approves the changes at and beneath `paths`, or all of them when there are none, together with the
    /// new directories that they stand in. Refused changes are never among them.
    ///
    /// # Errors
    /// When the digest is not this review's, a path names nothing that can be applied, or something chosen
    /// could not be applied without what was left out.
    pub fn approve(&self, digest: &str, paths: &[RelPath]) -> Result<Approval, ApproveRefused> {
        let current = self.digest.ok_or(ApproveRefused::Nothing)?;
        if digest.len() < SHORTEST {
            return Err(ApproveRefused::Short { given: digest.to_owned() });
        }
        if !current.to_string().starts_with(digest) {
            let given = digest.chars().take(64).collect();
            return Err(ApproveRefused::Digest { given, current });
        }
        for path in paths {
            self.check_selects(path)?;
        }
        let changes = self.chosen(paths, &BTreeSet::new());
        self.check_alone(&changes)?;
        Ok(Approval { session: self.session.clone(), digest: current, changes })
    }

    /// The changes that `paths` select and `out` does not name, with the new directories that they stand in.
    fn chosen(&self, paths: &[RelPath], out: &BTreeSet<RelPath>) -> Vec<Change> {
        let wanted: BTreeSet<&RelPath> = paths.iter().collect();
        let selected = |change: &&Change| {
            let is_wanted = || {
                wanted.is_empty()
                    || wanted.contains(&change.path)
                    || change.path.ancestors().any(|above| wanted.contains(&above))
            };
            change.refused.is_none() && !out.contains(&change.path) && is_wanted()
        };
        let mut chosen: BTreeSet<&RelPath> = self.changes.iter().filter(selected).map(|c| &c.path).collect();
        let needed: BTreeSet<RelPath> = self
            .changes
            .iter()
            .filter(|change| chosen.contains(&change.path))
            .filter(|change| change.result().is_some())
            .flat_map(|change| change.path.ancestors())
            .collect();
        let is_new_dir = |change: &&Change| {
            change.result().is_some_and(Node::is_dir) && !change.before.as_ref().is_some_and(Node::is_dir)
        };
        let parents = self.changes.iter().filter(|change| needed.contains(&change.path)).filter(is_new_dir);
        chosen.extend(parents.map(|change| &change.path));
        self.changes.iter().filter(|change| chosen.contains(&change.path)).cloned().collect()
    }

    /// Judges a choice again: a symbolic link that stays inside together with everything else may lead out
    /// when another one keeps its old way.
    fn check_alone(&self, chosen: &[Change]) -> Result<(), ApproveRefused> {
        let all = self.changes.iter().filter(|change| change.refused.is_none()).count();
        if chosen.len() == all {
            return Ok(());
        }
        let mut judged: BTreeMap<_, _> = chosen.iter().map(|c| (c.path.clone(), c.clone())).collect();
        refuse::judge(&self.tree, &mut judged);
        match judged.into_values().find_map(|change| Some((change.path, change.refused?))) {
            Some((path, refusal)) => Err(ApproveRefused::Refused { path, refusal }),
            None => Ok(()),
        }
    }

    /// Whether a path selects something that can be applied.
    fn check_selects(&self, path: &RelPath) -> Result<(), ApproveRefused> {
        let mut refused = None;
        for change in &self.changes {
            if change.path != *path && !change.path.is_beneath(path) {
                continue;
            }
            match &change.refused {
                Some(refusal) if change.path == *path => {
                    return Err(ApproveRefused::Refused { path: path.clone(), refusal: refusal.clone() });
                }
                Some(refusal) => refused = Some((change.path.clone(), refusal.clone())),
                None => return Ok(()),
            }
        }
        Err(match refused {
            Some((path, refusal)) => ApproveRefused::Refused { path, refusal },
            None => ApproveRefused::Unknown { path: path.clone() },
        })
    }
}

// === impl Approval ===

impl Approval {
    /// Whose changes.
    #[must_use]
    pub fn session(&self) -> &SessionId {
        &self.session
    }

    /// The digest that was named, in full.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What was approved, sorted by path. None of it is refused.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diff::{After, SpecialKind, UpperNode, UpperTree, between};
    use crate::id::Hash;
    use crate::tree::Entry;

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

    fn approved(paths: &[&str]) -> Result<Vec<String>, ApproveRefused> {
        let review = review();
        let digest = review.digest().unwrap().to_string();
        let paths: Vec<_> = paths.iter().map(|text| path(text)).collect();
        let approval = review.approve(&digest[..12], &paths)?;
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
            let approval = review.approve(&digest, &paths);
            assert_eq!(approval.map(|approval| approval.changes().len()), expected, "{chosen:?}");
        }
    }

    #[test]
    fn only_the_whole_digest_or_a_long_start_of_it_approves() {
        let review = review();
        let digest = review.digest().unwrap().to_string();
        assert!(review.approve(&digest, &[]).is_ok());
        assert!(matches!(review.approve(&digest[..11], &[]), Err(ApproveRefused::Short { .. })));
        for wrong in ["000000000000", &format!("{digest}0"), &digest.to_uppercase(), &digest[1..]] {
            assert!(matches!(review.approve(wrong, &[]), Err(ApproveRefused::Digest { .. })), "{wrong}");
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
        assert_eq!(review.approve("000000000000", &[]), Err(ApproveRefused::Nothing));
    }
}
