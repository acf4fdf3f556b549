//! A directory on disk as the parts of a tree.
//!
//! Owns the walk, in the order of [`super::Sequence`], and how much a directory takes up. Must not know where
//! the parts go. Nothing may change in the directory meanwhile; what was written in it may be hostile, so that
//! every step goes down from an open directory, through no link, and nothing but directories and files is
//! ever opened. What is closed to its owner is opened and closed again.

use std::collections::BinaryHeap;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, SeekFrom, Stat, chmodat, fgetxattr, flistxattr, fstat, openat,
    readlinkat, statat,
};
use rustix::io::Errno;

use super::{Entry, MAX_DATA, MAX_DEPTH, MAX_PATH, Mark, Node, Part, Usage};

/// How a directory is opened.
const LIST: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What becomes of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// It is not told; what is beneath it may be.
    Skip,
    /// It is told, a file without its bytes.
    Named,
    /// It is told, a file with its bytes.
    Whole,
}

/// Hears the parts of a tree.
pub type Hear<'a> = &'a mut dyn FnMut(Part) -> io::Result<()>;

/// Chooses what becomes of a node.
pub type Choose<'a> = &'a mut dyn FnMut(&Entry, &Stat) -> Choice;

/// A directory on the way down.
struct Level {
    dir: OwnedFd,
    path: Vec<u8>,
    /// What it holds and was not looked at yet, the last name first.
    names: Vec<CString>,
    /// Whether there are more names after these.
    more: bool,
    _closed: Option<Closed>,
}

/// The most names that a walk holds, but for a few of each directory on its way: of names there may be more than
/// there is memory for.
const MOST_NAMES: usize = 1 << 18;
/// The fewest names that are looked for at once.
const FEW_NAMES: usize = 1 << 10;

/// Tells the parts of the tree at `root`, an open directory, but for its end.
///
/// # Errors
/// Those of the system, and those of `hear`.
pub fn walk(root: OwnedFd, choose: Choose<'_>, hear: Hear<'_>) -> io::Result<()> {
    walk_holding((MOST_NAMES, FEW_NAMES), root, choose, hear)
}

/// [`walk`], with so many names in memory: at most, and of one directory at least.
pub(super) fn walk_holding(
    (most, few): (usize, usize),
    root: OwnedFd,
    choose: Choose<'_>,
    hear: Hear<'_>,
) -> io::Result<()> {
    let stat = fstat(&root)?;
    let level = enter(root, Vec::new(), most)?;
    tell_dir(&level, &stat, choose, hear)?;
    let mut held = level.names.len();
    let mut levels = vec![level];
    while let Some(level) = levels.last_mut() {
        let Some(name) = level.names.pop() else {
            levels.pop();
            continue;
        };
        held -= 1;
        let room = most.saturating_sub(held).max(few);
        if level.names.is_empty() && level.more {
            (level.names, level.more) = list(&level.dir, Some(&name), room)?;
            held += level.names.len();
        }
        let mut path = level.path.clone();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend(name.as_bytes());
        let stat = statat(&level.dir, &name, AtFlags::SYMLINK_NOFOLLOW)?;
        let too_deep = levels.len() > MAX_DEPTH || path.len() > MAX_PATH - 256;
        let Some(level) = levels.last() else { break };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory if !too_deep => {
                let below = openat(&level.dir, &name, OFlags::PATH | LIST, Mode::empty())?;
                let below = enter(below, path, most.saturating_sub(held).max(few))?;
                tell_dir(&below, &stat, choose, hear)?;
                held += below.names.len();
                levels.push(below);
            }
            FileType::RegularFile => tell_file(level.dir.as_fd(), &name, path, choose, hear)?,
            kind => {
                let entry = other(level.dir.as_fd(), &name, path, kind, &stat)?;
                if choose(&entry, &stat) != Choice::Skip {
                    hear(Part::Entry(entry))?;
                }
            }
        }
    }
    Ok(())
}

/// What a directory takes up on disk; `None` when it is hidden deeper than can be looked. What vanishes meanwhile
/// counts nothing, and from `most` nodes on nobody counts any further.
///
/// # Errors
/// Those of the system.
pub fn usage(root: OwnedFd, most: u64) -> io::Result<Option<Usage>> {
    let mut used = Usage::default();
    let mut levels = vec![count(root, &mut used, most)?];
    while let Some(level) = levels.last_mut() {
        let Some(name) = level.names.pop() else {
            levels.pop();
            continue;
        };
        if used.nodes > most {
            break;
        }
        let Ok(below) = openat(&level.dir, &name, OFlags::PATH | LIST, Mode::empty()) else { continue };
        let Ok(below) = count(below, &mut used, most) else { continue };
        if levels.len() >= MAX_DEPTH {
            return Ok(None);
        }
        levels.push(below);
    }
    Ok(Some(used))
}

