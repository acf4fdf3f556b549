//! Reading a project.
//!
//! Owns the walk: which paths a snapshot has, which stay outside and why, and which files must be read
//! because the index cannot vouch for them. A file that has a secret's content stays outside whatever its
//! name: another hard link of one, or a private key. Follows no link, crosses no mount, changes nothing. Must
//! not know where contents are kept beyond handing them over.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use ftl_core::id::Hash;
use ftl_core::refuse::{KEY_WINDOW, holds_private_key};
use ftl_core::tree::{Entry, Node, RelPath};
use rustix::fs::{FileType, Stat, fstat, readlinkat};
use rustix::io::Errno;

use super::SnapshotError;
use super::blob::{Blobs, Look};
use super::content;
use super::dir::{self, LIST, READ};
use super::index::Stamp;
use super::rules::{Class, Kind, LARGEST, LARGEST_TOGETHER};
use super::seen::{Known, Seen};
use super::watches::Watches;

/// How often a file is read that changes meanwhile.
const TRIES: usize = 3;
/// Files that are read in one go: lists of paths cost more memory than what becomes of them.
const BATCH: usize = 4096;
/// Files of which it is said that they were read; when there are more, which ones tells nothing.
const TOLD: usize = 4096;
/// Threads that read files when there are many.
const READERS: usize = 4;

/// Where a walk reads and what it hands contents to.
#[derive(Clone, Copy)]
pub(super) struct Ground<'a> {
    pub(super) root: BorrowedFd<'a>,
    pub(super) blobs: &'a Blobs,
    /// The time just before the walk, nanoseconds since the Unix epoch.
    pub(super) now_ns: i64,
}

/// A walk under way.
pub(super) struct Walk<'a> {
    pub(super) ground: Ground<'a>,
    pub(super) seen: &'a mut Seen,
    /// What vouches for files, when it is not what is seen now.
    known: Option<&'a Seen>,
    /// Watches for directories that are new; a full walk sets none.
    watches: Option<&'a mut Watches>,
    pub(super) todo: Vec<(Option<RelPath>, Option<Stat>)>,
    unread: Vec<RelPath>,
    /// Files that were read, [`TOLD`] at most.
    pub(super) read: Vec<RelPath>,
    /// A file was met that has other names, which must be looked for everywhere.
    pub(super) is_newly_linked: bool,
}

/// What became of a file that had to be read.
enum Reading {
    Read {
        mode: u32,
        stamp: Stamp,
        hash: Hash,
    },
    Vanished,
    /// It holds a private key.
    Key(Stamp),
    Failed(String),
}

/// Reads the whole project and stores the contents that `known` does not vouch for. Says what it is, and
/// which files were read, [`TOLD`] of them at most.
pub(super) fn scan(ground: Ground<'_>, known: &Seen) -> Result<(Seen, Vec<RelPath>), SnapshotError> {
    let device = fstat(ground.root).map(|stat| stat.st_dev).unwrap_or(0);
    let nothing = Seen::default();
    let mut seen = Seen { exclude: read_exclude(ground.root), ..Seen::new(device) };
    if let Some(text) = &seen.exclude {
        seen.rules.add(None, Kind::Exclude, text);
    }
    let mut walk = Walk::new(ground, &mut seen, None);
    walk.known = Some(if known.device == device { known } else { &nothing });
    walk.todo.push((None, None));
    walk.finish()?;
    let read = std::mem::take(&mut walk.read);
    // Two trees of a large project, a moment apart, differ in little.
    seen.tree.join(&known.tree);
    Ok((seen, read))
}

/// The text of `.git/info/exclude`.
pub(super) fn read_exclude(root: BorrowedFd<'_>) -> Option<Vec<u8>> {
    dir::read_small(root, &RelPath::new(Kind::Exclude.name()).ok()?, LARGEST)
}

impl<'a> Walk<'a> {
    pub(super) fn new(ground: Ground<'a>, seen: &'a mut Seen, watches: Option<&'a mut Watches>) -> Self {
        let (todo, unread, read) = (Vec::new(), Vec::new(), Vec::new());
        Self { ground, seen, known: None, watches, todo, unread, read, is_newly_linked: false }
    }

    /// Takes in what is still to be done: directories, files with several names, files to be read.
    pub(super) fn finish(&mut self) -> Result<(), SnapshotError> {
        while let Some((at, stat)) = self.todo.pop() {
            self.enter(at.as_ref(), stat.as_ref())?;
            if self.unread.len() >= BATCH {
                self.read_files()?;
            }
        }
        self.take_linked();
        self.read_files()
    }

