//! Reads where a project's repository is and what it calls its commits, without Git.
//!
//! Owns the distrust of that directory: nothing is followed out of it but a worktree's own link, which must
//! be confirmed from the other side, and the object directories that it borrows, which must be those of a
//! repository of the same user. No configuration is read. Must not know what an object is.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use ftl_core::history::object::{Format, Id};
use ftl_core::history::refs::{self, Head};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::HistoryError;

/// A project's repository, as far as its small files tell.
#[derive(Debug)]
pub(super) struct Repository {
    /// The directory that its worktrees share.
    pub(super) common: PathBuf,
    /// Its own directory of objects, then those that it borrows.
    pub(super) objects: Vec<PathBuf>,
    pub(super) format: Format,
    pub(super) head: Head,
    /// Branches and tags.
    pub(super) refs: BTreeMap<String, Id>,
    /// The working tree's index, unread.
    pub(super) index: Vec<u8>,
    /// What was left out, in sentences.
    pub(super) notices: Vec<String>,
}

/// References that are read at most.
const REFS: usize = 20_000;
/// The longest file of packed references, bytes.
const PACKED: u64 = 16 << 20;
/// The longest index, bytes.
const INDEX: u64 = 256 << 20;
/// The longest of the other files, bytes.
const SMALL: u64 = 64 << 10;
/// Object directories that may be borrowed.
const BORROWED: usize = 8;
/// How deep names of references may nest.
const DEEPEST: usize = 16;

/// Reads a project's repository; `None` when the project has none of its own.
pub(super) fn read(project: &Path) -> Result<Option<Repository>, HistoryError> {
    let Some((own, common)) = directories(project)? else { return Ok(None) };
    let (own_dir, common_dir) = (open_dir(&own)?, open_dir(&common)?);
    if entry_kind(&common_dir, "reftable").is_some() {
        return Err(refused("its references are in the format reftable, which cannot be read yet"));
    }
    let objects = entry_kind(&common_dir, "objects");
    match objects {
        Some(FileType::Directory) => {}
        Some(FileType::Symlink) => return Err(refused("its directory of objects is a link")),
        _ => return Err(refused("it has no directory of objects")),
    }
    let head = head(&own_dir).ok_or_else(|| refused("its HEAD names neither a branch nor a commit"))?;
    let mut notices = Vec::new();
    let mut found = references(&common_dir, &head, &mut notices);
    let format = match &head {
        Head::Detached(id) => Some(id.format()),
        Head::Branch(name) => found.get(name).or_else(|| found.values().next()).map(Id::format),
    };
    let format = format.unwrap_or(Format::Sha1);
    found.retain(|_, id| id.format() == format);
    let index = file(own_dir.as_fd(), "index", INDEX).unwrap_or_default();
    let mut objects = vec![common.join("objects")];
    borrow(&common, &mut objects, &mut notices);
    Ok(Some(Repository { common, objects, format, head, refs: found, index, notices }))
}

/// The working tree's own directory of Git and the one that it shares with others.
fn directories(project: &Path) -> Result<Option<(PathBuf, PathBuf)>, HistoryError> {
    let root = open_dir(project)?;
    let dot_git = project.join(".git");
    let own = match entry_kind(&root, ".git") {
        None => return Ok(None),
        Some(FileType::Directory) => {
            is_ours(&dot_git, project)?;
            return Ok(Some((dot_git.clone(), dot_git)));
        }
        Some(FileType::RegularFile) => {
            let text = file(root.as_fd(), ".git", SMALL).unwrap_or_default();
            let path = text.strip_prefix(b"gitdir:").map(<[u8]>::trim_ascii);
            let path = path.ok_or_else(|| refused("its .git is no directory and names none"))?;
            project.join(OsStr::from_bytes(path)).canonicalize()
        }
        Some(_) => return Err(refused("its .git is a link")),
    };
    let own = own.map_err(|_| refused("its .git names a directory that is not there"))?;
    // A project must not get at another one's history by naming it: a worktree is known there, too.
    let worktrees = own.parent().filter(|parent| parent.file_name() == Some(OsStr::new("worktrees")));
    let common = worktrees.and_then(Path::parent);
    let back = file(open_dir(&own)?.as_fd(), "gitdir", SMALL).unwrap_or_default();
    match common {
        Some(common) if Path::new(OsStr::from_bytes(back.trim_ascii())) == dot_git => {
            is_ours(common, project)?;
            Ok(Some((own.clone(), common.to_owned())))
        }
        _ => Err(refused("its .git names a directory that does not name this project in turn")),
    }
}

/// Whether a directory belongs to whom the project belongs to, or to us.
fn is_ours(dir: &Path, project: &Path) -> Result<(), HistoryError> {
    let owner = |path: &Path| path.symlink_metadata().ok().map(|meta| meta.uid());
    let us = rustix::process::geteuid().as_raw();
    match owner(dir) {
        Some(uid) if uid == us || Some(uid) == owner(project) => Ok(()),
        _ => Err(refused("it belongs to another user")),
    }
}

fn head(dir: &OwnedFd) -> Option<Head> {
    if entry_kind(dir, "HEAD") == Some(FileType::Symlink) {
        // As Git of old wrote it. The name counts, the link is not followed.
        let target = rustix::fs::readlinkat(dir, "HEAD", Vec::new()).ok()?;
        return refs::head(&[b"ref: ", target.as_bytes()].concat());
    }
    refs::head(&file(dir.as_fd(), "HEAD", SMALL)?)
}

