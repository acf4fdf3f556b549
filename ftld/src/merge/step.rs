//! Carrying out one step.
//!
//! Owns how a path goes from one state to the next so that a crash leaves it in one of the two: whatever is
//! new is made complete under a draft's name in the same directory, flushed, given a temporary name, and
//! exchanged with the old. The state before is compared on the open directory right before that, and the old
//! file is looked at once more when it has lost its name: what someone wrote between is found there, and is put
//! back. So what bears a draft's name is always ours, and what bears a temporary name is complete.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use ftl_core::id::{ApplyId, Hash};
use ftl_core::merge::{Conflict, Conflicts, Step};
use ftl_core::tree::{Node, RelPath};
use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, RenameFlags, Stat, Uid, chownat, fstat, mkdirat, openat, renameat,
    renameat_with, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use super::attributes::{Attributes, Kept, Origin, dress};
use super::leftover::{draft, temporary};
use super::root::{Root, look_in, open_file};
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

/// What tells that nobody wrote to a node between two looks. A rename changes none of it, unlike `ctime`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp {
    device: u64,
    inode: u64,
    mode: u32,
    size: i64,
    mtime: (i64, i64),
}

/// How much older than its last renaming a node's `mtime` must be to be trusted, in seconds: clocks of file
/// systems tick slowly, and two writes within a tick have one `mtime`.
const TICK: i64 = 2;

/// Carries out steps of one application.
pub(super) struct Hand<'a> {
    pub(super) root: &'a Root,
    pub(super) store: &'a dyn Blobs,
    pub(super) id: &'a ApplyId,
    /// What the steps take away has beside content and mode, sorted by path, directories before files.
    pub(super) kept: &'a [Kept],
    pub(super) probe: &'a super::Probe,
}

