//! What was applied, as people ask for it.
//!
//! Owns the list over sessions. A session that was removed takes its part of it along; the audit log keeps
//! what happened.

use std::collections::BTreeSet;

use ftl_core::id::{ApplyId, Digest, SessionId};
use ftl_core::tree::RelPath;

use super::record::{Apply, Record};
use super::{Error, Sessions};

/// Something that was applied.
#[derive(Clone, Debug)]
pub struct Application {
    /// Its id.
    pub apply: ApplyId,
    /// Session it came from.
    pub session: SessionId,
    /// Microseconds since the Unix epoch.
    pub time_us: i64,
    /// Digest that was approved.
    pub digest: Digest,
    /// Paths that were written or deleted, sorted.
    pub paths: Vec<RelPath>,
    /// Whether it was taken back.
    pub undone: bool,
    /// Who approved it; empty when that is not known.
    pub by: String,
}

impl Sessions {
    /// What was applied from a session, newest first.
    ///
    /// # Errors
    /// When there is no such session.
    pub fn applied_from(&self, session: &SessionId) -> Result<Vec<Application>, Error> {
        Ok(listed([self.get(session)?]))
    }

    /// What was applied to a project, newest first; to any for an empty one.
    ///
    /// # Errors
    /// When the sessions cannot be read.
    pub fn applied_to(&self, project: &[u8]) -> Result<Vec<Application>, Error> {
        Ok(listed(self.list(project)?))
    }
}

fn listed(records: impl IntoIterator<Item = Record>) -> Vec<Application> {
    let of = |record: Record| {
        let session = record.id;
        record.applies.into_iter().map(move |apply| application(&session, apply))
    };
    let mut all: Vec<Application> = records.into_iter().flat_map(of).collect();
    all.sort_by(|one, other| (other.time_us, &other.apply).cmp(&(one.time_us, &one.apply)));
    all
}

fn application(session: &SessionId, apply: Apply) -> Application {
    let paths: BTreeSet<RelPath> = apply.steps.into_iter().map(|step| step.path).collect();
    Application {
        apply: apply.id,
        session: session.clone(),
        time_us: apply.time_us,
        digest: apply.digest,
        paths: paths.into_iter().collect(),
        undone: apply.undone,
        by: apply.by,
    }
}
