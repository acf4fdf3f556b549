//! The store as the rest of the daemon uses it.
//!
//! Owns which calls exist and what each promises. See the folder's header for what survives what.

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use ftl_core::diff::{SeenFiles, with_seen};
use ftl_core::id::{Hash, SnapshotId};
use ftl_core::tree::{Dir, LostDir, Node, RelPath, Tree, changes, load, salvage};

use super::base::{self, Base, Bases};
use super::blob::{Blobs, Look};
use super::capture::{self, Captured};
use super::checkout::{self, Links, Writing};
use super::content::{Content, Moved};
use super::gate::{Gate, Lease};
use super::live::Watching;
use super::notes::Notes;
use super::outside::Exclusions;
use super::projects::Projects;
use super::shown::{self, SeenFile};
use super::{SnapshotError, io_error, lock, remove_tree, step};

/// Trees that are kept in memory.
const TREES: usize = 8;
/// How a content looks that came from no project's file.
const PLAIN: Look = Look { mode: 0o600, mtime_ns: 0 };

/// The most watches that a user may have.
const INOTIFY_WATCHES: &str = "/proc/sys/fs/inotify/max_user_watches";

/// A store in a directory of this machine. One daemon uses it at a time.
pub struct LocalStore {
    pub(super) dir: PathBuf,
    pub(super) blobs: Arc<Blobs>,
    pub(super) gate: Gate,
    /// [`Blobs::doubt`] when the indexes were made.
    trusted: Mutex<u64>,
    pub(super) projects: Projects,
    pub(super) trees: Mutex<VecDeque<(SnapshotId, Arc<Tree>)>>,
    pub(super) bases: Bases,
    pub(super) notes: Mutex<Notes>,
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
    pub exclusions: Exclusions,
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
        for part in ["index", "rules", "unread"] {
            let part = dir.join(part);
            step::make_dir(&part).map_err(io_error("create", &part))?;
        }
        let blobs = Arc::new(Blobs::open(dir, owner)?);
        step::sync_dir(dir).map_err(io_error("flush", dir))?;
        let (gate, limit) = (Gate::default(), fs::read_to_string(INOTIFY_WATCHES).ok());
        Ok(Self {
            dir: dir.to_owned(),
            projects: Projects::new(dir.join("index"), (Arc::clone(&blobs), gate.clone()), limit.as_deref()),
            blobs,
            gate,
            trusted: Mutex::default(),
            trees: Mutex::default(),
            bases: Bases::open(dir, owner)?,
            notes: Mutex::default(),
        })
    }

    /// Takes a snapshot of the project at `root`. Reads what changed since the last one, and nothing of the
    /// project is written. `now_ns` is the time, in nanoseconds since the Unix epoch, just before the call.
    ///
    /// # Errors
    /// When the project's directory cannot be read, or the store not be written.
    pub fn take(&self, root: &Path, now_ns: i64) -> Result<Taken, SnapshotError> {
        let _lease = self.lease();
        self.forget_what_is_in_doubt()?;
        self.projects.take(root, now_ns, |seen| {
            let id = seen.tree.id();
            if seen.last != Some(id) {
                let last = seen.last.and_then(|last| self.tree(last).ok());
                self.put_listings(seen.tree.root(), last.as_ref().map(|last| &**last.root()))?;
            }
            self.note(id, &seen.rules, seen.outside.unread())?;
            let tree = Arc::new(seen.tree.clone());
            self.remember(id, &tree);
            let (files, bytes) = (tree.files(), tree.bytes());
            let exclusions = seen.outside.all().clone();
            Ok((id, Taken { id, tree, files, bytes, exclusions }))
        })
    }

    /// Does what is to be done from time to time: projects that nobody asked about for half an hour are
    /// forgotten and their watches given back, and what no event told is looked for. To be called about once
    /// a minute, where it may take as long as a walk; `now_ns` is the time.
    pub fn tend(&self, now_ns: i64) {
        self.projects.tend(now_ns);
    }

    /// Writes what is known of every project to the disk and ends every watch. The store can be used
    /// afterwards, and begins anew.
    pub fn park(&self) {
        self.projects.park();
    }

    /// How many directories a user may watch, all programs together, when the kernel says it.
    #[must_use]
    pub fn watch_limit(&self) -> Option<usize> {
        fs::read_to_string(INOTIFY_WATCHES).ok()?.trim().parse().ok()
    }

    /// How each project that is in use is kept up to date.
    #[must_use]
    pub fn watching(&self) -> Vec<Watching> {
        self.projects.watching()
    }

    /// Takes a snapshot and makes its base. When a power cut took contents from the store, the project is
    /// read anew.
    ///
    /// # Errors
    /// Those of [`LocalStore::take`] and [`LocalStore::base`].
    pub fn take_with_base(&self, root: &Path, now_ns: i64) -> Result<(Taken, Base), SnapshotError> {
        let taken = self.take(root, now_ns)?;
        match self.base(root, taken.id) {
            Err(SnapshotError::Missing { .. } | SnapshotError::Damaged { .. }) => {}
            other => return other.map(|base| (taken, base)),
        }
        self.blobs.raise_doubt();
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
        self.bases.sweep(keep, (true, false), &mut |path| remove_tree(path).map_err(io_error("remove", path)))
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

    /// Reads the frozen upper layer of a session over the base `id`, and stores its contents so that they
    /// survive a power cut. `seen` are the files that its workspace had beside the base's.
    ///
    /// # Errors
    /// When the layer cannot be read as a whole or holds odd metadata, or the store cannot be written.
    pub fn capture(&self, upper: &Path, id: SnapshotId, seen: &SeenFiles) -> Result<Captured, SnapshotError> {
        let (base, mut rules) = (with_seen(&*self.tree(id)?, seen), self.rules(id)?);
        self.settle_notes()?;
        capture::capture(upper, &base, &mut rules, &self.blobs, capture::MOST)
    }

    /// Writes a layer of files that a workspace over the base `id` shows beside the base's, in the place of
    /// an earlier one. Every file stands in a directory of the base. When the daemon is root, `owner` is the
    /// user and group that sandboxes run as.
    ///
    /// # Errors
    /// When it cannot be written; a half-written layer is not at `target`.
    pub fn write_seen(
        &self,
        id: SnapshotId,
        files: &[SeenFile],
        target: &Path,
        owner: Option<(u32, u32)>,
    ) -> Result<(), SnapshotError> {
        shown::write(&*self.tree(id)?, files, target, (&self.blobs, owner))
    }

    /// The files of such a layer; none when there is no layer.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read_seen(&self, layer: &Path) -> Result<SeenFiles, SnapshotError> {
        shown::read(layer)
    }

    /// Writes a snapshot's tree into a directory that is missing or empty. The files are the caller's own:
    /// none is shared with the store. What the store does not have any more is left out and listed.
    ///
    /// # Errors
    /// When there is no such snapshot, the directory holds something, or it cannot be written.
    pub fn restore(&self, id: SnapshotId, target: &Path) -> Result<Restored, SnapshotError> {
        let _lease = self.lease();
        let (tree, lost) = self.salvage(id)?;
        let mut restored = self.restore_tree(&tree, target)?;
        restored.lost.extend(lost);
        restored.lost.sort();
        Ok(restored)
    }

    /// Writes a tree in the same way.
    ///
    /// # Errors
    /// When the directory holds something, or it cannot be written.
    pub fn restore_tree(&self, tree: &Tree, target: &Path) -> Result<Restored, SnapshotError> {
        let _lease = self.lease();
        checkout::claim(target)?;
        let files = RefCell::new(Vec::new());
        let writing = Writing { blobs: &self.blobs, owner: None, links: Links::None, lost: Some(&files) };
        checkout::write(tree, target, writing)?;
        let mut files = files.into_inner();
        let of = |one: &Lost| match one.path.as_ref().and_then(|path| tree.get(path)).map(|entry| &entry.node)
        {
            Some(Node::File { size, .. }) => *size,
            _ => 0,
        };
        let (count, bytes) = (files.len() as u64, files.iter().map(of).sum::<u64>());
        files.sort();
        let bytes = tree.bytes().saturating_sub(bytes);
        Ok(Restored { files: tree.files() - count, bytes, lost: files })
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
        self.settle_notes()?;
        self.blobs.settle()
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
        let writing = Writing { blobs: &self.blobs, owner, links: Links::Shared(None), lost: None };
        checkout::write_delta(before, after, &changes(before, after), target, writing)
    }

    /// Writes what makes the snapshot `to` of the snapshot `from` into the empty directory of a layer that lies
    /// over the base of `from`, as [`LocalStore::write_layer`]. Does nothing and says so by `false` when that is
    /// so much that another base is better.
    ///
    /// # Errors
    /// When a snapshot or a content is missing, or the disk is full.
    pub fn write_patch(
        &self,
        (from, to): (SnapshotId, SnapshotId),
        target: &Path,
        owner: Option<(u32, u32)>,
    ) -> Result<bool, SnapshotError> {
        let (before, after) = (self.tree(from)?, self.tree(to)?);
        let changes = changes(&before, &after);
        if !base::is_worth_a_layer(changes.len(), &after) {
            return Ok(false);
        }
        let writing = Writing { blobs: &self.blobs, owner, links: Links::Shared(None), lost: None };
        checkout::write_delta(&before, &after, &changes, target, writing).map(|()| true)
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
    /// that a listing which is there has everything that it names. Only what the project's last snapshot has at
    /// the same path is known to be there as a whole: a listing that nobody needed may have lost what it names.
    fn put_listings(&self, dir: &Dir, last: Option<&Dir>) -> Result<(), SnapshotError> {
        if last.is_some_and(|last| last.hash() == dir.hash()) {
            return Ok(());
        }
        for (name, item) in dir.items() {
            if let Some(inner) = item.dir() {
                let before = last.and_then(|last| last.get(name)?.dir());
                self.put_listings(inner, before.map(|before| &**before))?;
            }
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
            self.projects.forget_all()?;
            lock(&self.trees).clear();
            *trusted = doubt;
        }
        Ok(())
    }

    fn remember(&self, id: SnapshotId, tree: &Arc<Tree>) {
        let mut trees = lock(&self.trees);
        trees.retain(|(known, _)| *known != id);
        trees.push_front((id, Arc::clone(tree)));
        trees.truncate(TREES);
    }
}
