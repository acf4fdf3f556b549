//! Directories that others may change while they are read.
//!
//! Owns the opening of paths beneath a root without following any link, and the listing of what stands
//! there. Every open is one call of `openat2`, so that no check can be outrun.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use ftl_core::tree::RelPath;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, openat, openat2, statat};
use rustix::io::Result;

/// A name in a directory and what stands there.
pub(super) struct Item {
    pub(super) name: CString,
    pub(super) stat: Stat,
}

/// How a directory is opened to be listed.
pub(super) const LIST: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);
/// How a file is opened to be read. Not blocking: it may have become a FIFO.
pub(super) const READ: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK);

/// Opens a root. Its own path may lead through links: it is the user's or the daemon's.
pub(super) fn open_root(path: &Path) -> Result<OwnedFd> {
    count();
    openat(CWD, path, LIST | OFlags::CLOEXEC, Mode::empty())
}

/// Opens a path beneath a root (`None`: the root itself), through no link and onto no other mount.
pub(super) fn open_beneath(root: impl AsFd, path: Option<&RelPath>, flags: OFlags) -> Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    let path = path.map_or(&b"."[..], RelPath::as_bytes);
    // The kernel gives up with EAGAIN when something is renamed meanwhile; a few times is chance.
    let mut last = rustix::io::Errno::AGAIN;
    for _ in 0..16 {
        count();
        match openat2(root.as_fd(), path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(error) if error == rustix::io::Errno::AGAIN => last = error,
            other => return other,
        }
    }
    Err(last)
}

/// Everything that stands in a directory. What disappears meanwhile is left out.
pub(super) fn list(dir: impl AsFd) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    for entry in Dir::read_from(dir.as_fd())? {
        let name = entry?.file_name().to_owned();
        if matches!(name.as_bytes(), b"." | b"..") {
            continue;
        }
        count();
        match statat(dir.as_fd(), &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => items.push(Item { name, stat }),
            Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(items)
}

/// What stands at a path beneath a root, through no link and onto no other mount.
pub(super) fn stat_beneath(root: impl AsFd, path: &RelPath) -> Result<Stat> {
    rustix::fs::fstat(open_beneath(root, Some(path), OFlags::PATH.union(OFlags::NOFOLLOW))?)
}

/// A small regular file's bytes; `None` when there is none, or it is larger than `most`.
pub(super) fn read_small(root: impl AsFd, path: &RelPath, most: u64) -> Option<Vec<u8>> {
    let file = File::from(open_beneath(root, Some(path), READ).ok()?);
    let meta = file.metadata().ok()?;
    let mut bytes = Vec::new();
    let fits = meta.is_file() && meta.len() <= most;
    std::io::Read::read_to_end(&mut std::io::Read::take(file, most), &mut bytes).ok().filter(|_| fits)?;
    Some(bytes)
}

#[cfg(not(test))]
fn count() {}

#[cfg(test)]
thread_local! {
    /// Paths that were opened or looked at by this thread.
    pub(super) static LOOKED_AT: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
fn count() {
    LOOKED_AT.set(LOOKED_AT.get() + 1);
}

/// The kind of node.
pub(super) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// The modification time in nanoseconds since the Unix epoch.
pub(super) fn mtime_ns(stat: &Stat) -> i64 {
    nanoseconds(stat.st_mtime, stat.st_mtime_nsec as i64)
}

/// The time of the last change to the node itself, in nanoseconds since the Unix epoch.
pub(super) fn ctime_ns(stat: &Stat) -> i64 {
    nanoseconds(stat.st_ctime, stat.st_ctime_nsec as i64)
}

fn nanoseconds(seconds: i64, rest: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}
