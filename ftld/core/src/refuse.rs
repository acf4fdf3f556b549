//! Which changes are never applied, and which ones a human should look at twice.
//!
//! Owns the rules by name, type, mode and symbolic link, and that what remains after refusing is still a
//! tree that can be applied. A refused entry never blocks the rest of a change. The lists of names are
//! data: `host_exec.txt` and `secret.txt` beside this module. Must not know contents, except for the facts
//! that [`Content`] carries.

mod around;
mod bare;
mod manifest;
mod name;
mod pattern;
mod risk;
mod secret;
mod symlink;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::diff::{After, Change, SpecialKind};
use crate::tree::{Node, RelPath, Tree};

pub use around::{Around, Surroundings, Sweep};
pub use manifest::{Touched, touched};
pub use name::{fold, protected};
pub(crate) use risk::hides_characters;
pub use risk::{Content, Risk, risks};
pub use secret::{KEY_WINDOW, holds_private_key, secret_at_end};

/// Why a change is never applied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// A component of the path is a protected name, or folds to one somewhere.
    ProtectedName {
        /// The name that is protected.
        name: &'static str,
    },
    /// A secret file of the project, of which the session saw a copy with shadows.
    SecretFile,
    /// The path is part of a directory that Git would take for a repository and run commands from.
    BareRepository,
    /// A socket, FIFO or device.
    SpecialFile {
        /// Which.
        kind: SpecialKind,
    },
    /// Set-user-id, set-group-id or sticky bits.
    SpecialBits {
        /// The bits, at most `0o7000`.
        mode: u32,
    },
    /// A symbolic link that leads out of the project, alone or together with others.
    SymlinkLeaves,
    /// A symbolic link that leads round in circles, or through too many others.
    SymlinkLoops,
    /// A symbolic link that leads to a protected name, or to one that secrets are kept under.
    SymlinkForbidden,
    /// The directory it would stand in is not there when the refused changes are left out.
    NoParent,
    /// It removes a directory that still holds something, because that thing's change is refused.
    StillHolds,
}

/// The tree that applying every change that is not refused leaves.
pub(crate) struct Outcome<'a> {
    pub(crate) base: &'a Tree,
    pub(crate) changes: &'a BTreeMap<RelPath, Change>,
}

/// Marks every change that must not be applied. What remains can be applied: every parent is a directory,
/// no directory is removed that still holds something, no symbolic link leaves the tree.
pub(crate) fn judge(base: &Tree, changes: &mut BTreeMap<RelPath, Change>) {
    for change in changes.values_mut() {
        if let Some(refusal) = by_itself(change) {
            change.refused.get_or_insert(refusal);
        }
    }
    let found = bare::repositories(&Outcome { base, changes });
    refuse(changes, found);
    while settle(base, changes) {}
    // A symbolic link that falls away puts the base's node back, which may turn another one's way. Each
    // round refuses at least one; after a few the remaining links are not worth a hostile tree's time.
    for round in 0.. {
        let outcome = Outcome { base, changes };
        let found = if round < 8 { symlink::leaving(&outcome) } else { symlink::all(&outcome) };
        if found.is_empty() {
            break;
        }
        refuse(changes, found);
        while settle(base, changes) {}
    }
}

/// The changes as a list in which a protected directory is one entry that stands for all beneath it.
pub(crate) fn gather(changes: BTreeMap<RelPath, Change>) -> Vec<Change> {
    let covering = |path: &RelPath| {
        let protected = |change: &&Change| {
            matches!(change.refused, Some(Refusal::ProtectedName { .. }))
                && change.result().is_some_and(Node::is_dir)
        };
        path.ancestors().filter(|above| changes.get(above).as_ref().is_some_and(protected)).last()
    };
    let mut covered: BTreeMap<RelPath, u64> = BTreeMap::new();
    let mut hidden = BTreeSet::new();
    for path in changes.keys() {
        if let Some(above) = covering(path) {
            *covered.entry(above).or_default() += 1;
            hidden.insert(path.clone());
        }
    }
    let shown = changes.into_values().filter(|change| !hidden.contains(&change.path));
    shown
        .map(|change| Change { stands_for: covered.get(&change.path).copied().unwrap_or(0), ..change })
        .collect()
}

