//! What applying an approval does to the host, step by step, and how it is taken back.
//!
//! Owns the comparison of the host with what the session started from, the order of steps, and the way back
//! from any point between. Every step changes one path from one state to another, so that a look at the
//! host tells how far an application came. Must not know how a step is carried out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::diff::Change;
use crate::id::{Digest, SessionId};
use crate::review::Approval;
use crate::tree::{Node, RelPath};

/// What the host has at each path that was looked at; `None` is nothing.
pub type Host = BTreeMap<RelPath, Option<Node>>;

/// One path going from one state to another. Never both `None`, never equal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Step {
    /// Where.
    pub path: RelPath,
    /// What must be there.
    pub before: Option<Node>,
    /// What is there afterwards.
    pub after: Option<Node>,
}

/// The steps of one approval, in the order in which they can be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    session: SessionId,
    digest: Digest,
    steps: Vec<Step>,
    already: Vec<RelPath>,
}

/// A path where the host is not what the session started from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conflict {
    /// Where.
    pub path: RelPath,
    /// What the session started from.
    pub expected: Option<Node>,
    /// What the host has.
    pub found: Option<Node>,
}

/// All conflicts of a plan; nothing of it can be applied.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the project changed at {} since the session started: {}", paths(.0.len()), list(.0))]
pub struct Conflicts(pub Vec<Conflict>);

/// The way back from a point between.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rollback {
    /// What is left to do.
    pub steps: Vec<Step>,
    /// Paths that are in none of the states the application put them in; they are left alone.
    pub foreign: Vec<RelPath>,
}

/// What to look at before something is planned at these paths: they and the directories above them.
#[must_use]
pub fn to_observe<'a>(paths: impl IntoIterator<Item = &'a RelPath>) -> BTreeSet<RelPath> {
    paths.into_iter().flat_map(|path| std::iter::once(path.clone()).chain(path.ancestors())).collect()
}

/// Plans an approval for a host. A path that already is as approved needs no step.
///
/// # Errors
/// When the host differs from what the session started from, at an approved path or above one.
pub fn plan(approval: &Approval, host: &Host) -> Result<Plan, Conflicts> {
    let (mut moves, already) = moves(approval.changes(), host)?;
    open_parents(&mut moves, host);
    let (session, digest) = (approval.session().clone(), approval.digest());
    Ok(Plan { session, digest, steps: ordered(moves), already })
}

/// Whether changes could be planned for a host; for what nobody has approved yet.
///
/// # Errors
/// Those of [`plan`].
pub fn check(changes: &[Change], host: &Host) -> Result<(), Conflicts> {
    moves(changes, host).map(drop)
}

/// Each path that has to change, in one step, and those that are as they should be.
fn moves(changes: &[Change], host: &Host) -> Result<(Vec<Step>, Vec<RelPath>), Conflicts> {
    let on_host = |path: &RelPath| host.get(path).and_then(Option::as_ref);
    let becomes: BTreeMap<_, _> = changes.iter().map(|change| (&change.path, change.result())).collect();
    let mut conflicts = BTreeMap::new();
    let mut already = Vec::new();
    let mut moves = Vec::new();
    for change in changes {
        let (found, expected, result) = (on_host(&change.path), change.before.as_ref(), change.result());
        for above in change.path.ancestors() {
            let found = on_host(&above);
            let made = becomes.get(&above).copied().flatten().is_some_and(Node::is_dir);
            let missing_is_fine = found.is_none() && result.is_none();
            if !made && !missing_is_fine && !found.is_some_and(Node::is_dir) && !replaced(&becomes, &above) {
                let expected = Some(Node::Dir { mode: 0o755 });
                conflicts.insert(above.clone(), Conflict { path: above, expected, found: found.cloned() });
            }
        }
        if found == result {
            already.push(change.path.clone());
        } else if found == expected {
            moves.push(Step { path: change.path.clone(), before: found.cloned(), after: result.cloned() });
        } else {
            let (expected, found) = (expected.cloned(), found.cloned());
            let conflict = Conflict { path: change.path.clone(), expected, found };
            conflicts.insert(change.path.clone(), conflict);
        }
    }
    if !conflicts.is_empty() {
        return Err(Conflicts(conflicts.into_values().collect()));
    }
    Ok((moves, already))
}

/// The steps that take back all of `steps`.
#[must_use]
pub fn reverse(steps: &[Step]) -> Vec<Step> {
    let whole = chains(steps).into_iter().filter_map(|(path, states)| {
        Some(Step { path, before: states.last()?.clone(), after: states.first()?.clone() })
    });
    ordered(whole.collect())
}

/// The steps that lead back from wherever `host` stands among `steps`.
#[must_use]
pub fn rollback(steps: &[Step], host: &Host) -> Rollback {
    let mut back = Vec::new();
    let mut foreign = Vec::new();
    for (path, states) in chains(steps) {
        let found = host.get(&path).cloned().flatten();
        match states.first() {
            Some(first) if *first == found => {}
            Some(first) if states.contains(&found) => {
                back.push(Step { path, before: found, after: first.clone() });
            }
            _ => foreign.push(path),
        }
    }
    open_parents(&mut back, host);
    Rollback { steps: ordered(back), foreign }
}

/// What each path must be before the first step.
#[must_use]
pub fn start(steps: &[Step]) -> Host {
    chains(steps).into_iter().map(|(path, states)| (path, states.first().cloned().flatten())).collect()
}

/// What each path is when all steps are done.
#[must_use]
pub fn outcome(steps: &[Step]) -> Host {
    chains(steps).into_iter().map(|(path, states)| (path, states.last().cloned().flatten())).collect()
}

