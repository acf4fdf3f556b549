//! One path of a proposal: what was chosen of it, joined with the human's own edits.
//!
//! Owns the choice of hunks, the three-way merge of a path with what was decided about its conflicts, and the
//! contents that come of both. Must not know which paths are wanted or what a digest is.

use std::collections::BTreeMap;

use super::proposal::{Contested, Item, ProposeError, Resolution};
use crate::diff::{After, Change};
use crate::hunk::{Elided, Limits};
use crate::id::Hash;
use crate::select::{Choice, SelectError, select};
use crate::three::{self, Decision, NodeMerge, NotMergeable, merge_nodes};
use crate::tree::{Node, RelPath};

/// Where contents are.
pub trait Contents {
    /// A content that the store has; `None` when it cannot be read.
    fn stored(&self, hash: Hash) -> Option<Vec<u8>>;

    /// What the project has at a path, if it still is what this hash says.
    fn on_host(&self, path: &RelPath, hash: Hash) -> Option<Vec<u8>>;
}

/// A side of a merge whose content may have been made just now.
pub(super) struct Sides<'a> {
    pub(super) path: &'a RelPath,
    pub(super) base: Option<&'a Node>,
    pub(super) ours: Option<&'a Node>,
    pub(super) theirs: Option<&'a Node>,
}

/// What a merge makes of a path.
pub(super) struct Joined {
    pub(super) result: Option<Node>,
    pub(super) merged: bool,
    pub(super) conflicts: Vec<Contested>,
}

/// Makes proposals: what is read and what is made meanwhile.
pub(super) struct Maker<'a> {
    pub(super) contents: &'a dyn Contents,
    pub(super) resolutions: &'a [Resolution],
    pub(super) made: BTreeMap<Hash, Vec<u8>>,
}

/// What the host has that no plan knows, such as a socket.
const UNKNOWN: &str = "the project has something there that is neither file, directory nor link";

/// What stands at a path, as a change says it.
pub(super) fn after(node: Option<Node>) -> After {
    node.map_or(After::Absent, After::Node)
}

/// The bytes of a file, as its node says.
fn size(node: Option<&Node>) -> u64 {
    match node {
        Some(Node::File { size, .. }) => *size,
        _ => 0,
    }
}

fn is_file_or_nothing(node: Option<&Node>) -> bool {
    matches!(node, None | Some(Node::File { .. }))
}

// === impl Maker ===

