//! After a restart: bring every session of the earlier daemon to rest.
//!
//! Owns what becomes of a session that was under way. Nothing of it runs any more afterwards, its work is
//! captured, half an application is taken back, and the reason is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use ftl_core::lifecycle::{Changes, State, Step};
use ftl_core::tree::RelPath;
use serde_json::json;

use super::Error;
use super::decide::blocking;
use super::driver::{Driver, told};
use super::layers;
use super::record::{Pending, Record};
use crate::app::Parts;
use crate::audit::Sync;

/// Why a session ended that had not begun to work.
const BEFORE_WORK: &str = "the daemon ended before the agent began";
/// Why a turn ended in the middle.
const DURING_WORK: &str = "the daemon ended while the agent worked";

/// Brings every session to rest.
///
/// # Errors
/// When the sessions cannot be read, or half an application cannot be taken back.
pub(super) async fn recover(parts: &Arc<Parts>) -> Result<(), Error> {
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
    let shared = Arc::clone(parts);
    blocking(move || {
        layers::sweep(&shared);
        Ok(())
    })
    .await?;
    for record in parts.db.records::<Record>("")? {
        let id = record.id.clone();
        if let Err(error) = sweep(parts, &record).await {
            // Somebody may still write what it would read; the next start tries again. Others go on.
            tracing::error!(session = %id, error = %told(&error), "its sandbox could not be ended");
            continue;
        }
        let settled = match record.state.is_idle() && record.pending.is_none() {
            true if record.came_with.is_empty() => continue,
            true => look_again(parts, record).await,
            false => {
                let id = record.pending.as_ref().map(Pending::journal);
                let foreign = id.and_then(|id| foreign.remove(id)).unwrap_or_default();
                settle(parts, record, &foreign).await
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
    .await
}

/// Ends what is left of a session's sandbox.
async fn sweep(parts: &Parts, record: &Record) -> Result<(), Error> {
    let Some(backend) = parts.sandboxes.get(record.spec.sandbox.as_str()) else { return Ok(()) };
    let dir = parts.home.sessions().join(record.id.as_str());
    if !record.state.is_idle() && dir.exists() {
        backend.sweep(&record.id, &dir).await?;
    }
    Ok(())
}

/// The earlier daemon may have ended after an application was taken back and before its heirs looked.
async fn look_again(parts: &Arc<Parts>, record: Record) -> Result<(), Error> {
    let mut driver = Driver::resume(Arc::clone(parts), record)?;
    if driver.has_lost_ground() { driver.look_again().await } else { Ok(()) }
}

async fn settle(parts: &Arc<Parts>, record: Record, foreign: &[RelPath]) -> Result<(), Error> {
    let mut driver = Driver::resume(Arc::clone(parts), record)?;
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
