//! What approving a part of a session's work would write into the project as it is now.
//!
//! Owns the joining of what a human chose with the edits that the human made meanwhile, and the digest over
//! the result: the exact bytes, over exactly what the host has. Must not know where contents lie ([`Contents`]
//! does), what makes a change risky, or how the result is shown.

use std::collections::{BTreeMap, BTreeSet};

use super::join::{Contents, Joined, Maker, Sides, after};
use super::{Approval, ApproveRefused, LeftOut, Review, SHORTEST, digest};
use crate::diff::{After, Change};
use crate::id::{Digest, Hash, SessionId, SnapshotId};
use crate::merge::{self, Conflicts, Host, Step};
use crate::select::{Choice, SelectError};
use crate::three::{Decision, ResolveError};
use crate::tree::{Node, RelPath};

/// What a human wants of a session's work.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wanted {
    /// Whole paths; a directory brings what is beneath it. With neither paths nor parts everything is wanted.
    pub paths: Vec<RelPath>,
    /// Some hunks of text files.
    pub parts: BTreeMap<RelPath, Vec<Choice>>,
    /// What becomes of conflicts with the human's own edits.
    pub resolutions: Vec<Resolution>,
    /// What new files were under another name: their hunks are those of the change since then.
    pub renamed: BTreeMap<RelPath, Node>,
    /// The other names of files that are named by one and found under two: they come along as if a directory
    /// above had been named, so what must be named itself is left out and told.
    pub along: BTreeSet<RelPath>,
}

/// What becomes of a conflict.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resolution {
    /// Where.
    pub path: RelPath,
    /// Which of the path's conflicts, from 1; 0 for all of them.
    pub number: u32,
    /// What becomes of it.
    pub decision: Decision,
}

/// What would be written, to be judged by a human.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proposal {
    session: SessionId,
    digest: Option<Digest>,
    whole: Option<Digest>,
    items: Vec<Item>,
    left_out: Vec<LeftOut>,
    made: BTreeMap<Hash, Vec<u8>>,
}

/// One path of a proposal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// From what the host has to what it will have. The two are equal where it already has it; while a conflict
    /// is open, the human's side stands for what is not decided.
    pub change: Change,
    /// What stood there before the session's part in it.
    pub base: Option<Node>,
    /// What stands there in the session's own view once this is applied: the human's edits are not in it.
    pub took: Option<Node>,
    /// Whether the result holds both the session's changes and the human's.
    pub merged: bool,
    /// Whether the human wrote a part of it in the review.
    pub edited: bool,
    /// Regions that both have changed, decided ones included.
    pub conflicts: Vec<Contested>,
}

/// A region that both have changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Contested {
    /// First line in the human's file, from 1; 0 for the path as a whole.
    pub line: u64,
    /// What the session started from.
    pub base: Vec<u8>,
    /// What the human's file has.
    pub ours: Vec<u8>,
    /// What the session has.
    pub theirs: Vec<u8>,
    /// What becomes of it; `None` while it is open.
    pub decision: Option<Decision>,
    /// Why there are no lines to choose from; only one side or the other fits then.
    pub whole: Option<&'static str>,
}

/// Why nothing can be proposed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProposeError {
    /// A path names nothing that can be applied.
    #[error(transparent)]
    Path(#[from] ApproveRefused),
    /// Hunks of something that has none.
    #[error("{path} is no text file before and after, so it can be taken as a whole only")]
    NoHunks {
        /// Which.
        path: RelPath,
    },
    /// A choice of hunks means nothing.
    #[error("what was chosen of {path} cannot be taken")]
    Select {
        /// Where.
        path: RelPath,
        /// Why.
        #[source]
        source: SelectError,
    },
    /// A decision about something that is no conflict, or no longer one.
    #[error("{path} has no conflict {number}")]
    NoConflict {
        /// Where.
        path: RelPath,
        /// What was given.
        number: u32,
    },
    /// A decision that does not fit the conflict.
    #[error("only one side or the other can be taken of {path}: {why}")]
    OneSide {
        /// Where.
        path: RelPath,
        /// Why.
        why: &'static str,
    },
    /// Decisions that make no text.
    #[error("the decisions about {path} do not go together")]
    Decisions {
        /// Where.
        path: RelPath,
        /// Why.
        #[source]
        source: ResolveError,
    },
    /// A content is not there, or not any more.
    #[error("{path} cannot be read, or changed while it was")]
    Unreadable {
        /// Where it was to be used.
        path: RelPath,
    },
    /// The project has become such that nothing can be written there.
    #[error(transparent)]
    Conflicts(#[from] Conflicts),
}

// === impl Wanted ===

impl Wanted {
    /// Lets each file that is named by one of two names come as a whole: the new name brings the removal of the
    /// old one, and the old one's removal the new file. `renames` has the old names by the new ones.
    pub fn bring_other_names<'a>(&mut self, renames: impl IntoIterator<Item = (&'a RelPath, &'a RelPath)>) {
        let named: BTreeSet<RelPath> = self.paths.iter().chain(self.parts.keys()).cloned().collect();
        for (new, old) in renames {
            match (named.contains(new), named.contains(old)) {
                (true, false) => self.along.insert(old.clone()),
                (false, true) => self.along.insert(new.clone()),
                _ => false,
            };
        }
    }
}

