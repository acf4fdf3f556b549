//! Files that the daemon made, shown in a sandbox.
//!
//! Owns how they get over what stands at their paths. Must not know what is in them. Their content is
//! copied to a file system of their own, in memory and read-only, so that neither the sandbox nor anyone
//! who still has the daemon's copy can change them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use ftl_guest::protocol::{At, Failure, File, Stage};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use crate::mounts::{self, Mount};
use crate::root::{make_place, open};
use crate::sources::Kind;

/// Where the file system is while it is filled; nobody else sees it there.
const STAGING: &str = ".files";

/// What a file takes up at least, bytes.
const BLOCK: u64 = 4096;

/// Shows the files beneath `root`. `content` has theirs, one after the other.
pub(crate) fn show(root: BorrowedFd<'_>, files: &[File], content: Option<OwnedFd>) -> Result<(), Failure> {
    let stage = Stage::Files;
    let Some(content) = content.filter(|_| !files.is_empty()) else { return Ok(()) };
    // A block for every file's own record and for the directory's.
    let blocks = files.iter().map(|file| file.length.div_ceil(BLOCK) + 1).sum::<u64>() + 2;
    let size = (blocks * BLOCK).to_string();
    let memory = Mount::new(c"tmpfs", &[("size", Some(&size)), ("mode", Some("0755"))], stage)?;
    let staging = make_place(root, Path::new(STAGING), Kind::Directory).at(stage, "making a directory")?;
    memory.attach(staging.as_fd()).at(stage, "putting files in place")?;
    for (number, file) in files.iter().enumerate() {
        let path = file.path.as_path();
        let made = copy(memory.as_fd(), &number.to_string(), content.as_fd(), file.length)
            .map_err(std::io::Error::from)
            .and_then(|copied| cover(root, path, copied.as_fd()));
        made.at(stage, format_args!("showing {}", path.display()))?;
    }
    rustix::process::fchdir(root).at(stage, "entering a directory")?;
    rustix::mount::unmount(STAGING, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).at(stage, STAGING)?;
    rustix::fs::unlinkat(root, STAGING, AtFlags::REMOVEDIR).at(stage, "removing a directory")
}

/// Copies what comes next to a new file.
fn copy(
    dir: BorrowedFd<'_>,
    name: &str,
    content: BorrowedFd<'_>,
    length: u64,
) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o444))?;
    let mut missing = length;
    while missing > 0 {
        let most = usize::try_from(missing).unwrap_or(usize::MAX);
        match rustix::fs::sendfile(&file, content, None, most)? {
            0 => return Err(Errno::NODATA),
            copied => missing = missing.saturating_sub(copied as u64),
        }
    }
    open(dir, name, OFlags::empty())
}

/// Puts a file over what stands at a path, or at the end of the links that stand there.
fn cover(root: BorrowedFd<'_>, path: &Path, file: BorrowedFd<'_>) -> std::io::Result<()> {
    let relative = path.strip_prefix("/").unwrap_or(path);
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let place = match rustix::fs::openat2(root, relative, flags, Mode::empty(), resolve) {
        Err(Errno::NOENT) => match make_place(root, relative, Kind::File) {
            // It would stand in a directory of the host's, or links lead to nowhere: none looks there.
            Err(Errno::NOENT | Errno::ROFS | Errno::LOOP | Errno::NOTDIR) => return Ok(()),
            made => made?,
        },
        found => found?,
    };
    let copy = Mount::of_fd(file)?;
    copy.restrict(mounts::READ_ONLY | libc::MOUNT_ATTR_NOEXEC)?;
    Ok(copy.attach(place.as_fd())?)
}
