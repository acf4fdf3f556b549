//! Removing directories that hostile code filled.
//!
//! Owns deletion without following links, through directories that cannot be read, and however deep they
//! nest: what lies too deep is first moved up.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, renameat, statat, unlinkat};
use rustix::io::Errno;

/// Directories that are open at once on the way down.
const DEPTH: usize = 64;

/// Deletes a directory and all that is in it, or the one thing that is there instead. Nothing that a link
/// in it names is touched.
///
/// # Errors
/// When something cannot be deleted. That nothing is there is no error.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let stat = match statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Ok(unlinkat(CWD, path, AtFlags::empty())?);
    }
    let top = open(CWD, path)?;
    let mut raised = 0;
    empty(top.as_fd(), top.as_fd(), 0, &mut raised)?;
    Ok(unlinkat(CWD, path, AtFlags::REMOVEDIR)?)
}

/// Deletes what is in `dir`, which lies `depth` beneath `top`.
fn empty(top: BorrowedFd<'_>, dir: BorrowedFd<'_>, depth: usize, raised: &mut u64) -> io::Result<()> {
    // Names are collected first: deleting while reading skips some. What is moved up while its new place is
    // being emptied is met in the next round.
    loop {
        let names = names(dir)?;
        if names.is_empty() {
            return Ok(());
        }
        for name in names {
            let is_dir = match unlinkat(dir, &name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => false,
                Err(Errno::ISDIR | Errno::PERM) => true,
                Err(error) => return Err(error.into()),
            };
            if !is_dir {
                continue;
            }
            let inner = match open(dir, &name) {
                // Another user's, as who mounted an overlay made one in there: it can go when it is empty.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    unlinkat(dir, &name, AtFlags::REMOVEDIR).map_err(|_| error)?;
                    continue;
                }
                opened => opened?,
            };
            if depth >= DEPTH {
                raise(top, dir, &name, raised)?;
            } else {
                empty(top, inner.as_fd(), depth + 1, raised)?;
                unlinkat(dir, &name, AtFlags::REMOVEDIR)?;
            }
        }
    }
}

/// Moves a directory up to where there is room to walk down again.
fn raise(top: BorrowedFd<'_>, dir: BorrowedFd<'_>, name: &CString, raised: &mut u64) -> io::Result<()> {
    loop {
        *raised += 1;
        match renameat(dir, name, top, format!(".raised-{raised}")) {
            // Something has that name already.
            Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
            other => return Ok(other?),
        }
    }
}

fn names(dir: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let name = entry?.file_name().to_owned();
        if !matches!(name.as_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    Ok(names)
}

/// Opens a directory so that its owner can empty it.
fn open<P: rustix::path::Arg + Copy>(at: impl AsFd, name: P) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let place = openat(
        &at,
        name,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let mode = rustix::fs::fstat(&place)?.st_mode & 0o777;
    if mode & 0o700 != 0o700 {
        super::capture::set_mode(&place, mode | 0o700)?;
    }
    Ok(openat(&at, name, flags, Mode::empty())?)
}
