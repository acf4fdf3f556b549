//! The store as the rest of the daemon uses it.
//!
//! Owns which calls exist and what each promises. See the folder's header for what survives what.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use ftl_core::id::{Hash, SnapshotId};
use ftl_core::tree::{Dir, Tree, changes, load};

use super::base::{Base, Bases};
use super::blob::{Blobs, Look};
use super::capture::{self, Captured};
use super::checkout::{self, Links, Writing};
use super::index::Index;
use super::rules::{Exclusion, Rules};
use super::{SnapshotError, content, dir, io_error, lock, scan};

/// Trees that are kept in memory.
const TREES: usize = 8;
/// How a content looks that came from no project's file.
const PLAIN: Look = Look { mode: 0o600, mtime_ns: 0 };

/// A store in a directory of this machine. One daemon uses it at a time.
#[derive(Debug)]
pub struct LocalStore {
    dir: PathBuf,
    blobs: Blobs,
    /// One snapshot of a project at a time: the second finds everything read by the first.
    projects: Mutex<BTreeMap<PathBuf, Arc<Mutex<()>>>>,
    trees: Mutex<VecDeque<(SnapshotId, Arc<Tree>)>>,
    bases: Bases,
}

/// A snapshot that was taken.
#[derive(Clone, Debug)]
pub struct Taken {
    /// Its id: equal trees have equal ids.
    pub id: SnapshotId,
    /// Its paths.
    pub tree: Arc<Tree>,
    /// Files in it.
    pub files: u64,
    /// Their size together, in bytes.
    pub bytes: u64,
    /// What stayed outside.
    pub exclusions: Vec<Exclusion>,
}

/// What was written out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Restored {
    /// Files.
    pub files: u64,
    /// Their size together, in bytes.
    pub bytes: u64,
}

