//! Contents by their hash.
//!
//! Owns `objects/` and `tmp/`. A content is complete before it has its name. Its file carries the mode and
//! modification time of the file it was first read from, so that a base tree can link to it.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use ftl_core::id::Hash;
use rustix::fs::{Gid, Timespec, Timestamps, UTIME_OMIT, Uid, fchown, futimens, syncfs};

use super::content::{self, Moved};
use super::{SnapshotError, io_error};

/// Contents up to this size are hashed before anything is written.
const SMALL: u64 = 256 * 1024;
/// From this many contents on, one flush of the file system is cheaper than one per file.
const MANY: usize = 256;

/// The contents of a store.
#[derive(Debug)]
pub(super) struct Blobs {
    objects: PathBuf,
    tmp: PathBuf,
    owner: Option<(u32, u32)>,
    next: AtomicU64,
}

/// What a content's file looks like from outside.
#[derive(Clone, Copy)]
pub(super) struct Look {
    pub(super) mode: u32,
    pub(super) mtime_ns: i64,
}

impl Blobs {
    /// The contents beneath a store's directory. Removes what a crash left half done.
    pub(super) fn open(dir: &Path, owner: Option<(u32, u32)>) -> Result<Self, SnapshotError> {
        let (objects, tmp) = (dir.join("objects"), dir.join("tmp"));
        if tmp.symlink_metadata().is_ok() {
            super::remove_tree(&tmp).map_err(io_error("clear", &tmp))?;
        }
        fs::create_dir_all(&tmp).map_err(io_error("create", &tmp))?;
        for first in 0..=255u8 {
            let fan = objects.join(format!("{first:02x}"));
            fs::create_dir_all(&fan).map_err(io_error("create", &fan))?;
        }
        Ok(Self { objects, tmp, owner, next: AtomicU64::new(0) })
    }

    /// Where a content is, or would be.
    pub(super) fn path(&self, hash: Hash) -> PathBuf {
        let hex = hash.to_hex();
        self.objects.join(&hex[..2]).join(hex)
    }

    /// A path in the store that nothing has yet.
    pub(super) fn fresh_path(&self) -> PathBuf {
        self.tmp.join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }

    /// Opens a content.
    pub(super) fn get(&self, hash: Hash) -> Result<File, SnapshotError> {
        let path = self.path(hash);
        match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(SnapshotError::Missing { hash })
            }
            other => other.map_err(io_error("open", &path)),
        }
    }

    /// Whether a content is there in its full size.
    pub(super) fn has(&self, moved: Moved) -> bool {
        self.path(moved.hash).symlink_metadata().is_ok_and(|meta| meta.is_file() && meta.len() == moved.size)
    }

    /// Stores bytes.
    pub(super) fn put_bytes(&self, bytes: &[u8], look: Look) -> Result<Moved, SnapshotError> {
        let moved = Moved { hash: Hash::of(bytes), size: bytes.len() as u64 };
        if !self.has(moved) {
            let (path, mut file) = self.create()?;
            file.write_all(bytes).map_err(io_error("write", &path))?;
            self.finish(&path, &file, moved, look)?;
        }
        Ok(moved)
    }

    /// Stores what a file holds now, with one pass over it.
    pub(super) fn put_file(&self, from: &File, look: Look) -> Result<Moved, SnapshotError> {
        let length = from.metadata().map_err(io_error("read", &self.tmp))?.len();
        if length <= SMALL {
            // One byte more than expected: a file that grew is not cut unseen.
            let mut bytes = Vec::with_capacity(length as usize + 1);
            from.take(SMALL + 1).read_to_end(&mut bytes).map_err(io_error("read into", &self.tmp))?;
            if bytes.len() as u64 <= SMALL {
                return self.put_bytes(&bytes, look);
            }
        }
        let (path, file) = self.create()?;
        let moved = content::copy(from, &file).map_err(io_error("copy into", &path))?;
        if self.has(moved) {
            fs::remove_file(&path).map_err(io_error("remove", &path))?;
        } else {
            self.finish(&path, &file, moved, look)?;
        }
        Ok(moved)
    }

    /// Forces contents to the disk: files, then the directories that name them.
    pub(super) fn sync(&self, hashes: &BTreeSet<Hash>) -> Result<(), SnapshotError> {
        if hashes.len() >= MANY {
            let dir = File::open(&self.objects).map_err(io_error("open", &self.objects))?;
            return syncfs(&dir).map_err(io_error("flush", &self.objects));
        }
        let files: Vec<_> = hashes.iter().map(|hash| self.path(*hash)).collect();
        let dirs: BTreeSet<_> = files.iter().filter_map(|path| path.parent()).collect();
        for path in files.iter().map(PathBuf::as_path).chain(dirs) {
            let file = File::open(path).map_err(io_error("open", path))?;
            file.sync_all().map_err(io_error("flush", path))?;
        }
        Ok(())
    }

    fn create(&self) -> Result<(PathBuf, File), SnapshotError> {
        let path = self.fresh_path();
        let file = OpenOptions::new().write(true).read(true).create_new(true).mode(0o600).open(&path);
        file.map(|file| (path.clone(), file)).map_err(io_error("create", &path))
    }

    /// Gives a complete temporary file its look and its name.
    fn finish(&self, path: &Path, file: &File, moved: Moved, look: Look) -> Result<(), SnapshotError> {
        dress(file, look, self.owner).map_err(io_error("prepare", path))?;
        fs::rename(path, self.path(moved.hash)).map_err(io_error("rename", path))
    }
}

/// Sets a file's owner, mode and modification time. The daemon must be able to read what it stored, so that
/// a mode that forbids it is not taken over.
fn dress(file: &File, look: Look, owner: Option<(u32, u32)>) -> std::io::Result<()> {
    if let Some((uid, gid)) = owner {
        fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    }
    let mode = if look.mode & 0o400 == 0 { 0o600 } else { look.mode & 0o777 };
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    Ok(futimens(file, &times(look.mtime_ns))?)
}

/// A modification time as the kernel takes it; the access time is left as it is.
pub(super) fn times(mtime_ns: i64) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec {
            tv_sec: mtime_ns.div_euclid(1_000_000_000),
            tv_nsec: mtime_ns.rem_euclid(1_000_000_000),
        },
    }
}

/// Whether a stored file already looks as a tree's entry must.
pub(super) fn looks_like(meta: &fs::Metadata, look: Look) -> bool {
    let mtime_ns = meta.mtime().saturating_mul(1_000_000_000).saturating_add(meta.mtime_nsec());
    meta.mode() & 0o7777 == look.mode && mtime_ns == look.mtime_ns
}
