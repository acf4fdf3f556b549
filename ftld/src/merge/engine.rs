//! Applying and undoing.
//!
//! Owns the sequence that the folder's header draws. Must not know how one step is done or a journal written.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use ftl_core::id::ApplyId;
use ftl_core::merge::{Conflict, Conflicts, Host, Plan, Step, outcome, reverse, start};
use ftl_core::review::Approval;
use ftl_core::tree::{Node, RelPath};
use rustix::fs::{Mode, OFlags, fstat, fsync, openat};
use rustix::io::Errno;

use super::attributes::{Attributes, Kept};
use super::journal::{Fault, Journals, Record, Stage};
use super::links::Watch;
use super::locked::check_locked;
use super::root::{Root, open_file};
use super::step::{Done, Hand};
use super::{Applied, Blobs, LeftAlone, Merge, MergeError, Point, Probe, io_error};

/// Files from which on it is worth to flush the whole file system instead of each.
const MANY: usize = 8;
/// Files that are made before any of them is renamed, at most: they take disk space twice.
const MOST: usize = 512;

impl Merge {
    /// The engine whose journals are in `journals`, which is made if it is missing. Call
    /// [`Merge::recover`] before anything else.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn open(journals: &Path) -> Result<Self, MergeError> {
        Self::with_probe(journals, Box::new(|_| Ok(())))
    }

    /// The same, with something to call at every point where a crash must do no harm.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn with_probe(journals: &Path, probe: Box<Probe>) -> Result<Self, MergeError> {
        Self::with_faults(journals, probe, Box::new(|_| Ok(())))
    }

    /// The same, with something to ask before every call for a journal.
    pub(super) fn with_faults(
        journals: &Path,
        probe: Box<Probe>,
        fault: Box<Fault>,
    ) -> Result<Self, MergeError> {
        std::fs::create_dir_all(journals).map_err(io_error("create", journals.display()))?;
        Ok(Self {
            journals: Journals::new(journals, fault),
            probe,
            turn: Mutex::new(()),
            projects: Mutex::default(),
        })
    }

    /// Applies a plan to the project. Afterwards all of it stands, or nothing does. None of `links` leads
    /// out of the project afterwards that did not before, nor does any link of the plan's.
    ///
    /// # Errors
    /// When the plan is not of this approval, the host is not as planned, something cannot be written, or a
    /// link would lead out.
    #[expect(clippy::too_many_arguments, reason = "each is another owner's, and there is one caller")]
    pub fn apply(
        &self,
        id: &ApplyId,
        root: &Root,
        plan: &Plan,
        approval: &Approval,
        store: &dyn Blobs,
        links: &[RelPath],
    ) -> Result<Applied, MergeError> {
        if !plan.is_of(approval) {
            return Err(MergeError::NotApproved);
        }
        self.run(self.record(id, root, plan, approval), root, store, Some(links))
    }

    /// Takes an application back. Afterwards every path it touched is as it was before, or nothing changed.
    ///
    /// # Errors
    /// When it cannot be undone: unknown, undone already, or a path is no longer as it was left.
    pub fn undo(
        &self,
        undone: &ApplyId,
        id: &ApplyId,
        root: &Root,
        store: &dyn Blobs,
    ) -> Result<Applied, MergeError> {
        let record = self.done(undone, root)?;
        let record = Record {
            id: id.clone(),
            steps: reverse(&done_steps(&record)),
            left_alone: Vec::new(),
            undoes: Some(undone.clone()),
            ..record
        };
        self.run_undo(record, undone, root, store)
    }

    /// Takes an application back by a plan of its own, which keeps what somebody wrote since. Afterwards all of
    /// it stands, or nothing changed.
    ///
    /// # Errors
    /// When the plan is not of this approval, the application cannot be undone, or the host is not as planned.
    pub fn undo_onto(
        &self,
        (undone, id): (&ApplyId, &ApplyId),
        root: &Root,
        store: &dyn Blobs,
        (plan, approval): (&Plan, &Approval),
    ) -> Result<Applied, MergeError> {
        if !plan.is_of(approval) {
            return Err(MergeError::NotApproved);
        }
        let record = Record {
            id: id.clone(),
            digest: approval.digest(),
            steps: plan.steps().to_vec(),
            left_alone: Vec::new(),
            undoes: Some(undone.clone()),
            ..self.done(undone, root)?
        };
        self.run_undo(record, undone, root, store)
    }

    fn run_undo(
        &self,
        record: Record,
        undone: &ApplyId,
        root: &Root,
        store: &dyn Blobs,
    ) -> Result<Applied, MergeError> {
        // What was there before may come back, links included.
        let applied = self.run(record, root, store, None)?;
        if let Err(error) = self.journals.mark_undone(undone) {
            // It is taken back; its journal is marked before the undoing's is forgotten.
            tracing::warn!(apply = %undone, %error, "the journal of what was taken back could not be closed");
        }
        Ok(applied)
    }

    /// What an application did, so that it can be taken back.
    ///
    /// # Errors
    /// When it cannot be undone: unknown, undone already, or of another directory.
    pub fn steps_to_undo(&self, undone: &ApplyId, root: &Root) -> Result<Vec<Step>, MergeError> {
        Ok(done_steps(&self.done(undone, root)?))
    }

    /// The journal of an application that stands.
    fn done(&self, undone: &ApplyId, root: &Root) -> Result<Record, MergeError> {
        let at = |stage| self.journals.read(undone, stage).map_err(io_error("read the journal of", undone));
        let Some(record) = at(Stage::Done)? else {
            let id = undone.clone();
            return Err(match at(Stage::Undone)? {
                Some(_) => MergeError::AlreadyUndone { id },
                None => MergeError::Unknown { id },
            });
        };
        if record.identity != root.identity() {
            return Err(MergeError::Replaced { path: root.path().to_owned() });
        }
        Ok(record)
    }

    /// Whether an application, or an undoing, took place as a whole. After [`Merge::recover`] the answer
    /// is final.
    ///
    /// # Errors
    /// When the journals cannot be read.
    pub fn happened(&self, id: &ApplyId) -> Result<bool, MergeError> {
        self.journals.is_decided(id).map_err(io_error("look for the journal of", id))
    }

    /// Whether an application was cut short and is not put back yet.
    ///
    /// # Errors
    /// When the journals cannot be read.
    pub fn is_open(&self, id: &ApplyId) -> Result<bool, MergeError> {
        self.journals.is_open(id).map_err(io_error("look for the journal of", id))
    }

    /// Whether an application took place and was taken back.
    ///
    /// # Errors
    /// When the journals cannot be read.
    pub fn was_undone(&self, id: &ApplyId) -> Result<bool, MergeError> {
        self.journals.is(id, Stage::Undone).map_err(io_error("look for the journal of", id))
    }

    fn record(&self, id: &ApplyId, root: &Root, plan: &Plan, approval: &Approval) -> Record {
        Record {
            id: id.clone(),
            session: approval.session().clone(),
            digest: approval.digest(),
            root: root.path().as_os_str().as_bytes().into(),
            identity: root.identity(),
            steps: plan.steps().to_vec(),
            left_alone: Vec::new(),
            undoes: None,
            kept: Vec::new(),
        }
    }

    /// Runs a record's steps from the journal's writing to its closing. Without `links`, none is looked at:
    /// what was there before may come back.
    fn run(
        &self,
        mut record: Record,
        root: &Root,
        store: &dyn Blobs,
        links: Option<&[RelPath]>,
    ) -> Result<Applied, MergeError> {
        // A panic while another held it left a journal, not a broken value.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let _locked = root.lock()?;
        root.check_place()?;
        self.settle(root, store)?;
        let before = start(&record.steps);
        compare(&before, &root.observe(before.keys())?)?;
        check_replaced(root, &record.steps)?;
        check_locked(root, &record.steps)?;
        keep_preimages(root, &before, store)?;
        keep_attributes(root, &before, &mut record)?;
        let watch = links.map(|links| Watch::begin(root, links, &record.steps)).transpose()?;
        self.at(Point::Kept)?;

        self.journals.write(&record, Stage::Open).map_err(io_error("write the journal of", &record.id))?;
        let hand = Hand { root, store, id: &record.id, kept: &record.kept, probe: &self.probe };
        self.at(Point::Recorded)?;
        let done = self.steps(&hand, &record.steps, &before).and_then(|left_alone| {
            watch.map_or(Ok(()), |watch| watch.end(root))?;
            Ok(left_alone)
        });
        let left_alone = match done {
            Ok(left_alone) => left_alone,
            Err(MergeError::Stopped) => return Err(MergeError::Stopped),
            Err(error) => return Err(self.take_back(&hand, &record, error)),
        };
        self.at(Point::Flushed)?;
        let left_paths: BTreeSet<_> = left_alone.iter().map(|left| left.path.clone()).collect();
        record.left_alone = left_paths.iter().cloned().collect();
        if let Err(error) = self.journals.write(&record, Stage::Done) {
            let error = io_error("close the journal of", &record.id)(error);
            return Err(self.take_back(&hand, &record, error));
        }
        self.at(Point::Committed)?;
        if let Err(error) = self.journals.remove(&record.id, Stage::Open) {
            // Beside the one that says it is done, it means nothing.
            tracing::warn!(apply = %record.id, %error, "a journal that is over could not be removed");
        }
        let paths = before.into_keys().filter(|path| !left_paths.contains(path)).collect();
        Ok(Applied { id: record.id, paths, left_alone })
    }

    /// Does all steps and flushes them. Says which directories were not empty.
    fn steps(&self, hand: &Hand<'_>, steps: &[Step], before: &Host) -> Result<Vec<LeftAlone>, MergeError> {
        let mut left_alone = Vec::new();
        let mut number = 0;
        while let Some(step) = steps.get(number) {
            let files = leading_files(&steps[number..]);
            if files >= MANY {
                let together = &steps[number..number + files];
                hand.perform_together(number, together, |done| self.at(Point::Stepped(done)))?;
                number += files;
                continue;
            }
            if hand.perform(number, step)? == Done::NotEmpty {
                left_alone.push(LeftAlone {
                    path: step.path.clone(),
                    why: "it holds files that are not part of the change",
                });
                // It may have been opened for this; what stays gets its mode back.
                let first = before.get(&step.path).cloned().flatten();
                if first != step.before {
                    let close = Step { path: step.path.clone(), before: step.before.clone(), after: first };
                    hand.perform(number, &close)?;
                }
            }
            self.at(Point::Stepped(number))?;
            number += 1;
        }
        flush(hand.root, steps)?;
        Ok(left_alone)
    }

    /// Puts back what a failed application did, and says why it failed.
    fn take_back(&self, hand: &Hand<'_>, record: &Record, error: MergeError) -> MergeError {
        let back = self.roll_back(hand, &record.steps);
        match back.and_then(|(_, foreign)| self.close(record).map(|()| foreign)) {
            Ok(foreign) if foreign.is_empty() => error,
            Ok(foreign) => MergeError::Partly { foreign, source: Box::new(error) },
            // The journal stays; the next recovery tries again.
            Err(_) => MergeError::Partly { foreign: Vec::new(), source: Box::new(error) },
        }
    }

    /// Removes an open journal.
    pub(super) fn close(&self, record: &Record) -> Result<(), MergeError> {
        let removed = self.journals.remove(&record.id, Stage::Open);
        removed.map_err(io_error("close the journal of", &record.id))
    }

    pub(super) fn at(&self, point: Point) -> Result<(), MergeError> {
        (self.probe)(point).map_err(|_| MergeError::Stopped)
    }
}

