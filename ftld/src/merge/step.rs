//! Carrying out one step.
//!
//! Owns how a path goes from one state to the next so that a crash leaves it in one of the two: whatever is
//! new is made complete under a temporary name in the same directory, flushed, and renamed. The state before
//! is compared on the open directory right before that.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use ftl_core::id::ApplyId;
use ftl_core::merge::{Conflict, Conflicts, Step};
use ftl_core::tree::{Node, RelPath};
use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, RenameFlags, Stat, Uid, fchmod, fchown, fstat, mkdirat, openat, renameat,
    renameat_with, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use super::root::{Root, look_in};
use super::{Blobs, MergeError, Point, io_error};

/// What became of a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Done {
    /// The path is as the step says.
    Yes,
    /// A directory that was to be removed holds something that is not the session's.
    NotEmpty,
}

/// When a new file's content is forced to the disk: before its rename in any case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Flush {
    /// As soon as it is written.
    Now,
    /// By the caller, together with others.
    Later,
}

/// Carries out steps of one application.
pub(super) struct Hand<'a> {
    pub(super) root: &'a Root,
    pub(super) store: &'a dyn Blobs,
    pub(super) id: &'a ApplyId,
    pub(super) probe: &'a super::Probe,
}

/// The start of every temporary name of an application. Its id is random, so that no file of the user's has
/// such a name.
pub(super) fn temporary_prefix(id: &ApplyId) -> String {
    format!(".ftl-{id}-")
}

impl Hand<'_> {
    /// Brings a path from one state to the next.
    pub(super) fn perform(&self, number: usize, step: &Step) -> Result<Done, MergeError> {
        let path = &step.path;
        let parent =
            self.root.parent(path, OFlags::PATH).map_err(io_error("enter the directory of", path))?;
        match (&step.before, &step.after) {
            (_, None) => self.remove(step, &parent),
            (Some(Node::Dir { .. }), Some(Node::Dir { mode })) => {
                self.check(step, &parent)?;
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let dir =
                    openat(&parent, path.name(), flags, Mode::empty()).map_err(io_error("open", path))?;
                let kept = fstat(&dir).map_err(io_error("read", path))?.st_mode & 0o7000;
                set_mode(&dir, mode | kept).map_err(io_error("change the mode of", path))?;
                Ok(Done::Yes)
            }
            (_, Some(after)) => {
                let temporary = self.temporary(number);
                self.prepare(step, after, &parent, &temporary, Flush::Now)?;
                (self.probe)(Point::Prepared(number)).map_err(|_| MergeError::Stopped)?;
                self.put(step, &parent, &temporary).map(|()| Done::Yes)
            }
        }
    }

    /// Puts many files in place: all of them are made, flushed at once, and then renamed one by one. One
    /// flush of the file system costs much less than one of every file. `done` is told of each.
    pub(super) fn perform_together(
        &self,
        first: usize,
        steps: &[Step],
        done: impl Fn(usize) -> Result<(), MergeError>,
    ) -> Result<(), MergeError> {
        let enter = |step: &Step| {
            let parent = self.root.parent(&step.path, OFlags::PATH);
            parent.map_err(io_error("enter the directory of", &step.path))
        };
        for (number, step) in (first..).zip(steps) {
            let Some(after) = &step.after else { continue };
            self.prepare(step, after, &enter(step)?, &self.temporary(number), Flush::Later)?;
            (self.probe)(Point::Prepared(number)).map_err(|_| MergeError::Stopped)?;
        }
        self.root.flush()?;
        for (number, step) in (first..).zip(steps) {
            self.put(step, &enter(step)?, &self.temporary(number))?;
            done(number)?;
        }
        Ok(())
    }

    /// The name under which a step's new state is made; what is left of it after a failure is swept by it.
    fn temporary(&self, number: usize) -> String {
        format!("{}{number}.tmp", temporary_prefix(self.id))
    }

    fn remove(&self, step: &Step, parent: &OwnedFd) -> Result<Done, MergeError> {
        self.check(step, parent)?;
        let flags = match step.before {
            Some(Node::Dir { .. }) => AtFlags::REMOVEDIR,
            _ => AtFlags::empty(),
        };
        match unlinkat(parent, step.path.name(), flags) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(Done::NotEmpty),
            other => other.map(|()| Done::Yes).map_err(io_error("remove", &step.path)),
        }
    }

    /// Makes what is new under a temporary name.
    fn prepare(
        &self,
        step: &Step,
        after: &Node,
        parent: &OwnedFd,
        temporary: &str,
        flush: Flush,
    ) -> Result<(), MergeError> {
        let path = &step.path;
        match after {
            Node::Dir { mode } => {
                make_dir(parent, path, temporary, *mode).map_err(io_error("create", path))?
            }
            Node::Symlink { target } => {
                symlinkat(target.as_slice(), parent, temporary).map_err(io_error("create", path))?;
            }
            Node::File { mode, hash, .. } => {
                let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let made = openat(parent, temporary, flags, Mode::from_raw_mode(0o600));
                let file = File::from(made.map_err(io_error("create", path))?);
                let written = self.store.write_to(*hash, &file).map_err(io_error("write", path))?;
                if written != *hash {
                    return Err(MergeError::Damaged { path: path.clone() });
                }
                let dress =
                    adopt(&file, parent, path).and_then(|()| fchmod(&file, Mode::from_raw_mode(*mode)));
                dress.map_err(io_error("prepare", path))?;
                if flush == Flush::Now {
                    file.sync_all().map_err(io_error("flush", path))?;
                }
            }
        }
        Ok(())
    }

    /// Renames what was made, if what stands there still is what the step expects.
    fn put(&self, step: &Step, parent: &OwnedFd, temporary: &str) -> Result<(), MergeError> {
        let path = &step.path;
        self.check(step, parent)?;
        let renamed = match step.before {
            Some(_) => renameat(parent, temporary, parent, path.name()),
            None => match renameat_with(parent, temporary, parent, path.name(), RenameFlags::NOREPLACE) {
                // A file system without it; what was there was looked at just now.
                Err(Errno::INVAL | Errno::NOSYS) => renameat(parent, temporary, parent, path.name()),
                other => other,
            },
        };
        match renamed {
            Err(Errno::EXIST) => Err(self.conflict(step, parent)),
            other => other.map_err(io_error("rename", path)),
        }
    }

    /// Compares what stands there with what the step expects.
    fn check(&self, step: &Step, parent: &OwnedFd) -> Result<(), MergeError> {
        let found = look_in(parent, step.path.name()).map_err(io_error("read", &step.path))?;
        if found == step.before { Ok(()) } else { Err(self.conflict(step, parent)) }
    }

    fn conflict(&self, step: &Step, parent: &OwnedFd) -> MergeError {
        let found = look_in(parent, step.path.name()).unwrap_or(None);
        let conflict = Conflict { path: step.path.clone(), expected: step.before.clone(), found };
        MergeError::Changed(Conflicts(vec![conflict]))
    }
}

