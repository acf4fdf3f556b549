//! What a store did to the disk, in order, for tests.
//!
//! Owns the list. Must not know what a crash makes of it.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

/// One change; paths are relative to the recorded directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in super::super) enum Op {
    MakeDir { path: PathBuf },
    Create { path: PathBuf },
    Write { path: PathBuf, at: u64, bytes: Vec<u8> },
    Cut { path: PathBuf, length: u64 },
    Sync { path: PathBuf },
    SyncDir { path: PathBuf },
    SyncAll,
    Rename { from: PathBuf, to: PathBuf },
    Remove { path: PathBuf },
    Clear { path: PathBuf },
}

type Ops = &'static Mutex<Vec<Op>>;

static ALL: RwLock<Vec<(PathBuf, Ops)>> = RwLock::new(Vec::new());

/// A list that is being written, until this is dropped.
pub(in super::super) struct Recording {
    dir: PathBuf,
    ops: Ops,
}

impl Recording {
    /// Records what is done beneath a directory from now on.
    pub(in super::super) fn of(dir: &Path) -> Self {
        // Never given back: a turn is held across whatever a thread does.
        let ops: Ops = Box::leak(Box::default());
        ALL.write().unwrap_or_else(PoisonError::into_inner).push((dir.to_owned(), ops));
        Self { dir: dir.to_owned(), ops }
    }

    /// How much was done so far.
    pub(in super::super) fn len(&self) -> usize {
        super::super::lock(self.ops).len()
    }

    /// What was done so far.
    pub(in super::super) fn ops(&self) -> Vec<Op> {
        super::super::lock(self.ops).clone()
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        ALL.write().unwrap_or_else(PoisonError::into_inner).retain(|(dir, _)| *dir != self.dir);
    }
}

/// Something that has a path.
pub(super) trait Placed {
    fn path(&self) -> PathBuf;
}

impl Placed for &Path {
    fn path(&self) -> PathBuf {
        self.to_path_buf()
    }
}

impl Placed for &File {
    fn path(&self) -> PathBuf {
        fs::read_link(format!("/proc/self/fd/{}", self.as_raw_fd())).unwrap()
    }
}

/// A turn to change the disk: as long as it lives, nobody else changes what is recorded in the same list.
pub(super) type Turn = Option<MutexGuard<'static, Vec<Op>>>;

/// Takes a turn and notes what is about to be done.
pub(super) fn turn(what: impl Placed, op: impl FnOnce(PathBuf) -> Op) -> Turn {
    let all = ALL.read().unwrap_or_else(PoisonError::into_inner);
    if all.is_empty() {
        return None;
    }
    let path = what.path();
    let ops = all.iter().find(|(dir, _)| path.starts_with(dir))?.1;
    let mut turn = super::super::lock(ops);
    // Asked again: the file may have got its name meanwhile.
    let path = what.path();
    let beneath = all.iter().find_map(|(dir, _)| path.strip_prefix(dir).ok())?.to_owned();
    turn.push(op(beneath));
    Some(turn)
}

/// The same for a file's new name.
pub(super) fn rename(from: &Path, to: &Path) -> Turn {
    let new = ALL.read().unwrap_or_else(PoisonError::into_inner);
    let new = new.iter().find_map(|(dir, _)| to.strip_prefix(dir).ok())?.to_owned();
    turn(from, |from| Op::Rename { from, to: new })
}
