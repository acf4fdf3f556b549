//! One project, kept up to date.
//!
//! Owns the choice between looking at what changed and walking everything. Only a project all of whose
//! directories are watched is looked at in part; whatever casts doubt on the events ends in a walk, and none
//! in an answer from memory. Must not know other projects, threads or the store's listings.
//!
//! What no event tells, and what is done about it:
//! - A file or symbolic link with several names: compared with its stamp, or read, at each snapshot.
//! - A write through a mapping after the file was closed: files that were read lately are compared with
//!   their stamps at each snapshot, and so is, from then on, a file that a walk found changed without an
//!   event.
//! - A name made elsewhere for a file that had one, or an old mapping, and a write through it: found by the
//!   walk that is made from time to time while the project rests.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use ftl_core::tree::RelPath;

use super::blob::Blobs;
use super::dir::{self, LIST};
use super::index::{Index, Stamp};
use super::scan::{Ground, read_exclude, scan};
use super::seen::Seen;
use super::site::Site;
use super::update::{Updated, disown, update};
use super::watch::{Watch, WatchError};
use super::watches::{At, Dirty, Watches};
use super::{SnapshotError, io_error};

/// What a path costs while its project is in use, in bytes: measured at 1,000,000 files in 1,000 directories
/// for the whole daemon, 276 bytes after the first snapshot.
const BYTES_PER_PATH: u64 = 300;
/// Directories that are begun to be watched in one go; a snapshot waits that long at most.
const STEP: usize = 128;
/// Files read lately that are compared at each snapshot.
const LATELY: usize = 100;
/// How long ago is lately, in nanoseconds: the kernel has written back by then what was mapped.
const LATELY_NS: i64 = 120_000_000_000;
/// Files that changed without an event, and are compared at each snapshot.
const SILENT: usize = 1024;

/// Why a project is walked at each snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Sweeping {
    /// Its directories are not all watched yet.
    #[error("its directories are not all watched yet")]
    Beginning,
    /// The user's inotify watches are used up, or half of them by this daemon.
    #[error("the limit fs.inotify.max_user_watches is reached")]
    Watches,
    /// The user's inotify instances are used up.
    #[error("the limit fs.inotify.max_user_instances is reached")]
    Instances,
    /// The kernel refuses to watch.
    #[error("the kernel refuses to watch it")]
    Refused,
    /// Changes there cannot be heard of. The value is the file system's magic number.
    #[error("its file system (0x{0:x}) does not tell of every change")]
    FileSystem(u64),
    /// Names there are the same in whatever case.
    #[error("its names are compared without case")]
    Folded,
}

/// How a project is kept up to date.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Watching {
    /// Its root.
    pub project: PathBuf,
    /// Its files at the last look.
    pub files: u64,
    /// Directories that are watched.
    pub directories: usize,
    /// Why every snapshot walks all of it; `None` when only what changed is looked at.
    pub sweeping: Option<Sweeping>,
    /// Memory for what is known of it, in bytes, by the number of its paths.
    pub memory: u64,
}

/// Makes what hears of changes.
pub(super) type MakeWatch = dyn Fn() -> Result<Arc<dyn Watch>, WatchError> + Send + Sync;

/// A project.
pub(super) struct Live {
    root: PathBuf,
    pub(super) seen: Seen,
    /// Whether `seen` is what the last look found, and not only an index.
    is_seen: bool,
    site: Option<Site>,
    pub(super) watches: Option<Watches>,
    /// Why everything is walked.
    pub(super) sweeping: Option<Sweeping>,
    lately: BTreeMap<RelPath, i64>,
    silent: BTreeSet<RelPath>,
    /// Directories to be watched next, the next one last.
    todo: Vec<At>,
    /// The time of the last look, and of the last walk.
    pub(super) now_ns: i64,
    pub(super) walked_ns: i64,
    /// Walks and looks so far.
    pub(super) walks: u64,
    pub(super) looks: u64,
}

impl Live {
    /// A project of which the index is all that is known.
    pub(super) fn new(root: PathBuf, index: Index) -> Self {
        Self {
            root,
            seen: Seen::of_index(index),
            is_seen: false,
            site: None,
            watches: None,
            sweeping: Some(Sweeping::Beginning),
            lately: BTreeMap::new(),
            silent: BTreeSet::new(),
            todo: Vec::new(),
            now_ns: 0,
            walked_ns: 0,
            walks: 0,
            looks: 0,
        }
    }

    /// Brings what is seen up to date with everything that was done before the call.
    pub(super) fn look(&mut self, blobs: &Blobs, now_ns: i64, make: &MakeWatch) -> Result<(), SnapshotError> {
        self.advance(blobs, now_ns, make, false)
    }

    /// The same by a walk.
    pub(super) fn walk(&mut self, blobs: &Blobs, now_ns: i64, make: &MakeWatch) -> Result<(), SnapshotError> {
        self.advance(blobs, now_ns, make, true)
    }

