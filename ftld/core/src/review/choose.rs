//! Which changes a human means.
//!
//! Owns what a selection brings along, and that some paths must be named to be among it. Must not know what
//! makes a path one of those, or what is taken of a file.

use std::collections::{BTreeMap, BTreeSet};

use super::{ApproveRefused, Review, Wanted};
use crate::diff::{After, Change};
use crate::refuse;
use crate::tree::{Node, RelPath};

/// A path that was not named and needs to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeftOut {
    /// Which.
    pub path: RelPath,
    /// Why it must be named.
    pub why: String,
}

// === impl Review ===

impl Review {
    /// The changes that are wanted, and those that are left out because they must be named and are not. A path
    /// is named by itself or by one of its hunks, not by a directory above it; only who names a directory that
    /// goes names the removal of all that was in it.
    ///
    /// # Errors
    /// When a path names nothing that can be applied, or something chosen could not be applied without what
    /// is left out.
    pub fn select(
        &self,
        wanted: &Wanted,
        needs_naming: &dyn Fn(&Change) -> Option<String>,
    ) -> Result<(Vec<Change>, Vec<LeftOut>), ApproveRefused> {
        let named: Vec<RelPath> = wanted.paths.iter().chain(wanted.parts.keys()).cloned().collect();
        for path in &named {
            self.check_selects(path)?;
        }
        let exact: BTreeSet<RelPath> = named.iter().cloned().collect();
        let removed = self.changes.iter().filter(|change| change.after == After::Absent);
        let gone: BTreeSet<&RelPath> =
            removed.map(|change| &change.path).filter(|path| exact.contains(*path)).collect();
        let mut left_out = Vec::new();
        let named: Vec<RelPath> = named.iter().chain(&wanted.along).cloned().collect();
        let all = self.chosen(&named, &BTreeSet::new());
        let goes_with = |change: &Change| {
            change.after == After::Absent && change.path.ancestors().any(|above| gone.contains(&above))
        };
        for change in all.iter().filter(|change| !exact.contains(&change.path) && !goes_with(change)) {
            if let Some(why) = needs_naming(change) {
                left_out.push(LeftOut { path: change.path.clone(), why });
            }
        }
        if left_out.is_empty() {
            self.check_alone(&all)?;
            return if all.is_empty() { Err(ApproveRefused::Nothing) } else { Ok((all, left_out)) };
        }
        let mut out: BTreeSet<RelPath> = left_out.iter().map(|left| left.path.clone()).collect();
        let mut more = Vec::new();
        let dirs = all.iter().filter(|change| takes_the_place(change) && !exact.contains(&change.path));
        for change in dirs.filter(|change| !out.contains(&change.path)) {
            if out.iter().any(|path| path.is_beneath(&change.path)) {
                let why = match change.after {
                    After::Absent => "something in it must be named to go",
                    _ => "something in it must be named, and it takes the place of that",
                };
                more.push(LeftOut { path: change.path.clone(), why: why.to_owned() });
            }
        }
        left_out.extend(more);
        let places: Vec<&Change> =
            all.iter().filter(|change| makes_way(change) && out.contains(&change.path)).collect();
        for change in all.iter().filter(|change| !out.contains(&change.path)) {
            if let Some(dir) = places.iter().find(|dir| change.path.is_beneath(&dir.path)) {
                let why = format!("it takes the place of {}, which must be named", dir.path);
                left_out.push(LeftOut { path: change.path.clone(), why });
            }
        }
        left_out.sort_by(|one, other| one.path.cmp(&other.path));
        out.extend(left_out.iter().map(|left| left.path.clone()));
        out.extend(bare_dirs(&all, &out));
        let changes = self.chosen(&named, &out);
        if changes.is_empty() && left_out.is_empty() {
            return Err(ApproveRefused::Nothing);
        }
        self.check_alone(&changes)?;
        Ok((changes, left_out))
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

/// Whether a directory goes, and what is in it with it.
fn takes_the_place(change: &Change) -> bool {
    change.before.as_ref().is_some_and(Node::is_dir) && !change.result().is_some_and(Node::is_dir)
}

/// Whether a directory comes where something else is. What is in it cannot come without it.
fn makes_way(change: &Change) -> bool {
    change.before.as_ref().is_some_and(|node| !node.is_dir()) && change.result().is_some_and(Node::is_dir)
}

/// The new directories that would hold nothing but what is left out.
fn bare_dirs(all: &[Change], out: &BTreeSet<RelPath>) -> Vec<RelPath> {
    let above: BTreeSet<RelPath> = out.iter().flat_map(RelPath::ancestors).collect();
    let is_bare = |change: &Change| {
        let was_dir = change.before.as_ref().is_some_and(Node::is_dir);
        let becomes_dir = change.result().is_some_and(Node::is_dir);
        becomes_dir && !was_dir && above.contains(&change.path)
    };
    let stays = |change: &&Change| !out.contains(&change.path) && !is_bare(change);
    let held: BTreeSet<RelPath> = all
        .iter()
        .filter(stays)
        .filter(|change| change.result().is_some())
        .flat_map(|change| change.path.ancestors())
        .collect();
    all.iter()
        .filter(|change| is_bare(change) && !held.contains(&change.path))
        .map(|c| c.path.clone())
        .collect()
}
