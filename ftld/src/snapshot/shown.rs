//! A session's own lower layer: files that its workspace shows beside the base.
//!
//! Owns how the layer is written, so that an overlay with it on top of the base shows the base and these
//! files, and how it is read back. Must not know what stands in the files or why.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use ftl_core::diff::SeenFiles;
use ftl_core::id::Hash;
use ftl_core::tree::{Node, RelPath, Tree};
use rustix::fs::{Gid, Mode, OFlags, Uid, fchmod, fchown, futimens, openat};

use super::blob::{Blobs, times};
use super::checkout::{self, Links, Writing};
use super::dir::{self, LIST, READ};
use super::{SnapshotError, io_error, remove_tree};

/// One file of such a layer.
#[derive(Clone, PartialEq, Eq)]
pub struct SeenFile {
    /// Where. The base has the directory it stands in.
    pub path: RelPath,
    /// What stands in it.
    pub bytes: Vec<u8>,
    /// Permission bits, at most `0o777`.
    pub mode: u32,
    /// Modification time, nanoseconds since the Unix epoch.
    pub mtime_ns: i64,
}

/// Writes the layer in the place of an earlier one, whose directory stays the one that it is: a sandbox in which
/// nothing has run yet may have it mounted. A directory's attributes come from the topmost layer that
/// has it, so that those on the way to a file are written like the base's.
pub(super) fn write(
    base: &Tree,
    files: &[SeenFile],
    target: &Path,
    (blobs, owner): (&Blobs, Option<(u32, u32)>),
) -> Result<(), SnapshotError> {
    let draft = target.with_extension("new");
    remove_tree(&draft).map_err(io_error("remove", &draft))?;
    // Set, not only asked for: the daemon's mask must not decide what a sandbox sees.
    fs::create_dir(&draft)
        .and_then(|()| fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)))
        .map_err(io_error("create", &draft))?;
    let dirs: BTreeSet<RelPath> = files.iter().flat_map(|file| file.path.ancestors()).collect();
    let dirs: Tree =
        dirs.into_iter().filter_map(|path| Some((path.clone(), base.get(&path)?.clone()))).collect();
    let writing = Writing { blobs, owner, links: Links::None, lost: None };
    checkout::write_with(&dirs, &draft, writing, |place| {
        for file in files {
            let dir = place.parent_of(&file.path).map_err(io_error("enter", &draft))?;
            put(file, dir, owner).map_err(io_error("write", file.path.to_string()))?;
        }
        Ok(())
    })?;
    if let Some((uid, gid)) = owner {
        std::os::unix::fs::chown(&draft, Some(uid), Some(gid)).map_err(io_error("prepare", &draft))?;
    }
    replace(&draft, target)
}

/// Puts what stands in a directory of the daemon's in the place of what stands in another one.
fn replace(draft: &Path, target: &Path) -> Result<(), SnapshotError> {
    let list = |dir: &Path| -> Result<Vec<_>, SnapshotError> {
        let items = fs::read_dir(dir).and_then(|items| items.collect::<std::io::Result<Vec<_>>>());
        Ok(items.map_err(io_error("list", dir))?.into_iter().map(|item| item.file_name()).collect())
    };
    if !target.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
        remove_tree(target).map_err(io_error("remove", target))?;
        return fs::rename(draft, target).map_err(io_error("rename", target));
    }
    for name in list(target)? {
        let old = target.join(name);
        remove_tree(&old).map_err(io_error("remove", &old))?;
    }
    for name in list(draft)? {
        let (from, to) = (draft.join(&name), target.join(&name));
        shift(&from, &to).map_err(io_error("rename", &to))?;
    }
    fs::remove_dir(draft).map_err(io_error("remove", draft))
}

/// Renames also a directory that its owner may not write, which the kernel would.
fn shift(from: &Path, to: &Path) -> std::io::Result<()> {
    let meta = from.symlink_metadata()?;
    if !meta.is_dir() {
        return fs::rename(from, to);
    }
    fs::set_permissions(from, fs::Permissions::from_mode(meta.permissions().mode() | 0o700))?;
    fs::rename(from, to)?;
    fs::set_permissions(to, meta.permissions())
}

fn put(file: &SeenFile, dir: &OwnedFd, owner: Option<(u32, u32)>) -> std::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut to = File::from(openat(dir, file.path.name(), flags, Mode::from_raw_mode(0o600))?);
    to.write_all(&file.bytes)?;
    if let Some((uid, gid)) = owner {
        fchown(&to, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    }
    fchmod(&to, Mode::from_raw_mode(file.mode))?;
    Ok(futimens(&to, &times(file.mtime_ns))?)
}

/// The files of a layer; none when there is no layer.
pub(super) fn read(layer: &Path) -> Result<SeenFiles, SnapshotError> {
    let root = match dir::open_root(layer) {
        Err(rustix::io::Errno::NOENT) => return Ok(SeenFiles::new()),
        root => root.map_err(io_error("open", layer))?,
    };
    let (mut todo, mut found) = (vec![None], SeenFiles::new());
    while let Some(at) = todo.pop() {
        let list = || dir::list(dir::open_beneath(&root, at.as_ref(), LIST)?);
        for item in list().map_err(io_error("list", layer))? {
            // Whoever wrote the layer had the path.
            let Ok(path) = RelPath::under(at.as_ref(), item.name.as_bytes()) else { continue };
            if dir::kind(&item.stat).is_dir() {
                todo.push(Some(path));
                continue;
            }
            let mut bytes = Vec::new();
            let opened = dir::open_beneath(&root, Some(&path), READ).map_err(std::io::Error::from);
            opened
                .and_then(|file| File::from(file).read_to_end(&mut bytes))
                .map_err(io_error("read", layer.join(path.to_string())))?;
            let mode = item.stat.st_mode & 0o777;
            found.insert(path, Node::File { mode, size: bytes.len() as u64, hash: Hash::of(&bytes) });
        }
    }
    Ok(found)
}