/// Adds up what is in a directory, and gives it with the names of its subdirectories alone: of other names there
/// may be more than there is memory for.
fn count(place: OwnedFd, used: &mut Usage, most: u64) -> io::Result<Level> {
    let (dir, closed) = open(place.as_fd(), c".", LIST, 0o500)?;
    let mut names = Vec::new();
    for entry in Dir::read_from(&dir)?.flatten() {
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let Ok(stat) = statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        used.add(stat.st_blocks.unsigned_abs());
        if used.nodes > most {
            break;
        }
        if FileType::from_raw_mode(stat.st_mode).is_dir() {
            names.push(name.to_owned());
        }
    }
    Ok(Level { dir, path: Vec::new(), names, more: false, _closed: closed })
}

/// Opens the directory that a descriptor stands for, and lists its first names.
fn enter(place: OwnedFd, path: Vec<u8>, most: usize) -> io::Result<Level> {
    let (dir, closed) = open(place.as_fd(), c".", LIST, 0o500)?;
    let (names, more) = list(&dir, None, most)?;
    Ok(Level { dir, path, names, more, _closed: closed })
}

/// The first names of a directory that come after one, the last of them first, and whether there are more.
fn list(dir: &OwnedFd, after: Option<&CStr>, most: usize) -> io::Result<(Vec<CString>, bool)> {
    let mut first: BinaryHeap<CString> = BinaryHeap::new();
    let mut more = false;
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." || after.is_some_and(|after| name <= after) {
            continue;
        }
        if first.len() < most {
            first.push(name.to_owned());
            continue;
        }
        more = true;
        if let Some(mut last) = first.peek_mut().filter(|last| name < last.as_c_str()) {
            *last = name.to_owned();
        }
    }
    let mut names = first.into_sorted_vec();
    names.reverse();
    Ok((names, more))
}

fn tell_dir(level: &Level, stat: &Stat, choose: Choose<'_>, hear: Hear<'_>) -> io::Result<()> {
    let entry = Entry {
        path: level.path.clone(),
        node: Node::Dir,
        mode: mode_of(stat),
        mtime_ns: mtime_ns(stat),
        mark: mark(level.dir.as_fd())?,
    };
    match choose(&entry, stat) {
        Choice::Skip => Ok(()),
        Choice::Named | Choice::Whole => hear(Part::Entry(entry)),
    }
}

fn tell_file(
    dir: BorrowedFd<'_>,
    name: &CStr,
    path: Vec<u8>,
    choose: Choose<'_>,
    hear: Hear<'_>,
) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let (file, closed) = open(dir, name, flags, 0o400)?;
    let stat = fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Errno::STALE.into());
    }
    let mode = closed.as_ref().map_or(mode_of(&stat), |closed| closed.mode.as_raw_mode());
    let size = u64::try_from(stat.st_size).unwrap_or_default();
    let node = Node::File { size };
    let entry = Entry { path, node, mode, mtime_ns: mtime_ns(&stat), mark: mark(file.as_fd())? };
    match choose(&entry, &stat) {
        Choice::Skip => Ok(()),
        Choice::Named => hear(Part::Entry(Entry { node: Node::Same { size }, ..entry })),
        Choice::Whole => {
            hear(Part::Entry(entry))?;
            content(&file, size, hear)
        }
    }
}

/// Tells a file's bytes, in pieces that depend on nothing but them.
fn content(file: &OwnedFd, size: u64, hear: Hear<'_>) -> io::Result<()> {
    let mut hole = 0_u64;
    let mut at = 0_u64;
    let mut buffer = vec![0; MAX_DATA];
    while at < size {
        // Where a file system knows of no holes there are none.
        let data = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Err(Errno::NXIO) => size,
            Err(_) => at,
            Ok(data) => data.min(size),
        };
        let piece = MAX_DATA as u64;
        let from = if data == size { size } else { (data - data % piece).max(at) };
        hole += from - at;
        at = from;
        let length = usize::try_from(piece.min(size - at)).unwrap_or(MAX_DATA);
        let bytes = buffer.get_mut(..length).unwrap_or_default();
        fill(file, at, bytes)?;
        at += length as u64;
        if bytes.iter().all(|byte| *byte == 0) {
            hole += length as u64;
            continue;
        }
        if hole > 0 {
            hear(Part::Hole(std::mem::take(&mut hole)))?;
        }
        hear(Part::Data(bytes.to_vec()))?;
    }
    if hole > 0 { hear(Part::Hole(hole)) } else { Ok(()) }
}

