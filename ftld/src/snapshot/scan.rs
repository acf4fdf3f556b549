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
use ftl_core::tree::{Entry, Node, RelPath, Tree};
use rustix::fs::{FileType, Stat, fstat, readlinkat};
use rustix::io::Errno;

use super::SnapshotError;
use super::blob::{Blobs, Look};
use super::dir::{self, LIST, READ};
use super::index::{Index, Stamp};
use super::rules::{Class, Exclusion, Kind, LARGEST, Rules};

/// How often a file is read that changes meanwhile.
const TRIES: usize = 3;
/// Threads that read files when there are many.
const READERS: usize = 4;

/// What a project was at one moment.
pub(super) struct Scan {
    pub(super) tree: Tree,
    pub(super) exclusions: Vec<Exclusion>,
    pub(super) rules: Rules,
    pub(super) index: Index,
}

/// A walk under way.
struct Walk<'a> {
    root: BorrowedFd<'a>,
    known: &'a Index,
    now_ns: i64,
    entries: Vec<(RelPath, Entry)>,
    unread: Vec<RelPath>,
    /// Files with several names. What they are is known when every name has been seen.
    linked: Vec<(RelPath, Stat)>,
    /// Device and inode of such files one of whose names is a secret's.
    secrets: BTreeSet<(u64, u64)>,
    todo: Vec<(Option<RelPath>, Option<Stat>)>,
    found: Scan,
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
    Secret,
    Failed(String),
}

/// Reads the project at `root` and stores the contents that `known` does not vouch for. `now_ns` is the time
/// just before the call.
pub(super) fn scan(root: &OwnedFd, known: &Index, blobs: &Blobs, now_ns: i64) -> Result<Scan, SnapshotError> {
    let device = fstat(root).map(|stat| stat.st_dev).unwrap_or(0);
    let nothing = Index::default();
    let mut found = Scan {
        tree: Tree::new(),
        exclusions: Vec::new(),
        rules: Rules::default(),
        index: Index::new(device),
    };
    if let Ok(exclude) = RelPath::new(Kind::Exclude.name())
        && let Some(text) = dir::read_small(root, &exclude, LARGEST)
    {
        found.rules.add(None, Kind::Exclude, &text);
    }
    let mut walk = Walk {
        root: root.as_fd(),
        known: if known.device == device { known } else { &nothing },
        now_ns,
        entries: Vec::new(),
        unread: Vec::new(),
        linked: Vec::new(),
        secrets: BTreeSet::new(),
        todo: vec![(None, None)],
        found,
    };
    while let Some((at, stat)) = walk.todo.pop() {
        walk.enter(at.as_ref(), stat.as_ref())?;
    }
    walk.take_linked();
    walk.read_files(blobs)?;
    let Walk { mut entries, found, .. } = walk;
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(Scan { tree: entries.into_iter().collect(), ..found })
}

