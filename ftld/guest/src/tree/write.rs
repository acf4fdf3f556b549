//! The parts of a tree as a directory on disk.
//!
//! Owns that nothing is written but beneath that directory, through no link, and no more than may be. Must not
//! know where the parts come from: they are taken as if a hostile program had sent them. What is there
//! already stays where the parts say nothing of it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags, chownat,
    fchmod, fchown, fsetxattr, fstat, futimens, linkat, mkdirat, mknodat, openat, openat2, statat, symlinkat,
    unlinkat, utimensat,
};
use rustix::io::Errno;

use super::{Entry, MAX_DEPTH, Malformed, Mark, Node, Part, Sequence, name, parent};

/// What a tree may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Most {
    /// Nodes.
    pub entries: u64,
    /// Bytes of files, without what is zero.
    pub bytes: u64,
    /// Bytes of one file.
    pub file: u64,
}

/// Why a tree is not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The parts are no tree.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It is more than may be.
    #[error("a tree of more than {what}")]
    Most {
        /// Of what.
        what: &'static str,
    },
    /// A file is not as it was sent before, or is not there.
    #[error("a file that is said to be unchanged is not here")]
    NotSame,
    /// Something of it cannot be written.
    #[error("writing {path}")]
    Write {
        /// What, with what is no text replaced.
        path: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Writes a tree as its parts come.
pub struct Writer {
    sequence: Sequence,
    /// The directories that are open, the root first.
    dirs: Vec<(OwnedFd, Entry)>,
    root: Option<OwnedFd>,
    file: Option<(File, Entry)>,
    owner: Option<(u32, u32)>,
    /// Where files are that need not come again.
    before: Option<OwnedFd>,
    most: Most,
    entries: u64,
    bytes: u64,
}

impl Writer {
    /// Into `root`, an open directory. Everything is given to `owner`, user and group; files that are named as
    /// the same are linked from `before`, an open directory on the same file system.
    #[must_use]
    pub fn new(root: OwnedFd, owner: Option<(u32, u32)>, before: Option<OwnedFd>, most: Most) -> Self {
        Self {
            sequence: Sequence::default(),
            dirs: Vec::new(),
            root: Some(root),
            file: None,
            owner,
            before,
            most,
            entries: 0,
            bytes: 0,
        }
    }

    /// Takes the next part.
    ///
    /// # Errors
    /// When it cannot come now, is too much, or cannot be written. What was written stays half.
    pub fn take(&mut self, part: Part) -> Result<(), WriteError> {
        let left = self.sequence.take(&part)?;
        if !matches!(part, Part::Data(_) | Part::Hole(_)) {
            self.finish_file()?;
        }
        for _ in 0..left {
            self.leave()?;
        }
        match part {
            Part::Entry(entry) => {
                self.count(&entry)?;
                let path = entry.path.clone();
                self.make(entry).map_err(|error| error.at(&path))
            }
            Part::Data(bytes) => {
                self.bytes = self.bytes.saturating_add(bytes.len() as u64);
                if self.bytes > self.most.bytes {
                    return Err(WriteError::Most { what: "so many bytes" });
                }
                let Some((file, entry)) = &mut self.file else {
                    return Err(Malformed("bytes of no file").into());
                };
                file.write_all(&bytes).map_err(|error| Failed::from(error).at(&entry.path))
            }
            Part::Hole(length) => {
                let Some((file, entry)) = &mut self.file else {
                    return Err(Malformed("bytes of no file").into());
                };
                let length = i64::try_from(length).unwrap_or(i64::MAX);
                let moved = file.seek(SeekFrom::Current(length));
                moved.map(drop).map_err(|error| Failed::from(error).at(&entry.path))
            }
            Part::Remove(path) => {
                let Some((dir, _)) = self.dirs.last() else { return Ok(()) };
                remove(dir.as_fd(), name(&path)).map_err(|error| Failed::from(error).at(&path))
            }
            Part::End => Ok(()),
        }
    }

    /// Whether the tree is complete.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.sequence.is_complete()
    }

    /// Bytes of files that came.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn count(&mut self, entry: &Entry) -> Result<(), WriteError> {
        self.entries += 1;
        match entry.node {
            _ if self.entries > self.most.entries => Err(WriteError::Most { what: "so many nodes" }),
            Node::File { size } | Node::Same { size } if size > self.most.file => {
                Err(WriteError::Most { what: "so many bytes in one file" })
            }
            _ => Ok(()),
        }
    }

    fn make(&mut self, entry: Entry) -> Result<(), Failed> {
        if let Some(root) = self.root.take_if(|_| entry.path.is_empty()) {
            self.dirs.push((root, entry));
            return Ok(());
        }
        let Some((dir, _)) = self.dirs.last() else { return Ok(()) };
        let (dir, name) = (dir.as_fd(), name(&entry.path));
        if entry.node == Node::Dir {
            let made = directory(dir, name)?;
            self.dirs.push((made, entry));
            return Ok(());
        }
        remove(dir, name)?;
        match &entry.node {
            Node::Dir => {}
            Node::File { .. } => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let file = openat(dir, name, flags, Mode::from_raw_mode(0o600))?;
                self.file = Some((file.into(), entry));
            }
            Node::Same { size } => self.link(dir, &entry, *size)?,
            Node::Symlink { target } => {
                symlinkat(target.as_slice(), dir, name)?;
                self.give(dir, name)?;
                utimensat(dir, name, &times(entry.mtime_ns), AtFlags::SYMLINK_NOFOLLOW)?;
            }
            Node::Whiteout => mknodat(dir, name, FileType::CharacterDevice, Mode::empty(), 0)?,
            Node::Fifo | Node::Socket => {
                let kind = if entry.node == Node::Fifo { FileType::Fifo } else { FileType::Socket };
                mknodat(dir, name, kind, Mode::from_raw_mode(0o600), 0)?;
                self.give(dir, name)?;
            }
        }
        Ok(())
    }

    /// Brings a file in that is here already.
    fn link(&self, dir: BorrowedFd<'_>, entry: &Entry, size: u64) -> Result<(), Failed> {
        let before = self.before.as_ref().ok_or(Failed::NotSame)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // What stood there before was a program's: no link in it leads anywhere.
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let at = parent(&entry.path);
        let at = if at.is_empty() { b"." } else { at };
        let from = openat2(before, at, flags, Mode::empty(), resolve).map_err(|_| Failed::NotSame)?;
        let name = name(&entry.path);
        let stat = statat(&from, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|_| Failed::NotSame)?;
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if !is_file || u64::try_from(stat.st_size) != Ok(size) || stat.st_mode & super::MODE != entry.mode {
            return Err(Failed::NotSame);
        }
        Ok(linkat(&from, name, dir, name, AtFlags::empty())?)
    }

    fn give(&self, dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<()> {
        let Some((uid, gid)) = self.owner else { return Ok(()) };
        chownat(dir, name, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::SYMLINK_NOFOLLOW)
    }

    fn finish_file(&mut self) -> Result<(), WriteError> {
        let Some((file, entry)) = self.file.take() else { return Ok(()) };
        let Node::File { size } = entry.node else { return Ok(()) };
        let done = file.set_len(size).map_err(Failed::from).and_then(|()| self.dress(file.as_fd(), &entry));
        done.map_err(|error| error.at(&entry.path))
    }

    fn leave(&mut self) -> Result<(), WriteError> {
        let Some((dir, entry)) = self.dirs.pop() else { return Ok(()) };
        self.dress(dir.as_fd(), &entry).map_err(|error| error.at(&entry.path))
    }

    /// Gives a directory or file what is noted of it. The owner comes first, which takes bits of a mode away; the
    /// mode last but for the time: it may forbid the rest.
    fn dress(&self, node: BorrowedFd<'_>, entry: &Entry) -> Result<(), Failed> {
        match &entry.mark {
            Mark::None => {}
            Mark::Opaque => fsetxattr(node, "user.overlay.opaque", b"y", XattrFlags::empty())?,
            Mark::Odd(name) => {
                let name = [b"user.overlay.", name.as_slice()].concat();
                fsetxattr(node, name, b"?", XattrFlags::empty())?;
            }
        }
        if let Some((uid, gid)) = self.owner {
            fchown(node, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        }
        fchmod(node, Mode::from_raw_mode(entry.mode))?;
        Ok(futimens(node, &times(entry.mtime_ns))?)
    }
}

/// Why one node is not written.
enum Failed {
    NotSame,
    System(io::Error),
}

impl Failed {
    fn at(self, path: &[u8]) -> WriteError {
        match self {
            Self::NotSame => WriteError::NotSame,
            Self::System(source) => {
                WriteError::Write { path: String::from_utf8_lossy(path).into_owned(), source }
            }
        }
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl From<Errno> for Failed {
    fn from(error: Errno) -> Self {
        Self::System(error.into())
    }
}

/// The directory of a name, made where there is none.
fn directory(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o700);
    match mkdirat(dir, name, mode) {
        Ok(()) => {}
        Err(Errno::EXIST) => match openat(dir, name, flags, Mode::empty()) {
            Ok(there) => return Ok(there),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                unlinkat(dir, name, AtFlags::empty())?;
                mkdirat(dir, name, mode)?;
            }
            Err(error) => return Err(error.into()),
        },
        Err(error) => return Err(error.into()),
    }
    Ok(openat(dir, name, flags, Mode::empty())?)
}

/// Removes what stands at a name, with all that is beneath it, also where that is closed to its owner; nothing is
/// fine.
///
/// # Errors
/// Those of the system.
pub fn remove(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    match unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let below = match openat(dir, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            // It is a directory, and its owner may open it.
            rustix::fs::chmodat(dir, name, Mode::RWXU, AtFlags::empty())?;
            openat(dir, name, flags, Mode::empty())?
        }
        opened => opened?,
    };
    if fstat(&below)?.st_mode & 0o700 != 0o700 {
        fchmod(&below, Mode::RWXU)?;
    }
    let mut names = VecDeque::new();
    for entry in rustix::fs::Dir::read_from(&below)? {
        names.push_back(entry?.file_name().to_owned());
    }
    for inner in names.iter().filter(|name| !matches!(name.to_bytes(), b"." | b"..")) {
        remove(below.as_fd(), inner.to_bytes())?;
    }
    Ok(unlinkat(dir, name, AtFlags::REMOVEDIR)?)
}

