//! Copies of what a project has installed: ignored directories, as a layer that lies below a snapshot's base.
//!
//! Owns the copy: what of it stays outside for what it is, how much may be copied, and how it is told that nothing
//! has changed since. Reads the project, through no link and onto no other mount, and changes nothing in it, not even
//! a count of links. Must not know which directories are wanted, or why.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use ftl_core::id::Hash;
use ftl_core::refuse::{KEY_WINDOW, holds_private_key, secret_at_end};
use ftl_core::tree::RelPath;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid, chownat, fchmod, fchown, futimens, mkdirat, openat,
    readlinkat, symlinkat, utimensat,
};

use super::blob::times;
use super::checkout::{Place, dress_dir};
use super::dir::{self, LIST, READ};
use super::index::Stamp;
use super::rules::forbidden;
use super::{SnapshotError, content, io_error};

/// What is installed at this moment, without its contents.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Installed {
    items: BTreeMap<RelPath, Item>,
    /// Directories that are left out, each with the reason: a part of a sentence.
    pub left_out: Vec<(RelPath, &'static str)>,
}

/// What stands at a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Item {
    mode: u32,
    stamp: Stamp,
}

/// How much is copied of a project at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Most {
    /// Files, directories and links.
    pub paths: usize,
    /// Bytes.
    pub bytes: u64,
}

/// Where a copy is made, and for whom.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// An absent directory.
    pub dir: &'a Path,
    /// Whom it belongs to; only root can give it away.
    pub owner: Option<(u32, u32)>,
    /// Where a sandbox has the project: programs that name the project's own interpreter name it there.
    pub workspace: &'a Path,
}

/// The longest text in which the project's own path is looked for, bytes.
const TEXT: u64 = 256 * 1024;

impl Installed {
    /// Looks at these directories of the project at `root`. What is kept under a secret's name, version control's own
    /// and what is neither file, directory nor link is left out, as everywhere; a directory that is too large, as a
    /// whole.
    ///
    /// # Errors
    /// When the project's directory cannot be read.
    pub fn look(root: &Path, dirs: &[RelPath], most: Most) -> Result<Self, SnapshotError> {
        let top = dir::open_root(root).map_err(io_error("open", root))?;
        let mut found = Self::default();
        let mut left = most;
        for path in dirs {
            let mut items = BTreeMap::new();
            let room = match walk(&top, path, left, &mut items) {
                Ok(room) => room,
                // One that changes or cannot be read is not there for the check.
                Err(_) => {
                    found.left_out.push((path.clone(), "it cannot be read"));
                    continue;
                }
            };
            match room {
                Some(room) => {
                    left = room;
                    found.items.extend(items);
                }
                None => found.left_out.push((path.clone(), "it is too large")),
            }
        }
        Ok(found)
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether a path is there.
    #[must_use]
    pub fn has(&self, path: &RelPath) -> bool {
        self.items.contains_key(path)
    }

    /// Bytes of all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.items.values().filter(|item| is(item, FileType::RegularFile)).map(|item| item.stamp.size).sum()
    }

    /// A hash over all that is known of it: equal ones have equal contents, as far as stamps tell.
    #[must_use]
    pub fn digest(&self) -> Hash {
        let mut hasher = blake3::Hasher::new();
        for (path, Item { mode, stamp }) in &self.items {
            hasher.update(&(path.as_bytes().len() as u64).to_le_bytes());
            hasher.update(path.as_bytes());
            hasher.update(&mode.to_le_bytes());
            let Stamp { inode, size, mtime_ns, ctime_ns } = *stamp;
            hasher.update(&[inode, size].map(u64::to_le_bytes).concat());
            hasher.update(&[mtime_ns, ctime_ns].map(i64::to_le_bytes).concat());
        }
        Hash::of(hasher.finalize().as_bytes())
    }