    fn advance(
        &mut self,
        blobs: &Blobs,
        now_ns: i64,
        make: &MakeWatch,
        is_walk: bool,
    ) -> Result<(), SnapshotError> {
        let root = dir::open_root(&self.root).map_err(io_error("open", &self.root))?;
        self.now_ns = now_ns;
        let mut must_walk = self.settle(&root, make) || is_walk;
        let heard = self.watches.as_mut().map(Watches::hear);
        let dirty = match heard {
            Some(Some(dirty)) => dirty,
            lost => {
                if lost.is_some() {
                    self.begin_again(make);
                }
                must_walk = true;
                Dirty::default()
            }
        };
        must_walk |= self.sweeping.is_some() || dirty.is_root_gone || !self.is_seen;
        if dirty.is_root_gone {
            self.begin_again(make);
        }
        let ground = Ground { root: root.as_fd(), blobs, now_ns };
        let done = self.proceed(ground, dirty, must_walk);
        if done.is_err() {
            self.doubt_all();
        }
        done
    }

    fn proceed(
        &mut self,
        ground: Ground<'_>,
        mut dirty: Dirty,
        must_walk: bool,
    ) -> Result<(), SnapshotError> {
        let is_excluded_anew = !must_walk && read_exclude(ground.root) != self.seen.exclude;
        if let (false, Some(watches)) = (must_walk || is_excluded_anew, self.watches.as_mut()) {
            doubt(&mut dirty, &self.seen, &mut self.lately, &self.silent, ground);
            self.looks += 1;
            let updated = update(ground, &mut self.seen, &dirty, watches)?;
            self.check_watches();
            if let Updated::Done(read) = updated {
                self.read_lately(read);
                return Ok(());
            }
        }
        self.sweep(ground, &dirty)
    }

    /// Walks everything.
    fn sweep(&mut self, ground: Ground<'_>, dirty: &Dirty) -> Result<(), SnapshotError> {
        self.walks += 1;
        disown(&mut self.seen, dirty);
        // The watches of what was moved are not where the table says.
        if let Some(watches) = self.watches.as_mut() {
            dirty.paths().filter(|(_, moved)| *moved).for_each(|(path, _)| watches.remove(&path));
        }
        let before = self.is_seen && self.sweeping.is_none();
        let (seen, read) = scan(ground, &self.seen)?;
        if before {
            let told: BTreeSet<RelPath> = dirty.paths().map(|(path, _)| path).collect();
            let known = |path: &RelPath| self.seen.has(path) && !told.contains(path);
            let unsettled = |path: &RelPath| !self.seen.unsettled.contains(path);
            let silent: Vec<RelPath> =
                read.iter().filter(|path| known(path) && unsettled(path)).cloned().collect();
            self.silent.extend(silent.into_iter().take(SILENT.saturating_sub(self.silent.len())));
        }
        let linked = std::mem::take(&mut self.seen.linked);
        let last = self.seen.last;
        self.seen = seen;
        self.seen.last = last;
        // A file that once had several names may still be open under one of them.
        let linked: Vec<RelPath> = linked.into_iter().filter(|path| self.seen.has(path)).collect();
        self.seen.linked.extend(linked);
        self.silent.retain(|path| self.seen.has(path));
        self.is_seen = true;
        self.walked_ns = ground.now_ns;
        self.read_lately(read);
        if let Some(watches) = self.watches.as_mut() {
            watches.retain(|at| self.seen.has_dir(at));
            let room = watches.watch.room();
            let missing = self.unwatched().len();
            if missing > room {
                // Beginning would take watches that others can use.
                self.give_up(Sweeping::Watches);
            } else if self.sweeping.is_none() && missing > 0 {
                self.sweeping = Some(Sweeping::Beginning);
            }
        }
        Ok(())
    }

    /// Sets the next watches and looks at what is there. True when there is more to do.
    pub(super) fn warm(&mut self, blobs: &Blobs) -> Result<bool, SnapshotError> {
        if self.sweeping != Some(Sweeping::Beginning) || !self.is_seen {
            return Ok(false);
        }
        let root = dir::open_root(&self.root).map_err(io_error("open", &self.root))?;
        if self.todo.is_empty() {
            self.todo = self.unwatched();
            self.todo.reverse();
        }
        let unwatched = self.todo.split_off(self.todo.len().saturating_sub(STEP));
        let (Some(watches), Some(site)) = (self.watches.as_mut(), &self.site) else { return Ok(false) };
        if site.is_other(&root) {
            return Ok(false);
        }
        let mut fresh = Vec::new();
        for at in unwatched.into_iter().rev() {
            match dir::open_beneath(&root, at.as_ref(), LIST) {
                Ok(dir) => {
                    watches.add(at.as_ref(), dir.as_fd());
                    fresh.push((at, false));
                }
                Err(_) => fresh.push((at, true)),
            }
        }
        let Some(mut dirty) = watches.hear().filter(|dirty| !dirty.is_root_gone) else {
            self.doubt_all();
            return Ok(false);
        };
        if fresh.is_empty() {
            self.sweeping = None;
        }
        for (at, is_gone) in fresh {
            match (at, is_gone) {
                (Some(path), true) => dirty.touch(&path, true),
                (None, true) => {
                    self.doubt_all();
                    return Ok(false);
                }
                (at, false) => dirty.touch_all(at),
            }
        }
        let ground = Ground { root: root.as_fd(), blobs, now_ns: self.now_ns };
        let updated = update(ground, &mut self.seen, &dirty, watches);
        self.check_watches();
        match updated {
            Ok(Updated::Done(read)) => self.read_lately(read),
            Ok(Updated::NeedsWalk) => {
                let swept = self.sweep(ground, &dirty);
                if swept.is_err() {
                    self.doubt_all();
                    return swept.map(|()| false);
                }
            }
            Err(error) => {
                self.doubt_all();
                return Err(error);
            }
        }
        Ok(self.sweeping == Some(Sweeping::Beginning))
    }

