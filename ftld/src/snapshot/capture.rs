//! Reading a frozen upper layer.
//!
//! Owns what an overlay's upper directory means as data: whiteouts, opaque directories, and that what has any
//! other metadata of an overlay is taken in as something that is never applied. Nothing may run in the layer meanwhile. Its
//! modes are changed where the daemon could not read it otherwise, and put back. Must not know the base
//! beyond which paths it has.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use ftl_core::diff::{SpecialKind, UpperNode, UpperTree};
use ftl_core::id::Hash;
use ftl_core::tree::{RelPath, Tree};
use rustix::fs::{
    CWD, FileType, Mode, OFlags, Stat, chmodat, fgetxattr, flistxattr, fstat, openat, readlinkat,
};
use rustix::io::Errno;

use super::blob::{Blobs, Look};
use super::dir::{self, Item, LIST, READ};
use super::rules::Rules;
use super::{SnapshotError, io_error};

/// A session's work, stored.
#[derive(Debug, Default)]
pub struct Captured {
    /// What the layer holds.
    pub upper: UpperTree,
    /// New paths that the ignore rules leave out; a directory stands for all in it. Contents are not stored.
    pub ignored: BTreeSet<RelPath>,
    /// Size of the files that were stored, in bytes.
    pub bytes: u64,
    /// What could not be taken in.
    pub unread: Vec<Unread>,
}

/// Something in the layer that cannot be described.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unread {
    /// The directory it stands in; `None` is the root.
    pub dir: Option<RelPath>,
    /// What it is.
    pub why: String,
}

/// What an overlay's metadata says of a directory or file.
enum Says {
    Nothing,
    /// It hides what is beneath it in the base.
    Opaque,
    /// It is not what it looks like.
    Odd(SpecialKind),
}

/// A walk under way.
struct Reading<'a> {
    root: OwnedFd,
    shown: &'a Path,
    base: &'a Tree,
    rules: &'a mut Rules,
    blobs: &'a Blobs,
    todo: Vec<Option<RelPath>>,
    /// Modes to put back.
    opened: Vec<(Option<RelPath>, u32)>,
    hashes: BTreeSet<Hash>,
    /// Paths that are taken in at most.
    most: usize,
    found: Captured,
}

/// Paths of a layer that are taken in. Each costs about 1 KB of memory while the work is compared, and nobody
/// reviews so many.
pub(super) const MOST: usize = 500_000;

/// Reads the layer and stores its contents, forced to the disk. `most` is the number of paths that it may
/// have.
pub(super) fn capture(
    upper: &Path,
    base: &Tree,
    rules: &mut Rules,
    blobs: &Blobs,
    most: usize,
) -> Result<Captured, SnapshotError> {
    // Not to be read yet: the sandbox may have closed it.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, upper, flags, Mode::empty()).map_err(io_error("open", upper))?;
    let closed = lift(&root, 0o500).map_err(io_error("open", upper))?;
    let (todo, opened) = (vec![None], closed.map(|mode| (None, mode)).into_iter().collect());
    let (hashes, found) = (BTreeSet::new(), Captured::default());
    let mut reading = Reading { root, shown: upper, base, rules, blobs, todo, opened, hashes, most, found };
    let walked = reading.walk();
    reading.put_modes_back()?;
    walked?;
    blobs.sync(&reading.hashes)?;
    Ok(reading.found)
}

/// Sets the mode of what a descriptor stands for, also one that cannot be read.
pub(super) fn set_mode(node: impl AsFd, mode: u32) -> rustix::io::Result<()> {
    let place = format!("/proc/self/fd/{}", node.as_fd().as_raw_fd());
    chmodat(CWD, place, Mode::from_raw_mode(mode), rustix::fs::AtFlags::empty())
}

/// Gives the owner of a node bits of its mode that are missing. Says the mode that it had if it changed.
pub(super) fn lift(node: impl AsFd, needed: u32) -> rustix::io::Result<Option<u32>> {
    let mode = fstat(&node)?.st_mode & 0o7777;
    let is_closed = mode & needed != needed;
    if is_closed {
        set_mode(&node, mode | needed)?;
    }
    Ok(is_closed.then_some(mode))
}

