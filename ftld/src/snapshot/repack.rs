//! Rewriting packs without what nobody needs.
//!
//! Owns which packs are worth rewriting, and how: the new pack is complete before an old one goes, so that a
//! crash leaves contents twice and never none. Must not know who needs what.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use ftl_core::id::Hash;

use super::pack::{Packs, Sealed};
use super::packed::{self, HEADER};
use super::packindex::Place;
use super::{SnapshotError, io_error, step};

const MAGIC: &[u8; 8] = b"ftlpack\n";
/// So many packs that are small are made one.
const MANY_SMALL: usize = 4;

/// Packs that are to be rewritten. What goes with them cannot be found any more.
#[derive(Default)]
pub(super) struct Repack {
    packs: Vec<Arc<Sealed>>,
    dead: HashSet<Hash>,
}

/// Contents and their bytes on the disk.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Amount {
    /// Contents and listings.
    pub contents: u64,
    /// Bytes on the disk.
    pub bytes: u64,
}

impl Amount {
    /// Both together.
    #[must_use]
    pub fn plus(self, more: Self) -> Self {
        Self { contents: self.contents + more.contents, bytes: self.bytes + more.bytes }
    }
}

/// A pack that is being written.
struct Draft {
    number: u64,
    path: PathBuf,
    file: File,
    end: u64,
    entries: Vec<(Hash, Place)>,
}

impl Packs {
    /// What in the complete packs is not live.
    pub(super) fn dead(&self, is_live: &dyn Fn(Hash) -> bool) -> Result<Amount, SnapshotError> {
        let packs = self.read().sealed.clone();
        let mut sum = Amount::default();
        for pack in packs {
            sum = sum.plus(self.dead_of(&pack, is_live, &mut HashSet::new())?);
        }
        Ok(sum)
    }

    /// Chooses the packs that are worth it and hides what goes with them. Nobody may rely on having found a
    /// content meanwhile.
    pub(super) fn plan_repack(
        &self,
        full: u64,
        is_live: &dyn Fn(Hash) -> bool,
    ) -> Result<Repack, SnapshotError> {
        let packs = self.read().sealed.clone();
        let many_small = packs.iter().filter(|pack| pack.length < full / 4).count() >= MANY_SMALL;
        let mut plan = Repack::default();
        for pack in packs {
            let mut dead = HashSet::new();
            let amount = self.dead_of(&pack, is_live, &mut dead)?;
            if amount.bytes * 4 >= pack.length || many_small && pack.length < full / 4 {
                plan.packs.push(pack);
                plan.dead.extend(dead);
            }
        }
        self.write().hide_all(&plan.dead);
        Ok(plan)
    }

    /// Rewrites the chosen packs. Says what went, and which contents were found damaged.
    pub(super) fn repack(&self, full: u64, plan: Repack) -> Result<(Amount, Vec<Hash>), SnapshotError> {
        let (mut gone, mut damaged) = (Amount::default(), Vec::new());
        let mut drafts: Vec<Draft> = Vec::new();
        for pack in &plan.packs {
            for entry in pack.index.entries() {
                let (hash, place) = entry.map_err(io_error("read", self.index_path(pack.number)))?;
                if plan.dead.contains(&hash) {
                    let bytes = HEADER as u64 + u64::from(place.stored);
                    gone = gone.plus(Amount { contents: 1, bytes });
                    continue;
                }
                // A newer copy counts.
                if !self.is_served_by(hash, pack.number)? {
                    continue;
                }
                let mut record = vec![0; HEADER + place.stored as usize];
                let read = pack.file.read_exact_at(&mut record, place.offset);
                if read.is_err() || !packed::is_intact(&record) {
                    // Nothing but the check may be damaged.
                    let whole = read.ok().and_then(|()| packed::decode(&record));
                    match whole.and_then(|bytes| packed::encode(hash, &bytes)) {
                        Some(anew) if Some(hash) == packed::header(&record).map(|header| header.hash) => {
                            record = anew;
                        }
                        _ => {
                            damaged.push(hash);
                            continue;
                        }
                    }
                }
                let draft = match drafts.pop() {
                    Some(draft) if draft.end < full => draft,
                    other => {
                        drafts.extend(other);
                        self.draft()?
                    }
                };
                drafts.push(draft.append(hash, place, &record)?);
            }
        }
        let mut sealed = Vec::new();
        for draft in drafts {
            sealed.push(Arc::new(self.publish(draft)?));
        }
        self.write().replace(&plan.packs, sealed, &plan.dead);
        for pack in &plan.packs {
            for path in [self.path(pack.number), self.index_path(pack.number)] {
                step::remove(&path).map_err(io_error("remove", &path))?;
            }
        }
        Ok((gone, damaged))
    }

    fn dead_of(
        &self,
        pack: &Sealed,
        is_live: &dyn Fn(Hash) -> bool,
        dead: &mut HashSet<Hash>,
    ) -> Result<Amount, SnapshotError> {
        let mut sum = Amount::default();
        for entry in pack.index.entries() {
            let (hash, place) = entry.map_err(io_error("read", self.index_path(pack.number)))?;
            if !is_live(hash) {
                sum = sum.plus(Amount { contents: 1, bytes: HEADER as u64 + u64::from(place.stored) });
                dead.insert(hash);
            }
        }
        Ok(sum)
    }

    fn draft(&self) -> Result<Draft, SnapshotError> {
        let number = self.write().take_number();
        let path = self.path(number).with_extension("draft-pack");
        let file = step::create(&path).map_err(io_error("create", &path))?;
        step::write_at(&file, MAGIC, 0).map_err(io_error("write", &path))?;
        Ok(Draft { number, path, file, end: MAGIC.len() as u64, entries: Vec::new() })
    }

    /// Flushes a pack, gives it its name, then its index.
    fn publish(&self, draft: Draft) -> Result<Sealed, SnapshotError> {
        let path = self.path(draft.number);
        step::sync(&draft.file).map_err(io_error("flush", &draft.path))?;
        step::rename(&draft.path, &path).map_err(io_error("rename", &path))?;
        self.write_index(&self.index_path(draft.number), draft.entries, draft.end)?;
        let gone = || io_error("open", &path)(std::io::Error::from(std::io::ErrorKind::InvalidData));
        self.open_sealed(draft.number)?.ok_or_else(gone)
    }

    /// Removes what a crash left of packs that were being written.
    pub(super) fn sweep_drafts(&self) -> Result<(), SnapshotError> {
        for entry in fs::read_dir(&self.dir).map_err(io_error("list", &self.dir))? {
            let path = entry.map_err(io_error("list", &self.dir))?.path();
            let ending = path.extension().and_then(|ending| ending.to_str());
            if matches!(ending, Some("draft" | "draft-pack")) {
                step::remove(&path).map_err(io_error("remove", &path))?;
            }
        }
        Ok(())
    }
}

impl Draft {
    fn append(mut self, hash: Hash, place: Place, record: &[u8]) -> Result<Self, SnapshotError> {
        step::write_at(&self.file, record, self.end).map_err(io_error("write", &self.path))?;
        let stored = u32::try_from(record.len() - HEADER).unwrap_or(place.stored);
        self.entries.push((hash, Place { offset: self.end, stored, length: place.length }));
        self.end += record.len() as u64;
        Ok(self)
    }
}
