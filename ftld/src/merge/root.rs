//! The project's directory, held open.
//!
//! Owns every opening of a path in it: beneath the root's descriptor, through no link, onto no other mount.
//! Looks at what stands there, and at nothing else.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use ftl_core::id::Hash;
use ftl_core::merge::Host;
use ftl_core::tree::{Node, RelPath};
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, ResolveFlags, Stat, flock, fstat, openat,
    openat2, readlinkat, statat,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::{MergeError, io_error};

/// What tells a directory from another one that has its path later.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Identity {
    /// Its device.
    pub device: u64,
    /// Its inode.
    pub inode: u64,
}

/// A project's directory.
#[derive(Debug)]
pub struct Root {
    dir: OwnedFd,
    path: PathBuf,
    identity: Identity,
}

/// What was seen in files, for those that look again and again. Only for what is shown: whatever is written is
/// compared with the very bytes.
#[derive(Default, Debug)]
pub struct Seen {
    files: HashMap<RelPath, (Stamp, Node)>,
    read: u64,
}

/// What tells that nobody wrote to a file between two looks.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Stamp {
    identity: Identity,
    mode: u32,
    size: i64,
    mtime: (i64, i64),
    ctime: (i64, i64),
}

/// Directories that are open while many paths are looked at, from the root down.
struct Parents<'a> {
    root: &'a Root,
    open: Vec<(Option<RelPath>, OwnedFd)>,
}

/// Directories that are open at once at most, but for one.
const OPEN: usize = 32;
/// How long a file must not have been written to for its times to be trusted, in seconds.
const TICK: i64 = 2;

/// Holds others off the project until it is dropped.
pub(super) struct Locked<'a>(&'a Root);