    /// Takes in what stands in a directory.
    fn enter(&mut self, at: Option<&RelPath>, stat: Option<&Stat>) -> Result<(), SnapshotError> {
        let watch = |dir: OwnedFd| {
            // Watched before it is listed: what comes later tells of itself.
            if let Some(watches) = self.watches.as_mut() {
                watches.add(at, dir.as_fd());
            }
            Ok((dir::list(&dir)?, dir))
        };
        let listed = dir::open_beneath(self.ground.root, at, LIST).and_then(watch);
        let (items, dir) = match (listed, at) {
            (Ok(listed), _) => listed,
            // It went away, or became something else; the next snapshot sees what.
            (Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP), Some(_)) => return Ok(()),
            (Err(Errno::XDEV), Some(at)) => {
                self.seen.exclude(at, Class::Special, "another file system is mounted here");
                return Ok(());
            }
            (Err(error), Some(at)) => {
                self.seen.exclude(at, Class::Unreadable, &std::io::Error::from(error).to_string());
                return Ok(());
            }
            (Err(error), None) => return Err(super::io_error("read", "the project's directory")(error)),
        };
        if let (Some(at), Some(stat)) = (at, stat) {
            self.put_dir(at, stat);
        }
        for item in &items {
            if let Some(kind) = Kind::of(item.name.as_bytes())
                && let Ok(path) = RelPath::under(at, item.name.as_bytes())
                && let Some(text) = dir::read_small(self.ground.root, &path, LARGEST)
            {
                self.seen.rules.add(at, kind, &text);
            }
        }
        if self.seen.rules.are_too_large() {
            return Err(SnapshotError::Rules { most: LARGEST_TOGETHER });
        }
        self.arrive(at, &dir, &items);
        self.seen.rules.rest();
        Ok(())
    }

    /// Ends the watches of a directory that is none any more.
    pub(super) fn unwatch(&mut self, path: &RelPath) {
        if let Some(watches) = self.watches.as_mut() {
            watches.remove(path);
        }
    }

    /// Takes in a directory's own mode and time.
    pub(super) fn put_dir(&mut self, at: &RelPath, stat: &Stat) {
        let node = Node::Dir { mode: stat.st_mode & 0o777 };
        self.seen.put(at, Entry { node, mtime_ns: dir::mtime_ns(stat) });
    }

    /// Takes in names of a directory.
    pub(super) fn arrive(&mut self, at: Option<&RelPath>, dir: &OwnedFd, items: &[dir::Item]) {
        // The rules are lent out while the rest of what is seen is written to.
        let rules = std::mem::take(&mut self.seen.rules);
        let chain = rules.chain(at);
        for item in items {
            let Ok(path) = RelPath::under(at, item.name.as_bytes()) else {
                self.seen.is_odd = true;
                let shown = at.cloned().or_else(|| RelPath::new("?").ok());
                let (rule, source) = ("a path in it is too long".to_owned(), "built in".to_owned());
                if let Some(path) = shown {
                    let class = Class::Unreadable;
                    let out = super::rules::Exclusion { path, rule, source, class };
                    self.seen.outside.put(out);
                }
                continue;
            };
            match chain.verdict(&path, dir::kind(&item.stat) == FileType::Directory) {
                Some(exclusion) => {
                    let is_secret = exclusion.class == Class::Secret;
                    self.seen.leave_out(exclusion);
                    if is_secret && dir::kind(&item.stat) == FileType::RegularFile {
                        self.seen.secrets.insert(path);
                    }
                }
                None => self.take(dir, path, item),
            }
        }
        drop(chain);
        self.seen.rules = rules;
    }

    /// Takes in one path that no rule leaves out.
    fn take(&mut self, dir: &OwnedFd, path: RelPath, item: &dir::Item) {
        let mtime_ns = dir::mtime_ns(&item.stat);
        let kind = dir::kind(&item.stat);
        if kind == FileType::Directory {
            // One that is known is watched, and tells itself what changes in it.
            return match self.seen.has_dir(Some(&path)) {
                true => self.put_dir(&path, &item.stat),
                false => self.todo.push((Some(path), Some(item.stat))),
            };
        }
        if self.seen.has_dir(Some(&path)) {
            self.unwatch(&path);
            self.seen.forget(&path);
        }
        match kind {
            FileType::RegularFile if item.stat.st_nlink > 1 => {
                self.is_newly_linked |= self.seen.linked.insert(path);
            }
            FileType::RegularFile if self.seen.linked.contains(&path) => {}
            FileType::RegularFile => self.take_file(path, &item.stat),
            FileType::Symlink => match readlinkat(dir, &item.name, Vec::new()) {
                Ok(target) => {
                    let is_known = self.seen.unsettled.contains(&path);
                    self.seen.forget_file(&path);
                    let node = Node::Symlink { target: target.into_bytes() };
                    self.seen.put(&path, Entry { node, mtime_ns });
                    if item.stat.st_nlink > 1 {
                        // Its time may be changed under another name, of which no event tells here.
                        self.is_newly_linked |= !is_known;
                        self.seen.unsettled.insert(path);
                    }
                }
                Err(error) => {
                    let why = std::io::Error::from(error).to_string();
                    self.seen.exclude(&path, Class::Unreadable, &why);
                }
            },
            FileType::Socket => self.seen.exclude(&path, Class::Special, "a socket"),
            FileType::Fifo => self.seen.exclude(&path, Class::Special, "a FIFO"),
            _ => self.seen.exclude(&path, Class::Special, "a device"),
        }
    }

    /// Takes in the files with several names, none of which is a secret's. What they are is known when every
    /// name has been seen.
    fn take_linked(&mut self) {
        if self.seen.linked.is_empty() {
            return;
        }
        let root = self.ground.root;
        let inode = |path: &RelPath| dir::stat_beneath(root, path).ok().map(|at| (at.st_dev, at.st_ino));
        let secrets: BTreeSet<(u64, u64)> = self.seen.secrets.iter().filter_map(inode).collect();
        for path in self.seen.linked.clone() {
            match dir::stat_beneath(root, &path) {
                Ok(stat) if dir::kind(&stat) != FileType::RegularFile => {
                    // It became something else, which its directory tells.
                    self.seen.linked.remove(&path);
                }
                Ok(stat) if secrets.contains(&(stat.st_dev, stat.st_ino)) => {
                    let why = "another name of a file that is kept outside";
                    self.seen.exclude(&path, Class::Secret, why);
                    self.seen.linked.insert(path);
                }
                Ok(stat) => self.take_file(path, &stat),
                Err(_) => self.seen.forget(&path),
            }
        }
    }

    /// Takes in a file, or notes that it must be read.
    pub(super) fn take_file(&mut self, path: RelPath, stat: &Stat) {
        let stamp = Stamp::of(stat);
        match self.known.unwrap_or(self.seen).known(&path, stamp) {
            Some(Known::Content(hash)) => {
                self.seen.put_file(path, stat.st_mode, (stamp, hash), self.ground.now_ns);
            }
            Some(Known::Key) => self.seen.put_key(path, stamp, self.ground.now_ns),
            None => self.unread.push(path),
        }
    }

    /// Reads the files that no mark vouches for.
    fn read_files(&mut self) -> Result<(), SnapshotError> {
        let unread = std::mem::take(&mut self.unread);
        let Ground { root, blobs, now_ns } = self.ground;
        let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let work = || {
            while let Some(path) = unread.get(next.fetch_add(1, Ordering::Relaxed)) {
                let reading = read(root, path, (blobs, now_ns));
                let failed = reading.is_err();
                done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((path, reading));
                if failed {
                    break;
                }
            }
        };
        let readers = if unread.len() < 64 { 1 } else { READERS };
        std::thread::scope(|scope| {
            (1..readers).for_each(|_| drop(scope.spawn(work)));
            work();
        });
        for (path, reading) in done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
            match reading? {
                Reading::Read { mode, stamp, hash } => {
                    self.seen.put_file(path.clone(), mode, (stamp, hash), now_ns);
                }
                Reading::Vanished => self.seen.forget(path),
                Reading::Key(stamp) => self.seen.put_key(path.clone(), stamp, now_ns),
                Reading::Failed(why) => self.seen.exclude(path, Class::Unreadable, &why),
            }
            if self.read.len() < TOLD {
                self.read.push(path.clone());
            }
        }
        Ok(())
    }
}

