//! The directories below a session's workspace.
//!
//! Owns `trees/` (whole trees), `deltas/` (what one snapshot changes in another, as an overlay's lower
//! layer) and `bases/` (which whole tree a project had last). A snapshot's base is a delta over the base of one before it while that is cheap, and a whole
//! tree otherwise; so that a session after a small change costs the change. Nobody writes to any of them, and
//! none is removed while somebody has a [`Base`] with it.
//!
//! Deltas are made anew by every daemon. A whole tree outlives it, and is compared with its listings before
//! it is used again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use ftl_core::id::{Hash, SnapshotId};
use ftl_core::tree::{Changed, Tree, changes};

use super::blob::Blobs;
use super::checkout::{self, Links, Writing};
use super::{SnapshotError, io_error, lock, remove_tree};

/// Layers from which on a base is worth folding into one; lookups pass through all of them.
pub(super) const FOLD_FROM: usize = 4;
/// Layers that a base has at most.
const MOST_LAYERS: usize = 16;
/// A delta is worth it up to this part of a tree's paths.
const PART: usize = 4;
/// Bases that are kept for each project, beside those in use.
const KEPT: usize = 4;

/// Read-only directories that, one over the other, show a snapshot's tree. They stay as long as this does.
#[derive(Clone, Debug)]
pub struct Base {
    layers: Vec<Arc<Layer>>,
}

/// One directory of a base.
#[derive(Debug)]
struct Layer {
    path: PathBuf,
}

/// Every base of a store.
#[derive(Debug)]
pub(super) struct Bases {
    dir: PathBuf,
    owner: Option<(u32, u32)>,
    known: Mutex<BTreeMap<PathBuf, Vec<Known>>>,
    /// How many bases of each project had to stay when it was last looked for what may go.
    stayed: Mutex<BTreeMap<PathBuf, usize>>,
    /// Held while one is made: whoever else wants it waits for it.
    making: Mutex<()>,
}

/// A base that can be used, or built on.
#[derive(Clone, Debug)]
struct Known {
    id: SnapshotId,
    tree: Arc<Tree>,
    base: Base,
}

// === impl Base ===

impl Base {
    /// The directories, the one on top first.
    #[must_use]
    pub fn layers(&self) -> Vec<PathBuf> {
        self.layers.iter().map(|layer| layer.path.clone()).collect()
    }

    fn one(path: PathBuf) -> Self {
        Self { layers: vec![Arc::new(Layer { path })] }
    }

    fn under(&self, path: PathBuf) -> Self {
        let layers = std::iter::once(Arc::new(Layer { path })).chain(self.layers.iter().cloned()).collect();
        Self { layers }
    }
}

// === impl Bases ===