    /// Copies all of it. A file that has changed or gone since it was [looked](Self::look) at is copied as it is now,
    /// or not at all; one that holds a private key is not.
    ///
    /// # Errors
    /// When the copy cannot be written; what there is of it is the caller's to remove.
    pub fn copy(&self, root: &Path, target: Target<'_>) -> Result<(), SnapshotError> {
        let top = dir::open_root(root).map_err(io_error("open", root))?;
        std::fs::create_dir(target.dir).map_err(io_error("create", target.dir))?;
        let mut place = Place::open(target.dir)?;
        let mut dirs: BTreeMap<RelPath, Option<Item>> = BTreeMap::new();
        for path in self.items.keys() {
            // What lies above is the base's, and shown as the base has it.
            for above in path.ancestors() {
                dirs.entry(above).or_default();
            }
        }
        for (path, item) in &self.items {
            if is(item, FileType::Directory) {
                dirs.insert(path.clone(), Some(*item));
            }
        }
        for path in dirs.keys() {
            let dir = place.parent_of(path).map_err(io_error("enter", target.dir))?;
            mkdirat(dir, path.name(), Mode::from_raw_mode(0o700))
                .map_err(io_error("create", path.to_string()))?;
        }
        let own = Own { top: &top, root, target };
        for (path, item) in &self.items {
            let dir = place.parent_of(path).map_err(io_error("enter", target.dir))?;
            match FileType::from_raw_mode(item.mode) {
                FileType::RegularFile => own.file(path, dir),
                FileType::Symlink => own.link(path, dir, item),
                _ => Ok(()),
            }
            .map_err(io_error("write", path.to_string()))?;
        }
        while let Some((path, item)) = dirs.pop_last() {
            let dir = place.parent_of(&path).map_err(io_error("enter", target.dir))?;
            let (mode, mtime_ns) = item.map_or((0o755, 0), |item| (item.mode & 0o777, item.stamp.mtime_ns));
            // A directory that its owner may not enter is of no use to a check.
            dress_dir(dir, &path, mode | 0o700, mtime_ns, target.owner)
                .map_err(io_error("prepare", path.to_string()))?;
        }
        let dressed = || -> std::io::Result<()> {
            let made = dir::open_root(target.dir)?;
            if let Some((uid, gid)) = target.owner {
                fchown(&made, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
            }
            Ok(fchmod(&made, Mode::from_raw_mode(0o755))?)
        };
        dressed().map_err(io_error("prepare", target.dir))
    }
}

fn is(item: &Item, kind: FileType) -> bool {
    FileType::from_raw_mode(item.mode) == kind
}

/// Collects a directory and all in it; `None` when there is more than may be.
fn walk(
    top: &OwnedFd,
    path: &RelPath,
    most: Most,
    items: &mut BTreeMap<RelPath, Item>,
) -> rustix::io::Result<Option<Most>> {
    let mut left = most;
    let mut todo = vec![(path.clone(), dir::stat_beneath(top, path)?)];
    while let Some((path, stat)) = todo.pop() {
        let kind = dir::kind(&stat);
        let is_wanted = matches!(kind, FileType::RegularFile | FileType::Directory | FileType::Symlink)
            && forbidden(path.name()).is_none()
            && secret_at_end(&path, kind.is_dir()).is_none();
        if !is_wanted {
            continue;
        }
        let size = if kind.is_file() { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 };
        let (Some(paths), Some(bytes)) = (left.paths.checked_sub(1), left.bytes.checked_sub(size)) else {
            return Ok(None);
        };
        left = Most { paths, bytes };
        if kind.is_dir() {
            match dir::open_beneath(top, Some(&path), LIST) {
                Ok(dir) => todo.extend(inside(&path, &dir)?),
                // A mount point, or closed to the daemon: as if it were empty.
                Err(_) => {}
            }
        }
        items.insert(path, Item { mode: stat.st_mode, stamp: Stamp::of(&stat) });
    }
    Ok(Some(left))
}

fn inside(at: &RelPath, dir: &OwnedFd) -> rustix::io::Result<Vec<(RelPath, Stat)>> {
    let items = dir::list(dir)?.into_iter();
    // A path that is too long for a snapshot is too long for a sandbox.
    Ok(items.filter_map(|item| Some((at.join(item.name.as_bytes()).ok()?, item.stat))).collect())
}

/// The project that is copied from, and to where.
struct Own<'a> {
    top: &'a OwnedFd,
    root: &'a Path,
    target: Target<'a>,
}