impl Hand<'_> {
    /// Brings a path from one state to the next.
    pub(super) fn perform(&self, number: usize, step: &Step) -> Result<Done, MergeError> {
        let path = &step.path;
        let parent =
            self.root.parent(path, OFlags::PATH).map_err(io_error("enter the directory of", path))?;
        match (&step.before, &step.after) {
            (_, None) => self.remove(number, step, &parent),
            (Some(Node::Dir { .. }), Some(Node::Dir { mode })) => {
                self.check(step, &parent)?;
                // Not what is mounted there.
                let dir = self.root.open_beneath(Some(path), OFlags::PATH | OFlags::DIRECTORY);
                let dir = dir.map_err(io_error("open", path))?;
                let kept = fstat(&dir).map_err(io_error("read", path))?.st_mode & 0o7000;
                set_mode(&dir, mode | kept).map_err(io_error("change the mode of", path))?;
                Ok(Done::Yes)
            }
            (_, Some(after)) => {
                self.prepare(step, after, &parent, &draft(self.id, number), Flush::Now)?;
                self.at(Point::Prepared(number))?;
                self.put(number, step, &parent).map(|()| Done::Yes)
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
            self.prepare(step, after, &enter(step)?, &draft(self.id, number), Flush::Later)?;
            self.at(Point::Prepared(number))?;
        }
        self.root.flush()?;
        for (number, step) in (first..).zip(steps) {
            self.put(number, step, &enter(step)?)?;
            done(number)?;
        }
        Ok(())
    }

    fn remove(&self, number: usize, step: &Step, parent: &OwnedFd) -> Result<Done, MergeError> {
        let stamp = self.check(step, parent)?;
        self.at(Point::Checked(number))?;
        if let Some(Node::Dir { .. }) = step.before {
            return match unlinkat(parent, step.path.name(), AtFlags::REMOVEDIR) {
                Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(Done::NotEmpty),
                other => other.map(|()| Done::Yes).map_err(io_error("remove", &step.path)),
            };
        }
        let temporary = temporary(self.id, number);
        let (from, to) = (step.path.name(), temporary.as_bytes());
        match renameat_with(parent, from, parent, to, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::NOSYS) => {
                self.check_stamp(step, parent, stamp)?;
                unlinkat(parent, from, AtFlags::empty()).map_err(io_error("remove", &step.path))?;
                return Ok(Done::Yes);
            }
            Err(Errno::NOENT) => return Err(self.conflict(step, parent)),
            Err(error) => return Err(io_error("remove", &step.path)(error)),
        }
        self.at(Point::Displaced(number))?;
        if !is_untouched(parent, to, stamp, step.before.as_ref()) {
            give_back(step, parent, &temporary).map_err(io_error("put back", &step.path))?;
            return Err(self.conflict(step, parent));
        }
        unlinkat(parent, to, AtFlags::empty()).map_err(io_error("remove", &step.path))?;
        Ok(Done::Yes)
    }

    /// Makes what is new under a draft's name.
    fn prepare(
        &self,
        step: &Step,
        after: &Node,
        parent: &OwnedFd,
        draft: &str,
        flush: Flush,
    ) -> Result<(), MergeError> {
        let path = &step.path;
        let origin = || self.origin(step, after, parent).map_err(io_error("read the attributes of", path));
        match after {
            Node::Dir { mode } => {
                let dir = make_dir(parent, draft).map_err(io_error("create", path))?;
                dress(&dir, &origin()?, *mode).map_err(io_error("prepare", path))?;
            }
            Node::Symlink { target } => {
                symlinkat(target.as_slice(), parent, draft).map_err(io_error("create", path))?;
                adopt_link(parent, path, draft).map_err(io_error("prepare", path))?;
            }
            Node::File { mode, hash, .. } => {
                let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let made = openat(parent, draft, flags, Mode::from_raw_mode(0o600));
                let file = File::from(made.map_err(io_error("create", path))?);
                let written = self.store.write_to(*hash, &file).map_err(io_error("write", path))?;
                if written != *hash {
                    return Err(MergeError::Damaged { path: path.clone() });
                }
                dress(&file, &origin()?, *mode).map_err(io_error("prepare", path))?;
                if flush == Flush::Now {
                    file.sync_all().map_err(io_error("flush", path))?;
                }
            }
        }
        Ok(())
    }

    /// What the new node is dressed in: as what stands there, as what stood there, or as its directory says.
    fn origin(&self, step: &Step, after: &Node, parent: &OwnedFd) -> io::Result<Origin> {
        let origin = |old: Option<Hash>, attributes| {
            if old == after.hash() { Origin::Same(attributes) } else { Origin::Other(attributes) }
        };
        if let (Some(Node::File { hash, .. }), Node::File { .. }) = (&step.before, after) {
            match open_file(parent, step.path.name()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                file => return Ok(origin(Some(*hash), Attributes::of(file?)?)),
            }
        }
        let wanted = (&step.path, !after.is_dir());
        let kept = self.kept.binary_search_by(|kept| (&kept.path, kept.hash.is_some()).cmp(&wanted));
        match kept.ok().and_then(|at| self.kept.get(at)) {
            Some(kept) => Ok(origin(kept.hash, kept.attributes.clone())),
            None => Ok(Origin::In(fstat(parent)?)),
        }
    }

    /// Puts what was made in place, if what stands there still is what the step expects.
    fn put(&self, number: usize, step: &Step, parent: &OwnedFd) -> Result<(), MergeError> {
        let path = &step.path;
        let temporary = temporary(self.id, number);
        name_complete(parent, &draft(self.id, number), &temporary).map_err(io_error("prepare", path))?;
        let stamp = self.check(step, parent)?;
        self.at(Point::Checked(number))?;
        let flags = if step.before.is_some() { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
        match renameat_with(parent, &temporary, parent, path.name(), flags) {
            Ok(()) if step.before.is_some() => self.displaced(number, step, parent, stamp),
            Ok(()) => Ok(()),
            // A file system without it: all that is left is to look again, as late as possible.
            Err(Errno::INVAL | Errno::NOSYS) => {
                self.check_stamp(step, parent, stamp)?;
                renameat(parent, &temporary, parent, path.name()).map_err(io_error("rename", path))
            }
            Err(Errno::EXIST | Errno::NOENT) => Err(self.conflict(step, parent)),
            Err(error) => Err(io_error("rename", path)(error)),
        }
    }

    /// Removes what a step took the place of, or gives it its place back when someone wrote to it meanwhile.
    fn displaced(
        &self,
        number: usize,
        step: &Step,
        parent: &OwnedFd,
        stamp: Option<Stamp>,
    ) -> Result<(), MergeError> {
        self.at(Point::Displaced(number))?;
        let temporary = temporary(self.id, number);
        if is_untouched(parent, temporary.as_bytes(), stamp, step.before.as_ref()) {
            let flags = match step.before {
                Some(Node::Dir { .. }) => AtFlags::REMOVEDIR,
                _ => AtFlags::empty(),
            };
            return unlinkat(parent, &temporary, flags).map_err(io_error("remove the old", &step.path));
        }
        give_back(step, parent, &temporary).map_err(io_error("put back", &step.path))?;
        Err(self.conflict(step, parent))
    }

    fn at(&self, point: Point) -> Result<(), MergeError> {
        (self.probe)(point).map_err(|_| MergeError::Stopped)
    }

    /// Compares what stands there with what the step expects. The stamp is from before the comparison, so
    /// that a write during it is seen too.
    fn check(&self, step: &Step, parent: &OwnedFd) -> Result<Option<Stamp>, MergeError> {
        let stamp = stamp(parent, step.path.name()).map_err(io_error("read", &step.path))?;
        let found = look_in(parent, step.path.name()).map_err(io_error("read", &step.path))?;
        if found == step.before { Ok(stamp) } else { Err(self.conflict(step, parent)) }
    }

    fn check_stamp(&self, step: &Step, parent: &OwnedFd, old: Option<Stamp>) -> Result<(), MergeError> {
        let now = stamp(parent, step.path.name()).map_err(io_error("read", &step.path))?;
        if now == old { Ok(()) } else { Err(self.conflict(step, parent)) }
    }

    fn conflict(&self, step: &Step, parent: &OwnedFd) -> MergeError {
        let found = look_in(parent, step.path.name()).unwrap_or(None);
        let conflict = Conflict { path: step.path.clone(), expected: step.before.clone(), found };
        MergeError::Changed(Conflicts(vec![conflict]))
    }
}