/// The steps that took place.
fn done_steps(record: &Record) -> Vec<Step> {
    record.steps.iter().filter(|step| !record.left_alone.contains(&step.path)).cloned().collect()
}

/// How many steps from the first on put a file in place, at most [`MOST`].
fn leading_files(steps: &[Step]) -> usize {
    steps.iter().take(MOST).take_while(|step| matches!(step.after, Some(Node::File { .. }))).count()
}

/// Names every path that is not as expected.
fn compare(expected: &Host, found: &Host) -> Result<(), Conflicts> {
    let differing = expected.iter().filter(|(path, node)| found.get(*path) != Some(*node));
    let conflicts: Vec<_> = differing
        .map(|(path, node)| Conflict {
            path: path.clone(),
            expected: node.clone(),
            found: found.get(path).cloned().flatten(),
        })
        .collect();
    if conflicts.is_empty() { Ok(()) } else { Err(Conflicts(conflicts)) }
}

/// A directory that something else takes the place of must become empty; better to know before it begins.
fn check_replaced(root: &Root, steps: &[Step]) -> Result<(), MergeError> {
    let removed: BTreeSet<_> =
        steps.iter().filter(|step| step.after.is_none()).map(|step| &step.path).collect();
    let placed: BTreeMap<_, _> =
        steps.iter().filter_map(|step| Some((&step.path, step.after.as_ref()?))).collect();
    let replaced = steps.iter().filter(|step| {
        step.after.is_none()
            && step.before.as_ref().is_some_and(Node::is_dir)
            && placed.get(&step.path).is_some_and(|node| !node.is_dir())
    });
    let mut todo: Vec<_> = replaced.map(|step| step.path.clone()).collect();
    while let Some(path) = todo.pop() {
        for name in root.names(Some(&path)).map_err(io_error("list", &path))? {
            let inner = path.join(&name).map_err(|_| io_error("list", &path)(Errno::NAMETOOLONG))?;
            if !removed.contains(&inner) {
                return Err(MergeError::Holds { path, holds: inner });
            }
            if root.look(&inner)?.is_some_and(|node| node.is_dir()) {
                todo.push(inner);
            }
        }
    }
    Ok(())
}