    /// What was heard is known to nobody any more: the next look begins from the start.
    fn doubt_all(&mut self) {
        (self.is_seen, self.site, self.watches) = (false, None, None);
        self.todo.clear();
    }

    /// Lets the next look try again to watch what could not be watched.
    pub(super) fn try_again(&mut self) {
        if matches!(self.sweeping, Some(Sweeping::Watches | Sweeping::Instances | Sweeping::Refused)) {
            self.site = None;
        }
    }

    /// Directories of the tree without a watch, each after those above it.
    fn unwatched(&self) -> Vec<At> {
        let Some(watches) = &self.watches else { return Vec::new() };
        let dirs = self.seen.tree.iter().filter(|(_, entry)| entry.node.is_dir()).map(|(path, _)| Some(path));
        std::iter::once(None).chain(dirs).filter(|at| !watches.has(at)).collect()
    }

    /// Sees to it that what is known is of this root. True when that is not enough for a part of it.
    fn settle(&mut self, root: &OwnedFd, make: &MakeWatch) -> bool {
        let is_other = match self.site.as_mut() {
            Some(site) if !site.is_other(root) => return site.is_remounted(),
            other => other.is_some(),
        };
        if is_other {
            self.watches = None;
            self.is_seen = false;
        }
        let site = Site::of(root, &self.root);
        self.sweeping = site.distrust(root);
        self.site = Some(site);
        if self.sweeping.is_none() {
            self.begin_again(make);
        }
        true
    }

    /// Hears of changes by a new queue from now on, and of nothing before.
    fn begin_again(&mut self, make: &MakeWatch) {
        self.watches = None;
        self.todo.clear();
        match make() {
            Ok(watch) => {
                self.watches = Some(Watches::new(watch));
                self.sweeping = Some(Sweeping::Beginning);
            }
            Err(error) => self.sweeping = Some(error.into()),
        }
    }

    /// Gives up when a directory cannot be watched.
    fn check_watches(&mut self) {
        let Some(watches) = &self.watches else { return };
        let folded = watches.is_folded.then_some(Sweeping::Folded);
        if let Some(why) = watches.failed.map(Sweeping::from).or(folded) {
            self.give_up(why);
        }
    }

    fn give_up(&mut self, why: Sweeping) {
        tracing::warn!(project = %self.root.display(), %why, "every snapshot reads all of its directories");
        (self.sweeping, self.watches) = (Some(why), None);
        self.todo.clear();
    }

    /// How it is kept up to date.
    pub(super) fn watching(&self) -> Watching {
        let directories = self.watches.as_ref().map_or(0, Watches::len);
        let paths = self.seen.tree.len() as u64;
        Watching {
            project: self.root.clone(),
            files: self.seen.tree.files(),
            directories,
            sweeping: self.sweeping,
            memory: paths * BYTES_PER_PATH,
        }
    }

    fn read_lately(&mut self, read: Vec<RelPath>) {
        // After a first walk that is everything, and says nothing.
        if read.len() <= LATELY {
            self.lately.extend(read.into_iter().map(|path| (path, self.now_ns)));
        }
        let before = self.now_ns.saturating_sub(LATELY_NS);
        self.lately.retain(|_, read_ns| *read_ns >= before);
        while self.lately.len() > LATELY {
            let Some(oldest) = self.lately.iter().min_by_key(|(_, at)| **at).map(|(path, _)| path.clone())
            else {
                return;
            };
            self.lately.remove(&oldest);
        }
    }
}

/// Marks the files that no event vouches for, when their stamps say that they changed.
fn doubt(
    dirty: &mut Dirty,
    seen: &Seen,
    lately: &mut BTreeMap<RelPath, i64>,
    silent: &BTreeSet<RelPath>,
    ground: Ground<'_>,
) {
    seen.doubtful().for_each(|path| dirty.touch(path, false));
    lately.retain(|path, _| seen.has(path));
    for path in lately.keys().chain(silent) {
        let stamp = dir::stat_beneath(ground.root, path).map(|stat| Stamp::of(&stat));
        if !stamp.is_ok_and(|stamp| seen.known(path, stamp).is_some()) {
            dirty.touch(path, false);
        }
    }
}

impl From<WatchError> for Sweeping {
    fn from(error: WatchError) -> Self {
        match error {
            WatchError::Watches => Self::Watches,
            WatchError::Instances => Self::Instances,
            WatchError::Refused(_) => Self::Refused,
        }
    }
}
