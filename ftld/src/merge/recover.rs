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
use rustix::fs::{AtFlags, OFlags, unlinkat};
use rustix::io::Errno;

use super::engine::flush;
use super::journal::{self, Record, Stage};
use super::root::Root;
use super::step::{Done, Hand, temporary_prefix};
use super::{Blobs, Merge, MergeError, Recovered, io_error};

/// The paths that were put back, and those that someone else has written since.
type Outcome = (Vec<RelPath>, Vec<RelPath>);

impl Merge {
    /// Rolls back every application that a crash cut short. One that cannot be finished is reported and
    /// tried again next time.
    ///
    /// # Errors
    /// When the journals cannot be read.
    pub fn recover(&self, store: &dyn Blobs) -> Result<Vec<Recovered>, MergeError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let listed =
            |stage| journal::list(&self.journals, stage).map_err(io_error("list", self.journals.display()));
        for id in listed(Stage::Done)? {
            self.finish_done(&id).map_err(io_error("close the journal of", &id))?;
        }
        journal::sweep(&self.journals).map_err(io_error("tidy", self.journals.display()))?;
        let mut recovered = Vec::new();
        for id in listed(Stage::Open)? {
            let read = journal::read(&self.journals, &id, Stage::Open);
            if let Some(record) = read.map_err(io_error("read the journal of", &id))? {
                recovered.push(self.recover_one(&record, store));
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
            for stage in [Stage::Done, Stage::Undone] {
                let removed = journal::remove(&self.journals, id, stage);
                removed.map_err(io_error("remove the journal of", id))?;
            }
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
            let listed = journal::list(&self.journals, stage);
            over.extend(listed.map_err(io_error("list", self.journals.display()))?);
        }
        self.forget(&over.difference(kept).cloned().collect())
    }

    /// Contents that putting back what is open may need.
    ///
    /// # Errors
    /// When the journals cannot be read.
    pub fn needed(&self) -> Result<BTreeSet<Hash>, MergeError> {
        let open =
            journal::list(&self.journals, Stage::Open).map_err(io_error("list", self.journals.display()))?;
        let mut needed = BTreeSet::new();
        for id in open {
            let read = journal::read(&self.journals, &id, Stage::Open);
            let steps = read.map_err(io_error("read the journal of", &id))?.map(|record| record.steps);
            for step in steps.into_iter().flatten() {
                needed.extend([step.before, step.after].into_iter().filter_map(|node| node?.hash()));
            }
        }
        Ok(needed)
    }

    /// Tidies up after an application that was done when the crash came.
    fn finish_done(&self, id: &ApplyId) -> std::io::Result<()> {
        journal::remove(&self.journals, id, Stage::Open)?;
        match journal::read(&self.journals, id, Stage::Done)?.and_then(|record| record.undoes) {
            Some(undone) => journal::mark_undone(&self.journals, &undone),
            None => Ok(()),
        }
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
        Recovered { id: record.id.clone(), session: record.session.clone(), restored, foreign, failed }
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
        let listed = journal::list(&self.journals, Stage::Open);
        for id in listed.map_err(io_error("list", self.journals.display()))? {
            let read = |stage| {
                journal::read(&self.journals, &id, stage).map_err(io_error("read the journal of", &id))
            };
            let Some(record) = read(Stage::Open)?.filter(|record| record.identity == root.identity()) else {
                continue;
            };
            let settled = match read(Stage::Done)? {
                Some(_) => self.finish_done(&id).map_err(io_error("close the journal of", &id)),
                None => self.put_back(&record, root, store).map(drop),
            };
            settled.map_err(|source| MergeError::Unfinished { id, source: Box::new(source) })?;
        }
        Ok(())
    }

    /// Rolls an application back and closes its journal.
    fn put_back(&self, record: &Record, root: &Root, store: &dyn Blobs) -> Result<Outcome, MergeError> {
        let hand = Hand { root, store, id: &record.id, probe: &|_| Ok(()) };
        let outcome = self.roll_back(&hand, &record.steps)?;
        self.close(record)?;
        Ok(outcome)
    }

    /// Puts back every path that is between the first and the last state of its steps. Says which were put
    /// back, and which are in no state of theirs.
    pub(super) fn roll_back(&self, hand: &Hand<'_>, steps: &[Step]) -> Result<Outcome, MergeError> {
        rescue(hand, steps)?;
        sweep(hand, steps)?;
        let first = start(steps);
        let back = rollback(steps, &hand.root.observe(first.keys())?);
        let mut foreign = back.foreign;
        for (number, step) in back.steps.iter().enumerate() {
            // The numbers of the way there are taken.
            if hand.perform(steps.len() + number, step)? == Done::NotEmpty {
                foreign.push(step.path.clone());
            }
        }
        flush(hand.root, &back.steps)?;
        let restored: BTreeSet<_> = back.steps.into_iter().map(|step| step.path).collect();
        let restored = restored.into_iter().filter(|path| !foreign.contains(path)).collect();
        Ok((restored, foreign))
    }
}

/// Gives back what someone wrote while a step took its place, when the step could not do that itself.
fn rescue(hand: &Hand<'_>, steps: &[Step]) -> Result<(), MergeError> {
    for (number, step) in steps.iter().enumerate() {
        match hand.root.parent(&step.path, OFlags::PATH) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) => {}
            Err(error) => return Err(io_error("enter the directory of", &step.path)(error)),
            Ok(parent) => {
                hand.rescue(number, step, &parent).map_err(io_error("put back", &step.path))?;
            }
        }
    }
    Ok(())
}

/// Removes what the application left under temporary names.
fn sweep(hand: &Hand<'_>, steps: &[Step]) -> Result<(), MergeError> {
    let prefix = temporary_prefix(hand.id);
    let dirs: BTreeSet<_> = steps.iter().map(|step| step.path.parent()).collect();
    for dir in dirs {
        let names = match hand.root.names(dir.as_ref()) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) => continue,
            names => names.map_err(io_error("list", show(dir.as_ref())))?,
        };
        for name in names.iter().filter(|name| name.starts_with(prefix.as_bytes())) {
            let parent = hand.root.open_beneath(dir.as_ref(), OFlags::PATH | OFlags::DIRECTORY);
            let removed =
                parent.and_then(|parent| match unlinkat(&parent, name.as_slice(), AtFlags::empty()) {
                    Err(Errno::ISDIR) => unlinkat(&parent, name.as_slice(), AtFlags::REMOVEDIR),
                    other => other,
                });
            removed.map_err(io_error("remove a temporary file in", show(dir.as_ref())))?;
        }
    }
    Ok(())
}

fn show(dir: Option<&RelPath>) -> String {
    dir.map_or_else(|| "the project's root".to_owned(), ToString::to_string)
}