impl Own<'_> {
    fn file(&self, path: &RelPath, to: &OwnedFd) -> std::io::Result<()> {
        let Ok(from) = dir::open_beneath(self.top, Some(path), READ) else { return Ok(()) };
        let from = File::from(from);
        let stat = rustix::fs::fstat(&from)?;
        let mut start = [0; KEY_WINDOW];
        let length = from.read_at(&mut start, 0).unwrap_or(0);
        if !dir::kind(&stat).is_file() || holds_private_key(&start[..length]) {
            return Ok(());
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let copy = File::from(openat(to, path.name(), flags, Mode::from_raw_mode(0o600))?);
        match self.moved(path, &from, &start[..length], &stat) {
            Some(text) => copy.write_all_at(&text, 0)?,
            None => content::duplicate(&from, &copy)?,
        }
        if let Some((uid, gid)) = self.target.owner {
            fchown(&copy, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        }
        fchmod(&copy, Mode::from_raw_mode(stat.st_mode & 0o777))?;
        Ok(futimens(&copy, &times(dir::mtime_ns(&stat)))?)
    }

    fn link(&self, path: &RelPath, to: &OwnedFd, item: &Item) -> std::io::Result<()> {
        let read = || -> rustix::io::Result<PathBuf> {
            let parent = dir::open_beneath(self.top, path.parent().as_ref(), LIST)?;
            let target = readlinkat(&parent, path.name(), Vec::new())?;
            Ok(PathBuf::from(std::ffi::OsStr::from_bytes(target.as_bytes())))
        };
        let Ok(leads_to) = read() else { return Ok(()) };
        // One that leads to the project by its name on the host leads to it by the sandbox's.
        let leads_to = match leads_to.strip_prefix(self.root) {
            Ok(rest) => self.target.workspace.join(rest),
            Err(_) => leads_to,
        };
        symlinkat(&leads_to, to, path.name())?;
        if let Some((uid, gid)) = self.target.owner {
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            chownat(to, path.name(), Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(utimensat(to, path.name(), &times(item.stamp.mtime_ns), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// What stands in a sandbox instead of a program of an environment, or of a list of its directories, that
    /// names the project's own path: Python's environments do, in the first line of each program and in `.pth` files.
    fn moved(&self, path: &RelPath, from: &File, start: &[u8], stat: &Stat) -> Option<Vec<u8>> {
        let root = self.root.as_os_str().as_bytes();
        let workspace = self.target.workspace.as_os_str().as_bytes();
        let line = start.strip_prefix(b"#!").filter(|_| stat.st_mode & 0o111 != 0);
        let is_own = line.is_some_and(|line| {
            line.trim_ascii_start().strip_prefix(root).is_some_and(|rest| rest.starts_with(b"/"))
        });
        let is_list = path.name().ends_with(b".pth");
        if !(is_own || is_list) || u64::try_from(stat.st_size).is_ok_and(|size| size > TEXT) {
            return None;
        }
        let mut text = Vec::new();
        std::io::Read::read_to_end(&mut std::io::Read::take(from, TEXT), &mut text).ok()?;
        let lines = text.split_inclusive(|byte| *byte == b'\n').enumerate();
        let replaced = lines.map(|(at, line)| {
            let (mark, rest) = match line.strip_prefix(b"#!") {
                Some(rest) if at == 0 => (&b"#!"[..], rest.trim_ascii_start()),
                _ => (&b""[..], line),
            };
            let is_here = is_list || at == 0;
            match rest.strip_prefix(root).filter(|_| is_here) {
                Some(rest) if matches!(rest.first(), None | Some(b'/' | b'\n' | b'\r')) => {
                    [mark, workspace, rest].concat()
                }
                _ => line.to_vec(),
            }
        });
        Some(replaced.collect::<Vec<_>>().concat())
    }
}