impl LocalStore {
    /// Opens the store in a directory, which is made if it is missing. When the daemon is root, `owner` is
    /// the user and group that sandboxes run as; base trees belong to them.
    ///
    /// # Errors
    /// When the directory cannot be prepared.
    pub fn open(dir: &Path, owner: Option<(u32, u32)>) -> Result<Self, SnapshotError> {
        for part in ["index", "rules"] {
            let part = dir.join(part);
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&part);
            made.map_err(io_error("create", &part))?;
        }
        Ok(Self {
            dir: dir.to_owned(),
            blobs: Blobs::open(dir, owner)?,
            projects: Mutex::default(),
            trees: Mutex::default(),
            bases: Bases::open(dir, owner)?,
        })
    }

    /// Takes a snapshot of the project at `root`. Reads what changed since the last one, and nothing of the
    /// project is written. `now_ns` is the time, in nanoseconds since the Unix epoch, just before the call.
    ///
    /// # Errors
    /// When the project's directory cannot be read, or the store not be written.
    pub fn take(&self, root: &Path, now_ns: i64) -> Result<Taken, SnapshotError> {
        let project = Arc::clone(lock(&self.projects).entry(root.to_owned()).or_default());
        let _one_at_a_time = lock(&project);
        let project = dir::open_root(root).map_err(io_error("open", root))?;
        let index_path = self.index_path(root);
        let index =
            fs::read(&index_path).ok().and_then(|bytes| Index::from_bytes(&bytes)).unwrap_or_default();
        let mut found = scan::scan(&project, &index, &self.blobs, now_ns)?;

        let id = found.tree.id();
        self.put_listings(found.tree.root())?;
        let rules = found.rules.to_bytes().map_err(io_error("write", &self.dir))?;
        self.replace(&self.rules_path(id), &rules)?;
        found.index.last = Some(id);
        if found.index != index {
            self.replace(&index_path, &found.index.to_bytes())?;
        }
        let tree = Arc::new(found.tree);
        self.remember(id, &tree);
        let Restored { files, bytes } = measure(&tree);
        Ok(Taken { id, tree, files, bytes, exclusions: found.exclusions })
    }

    /// Takes a snapshot and makes its base. When a power cut took contents from the store, the project is
    /// read anew.
    ///
    /// # Errors
    /// Those of [`LocalStore::take`] and [`LocalStore::base`].
    pub fn take_with_base(&self, root: &Path, now_ns: i64) -> Result<(Taken, Base), SnapshotError> {
        let taken = self.take(root, now_ns)?;
        match self.base(root, taken.id) {
            Err(SnapshotError::Missing { .. }) => {}
            other => return other.map(|base| (taken, base)),
        }
        let index = self.index_path(root);
        fs::remove_file(&index).map_err(io_error("remove", &index))?;
        let taken = self.take(root, now_ns)?;
        let base = self.base(root, taken.id)?;
        Ok((taken, base))
    }

    /// The directories below a workspace over a snapshot of the project at `root`, made if they are missing
    /// or damaged.
    ///
    /// # Errors
    /// When the snapshot or one of its contents is missing, or the disk is full.
    pub fn base(&self, root: &Path, id: SnapshotId) -> Result<Base, SnapshotError> {
        self.bases.get(root, id, &self.tree(id)?, (&self.blobs, &|id| self.tree(id).ok()))
    }

    /// Whether [`LocalStore::fold`] has something to do for a project.
    #[must_use]
    pub fn is_untidy(&self, root: &Path) -> bool {
        self.bases.is_untidy(root)
    }

    /// Makes a base that has many layers one whole tree, and removes the directories that nobody uses any
    /// more; `keep` names snapshots whose bases are wanted again soon. Takes its time.
    ///
    /// # Errors
    /// Those of [`LocalStore::base`].
    pub fn fold(
        &self,
        root: &Path,
        id: SnapshotId,
        keep: &BTreeSet<SnapshotId>,
    ) -> Result<(), SnapshotError> {
        self.bases.fold(root, id, &self.tree(id)?, &self.blobs)?;
        self.bases.tidy(keep)
    }

    /// A snapshot's paths.
    ///
    /// # Errors
    /// When there is no such snapshot, or one of its listings is missing or damaged.
    pub fn tree(&self, id: SnapshotId) -> Result<Arc<Tree>, SnapshotError> {
        if let Some((_, tree)) = lock(&self.trees).iter().find(|(known, _)| *known == id) {
            return Ok(Arc::clone(tree));
        }
        let tree = load(id.0, &mut |hash| self.listing(hash)).map_err(|error| match error {
            SnapshotError::Missing { hash } if hash == id.0 => SnapshotError::Unknown { id },
            other => other,
        })?;
        let tree = Arc::new(tree);
        self.remember(id, &tree);
        Ok(tree)
    }

    /// The ignore rules that a snapshot was taken with. They decide what of a session's work is left out.
    ///
    /// # Errors
    /// When there is no such snapshot.
    pub fn rules(&self, id: SnapshotId) -> Result<Rules, SnapshotError> {
        let path = self.rules_path(id);
        let bytes = fs::read(&path).map_err(|_| SnapshotError::Unknown { id })?;
        Rules::from_bytes(&bytes).map_err(io_error("read", &path))
    }

    /// Reads the frozen upper layer of a session over the base `id`, and stores its contents so that they
    /// survive a power cut.
    ///
    /// # Errors
    /// When the layer cannot be read as a whole or holds odd metadata, or the store cannot be written.
    pub fn capture(&self, upper: &Path, id: SnapshotId) -> Result<Captured, SnapshotError> {
        let (base, rules) = (self.tree(id)?, self.rules(id)?);
        capture::capture(upper, &base, &rules, &self.blobs)
    }

    /// Writes a snapshot's tree into a directory, as [`LocalStore::restore_tree`] does.
    ///
    /// # Errors
    /// When the directory holds something, or the snapshot is not complete.
    pub fn restore(&self, id: SnapshotId, target: &Path) -> Result<Restored, SnapshotError> {
        self.restore_tree(&*self.tree(id)?, target)
    }

    /// Writes a tree into a directory that is missing or empty. The files are the caller's own: none is
    /// shared with the store.
    ///
    /// # Errors
    /// When the directory holds something, or a content is missing.
    pub fn restore_tree(&self, tree: &Tree, target: &Path) -> Result<Restored, SnapshotError> {
        checkout::claim(target)?;
        checkout::write(tree, target, Writing { blobs: &self.blobs, owner: None, links: Links::None })?;
        Ok(measure(tree))
    }

    /// Writes what makes `after` of `before` into an empty directory, as a layer of an overlay. Its files are
    /// the store's own: nobody may write to them. `owner` gets them, when the daemon is root.
    ///
    /// # Errors
    /// When a content is missing, or the disk is full.
    pub fn write_layer(
        &self,
        (before, after): (&Tree, &Tree),
        target: &Path,
        owner: Option<(u32, u32)>,
    ) -> Result<(), SnapshotError> {
        let writing = Writing { blobs: &self.blobs, owner, links: Links::Shared(None) };
        checkout::write_delta(before, after, &changes(before, after), target, writing)
    }

    /// Opens a content.
    ///
    /// # Errors
    /// When it is missing.
    pub fn open_blob(&self, hash: Hash) -> Result<File, SnapshotError> {
        self.blobs.get(hash)
    }

    /// Stores bytes and forces them to the disk.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn put_captured(&self, bytes: &[u8]) -> Result<Hash, SnapshotError> {
        let moved = self.blobs.put_bytes(bytes, PLAIN)?;
        self.blobs.sync(&BTreeSet::from([moved.hash]))?;
        Ok(moved.hash)
    }

    /// Stores all that a file holds and forces it to the disk.
    ///
    /// # Errors
    /// When the file cannot be read or the store not be written.
    pub fn keep(&self, file: &File) -> Result<Hash, SnapshotError> {
        let moved = self.blobs.put_file(file, PLAIN)?;
        self.blobs.sync(&BTreeSet::from([moved.hash]))?;
        Ok(moved.hash)
    }

    /// Writes a content into an empty file, holes as holes, and says the hash of what was written.
    ///
    /// # Errors
    /// When the content is missing or the file cannot be written.
    pub fn write_to(&self, hash: Hash, target: &File) -> Result<Hash, SnapshotError> {
        let blob = self.blobs.get(hash)?;
        let moved = content::copy(&blob, target).map_err(io_error("copy from", self.blobs.path(hash)))?;
        Ok(moved.hash)
    }

    /// Stores the listings of a directory and of all beneath it; what stands in one before the one itself, so
    /// that a listing which is there has everything that it names.
    fn put_listings(&self, dir: &Dir) -> Result<(), SnapshotError> {
        if self.blobs.path(dir.hash()).symlink_metadata().is_ok() {
            return Ok(());
        }
        for inner in dir.items().filter_map(|(_, item)| item.dir()) {
            self.put_listings(inner)?;
        }
        self.blobs.put_bytes(&dir.listing(), PLAIN).map(drop)
    }

    fn listing(&self, hash: Hash) -> Result<Vec<u8>, SnapshotError> {
        let mut bytes = Vec::new();
        let read = self.blobs.get(hash)?.read_to_end(&mut bytes);
        read.map_err(io_error("read", self.blobs.path(hash)))?;
        Ok(bytes)
    }

    /// Replaces one of the store's own files as a whole.
    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), SnapshotError> {
        if fs::read(path).is_ok_and(|known| known == bytes) {
            return Ok(());
        }
        let fresh = self.blobs.fresh_path();
        let mut file = File::create_new(&fresh).map_err(io_error("create", &fresh))?;
        let written = std::io::Write::write_all(&mut file, bytes).and_then(|()| file.sync_data());
        written.map_err(io_error("write", &fresh))?;
        fs::rename(&fresh, path).map_err(io_error("rename", path))
    }

    fn remember(&self, id: SnapshotId, tree: &Arc<Tree>) {
        let mut trees = lock(&self.trees);
        trees.retain(|(known, _)| *known != id);
        trees.push_front((id, Arc::clone(tree)));
        trees.truncate(TREES);
    }

    fn rules_path(&self, id: SnapshotId) -> PathBuf {
        self.dir.join("rules").join(id.to_string())
    }

    fn index_path(&self, root: &Path) -> PathBuf {
        self.dir.join("index").join(Hash::of(root.as_os_str().as_bytes()).to_hex())
    }
}

fn measure(tree: &Tree) -> Restored {
    Restored { files: tree.files(), bytes: tree.bytes() }
}
