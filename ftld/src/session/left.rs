//! What is kept of a session's applications when the session goes.
//!
//! Owns the stored form, and for how long it stays. Must not know how a session is removed. It is a list for
//! people to look at: the journals and the old contents go with the session, so nothing can be taken back.

use std::collections::BTreeSet;

use ftl_core::event::Bytes;
use ftl_core::id::{ApplyId, Digest, SessionId};
use ftl_core::tree::RelPath;
use serde::{Deserialize, Serialize};

use super::record::Record;
use super::{Error, Sessions};
use crate::db::{Db, DbError, encode};

/// How long it stays after the application, in microseconds: 400 days.
const KEPT_US: i64 = 400 * 24 * 60 * 60 * 1_000_000;
/// Paths of one application that are kept, at most.
const MOST: usize = 1000;
/// What a stored one is called when it cannot be read.
const WHAT: &str = "application of a removed session";

/// An application whose session is gone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Left {
    /// Its id.
    pub apply: ApplyId,
    /// Session it came from.
    pub session: SessionId,
    /// The project's root, absolute.
    pub project: Bytes,
    /// When it began, microseconds since the Unix epoch.
    pub time_us: i64,
    /// Digest that was approved.
    pub digest: Digest,
    /// The first paths that were written or deleted, sorted.
    pub paths: Vec<RelPath>,
    /// How many in all.
    pub paths_total: u64,
    /// Whether it was taken back.
    pub undone: bool,
    /// Who approved it; empty when that is not known.
    pub by: String,
}

/// Keeps what is left of a session that goes; for good with the next flush.
///
/// # Errors
/// When it cannot be stored.
pub(super) fn keep(db: &Db, record: &Record) -> Result<(), DbError> {
    for apply in &record.applies {
        let paths: BTreeSet<&RelPath> = apply.steps.iter().map(|step| &step.path).collect();
        let left = Left {
            apply: apply.id.clone(),
            session: record.id.clone(),
            project: record.project.root.clone(),
            time_us: apply.time_us,
            digest: apply.digest,
            paths_total: u64::try_from(paths.len()).unwrap_or(u64::MAX),
            paths: paths.into_iter().take(MOST).cloned().collect(),
            undone: apply.undone,
            by: apply.by.clone(),
        };
        db.leave(left.time_us, apply.id.as_str(), &encode(&left, WHAT)?)?;
    }
    Ok(())
}

/// Forgets what is older than it is kept.
///
/// # Errors
/// When it may still be there.
pub(super) fn forget_old(db: &Db, now_us: i64) -> Result<(), DbError> {
    db.forget_left(now_us.saturating_sub(KEPT_US))
}

impl Sessions {
    /// What is left of removed sessions, oldest first: of all of them, or of those whose id begins so.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn left_of(&self, prefix: &str) -> Result<Vec<Left>, Error> {
        let mut all: Vec<Left> = self.parts().db.left(WHAT)?;
        all.retain(|left| left.session.as_str().starts_with(prefix));
        Ok(all)
    }

    /// Why nothing that was applied to a project can be taken back: who applied may have been removed.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn nothing_to_undo(&self, project: &[u8]) -> Result<Error, Error> {
        let last = self.left_of("")?.into_iter().rfind(|left| left.project.0 == project && !left.undone);
        Ok(last.map_or(Error::NothingToUndo, |left| Error::RemovedSession { session: left.session }))
    }

    /// Why no session has this id or prefix: it may have been removed.
    pub(super) fn no_session(&self, text: &str) -> Error {
        // What is left is of no use when it cannot be read.
        let left = self.left_of(text).unwrap_or_default();
        let mut fitting: BTreeSet<SessionId> = left.into_iter().map(|left| left.session).collect();
        match (fitting.pop_first(), fitting.is_empty()) {
            (Some(session), true) => Error::RemovedSession { session },
            _ => Error::NoSuchSession { text: text.chars().take(80).collect() },
        }
    }
}