/// Keeps the contents of every file that a step takes away.
fn keep_preimages(root: &Root, before: &Host, store: &dyn Blobs) -> Result<(), MergeError> {
    for (path, node) in before {
        let Some(Node::File { hash, .. }) = node else { continue };
        let parent = root.parent(path, OFlags::PATH).map_err(io_error("enter the directory of", path))?;
        let file = open_file(&parent, path.name()).map_err(io_error("open", path))?;
        if store.keep(&file).map_err(io_error("keep", path))? != *hash {
            let conflict = Conflict { path: path.clone(), expected: node.clone(), found: root.look(path)? };
            return Err(Conflicts(vec![conflict]).into());
        }
    }
    Ok(())
}

/// Notes what nodes that a step takes away have beside content and mode. What was noted when an application was
/// made stays, for what comes back.
fn keep_attributes(root: &Root, before: &Host, record: &mut Record) -> Result<(), MergeError> {
    let after = outcome(&record.steps);
    let mut kept: BTreeMap<(RelPath, bool), Kept> =
        record.kept.drain(..).map(|kept| ((kept.path.clone(), kept.hash.is_some()), kept)).collect();
    for (path, node) in before {
        let after = after.get(path).and_then(Option::as_ref);
        let flags = match node {
            Some(Node::File { .. }) => OFlags::RDONLY | OFlags::NONBLOCK,
            Some(Node::Dir { .. }) if !after.is_some_and(Node::is_dir) => OFlags::PATH | OFlags::DIRECTORY,
            _ => continue,
        };
        let parent = root.parent(path, OFlags::PATH).map_err(io_error("enter the directory of", path))?;
        let open = openat(&parent, path.name(), flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
        let attributes = open.and_then(Attributes::of).map_err(io_error("read the attributes of", path))?;
        let hash = node.as_ref().and_then(Node::hash);
        if hash.is_some() && attributes.is_privileged() && after.is_some_and(|node| node.hash().is_some()) {
            return Err(MergeError::Privileged { path: path.clone() });
        }
        let dir = fstat(&parent).map_err(io_error("read the directory of", path))?;
        if attributes.is_plain(&dir) {
            kept.remove(&(path.clone(), hash.is_some()));
        } else {
            kept.insert((path.clone(), hash.is_some()), Kept { path: path.clone(), hash, attributes });
        }
    }
    record.kept = kept.into_values().collect();
    Ok(())
}

/// Flushes every directory that a step changed.
pub(super) fn flush(root: &Root, steps: &[Step]) -> Result<(), MergeError> {
    let dirs: BTreeSet<_> = steps.iter().map(|step| step.path.parent()).collect();
    for dir in dirs {
        let flushed = root.open_beneath(dir.as_ref(), OFlags::RDONLY | OFlags::DIRECTORY).and_then(fsync);
        match flushed {
            // It went with a later step, whose own directory is here too.
            Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            // A directory that its owner may not read.
            Err(_) => return root.flush(),
        }
    }
    Ok(())
}
