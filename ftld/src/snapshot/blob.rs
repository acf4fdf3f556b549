//! Contents by their hash.
//!
//! Owns which contents lie in packs and which in files of their own, beneath `objects/`, and `tmp/`. A file
//! is complete before it has its name. It carries the mode and modification time of the file it was first
//! read from, so that a base tree can link to it.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ftl_core::id::Hash;
use rustix::fs::{Gid, Timespec, Timestamps, UTIME_OMIT, Uid, fchown, futimens};

use super::content::{self, Content, Moved};
use super::pack::{FULL, Packs};
use super::{SnapshotError, io_error, step};

/// Contents up to this size lie in packs. Measured with 23,000 files of published sources: 16 KiB leave 0.84
/// of what the files take, 64 KiB 0.69, 128 KiB 0.58. Larger ones are linked to by base trees instead of
/// being written out.
pub(super) const SMALL: u64 = 128 * 1024;
/// From this many contents on, one flush of the file system is cheaper than one per file.
const MANY: usize = 256;

/// The contents of a store.
#[derive(Debug)]
pub(super) struct Blobs {
    objects: PathBuf,
    tmp: PathBuf,
    /// Damaged contents, for whoever wants to look at them.
    pub(super) damaged: PathBuf,
    pub(super) packs: Packs,
    owner: Option<(u32, u32)>,
    next: AtomicU64,
    /// Files of their own were written that nobody forced to the disk.
    unsettled: AtomicBool,
    /// Held while files are flushed: who finds nothing to do does not return before it is done.
    settling: Mutex<()>,
    /// Contents in files of their own that this process wrote, or read and found whole.
    sound: Mutex<HashSet<Hash>>,
    doubt: AtomicU64,
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
            step::clear(&tmp).map_err(io_error("clear", &tmp))?;
        }
        step::make_dir(&tmp).map_err(io_error("create", &tmp))?;
        for first in 0..=255u8 {
            let fan = objects.join(format!("{first:02x}"));
            step::make_dir(&fan).map_err(io_error("create", &fan))?;
        }
        step::sync_dir(&objects).map_err(io_error("flush", &objects))?;
        let damaged = dir.join("damaged");
        step::make_dir(&damaged).map_err(io_error("create", &damaged))?;
        let packs = Packs::open(&dir.join("packs"), FULL)?;
        let (next, doubt) = (AtomicU64::new(0), AtomicU64::new(u64::from(packs.hurt)));
        Ok(Self {
            objects,
            tmp,
            damaged,
            packs,
            owner,
            next,
            // A daemon that was killed may have left what nobody forced to the disk.
            unsettled: AtomicBool::new(true),
            settling: Mutex::default(),
            sound: Mutex::default(),
            doubt,
        })
    }

    /// Where the file of a content is, or would be. Small contents have none.
    pub(super) fn path(&self, hash: Hash) -> PathBuf {
        let hex = hash.to_hex();
        self.objects.join(&hex[..2]).join(hex)
    }

    /// A path in the store that nothing has yet.
    pub(super) fn fresh_path(&self) -> PathBuf {
        self.tmp.join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }

    /// Opens a content.
    pub(super) fn get(&self, hash: Hash) -> Result<Content, SnapshotError> {
        match self.packs.get(hash) {
            Ok(Some(bytes)) => return Ok(Content::of_bytes(bytes)),
            Ok(None) => {}
            Err(error) => {
                self.raise_doubt();
                return Err(error);
            }
        }
        let path = self.path(hash);
        match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(SnapshotError::Missing { hash })
            }
            other => Ok(Content::of_file(other.map_err(io_error("open", &path))?)),
        }
    }

    /// Whether a content is there in its full size.
    pub(super) fn has(&self, moved: Moved) -> Result<bool, SnapshotError> {
        let loose = || self.path(moved.hash).symlink_metadata().ok().filter(fs::Metadata::is_file);
        Ok(match self.packs.length(moved.hash)? {
            Some(length) => length == moved.size,
            None => loose().is_some_and(|meta| meta.len() == moved.size),
        })
    }

    /// The same for a content that something new will rely on. A power cut can leave a file its length and
    /// not its bytes, so that one which this process has not written is read once.
    pub(super) fn has_sound(&self, moved: Moved) -> Result<bool, SnapshotError> {
        if !self.has(moved)? {
            return Ok(false);
        }
        if super::lock(&self.sound).contains(&moved.hash) || self.packs.length(moved.hash)?.is_some() {
            return Ok(true);
        }
        let path = self.path(moved.hash);
        let found =
            File::open(&path).and_then(|file| content::hash(&file)).map_err(io_error("read", &path))?;
        if found == moved {
            super::lock(&self.sound).insert(moved.hash);
        }
        Ok(found == moved)
    }

    /// Whether there is something under a hash, whatever its size.
    pub(super) fn holds(&self, hash: Hash) -> Result<bool, SnapshotError> {
        Ok(self.packs.length(hash)?.is_some() || self.path(hash).symlink_metadata().is_ok())
    }

    /// Counts up each time it turns out that something which was stored is not there any more. Whoever
    /// remembers that contents are stored must forget it then.
    pub(super) fn doubt(&self) -> u64 {
        self.doubt.load(Ordering::SeqCst)
    }

    pub(super) fn raise_doubt(&self) {
        self.doubt.fetch_add(1, Ordering::SeqCst);
    }

    /// Takes the file of a damaged content out of the way. One in a pack is hidden already by whoever read it.
    pub(super) fn set_aside(&self, hash: Hash) -> Result<(), SnapshotError> {
        self.raise_doubt();
        super::lock(&self.sound).remove(&hash);
        let path = self.path(hash);
        match step::rename(&path, &self.damaged.join(hash.to_hex())) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(io_error("rename", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Every content that has a file of its own, with the file.
    pub(super) fn loose(&self) -> Result<Vec<(Hash, PathBuf)>, SnapshotError> {
        let mut found = Vec::new();
        for first in 0..=255u8 {
            let fan = self.objects.join(format!("{first:02x}"));
            for entry in fs::read_dir(&fan).map_err(io_error("list", &fan))? {
                let path = entry.map_err(io_error("list", &fan))?.path();
                let hash = path.file_name().and_then(|name| name.to_str()?.parse().ok());
                found.extend(hash.map(|hash| (hash, path)));
            }
        }
        Ok(found)
    }

    /// Stores bytes.
    pub(super) fn put_bytes(&self, bytes: &[u8], look: Look) -> Result<Moved, SnapshotError> {
        let moved = Moved { hash: Hash::of(bytes), size: bytes.len() as u64 };
        if self.has_sound(moved)? {
            return Ok(moved);
        }
        if moved.size <= SMALL {
            self.packs.put(moved.hash, bytes)?;
            return Ok(moved);
        }
        let (path, file) = self.create()?;
        step::write_at(&file, bytes, 0).map_err(io_error("write", &path))?;
        self.finish(&path, &file, moved, look)?;
        Ok(moved)
    }

    /// Stores a directory's listing, of whatever size, in a pack.
    pub(super) fn put_listing(&self, hash: Hash, bytes: &[u8]) -> Result<(), SnapshotError> {
        self.packs.put(hash, bytes)
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
        if self.has_sound(moved)? {
            step::remove(&path).map_err(io_error("remove", &path))?;
        } else {
            self.finish(&path, &file, moved, look)?;
        }
        Ok(moved)
    }

    /// Forces contents to the disk: packs, then files, then the directories that name them.
    pub(super) fn sync(&self, hashes: &BTreeSet<Hash>) -> Result<(), SnapshotError> {
        self.packs.sync()?;
        let mut files = Vec::new();
        for hash in hashes {
            if self.packs.length(*hash)?.is_none() {
                files.push(self.path(*hash));
            }
        }
        if files.len() >= MANY {
            return self.sync_all();
        }
        let dirs: BTreeSet<_> = files.iter().filter_map(|path| path.parent()).collect();
        for path in files.iter() {
            let file = File::open(path).map_err(io_error("open", path))?;
            step::sync(&file).map_err(io_error("flush", path))?;
        }
        dirs.into_iter().try_for_each(|dir| step::sync_dir(dir).map_err(io_error("flush", dir)))
    }

    /// Forces everything that was stored to the disk; costs nothing when it is there already.
    pub(super) fn settle(&self) -> Result<(), SnapshotError> {
        self.packs.sync()?;
        let _settling = super::lock(&self.settling);
        match self.unsettled.swap(false, Ordering::SeqCst) {
            true => self.sync_all().inspect_err(|_| self.unsettled.store(true, Ordering::SeqCst)),
            false => Ok(()),
        }
    }

    fn sync_all(&self) -> Result<(), SnapshotError> {
        step::sync_all(&self.objects).map_err(io_error("flush", &self.objects))
    }

    fn create(&self) -> Result<(PathBuf, File), SnapshotError> {
        let path = self.fresh_path();
        step::create(&path).map(|file| (path.clone(), file)).map_err(io_error("create", &path))
    }

    /// Gives a complete temporary file its look and its name.
    fn finish(&self, path: &Path, file: &File, moved: Moved, look: Look) -> Result<(), SnapshotError> {
        dress(file, look, self.owner).map_err(io_error("prepare", path))?;
        step::rename(path, &self.path(moved.hash)).map_err(io_error("rename", path))?;
        self.unsettled.store(true, Ordering::SeqCst);
        super::lock(&self.sound).insert(moved.hash);
        Ok(())
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
