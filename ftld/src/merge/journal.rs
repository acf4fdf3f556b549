//! The record of applications on disk.
//!
//! Owns the files `<apply>.open`, `<apply>.done` and `<apply>.undone` and when each is on the disk for good.
//! An open journal means that the project may be between two states; a done one that it is in the new.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use ftl_core::event::Bytes;
use ftl_core::id::{ApplyId, Digest, SessionId};
use ftl_core::merge::Step;
use ftl_core::tree::RelPath;
use serde::{Deserialize, Serialize};

use super::root::Identity;

/// The suffix of a journal that is being written.
const DRAFT: &str = "new";

/// Everything that is needed to take an application back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) id: ApplyId,
    pub(super) session: SessionId,
    pub(super) digest: Digest,
    pub(super) root: Bytes,
    pub(super) identity: Identity,
    pub(super) steps: Vec<Step>,
    /// Directories that were to be removed and were not empty. Known when it is done.
    pub(super) left_alone: Vec<RelPath>,
    /// The application that this one takes back.
    pub(super) undoes: Option<ApplyId>,
}

/// How far an application is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    Open,
    Done,
    Undone,
}

impl Stage {
    fn suffix(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Done => "done",
            Self::Undone => "undone",
        }
    }
}

/// Where an application's journal is in a stage.
pub(super) fn path(dir: &Path, id: &ApplyId, stage: Stage) -> PathBuf {
    dir.join(format!("{id}.{}", stage.suffix()))
}

/// Writes a journal as a whole and for good.
pub(super) fn write(dir: &Path, record: &Record, stage: Stage) -> io::Result<()> {
    let target = path(dir, &record.id, stage);
    let fresh = target.with_extension(DRAFT);
    let mut file = File::create(&fresh)?;
    serde_json::to_writer(&mut file, record)?;
    file.flush()?;
    file.sync_all()?;
    fs::rename(&fresh, &target)?;
    flush(dir)
}

/// Reads a journal; `None` when there is none in this stage.
pub(super) fn read(dir: &Path, id: &ApplyId, stage: Stage) -> io::Result<Option<Record>> {
    match fs::read(path(dir, id, stage)) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes a journal's stage for good.
pub(super) fn remove(dir: &Path, id: &ApplyId, stage: Stage) -> io::Result<()> {
    match fs::remove_file(path(dir, id, stage)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.and_then(|()| flush(dir)),
    }
}

/// Notes that an application was taken back.
pub(super) fn mark_undone(dir: &Path, id: &ApplyId) -> io::Result<()> {
    match fs::rename(path(dir, id, Stage::Done), path(dir, id, Stage::Undone)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.and_then(|()| flush(dir)),
    }
}

/// The applications in a stage, sorted.
pub(super) fn list(dir: &Path, stage: Stage) -> io::Result<Vec<ApplyId>> {
    with_suffix(dir, stage.suffix())
}

/// Removes drafts that a crash left. Nothing was done for any of them.
pub(super) fn sweep(dir: &Path) -> io::Result<()> {
    for id in with_suffix(dir, DRAFT)? {
        fs::remove_file(dir.join(format!("{id}.{DRAFT}")))?;
    }
    Ok(())
}

fn with_suffix(dir: &Path, suffix: &str) -> io::Result<Vec<ApplyId>> {
    let mut ids = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let id = name.to_str().and_then(|name| name.strip_suffix(suffix)?.strip_suffix('.')?.parse().ok());
        ids.extend(id);
    }
    ids.sort();
    Ok(ids)
}

fn flush(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
