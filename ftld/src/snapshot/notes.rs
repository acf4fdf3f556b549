//! What is noted beside a snapshot: its ignore rules, and what could not be read.
//!
//! Owns the files beneath `rules/` and `unread/`. Must not know how a snapshot is taken.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ftl_core::id::SnapshotId;
use ftl_core::tree::RelPath;

use super::rules::{Class, Exclusion, Rules};
use super::store::LocalStore;
use super::{SnapshotError, io_error, lock, step};

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
        if self.replace(&self.rules_path(id), bytes)? {
            *lock(&self.loose_notes) = true;
        }
        Ok(())
    }

    /// Stores the rules and what could not be read beside a snapshot that was taken.
    pub(super) fn note<'a>(
        &self,
        id: SnapshotId,
        rules: &[u8],
        exclusions: impl Iterator<Item = &'a Exclusion>,
    ) -> Result<(), SnapshotError> {
        self.put_rules(id, rules)?;
        self.note_unread(id, exclusions)
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
        let path = self.unread_path(id);
        match bytes {
            None => step::remove(&path).map_err(io_error("remove", &path)),
            Some(bytes) => {
                if self.replace(&path, bytes)? {
                    *lock(&self.loose_notes) = true;
                }
                Ok(())
            }
        }
    }

    fn note_unread<'a>(
        &self,
        id: SnapshotId,
        exclusions: impl Iterator<Item = &'a Exclusion>,
    ) -> Result<(), SnapshotError> {
        let unread: Vec<&RelPath> =
            exclusions.filter(|out| out.class == Class::Unreadable).map(|out| &out.path).collect();
        if unread.is_empty() {
            let is_there = self.unread_path(id).exists();
            return if is_there { self.put_unread(id, None) } else { Ok(()) };
        }
        let bytes = serde_json::to_vec(&unread).map_err(io_error("write", self.unread_path(id)))?;
        self.put_unread(id, Some(&bytes))
    }

    /// Makes that no power cut takes the names of what was noted.
    pub(super) fn settle_notes(&self) -> Result<(), SnapshotError> {
        let mut loose = lock(&self.loose_notes);
        for dir in ["rules", "unread"].into_iter().filter(|_| *loose).map(|part| self.dir.join(part)) {
            step::sync_dir(&dir).map_err(io_error("flush", &dir))?;
        }
        *loose = false;
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
