//! Writing a snapshot's tree into a directory.
//!
//! Owns how a base tree comes to be: a link to the stored content where mode and time allow it, else a link
//! into the tree before it, else a copy. Also compares a directory with a tree. Must not know why.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use ftl_core::tree::{Changed, Entry, Node, RelPath, Tree};
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid, chmodat, chownat, fchmod, fchown, futimens, linkat,
    mkdirat, mknodat, openat, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::blob::{Blobs, Look, looks_like, times};
use super::content::Moved;
use super::dir::{self, LIST};
use super::store::Lost;
use super::{SnapshotError, io_error};

/// How a tree is written.
#[derive(Clone, Copy)]
pub(super) struct Writing<'a> {
    pub(super) blobs: &'a Blobs,
    /// Whom everything belongs to; only root can give it away.
    pub(super) owner: Option<(u32, u32)>,
    /// A tree whose files may be linked to. `None` also forbids links to contents: the new tree will be
    /// written to.
    pub(super) links: Links<'a>,
    /// Takes files whose content is lost, instead of ending at the first. What is written then is hashed.
    pub(super) lost: Option<&'a RefCell<Vec<Lost>>>,
}

/// What may be shared with the new tree.
#[derive(Clone, Copy)]
pub(super) enum Links<'a> {
    /// Nothing: whoever gets the tree may write to it.
    None,
    /// Contents, and the files of an earlier base if there is one: its layers, the one on top first, and
    /// the tree that they show.
    Shared(Option<(&'a [PathBuf], &'a Tree)>),
}

/// The directory that was written to last; consecutive paths mostly share one.
pub(super) struct Place {
    root: OwnedFd,
    current: Option<(Option<RelPath>, OwnedFd)>,
}

/// Writes a tree into an empty directory.
pub(super) fn write(tree: &Tree, target: &Path, writing: Writing<'_>) -> Result<(), SnapshotError> {
    write_with(tree, target, writing, |_| Ok(()))
}

/// Writes a tree, and more before the directories get their times.
pub(super) fn write_with(
    tree: &Tree,
    target: &Path,
    writing: Writing<'_>,
    more: impl FnOnce(&mut Place) -> Result<(), SnapshotError>,
) -> Result<(), SnapshotError> {
    let mut place = Place::open(target)?;
    let mut dirs = Vec::new();
    for (path, entry) in tree.iter() {
        let path = &path;
        let dir = place.parent_of(path).map_err(io_error("enter", target))?;
        match &entry.node {
            // Everyone may enter until its content is complete; its mode follows.
            Node::Dir { mode } => {
                dirs.push((path.clone(), *mode, entry.mtime_ns));
                mkdirat(dir, path.name(), Mode::from_raw_mode(0o700))
                    .map_err(io_error("create", path.to_string()))?;
            }
            Node::File { .. } => match (put_file(path, entry, dir, writing), writing.lost) {
                (Err(SnapshotError::Missing { hash } | SnapshotError::Damaged { hash }), Some(lost)) => {
                    lost.borrow_mut().push(Lost { path: Some(path.clone()), hash });
                }
                (put, _) => put?,
            },
            Node::Symlink { target } => {
                let put = symlinkat(target.as_slice(), dir, path.name())
                    .and_then(|()| dress_link(dir, path, entry, writing.owner));
                put.map_err(io_error("link", path.to_string()))?;
            }
        }
    }
    more(&mut place)?;
    // A directory's time is set after its content, its mode after everything beneath it.
    while let Some((path, mode, mtime_ns)) = dirs.pop() {
        let dir = place.parent_of(&path).map_err(io_error("enter", target))?;
        dress_dir(dir, &path, mode, mtime_ns, writing.owner)
            .map_err(io_error("prepare", path.to_string()))?;
    }
    Ok(())
}

