//! The record of applications on disk.
//!
//! Owns the files `<apply>.open`, `<apply>.done` and `<apply>.undone` and when each is on the disk for good.
//! An open journal means that the project may be between two states; a done one that it is in the new, and
//! then an open one beside it means nothing. Nothing that failed is left to be seen: a journal that could not
//! be written for good is removed, and an open one that cannot be removed is emptied.

use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use ftl_core::event::Bytes;
use ftl_core::id::{ApplyId, Digest, SessionId};
use ftl_core::merge::Step;
use ftl_core::tree::RelPath;
use serde::{Deserialize, Serialize};

use super::MergeError;
use super::attributes::Kept;
use super::root::Identity;

/// The suffix of a journal that is being written.
const DRAFT: &str = "new";
/// What stands before the project in a journal.
const IDENTITY: &[u8] = b"\"identity\":";

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
    /// What nodes that a step takes away have beside content and mode, sorted by path, directories before files.
    #[serde(default)]
    pub(super) kept: Vec<Kept>,
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

/// Something that is asked of the file system for a journal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Call {
    /// A draft is made.
    Create(Stage),
    /// A draft is written.
    Write(Stage),
    /// A draft is flushed.
    Flush(Stage),
    /// A draft gets its name.
    Name(Stage),
    /// The directory is flushed.
    FlushDir,
    /// A journal is removed.
    Remove(Stage),
    /// An open journal is emptied.
    Empty,
    /// The journal of what was taken back is renamed.
    Undone,
}

/// Asked before every [`Call`]; an error is that call's.
pub(super) type Fault = dyn Fn(Call) -> io::Result<()> + Send + Sync;

/// The directory of all journals.
pub(super) struct Journals {
    dir: PathBuf,
    fault: Box<Fault>,
}