/// Branches and tags; what is checked out is among them whatever else there is.
fn references(dir: &OwnedFd, head: &Head, notices: &mut Vec<String>) -> BTreeMap<String, Id> {
    let mut found = BTreeMap::new();
    if entry_kind(dir, "packed-refs").is_some() {
        match file(dir.as_fd(), "packed-refs", PACKED) {
            Some(text) => {
                let own = |name: &str| matches!(head, Head::Branch(branch) if branch == name);
                for (number, (name, id)) in refs::packed(&text).enumerate() {
                    if number < REFS || own(&name) {
                        found.insert(name, id);
                    }
                }
            }
            None => notices.push("its packed references cannot be read".to_owned()),
        }
    }
    let mut left = REFS;
    for start in ["refs/heads", "refs/tags"] {
        loose(dir, start, 0, &mut left, &mut found);
    }
    if let Head::Branch(name) = head
        && let Some(id) = file(dir.as_fd(), name, SMALL).as_deref().and_then(refs::loose)
    {
        found.insert(name.clone(), id);
    }
    if left == 0 || found.len() >= REFS {
        notices.push(format!("it has more than {REFS} references; some are left out"));
    }
    found
}

fn loose(root: &OwnedFd, at: &str, depth: usize, left: &mut usize, found: &mut BTreeMap<String, Id>) {
    let listed = beneath(root.as_fd(), at, OFlags::RDONLY | OFlags::DIRECTORY).and_then(Dir::read_from);
    let Ok(dir) = listed else { return };
    for entry in dir.flatten() {
        let name = entry.file_name().to_string_lossy();
        if name == "." || name == ".." || *left == 0 || depth > DEEPEST {
            continue;
        }
        *left -= 1;
        let path = format!("{at}/{name}");
        match entry_kind(root, &path) {
            Some(FileType::Directory) => loose(root, &path, depth + 1, left, found),
            Some(FileType::RegularFile) if refs::is_shown(&path) => {
                if let Some(id) = file(root.as_fd(), &path, SMALL).as_deref().and_then(refs::loose) {
                    found.insert(path, id);
                }
            }
            _ => {}
        }
    }
}

/// Adds the object directories that those found so far borrow from.
fn borrow(common: &Path, objects: &mut Vec<PathBuf>, notices: &mut Vec<String>) {
    let mut next = 0;
    while let Some(dir) = objects.get(next).cloned() {
        next += 1;
        let text = open_dir(&dir).ok().and_then(|dir| file(dir.as_fd(), "info/alternates", SMALL));
        for line in text.unwrap_or_default().split(|byte| *byte == b'\n') {
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let named = dir.join(OsStr::from_bytes(line));
            match lender(&named, common) {
                Ok(path) if objects.contains(&path) => {}
                Ok(path) if objects.len() <= BORROWED => objects.push(path),
                Ok(_) => notices.push("it borrows objects from too many directories".to_owned()),
                Err(why) => {
                    let named = String::from_utf8_lossy(line).escape_debug().to_string();
                    notices.push(format!("objects are not borrowed from {named}: {why}"));
                }
            }
        }
    }
}

/// Whether a directory is another repository's of the same user.
fn lender(named: &Path, common: &Path) -> Result<PathBuf, &'static str> {
    let path = named.canonicalize().map_err(|_| "it is not there")?;
    if path.file_name() != Some(OsStr::new("objects")) || !path.is_dir() {
        return Err("it is no repository's directory of objects");
    }
    let above = path.parent().unwrap_or(&path);
    let plain = |name: &str| above.join(name).symlink_metadata().is_ok_and(|meta| !meta.is_symlink());
    if !plain("HEAD") || !plain("refs") {
        return Err("it is no repository's directory of objects");
    }
    is_ours(&path, common).map_err(|_| "it belongs to another user")?;
    Ok(path)
}

fn refused(why: &'static str) -> HistoryError {
    HistoryError::Refused { why }
}

// === files beneath a directory ===

fn open_dir(path: &Path) -> Result<OwnedFd, HistoryError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(super::io_error("open", path))
}

/// Opens what stands beneath a directory, through no link.
pub(super) fn beneath(dir: BorrowedFd<'_>, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    // Whoever opens a pipe does not wait for its other end.
    let waits = !flags.contains(OFlags::PATH);
    let flags = flags | OFlags::CLOEXEC | if waits { OFlags::NONBLOCK } else { OFlags::empty() };
    let mode = if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(0o644) } else { Mode::empty() };
    rustix::fs::openat2(dir, path, flags, mode, resolve)
}

/// A plain file's content, unless it is longer than `most`, something else or unreadable.
pub(super) fn file(dir: BorrowedFd<'_>, path: &str, most: u64) -> Option<Vec<u8>> {
    let file = File::from(beneath(dir, path, OFlags::RDONLY).ok()?);
    let meta = file.metadata().ok().filter(|meta| meta.is_file() && meta.len() <= most)?;
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).ok()?);
    file.take(most + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= most).then_some(bytes)
}

/// What stands at a path beneath a directory; a link's own kind.
fn entry_kind(dir: &OwnedFd, path: &str) -> Option<FileType> {
    let (parent, name) = path.rsplit_once('/').map_or((None, path), |(parent, name)| (Some(parent), name));
    let stat = |dir: BorrowedFd<'_>| rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW);
    let stat = match parent {
        Some(parent) => {
            beneath(dir.as_fd(), parent, OFlags::PATH | OFlags::DIRECTORY).and_then(|dir| stat(dir.as_fd()))
        }
        None => stat(dir.as_fd()),
    };
    match stat {
        Ok(stat) => Some(FileType::from_raw_mode(stat.st_mode)),
        Err(Errno::NOENT) => None,
        Err(_) => Some(FileType::Unknown),
    }
}
