//! Finishing what a crash cut short.
//!
//! Owns the way back from an open journal: paths that are as the application left them go back, paths that
//! it had not reached stay, and paths that someone else wrote since are left alone and named.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::PoisonError;

use ftl_core::id::{ApplyId, Hash};
use ftl_core::merge::{Step, rollback, start};
use ftl_core::tree::RelPath;

use super::engine::flush;
use super::journal::{Record, Stage};
use super::leftover::{back_numbers, tidy};
use super::root::{Identity, Root};
use super::step::{Done, Hand};
use super::{Blobs, Merge, MergeError, Recovered, io_error};

/// The paths that were put back, and those that someone else has written since.
type Outcome = (Vec<RelPath>, Vec<RelPath>);

impl Merge {
    /// Says which project applications are to. A journal that cannot be read may not say it, and then holds up
    /// that project alone.
    pub fn are_to(&self, projects: impl IntoIterator<Item = (ApplyId, Identity)>) {
        self.projects.lock().unwrap_or_else(PoisonError::into_inner).extend(projects);
    }

    /// Rolls back every application that a crash cut short. One that cannot be finished, or whose journal cannot
    /// be read, is reported and tried again next time.
    ///
    /// # Errors
    /// When the journals cannot be listed.
    pub fn recover(&self, store: &dyn Blobs) -> Result<Vec<Recovered>, MergeError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = self.journals.dir().display();
        for id in self.journals.list(Stage::Done).map_err(io_error("list", &dir))? {
            if let Err(error) = self.journals.finish(&id) {
                // It took place all the same.
                tracing::warn!(apply = %id, %error, "the journal of an application could not be closed");
            }
        }
        if let Err(error) = self.journals.sweep() {
            tracing::warn!(%error, "what is left of journals could not be removed");
        }
        let mut recovered = Vec::new();
        for id in self.journals.open().map_err(io_error("list", &dir))? {
            match self.journals.read(&id, Stage::Open) {
                Ok(None) => {}
                Ok(Some(record)) => recovered.push(self.recover_one(&record, store)),
                Err(source) => {
                    let failed = Some(self.journals.unreadable(&id, source));
                    let (restored, foreign) = Outcome::default();
                    recovered.push(Recovered { id, session: None, restored, foreign, failed });
                }
            }
        }
        Ok(recovered)
    }

    /// Removes the journals of applications that are over and that nobody will ask about again.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub fn forget(&self, ids: &BTreeSet<ApplyId>) -> Result<(), MergeError> {
        for id in ids {
            self.journals.forget(id).map_err(io_error("remove the journal of", id))?;
        }
        Ok(())
    }

    /// Removes the journals of applications that are over and are not among these. To be called when every
    /// session is at rest.
    ///
    /// # Errors
    /// When they cannot be listed or removed.
    pub fn forget_all_but(&self, kept: &BTreeSet<ApplyId>) -> Result<(), MergeError> {
        let mut over = BTreeSet::new();
        for stage in [Stage::Done, Stage::Undone] {
            let listed = self.journals.list(stage);
            over.extend(listed.map_err(io_error("list", self.journals.dir().display()))?);
        }
        self.forget(&over.difference(kept).cloned().collect())
    }

    /// Contents that putting back what is open may need.
    ///
    /// # Errors
    /// When the journals cannot be read.
    pub fn needed(&self) -> Result<BTreeSet<Hash>, MergeError> {
        let open = self.journals.open().map_err(io_error("list", self.journals.dir().display()))?;
        let mut needed = BTreeSet::new();
        for id in open {
            let read = self.journals.read(&id, Stage::Open);
            let steps =
                read.map_err(|source| self.journals.unreadable(&id, source))?.map(|record| record.steps);
            for step in steps.into_iter().flatten() {
                needed.extend([step.before, step.after].into_iter().filter_map(|node| node?.hash()));
            }
        }
        Ok(needed)
    }

    fn recover_one(&self, record: &Record, store: &dyn Blobs) -> Recovered {
        let finish = || {
            let root = Root::open_as(Path::new(OsStr::from_bytes(&record.root.0)), record.identity)?;
            let _locked = root.lock()?;
            self.put_back(record, &root, store)
        };
        let (outcome, failed) = match finish() {
            Ok(outcome) => (outcome, None),
            Err(error) => (Default::default(), Some(error)),
        };
        let (restored, foreign) = outcome;
        Recovered { id: record.id.clone(), session: Some(record.session.clone()), restored, foreign, failed }
    }

    /// Brings a project to rest before it is looked at for a plan: a plan made from half of an earlier
    /// application would find conflicts that are none.
    ///
    /// # Errors
    /// When an earlier application of it can neither be finished nor taken back.
    pub fn bring_to_rest(&self, root: &Root, store: &dyn Blobs) -> Result<(), MergeError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let _locked = root.lock()?;
        self.settle(root, store)
    }

    /// Brings every journal of a project to rest that an earlier failure left open, so that nothing new is
    /// built on half of something old. The caller holds the turn and the project's lock.
    pub(super) fn settle(&self, root: &Root, store: &dyn Blobs) -> Result<(), MergeError> {
        let open = self.journals.open().map_err(io_error("list", self.journals.dir().display()))?;
        for id in open {
            let read = match self.journals.read(&id, Stage::Open) {
                Err(_) if self.is_elsewhere(&id, root) => continue,
                read => read.map_err(|source| self.journals.unreadable(&id, source))?,
            };
            let Some(record) = read.filter(|record| record.identity == root.identity()) else { continue };
            match self.put_back(&record, root, store) {
                Ok((_, foreign)) => {
                    for path in foreign {
                        tracing::warn!(apply = %id, %path, "left alone: someone else wrote it since");
                    }
                }
                Err(source) => return Err(MergeError::Unfinished { id, source: Box::new(source) }),
            }
        }
        Ok(())
    }

    /// Whether a journal that cannot be read is known to be of another project.
    fn is_elsewhere(&self, id: &ApplyId, root: &Root) -> bool {
        let known = self.projects.lock().unwrap_or_else(PoisonError::into_inner).get(id).copied();
        known.or_else(|| self.journals.project_of(id)).is_some_and(|project| project != root.identity())
    }

    /// Rolls an application back and closes its journal.
    fn put_back(&self, record: &Record, root: &Root, store: &dyn Blobs) -> Result<Outcome, MergeError> {
        let hand = Hand { root, store, id: &record.id, kept: &record.kept, probe: &|_| Ok(()) };
        let outcome = self.roll_back(&hand, &record.steps)?;
        self.close(record)?;
        Ok(outcome)
    }

    /// Puts back every path that is between the first and the last state of its steps. Says which were put
    /// back, and which are in no state of theirs.
    pub(super) fn roll_back(&self, hand: &Hand<'_>, steps: &[Step]) -> Result<Outcome, MergeError> {
        let left = tidy(hand, steps)?;
        let first = start(steps);
        let now = hand.root.observe(first.keys())?;
        // Someone made the same change; ours never came there.
        let is_theirs = |path: &RelPath| {
            let ours = left.unreached.get(path);
            ours.is_some() && now.get(path).and_then(Option::as_ref) == ours
        };
        let steps_of_ours: Vec<Step> = steps.iter().filter(|step| !is_theirs(&step.path)).cloned().collect();
        let back = rollback(&steps_of_ours, &now);
        let mut foreign = back.foreign;
        foreign.extend(first.keys().filter(|path| is_theirs(path)).cloned());
        let numbers = back_numbers(steps);
        for step in &back.steps {
            // A directory above that is opened for this has none, and needs none.
            let number = numbers.get(&step.path).copied().unwrap_or_default();
            if hand.perform(number, step)? == Done::NotEmpty {
                foreign.push(step.path.clone());
            }
        }
        flush(hand.root, &back.steps)?;
        let restored: BTreeSet<_> = back.steps.into_iter().map(|step| step.path).collect();
        let restored = restored.into_iter().filter(|path| !foreign.contains(path)).collect();
        foreign.extend(left.aside);
        Ok((restored, foreign))
    }
}