impl Reading<'_> {
    fn walk(&mut self) -> Result<(), SnapshotError> {
        while let Some(at) = self.todo.pop() {
            let dir = self.open(at.as_ref(), LIST, 0o500).map_err(self.at("open", at.as_ref()))?;
            match (self.overlay_says(&dir, at.as_ref())?, at.as_ref()) {
                (Says::Nothing, _) => {}
                (Says::Opaque, Some(at)) => self.mark_opaque(at),
                // Nothing beneath it is known to stand where it seems to.
                (Says::Odd(kind), Some(at)) => {
                    self.found.upper.insert(at.clone(), UpperNode::Special(kind));
                    continue;
                }
                (Says::Opaque, None) => return Err(odd(None, "the whole layer is opaque")),
                (Says::Odd(kind), None) => return Err(odd(None, &format!("it is {kind}"))),
            }
            for item in dir::list(&dir).map_err(self.at("list", at.as_ref()))? {
                match RelPath::under(at.as_ref(), item.name.as_bytes()) {
                    Ok(_) if self.found.upper.len() + self.found.ignored.len() >= self.most => {
                        return Err(SnapshotError::Paths { most: self.most });
                    }
                    Ok(path) => self.take(&dir, path, &item)?,
                    Err(error) => {
                        self.found.unread.push(Unread { dir: at.clone(), why: error.why.to_owned() });
                    }
                }
            }
            self.rules.rest();
        }
        Ok(())
    }

    fn mark_opaque(&mut self, at: &RelPath) {
        if let Some(UpperNode::Dir { opaque, .. }) = self.found.upper.get_mut(at) {
            *opaque = true;
        }
    }

    /// Takes in one path.
    fn take(&mut self, dir: &OwnedFd, path: RelPath, item: &Item) -> Result<(), SnapshotError> {
        let kind = dir::kind(&item.stat);
        let is_whiteout = kind == FileType::CharacterDevice && item.stat.st_rdev == 0;
        if !is_whiteout && self.rules.leaves_out(self.base, &path, kind.is_dir()) {
            self.found.ignored.insert(path);
            return Ok(());
        }
        let mode = item.stat.st_mode & 0o7777;
        let node = match kind {
            _ if is_whiteout => UpperNode::Whiteout,
            FileType::Directory => {
                self.todo.push(Some(path.clone()));
                UpperNode::Dir { mode, opaque: false }
            }
            FileType::RegularFile => self.store(&path, &item.stat)?,
            FileType::Symlink => {
                let target = readlinkat(dir, &item.name, Vec::new()).map_err(self.at("read", Some(&path)))?;
                UpperNode::Symlink { target: target.into_bytes() }
            }
            FileType::Socket => UpperNode::Special(SpecialKind::Socket),
            FileType::Fifo => UpperNode::Special(SpecialKind::Fifo),
            FileType::CharacterDevice => UpperNode::Special(SpecialKind::CharDevice),
            FileType::BlockDevice => UpperNode::Special(SpecialKind::BlockDevice),
            FileType::Unknown => UpperNode::Special(SpecialKind::UnknownType),
        };
        self.found.upper.insert(path, node);
        Ok(())
    }

    fn store(&mut self, path: &RelPath, stat: &Stat) -> Result<UpperNode, SnapshotError> {
        let mode = stat.st_mode & 0o7777;
        let file = File::from(self.open(Some(path), READ, 0o400).map_err(self.at("open", Some(path)))?);
        match self.overlay_says(&file, Some(path))? {
            Says::Nothing => {}
            // Only a directory can be.
            Says::Opaque => return Ok(UpperNode::Special(SpecialKind::OddlyHiding)),
            Says::Odd(kind) => return Ok(UpperNode::Special(kind)),
        }
        let look = Look { mode: mode & 0o777, mtime_ns: dir::mtime_ns(stat) };
        let moved = self.blobs.put_file(&file, look)?;
        if Ok(moved.size) != u64::try_from(stat.st_size) {
            return Err(odd(Some(path), "a file that changes although nothing runs"));
        }
        self.hashes.insert(moved.hash);
        self.found.bytes += moved.size;
        Ok(UpperNode::File { mode, size: moved.size, hash: moved.hash })
    }

    /// Opens a path of the layer; gives its owner the needed bits first if they are missing.
    fn open(&mut self, path: Option<&RelPath>, flags: OFlags, needed: u32) -> rustix::io::Result<OwnedFd> {
        match dir::open_beneath(&self.root, path, flags) {
            Err(Errno::ACCESS) => {}
            // A directory may be listed and its files still be out of reach.
            Ok(dir) if needed & 0o100 == 0 || fstat(&dir)?.st_mode & 0o100 != 0 => return Ok(dir),
            Ok(_) => {}
            Err(error) => return Err(error),
        }
        let node = dir::open_beneath(&self.root, path, OFlags::PATH | OFlags::NOFOLLOW)?;
        self.opened.extend(lift(&node, needed)?.map(|mode| (path.cloned(), mode)));
        dir::open_beneath(&self.root, path, flags)
    }

    /// Puts back every mode that was changed, the deepest first.
    fn put_modes_back(&mut self) -> Result<(), SnapshotError> {
        while let Some((path, mode)) = self.opened.pop() {
            dir::open_beneath(&self.root, path.as_ref(), OFlags::PATH | OFlags::NOFOLLOW)
                .and_then(|node| set_mode(node, mode))
                .map_err(self.at("prepare", path.as_ref()))?;
        }
        Ok(())
    }

    /// What the overlay's metadata says of a directory or file. Metadata that is not harmless is odd: this
    /// daemon mounts without the features that write it.
    fn overlay_says(&self, node: impl AsFd, path: Option<&RelPath>) -> Result<Says, SnapshotError> {
        let names = attribute_names(&node).map_err(self.at("read the attributes of", path))?;
        let (mut says, mut odd) = (Says::Nothing, None);
        for name in names.split(|byte| *byte == 0) {
            if name.starts_with(b"trusted.overlay.") {
                odd = Some(SpecialKind::OddlyMarked);
            }
            let Some(feature) = name.strip_prefix(b"user.overlay.") else { continue };
            match feature {
                b"impure" | b"origin" | b"nlink" | b"uuid" | b"protattr" => {}
                // What the sandbox itself sets under such a name the kernel stores one level deeper.
                deeper if deeper.starts_with(b"overlay.") => {}
                b"opaque" => {
                    let mut value = [0; 8];
                    let length = match fgetxattr(&node, "user.overlay.opaque", &mut value) {
                        // Longer than any that a kernel writes.
                        Err(Errno::RANGE) => 0,
                        length => length.map_err(self.at("read the attributes of", path))?,
                    };
                    match &value[..length] {
                        b"y" => says = Says::Opaque,
                        _ => odd = Some(SpecialKind::OddlyHiding),
                    }
                }
                b"redirect" => odd = Some(SpecialKind::Redirected),
                b"metacopy" => odd = Some(SpecialKind::ContentElsewhere),
                b"whiteout" | b"whiteouts" => odd = Some(SpecialKind::OddlyHiding),
                _ => odd = Some(SpecialKind::OddlyMarked),
            }
        }
        if let Some(kind) = odd {
            tracing::warn!(path = %self.shown.display(), ?path, %kind, "odd metadata of an overlay");
        }
        Ok(odd.map_or(says, Says::Odd))
    }

    fn at<E: Into<std::io::Error>>(
        &self,
        act: &'static str,
        path: Option<&RelPath>,
    ) -> impl FnOnce(E) -> SnapshotError + use<E> {
        let shown = path.map_or_else(|| self.shown.to_owned(), |path| self.shown.join(path.to_string()));
        io_error(act, shown)
    }
}

/// The names of all extended attributes, each ended by a NUL.
fn attribute_names(node: impl AsFd) -> rustix::io::Result<Vec<u8>> {
    // The kernel's own limit for such a list.
    let mut names = vec![0; 4096];
    loop {
        match flistxattr(node.as_fd(), &mut names[..]) {
            Ok(length) => {
                names.truncate(length);
                return Ok(names);
            }
            Err(Errno::RANGE) if names.len() < 1 << 16 => names = vec![0; 1 << 16],
            Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }
    }
}

fn odd(path: Option<&RelPath>, what: &str) -> SnapshotError {
    SnapshotError::Odd {
        path: path.map_or_else(|| ".".to_owned(), ToString::to_string),
        what: what.to_owned(),
    }
}