/// What speaks against a change whatever else changes.
fn by_itself(change: &Change) -> Option<Refusal> {
    if let Some(name) = change.path.components().find_map(protected) {
        return Some(Refusal::ProtectedName { name });
    }
    match change.after {
        After::Special(kind) => Some(Refusal::SpecialFile { kind }),
        After::Absent | After::Node(_) => None,
    }
}

fn refuse(changes: &mut BTreeMap<RelPath, Change>, found: BTreeMap<RelPath, Refusal>) {
    for (path, refusal) in found {
        if let Some(change) = changes.get_mut(&path) {
            change.refused.get_or_insert(refusal);
        }
    }
}

/// Refuses what cannot stand beside the refusals so far. Says whether it found something.
fn settle(base: &Tree, changes: &mut BTreeMap<RelPath, Change>) -> bool {
    let mut found = BTreeMap::new();
    let staying = changes.values().filter(|change| change.refused.is_some() && change.before.is_some());
    let holding: BTreeSet<RelPath> = staying.flat_map(|change| change.path.ancestors()).collect();
    let outcome = Outcome { base, changes };
    for change in changes.values().filter(|change| change.refused.is_none()) {
        let remains_dir = change.result().is_some_and(Node::is_dir);
        if !remains_dir && holding.contains(&change.path) {
            found.insert(change.path.clone(), Refusal::StillHolds);
        } else if change.result().is_some() && !outcome.has_parent(&change.path) {
            found.insert(change.path.clone(), Refusal::NoParent);
        }
    }
    let any = !found.is_empty();
    refuse(changes, found);
    any
}

// === impl Outcome ===

impl<'a> Outcome<'a> {
    /// What stands at a path in the end.
    pub(crate) fn get(&self, path: &RelPath) -> Option<&'a Node> {
        match self.changes.get(path) {
            Some(change) if change.refused.is_none() => change.result(),
            _ => self.base.get(path).map(|entry| &entry.node),
        }
    }

    /// The changes that are not refused.
    pub(crate) fn standing(&self) -> impl Iterator<Item = &'a Change> {
        self.changes.values().filter(|change| change.refused.is_none())
    }

    fn has_parent(&self, path: &RelPath) -> bool {
        path.parent().is_none_or(|parent| self.get(&parent).is_some_and(Node::is_dir))
    }
}

// === impl Refusal ===

impl Refusal {
    /// A stable name for programs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::ProtectedName { .. } => "protected-name",
            Self::SecretFile => "secret-file",
            Self::BareRepository => "bare-repository",
            Self::SpecialFile { .. } => "special-file",
            Self::SpecialBits { .. } => "special-bits",
            Self::SymlinkLeaves => "symlink-leaves",
            Self::SymlinkLoops => "symlink-loops",
            Self::SymlinkForbidden => "symlink-forbidden",
            Self::NoParent => "no-parent",
            Self::StillHolds => "still-holds",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ProtectedName { name } => {
                write!(f, "`{name}`, or a name that some system takes for it, is never written")
            }
            Self::SecretFile => f.write_str(
                "the project has a secret file here, of which the sandbox saw a copy with shadows",
            ),
            Self::BareRepository => f.write_str("Git would take its directory for a repository and obey it"),
            Self::SpecialFile { kind } => write!(f, "{kind} is never written"),
            Self::SpecialBits { mode } => {
                let names = [(0o4000, "set-user-id"), (0o2000, "set-group-id"), (0o1000, "sticky")];
                let set: Vec<_> = names.iter().filter(|(bit, _)| mode & bit != 0).map(|(_, n)| *n).collect();
                write!(f, "its mode has the {} bit", set.join(" and "))
            }
            Self::SymlinkLeaves => f.write_str("the symbolic link leads out of the project"),
            Self::SymlinkLoops => f.write_str("the symbolic link leads round in circles"),
            Self::SymlinkForbidden => f.write_str("the symbolic link leads to what no session may touch"),
            Self::NoParent => {
                f.write_str("the directory it would stand in is not part of what can be applied")
            }
            Self::StillHolds => f.write_str("it still holds something whose change is refused"),
        }
    }
}

#[cfg(test)]
mod tests;
