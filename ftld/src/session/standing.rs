//! What was applied and still stands, as a session sees it.
//!
//! Owns which applications the work is compared with: a session's own, and those that its origin had made
//! when it branched off. The origin may take them back at any time, so that is asked of the journals whenever
//! the work is looked at. Must not know how something is applied or taken back.

use std::collections::BTreeSet;

use ftl_core::id::{ApplyId, SessionId};
use ftl_core::landed::Landed;
use ftl_core::lifecycle::{Changes, State, Step};

use super::checkpoint::changes;
use super::driver::{Driver, told};
use super::record::{Apply, Record};
use super::{Command, Error, Sessions};
use crate::app::Parts;

/// Why a session stands elsewhere although nothing was done in it.
const TAKEN_BACK: &str = "what it came with was taken back by the session that had applied it";

/// The applications that the work is compared with, oldest first.
///
/// # Errors
/// When the journals cannot be read.
pub(super) fn standing(parts: &Parts, record: &Record) -> Result<Vec<Apply>, Error> {
    let mut standing = Vec::new();
    for apply in &record.came_with {
        if !parts.merge.was_undone(&apply.id)? {
            standing.push(apply.clone());
        }
    }
    standing.extend(record.applies.iter().filter(|apply| !apply.undone).cloned());
    Ok(standing)
}

/// What stands at the paths that those applications changed, without the human's own edits.
///
/// # Errors
/// Those of [`standing`].
pub(super) fn landed(parts: &Parts, record: &Record) -> Result<Landed, Error> {
    let mut landed = Landed::new();
    for apply in standing(parts, record)? {
        landed.extend(apply.steps.into_iter().map(|step| (step.path, step.after)));
        landed.extend(apply.took);
    }
    Ok(landed)
}

impl Driver {
    /// Looks again at what is left to review, when an application that the session came with was taken back.
    pub(super) async fn look_again(&mut self) -> Result<(), Error> {
        let state = self.record.state;
        // The end of a turn or of an application looks by itself.
        if !state.is_idle() || self.record.base.is_none() {
            return Ok(());
        }
        let reviewed = self.reviewed(&self.record).await?;
        let digest = reviewed.review.digest();
        if digest == self.record.digest {
            return Ok(());
        }
        self.record.digest = digest;
        match state {
            State::AwaitingReview | State::NoChanges | State::Merged => {
                let step = Step::Rewound { changes: changes(&reviewed) };
                self.enter(step, TAKEN_BACK.to_owned(), vec![]).await
            }
            // What was rejected stays so, and what failed.
            _ => self.keep(vec![]).await,
        }
    }

    /// Whether an application that the session came with was taken back.
    pub(super) fn has_lost_ground(&self) -> bool {
        // What cannot be told is looked at.
        self.record.came_with.iter().any(|apply| self.parts.merge.was_undone(&apply.id).unwrap_or(true))
    }

    /// Whether earlier work waits when a turn comes to nothing. What the session came with may have been taken
    /// back meanwhile: a busy session is not told.
    pub(super) async fn still_waits(&mut self) -> Changes {
        if self.has_lost_ground() {
            match self.reviewed(&self.record).await {
                Ok(reviewed) => {
                    self.record.digest = reviewed.review.digest();
                    return changes(&reviewed);
                }
                Err(error) => {
                    tracing::warn!(session = %self.record.id, error = %told(&error), "could not look again");
                }
            }
        }
        if self.record.digest.is_some() { Changes::Some } else { Changes::None }
    }
}

impl Sessions {
    /// Lets every session look again that came with something that a session has taken back, also when its
    /// record could not be brought to say so.
    pub(super) async fn tell_heirs(&self, origin: &SessionId) {
        let read = || Ok::<_, Error>((self.get(origin)?, self.parts.db.records::<Record>("")?));
        let (origin, records) = match read() {
            Ok(read) => read,
            Err(error) => {
                let error = told(&error);
                tracing::warn!(%error, "sessions that came with an application cannot be told");
                return;
            }
        };
        let is_gone = |apply: &ApplyId| self.parts.merge.was_undone(apply).unwrap_or(true);
        let gone: BTreeSet<ApplyId> =
            origin.applies.into_iter().map(|apply| apply.id).filter(is_gone).collect();
        let came_with = |record: &Record| record.came_with.iter().any(|of| gone.contains(&of.id));
        for id in records.into_iter().filter(came_with).map(|record| record.id) {
            match self.ask(&id, |reply| Command::LookAgain { reply }).await {
                // A busy one looks when its turn ends.
                Ok(()) | Err(Error::Refused(_)) => {}
                Err(error) => tracing::warn!(session = %id, error = %told(&error), "could not look again"),
            }
        }
    }
}