/// Adds a move that goes nowhere for each directory that holds a move, has none itself and does not let its
/// owner work in it: it is opened first and closed afterwards.
fn open_parents(moves: &mut Vec<Step>, host: &Host) {
    let moved: BTreeSet<_> = moves.iter().map(|step| &step.path).collect();
    let parents: BTreeSet<_> = moves.iter().filter_map(|step| step.path.parent()).collect();
    let closed = parents.into_iter().filter(|parent| !moved.contains(parent)).filter_map(|parent| {
        let node = host.get(&parent)?.clone()?;
        let is_closed = matches!(node, Node::Dir { mode } if usable(mode).as_ref() != Some(&node));
        is_closed.then(|| Step { path: parent, before: Some(node.clone()), after: Some(node) })
    });
    let closed: Vec<_> = closed.collect();
    moves.extend(closed);
}

/// Whether a change puts a file or link where `path` is; then what is beneath it goes, and the conflict, if
/// there is one, is told there.
fn replaced(becomes: &BTreeMap<&RelPath, Option<&Node>>, path: &RelPath) -> bool {
    becomes.get(path).is_some_and(|node| !node.is_some_and(Node::is_dir))
}

/// The states that each path goes through, the first one included.
fn chains(steps: &[Step]) -> BTreeMap<RelPath, Vec<Option<Node>>> {
    let mut chains: BTreeMap<RelPath, Vec<Option<Node>>> = BTreeMap::new();
    for step in steps {
        let states = chains.entry(step.path.clone()).or_insert_with(|| vec![step.before.clone()]);
        states.push(step.after.clone());
    }
    chains
}

/// Splits moves into steps that can be done one after the other: directories are opened to their owner,
/// what goes is removed from the deepest up, directories are made from the highest down, files and links
/// are put in place, and directories get their final modes.
fn ordered(moves: Vec<Step>) -> Vec<Step> {
    let [mut open, mut remove, mut make, mut put, mut close] = <[Vec<Step>; 5]>::default();
    for Step { path, before, after } in moves {
        let step = |before: &Option<Node>, after: &Option<Node>| Step {
            path: path.clone(),
            before: before.clone(),
            after: after.clone(),
        };
        let mut at = before;
        if let Some(Node::Dir { mode }) = at {
            let opened = usable(mode);
            if opened != at {
                open.push(step(&at, &opened));
                at = opened;
            }
        }
        let (from_dir, to_dir) = (is_dir(&at), is_dir(&after));
        if at.is_some() && (after.is_none() || from_dir != to_dir) {
            remove.push(step(&at, &None));
            at = None;
        }
        match &after {
            Some(Node::Dir { mode }) => {
                if at.is_none() {
                    make.push(step(&at, &usable(*mode)));
                    at = usable(*mode);
                }
                if at != after {
                    close.push(step(&at, &after));
                }
            }
            Some(_) => put.push(step(&at, &after)),
            None => {}
        }
    }
    open.sort_by(|a, b| a.path.cmp(&b.path));
    remove.sort_by(|a, b| b.path.cmp(&a.path));
    make.sort_by(|a, b| a.path.cmp(&b.path));
    put.sort_by(|a, b| a.path.cmp(&b.path));
    close.sort_by(|a, b| b.path.cmp(&a.path));
    [open, remove, make, put, close].concat()
}

/// A directory in which its owner can work.
#[expect(clippy::unnecessary_wraps, reason = "a state of a path, like all others here")]
fn usable(mode: u32) -> Option<Node> {
    Some(Node::Dir { mode: mode | 0o700 })
}

fn is_dir(node: &Option<Node>) -> bool {
    node.as_ref().is_some_and(Node::is_dir)
}

fn paths(count: usize) -> String {
    if count == 1 { "one path".to_owned() } else { format!("{count} paths") }
}

/// The first few conflicts in words.
fn list(conflicts: &[Conflict]) -> String {
    let shown: Vec<_> = conflicts.iter().take(5).map(ToString::to_string).collect();
    let more = if conflicts.len() > shown.len() { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

// === impl Plan ===

impl Plan {
    /// Whose approval it carries out.
    #[must_use]
    pub fn session(&self) -> &SessionId {
        &self.session
    }

    /// The digest that was approved.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The steps, in the order in which they can be done.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether every step is one that this approval allows: it leads to what was approved at its path, or
    /// opens a directory and closes it again.
    #[must_use]
    pub fn is_of(&self, approval: &Approval) -> bool {
        let approved: BTreeMap<_, _> =
            approval.changes().iter().map(|change| (&change.path, change.result())).collect();
        let allowed = |states: &[Option<Node>], path: &RelPath| {
            let last = states.last().and_then(Option::as_ref);
            approved.get(path) == Some(&last) || states.first().and_then(Option::as_ref) == last
        };
        self.session == *approval.session()
            && self.digest == approval.digest()
            && chains(&self.steps).iter().all(|(path, states)| allowed(states, path))
    }

    /// Approved paths that already were as approved.
    #[must_use]
    pub fn already(&self) -> &[RelPath] {
        &self.already
    }
}

// === impl Conflict ===

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match (&self.expected, &self.found) {
            (Some(_), None) => "is gone",
            (None, Some(_)) => "is there now",
            (Some(Node::File { .. }), Some(Node::File { .. })) => "was edited",
            (Some(Node::Dir { .. }), Some(Node::Dir { .. })) => "has another mode",
            _ => "is something else now",
        };
        write!(f, "{} {what}", self.path)
    }
}

#[cfg(test)]
mod tests;
