//! Which directory each watch is for.
//!
//! Owns the two-way table and the translation of events into paths. A watch follows its directory wherever
//! it is moved; the table says where it was when it was set, and the events since then say that it moved.
//! Must not know what is read because of an event.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use ftl_core::tree::RelPath;
use rustix::fs::ioctl_getflags;

use super::watch::{Event, Watch, WatchError, What};

/// ext4 and f2fs: names in this directory are found whatever their case, so that an event may tell a name
/// that is not the directory's.
const CASEFOLD: u32 = 0x4000_0000;

/// A directory; `None` is the project's root.
pub(super) type At = Option<RelPath>;

/// What must be looked at.
#[derive(Default, Debug)]
pub(super) struct Dirty {
    pub(super) dirs: BTreeMap<At, Touched>,
    /// The root itself was moved or removed.
    pub(super) is_root_gone: bool,
}

/// What must be looked at in a directory.
#[derive(Default, Debug)]
pub(super) struct Touched {
    /// Names; true when another thing may stand there than did.
    pub(super) names: BTreeMap<Vec<u8>, bool>,
    /// Every name.
    pub(super) is_all: bool,
}

/// The watches of one project.
pub(super) struct Watches {
    pub(super) watch: Arc<dyn Watch>,
    dirs: HashMap<i32, At>,
    numbers: BTreeMap<At, i32>,
    /// Why a directory is not watched that should be.
    pub(super) failed: Option<WatchError>,
    /// Names are not what events say they are.
    pub(super) is_folded: bool,
}

impl Dirty {
    /// Marks a path.
    pub(super) fn touch(&mut self, path: &RelPath, is_moved: bool) {
        let names = &mut self.dirs.entry(path.parent()).or_default().names;
        *names.entry(path.name().to_vec()).or_default() |= is_moved;
    }

    /// Marks every name of a directory.
    pub(super) fn touch_all(&mut self, at: At) {
        self.dirs.entry(at).or_default().is_all = true;
    }

    /// Marks a directory as one that is not what it was.
    fn touch_dir(&mut self, at: &At) {
        match at {
            Some(path) => self.touch(path, true),
            None => self.is_root_gone = true,
        }
    }

    /// The paths that are marked by name.
    pub(super) fn paths(&self) -> impl Iterator<Item = (RelPath, bool)> {
        self.dirs.iter().flat_map(|(at, touched)| {
            let path = |(name, moved): (&Vec<u8>, &bool)| {
                RelPath::under(at.as_ref(), name).ok().map(|path| (path, *moved))
            };
            touched.names.iter().filter_map(path)
        })
    }
}

impl Watches {
    pub(super) fn new(watch: Arc<dyn Watch>) -> Self {
        let (dirs, numbers) = (HashMap::new(), BTreeMap::new());
        Self { watch, dirs, numbers, failed: None, is_folded: false }
    }

    /// Directories that are watched.
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    pub(super) fn has(&self, at: &At) -> bool {
        self.numbers.contains_key(at)
    }

    /// Begins to watch a directory that is open.
    pub(super) fn add(&mut self, at: Option<&RelPath>, dir: BorrowedFd<'_>) {
        let at = at.cloned();
        if ioctl_getflags(dir).is_ok_and(|flags| flags.bits() & CASEFOLD != 0) {
            self.is_folded = true;
        }
        match self.watch.add(dir) {
            Ok(number) => {
                // A directory that was moved here keeps its watch; the old place has none any more.
                if let Some(before) = self.dirs.insert(number, at.clone()).filter(|before| *before != at) {
                    self.numbers.remove(&before);
                }
                if let Some(before) = self.numbers.insert(at, number).filter(|before| *before != number) {
                    self.dirs.remove(&before);
                    self.watch.remove(before);
                }
            }
            Err(error) => self.failed = Some(error),
        }
    }

    /// Ends the watches of a directory and of all beneath it.
    pub(super) fn remove(&mut self, path: &RelPath) {
        let at = Some(path.clone());
        let beneath =
            |(at, _): &(&At, &i32)| at.as_ref().is_some_and(|at| at.as_bytes().starts_with(path.as_bytes()));
        let held: Vec<(At, i32)> = self
            .numbers
            .range(at.clone()..)
            .take_while(beneath)
            .filter(|(dir, _)| **dir == at || dir.as_ref().is_some_and(|dir| dir.is_beneath(path)))
            .map(|(dir, number)| (dir.clone(), *number))
            .collect();
        for (dir, number) in held {
            self.numbers.remove(&dir);
            self.dirs.remove(&number);
            self.watch.remove(number);
        }
    }

    /// Ends the watches of directories that are none any more.
    pub(super) fn retain(&mut self, is_kept: impl Fn(Option<&RelPath>) -> bool) {
        let gone: Vec<At> = self.numbers.keys().filter(|at| !is_kept(at.as_ref())).cloned().collect();
        for number in gone.iter().filter_map(|at| self.numbers.remove(at)) {
            self.dirs.remove(&number);
            self.watch.remove(number);
        }
    }

    /// What the events since the last call say. `None`: some were lost.
    pub(super) fn hear(&mut self) -> Option<Dirty> {
        let mut events = Vec::new();
        if !self.watch.drain(&mut events) {
            return None;
        }
        let mut dirty = Dirty::default();
        let mut ended = Vec::new();
        for Event { watch, name, what } in events {
            // Of a watch that was ended: what it tells of was looked at since.
            let Some(at) = self.dirs.get(&watch) else { continue };
            match (name, what) {
                (Some(name), what) => {
                    let touched = dirty.dirs.entry(at.clone()).or_default();
                    *touched.names.entry(name).or_default() |= what == What::Moved;
                }
                (None, What::Changed) => drop(dirty.dirs.entry(at.clone()).or_default()),
                (None, What::Moved) => dirty.touch_dir(at),
                (None, What::Ended) => {
                    dirty.touch_dir(at);
                    ended.push(watch);
                }
            }
        }
        for number in ended {
            if let Some(at) = self.dirs.remove(&number) {
                self.numbers.remove(&at);
            }
            self.watch.remove(number);
        }
        Some(dirty)
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        self.watch.stop();
    }
}