fn stamp(parent: &OwnedFd, name: &[u8]) -> Result<Option<Stamp>, Errno> {
    match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(Stamp::of(&stat))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Stamp {
    fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            mode: stat.st_mode,
            size: stat.st_size,
            mtime: (stat.st_mtime, stat.st_mtime_nsec as i64),
        }
    }
}

/// Whether what was renamed away is what was looked at before. What cannot be told counts as touched.
fn is_untouched(parent: &OwnedFd, name: &[u8], old: Option<Stamp>, before: Option<&Node>) -> bool {
    let Ok(stat) = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) else { return false };
    if old != Some(Stamp::of(&stat)) {
        return false;
    }
    // The renaming set its `ctime` just now: what was written about then is read again.
    let is_fresh = stat.st_ctime.saturating_sub(stat.st_mtime) < TICK;
    !is_fresh || look_in(parent, name).is_ok_and(|found| found.as_ref() == before)
}

/// Gives what lies under a step's temporary name its own name back. What took its place is ours, and lies
/// under the temporary name then. Something newer than both stays where it is.
fn give_back(step: &Step, parent: &OwnedFd, temporary: &str) -> io::Result<()> {
    give_back_for(parent, temporary, step.path.name(), step.after.as_ref())
}

/// The same, where `ours` is what took its place.
pub(super) fn give_back_for(
    parent: &OwnedFd,
    temporary: &str,
    name: &[u8],
    ours: Option<&Node>,
) -> io::Result<()> {
    if look_in(parent, name)?.as_ref() != ours {
        return Ok(());
    }
    let flags = if ours.is_some() { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
    match renameat_with(parent, temporary, parent, name, flags) {
        Err(Errno::EXIST) => Ok(()),
        other => Ok(other?),
    }
}

/// Gives a complete draft its temporary name.
fn name_complete(parent: &OwnedFd, draft: &str, temporary: &str) -> Result<(), Errno> {
    match renameat_with(parent, draft, parent, temporary, RenameFlags::NOREPLACE) {
        // A file system without it; the name is ours.
        Err(Errno::INVAL | Errno::NOSYS) => renameat(parent, draft, parent, temporary),
        other => other,
    }
}

/// Makes a directory that only its owner can use.
fn make_dir(parent: &OwnedFd, draft: &str) -> Result<OwnedFd, Errno> {
    mkdirat(parent, draft, Mode::from_raw_mode(0o700))?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(parent, draft, flags, Mode::empty())
}

/// Gives a new link the owner of what it replaces, or of the directory it stands in, where this user may.
fn adopt_link(parent: &OwnedFd, path: &RelPath, draft: &str) -> Result<(), Errno> {
    let old: Stat = match statat(parent, path.name(), AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => fstat(parent)?,
        old => old?,
    };
    let mine = statat(parent, draft, AtFlags::SYMLINK_NOFOLLOW)?;
    if mine.st_uid == old.st_uid {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(old.st_uid), Gid::from_raw(old.st_gid));
    match chownat(parent, draft, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW) {
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