// === impl Proposal ===

impl Proposal {
    /// What taking `changes`, a selection of the review's, would write. `host` has what the project has at
    /// every path of [`merge::to_observe`].
    ///
    /// # Errors
    /// When a choice or a decision means nothing, a content cannot be read, or the project has become such
    /// that it cannot be written to there.
    pub fn new(
        review: &Review,
        root: &[u8],
        (changes, left_out): (Vec<Change>, Vec<LeftOut>),
        wanted: &Wanted,
        host: &Host,
        contents: &dyn Contents,
    ) -> Result<Self, ProposeError> {
        let mut maker = Maker { contents, wanted, made: BTreeMap::new() };
        let mut items = BTreeMap::new();
        for change in changes {
            let parts = wanted.parts.get(&change.path).filter(|_| !wanted.paths.contains(&change.path));
            let found = host.get(&change.path).and_then(Option::as_ref);
            items.insert(change.path.clone(), maker.item(change, parts, found)?);
        }
        maker.check_resolutions(&items)?;
        add_missing_dirs(review, host, &mut items);
        let items: Vec<Item> = items.into_values().collect();
        let proposal = Self::made_of((review.session(), root, review.base()), items, maker.made);
        let proposal = Self { whole: review.digest(), left_out, ..proposal };
        if proposal.digest.is_some() {
            // What stands above a path may be a link by now; better to know before it is approved.
            merge::check(&proposal.changes(), host)?;
        }
        Ok(proposal)
    }

    /// What taking back `steps` would write where the project has changed since they were done.
    ///
    /// # Errors
    /// Those of [`Proposal::new`].
    pub fn undo(
        (session, root, base): (&SessionId, &[u8], SnapshotId),
        steps: &[Step],
        host: &Host,
        contents: &dyn Contents,
    ) -> Result<Self, ProposeError> {
        let mut maker = Maker { contents, wanted: &Wanted::default(), made: BTreeMap::new() };
        let (was, became) = (merge::start(steps), merge::outcome(steps));
        let mut items = Vec::new();
        for (path, node) in &became {
            let found = host.get(path).and_then(Option::as_ref);
            let before = was.get(path).and_then(Option::as_ref);
            let sides = Sides { path, base: node.as_ref(), ours: found, theirs: before };
            let Joined { result, merged, conflicts } = maker.join(&sides)?;
            let change = Change::new(path, found, after(result));
            let (base, took) = (node.clone(), None);
            items.push(Item { change, base, took, merged, edited: false, conflicts });
        }
        let proposal = Self::made_of((session, root, base), items, maker.made);
        if proposal.digest.is_some() {
            merge::check(&proposal.changes(), host)?;
        }
        Ok(proposal)
    }

    fn made_of(
        (session, root, base): (&SessionId, &[u8], SnapshotId),
        items: Vec<Item>,
        made: BTreeMap<Hash, Vec<u8>>,
    ) -> Self {
        let changes: Vec<Change> = items.iter().map(|item| item.change.clone()).collect();
        let open = items.iter().any(Item::is_open);
        let digest = if open { None } else { digest(session, root, base, &changes) };
        Self { session: session.clone(), digest, whole: None, items, left_out: Vec::new(), made }
    }

    /// Whose work.
    #[must_use]
    pub fn session(&self) -> &SessionId {
        &self.session
    }

    /// What to name for an approval; `None` while a conflict is open, and when there is nothing.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// Its paths, sorted.
    #[must_use]
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// What is left out because it must be named, sorted by path.
    #[must_use]
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// Contents that neither the store nor the host has, and that must be kept before anything is written.
    #[must_use]
    pub fn made(&self) -> &BTreeMap<Hash, Vec<u8>> {
        &self.made
    }

