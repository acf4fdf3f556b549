//! Reading everything again.
//!
//! Owns the check of every content and listing against its hash, and where in which snapshot a damaged one
//! is. What is damaged counts as missing from then on, so that the next snapshot of a project that still has
//! it stores it again. Memory: one content of a pack or one block of a file at a time, and the names of what
//! snapshots need.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;

use ftl_core::id::{Hash, SnapshotId};
use ftl_core::tree::{Named, Node, named};

use super::store::{LocalStore, Lost};
use super::{Needed, SnapshotError, content, io_error};

/// Places that are told of one damaged content at most.
const TOLD: usize = 100;

/// What a check found.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Checked {
    /// Contents and listings that were read.
    pub contents: u64,
    /// Their bytes as stored.
    pub bytes: u64,
    /// What is damaged or missing.
    pub damage: Vec<Damage>,
}

/// A content or listing that is lost.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// Its hash.
    pub hash: Hash,
    /// Whether something is there under the hash; otherwise nothing is.
    pub damaged: bool,
    /// Where it is needed, at most 100 places.
    pub places: Vec<(SnapshotId, Lost)>,
}

impl LocalStore {
    /// Reads everything and compares it with its hash; then looks whether everything is there that `needed`
    /// names. `progress` is told how many of how many bytes are done.
    ///
    /// # Errors
    /// When the store cannot be read at all.
    pub fn verify(
        &self,
        needed: &Needed,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Checked, SnapshotError> {
        let _lease = self.lease();
        let mut checked = Checked::default();
        let mut damaged = BTreeSet::new();
        self.blobs.packs.seal()?;
        let loose = self.blobs.loose()?;
        let size = |path: &std::path::Path| path.symlink_metadata().map_or(0, |meta| meta.len());
        let total = loose.iter().map(|(_, path)| size(path)).sum::<u64>() + self.blobs.packs.bytes();
        self.blobs.packs.verify(&mut |hash, stored, intact| {
            checked.contents += 1;
            checked.bytes += stored;
            if !intact {
                damaged.insert(hash);
            }
            progress(checked.bytes, total);
        })?;
        for (hash, path) in loose {
            let found = File::open(&path).and_then(|file| content::hash(&file));
            checked.contents += 1;
            checked.bytes += found.as_ref().map_or(0, |moved| moved.size);
            if !found.is_ok_and(|moved| moved.hash == hash) {
                damaged.insert(hash);
            }
            progress(checked.bytes, total);
        }
        for hash in &damaged {
            self.blobs.set_aside(*hash)?;
        }
        checked.damage = self.trace(needed, &damaged)?;
        if !checked.damage.is_empty() {
            self.blobs.raise_doubt();
        }
        Ok(checked)
    }

    /// Where what is damaged or missing is needed.
    fn trace(&self, needed: &Needed, damaged: &BTreeSet<Hash>) -> Result<Vec<Damage>, SnapshotError> {
        let mut lost: BTreeMap<Hash, Vec<(SnapshotId, Lost)>> =
            damaged.iter().map(|hash| (*hash, Vec::new())).collect();
        for hash in &needed.contents {
            if !self.blobs.holds(*hash)? {
                lost.entry(*hash).or_default();
            }
        }
        let (mut seen, mut contents) = (HashMap::new(), HashSet::new());
        for id in needed.snapshots.union(&needed.bases) {
            if self.is_whole(id.0, &mut seen, &mut contents)? {
                continue;
            }
            self.find_lost(*id, &mut lost)?;
        }
        let damage = lost.into_iter();
        Ok(damage.map(|(hash, places)| Damage { hash, damaged: damaged.contains(&hash), places }).collect())
    }

    /// Whether everything beneath a listing is there. Directories that snapshots share are looked at once.
    fn is_whole(
        &self,
        root: Hash,
        seen: &mut HashMap<Hash, bool>,
        contents: &mut HashSet<Hash>,
    ) -> Result<bool, SnapshotError> {
        if let Some(known) = seen.get(&root) {
            return Ok(*known);
        }
        let mut whole = true;
        match self.listing(root) {
            Err(SnapshotError::Missing { .. } | SnapshotError::Damaged { .. }) => whole = false,
            Err(error) => return Err(error),
            Ok(bytes) => {
                let Named { contents: files, listings: inner } = named(&bytes)?;
                for (hash, size) in files {
                    if contents.contains(&hash) || self.has(hash, size)? {
                        contents.insert(hash);
                    } else {
                        whole = false;
                    }
                }
                for dir in inner {
                    whole &= self.is_whole(dir, seen, contents)?;
                }
            }
        }
        seen.insert(root, whole);
        Ok(whole)
    }

    fn find_lost(
        &self,
        id: SnapshotId,
        lost: &mut BTreeMap<Hash, Vec<(SnapshotId, Lost)>>,
    ) -> Result<(), SnapshotError> {
        let (tree, dirs) = match self.salvage(id) {
            Err(SnapshotError::Unknown { .. }) => {
                let root = Lost { path: None, hash: id.0 };
                lost.entry(id.0).or_default().push((id, root));
                return Ok(());
            }
            other => other?,
        };
        let mut found = dirs;
        for (path, entry) in tree.iter() {
            if let Node::File { hash, size, .. } = &entry.node
                && !self.has(*hash, *size)?
            {
                found.push(Lost { path: Some(path), hash: *hash });
            }
        }
        for one in found {
            let places = lost.entry(one.hash).or_default();
            if places.len() < TOLD {
                places.push((id, one));
            }
        }
        Ok(())
    }
}

impl super::pack::Packs {
    /// Bytes of the complete packs.
    pub(super) fn bytes(&self) -> u64 {
        self.read().sealed.iter().map(|pack| pack.length).sum()
    }

    /// Reads every content of the complete packs and says of each whether it is intact. An index that is
    /// damaged is made again from its pack.
    pub(super) fn verify(&self, each: &mut dyn FnMut(Hash, u64, bool)) -> Result<(), SnapshotError> {
        let numbers: Vec<u64> = self.read().sealed.iter().map(|pack| pack.number).collect();
        for number in numbers {
            let Some(pack) = self.with_intact_index(number)? else { continue };
            for entry in pack.index.entries() {
                let (hash, place) = entry.map_err(io_error("read", self.index_path(number)))?;
                // An older copy of something that is stored again.
                if !self.is_served_by(hash, number)? {
                    continue;
                }
                let intact = self.get(hash).is_ok_and(|found| found.is_some());
                each(hash, u64::from(place.stored), intact);
            }
        }
        Ok(())
    }
}
