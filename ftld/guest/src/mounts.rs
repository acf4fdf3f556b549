//! Mounts as values: made detached, restricted, then put in place.
//!
//! Owns the kernel's mount calls and their flags. Must not know what a sandbox looks like. A mount is
//! always put at a descriptor, never at a path, so that no symbolic link can move it elsewhere.

use std::ffi::CStr;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use ftl_guest::protocol::{At, Failure, Stage};
use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
};

/// What nothing in a sandbox may do with a mount.
pub(crate) const SAFE: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;

/// [`SAFE`], and nothing can be written.
pub(crate) const READ_ONLY: u64 = SAFE | libc::MOUNT_ATTR_RDONLY;

/// For device nodes: usable, but nobody's to change.
pub(crate) const DEVICE: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC | libc::MOUNT_ATTR_RDONLY;

/// A mount that may not be in place yet.
pub(crate) struct Mount(OwnedFd);

/// An option of a file system: a name, and a value unless the name is all.
pub(crate) type Setting<'a> = (&'a str, Option<&'a str>);

/// Cuts this mount namespace's mounts off from the host's.
pub(crate) fn make_private() -> rustix::io::Result<()> {
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
}

/// Sets attributes on a mount and, with `recursive`, on everything mounted beneath it.
pub(crate) fn restrict(mount: BorrowedFd<'_>, attributes: u64, recursive: bool) -> io::Result<()> {
    let wanted = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a NUL-terminated string and `wanted` outlives the call, which only reads it.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const wanted,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

impl Mount {
    /// A copy of what the host shows at a path, with everything mounted beneath it.
    pub(crate) fn of_path(path: &Path) -> rustix::io::Result<Self> {
        Self::copy(CWD, path)
    }

    /// A copy of what is seen at a descriptor.
    pub(crate) fn of_fd(fd: BorrowedFd<'_>) -> rustix::io::Result<Self> {
        Self::copy(fd, Path::new(""))
    }

    fn copy(dir: BorrowedFd<'_>, path: &Path) -> rustix::io::Result<Self> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_RECURSIVE
            | OpenTreeFlags::AT_EMPTY_PATH;
        rustix::mount::open_tree(dir, path, flags).map(Self)
    }

    /// A new file system.
    pub(crate) fn new(kind: &CStr, settings: &[Setting<'_>], stage: Stage) -> Result<Self, Failure> {
        let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)
            .at(stage, format_args!("opening the file system {}", kind.to_string_lossy()))?;
        let attempt = |act| Attempt { act, kind, context: &context };
        for (key, value) in settings {
            match value {
                Some(value) => rustix::mount::fsconfig_set_string(&context, *key, *value),
                None => rustix::mount::fsconfig_set_flag(&context, *key),
            }
            .at(stage, attempt(key))?;
        }
        rustix::mount::fsconfig_create(&context).at(stage, attempt("making"))?;
        rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
            .at(stage, attempt("mounting"))
            .map(Self)
    }

    /// Restricts the mount and everything beneath it.
    pub(crate) fn restrict(&self, attributes: u64) -> io::Result<()> {
        restrict(self.as_fd(), attributes, true)
    }

    /// Puts the mount over the file or directory at `target`.
    pub(crate) fn attach(&self, target: BorrowedFd<'_>) -> rustix::io::Result<()> {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        rustix::mount::move_mount(&self.0, c"", target, c"", flags)
    }
}

impl AsFd for Mount {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// An act on a file system, described with what the kernel has to say about it.
struct Attempt<'a> {
    act: &'a str,
    kind: &'a CStr,
    context: &'a OwnedFd,
}

impl fmt::Display for Attempt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.act, self.kind.to_string_lossy())?;
        let mut buffer = [0; 512];
        while let Ok(length @ 1..) = rustix::io::read(self.context, &mut buffer[..]) {
            write!(f, " ({})", String::from_utf8_lossy(&buffer[..length]).trim_end())?;
        }
        Ok(())
    }
}
