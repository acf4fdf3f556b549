//! Removing what nobody needs.
//!
//! Owns mark and sweep: from the snapshots and contents that are needed through the listings to everything
//! they name; what is not reached goes. Must not know why something is needed: the caller says so, and says
//! it again at the moment when nobody relies on anything (see [`Gate`](super::gate)).
//!
//! Memory: about 50 bytes for each content and listing that is needed.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ftl_core::id::{Hash, SnapshotId};
use ftl_core::tree::{Named, named};

use super::pack::FULL;
use super::repack::Amount;
use super::store::LocalStore;
use super::{SnapshotError, io_error, lock, remove_tree, step};

/// Bytes of one block in `st_blocks`.
const BLOCK: u64 = 512;

/// What must stay.
#[derive(Clone, Default, Debug)]
pub struct Needed {
    /// Snapshots, with everything in them.
    pub snapshots: BTreeSet<SnapshotId>,
    /// Single contents.
    pub contents: BTreeSet<Hash>,
    /// Snapshots whose base trees are mounted or will be.
    pub bases: BTreeSet<SnapshotId>,
    /// Whether the last snapshot of each project that was seen stays as well, with its base tree, so that the
    /// next one costs what changed.
    pub indexed: bool,
}

/// What went, or would go.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Collected {
    /// Contents and listings. Those in packs that are not worth rewriting yet count only when they go.
    pub gone: Amount,
    /// Base trees, and their files that nothing shared.
    pub trees: Amount,
    /// Listings that are needed and lost; what they named may have gone.
    pub lost: u64,
}

/// What was reached.
#[derive(Default)]
struct Live {
    listings: HashSet<Hash>,
    contents: HashSet<Hash>,
    lost: HashSet<Hash>,
}

impl Live {
    fn has(&self, hash: Hash) -> bool {
        self.contents.contains(&hash) || self.listings.contains(&hash)
    }
}

impl LocalStore {
    /// Removes what is not needed. `needed` is asked twice: once while others go on, and once when nobody has
    /// a [`Lease`](super::Lease). With `dry_run` nothing changes and the second question is not asked.
    ///
    /// # Errors
    /// Those of `needed`; when the store cannot be read or written. What has gone by then was not needed.
    pub fn collect<E: From<SnapshotError>>(
        &self,
        dry_run: bool,
        needed: &mut dyn FnMut() -> Result<Needed, E>,
    ) -> Result<Collected, E> {
        let mut live = Live::default();
        self.mark(&needed()?, &mut live)?;
        if dry_run {
            let wanted = needed()?;
            return Ok(self.survey(&wanted, &live)?);
        }
        let (mut done, plan) = {
            let _nobody = self.gate.close();
            let wanted = needed()?;
            if wanted.indexed {
                self.projects.renew()?;
            }
            self.mark(&wanted, &mut live)?;
            self.blobs.packs.seal()?;
            let mut done = Collected { lost: live.lost.len() as u64, ..Collected::default() };
            self.drop_trees(&wanted, false, &mut done)?;
            self.drop_indexes(&wanted)?;
            for (hash, path) in self.blobs.loose()? {
                if !live.has(hash) {
                    done.gone = done.gone.plus(Amount { contents: 1, bytes: on_disk(&path) });
                    step::remove(&path).map_err(io_error("remove", &path))?;
                }
            }
            lock(&self.trees).retain(|(id, _)| live.listings.contains(&id.0));
            (done, self.blobs.packs.plan_repack(FULL, &|hash| live.has(hash))?)
        };
        let (gone, damaged) = self.blobs.packs.repack(FULL, plan)?;
        if !damaged.is_empty() {
            self.blobs.raise_doubt();
        }
        done.gone = done.gone.plus(gone);
        Ok(done)
    }

    /// Bytes that the store takes on the disk, without base trees.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn size(&self) -> Result<u64, SnapshotError> {
        let loose = self.blobs.loose()?.iter().map(|(_, path)| on_disk(path)).sum::<u64>();
        Ok(loose + disk_of(&self.blobs.packs.dir) + disk_of(&self.dir.join("index")))
    }

    fn mark(&self, needed: &Needed, live: &mut Live) -> Result<(), SnapshotError> {
        live.contents.extend(&needed.contents);
        let mut todo: Vec<Hash> = needed.snapshots.iter().chain(&needed.bases).map(|id| id.0).collect();
        if needed.indexed {
            let vouched = self.projects.vouched()?;
            live.contents.extend(vouched.contents);
            todo.extend(vouched.last.into_iter().map(|id| id.0));
        }
        // What was lost a moment ago may have been stored again.
        for hash in std::mem::take(&mut live.lost) {
            live.listings.remove(&hash);
            todo.push(hash);
        }
        while let Some(hash) = todo.pop() {
            if !live.listings.insert(hash) {
                continue;
            }
            match self.listing(hash) {
                Ok(bytes) => {
                    let Named { contents, listings } = named(&bytes)?;
                    live.contents.extend(contents.into_iter().map(|(hash, _)| hash));
                    todo.extend(listings);
                }
                Err(SnapshotError::Missing { .. } | SnapshotError::Damaged { .. }) => {
                    live.lost.insert(hash);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What would go.
    fn survey(&self, needed: &Needed, live: &Live) -> Result<Collected, SnapshotError> {
        let mut done = Collected { lost: live.lost.len() as u64, ..Collected::default() };
        self.drop_trees(needed, true, &mut done)?;
        for (_, path) in self.blobs.loose()?.iter().filter(|(hash, _)| !live.has(*hash)) {
            done.gone = done.gone.plus(Amount { contents: 1, bytes: on_disk(path) });
        }
        self.blobs.packs.seal()?;
        done.gone = done.gone.plus(self.blobs.packs.dead(&|hash| live.has(hash))?);
        Ok(done)
    }

    /// Base trees and ignore rules of snapshots that nobody uses.
    fn drop_trees(&self, needed: &Needed, dry_run: bool, done: &mut Collected) -> Result<(), SnapshotError> {
        let mut kept = needed.bases.clone();
        if needed.indexed {
            kept.extend(self.projects.vouched()?.last);
        }
        self.bases.sweep(&kept, (needed.indexed, dry_run), &mut |path| {
            done.trees = done.trees.plus(Amount { contents: 1, bytes: disk_of(path) });
            if dry_run { Ok(()) } else { remove_tree(path).map_err(io_error("remove", path)) }
        })?;
        match dry_run {
            true => Ok(()),
            false => self.drop_notes(&|id| kept.contains(&id) || needed.snapshots.contains(&id)),
        }
    }

    /// An index must not vouch for what goes.
    fn drop_indexes(&self, needed: &Needed) -> Result<(), SnapshotError> {
        if needed.indexed {
            return Ok(());
        }
        self.blobs.raise_doubt();
        self.forget_what_is_in_doubt()
    }
}

fn on_disk(path: &Path) -> u64 {
    path.symlink_metadata().map_or(0, |meta| meta.blocks() * BLOCK)
}

/// The disk that a directory would give back: a file that has other names as well gives nothing.
fn disk_of(dir: &Path) -> u64 {
    let mut sum = on_disk(dir);
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(meta) if meta.is_dir() => sum += disk_of(&entry.path()),
            Ok(meta) if meta.nlink() == 1 => sum += meta.blocks() * BLOCK,
            _ => {}
        }
    }
    sum
}