/// Makes a directory with its final mode and owner under a temporary name.
fn make_dir(parent: &OwnedFd, path: &RelPath, temporary: &str, mode: u32) -> Result<(), Errno> {
    mkdirat(parent, temporary, Mode::from_raw_mode(0o700))?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = openat(parent, temporary, flags, Mode::empty())?;
    adopt(&dir, parent, path)?;
    // A set-group-id bit that came from the directory above stays: the user's group depends on it.
    let inherited = fstat(&dir)?.st_mode & 0o2000;
    fchmod(&dir, Mode::from_raw_mode(mode | inherited))
}

/// Gives what is new the owner of what it replaces, or of the directory it stands in: a daemon that is root
/// must not leave files that the user cannot touch. Others can give nothing away and need not.
fn adopt(new: impl AsFd, parent: &OwnedFd, path: &RelPath) -> Result<(), Errno> {
    let old: Stat = match statat(parent, path.name(), AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => fstat(parent)?,
        old => old?,
    };
    let mine = fstat(&new)?;
    if (mine.st_uid, mine.st_gid) == (old.st_uid, old.st_gid) {
        return Ok(());
    }
    match fchown(&new, Some(Uid::from_raw(old.st_uid)), Some(Gid::from_raw(old.st_gid))) {
        Err(Errno::PERM) => Ok(()),
        other => other,
    }
}

/// Sets the mode of a directory, also one that cannot be read.
fn set_mode(dir: &OwnedFd, mode: u32) -> Result<(), Errno> {
    use std::os::fd::AsRawFd;
    let place = format!("/proc/self/fd/{}", dir.as_raw_fd());
    rustix::fs::chmodat(rustix::fs::CWD, place, Mode::from_raw_mode(mode), AtFlags::empty())
}
