//! After a restart: bring every session of the earlier daemon to rest.
//!
//! Owns what becomes of a session that was under way. Nothing of it runs any more afterwards, its work is
//! captured, half an application is taken back, and the reason is told. A session whose sandbox could not be ended,
//! or whose work could not be had, is asked again beside everything else until it is at rest.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ftl_core::id::SessionId;
use ftl_core::lifecycle::{Changes, Request, State, Step};
use ftl_core::tree::RelPath;
use serde_json::json;

use super::decide::blocking;
use super::driver::{Driver, told};
use super::record::{Pending, Record};
use super::{Command, Error, Sessions, layers, model_call};
use crate::app::Parts;
use crate::audit::Sync;
use crate::snapshot;

/// Why a session ended that had not begun to work.
const BEFORE_WORK: &str = "the daemon ended before the agent began";
/// Why a turn ended in the middle.
const DURING_WORK: &str = "the daemon ended while the agent worked";

/// How long it is waited before a session that is not at rest is asked again, at first and at most.
const PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A session that could not be brought to rest.
#[derive(Clone)]
pub(super) struct Unsettled {
    pub(super) id: SessionId,
    /// Paths of the project that are neither as before its application nor as after.
    foreign: Vec<RelPath>,
}

/// Brings every session to rest, but for those that it gives.
///
/// # Errors
/// When the sessions cannot be read, or half an application cannot be taken back.
pub(super) async fn recover(parts: &Arc<Parts>) -> Result<Vec<Unsettled>, Error> {
    let journals = Arc::clone(parts);
    let recovered = blocking(move || Ok(journals.merge.recover(&*journals.store)?)).await?;
    let mut foreign = BTreeMap::new();
    for one in recovered {
        for path in &one.foreign {
            tracing::warn!(apply = %one.id, %path, "left alone: it is neither as before the application nor as after");
        }
        if let Some(error) = &one.failed {
            tracing::error!(apply = %one.id, error = %told(error), "half an application could not be taken back");
        }
        foreign.insert(one.id, one.foreign);
    }
    sweep_dirs(parts).await?;
    model_call::close_lost(parts).await?;
    let mut unsettled = Vec::new();
    for record in parts.db.records::<Record>("")? {
        let id = record.id.clone();
        let mut foreign = || {
            let journal = record.pending.as_ref().map(Pending::journal);
            journal.and_then(|id| foreign.remove(id)).unwrap_or_default()
        };
        if let Err(error) = sweep(parts, &record).await {
            // Somebody may still write what it would read. Others go on.
            tracing::error!(session = %id, error = %told(&error), "its sandbox could not be ended; it is asked again");
            unsettled.push(Unsettled { id, foreign: foreign() });
            continue;
        }
        let settled = match record.state.is_idle() && record.pending.is_none() {
            true if record.came_with.is_empty() => continue,
            true => look_again(parts, record).await,
            false => {
                let foreign = foreign();
                match Driver::resume(Arc::clone(parts), record) {
                    Ok(mut driver) => settle(&mut driver, &foreign).await,
                    Err(error) => Err(error),
                }
            }
        };
        if let Err(error) = settled {
            tracing::error!(session = %id, error = %told(&error), "could not be brought to rest");
        }
    }
    let parts = Arc::clone(parts);
    blocking(move || {
        // What a session that could not be brought to rest still needs is named by its record.
        let records = parts.db.records::<Record>("")?;
        Ok(parts.merge.forget_all_but(&records.iter().flat_map(Record::journals).collect())?)
    })
    .await?;
    Ok(unsettled)
}

