//! The store as the rest of the daemon uses it.
//!
//! Owns which calls exist and what each promises. See the folder's header for what survives what.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ftl_core::id::{Hash, SnapshotId};
use ftl_core::tree::{Dir, LostDir, Node, RelPath, Tree, load, salvage};

use super::blob::{Blobs, Look};
use super::capture::{self, Captured};
use super::checkout::{self, Links, Writing};
use super::content::{Content, Moved};
use super::gate::{Gate, Lease};
use super::index::Index;
use super::rules::{Exclusion, Rules};
use super::{SnapshotError, dir, io_error, remove_tree, scan, step};

/// Trees that are kept in memory.
const TREES: usize = 8;
/// How a content looks that came from no project's file.
const PLAIN: Look = Look { mode: 0o600, mtime_ns: 0 };

/// A store in a directory of this machine. One daemon uses it at a time.
#[derive(Debug)]
pub struct LocalStore {
    pub(super) dir: PathBuf,
    owner: Option<(u32, u32)>,
    pub(super) blobs: Blobs,
    pub(super) gate: Gate,
    /// [`Blobs::doubt`] when the indexes were made.
    trusted: Mutex<u64>,
    /// One snapshot of a project at a time: the second finds everything read by the first.
    projects: Mutex<BTreeMap<PathBuf, Arc<Mutex<()>>>>,
    pub(super) trees: Mutex<VecDeque<(SnapshotId, Arc<Tree>)>>,
    /// Base trees that were compared with their listings, and where each one's predecessor is.
    pub(super) bases: Mutex<BTreeSet<SnapshotId>>,
    predecessors: Mutex<BTreeMap<SnapshotId, SnapshotId>>,
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
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Restored {
    /// Files.
    pub files: u64,
    /// Their size together, in bytes.
    pub bytes: u64,
    /// What the store does not have any more.
    pub lost: Vec<Lost>,
}

/// Something of a snapshot that is damaged or missing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Lost {
    /// The file, or the directory with all that stood in it; `None` is the root.
    pub path: Option<RelPath>,
    /// Its content or listing.
    pub hash: Hash,
}

