//! Where a project lies.
//!
//! Owns the question whether the kernel tells of every change there: which file systems it does for, and
//! whether something was mounted since the last time. Must not know what is in the project.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{fstat, fstatfs};

use super::live::Sweeping;

/// File systems that only this machine's kernel changes: ext2 to ext4, xfs, btrfs, tmpfs, f2fs, zfs,
/// bcachefs, ramfs. On any other, events are not trusted: another machine or another layer may write, or
/// names may be compared in other ways.
const LOCAL: [u64; 8] =
    [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0xF2F5_2010, 0x2FC1_2FC1, 0xCA45_1A4E, 0x8584_58F6];
const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// A project's root, and the mounts at and beneath it.
pub(super) struct Site {
    /// Device and inode: another directory at the same path is another project.
    identity: (u64, u64),
    path: PathBuf,
    table: Option<File>,
    mounts: Vec<Vec<u8>>,
}

impl Site {
    /// Looks at an open root; `path` is where it was opened.
    pub(super) fn of(root: &OwnedFd, path: &Path) -> Self {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let table = File::open("/proc/self/mountinfo").ok();
        let mut site = Self { identity: identity(root), path, table, mounts: Vec::new() };
        site.mounts = site.read().unwrap_or_default();
        site
    }

    /// Why changes there cannot be heard of.
    pub(super) fn distrust(&self, root: &OwnedFd) -> Option<Sweeping> {
        let kind = fstatfs(root).map(|stat| stat.f_type as u64 & 0xFFFF_FFFF).unwrap_or(0);
        match self.table.is_some() && LOCAL.contains(&kind) {
            true => None,
            false => Some(Sweeping::FileSystem(kind)),
        }
    }

    /// Whether another directory is at the path now.
    pub(super) fn is_other(&self, root: &OwnedFd) -> bool {
        self.identity != identity(root)
    }

    /// Whether something was mounted or unmounted at the root or beneath it since the last call.
    pub(super) fn is_remounted(&mut self) -> bool {
        let Some(table) = &self.table else { return true };
        let mut table = [PollFd::from_borrowed_fd(table.as_fd(), PollFlags::PRI)];
        if poll(&mut table, Some(&NOW)) == Ok(0) {
            return false;
        }
        let mounts = self.read().unwrap_or_default();
        let is_other = mounts != self.mounts;
        self.mounts = mounts;
        is_other
    }

    /// The lines of the table of mounts that are about this place.
    fn read(&mut self) -> Option<Vec<Vec<u8>>> {
        let mut text = Vec::new();
        let table = self.table.as_mut()?;
        table.rewind().ok()?;
        table.read_to_end(&mut text).ok()?;
        let about = |line: &&[u8]| {
            let point = line.split(|byte| *byte == b' ').nth(4).map(unescape).unwrap_or_default();
            Path::new(std::ffi::OsStr::from_bytes(&point)).starts_with(&self.path)
        };
        Some(text.split(|byte| *byte == b'\n').filter(about).map(<[u8]>::to_vec).collect())
    }
}

fn identity(root: &OwnedFd) -> (u64, u64) {
    fstat(root).map(|stat| (stat.st_dev, stat.st_ino)).unwrap_or_default()
}

/// The table writes a space as `\040`, and so on.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let digits = after.first_chunk::<3>().filter(|_| *first == b'\\');
        let code = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|code| u8::from_str_radix(code, 8).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &after[3..];
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_points_escapes_are_read() {
        assert_eq!(unescape(br"/a\040b\134c\0"), br"/a b\c\0");
    }
}