/// Brings to rest, as soon as that can be done, what could not be at the daemon's start.
pub async fn keep_trying(sessions: Arc<Sessions>) {
    let mut pause = PAUSE;
    loop {
        let waiting = sessions.lock().unsettled.clone();
        if waiting.is_empty() {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        for Unsettled { id, foreign } in waiting {
            match sessions.ask(&id, |reply| Command::Settle { foreign, reply }).await {
                Ok(()) | Err(Error::NoSuchSession { .. }) => {
                    sessions.lock().unsettled.retain(|one| one.id != id);
                }
                Err(error) => {
                    tracing::debug!(session = %id, error = %told(&error), "it is not at rest yet");
                }
            }
        }
    }
}

impl Driver {
    /// Brings the session of an earlier daemon to rest, if it is not.
    pub(super) async fn settle_late(&mut self, foreign: &[RelPath]) -> Result<(), Error> {
        if self.record.state.is_idle() && self.record.pending.is_none() {
            return Ok(());
        }
        sweep(&self.parts, &self.record).await?;
        settle(self, foreign).await
    }

    /// Waits no longer for an engine that has the work of a session in which nothing runs here.
    pub(super) async fn stop_waiting(&mut self) -> Result<Record, Error> {
        self.may(Request::Stop)?;
        let dir = self.parts.home.sessions().join(self.record.id.as_str());
        match sweep(&self.parts, &self.record).await {
            Ok(()) => settle(self, &[]).await?,
            // What may still be written there is not what lies here.
            Err(error) if is_away(&self.parts, &self.record, &dir) => {
                let work = self.still_waits().await;
                self.enter(Step::Failed { work }, told(&error), vec![]).await?;
            }
            Err(error) => return Err(error),
        }
        Ok(self.record.clone())
    }
}

fn is_away(parts: &Parts, record: &Record, dir: &Path) -> bool {
    parts.sandboxes.get(record.spec.sandbox.as_str()).is_some_and(|backend| backend.holds_work(dir))
}

/// Removes what no session names.
async fn sweep_dirs(parts: &Arc<Parts>) -> Result<(), Error> {
    let shared = Arc::clone(parts);
    let stuck = blocking(move || Ok(layers::sweep(&shared))).await?;
    for dir in stuck {
        // An engine's user may have left something there that only the engine can remove.
        for backend in parts.sandboxes.values() {
            if let Err(error) = backend.clear(&dir).await {
                tracing::debug!(dir = %dir.display(), %error, "not cleared");
            }
        }
        let removed = blocking(move || {
            snapshot::remove_tree(&dir).map_err(|source| Error::Write { path: dir, source })
        });
        if let Err(error) = removed.await {
            tracing::warn!(error = %told(&error), "what is left of a session could not be removed");
        }
    }
    Ok(())
}

/// Ends what is left of a session's sandbox, and has its work here.
async fn sweep(parts: &Parts, record: &Record) -> Result<(), Error> {
    let Some(backend) = parts.sandboxes.get(record.spec.sandbox.as_str()) else { return Ok(()) };
    let dir = parts.home.sessions().join(record.id.as_str());
    if !record.state.is_idle() && dir.exists() {
        backend.sweep(&record.id, &dir).await?;
        backend.bring_home(&record.id, &dir).await?;
    }
    Ok(())
}

/// The earlier daemon may have ended after an application was taken back and before its heirs looked.
async fn look_again(parts: &Arc<Parts>, record: Record) -> Result<(), Error> {
    let mut driver = Driver::resume(Arc::clone(parts), record)?;
    if driver.has_lost_ground() { driver.look_again().await } else { Ok(()) }
}

async fn settle(driver: &mut Driver, foreign: &[RelPath]) -> Result<(), Error> {
    let state = driver.record.state;
    driver.audit("recovered", json!({ "state": state }), Sync::Kernel).await?;
    if driver.record.pending.is_some() {
        driver.settle(foreign).await?;
    }
    if driver.record.state.is_idle() {
        return Ok(());
    }
    // An application that is not put back may be pending beside a turn.
    let captured = match state {
        State::Starting if driver.record.work.is_some() => {
            let work = driver.still_waits().await;
            driver.enter(Step::Failed { work }, BEFORE_WORK.into(), vec![]).await
        }
        State::Created | State::Snapshotting | State::Starting => {
            driver.enter(Step::Failed { work: Changes::None }, BEFORE_WORK.into(), vec![]).await
        }
        State::Working => driver.capture_interrupted(DURING_WORK).await,
        State::Capturing => {
            // The step into capturing is taken already; the stored state goes back one for it.
            driver.record.state = State::Working;
            driver.capture_interrupted(DURING_WORK).await
        }
        State::Applying => driver.enter(Step::ApplyFailed, DURING_WORK.into(), vec![]).await,
        State::AwaitingReview | State::NoChanges | State::Merged | State::Rejected | State::Failed => Ok(()),
    };
    if let Err(error) = captured {
        let work = driver.still_waits().await;
        driver.enter(Step::Failed { work }, told(&error), vec![]).await?;
    }
    Ok(())
}