impl Bases {
    /// The bases in a store's directory. Removes what an earlier daemon cannot use any more.
    pub(super) fn open(dir: &Path, owner: Option<(u32, u32)>) -> Result<Self, SnapshotError> {
        let deltas = dir.join("deltas");
        remove_tree(&deltas).map_err(io_error("clear", &deltas))?;
        for part in ["trees", "deltas", "bases"] {
            let part = dir.join(part);
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&part);
            made.map_err(io_error("create", &part))?;
        }
        Ok(Self {
            dir: dir.to_owned(),
            owner,
            known: Mutex::default(),
            stayed: Mutex::default(),
            making: Mutex::default(),
        })
    }

    /// A snapshot's base, made if it is missing or damaged. `trees` gives what another snapshot holds.
    pub(super) fn get(
        &self,
        project: &Path,
        id: SnapshotId,
        tree: &Arc<Tree>,
        (blobs, trees): (&Blobs, &dyn Fn(SnapshotId) -> Option<Arc<Tree>>),
    ) -> Result<Base, SnapshotError> {
        let _making = lock(&self.making);
        if let Some(base) = self.find(project, id) {
            return Ok(base);
        }
        if self.stands(id, tree)? {
            return Ok(self.know(project, id, tree, Base::one(self.tree_path(id))));
        }
        if !lock(&self.known).contains_key(project)
            && let Some(last) = self.last_whole(project)
            && let Some(tree) = trees(last)
            && self.stands(last, &tree)?
        {
            self.know(project, last, &tree, Base::one(self.tree_path(last)));
        }
        let base = match self.nearest(project, tree) {
            Some((below, changes)) => self.delta(id, tree, &below, &changes, blobs)?,
            None => self.whole(project, id, tree, blobs)?,
        };
        Ok(self.know(project, id, tree, base))
    }

    /// Makes a base of many layers one whole tree. Sessions that have the old one keep it.
    pub(super) fn fold(
        &self,
        project: &Path,
        id: SnapshotId,
        tree: &Arc<Tree>,
        blobs: &Blobs,
    ) -> Result<(), SnapshotError> {
        let _making = lock(&self.making);
        if self.find(project, id).is_some_and(|base| base.layers.len() >= FOLD_FROM) {
            // One that stands may be another project's too, and mounted.
            let base = match self.stands(id, tree)? {
                true => Base::one(self.tree_path(id)),
                false => self.whole(project, id, tree, blobs)?,
            };
            self.know(project, id, tree, base);
        }
        Ok(())
    }

    /// Hands over the directories that nobody uses and nothing will be built on, to be removed. `keep` names
    /// snapshots whose bases are wanted again soon; with `recent` the last ones of each project stay as well, and
    /// with `dry_run` nothing is forgotten.
    pub(super) fn sweep(
        &self,
        keep: &BTreeSet<SnapshotId>,
        (recent, dry_run): (bool, bool),
        remove: &mut dyn FnMut(&Path) -> Result<(), SnapshotError>,
    ) -> Result<(), SnapshotError> {
        let _making = lock(&self.making);
        let mut wanted = self.wanted(keep, if recent { KEPT } else { 0 }, dry_run);
        if recent {
            let pointers = self.dir.join("bases");
            let pointers = fs::read_dir(&pointers).map_err(io_error("list", &pointers))?.flatten();
            wanted.extend(pointers.filter_map(|item| read_id(&item.path())).map(|id| self.tree_path(id)));
        }
        wanted.extend(keep.iter().map(|id| self.tree_path(*id)));
        for part in ["trees", "deltas"] {
            let part = self.dir.join(part);
            for item in fs::read_dir(&part).map_err(io_error("list", &part))?.flatten() {
                if !wanted.contains(&item.path()) {
                    remove(&item.path())?;
                }
            }
        }
        Ok(())
    }

    /// The directories of the bases that are in use, or to be kept; the others are not known any more.
    fn wanted(&self, keep: &BTreeSet<SnapshotId>, most: usize, dry_run: bool) -> BTreeSet<PathBuf> {
        let mut known = lock(&self.known);
        // A layer is in use when somebody else than these lists holds it. Two projects with equal snapshots have
        // one directory and a hold each.
        let layers = || known.values().flatten().flat_map(|known| &known.base.layers);
        let mut held: BTreeMap<*const Layer, usize> = BTreeMap::new();
        layers().for_each(|layer| *held.entry(Arc::as_ptr(layer)).or_default() += 1);
        let is_used = |layer: &&Arc<Layer>| {
            held.get(&Arc::as_ptr(layer)).is_none_or(|count| Arc::strong_count(layer) > *count)
        };
        let used: BTreeSet<PathBuf> = layers().filter(is_used).map(|layer| layer.path.clone()).collect();
        let mut left = known.clone();
        for list in left.values_mut() {
            let excess = list.len().saturating_sub(most);
            let mut at = 0;
            list.retain(|known| {
                at += 1;
                let is_used = known.base.layers.iter().any(|layer| used.contains(&layer.path));
                at > excess || keep.contains(&known.id) || is_used
            });
        }
        left.retain(|_, list| !list.is_empty());
        let paths = left.values().flatten().flat_map(|known| &known.base.layers);
        let paths = paths.map(|layer| layer.path.clone()).collect();
        if !dry_run {
            *lock(&self.stayed) = left.iter().map(|(project, list)| (project.clone(), list.len())).collect();
            *known = left;
        }
        paths
    }

    /// Whether there is something to fold, or there may be something to remove: as many bases again as had to
    /// stay the last time, so that asking what is needed costs each session little.
    pub(super) fn is_untidy(&self, project: &Path) -> bool {
        let stayed = lock(&self.stayed).get(project).copied().unwrap_or_default();
        let most = if stayed > KEPT { stayed.saturating_mul(2) } else { KEPT };
        let known = lock(&self.known);
        let list = known.get(project).map_or(&[][..], Vec::as_slice);
        list.len() > most || list.last().is_some_and(|last| last.base.layers.len() >= FOLD_FROM)
    }

    /// The base of a snapshot that is known to be whole.
    fn find(&self, project: &Path, id: SnapshotId) -> Option<Base> {
        let known = lock(&self.known);
        known.get(project)?.iter().rev().find(|known| known.id == id).map(|known| known.base.clone())
    }

    fn know(&self, project: &Path, id: SnapshotId, tree: &Arc<Tree>, base: Base) -> Base {
        let mut known = lock(&self.known);
        let list = known.entry(project.to_owned()).or_default();
        // One of the same snapshot stays listed as long as a session has it; the newest is found.
        list.push(Known { id, tree: Arc::clone(tree), base: base.clone() });
        base
    }

    /// Whether a whole tree of this snapshot stands. One that is damaged is removed.
    fn stands(&self, id: SnapshotId, tree: &Tree) -> Result<bool, SnapshotError> {
        let path = self.tree_path(id);
        if path.symlink_metadata().is_err() {
            return Ok(false);
        }
        let fits = checkout::matches(tree, &path, self.owner);
        if !fits {
            remove_tree(&path).map_err(io_error("remove", &path))?;
        }
        Ok(fits)
    }

    /// The project's base that differs least, when a delta over it is worth it.
    fn nearest(&self, project: &Path, tree: &Tree) -> Option<(Known, Vec<Changed>)> {
        let known = lock(&self.known);
        // Of equals the newest: it is folded.
        let usable = known.get(project)?.iter().rev().filter(|known| known.base.layers.len() < MOST_LAYERS);
        let compared = usable.map(|known| (known, changes(&known.tree, tree)));
        let (known, changes) = compared.min_by_key(|(_, changes)| changes.len())?;
        is_worth_a_layer(changes.len(), tree).then(|| (known.clone(), changes))
    }

    fn delta(
        &self,
        id: SnapshotId,
        tree: &Tree,
        below: &Known,
        changes: &[Changed],
        blobs: &Blobs,
    ) -> Result<Base, SnapshotError> {
        let target = self
            .dir
            .join("deltas")
            .join(format!("{id}-{}", Hash::of(below.id.to_string().as_bytes()).to_hex()));
        let writing = Writing { blobs, owner: self.owner, links: Links::Shared(None), lost: None };
        self.make(&target, blobs, |half| checkout::write_delta(&below.tree, tree, changes, half, writing))?;
        Ok(below.base.under(target))
    }

    fn whole(
        &self,
        project: &Path,
        id: SnapshotId,
        tree: &Tree,
        blobs: &Blobs,
    ) -> Result<Base, SnapshotError> {
        let target = self.tree_path(id);
        let before = lock(&self.known).get(project).and_then(|list| list.last().cloned());
        let layers = before.as_ref().map(|before| before.base.layers()).unwrap_or_default();
        let links = Links::Shared(before.as_ref().map(|before| (layers.as_slice(), before.tree.as_ref())));
        let writing = Writing { blobs, owner: self.owner, links, lost: None };
        self.make(&target, blobs, |half| checkout::write(tree, half, writing))?;
        let (pointer, fresh) = (self.pointer(project), blobs.fresh_path());
        fs::write(&fresh, id.to_string()).map_err(io_error("write", &fresh))?;
        fs::rename(&fresh, &pointer).map_err(io_error("rename", &pointer))?;
        Ok(Base::one(target))
    }

    /// Makes a directory aside and gives it its name when it is complete.
    fn make(
        &self,
        target: &Path,
        blobs: &Blobs,
        write: impl FnOnce(&Path) -> Result<(), SnapshotError>,
    ) -> Result<(), SnapshotError> {
        remove_tree(target).map_err(io_error("remove", target))?;
        let half = blobs.fresh_path();
        // Set, not only asked for: the daemon's mask must not decide what a sandbox sees.
        fs::DirBuilder::new()
            .create(&half)
            .and_then(|()| fs::set_permissions(&half, fs::Permissions::from_mode(0o755)))
            .map_err(io_error("create", &half))?;
        if let Err(error) = write(&half) {
            // The error that counts is the first one; what is left goes when the store is opened next.
            let _ = remove_tree(&half);
            return Err(error);
        }
        if let Some((uid, gid)) = self.owner {
            std::os::unix::fs::chown(&half, Some(uid), Some(gid)).map_err(io_error("prepare", &half))?;
        }
        fs::rename(&half, target).map_err(io_error("rename", target))
    }

    /// The whole tree that was made last for a project, maybe by an earlier daemon.
    fn last_whole(&self, project: &Path) -> Option<SnapshotId> {
        read_id(&self.pointer(project))
    }

    fn pointer(&self, project: &Path) -> PathBuf {
        self.dir.join("bases").join(Hash::of(project.as_os_str().as_bytes()).to_hex())
    }

    fn tree_path(&self, id: SnapshotId) -> PathBuf {
        self.dir.join("trees").join(id.to_string())
    }
}

/// Whether so many changes that lead to a tree are better a layer than a tree of their own.
pub(super) fn is_worth_a_layer(changes: usize, tree: &Tree) -> bool {
    changes <= tree.len() / PART
}

fn read_id(path: &Path) -> Option<SnapshotId> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}