/// Writes what `changes` make of `before` into an empty directory, so that an overlay with it over `before`
/// shows `after`. Directories on the way to a change are there with their own modes and times.
pub(super) fn write_delta(
    before: &Tree,
    after: &Tree,
    changes: &[Changed],
    target: &Path,
    writing: Writing<'_>,
) -> Result<(), SnapshotError> {
    let is_dir = |tree: &Tree, path: Option<&RelPath>| tree.dir(path).is_some();
    let mut dirs = BTreeSet::new();
    let mut gone = Vec::new();
    for Changed { path, after: now, .. } in changes {
        let parent = path.parent();
        match now {
            // What went with its directory needs no mark of its own.
            None if is_dir(after, parent.as_ref()) && is_dir(before, parent.as_ref()) => gone.push(path),
            None => continue,
            Some(entry) if entry.node.is_dir() => drop(dirs.insert(path.clone())),
            Some(_) => {}
        }
        dirs.extend(path.ancestors());
    }
    let entry = |path: &RelPath| after.get(path).map(|entry| (path.clone(), entry.clone()));
    let present = changes.iter().filter(|change| change.after.is_some()).map(|change| &change.path);
    // As a tree of its own: whatever is in it is written in order and dressed at the end.
    let layer: Tree = dirs.iter().chain(present).filter_map(entry).collect();
    write_with(&layer, target, writing, |place| {
        for path in gone {
            let dir = place.parent_of(path).map_err(io_error("enter", target))?;
            let whiteout = mknodat(dir, path.name(), FileType::CharacterDevice, Mode::empty(), 0);
            whiteout.map_err(io_error("mark as gone", path.to_string()))?;
        }
        Ok(())
    })
}

/// Whether a directory holds exactly the tree: every path in its kind, size, mode and time, and in no
/// directory anything else.
pub(super) fn matches(tree: &Tree, target: &Path, owner: Option<(u32, u32)>) -> bool {
    let Ok(mut place) = Place::open(target) else { return false };
    let fits = tree.iter().all(|(path, entry)| {
        let Ok(dir) = place.parent_of(&path) else { return false };
        let Ok(stat) = statat(dir, path.name(), AtFlags::SYMLINK_NOFOLLOW) else { return false };
        let mode = stat.st_mode & 0o7777;
        let node_fits = match &entry.node {
            Node::Dir { mode: wanted } => dir::kind(&stat).is_dir() && mode == *wanted,
            Node::File { mode: wanted, size, .. } => {
                dir::kind(&stat).is_file() && mode == *wanted && u64::try_from(stat.st_size) == Ok(*size)
            }
            Node::Symlink { target } => {
                dir::kind(&stat).is_symlink() && u64::try_from(stat.st_size) == Ok(target.len() as u64)
            }
        };
        node_fits
            && dir::mtime_ns(&stat) == entry.mtime_ns
            && owner.is_none_or(|(uid, gid)| (stat.st_uid, stat.st_gid) == (uid, gid))
    });
    fits && count(&place.root).is_ok_and(|count| count == tree.len())
}