    /// What the session has contributed once this is applied, where the plan's steps say something else: they
    /// lead to what the host has then, which may hold the human's edits too. `review` is the one that the
    /// proposal was made of.
    #[must_use]
    pub fn contributed(&self, review: &Review, steps: &[Step]) -> Vec<(RelPath, Option<Node>)> {
        let became = merge::outcome(steps);
        let mut took: BTreeMap<RelPath, Option<Node>> = BTreeMap::new();
        for item in &self.items {
            let path = &item.change.path;
            if became.get(path).unwrap_or(&item.base) != &item.took {
                took.insert(path.clone(), item.took.clone());
            }
        }
        // Directories that are only opened and closed again are none of the session's.
        let own: BTreeSet<&RelPath> = self.items.iter().map(|item| &item.change.path).collect();
        for (path, node) in became.into_iter().filter(|(path, _)| !own.contains(path)) {
            let before = review.tree.get(&path).map(|entry| entry.node.clone());
            if before != node {
                took.insert(path, before);
            }
        }
        took.into_iter().collect()
    }

    /// How many paths wait for a decision.
    #[must_use]
    pub fn open(&self) -> usize {
        self.items.iter().filter(|item| item.is_open()).count()
    }

    /// Approves it by its digest: the only way to an [`Approval`]. When nothing in it was edited, merged or decided, the digest of the whole
    /// diff that it is a part of will do.
    ///
    /// # Errors
    /// When the digest is another, a conflict is open, or the human's own edits are in the way of a digest
    /// that knows nothing of them.
    pub fn approve(&self, digest: &str) -> Result<Approval, ApproveRefused> {
        if digest.len() < SHORTEST {
            return Err(ApproveRefused::Short { given: digest.to_owned() });
        }
        if self.items.is_empty() {
            let left = self.left_out.clone();
            return Err(if left.is_empty() {
                ApproveRefused::Nothing
            } else {
                ApproveRefused::Unnamed { left }
            });
        }
        let digest = self.named(digest)?;
        Ok(Approval { session: self.session.clone(), digest, changes: self.changes() })
    }

    /// Which digest is named: this proposal's, or where that means the same, that of the whole diff.
    fn named(&self, digest: &str) -> Result<Digest, ApproveRefused> {
        let is = |known: Digest| known.to_string().starts_with(digest);
        if let Some(own) = self.digest.filter(|own| is(*own)) {
            return Ok(own);
        }
        if let Some(whole) = self.whole.filter(|whole| is(*whole)) {
            let moved = self.moved();
            if !moved.0.is_empty() {
                return Err(ApproveRefused::Moved(moved));
            }
            if !self.items.iter().any(|item| item.edited || !item.conflicts.is_empty()) {
                return Ok(whole);
            }
        }
        let given = digest.chars().take(64).collect();
        match self.digest {
            Some(current) => Err(ApproveRefused::Digest { given, current }),
            None => Err(ApproveRefused::Open { at: self.open_paths() }),
        }
    }

    /// Where the human's own edits are in the way of what was shown without them.
    fn moved(&self) -> Conflicts {
        let moved = self.items.iter().filter(|item| {
            let found = &item.change.before;
            *found != item.base && (item.merged || !item.conflicts.is_empty() || *found != item.took)
        });
        let conflict = |item: &Item| merge::Conflict {
            path: item.change.path.clone(),
            expected: item.base.clone(),
            found: item.change.before.clone(),
        };
        Conflicts(moved.map(conflict).collect())
    }

    fn open_paths(&self) -> Vec<RelPath> {
        self.items.iter().filter(|item| item.is_open()).map(|item| item.change.path.clone()).collect()
    }

    fn changes(&self) -> Vec<Change> {
        self.items.iter().map(|item| item.change.clone()).collect()
    }
}

/// Adds the directories that the human removed and that something would stand in.
fn add_missing_dirs(review: &Review, host: &Host, items: &mut BTreeMap<RelPath, Item>) {
    let lands =
        |item: &&Item| item.change.result().is_some() && item.change.result() != item.change.before.as_ref();
    let needed: BTreeSet<RelPath> =
        items.values().filter(lands).flat_map(|item| item.change.path.ancestors()).collect();
    for path in needed {
        let known = review.tree.get(&path).map(|entry| entry.node.clone());
        let is_missing = host.get(&path).is_some_and(Option::is_none) && !items.contains_key(&path);
        if let Some(node) = known.filter(|node| is_missing && node.is_dir()) {
            let change = Change::new(&path, None, After::Node(node.clone()));
            let (base, took) = (Some(node.clone()), Some(node));
            let item = Item { change, base, took, merged: true, edited: false, conflicts: Vec::new() };
            items.insert(path, item);
        }
    }
}

// === impl Item ===

impl Item {
    /// Whether something in it waits for a decision.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.conflicts.iter().any(|conflict| conflict.decision.is_none())
    }
}

#[cfg(test)]
mod tests;