impl Root {
    /// Opens a project's directory.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, MergeError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = openat(CWD, path, flags, Mode::empty()).map_err(io_error("open", path.display()))?;
        let identity = identity(&fstat(&dir).map_err(io_error("read", path.display()))?);
        Ok(Self { dir, path: path.to_owned(), identity })
    }

    /// Opens a project's directory if it is still the one that a session started in.
    ///
    /// # Errors
    /// When it cannot be opened or is another one.
    pub fn open_as(path: &Path, identity: Identity) -> Result<Self, MergeError> {
        let root = Self::open(path)?;
        if root.identity == identity { Ok(root) } else { Err(MergeError::Replaced { path: path.to_owned() }) }
    }

    /// What tells it from another directory with its path.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What stands at paths now, contents included.
    ///
    /// # Errors
    /// When something cannot be read, or lies on another mount.
    pub fn observe<'a>(&self, paths: impl IntoIterator<Item = &'a RelPath>) -> Result<Host, MergeError> {
        let mut parents = Parents { root: self, open: Vec::new() };
        paths.into_iter().map(|path| Ok((path.clone(), parents.look(path, None)?))).collect()
    }

    /// The same, but a file that has not been written to since it was seen is not read. `now_s` is the time, in
    /// seconds since the epoch: what was written just before a look could be written to again unnoticed.
    ///
    /// # Errors
    /// Those of [`Root::observe`].
    pub fn observe_again<'a>(
        &self,
        paths: impl IntoIterator<Item = &'a RelPath>,
        seen: &mut Seen,
        now_s: i64,
    ) -> Result<Host, MergeError> {
        let mut parents = Parents { root: self, open: Vec::new() };
        let look = |path: &RelPath| Ok((path.clone(), parents.look(path, Some((&mut *seen, now_s)))?));
        paths.into_iter().map(look).collect()
    }

    /// The first bytes of a file, at most so many; `None` when no file stands there.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn content(&self, path: &RelPath, most: u64) -> Result<Option<Vec<u8>>, MergeError> {
        let parent = match self.parent(path, OFlags::PATH) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            parent => parent.map_err(io_error("enter the directory of", path))?,
        };
        let file = match open_file(&parent, path.name()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(io_error("open", path))?,
        };
        let mut content = Vec::new();
        file.take(most).read_to_end(&mut content).map_err(io_error("read", path))?;
        Ok(Some(content))
    }

    /// Whether the path still leads to this directory.
    pub(super) fn check_place(&self) -> Result<(), MergeError> {
        Self::open_as(&self.path, self.identity).map(drop)
    }

    /// Keeps others that ask for the same lock off the project.
    pub(super) fn lock(&self) -> Result<Locked<'_>, MergeError> {
        match flock(&self.dir, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Locked(self)),
            Err(Errno::WOULDBLOCK) => Err(MergeError::Busy { path: self.path.clone() }),
            Err(error) => Err(io_error("lock", self.path.display())(error)),
        }
    }

    /// The directory that a path stands in.
    pub(super) fn parent(&self, path: &RelPath, flags: OFlags) -> Result<OwnedFd, Errno> {
        self.open_beneath(path.parent().as_ref(), flags | OFlags::DIRECTORY)
    }

    /// Opens a path beneath the root (`None`: the root itself).
    pub(super) fn open_beneath(&self, path: Option<&RelPath>, flags: OFlags) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::BENEATH
            | ResolveFlags::NO_SYMLINKS
            | ResolveFlags::NO_MAGICLINKS
            | ResolveFlags::NO_XDEV;
        self.resolve(path.map_or(&b"."[..], RelPath::as_bytes), flags, resolve)
    }

    /// Follows a path through links, but not out of the root: that is `EXDEV`.
    pub(super) fn follow(&self, path: &RelPath) -> Result<OwnedFd, Errno> {
        self.resolve(path.as_bytes(), OFlags::PATH, ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS)
    }

    fn resolve(&self, path: &[u8], flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
        // The kernel gives up with EAGAIN when something is renamed meanwhile; a few times is chance.
        for _ in 0..16 {
            match openat2(&self.dir, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
                Err(Errno::AGAIN) => {}
                other => return other,
            }
        }
        Err(Errno::AGAIN)
    }

    /// What stands at a path. Where a directory above is none, nothing stands.
    pub(super) fn look(&self, path: &RelPath) -> Result<Option<Node>, MergeError> {
        match self.parent(path, OFlags::PATH) {
            Ok(parent) => look_in(&parent, path.name()).map_err(io_error("read", path)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(error) => Err(io_error("enter the directory of", path)(error)),
        }
    }

    /// The names in a directory.
    pub(super) fn names(&self, path: Option<&RelPath>) -> Result<Vec<Vec<u8>>, Errno> {
        let dir = self.open_beneath(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&dir)? {
            let name = entry?.file_name().to_bytes().to_vec();
            if !matches!(name.as_slice(), b"." | b"..") {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Flushes everything of the project's file system.
    pub(super) fn flush(&self) -> Result<(), MergeError> {
        rustix::fs::syncfs(&self.dir).map_err(io_error("flush", self.path.display()))
    }
}

// === impl Parents ===

impl Parents<'_> {
    /// What stands at a path, of which `seen` may know.
    fn look(&mut self, path: &RelPath, seen: Option<(&mut Seen, i64)>) -> Result<Option<Node>, MergeError> {
        let parent = match self.enter(path.parent()) {
            Ok(parent) => parent,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            Err(error) => return Err(io_error("enter the directory of", path)(error)),
        };
        match seen {
            Some((seen, now_s)) => seen.look(parent, path, now_s),
            None => look_in(parent, path.name()),
        }
        .map_err(io_error("read", path))
    }

    /// A directory, opened from the root unless it is open.
    fn enter(&mut self, dir: Option<RelPath>) -> Result<&OwnedFd, Errno> {
        let holds = |open: &Option<RelPath>| match (open, &dir) {
            (None, _) => true,
            (Some(open), Some(dir)) => open == dir || dir.is_beneath(open),
            (Some(_), None) => false,
        };
        while self.open.last().is_some_and(|(open, _)| !holds(open)) || self.open.len() > OPEN {
            self.open.pop();
        }
        if self.open.last().is_none_or(|(open, _)| *open != dir) {
            let opened = self.root.open_beneath(dir.as_ref(), OFlags::PATH | OFlags::DIRECTORY)?;
            self.open.push((dir, opened));
        }
        self.open.last().map(|(_, opened)| opened).ok_or(Errno::NOENT)
    }
}

// === impl Seen ===

impl Seen {
    fn look(&mut self, parent: &OwnedFd, path: &RelPath, now_s: i64) -> io::Result<Option<Node>> {
        let stamp = stamp(parent, path.name())?;
        if let Some((known, node)) = self.files.get(path)
            && stamp.as_ref() == Some(known)
        {
            return Ok(Some(node.clone()));
        }
        self.files.remove(path);
        let node = look_in(parent, path.name())?;
        let Some(file @ Node::File { .. }) = &node else { return Ok(node) };
        self.read += 1;
        // Written to while it was read, or so shortly before that another write would leave no trace.
        let settled = |stamp: &Stamp| stamp.ctime.0.saturating_add(TICK) < now_s;
        if let Some(stamp) = stamp.filter(settled)
            && self::stamp(parent, path.name())?.as_ref() == Some(&stamp)
        {
            self.files.insert(path.clone(), (stamp, file.clone()));
        }
        Ok(node)
    }

    /// How many files were read so far.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.read
    }
}

/// What tells that a regular file was not written to; nothing for anything else.
fn stamp(parent: &OwnedFd, name: &[u8]) -> io::Result<Option<Stamp>> {
    let stat = match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(None),
        stat => stat?,
    };
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    Ok(is_file.then(|| Stamp {
        identity: identity(&stat),
        mode: stat.st_mode,
        size: stat.st_size,
        mtime: (stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or_default()),
        ctime: (stat.st_ctime, i64::try_from(stat.st_ctime_nsec).unwrap_or_default()),
    }))
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // Closing the root would release it too; that it cannot be released now is no error of the merge.
        let _ = flock(&self.0.dir, FlockOperation::Unlock);
    }
}

/// What stands under a name in an open directory.
pub(super) fn look_in(parent: impl AsFd, name: &[u8]) -> io::Result<Option<Node>> {
    let stat = match statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(None),
        stat => stat?,
    };
    let mode = stat.st_mode & 0o777;
    Ok(Some(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Node::Dir { mode },
        FileType::Symlink => Node::Symlink { target: readlinkat(&parent, name, Vec::new())?.into_bytes() },
        FileType::RegularFile => {
            let file = open_file(&parent, name)?;
            let (hash, size) = hash(&file)?;
            Node::File { mode: fstat(&file)?.st_mode & 0o777, size, hash }
        }
        // No link can hold a NUL: this stands for a node that no plan knows, and equals none.
        _ => Node::Symlink { target: vec![0] },
    }))
}

/// Opens a regular file for reading, and nothing that took its name meanwhile.
pub(super) fn open_file(parent: impl AsFd, name: &[u8]) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(parent, name, flags, Mode::empty())?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(Errno::NOENT.into()) }
}

fn hash(file: &File) -> io::Result<(Hash, u64)> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file)?;
    Ok((Hash(*hasher.finalize().as_bytes()), hasher.count()))
}

fn identity(stat: &Stat) -> Identity {
    Identity { device: stat.st_dev, inode: stat.st_ino }
}
