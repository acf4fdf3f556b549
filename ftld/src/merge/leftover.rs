//! What an application that was cut short left under names of its own.
//!
//! Owns those names and what becomes of each node that bears one. A draft is always ours and goes. Under a
//! temporary name lies something complete: ours, or what a step took the place of, which may be someone's work.
//! That gets its own name back where ours stands there, and is set aside and named otherwise. Nothing that may
//! be someone's is removed, and no draft ever comes into anybody's place.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;

use ftl_core::id::ApplyId;
use ftl_core::merge::Step;
use ftl_core::tree::{Node, RelPath};
use rustix::fs::{AtFlags, OFlags, RenameFlags, renameat_with, unlinkat};
use rustix::io::Errno;

use super::root::look_in;
use super::step::{Hand, give_back_for};
use super::{MergeError, io_error};

/// The end of a draft's name.
const DRAFT: &str = "new";
/// The end of a temporary name.
const TEMPORARY: &str = "tmp";
/// The end of the name of what was set aside.
const ASIDE: &str = "kept";
/// How often something is set aside for one step, at most.
const MOST_ASIDE: usize = 64;

/// What was found.
#[derive(Default)]
pub(super) struct Leftover {
    /// Someone's, set aside.
    pub(super) aside: Vec<RelPath>,
    /// Paths whose new state was made and never came into its place, with that state: if it stands there, it is
    /// someone's.
    pub(super) unreached: BTreeMap<RelPath, Node>,
}

/// The name under which a step's new state is made. An application's id is random, so that no file of the
/// user's has such a name.
pub(super) fn draft(id: &ApplyId, number: usize) -> String {
    format!("{}{number}.{DRAFT}", prefix(id))
}

/// The name of a step's new state when it is complete, and of what it took the place of.
pub(super) fn temporary(id: &ApplyId, number: usize) -> String {
    format!("{}{number}.{TEMPORARY}", prefix(id))
}

/// The numbers of paths' steps on the way back; those of the way there are the steps' own.
pub(super) fn back_numbers(steps: &[Step]) -> BTreeMap<&RelPath, usize> {
    let mut numbers = BTreeMap::new();
    for (number, step) in (steps.len()..).zip(steps) {
        numbers.entry(&step.path).or_insert(number);
    }
    numbers
}

/// Brings all that was left to rest.
pub(super) fn tidy(hand: &Hand<'_>, steps: &[Step]) -> Result<Leftover, MergeError> {
    let mut states: BTreeMap<&RelPath, Vec<&Option<Node>>> = BTreeMap::new();
    for step in steps {
        states.entry(&step.path).or_insert_with(|| vec![&step.before]).push(&step.after);
    }
    let mut left = Leftover::default();
    let dirs: BTreeSet<_> = steps.iter().map(|step| step.path.parent()).collect();
    for dir in dirs {
        let names = match hand.root.names(dir.as_ref()) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) => continue,
            names => names.map_err(io_error("list", show(dir.as_ref())))?,
        };
        let prefix = prefix(hand.id);
        let mut names = names.iter().filter(|name| name.starts_with(prefix.as_bytes())).peekable();
        if names.peek().is_none() {
            continue;
        }
        let parent = hand.root.open_beneath(dir.as_ref(), OFlags::PATH | OFlags::DIRECTORY);
        let parent = parent.map_err(io_error("enter", show(dir.as_ref())))?;
        let place = Place { hand, steps, states: &states, dir: dir.as_ref(), parent };
        for name in names {
            place.settle(name, &mut left).map_err(io_error("tidy", show(dir.as_ref())))?;
        }
    }
    Ok(left)
}

/// A directory in which something was left.
struct Place<'a> {
    hand: &'a Hand<'a>,
    steps: &'a [Step],
    states: &'a BTreeMap<&'a RelPath, Vec<&'a Option<Node>>>,
    dir: Option<&'a RelPath>,
    parent: OwnedFd,
}

impl Place<'_> {
    fn settle(&self, name: &[u8], left: &mut Leftover) -> std::io::Result<()> {
        let Some((number, kind)) = parse(self.hand.id, name) else {
            left.aside.extend(self.at(name));
            return Ok(());
        };
        let step = self.steps.get(number % self.steps.len().max(1));
        let step = step.filter(|step| step.path.parent().as_ref() == self.dir);
        let is_back = number >= self.steps.len();
        match (kind, step) {
            (DRAFT, step) => {
                if let Some(step) = step.filter(|_| !is_back) {
                    left.unreached.extend(step.after.clone().map(|after| (step.path.clone(), after)));
                }
                self.remove(name, number, left)
            }
            (TEMPORARY, Some(step)) => {
                let states = self.states.get(&step.path).map(Vec::as_slice).unwrap_or_default();
                let ours = if is_back { states.first().copied().unwrap_or(&None) } else { &step.after };
                // What cannot be read is nobody's that we know.
                let is_known = || {
                    let found = look_in(&self.parent, name);
                    found.is_ok_and(|found| found.is_none() || states.contains(&&found))
                };
                if !is_known() && (is_back || step.before.is_some()) {
                    let name = String::from_utf8_lossy(name);
                    give_back_for(&self.parent, &name, step.path.name(), ours.as_ref())?;
                }
                if !is_known() {
                    self.set_aside(name, number, left);
                    return Ok(());
                }
                if let (Some(after), false) = (&step.after, is_back)
                    && look_in(&self.parent, name)?.as_ref() == Some(after)
                {
                    left.unreached.insert(step.path.clone(), after.clone());
                }
                self.remove(name, number, left)
            }
            _ => {
                left.aside.extend(self.at(name));
                Ok(())
            }
        }
    }

    /// Removes what is ours. A directory that someone put something into is not.
    fn remove(&self, name: &[u8], number: usize, left: &mut Leftover) -> std::io::Result<()> {
        let removed = match unlinkat(&self.parent, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => unlinkat(&self.parent, name, AtFlags::REMOVEDIR),
            other => other,
        };
        match removed {
            Err(Errno::NOTEMPTY | Errno::EXIST) => self.set_aside(name, number, left),
            Err(Errno::NOENT) => {}
            other => other?,
        }
        Ok(())
    }

    /// Gives someone's work a name that no step uses, and tells of it.
    fn set_aside(&self, name: &[u8], number: usize, left: &mut Leftover) {
        for count in 0..MOST_ASIDE {
            let aside = format!("{}{number}-{count}.{ASIDE}", prefix(self.hand.id));
            match renameat_with(&self.parent, name, &self.parent, &aside, RenameFlags::NOREPLACE) {
                Ok(()) => return left.aside.extend(self.at(aside.as_bytes())),
                Err(Errno::EXIST) => {}
                Err(_) => break,
            }
        }
        left.aside.extend(self.at(name));
    }

    fn at(&self, name: &[u8]) -> Option<RelPath> {
        self.dir.map_or_else(|| RelPath::new(name).ok(), |dir| dir.join(name).ok())
    }
}

fn prefix(id: &ApplyId) -> String {
    format!(".ftl-{id}-")
}

/// The number in a name, and its end.
fn parse(id: &ApplyId, name: &[u8]) -> Option<(usize, &'static str)> {
    let rest = std::str::from_utf8(name).ok()?.strip_prefix(&prefix(id))?;
    let (number, end) = rest.split_once('.')?;
    let kind = [DRAFT, TEMPORARY].into_iter().find(|kind| *kind == end)?;
    Some((number.parse().ok()?, kind))
}

fn show(dir: Option<&RelPath>) -> String {
    dir.map_or_else(|| "the project's root".to_owned(), ToString::to_string)
}