impl Maker<'_> {
    /// One selected change, joined with what the host has.
    pub(super) fn item(
        &mut self,
        change: Change,
        parts: Option<&Vec<Choice>>,
        found: Option<&Node>,
    ) -> Result<Item, ProposeError> {
        let (took, wanted) = match parts {
            Some(choices) => self.part(&change, choices)?,
            None => (change.result().cloned(), change.result().cloned()),
        };
        let base = change.before;
        let edited = took != wanted;
        let sides = Sides { path: &change.path, base: base.as_ref(), ours: found, theirs: wanted.as_ref() };
        let Joined { result, merged, conflicts } = self.join(&sides)?;
        let change = Change::new(&change.path, found, after(result));
        Ok(Item { change, base, took, merged, edited, conflicts })
    }

    /// What the chosen hunks make of a file: without and with what the human wrote in place of some.
    fn part(
        &mut self,
        change: &Change,
        choices: &[Choice],
    ) -> Result<(Option<Node>, Option<Node>), ProposeError> {
        let path = &change.path;
        let (before, result) = (change.before.as_ref(), change.result());
        if !is_file_or_nothing(before) || !is_file_or_nothing(result) {
            return Err(ProposeError::NoHunks { path: path.clone() });
        }
        let limits = Limits::default();
        if size(before).saturating_add(size(result)) > limits.bytes {
            let source = SelectError::Whole(Elided::TooLarge);
            return Err(ProposeError::Select { path: path.clone(), source });
        }
        let (old, new) = (self.stored(path, before)?, self.stored(path, result)?);
        let plain: Vec<Choice> =
            choices.iter().map(|choice| Choice { edited: None, ..choice.clone() }).collect();
        let mut node = |choices: &[Choice]| -> Result<Option<Node>, ProposeError> {
            let content = select(&old, &new, limits, choices)
                .map_err(|source| ProposeError::Select { path: path.clone(), source })?;
            if content == new {
                return Ok(result.cloned());
            }
            if content == old {
                return Ok(before.cloned());
            }
            let mode = before.or(result).map_or(0o644, Node::mode);
            Ok(Some(self.file(mode, content)))
        };
        Ok((node(&plain)?, node(choices)?))
    }

    /// Joins the human's side with the session's.
    pub(super) fn join(&mut self, sides: &Sides<'_>) -> Result<Joined, ProposeError> {
        let Sides { path, base, ours, theirs } = *sides;
        if ours == base || ours == theirs {
            return Ok(Joined { result: theirs.cloned(), merged: false, conflicts: Vec::new() });
        }
        if matches!(ours, Some(Node::Symlink { target }) if target.contains(&0)) {
            return self.one_side(sides, UNKNOWN);
        }
        match merge_nodes(base, ours, theirs) {
            NodeMerge::Take(result) => Ok(Joined { result, merged: true, conflicts: Vec::new() }),
            NodeMerge::Conflict(clash) => self.one_side(sides, clash.reason()),
            NodeMerge::Contents { mode } => {
                let file = |node: Option<&'_ Node>| matches!(node, Some(Node::File { .. }));
                let base = base.filter(|node| file(Some(node)));
                let limits = Limits::default();
                let largest = size(base).max(size(ours)).max(size(theirs));
                if largest.saturating_mul(2) > limits.bytes {
                    return self.one_side(sides, NotMergeable(Elided::TooLarge).0.reason());
                }
                let hash = ours.and_then(Node::hash).ok_or_else(|| unreadable(path))?;
                let our = self.contents.on_host(path, hash).ok_or_else(|| unreadable(path))?;
                let (old, their) = (self.stored(path, base)?, self.stored(path, theirs)?);
                match three::merge(&old, &our, &their, limits) {
                    Ok(merged) => self.lines(path, mode, &merged),
                    Err(NotMergeable(why)) => self.one_side(sides, why.reason()),
                }
            }
        }
    }

    /// A path of which only one side or the other can be taken.
    fn one_side(&self, sides: &Sides<'_>, why: &'static str) -> Result<Joined, ProposeError> {
        let decision = self.decision(sides.path, 1);
        let result = match decision {
            None | Some(Decision::Ours) => sides.ours,
            Some(Decision::Theirs) if why != UNKNOWN => sides.theirs,
            Some(_) => return Err(ProposeError::OneSide { path: sides.path.clone(), why }),
        };
        let contested = Contested {
            line: 0,
            base: Vec::new(),
            ours: Vec::new(),
            theirs: Vec::new(),
            decision: decision.cloned(),
            whole: Some(why),
        };
        Ok(Joined { result: result.cloned(), merged: true, conflicts: vec![contested] })
    }

    /// The merged lines, with what was decided about those that conflict.
    fn lines(&mut self, path: &RelPath, mode: u32, merged: &three::Merged) -> Result<Joined, ProposeError> {
        let mut conflicts = Vec::new();
        for (conflict, number) in merged.conflicts().zip(1..) {
            conflicts.push(Contested {
                line: conflict.line,
                base: conflict.base.clone(),
                ours: conflict.ours.clone(),
                theirs: conflict.theirs.clone(),
                decision: self.decision(path, number).cloned(),
                whole: None,
            });
        }
        let decided: Vec<Decision> =
            conflicts.iter().map(|conflict| conflict.decision.clone().unwrap_or(Decision::Ours)).collect();
        let content = merged
            .resolve(&decided)
            .map_err(|source| ProposeError::Decisions { path: path.clone(), source })?;
        Ok(Joined { result: Some(self.file(mode, content)), merged: true, conflicts })
    }

    /// What was decided about a conflict; the last word counts.
    fn decision(&self, path: &RelPath, number: u32) -> Option<&Decision> {
        let fits = |one: &&Resolution| one.path == *path && (one.number == number || one.number == 0);
        self.resolutions.iter().rev().find(fits).map(|one| &one.decision)
    }

    /// Every decision must be about something.
    pub(super) fn check_resolutions(&self, items: &BTreeMap<RelPath, Item>) -> Result<(), ProposeError> {
        for one in self.resolutions {
            let count = items.get(&one.path).map_or(0, |item| item.conflicts.len());
            if count == 0 || usize::try_from(one.number).is_ok_and(|number| number > count) {
                return Err(ProposeError::NoConflict { path: one.path.clone(), number: one.number });
            }
        }
        Ok(())
    }

    /// A file that may be new.
    fn file(&mut self, mode: u32, content: Vec<u8>) -> Node {
        let hash = Hash::of(&content);
        let node = Node::File { mode, size: content.len() as u64, hash };
        self.made.insert(hash, content);
        node
    }

    /// The content of a file that is not the host's; nothing where there is none.
    fn stored(&self, path: &RelPath, node: Option<&Node>) -> Result<Vec<u8>, ProposeError> {
        let Some(hash) = node.and_then(Node::hash) else { return Ok(Vec::new()) };
        let made = self.made.get(&hash).cloned();
        made.or_else(|| self.contents.stored(hash)).ok_or_else(|| unreadable(path))
    }
}

fn unreadable(path: &RelPath) -> ProposeError {
    ProposeError::Unreadable { path: path.clone() }
}