/// Makes `name`, a new directory in `into`, like the directory of that name in `from`: directories are made
/// again, everything else is linked.
///
/// # Errors
/// Those of the system.
pub fn clone(from: BorrowedFd<'_>, into: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    clone_level(from, name, into, name, 0)
}

fn clone_level(
    at: BorrowedFd<'_>,
    from: &[u8],
    into: BorrowedFd<'_>,
    to: &[u8],
    depth: usize,
) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let from = openat(at, from, flags, Mode::empty())?;
    mkdirat(into, to, Mode::from_raw_mode(0o700))?;
    let made = openat(into, to, flags, Mode::empty())?;
    if depth > MAX_DEPTH {
        return Err(Errno::NAMETOOLONG.into());
    }
    for entry in rustix::fs::Dir::read_from(&from)? {
        let name = entry?.file_name().to_owned();
        let name = name.to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        let stat = statat(&from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => clone_level(from.as_fd(), name, made.as_fd(), name, depth + 1)?,
            _ => linkat(&from, name, &made, name, AtFlags::empty())?,
        }
    }
    like(from.as_fd(), made.as_fd())
}

/// Gives a directory the owner, mode, time and marks of another one.
fn like(from: BorrowedFd<'_>, made: BorrowedFd<'_>) -> io::Result<()> {
    let stat = fstat(from)?;
    let mut value = [0; 8];
    for mark in ["user.overlay.opaque", "user.overlay.redirect", "user.overlay.metacopy"] {
        if let Ok(length) = rustix::fs::fgetxattr(from, mark, &mut value) {
            fsetxattr(made, mark, value.get(..length).unwrap_or_default(), XattrFlags::empty())?;
        }
    }
    fchown(made, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    fchmod(made, Mode::from_raw_mode(stat.st_mode & super::MODE))?;
    #[allow(clippy::unnecessary_cast, reason = "the width of these fields differs between architectures")]
    let time = Timespec { tv_sec: stat.st_mtime as i64, tv_nsec: stat.st_mtime_nsec as i64 };
    Ok(futimens(made, &Timestamps { last_access: time, last_modification: time })?)
}

fn times(mtime_ns: i64) -> Timestamps {
    let time =
        Timespec { tv_sec: mtime_ns.div_euclid(1_000_000_000), tv_nsec: mtime_ns.rem_euclid(1_000_000_000) };
    Timestamps { last_access: time, last_modification: time }
}