/// Whether a private key stands in a file's beginning. One that cannot be read fails when it is stored.
fn begins_with_key(file: &File) -> bool {
    let mut start = [0; KEY_WINDOW];
    let mut length = 0;
    while length < start.len() {
        match file.read_at(&mut start[length..], length as u64) {
            Ok(0) | Err(_) => break,
            Ok(read) => length += read,
        }
    }
    holds_private_key(&start[..length])
}

/// Reads a file in one pass that both stores and hashes it, until it does not change meanwhile. An error is
/// the store's; what is wrong with the project's file is a [`Reading`].
fn read(
    root: BorrowedFd<'_>,
    path: &RelPath,
    (blobs, now_ns): (&Blobs, i64),
) -> Result<Reading, SnapshotError> {
    for _ in 0..TRIES {
        let file = match dir::open_beneath(root, Some(path), READ) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(Reading::Vanished),
            Err(error) => return Ok(Reading::Failed(std::io::Error::from(error).to_string())),
        };
        let Ok(stat) = fstat(&file) else { continue };
        if dir::kind(&stat) != FileType::RegularFile {
            return Ok(Reading::Vanished);
        }
        let stamp = Stamp::of(&stat);
        // What is written after the stamp was taken gives it another one.
        if begins_with_key(&file) {
            return Ok(Reading::Key(stamp));
        }
        let look = Look { mode: stat.st_mode & 0o777, mtime_ns: stamp.mtime_ns };
        let moved = blobs.put_file(&file, look)?;
        let is_same = || fstat(&file).is_ok_and(|after| Stamp::of(&after) == stamp);
        // Within one tick of the file system's clock no stamp tells one state from the next; only reading it
        // again does.
        let is_whole = || {
            stamp.mark(now_ns).is_some()
                || content::hash(&file).is_ok_and(|again| again == moved) && is_same()
        };
        if moved.size == stamp.size && is_same() && is_whole() {
            return Ok(Reading::Read { mode: stat.st_mode, stamp, hash: moved.hash });
        }
    }
    Ok(Reading::Failed("it changed each time it was read".to_owned()))
}
