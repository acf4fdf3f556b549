//! What is noted beside a snapshot: its ignore rules, and what could not be read.
//!
//! Owns the files beneath `rules/` and `unread/`. Must not know how a snapshot is taken.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

use ftl_core::id::SnapshotId;
use ftl_core::tree::RelPath;

use super::rules::{Edition, Rules};
use super::store::LocalStore;
use super::{SnapshotError, io_error, lock, step};

/// Snapshots of which it is known what is noted beside them.
const KNOWN: usize = 8;

/// What is known of the notes. Held while one is written or removed.
pub(super) struct Notes {
    /// Whether the name of one may not be on the disk for good.
    is_loose: bool,
    /// Written by snapshots that were taken, the last one first, one for an id.
    taken: VecDeque<Noted>,
}

#[derive(PartialEq)]
struct Noted {
    id: SnapshotId,
    rules: Edition,
    unread: BTreeSet<RelPath>,
}

impl Default for Notes {
    fn default() -> Self {
        Self { is_loose: true, taken: VecDeque::new() }
    }
}

impl Notes {
    /// Forgets what is noted beside a snapshot, because it changes.
    fn forget(&mut self, id: SnapshotId) {
        self.taken.retain(|noted| noted.id != id);
    }
}

impl LocalStore {
    /// The ignore rules that a snapshot was taken with. They decide what of a session's work is left out.
    ///
    /// # Errors
    /// When there is no such snapshot.
    pub fn rules(&self, id: SnapshotId) -> Result<Rules, SnapshotError> {
        let path = self.rules_path(id);
        Rules::from_bytes(&self.rules_bytes(id)?).map_err(io_error("read", &path))
    }

    /// The same as they are stored.
    pub(super) fn rules_bytes(&self, id: SnapshotId) -> Result<Vec<u8>, SnapshotError> {
        fs::read(self.rules_path(id)).map_err(|_| SnapshotError::Unknown { id })
    }

    /// Stores the rules of a snapshot.
    pub(super) fn put_rules(&self, id: SnapshotId, bytes: &[u8]) -> Result<(), SnapshotError> {
        self.replace_rules(&mut lock(&self.notes), id, bytes)
    }

    /// Stores the rules and what could not be read beside a snapshot that was taken. Looks no further than
    /// whether the files are there when the same was stored a moment ago.
    pub(super) fn note(
        &self,
        id: SnapshotId,
        rules: &Rules,
        unread: &BTreeSet<RelPath>,
    ) -> Result<(), SnapshotError> {
        let notes = &mut *lock(&self.notes);
        let is_same =
            |noted: &Noted| noted.id == id && noted.rules == *rules.edition() && noted.unread == *unread;
        let (rules_path, unread_path) = (self.rules_path(id), self.unread_path(id));
        let is_there = || rules_path.exists() && unread_path.exists() != unread.is_empty();
        if notes.taken.iter().any(is_same) && is_there() {
            return Ok(());
        }
        let bytes = rules.to_bytes().map_err(io_error("write", &rules_path))?;
        self.replace_rules(notes, id, &bytes)?;
        let bytes = (!unread.is_empty()).then(|| serde_json::to_vec(unread)).transpose();
        self.replace_unread(notes, id, bytes.map_err(io_error("write", &unread_path))?.as_deref())?;
        notes.taken.push_front(Noted { id, rules: rules.edition().clone(), unread: unread.clone() });
        notes.taken.truncate(KNOWN);
        Ok(())
    }

    /// What could not be read when a snapshot was taken last, and so is not known to have been gone.
    ///
    /// # Errors
    /// When that cannot be said.
    pub fn unread(&self, id: SnapshotId) -> Result<BTreeSet<RelPath>, SnapshotError> {
        let Some(bytes) = self.unread_bytes(id)? else { return Ok(BTreeSet::new()) };
        unread_from(&bytes).map_err(io_error("read", self.unread_path(id)))
    }

    /// The same as it is stored; `None` when everything could be read.
    pub(super) fn unread_bytes(&self, id: SnapshotId) -> Result<Option<Vec<u8>>, SnapshotError> {
        let path = self.unread_path(id);
        match fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some).map_err(io_error("read", &path)),
        }
    }

    /// Stores what could not be read, or that it was nothing.
    pub(super) fn put_unread(&self, id: SnapshotId, bytes: Option<&[u8]>) -> Result<(), SnapshotError> {
        self.replace_unread(&mut lock(&self.notes), id, bytes)
    }

    /// Removes the notes beside snapshots that are not to be kept.
    pub(super) fn drop_notes(&self, is_kept: &dyn Fn(SnapshotId) -> bool) -> Result<(), SnapshotError> {
        let mut notes = lock(&self.notes);
        for dir in ["rules", "unread"].map(|part| self.dir.join(part)) {
            for (id, path) in named_by_id(&dir)?.into_iter().filter(|(id, _)| !is_kept(*id)) {
                notes.forget(id);
                step::remove(&path).map_err(io_error("remove", &path))?;
            }
        }
        Ok(())
    }

    /// Makes that no power cut takes the names of what was noted.
    pub(super) fn settle_notes(&self) -> Result<(), SnapshotError> {
        let mut notes = lock(&self.notes);
        for dir in ["rules", "unread"].into_iter().filter(|_| notes.is_loose).map(|part| self.dir.join(part))
        {
            step::sync_dir(&dir).map_err(io_error("flush", &dir))?;
        }
        notes.is_loose = false;
        Ok(())
    }

    fn replace_rules(&self, notes: &mut Notes, id: SnapshotId, bytes: &[u8]) -> Result<(), SnapshotError> {
        notes.forget(id);
        notes.is_loose |= self.replace(&self.rules_path(id), bytes)?;
        Ok(())
    }

    fn replace_unread(
        &self,
        notes: &mut Notes,
        id: SnapshotId,
        bytes: Option<&[u8]>,
    ) -> Result<(), SnapshotError> {
        notes.forget(id);
        let path = self.unread_path(id);
        match bytes {
            None if path.exists() => step::remove(&path).map_err(io_error("remove", &path))?,
            None => {}
            Some(bytes) => notes.is_loose |= self.replace(&path, bytes)?,
        }
        Ok(())
    }

    fn unread_path(&self, id: SnapshotId) -> PathBuf {
        self.dir.join("unread").join(id.to_string())
    }

    fn rules_path(&self, id: SnapshotId) -> PathBuf {
        self.dir.join("rules").join(id.to_string())
    }

    /// Replaces one of the store's own files as a whole. Says whether it was another one.
    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<bool, SnapshotError> {
        if fs::read(path).is_ok_and(|known| known == bytes) {
            return Ok(false);
        }
        let fresh = self.blobs.fresh_path();
        let file = step::create(&fresh).map_err(io_error("create", &fresh))?;
        let written = step::write_at(&file, bytes, 0).and_then(|()| step::sync(&file));
        written.map_err(io_error("write", &fresh))?;
        step::rename(&fresh, path).map_err(io_error("rename", path))?;
        Ok(true)
    }
}

/// What could not be read, as it is stored.
pub(super) fn unread_from(bytes: &[u8]) -> serde_json::Result<BTreeSet<RelPath>> {
    serde_json::from_slice(bytes)
}

/// What stands in a directory under the ids of snapshots.
fn named_by_id(dir: &Path) -> Result<Vec<(SnapshotId, PathBuf)>, SnapshotError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(io_error("list", dir))? {
        let path = entry.map_err(io_error("list", dir))?.path();
        let id = path.file_name().and_then(|name| name.to_str()?.parse().ok());
        found.extend(id.map(|id| (id, path)));
    }
    Ok(found)
}