impl Walk<'_> {
    /// Takes in what stands in a directory.
    fn enter(&mut self, at: Option<&RelPath>, stat: Option<&Stat>) -> Result<(), SnapshotError> {
        let listed = dir::open_beneath(self.root, at, LIST).and_then(|dir| Ok((dir::list(&dir)?, dir)));
        let (items, dir) = match (listed, at) {
            (Ok(listed), _) => listed,
            // It went away, or became something else; the next snapshot sees what.
            (Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP), Some(_)) => return Ok(()),
            (Err(Errno::XDEV), Some(at)) => {
                self.exclude(at, Class::Special, "another file system is mounted here");
                return Ok(());
            }
            (Err(error), Some(at)) => {
                self.exclude(at, Class::Unreadable, &std::io::Error::from(error).to_string());
                return Ok(());
            }
            (Err(error), None) => return Err(super::io_error("read", "the project's directory")(error)),
        };
        if let (Some(at), Some(stat)) = (at, stat) {
            let node = Node::Dir { mode: stat.st_mode & 0o777 };
            self.entries.push((at.clone(), Entry { node, mtime_ns: dir::mtime_ns(stat) }));
        }
        for item in &items {
            if let Some(kind) = Kind::of(item.name.as_bytes())
                && let Ok(path) = RelPath::under(at, item.name.as_bytes())
                && let Some(text) = dir::read_small(self.root, &path, LARGEST)
            {
                self.found.rules.add(at, kind, &text);
            }
        }
        // The rules are lent out while the rest of the walk is written to.
        let rules = std::mem::take(&mut self.found.rules);
        let chain = rules.chain(at);
        for item in items {
            let Ok(path) = RelPath::under(at, item.name.as_bytes()) else {
                let shown = at.cloned().or_else(|| RelPath::new("?").ok());
                shown.iter().for_each(|at| self.exclude(at, Class::Unreadable, "a path in it is too long"));
                continue;
            };
            match chain.verdict(&path, dir::kind(&item.stat) == FileType::Directory) {
                Some(exclusion) => {
                    if exclusion.class == Class::Secret && is_linked(&item.stat) {
                        self.secrets.insert((item.stat.st_dev, item.stat.st_ino));
                    }
                    self.found.exclusions.push(exclusion);
                }
                None => self.take(&dir, path, &item),
            }
        }
        drop(chain);
        self.found.rules = rules;
        Ok(())
    }

    /// Takes in one path that no rule leaves out.
    fn take(&mut self, dir: &OwnedFd, path: RelPath, item: &dir::Item) {
        let mtime_ns = dir::mtime_ns(&item.stat);
        match dir::kind(&item.stat) {
            FileType::Directory => self.todo.push((Some(path), Some(item.stat))),
            FileType::RegularFile if is_linked(&item.stat) => self.linked.push((path, item.stat)),
            FileType::RegularFile => self.take_file(path, &item.stat),
            FileType::Symlink => match readlinkat(dir, &item.name, Vec::new()) {
                Ok(target) => {
                    let node = Node::Symlink { target: target.into_bytes() };
                    self.entries.push((path, Entry { node, mtime_ns }));
                }
                Err(error) => {
                    self.exclude(&path, Class::Unreadable, &std::io::Error::from(error).to_string())
                }
            },
            FileType::Socket => self.exclude(&path, Class::Special, "a socket"),
            FileType::Fifo => self.exclude(&path, Class::Special, "a FIFO"),
            _ => self.exclude(&path, Class::Special, "a device"),
        }
    }

    /// Takes in the files with several names, none of which is a secret's.
    fn take_linked(&mut self) {
        for (path, stat) in std::mem::take(&mut self.linked) {
            match self.secrets.contains(&(stat.st_dev, stat.st_ino)) {
                true => self.exclude(&path, Class::Secret, "another name of a file that is kept outside"),
                false => self.take_file(path, &stat),
            }
        }
    }

    /// Takes in a file, or notes that it must be read.
    fn take_file(&mut self, path: RelPath, stat: &Stat) {
        let stamp = Stamp::of(stat);
        match self.known.get(&path, stamp) {
            Some(hash) => self.add_file(path, stat.st_mode, stamp, hash),
            None => self.unread.push(path),
        }
    }

    fn add_file(&mut self, path: RelPath, mode: u32, stamp: Stamp, hash: Hash) {
        let node = Node::File { mode: mode & 0o777, size: stamp.size, hash };
        self.entries.push((path.clone(), Entry { node, mtime_ns: stamp.mtime_ns }));
        self.found.index.insert(path, stamp, hash, self.now_ns);
    }

    fn exclude(&mut self, path: &RelPath, class: Class, rule: &str) {
        let (path, rule, source) = (path.clone(), rule.to_owned(), "built in".to_owned());
        self.found.exclusions.push(Exclusion { path, rule, source, class });
    }

    /// Reads the files that the index does not vouch for.
    fn read_files(&mut self, blobs: &Blobs) -> Result<(), SnapshotError> {
        let unread = std::mem::take(&mut self.unread);
        let (root, next, done) = (self.root, AtomicUsize::new(0), Mutex::new(Vec::new()));
        let work = || {
            while let Some(path) = unread.get(next.fetch_add(1, Ordering::Relaxed)) {
                let reading = read(root, path, blobs);
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
                Reading::Read { mode, stamp, hash } => self.add_file(path.clone(), mode, stamp, hash),
                Reading::Vanished => {}
                Reading::Secret => self.exclude(path, Class::Secret, "holds a private key"),
                Reading::Failed(why) => self.exclude(path, Class::Unreadable, &why),
            }
        }
        Ok(())
    }
}

/// Whether a regular file has other names.
fn is_linked(stat: &Stat) -> bool {
    dir::kind(stat) == FileType::RegularFile && stat.st_nlink > 1
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
fn read(root: BorrowedFd<'_>, path: &RelPath, blobs: &Blobs) -> Result<Reading, SnapshotError> {
    for _ in 0..TRIES {
        let file = match dir::open_beneath(root, Some(path), READ) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT | Errno::LOOP) => return Ok(Reading::Vanished),
            Err(error) => return Ok(Reading::Failed(std::io::Error::from(error).to_string())),
        };
        let Ok(stat) = fstat(&file) else { continue };
        if dir::kind(&stat) != FileType::RegularFile {
            return Ok(Reading::Vanished);
        }
        let stamp = Stamp::of(&stat);
        // A file that stays outside is not in the index either, so that this is asked again each time.
        if begins_with_key(&file) {
            return Ok(Reading::Secret);
        }
        let look = Look { mode: stat.st_mode & 0o777, mtime_ns: stamp.mtime_ns };
        let moved = blobs.put_file(&file, look)?;
        if moved.size == stamp.size && fstat(&file).is_ok_and(|after| Stamp::of(&after) == stamp) {
            return Ok(Reading::Read { mode: stat.st_mode, stamp, hash: moved.hash });
        }
    }
    Ok(Reading::Failed("it changed each time it was read".to_owned()))
}