impl Journals {
    pub(super) fn new(dir: &Path, fault: Box<Fault>) -> Self {
        Self { dir: dir.to_owned(), fault }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where an application's journal is in a stage.
    fn path(&self, id: &ApplyId, stage: Stage) -> PathBuf {
        self.dir.join(format!("{id}.{}", stage.suffix()))
    }

    /// Writes a journal as a whole and for good. After an error there is none.
    pub(super) fn write(&self, record: &Record, stage: Stage) -> io::Result<()> {
        let draft = self.dir.join(format!("{}.{DRAFT}", record.id));
        let placed = self.place(record, stage, &draft);
        if placed.is_err() {
            // The next start removes it otherwise.
            let _ = fs::remove_file(&draft);
        }
        let Err(error) = placed.and_then(|()| self.flush()) else { return Ok(()) };
        if matches!(self.is(&record.id, stage), Ok(false)) {
            return Err(error);
        }
        match self.remove(&record.id, stage) {
            // It can be seen, and so it counts.
            Err(removing) if stage != Stage::Open => {
                tracing::warn!(apply = %record.id, %error, %removing, "a journal may not survive a power cut");
                Ok(())
            }
            _ => Err(error),
        }
    }

    /// Writes a draft and gives it a stage's name.
    fn place(&self, record: &Record, stage: Stage, draft: &Path) -> io::Result<()> {
        (self.fault)(Call::Create(stage))?;
        let mut writer = BufWriter::new(File::create(draft)?);
        (self.fault)(Call::Write(stage))?;
        serde_json::to_writer(&mut writer, record)?;
        let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        (self.fault)(Call::Flush(stage))?;
        file.sync_all()?;
        (self.fault)(Call::Name(stage))?;
        fs::rename(draft, self.path(&record.id, stage))
    }

    /// Reads a journal; `None` when there is none in this stage.
    pub(super) fn read(&self, id: &ApplyId, stage: Stage) -> io::Result<Option<Record>> {
        match fs::read(self.path(id, stage)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Which project an open journal says it is of, also when it cannot be read to its end.
    pub(super) fn project_of(&self, id: &ApplyId) -> Option<Identity> {
        let bytes = fs::read(self.path(id, Stage::Open)).ok()?;
        let at = bytes.windows(IDENTITY.len()).position(|window| window == IDENTITY)? + IDENTITY.len();
        serde_json::Deserializer::from_slice(&bytes[at..]).into_iter().next()?.ok()
    }

    /// What is wrong with an open journal that could not be read, with its name.
    pub(super) fn unreadable(&self, id: &ApplyId, source: io::Error) -> MergeError {
        MergeError::Unreadable { path: self.path(id, Stage::Open), source }
    }

    /// Whether a journal is in a stage.
    pub(super) fn is(&self, id: &ApplyId, stage: Stage) -> io::Result<bool> {
        self.path(id, stage).try_exists()
    }

    /// Whether an application took place, no matter what became of it later.
    pub(super) fn is_decided(&self, id: &ApplyId) -> io::Result<bool> {
        Ok(self.is(id, Stage::Done)? || self.is(id, Stage::Undone)?)
    }

    /// Whether an application began and neither took place nor is put back.
    pub(super) fn is_open(&self, id: &ApplyId) -> io::Result<bool> {
        match self.path(id, Stage::Open).metadata() {
            Ok(meta) => Ok(meta.len() > 0 && !self.is_decided(id)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The applications that began and neither took place nor are put back, sorted.
    pub(super) fn open(&self) -> io::Result<Vec<ApplyId>> {
        let mut open = Vec::new();
        for id in self.list(Stage::Open)? {
            if self.is_open(&id)? {
                open.push(id);
            }
        }
        Ok(open)
    }

    /// Removes a journal's stage. After an error it is there still; without one, it is gone for good unless the
    /// power fails.
    pub(super) fn remove(&self, id: &ApplyId, stage: Stage) -> io::Result<()> {
        let path = self.path(id, stage);
        let removed = (self.fault)(Call::Remove(stage)).and_then(|()| fs::remove_file(&path));
        match removed {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            // An empty one tells of nothing to be taken back.
            Err(error) if stage == Stage::Open => self.empty(&path).map_err(|_| error)?,
            Err(error) => return Err(error),
        }
        if let Err(error) = self.flush() {
            tracing::warn!(apply = %id, %error, "a journal that was removed may come back after a power cut");
        }
        Ok(())
    }

    fn empty(&self, path: &Path) -> io::Result<()> {
        (self.fault)(Call::Empty)?;
        let file = File::options().write(true).open(path)?;
        file.set_len(0)?;
        file.sync_all()
    }

    /// Notes that an application was taken back.
    pub(super) fn mark_undone(&self, id: &ApplyId) -> io::Result<()> {
        let (from, to) = (self.path(id, Stage::Done), self.path(id, Stage::Undone));
        match (self.fault)(Call::Undone).and_then(|()| fs::rename(from, to)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        }
        if let Err(error) = self.flush() {
            tracing::warn!(apply = %id, %error, "that it was taken back may be forgotten after a power cut");
        }
        Ok(())
    }

    /// Does what is left to do for an application that took place: its open journal goes, and what it took back
    /// is marked so.
    pub(super) fn finish(&self, id: &ApplyId) -> io::Result<()> {
        self.remove(id, Stage::Open)?;
        match self.read(id, Stage::Done)?.and_then(|record| record.undoes) {
            Some(undone) => self.mark_undone(&undone),
            None => Ok(()),
        }
    }

    /// Removes all that is known of an application that is over. The order matters: an open journal alone would
    /// be taken back.
    pub(super) fn forget(&self, id: &ApplyId) -> io::Result<()> {
        if self.is_decided(id)? {
            self.finish(id)?;
        }
        self.remove(id, Stage::Done)?;
        self.remove(id, Stage::Undone)
    }

    /// The applications in a stage, sorted.
    pub(super) fn list(&self, stage: Stage) -> io::Result<Vec<ApplyId>> {
        self.with_suffix(stage.suffix())
    }

    /// Removes drafts that a crash left, and open journals that were emptied. Nothing is to be done for any.
    pub(super) fn sweep(&self) -> io::Result<()> {
        for id in self.with_suffix(DRAFT)? {
            fs::remove_file(self.dir.join(format!("{id}.{DRAFT}")))?;
        }
        for id in self.list(Stage::Open)? {
            if self.path(&id, Stage::Open).metadata()?.len() == 0 {
                self.remove(&id, Stage::Open)?;
            }
        }
        Ok(())
    }

    fn with_suffix(&self, suffix: &str) -> io::Result<Vec<ApplyId>> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let name = entry?.file_name();
            let id =
                name.to_str().and_then(|name| name.strip_suffix(suffix)?.strip_suffix('.')?.parse().ok());
            ids.extend(id);
        }
        ids.sort();
        Ok(ids)
    }

    fn flush(&self) -> io::Result<()> {
        (self.fault)(Call::FlushDir)?;
        File::open(&self.dir)?.sync_all()
    }
}
