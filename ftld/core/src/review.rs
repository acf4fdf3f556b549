//! What a human is shown and what a human approves.
//!
//! Owns the digest over base and result, and the only way to an [`Approval`]: a [`Proposal`] made of a
//! [`Review`], and its digest named. Whoever holds an approval holds exactly the changes that were approved.
//! Must not know who the human is or how the changes are shown.

mod choose;
mod join;
mod onto;
mod proposal;

use std::sync::Arc;

use crate::diff::Change;
use crate::id::{Digest, SessionId, SnapshotId};
use crate::merge::Conflicts;
use crate::refuse::Refusal;
use crate::tree::{RelPath, Tree};

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

/// The proof that a human approved these bytes. Only [`Proposal::approve`] makes one.
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
pub(crate) mod tests;