impl LocalStore {
    /// Opens the store in a directory, which is made if it is missing. When the daemon is root, `owner` is
    /// the user and group that sandboxes run as; base trees belong to them.
    ///
    /// # Errors
    /// When the directory cannot be prepared.
    pub fn open(dir: &Path, owner: Option<(u32, u32)>) -> Result<Self, SnapshotError> {
        for part in ["trees", "index", "rules"] {
            let part = dir.join(part);
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&part);
            made.map_err(io_error("create", &part))?;
        }
        Ok(Self {
            dir: dir.to_owned(),
            owner,
            blobs: Blobs::open(dir, owner)?,
            gate: Gate::default(),
            trusted: Mutex::default(),
            projects: Mutex::default(),
            trees: Mutex::default(),
            bases: Mutex::default(),
            predecessors: Mutex::default(),
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
        let _lease = self.lease();
        self.forget_what_is_in_doubt()?;
        let project = dir::open_root(root).map_err(io_error("open", root))?;
        let index_path = self.index_path(root);
        let known = fs::read(&index_path).ok().and_then(|bytes| Index::from_bytes(&bytes));
        // Without an index nothing vouches for what is beneath a listing that is there.
        let everything = known.is_none();
        let index = known.unwrap_or_default();
        let mut found = scan::scan(&project, &index, &self.blobs, now_ns)?;

        let id = found.tree.id();
        self.put_listings(found.tree.root(), everything)?;
        let rules = found.rules.to_bytes().map_err(io_error("write", &self.dir))?;
        self.replace(&self.rules_path(id), &rules)?;
        found.index.last = Some(id);
        if found.index != index {
            // An index vouches only for contents that no power cut can take.
            self.blobs.settle()?;
            self.replace(&index_path, &found.index.to_bytes())?;
        }
        if let Some(last) = index.last.filter(|last| *last != id) {
            lock(&self.predecessors).insert(id, last);
        }
        let tree = Arc::new(found.tree);
        self.remember(id, &tree);
        let (files, bytes) = (tree.files(), tree.bytes());
        Ok(Taken { id, tree, files, bytes, exclusions: found.exclusions })
    }

    /// Takes a snapshot and makes its base tree. When a power cut took contents from the store, the project
    /// is read anew.
    ///
    /// # Errors
    /// Those of [`LocalStore::take`] and [`LocalStore::base_dir`].
    pub fn take_with_base(&self, root: &Path, now_ns: i64) -> Result<(Taken, PathBuf), SnapshotError> {
        let taken = self.take(root, now_ns)?;
        match self.base_dir(taken.id) {
            Err(SnapshotError::Missing { .. } | SnapshotError::Damaged { .. }) => {}
            other => return other.map(|base| (taken, base)),
        }
        self.blobs.raise_doubt();
        let taken = self.take(root, now_ns)?;
        let base = self.base_dir(taken.id)?;
        Ok((taken, base))
    }

    /// The directory with a snapshot's tree, made if it is missing or damaged. Nobody may write to it.
    ///
    /// # Errors
    /// When the snapshot or one of its contents is missing, or the disk is full.
    pub fn base_dir(&self, id: SnapshotId) -> Result<PathBuf, SnapshotError> {
        let target = self.base_path(id);
        // Held while the tree is made: whoever else wants it waits for it.
        let mut bases = lock(&self.bases);
        if bases.contains(&id) {
            return Ok(target);
        }
        let tree = self.tree(id)?;
        if target.symlink_metadata().is_ok() {
            if checkout::matches(&tree, &target, self.owner) {
                bases.insert(id);
                return Ok(target);
            }
            remove_tree(&target).map_err(io_error("remove", &target))?;
        }
        let before = lock(&self.predecessors).get(&id).copied().filter(|before| bases.contains(before));
        let before = before.and_then(|before| Some((self.base_path(before), self.tree(before).ok()?)));
        let links = Links::Shared(before.as_ref().map(|(dir, tree)| (dir.as_path(), tree.as_ref())));
        let half = self.blobs.fresh_path();
        fs::DirBuilder::new().mode(0o755).create(&half).map_err(io_error("create", &half))?;
        let written = checkout::write(
            &tree,
            &half,
            Writing { blobs: &self.blobs, owner: self.owner, links, lost: None },
        );
        if let Err(error) = written {
            // The error that counts is the first one; what is left goes when the store is opened next.
            let _ = remove_tree(&half);
            return Err(error);
        }
        if let Some((uid, gid)) = self.owner {
            std::os::unix::fs::chown(&half, Some(uid), Some(gid)).map_err(io_error("prepare", &half))?;
        }
        fs::rename(&half, &target).map_err(io_error("rename", &target))?;
        bases.insert(id);
        Ok(target)
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

    /// Writes a snapshot's tree into a directory that is missing or empty. The files are the caller's own:
    /// none is shared with the store. What the store does not have any more is left out and listed.
    ///
    /// # Errors
    /// When there is no such snapshot, the directory holds something, or it cannot be written.
    pub fn restore(&self, id: SnapshotId, target: &Path) -> Result<Restored, SnapshotError> {
        let _lease = self.lease();
        let (tree, mut lost) = self.salvage(id)?;
        checkout::claim(target)?;
        let files = RefCell::new(Vec::new());
        let writing = Writing { blobs: &self.blobs, owner: None, links: Links::None, lost: Some(&files) };
        checkout::write(&tree, target, writing)?;
        let files = files.into_inner();
        let of = |one: &Lost| match one.path.as_ref().and_then(|path| tree.get(path)).map(|entry| &entry.node)
        {
            Some(Node::File { size, .. }) => *size,
            _ => 0,
        };
        let (count, bytes) = (files.len() as u64, files.iter().map(of).sum::<u64>());
        lost.extend(files);
        lost.sort();
        Ok(Restored { files: tree.files() - count, bytes: tree.bytes().saturating_sub(bytes), lost })
    }

    /// A snapshot's paths as far as they are known, and the directories that are lost.
    pub(super) fn salvage(&self, id: SnapshotId) -> Result<(Arc<Tree>, Vec<Lost>), SnapshotError> {
        let (tree, lost) = match self.tree(id) {
            Err(
                SnapshotError::Missing { .. } | SnapshotError::Damaged { .. } | SnapshotError::Listing(_),
            ) => salvage(id, &mut |hash| match self.listing(hash) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(SnapshotError::Missing { .. } | SnapshotError::Damaged { .. }) => Ok(None),
                Err(error) => Err(error),
            })?,
            other => return Ok((other?, Vec::new())),
        };
        let lost = lost.into_iter().map(|LostDir { path, hash }| Lost { path, hash });
        Ok((Arc::new(tree), lost.collect()))
    }

    /// As long as it lives, nothing that the store holds goes. To be held from before something is stored
    /// until what needs it is recorded. Waits while a collection decides.
    #[must_use]
    pub fn lease(&self) -> Lease {
        self.gate.lease()
    }

    /// Forces everything that was stored to the disk.
    ///
    /// # Errors
    /// When it may not be there.
    pub fn settle(&self) -> Result<(), SnapshotError> {
        self.blobs.settle()
    }

    /// Opens a content.
    ///
    /// # Errors
    /// When it is missing or damaged.
    pub fn open_blob(&self, hash: Hash) -> Result<Content, SnapshotError> {
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
        let moved = blob.copy_to(target).map_err(io_error("copy from", self.blobs.path(hash)))?;
        Ok(moved.hash)
    }

    /// Stores the listings of a directory and of all beneath it; what stands in one before the one itself, so
    /// that a listing which is there has everything that it names. With `everything` each one is looked for:
    /// a damaged store may have lost one in the middle.
    fn put_listings(&self, dir: &Dir, everything: bool) -> Result<(), SnapshotError> {
        if !everything && self.blobs.holds(dir.hash())? {
            return Ok(());
        }
        for inner in dir.items().filter_map(|(_, item)| item.dir()) {
            self.put_listings(inner, everything)?;
        }
        self.blobs.put_listing(dir.hash(), &dir.listing())
    }

    pub(super) fn listing(&self, hash: Hash) -> Result<Vec<u8>, SnapshotError> {
        let mut bytes = Vec::new();
        let read = self.blobs.get(hash)?.read_to_end(&mut bytes);
        read.map_err(io_error("read", self.blobs.path(hash)))?;
        Ok(bytes)
    }

    /// Whether a content is there in its full size.
    pub(super) fn has(&self, hash: Hash, size: u64) -> Result<bool, SnapshotError> {
        self.blobs.has(Moved { hash, size })
    }

    /// Forgets what was seen of projects when contents that were stored are not there any more: the next
    /// snapshot reads everything, and stores again what is missing.
    pub(super) fn forget_what_is_in_doubt(&self) -> Result<(), SnapshotError> {
        let mut trusted = lock(&self.trusted);
        let doubt = self.blobs.doubt();
        if *trusted != doubt {
            for (path, _) in self.indexed()? {
                step::remove(&path).map_err(io_error("remove", &path))?;
            }
            lock(&self.trees).clear();
            *trusted = doubt;
        }
        Ok(())
    }

    /// What was seen of projects: the files, and the snapshots whose contents each of them vouches for.
    pub(super) fn indexed(&self) -> Result<Vec<(PathBuf, Option<SnapshotId>)>, SnapshotError> {
        let dir = self.dir.join("index");
        let mut found = Vec::new();
        for entry in fs::read_dir(&dir).map_err(io_error("list", &dir))? {
            let path = entry.map_err(io_error("list", &dir))?.path();
            let index = fs::read(&path).ok().and_then(|bytes| Index::from_bytes(&bytes));
            found.push((path, index.and_then(|index| index.last)));
        }
        Ok(found)
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

    pub(super) fn base_path(&self, id: SnapshotId) -> PathBuf {
        self.dir.join("trees").join(id.to_string())
    }

    fn rules_path(&self, id: SnapshotId) -> PathBuf {
        self.dir.join("rules").join(id.to_string())
    }

    fn index_path(&self, root: &Path) -> PathBuf {
        self.dir.join("index").join(Hash::of(root.as_os_str().as_bytes()).to_hex())
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere leaves every map here as it was: each is changed in one step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
