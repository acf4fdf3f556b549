//! One directory from several that lie one over the other.
//!
//! Owns the merge of an overlay's layers on disk, by links, and the copy of a single directory that somebody
//! will go on writing to. Nothing may run in any of them, but they may be mounted: what is in them is not
//! changed, except that a closed directory is open while it is read. Must not know whose they are.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use ftl_core::tree::RelPath;
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags, chownat, fchmod,
    fchown, fgetxattr, fsetxattr, fstat, futimens, linkat, mkdirat, openat, readlinkat, symlinkat,
};
use rustix::io::Errno;
use rustix::path::Arg;

use super::capture::{lift, set_mode};
use super::dir::{self, Item, LIST};
use super::{SnapshotError, content, io_error};

/// The attribute of a directory that hides what lies below it.
const OPAQUE: &CStr = c"user.overlay.opaque";

/// How a file gets into the new directory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// As the same file: nobody writes to either.
    Link,
    /// As a file of its own, sharing its content where the file system can.
    Copy,
}

/// Makes of an overlay's layers, the one on top first, one layer that shows the same. Costs no content.
///
/// # Errors
/// When a layer cannot be read, or the new one not be written; what there is of it is the caller's to remove.
pub fn fold(layers: &[impl AsRef<Path>], target: &Path) -> Result<(), SnapshotError> {
    let mut roots = Vec::new();
    for layer in layers {
        roots.push(open(CWD, layer.as_ref()).map_err(io_error("open", layer))?);
    }
    new_root(target)
        .and_then(|to| make(&roots, &to, By::Link, 0))
        .map_err(io_error("fold layers into", target))
}

/// Copies a directory for somebody who will write to it. What is neither file, directory nor symbolic link is
/// left out.
///
/// # Errors
/// When the directory cannot be read, or the new one not be written; what there is of it is the caller's to
/// remove.
pub fn copy(from: &Path, target: &Path) -> Result<(), SnapshotError> {
    let roots = [open(CWD, from).map_err(io_error("open", from))?];
    let copied = new_root(target).and_then(|to| {
        make(&roots, &to, By::Copy, 0)?;
        let mut like = fstat(&roots[0].dir)?;
        like.st_mode = roots[0].closed.unwrap_or(like.st_mode);
        dress(&to, &like, false)
    });
    copied.map_err(io_error("copy to", target))
}

/// A directory that is read; its mode is put back if it had to be opened.
struct Part {
    dir: OwnedFd,
    closed: Option<u32>,
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(mode) = self.closed {
            // Its owner can close it as well as anybody: nothing depends on this.
            let _ = set_mode(&self.dir, mode);
        }
    }
}

fn new_root(target: &Path) -> io::Result<OwnedFd> {
    mkdirat(CWD, target, Mode::from_raw_mode(0o755))?;
    let root = openat(CWD, target, LIST | OFlags::CLOEXEC, Mode::empty())?;
    // Set, not only asked for: the daemon's mask must not decide what a sandbox sees.
    fchmod(&root, Mode::from_raw_mode(0o755))?;
    Ok(root)
}

fn make(parts: &[Part], target: &OwnedFd, by: By, depth: usize) -> io::Result<()> {
    if depth > RelPath::DEEPEST {
        return Err(io::Error::from(Errno::NAMETOOLONG));
    }
    let mut names: BTreeMap<CString, Vec<(usize, Stat)>> = BTreeMap::new();
    for (at, part) in parts.iter().enumerate() {
        for Item { name, stat } in dir::list(&part.dir)? {
            names.entry(name).or_default().push((at, stat));
        }
    }
    for (name, found) in names {
        let Some((at, stat)) = found.first() else { continue };
        if !dir::kind(stat).is_dir() {
            take(parts[*at].dir.as_fd(), &name, stat, target, by)?;
            continue;
        }
        let mut inner = Vec::new();
        let mut opaque = false;
        for (at, stat) in &found {
            // A file or a whiteout between them hides what lies below, in the base too.
            opaque = !dir::kind(stat).is_dir();
            if opaque {
                break;
            }
            let part = open(&parts[*at].dir, name.as_c_str())?;
            opaque = is_opaque(&part.dir)?;
            inner.push(part);
            if opaque {
                break;
            }
        }
        mkdirat(target, &name, Mode::from_raw_mode(0o700))?;
        let made = openat(target, &name, LIST | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        make(&inner, &made, by, depth + 1)?;
        dress(&made, stat, opaque && by == By::Link)?;
    }
    Ok(())
}

/// Opens a directory to be listed; gives its owner the right to first if that is missing.
fn open(at: impl AsFd, name: impl Arg + Copy) -> io::Result<Part> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let place = openat(&at, name, flags, Mode::empty())?;
    let closed = lift(&place, 0o500)?;
    let opened = openat(&at, name, LIST | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
    match opened {
        Ok(dir) => Ok(Part { dir, closed }),
        Err(error) => {
            drop(Part { dir: place, closed });
            Err(error.into())
        }
    }
}

fn is_opaque(node: &OwnedFd) -> io::Result<bool> {
    let mut value = [0; 8];
    match fgetxattr(node, OPAQUE, &mut value) {
        Ok(length) => Ok(&value[..length] == b"y"),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Brings anything but a directory into the new directory.
fn take(from: BorrowedFd<'_>, name: &CStr, stat: &Stat, target: &OwnedFd, by: By) -> io::Result<()> {
    let kind = dir::kind(stat);
    match (by, kind) {
        (By::Link, _) => linkat(from, name, target, name, AtFlags::empty())?,
        (By::Copy, FileType::Symlink) => {
            symlinkat(readlinkat(from, name, Vec::new())?.as_c_str(), target, name)?;
            if let Some((uid, gid)) = owner(stat) {
                chownat(target, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
            }
        }
        (By::Copy, FileType::RegularFile) => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let source = openat(from, name, flags, Mode::empty())?;
            let create = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let made = File::from(openat(target, name, create, Mode::from_raw_mode(0o600))?);
            content::duplicate(&File::from(source), &made)?;
            dress(made, stat, false)?;
        }
        (By::Copy, _) => {}
    }
    Ok(())
}

/// Gives a node what another one has: owner, time, mode. The mode comes last: it may forbid the rest.
fn dress(node: impl AsFd, like: &Stat, opaque: bool) -> io::Result<()> {
    if let Some((uid, gid)) = owner(like) {
        fchown(&node, Some(uid), Some(gid))?;
    }
    if opaque {
        fsetxattr(&node, OPAQUE, b"y", XattrFlags::empty())?;
    }
    let time = |seconds: i64, rest: i64| Timespec { tv_sec: seconds, tv_nsec: rest };
    #[allow(clippy::unnecessary_cast, reason = "the width of these fields differs between architectures")]
    let times = Timestamps {
        last_access: time(like.st_atime as i64, like.st_atime_nsec as i64),
        last_modification: time(like.st_mtime as i64, like.st_mtime_nsec as i64),
    };
    futimens(&node, &times)?;
    Ok(fchmod(&node, Mode::from_raw_mode(like.st_mode & 0o7777))?)
}

/// Whom it belongs to; only root can give that on.
fn owner(stat: &Stat) -> Option<(Uid, Gid)> {
    let root = rustix::process::geteuid().is_root();
    root.then(|| (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid)))
}
