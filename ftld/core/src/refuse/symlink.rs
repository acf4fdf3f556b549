//! Where symbolic links lead in the tree that a change would leave.
//!
//! Owns the resolution, component by component, through every other link of that tree. A link that leads
//! out only together with others is as bad as one that says so openly. So is one that leads to a name that
//! is never written or kept from every session: who writes or reads the link would touch what stands there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::secret::keeps_secrets;
use super::{Outcome, Refusal, protected};
use crate::diff::Change;
use crate::tree::{Node, RelPath};

/// Links that may be followed on one way; the kernel has the same limit.
const MOST_LINKS: usize = 40;
/// Components that may be walked on one way.
const MOST_STEPS: usize = 1024;

/// The standing changes of links that must go: those that lead out, nowhere or where they may not, and
/// those through which an unchanged link of the base does.
pub(super) fn leaving(outcome: &Outcome<'_>) -> BTreeMap<RelPath, Refusal> {
    let changed = all(outcome);
    let mut found = BTreeMap::new();
    if changed.is_empty() {
        return found;
    }
    let kept = outcome.base.links().map(|(path, _)| path).filter(|path| !changed.contains_key(path));
    for path in kept.chain(changed.keys().cloned()) {
        let Some(Node::Symlink { target }) = outcome.get(&path) else { continue };
        let mut through = BTreeSet::from([path.clone()]);
        if let Err(refusal) = resolve(outcome, &path, target, &mut through) {
            // A link of the base cannot be refused; the changed ones that turned its way are.
            match changed.contains_key(&path) {
                true => through = BTreeSet::from([path]),
                false => through.retain(|link| changed.contains_key(link)),
            }
            found.extend(through.into_iter().map(|link| (link, refusal.clone())));
        }
    }
    found
}

/// Every standing change that leaves a link.
pub(super) fn all(outcome: &Outcome<'_>) -> BTreeMap<RelPath, Refusal> {
    let is_link = |change: &&Change| matches!(change.result(), Some(Node::Symlink { .. }));
    outcome.standing().filter(is_link).map(|change| (change.path.clone(), Refusal::SymlinkLoops)).collect()
}

/// Where a link leads in the end (`None` is the root); nothing for what is no link, or leads nowhere.
pub(super) fn end(outcome: &Outcome<'_>, link: &RelPath) -> Option<Option<RelPath>> {
    let Some(Node::Symlink { target }) = outcome.get(link) else { return None };
    resolve(outcome, link, target, &mut BTreeSet::from([link.clone()])).ok()
}

/// Follows a link to its end. What is missing on the way is taken for a directory: it may be made later.
fn resolve(
    outcome: &Outcome<'_>,
    link: &RelPath,
    target: &[u8],
    through: &mut BTreeSet<RelPath>,
) -> Result<Option<RelPath>, Refusal> {
    let mut at = link.parent();
    let mut todo: VecDeque<Vec<u8>> = VecDeque::new();
    let mut links = 1;
    follow(target, &mut todo)?;
    for _ in 0..MOST_STEPS {
        let Some(name) = todo.pop_front() else {
            return may_end(outcome, at.as_ref()).map(|()| at);
        };
        match name.as_slice() {
            b"" | b"." => {}
            b".." => at = at.ok_or(Refusal::SymlinkLeaves)?.parent(),
            name if protected(name).is_some() => return Err(Refusal::SymlinkForbidden),
            name => {
                // A name no file system holds leads nowhere.
                let Ok(path) = RelPath::under(at.as_ref(), name) else { return Err(Refusal::SymlinkLoops) };
                if let Some(Node::Symlink { target }) = outcome.get(&path) {
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(Refusal::SymlinkLoops);
                    }
                    through.insert(path);
                    follow(target, &mut todo)?;
                } else {
                    at = Some(path);
                }
            }
        }
    }
    Err(Refusal::SymlinkLoops)
}

/// Whether a link may lead to a path.
fn may_end(outcome: &Outcome<'_>, at: Option<&RelPath>) -> Result<(), Refusal> {
    let is_dir = |path| outcome.get(path).is_some_and(Node::is_dir);
    match at {
        Some(path) if keeps_secrets(path, is_dir(path)) => Err(Refusal::SymlinkForbidden),
        _ => Ok(()),
    }
}

/// Puts a target's components before those that are left.
fn follow(target: &[u8], todo: &mut VecDeque<Vec<u8>>) -> Result<(), Refusal> {
    if target.first() == Some(&b'/') {
        return Err(Refusal::SymlinkLeaves);
    }
    for component in target.split(|byte| *byte == b'/').rev() {
        todo.push_front(component.to_vec());
    }
    Ok(())
}