/// Puts one file into its directory.
fn put_file(path: &RelPath, entry: &Entry, dir: &OwnedFd, writing: Writing<'_>) -> Result<(), SnapshotError> {
    let Node::File { mode, size, hash } = entry.node else { return Ok(()) };
    let look = Look { mode, mtime_ns: entry.mtime_ns };
    let blob = writing.blobs.path(hash);
    let meta = blob.symlink_metadata().ok().filter(|meta| meta.len() == size);
    if let Links::Shared(before) = writing.links {
        let linkable = meta.as_ref().is_some_and(|meta| looks_like(meta, look))
            && writing.blobs.has_sound(Moved { hash, size })?;
        let same_before = before.filter(|(_, tree)| tree.get(path) == Some(entry));
        let sources = linkable
            .then(|| blob.clone())
            .into_iter()
            // The first layer that has a file there is the one whose file the tree before shows.
            .chain(same_before.into_iter().flat_map(|(layers, _)| layers).map(|layer| layer.join(os(path))));
        for source in sources {
            match linkat(CWD, &source, dir, path.name(), AtFlags::empty()) {
                Ok(()) => return Ok(()),
                // As many links as the file system allows, or no source after all: copy.
                Err(Errno::MLINK | Errno::NOENT | Errno::XDEV | Errno::PERM | Errno::NAMETOOLONG) => {}
                Err(error) => return Err(io_error("link", path.to_string())(error)),
            }
        }
    }
    let from = writing.blobs.get(hash)?;
    if from.size().map_err(io_error("read", &blob))? != size {
        return Err(SnapshotError::Missing { hash });
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let put = || -> std::io::Result<bool> {
        let to = File::from(openat(dir, path.name(), flags, Mode::from_raw_mode(0o600))?);
        match writing.lost {
            Some(_) if from.copy_to(&to)?.hash != hash => {
                unlinkat(dir, path.name(), AtFlags::empty())?;
                return Ok(false);
            }
            Some(_) => {}
            None => from.duplicate_to(&to)?,
        }
        if let Some((uid, gid)) = writing.owner {
            fchown(&to, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        }
        fchmod(&to, Mode::from_raw_mode(mode))?;
        futimens(&to, &times(entry.mtime_ns))?;
        Ok(true)
    };
    match put().map_err(io_error("write", path.to_string()))? {
        true => Ok(()),
        false => Err(SnapshotError::Damaged { hash }),
    }
}

fn dress_link(
    dir: &OwnedFd,
    path: &RelPath,
    entry: &Entry,
    owner: Option<(u32, u32)>,
) -> rustix::io::Result<()> {
    if let Some((uid, gid)) = owner {
        chownat(
            dir,
            path.name(),
            Some(Uid::from_raw(uid)),
            Some(Gid::from_raw(gid)),
            AtFlags::SYMLINK_NOFOLLOW,
        )?;
    }
    utimensat(dir, path.name(), &times(entry.mtime_ns), AtFlags::SYMLINK_NOFOLLOW)
}

pub(super) fn dress_dir(
    dir: &OwnedFd,
    path: &RelPath,
    mode: u32,
    mtime_ns: i64,
    owner: Option<(u32, u32)>,
) -> rustix::io::Result<()> {
    if let Some((uid, gid)) = owner {
        chownat(
            dir,
            path.name(),
            Some(Uid::from_raw(uid)),
            Some(Gid::from_raw(gid)),
            AtFlags::SYMLINK_NOFOLLOW,
        )?;
    }
    utimensat(dir, path.name(), &times(mtime_ns), AtFlags::SYMLINK_NOFOLLOW)?;
    // The tree is the daemon's own and nobody else writes here, so that the name is not a link.
    chmodat(dir, path.name(), Mode::from_raw_mode(mode), AtFlags::empty())
}

/// How many paths stand beneath a directory.
fn count(root: &OwnedFd) -> Result<usize, Errno> {
    let mut todo = vec![None];
    let mut count = 0;
    while let Some(at) = todo.pop() {
        let dir = dir::open_beneath(root, at.as_ref(), LIST)?;
        for item in dir::list(&dir)? {
            count += 1;
            if dir::kind(&item.stat).is_dir() {
                todo.push(Some(
                    RelPath::under(at.as_ref(), item.name.as_bytes()).map_err(|_| Errno::NAMETOOLONG)?,
                ));
            }
        }
    }
    Ok(count)
}

fn os(path: &RelPath) -> std::ffi::OsString {
    std::os::unix::ffi::OsStringExt::from_vec(path.as_bytes().to_vec())
}

/// Checks that a directory is absent or empty, and makes it.
pub(super) fn claim(target: &Path) -> Result<(), SnapshotError> {
    match fs::create_dir(target) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let meta = target.symlink_metadata().map_err(io_error("read", target))?;
            let empty =
                meta.is_dir() && fs::read_dir(target).map_err(io_error("read", target))?.next().is_none();
            empty.then_some(()).ok_or_else(|| SnapshotError::Occupied { path: target.to_owned() })
        }
        Err(error) => Err(io_error("create", target)(error)),
    }
}

impl Place {
    pub(super) fn open(target: &Path) -> Result<Self, SnapshotError> {
        let root = dir::open_root(target).map_err(io_error("open", target))?;
        Ok(Self { root, current: None })
    }

    /// The directory that a path stands in.
    pub(super) fn parent_of(&mut self, path: &RelPath) -> rustix::io::Result<&OwnedFd> {
        let parent = path.parent();
        let current = match self.current.take() {
            Some((at, dir)) if at == parent => (at, dir),
            _ => {
                let dir = dir::open_beneath(self.root.as_fd(), parent.as_ref(), LIST)?;
                (parent, dir)
            }
        };
        Ok(&self.current.insert(current).1)
    }
}
