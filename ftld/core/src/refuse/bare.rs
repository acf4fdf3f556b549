//! Directories that Git takes for a repository without any `.git` in their path.
//!
//! Owns the shape of such a directory. A person or an editor that enters one runs the commands its
//! configuration names, so every change to its vital parts is refused, also when the base already has it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Outcome, Refusal, fold};
use crate::tree::{RelPath, names_in};

/// What stands in a repository and is read by Git, folded.
const PARTS: [&str; 14] = [
    "branches",
    "commondir",
    "config",
    "config.worktree",
    "head",
    "hooks",
    "index",
    "info",
    "modules",
    "objects",
    "packed-refs",
    "refs",
    "shallow",
    "worktrees",
];

/// The standing changes that are part of a repository.
pub(super) fn repositories(outcome: &Outcome<'_>) -> BTreeMap<RelPath, Refusal> {
    let mut known: BTreeMap<Option<RelPath>, bool> = BTreeMap::new();
    let mut found = BTreeMap::new();
    for change in outcome.standing() {
        // A change is part of the repository at `D` when it is at or beneath `D/config` and the like.
        for at in std::iter::once(change.path.clone()).chain(change.path.ancestors()) {
            if !PARTS.contains(&fold(at.name()).as_ref()) {
                continue;
            }
            let dir = at.parent();
            let is_repository = *known.entry(dir).or_insert_with_key(|dir| has_shape(outcome, dir.as_ref()));
            if is_repository {
                found.insert(change.path.clone(), Refusal::BareRepository);
                break;
            }
        }
    }
    found
}

/// Whether the directory has a head and either its own objects and refs or a pointer to others.
fn has_shape(outcome: &Outcome<'_>, dir: Option<&RelPath>) -> bool {
    let names = outcome.base.names_in(dir).chain(names_in(outcome.changes, dir));
    let present =
        names.filter(|name| RelPath::under(dir, name).is_ok_and(|path| outcome.get(&path).is_some()));
    let folded: BTreeSet<_> = present.map(fold).collect();
    let has = |name: &str| folded.contains(name);
    has("head") && ((has("objects") && has("refs")) || has("commondir"))
}
