//! A session's directories on disk: made ready, and measured.
//!
//! Owns their names and modes, how much they hold, and the removal of what an overlay left. Must not
//! know who runs in them. Everything is done without following a symbolic link, on trees that an agent
//! wrote.

use std::ffi::CString;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ftl_guest::tree::{MOST_NODES, Usage};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{Ending, Owner, SandboxError};

/// The directories of a session that count against its limit.
const MEASURED: [&str; 3] = ["upper", "home", "tmp"];

/// How many directories within one another are looked into; each holds a descriptor open meanwhile.
const DEEPEST: usize = 300;

/// Makes a session's directories, empties the overlay's working directory, gives all to `owner`.
pub(super) fn prepare(dir: &Path, owner: Option<Owner>) -> Result<(), SandboxError> {
    let work = dir.join("work");
    match remove_tree(&work) {
        // What an engine's user left there is not ours to remove; the next mount empties it. Only the mark
        // of a volatile mount would stop that, and there is none without an owner.
        Err(_) if owner.is_none() && path_is_directory(&work) => {}
        removed => removed.map_err(failed("removing", &work))?,
    }
    for (name, mode) in [("upper", 0o755), ("work", 0o700), ("home", 0o755), ("tmp", 0o1777)] {
        let path = dir.join(name);
        match fs::DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => {
                give(&path, owner).map_err(failed("changing the owner of", &path))?;
                fs::set_permissions(&path, Permissions::from_mode(mode)).map_err(failed("opening", &path))?;
            }
            // What a session changed stays as it left it.
            Err(error) if error.kind() == ErrorKind::AlreadyExists && path_is_directory(&path) => {}
            Err(source) => return Err(SandboxError::File { act: "making", path, source }),
        }
    }
    let Some(owner) = owner else { return Ok(()) };
    // The sandbox's user must pass through, and do nothing else here.
    std::os::unix::fs::chown(dir, None, Some(owner.gid)).map_err(failed("changing the group of", dir))?;
    fs::set_permissions(dir, Permissions::from_mode(0o710)).map_err(failed("opening", dir))
}

/// What a session has on disk, or `None` when it is hidden deeper than can be looked.
pub(super) fn usage(dir: &Path) -> Option<Usage> {
    let mut measured = MEASURED.iter().map(|name| measure(&dir.join(name), MOST_NODES));
    measured.try_fold(Usage::default(), |total, used| Some(total.and(used?)))
}

/// Which limit a session is over, when it may have so many bytes.
pub(super) fn over(used: Option<Usage>, limit: u64) -> Option<Ending> {
    match used {
        None => Some(Ending::DiskUnmeasurable),
        Some(Usage { bytes, .. }) if bytes > limit => Some(Ending::DiskFull { used: bytes, limit }),
        Some(Usage { nodes: MOST_NODES.., .. }) => Some(Ending::TooManyFiles { limit: MOST_NODES }),
        Some(_) => None,
    }
}

/// Measures a session's directory again and again, and resolves when it has more on disk than it may.
pub(super) async fn overflow(dir: Arc<Path>, limit: u64, interval: Duration) -> Ending {
    loop {
        tokio::time::sleep(interval).await;
        let dir = Arc::clone(&dir);
        match tokio::task::spawn_blocking(move || usage(&dir)).await {
            Ok(used) => {
                if let Some(ending) = over(used, limit) {
                    return ending;
                }
            }
            // The daemon ends.
            Err(_) => return std::future::pending().await,
        }
    }
}

/// A directory on the way down, and its subdirectories that were not yet looked into.
struct Level {
    fd: OwnedFd,
    pending: Vec<CString>,
    _closed: Option<Closed>,
}

/// Bytes that a directory holds on disk, or `None` when they are hidden deeper than can be looked.
///
/// Sums what is allocated, so that holes are free and names cost what they cost; but everything that has a name
/// costs a block at least. What vanishes while it is looked at counts nothing. Each step goes down from an open
/// directory: the agent may exchange any of them for a link at any moment.
#[must_use]
pub fn usage_of(path: &Path) -> Option<u64> {
    measure(path, u64::MAX).map(|used| used.bytes)
}

/// The same with the number of nodes; from `most` of them on nobody counts any further.
fn measure(path: &Path, most: u64) -> Option<Usage> {
    let mut used = Usage::default();
    let mut levels: Vec<Level> = Vec::new();
    enter((rustix::fs::CWD, path), &mut levels, &mut used, most);
    loop {
        let depth = levels.len();
        let Some(level) = levels.last_mut() else { return Some(used) };
        match level.pending.pop() {
            None => drop(levels.pop()),
            Some(_) if used.nodes > most => return Some(used),
            Some(_) if depth >= DEEPEST => return None,
            Some(name) => {
                let Ok(parent) = level.fd.try_clone() else { return None };
                enter((parent.as_fd(), &*name), &mut levels, &mut used, most);
            }
        }
    }
}

/// Adds up a directory's entries and remembers its subdirectories.
fn enter<P: rustix::path::Arg>(
    (parent, name): (BorrowedFd<'_>, P),
    levels: &mut Vec<Level>,
    used: &mut Usage,
    most: u64,
) {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(fd) = rustix::fs::openat(parent, name, flags, Mode::empty()) else { return };
    let Ok((entries, closed)) = list(fd.as_fd()) else { return };
    let mut pending = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let Ok(stat) = rustix::fs::statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        used.add(stat.st_blocks.unsigned_abs());
        if used.nodes > most {
            break;
        }
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            pending.push(name.to_owned());
        }
    }
    levels.push(Level { fd, pending, _closed: closed });
}

