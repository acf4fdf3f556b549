//! Which trees of this daemon's an engine has.
//!
//! Owns what is known of them, what is sent and what may go. Must not know sessions. A tree is named by all that
//! it holds and is never written again, so that whoever needs the same one has it; a keeper, with which no
//! program of an agent ever ran, says what is on the engine's disk, and only what it then finds is used.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ftl_guest::tree::{Answer, Order};

use super::keeper::{KeeperError, Line, unexpected};
use super::survey::{self, Stamp, Survey};

/// The most trees that a new one is compared with.
const COMPARED: usize = 8;

/// The trees of one engine.
#[derive(Default)]
pub(super) struct Stock {
    /// What the engine has, by name, when it was asked.
    there: Option<BTreeMap<String, Tree>>,
    /// What directories of this machine hold.
    surveys: BTreeMap<PathBuf, (Stamp, Arc<Survey>)>,
    used: Uses,
}

/// A tree that the engine has.
struct Tree {
    /// The directory that it was made of.
    of: PathBuf,
    /// What it holds; known once it was compared or sent.
    survey: Option<Arc<Survey>>,
}

/// How many sandboxes use a tree.
type Uses = Arc<Mutex<BTreeMap<String, usize>>>;

/// Trees that are used as long as this lives.
#[derive(Default)]
pub(super) struct Held {
    names: Vec<String>,
    uses: Uses,
}

/// A directory whose tree is wanted.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Where it is.
    pub(super) dir: PathBuf,
    /// Whether nothing in it changes as long as it is there.
    pub(super) settled: bool,
}

impl Stock {
    /// Forgets what the engine has: it may have lost it.
    pub(super) fn doubt(&mut self) {
        self.there = None;
    }

    /// Sees that the engine has the trees of these directories, and gives their names in the same order. What
    /// nobody wants any more is removed.
    ///
    /// # Errors
    /// When one of them cannot be had.
    pub(super) fn provide(&mut self, line: &mut Line, wanted: &[Wanted]) -> Result<Held, KeeperError> {
        let mut held = Held { names: Vec::new(), uses: Arc::clone(&self.used) };
        self.ask(line)?;
        for one in wanted {
            let survey = self.survey(one)?;
            self.send(line, &one.dir, &survey)?;
            held.hold(&survey.name);
        }
        self.tidy(line)?;
        Ok(held)
    }

    /// Asks what there is, once.
    fn ask(&mut self, line: &mut Line) -> Result<(), KeeperError> {
        if self.there.is_some() {
            return Ok(());
        }
        let names = match line.ask(&Order::Names)? {
            Answer::Names(names) => names,
            other => return Err(unexpected(other)),
        };
        let trees = names.into_iter().map(|(name, of)| (name, Tree { of: of.into(), survey: None }));
        self.there = Some(trees.collect());
        Ok(())
    }

    fn survey(&mut self, wanted: &Wanted) -> Result<Arc<Survey>, KeeperError> {
        let failed = |source| KeeperError::File { path: wanted.dir.clone(), source };
        let stamp = survey::stamp_of(&wanted.dir).map_err(failed)?;
        let before = self.surveys.get(&wanted.dir);
        if let Some((_, survey)) = before.filter(|(of, _)| wanted.settled && *of == stamp) {
            return Ok(Arc::clone(survey));
        }
        let before = before.map(|(_, survey)| &**survey);
        let survey = Arc::new(Survey::of(&wanted.dir, before).map_err(failed)?);
        self.surveys.insert(wanted.dir.clone(), (stamp, Arc::clone(&survey)));
        Ok(survey)
    }

    /// Sends a tree that is not there, or not as it must be.
    fn send(&mut self, line: &mut Line, dir: &Path, survey: &Arc<Survey>) -> Result<(), KeeperError> {
        let there = self.there.get_or_insert_default();
        if let Some(tree) = there.get_mut(&survey.name) {
            if tree.survey.as_ref().is_some_and(|known| known.seal == survey.seal) {
                return Ok(());
            }
            // An earlier daemon's: its own word counts for nothing.
            match line.ask(&Order::Check { name: survey.name.clone() })? {
                Answer::Seal(found) if found == survey.seal => {
                    *tree = Tree { of: dir.to_owned(), survey: Some(Arc::clone(survey)) };
                    return Ok(());
                }
                Answer::Seal(_) | Answer::Absent => drop(there.remove(&survey.name)),
                other => return Err(unexpected(other)),
            }
        }
        let is_kin = |of: &Path| of.parent() == dir.parent() || of.file_name() == dir.file_name();
        let (kin, others): (Vec<_>, Vec<_>) = there.iter().partition(|(_, tree)| is_kin(&tree.of));
        let candidates = kin.into_iter().chain(others);
        let candidates = candidates.filter_map(|(name, tree)| Some((name, tree.survey.as_ref()?)));
        let compared =
            candidates.take(COMPARED).filter_map(|(name, other)| Some((name, survey.beyond(other)?)));
        let nearest = compared.min_by_key(|(_, difference)| difference.send.len());
        let (like, difference) = nearest.map(|(name, difference)| (name.clone(), difference)).unzip();
        let note = dir.to_string_lossy().into_owned();
        let order = Order::Layer { name: survey.name.clone(), like, note };
        match line.give(&order, dir, difference)? {
            Answer::Seal(found) if found == survey.seal => {
                let tree = Tree { of: dir.to_owned(), survey: Some(Arc::clone(survey)) };
                there.insert(survey.name.clone(), tree);
                Ok(())
            }
            Answer::Seal(_) => Err(KeeperError::Failed {
                what: format!("{} did not arrive as it was sent", dir.display()),
                source: std::io::ErrorKind::InvalidData.into(),
            }),
            other => Err(unexpected(other)),
        }
    }

    /// Removes what is not used and was made of a directory that is not there any more, or holds something else
    /// by now.
    fn tidy(&mut self, line: &mut Line) -> Result<(), KeeperError> {
        self.surveys.retain(|dir, _| dir.symlink_metadata().is_ok());
        let used = lock(&self.used).clone();
        let there = self.there.get_or_insert_default();
        let is_old = |name: &String, tree: &Tree| match self.surveys.get(&tree.of) {
            Some((_, survey)) => survey.name != *name,
            None => tree.of.symlink_metadata().is_err(),
        };
        let old = there.iter().filter(|(name, tree)| !used.contains_key(*name) && is_old(name, tree));
        for name in old.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            match line.ask(&Order::Remove { name: name.clone() })? {
                Answer::Done => drop(there.remove(&name)),
                other => return Err(unexpected(other)),
            }
        }
        Ok(())
    }
}

impl Held {
    /// The trees' names.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    fn hold(&mut self, name: &str) {
        *lock(&self.uses).entry(name.to_owned()).or_default() += 1;
        self.names.push(name.to_owned());
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut uses = lock(&self.uses);
        for name in &self.names {
            let left = uses.get(name).map_or(0, |count| count - 1);
            if left == 0 {
                uses.remove(name);
            } else {
                uses.insert(name.clone(), left);
            }
        }
    }
}

fn lock(uses: &Mutex<BTreeMap<String, usize>>) -> MutexGuard<'_, BTreeMap<String, usize>> {
    uses.lock().unwrap_or_else(PoisonError::into_inner)
}
