//! What was applied, as people ask for it.
//!
//! Owns the list over sessions, those that were removed included.

use std::collections::BTreeSet;

use ftl_core::id::{ApplyId, Digest, SessionId};
use ftl_core::tree::RelPath;

use super::left::Left;
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
    /// Paths that were written or deleted, sorted; of a removed session the first of them.
    pub paths: Vec<RelPath>,
    /// How many in all.
    pub paths_total: u64,
    /// Whether it was taken back.
    pub undone: bool,
    /// Who approved it; empty when that is not known.
    pub by: String,
    /// Whether its session was removed, so that it cannot be taken back.
    pub removed: bool,
}

impl Sessions {
    /// What was applied from a session, newest first. The session may be removed; it is named as for
    /// [`Sessions::resolve`].
    ///
    /// # Errors
    /// When there is no such session and never was, or it cannot be read.
    pub fn applied_from(&self, text: &str) -> Result<Vec<Application>, Error> {
        match self.resolve(text, b"") {
            Ok(session) => Ok(listed([self.get(&session)?], Vec::new())),
            Err(Error::RemovedSession { session }) => Ok(listed([], self.left_of(session.as_str())?)),
            Err(error) => Err(error),
        }
    }

    /// What was applied to a project, newest first; to any for an empty one.
    ///
    /// # Errors
    /// When the sessions cannot be read.
    pub fn applied_to(&self, project: &[u8]) -> Result<Vec<Application>, Error> {
        let mut left = self.left_of("")?;
        left.retain(|left| project.is_empty() || left.project.0 == project);
        Ok(listed(self.list(project)?, left))
    }
}

fn listed(records: impl IntoIterator<Item = Record>, left: Vec<Left>) -> Vec<Application> {
    let of = |record: Record| {
        let session = record.id;
        record.applies.into_iter().map(move |apply| application(&session, apply))
    };
    let mut all: Vec<Application> = records.into_iter().flat_map(of).collect();
    // A removal that a crash has cut short left both.
    let known: BTreeSet<ApplyId> = all.iter().map(|one| one.apply.clone()).collect();
    all.extend(left.into_iter().filter(|left| !known.contains(&left.apply)).map(of_removed));
    all.sort_by(|one, other| (other.time_us, &other.apply).cmp(&(one.time_us, &one.apply)));
    all
}

fn of_removed(left: Left) -> Application {
    let Left { apply, session, project: _, time_us, digest, paths, paths_total, undone, by } = left;
    Application { apply, session, time_us, digest, paths, paths_total, undone, by, removed: true }
}

fn application(session: &SessionId, apply: Apply) -> Application {
    let paths: BTreeSet<RelPath> = apply.steps.into_iter().map(|step| step.path).collect();
    Application {
        apply: apply.id,
        session: session.clone(),
        time_us: apply.time_us,
        digest: apply.digest,
        paths_total: u64::try_from(paths.len()).unwrap_or(u64::MAX),
        paths: paths.into_iter().collect(),
        undone: apply.undone,
        by: apply.by,
        removed: false,
    }
}