/// Lists a directory even when its owner took the right to, as an agent might to hide what it has.
fn list(directory: BorrowedFd<'_>) -> io::Result<(Dir, Option<Closed>)> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = || rustix::fs::openat(directory, ".", flags, Mode::empty());
    match open() {
        Err(Errno::ACCESS) => {
            let mode = Mode::from_raw_mode(rustix::fs::fstat(directory)?.st_mode & 0o7777);
            let closed = Closed { directory: directory.try_clone_to_owned()?, mode };
            closed.set(mode | Mode::RUSR | Mode::XUSR)?;
            Ok((Dir::new(open()?)?, Some(closed)))
        }
        opened => Ok((Dir::new(opened?)?, None)),
    }
}

/// A directory that its owner had closed, open while this lives.
struct Closed {
    directory: OwnedFd,
    mode: Mode,
}

impl Closed {
    /// By descriptor: its name could by now belong to something of the host's.
    fn set(&self, mode: Mode) -> rustix::io::Result<()> {
        rustix::fs::chmod(format!("/proc/self/fd/{}", self.directory.as_raw_fd()), mode)
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        // Its owner can open it as well as anybody: nothing depends on this.
        let _ = self.set(self.mode);
    }
}

/// Removes a tree of which some directories may be closed to their owner. What is missing is removed.
pub(super) fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    // What is empty goes without being opened: an engine's overlay leaves such a directory of root's.
    if fs::remove_dir(path).is_ok() {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(path)? {
        remove_tree(&entry?.path())?;
    }
    fs::remove_dir(path)
}

fn give(path: &Path, owner: Option<Owner>) -> io::Result<()> {
    match owner {
        Some(owner) => std::os::unix::fs::lchown(path, Some(owner.uid), Some(owner.gid)),
        None => Ok(()),
    }
}

fn path_is_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

fn failed(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SandboxError {
    let path = path.to_owned();
    move |source| SandboxError::File { act, path, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn directories_are_made_once_and_work_is_emptied_each_time() {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path(), None).unwrap();
        fs::write(dir.path().join("upper/kept"), "x").unwrap();
        fs::create_dir_all(dir.path().join("work/work/incompat/volatile")).unwrap();
        fs::set_permissions(dir.path().join("work/work"), Permissions::from_mode(0o000)).unwrap();
        prepare(dir.path(), None).unwrap();
        assert!(dir.path().join("upper/kept").exists());
        assert_eq!(fs::read_dir(dir.path().join("work")).unwrap().count(), 0);
        assert_eq!(fs::metadata(dir.path().join("tmp")).unwrap().mode() & 0o7777, 0o1777);
    }

    #[test]
    fn a_directory_that_is_a_link_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join("upper")).unwrap();
        assert!(matches!(prepare(dir.path(), None), Err(SandboxError::File { .. })));
    }

    #[test]
    fn usage_counts_what_is_allocated_even_where_it_is_hidden() {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path(), None).unwrap();
        assert_eq!(usage(dir.path()), Some(Usage::default()));
        let hidden = dir.path().join("upper/hidden");
        fs::create_dir(&hidden).unwrap();
        fs::write(hidden.join("file"), vec![1; 100_000]).unwrap();
        fs::File::create(dir.path().join("tmp/sparse")).unwrap().set_len(1 << 40).unwrap();
        std::os::unix::fs::symlink("/usr", dir.path().join("home/link")).unwrap();
        fs::set_permissions(&hidden, Permissions::from_mode(0o000)).unwrap();
        let used = usage(dir.path()).unwrap().bytes;
        assert!((100_000..1_000_000).contains(&used), "{used}");
        assert_eq!(fs::metadata(&hidden).unwrap().mode() & 0o7777, 0);
    }

    #[test]
    fn what_has_no_bytes_costs_something_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path(), None).unwrap();
        for number in 0..100 {
            fs::write(dir.path().join(format!("tmp/{number}")), "").unwrap();
            std::os::unix::fs::symlink("x", dir.path().join(format!("home/{number}"))).unwrap();
        }
        let used = usage(dir.path()).unwrap();
        assert_eq!(used, Usage { bytes: 200 * ftl_guest::tree::NODE_BYTES, nodes: 200 });
        let ending = over(Some(used), used.bytes - 1);
        assert_eq!(ending, Some(Ending::DiskFull { used: used.bytes, limit: used.bytes - 1 }));
        assert_eq!(over(Some(used), used.bytes), None);
        let many = over(Some(Usage { nodes: MOST_NODES, ..used }), u64::MAX).unwrap();
        assert_eq!(many.to_string(), "it had 1000000 files and directories, and may have fewer");
        assert_eq!(over(None, u64::MAX), Some(Ending::DiskUnmeasurable));
    }

    #[test]
    fn nobody_counts_further_than_to_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..10 {
            fs::create_dir_all(dir.path().join(format!("{number}/below"))).unwrap();
        }
        assert_eq!(measure(dir.path(), u64::MAX).unwrap().nodes, 20);
        assert_eq!(measure(dir.path(), 5).unwrap().nodes, 6);
        assert_eq!(measure(dir.path(), 12).unwrap().nodes, 13);
    }

    #[test]
    fn what_is_too_deep_to_be_measured_is_not_taken_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path(), None).unwrap();
        let deep: std::path::PathBuf = std::iter::repeat_n("d", DEEPEST + 1).collect();
        fs::create_dir_all(dir.path().join("tmp").join(deep)).unwrap();
        assert_eq!(usage(dir.path()), None);
    }
}