/// Reads from a place in a file; what is not there is zero.
fn fill(file: &OwnedFd, at: u64, mut bytes: &mut [u8]) -> io::Result<()> {
    let mut at = at;
    while !bytes.is_empty() {
        match rustix::io::pread(file, &mut *bytes, at) {
            Ok(0) => {
                bytes.fill(0);
                return Ok(());
            }
            Ok(count) => {
                at += count as u64;
                bytes = bytes.get_mut(count..).unwrap_or_default();
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// What is neither a directory that can be entered nor a file.
fn other(dir: BorrowedFd<'_>, name: &CStr, path: Vec<u8>, kind: FileType, stat: &Stat) -> io::Result<Entry> {
    let mut entry = Entry { path, node: Node::Socket, mode: 0, mtime_ns: 0, mark: Mark::None };
    entry.node = match kind {
        FileType::Symlink => {
            entry.mtime_ns = mtime_ns(stat);
            Node::Symlink { target: readlinkat(dir, name, Vec::new())?.into_bytes() }
        }
        FileType::CharacterDevice if stat.st_rdev == 0 => Node::Whiteout,
        FileType::Fifo => Node::Fifo,
        _ => Node::Socket,
    };
    Ok(entry)
}

/// What an overlay noted.
fn mark(node: BorrowedFd<'_>) -> io::Result<Mark> {
    let mut names = vec![0; 4096];
    let names = loop {
        match flistxattr(node, &mut names[..]) {
            Ok(length) => break names.get(..length).unwrap_or_default(),
            Err(Errno::RANGE) if names.len() < 1 << 16 => names = vec![0; 1 << 16],
            Err(Errno::OPNOTSUPP) => return Ok(Mark::None),
            Err(error) => return Err(error.into()),
        }
    };
    let mut found = Mark::None;
    for name in names.split(|byte| *byte == 0) {
        let Some(feature) = name.strip_prefix(b"user.overlay.") else { continue };
        match feature {
            b"impure" | b"origin" | b"nlink" | b"uuid" | b"protattr" => {}
            // What a program itself sets under such a name.
            deeper if deeper.starts_with(b"overlay.") => {}
            b"opaque" => {
                let mut value = [0; 8];
                match fgetxattr(node, "user.overlay.opaque", &mut value) {
                    Ok(1) if value[0] == b'y' => found = Mark::Opaque,
                    _ => return Ok(Mark::Odd(b"opaque".to_vec())),
                }
            }
            known @ (b"redirect" | b"metacopy" | b"whiteout" | b"whiteouts") => {
                return Ok(Mark::Odd(known.to_vec()));
            }
            _ => return Ok(Mark::Odd(b"unknown".to_vec())),
        }
    }
    Ok(found)
}

/// When it was changed, nanoseconds since the epoch.
#[allow(clippy::unnecessary_cast, reason = "the width of these fields differs between architectures")]
fn mtime_ns(stat: &Stat) -> i64 {
    (stat.st_mtime as i64).saturating_mul(1_000_000_000).saturating_add(stat.st_mtime_nsec as i64)
}

fn mode_of(stat: &Stat) -> u32 {
    stat.st_mode & super::MODE
}

/// Something that its owner may not open, open while this lives.
struct Closed {
    node: OwnedFd,
    mode: Mode,
}

/// Opens something; where its mode forbids that to its owner, it gets the bits that are missing meanwhile.
fn open(
    dir: BorrowedFd<'_>,
    name: &CStr,
    flags: OFlags,
    needed: u32,
) -> io::Result<(OwnedFd, Option<Closed>)> {
    match openat(dir, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {}
        // A directory may be listed and what is in it still be out of reach.
        Ok(node) if needed & 0o100 == 0 || rustix::process::geteuid().is_root() => return Ok((node, None)),
        Ok(node) if fstat(&node)?.st_mode & 0o100 != 0 => return Ok((node, None)),
        Ok(_) => {}
        Err(error) => return Err(error.into()),
    }
    let place = openat(dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
    let node = match place {
        // The directory itself, of which no name can be looked up.
        Err(Errno::ACCESS) if name == c"." => dir.try_clone_to_owned()?,
        place => place?,
    };
    let mode = Mode::from_raw_mode(mode_of(&fstat(&node)?));
    let closed = Closed { node, mode };
    closed.set(mode | Mode::from_raw_mode(needed))?;
    Ok((openat(dir, name, flags, Mode::empty())?, Some(closed)))
}

impl Closed {
    /// By descriptor: nothing else can come in its place.
    fn set(&self, mode: Mode) -> rustix::io::Result<()> {
        chmodat(CWD, format!("/proc/self/fd/{}", self.node.as_raw_fd()), mode, AtFlags::empty())
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        // Its owner can close it as well as anybody: nothing depends on this.
        let _ = self.set(self.mode);
    }
}
