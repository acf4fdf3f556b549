//! What of the store sessions need, and what a human or the retention lets go.
//!
//! Owns the translation of records into what the store must keep: bases, captured work, what undoing takes
//! back; and what goes without being asked for: old snapshots, sessions that ended long ago, what was seen of
//! projects that are gone. Each of these removals is recorded first. What goes is decided by
//! [`ftl_core::retention`]; how, by the store and by each session's own task. Runs beside sessions.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ftl_core::config::StoreConfig;
use ftl_core::event::Bytes;
use ftl_core::id::{Hash, SnapshotId};
use ftl_core::merge::Step;
use ftl_core::retention::{self, Held, Listed, Policy};
use ftl_core::tree::Node;
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::decide::blocking;
use super::driver::told;
use super::record::{Pending, Record};
use super::{Error, Keeps, Sessions, captured, driver};
use crate::app::Parts;
use crate::audit::{Entry, Sync};
use crate::db::SnapshotRow;
use crate::snapshot::{Checked, Collected, Needed};

/// What a human asks to be removed.
#[derive(Clone, Debug)]
pub struct Cleaning {
    /// Which snapshots.
    pub policy: Policy,
    /// Only of this project; empty means all.
    pub project: Vec<u8>,
    /// Only say what would go.
    pub dry_run: bool,
}

/// What went, or would go.
#[derive(Clone, Default, Debug)]
pub struct Cleaned {
    /// Snapshots, oldest first.
    pub snapshots: Vec<SnapshotRow>,
    /// Snapshots that the policy names and sessions need.
    pub needed: u64,
    /// What the store gave back.
    pub collected: Collected,
}

/// How long a daemon has run when it first looks for what may go, and how often it looks then.
const EVERY: Duration = Duration::from_secs(3600);
/// Looks after which everything is marked even when no snapshot goes: removed sessions leave contents.
const WHOLE: u32 = 24;
/// Of what may go, the part that goes at once when the store is too large.
const PART: usize = 4;

/// Removes snapshots that nothing needs, and what only they had.
///
/// # Errors
/// When sessions cannot be read, the step cannot be recorded, or the store not be written.
pub fn clean(parts: &Parts, cleaning: &Cleaning) -> Result<Cleaned, Error> {
    if !cleaning.dry_run {
        let detail = json!({ "policy": format!("{:?}", cleaning.policy) });
        let project = (!cleaning.project.is_empty()).then(|| cleaning.project.as_slice().into());
        audit(parts, "clean_begun", project, detail)?;
    }
    let now_us = parts.clock.now_us();
    let indexed = cleaning.policy != Policy::All;
    let how = match cleaning.dry_run {
        true => How::Survey,
        false => How::Asked,
    };
    remove(parts, how, indexed, &mut |rows, needed| {
        let of_project = |row: &Listed| cleaning.project.is_empty() || row.project == cleaning.project;
        let asked = retention::to_drop(rows, cleaning.policy, &BTreeSet::new(), now_us);
        asked
            .into_iter()
            .filter(|at| rows.get(*at).is_some_and(of_project))
            .partition(|at| rows.get(*at).is_some_and(|row| !needed.contains(&row.id)))
    })
}

/// Reads the whole store again. `progress` is told how many of how many bytes are done.
///
/// # Errors
/// When it cannot be read at all.
pub fn verify(parts: &Parts, progress: &mut dyn FnMut(u64, u64)) -> Result<Checked, Error> {
    let mut needed = of_sessions(parts)?;
    needed.snapshots.extend(parts.db.snapshots("")?.into_iter().map(|row| row.snapshot));
    Ok(parts.store.verify(&needed, progress)?)
}

/// Applies the human's retention now and then, for as long as the daemon runs.
pub async fn keep_small(sessions: Arc<Sessions>) {
    let mut ticks = interval_at(Instant::now() + EVERY, EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looks = 0;
    loop {
        ticks.tick().await;
        looks += 1;
        if let Err(error) = look(&sessions, looks % WHOLE == 1).await {
            tracing::warn!(error = %told(&error), "what is old could not be removed");
        }
    }
}

/// Looks once for what may go. `whole` also looks for what nobody needs although no snapshot went.
///
/// # Errors
/// Those of [`forget_over`] and [`retain`].
async fn look(sessions: &Sessions, whole: bool) -> Result<(), Error> {
    let parts = Arc::clone(sessions.parts());
    let config = crate::config::user(parts.home.root())?.store;
    let gone = forget_over(sessions, &config).await?;
    super::left::forget_old(&parts.db, parts.clock.now_us())?;
    blocking(move || {
        if whole && let Err(error) = forget_histories(&parts) {
            tracing::warn!(error = %told(&error), "histories of projects that are gone could not be removed");
        }
        retain(&parts, &config, whole || gone > 0).map(drop)
    })
    .await
}

/// Forgets the sessions that ended long enough ago, with their layers, checkpoints and homes. Those whose work
/// waits for a human, or was never read, stay. Says how many went.
///
/// # Errors
/// When sessions cannot be read, or a removal cannot be recorded.
pub async fn forget_over(sessions: &Sessions, config: &StoreConfig) -> Result<usize, Error> {
    let (now_us, kept_us) = (sessions.parts().clock.now_us(), config.ended_us());
    let mut gone = 0;
    for record in sessions.list(b"")? {
        if !retention::is_over(record.state, record.updated_us, kept_us, now_us) {
            continue;
        }
        match sessions.remove_over(&record.id, now_us.saturating_sub(kept_us)).await {
            Ok(()) => gone += 1,
            // It holds something all the same, or someone was quicker.
            Err(Error::Refused(_) | Error::NoSuchSession { .. } | Error::Gone { .. }) => {}
            Err(error @ Error::Audit(_)) => return Err(error),
            // One that cannot go keeps nothing else.
            Err(error) => tracing::warn!(session = %record.id, error = %told(&error), "could not be removed"),
        }
    }
    Ok(gone + make_room(sessions, config).await?)
}

/// Forgets the sessions that ended longest ago until the rest have no more on disk than they may. Says how many went.
async fn make_room(sessions: &Sessions, config: &StoreConfig) -> Result<usize, Error> {
    let Some(budget) = config.max_sessions_mb.map(|most| most.saturating_mul(1024 * 1024)) else {
        return Ok(0);
    };
    let records = sessions.list(b"")?;
    let mut held = Vec::new();
    for record in &records {
        let Keeps { home, workspace, temporary, warm: _ } = sessions.keeps(record).await?;
        let bytes = home.saturating_add(workspace).saturating_add(temporary);
        held.push(Held { updated_us: record.updated_us, bytes, has_ended: record.state.has_ended() });
    }
    let mut gone = 0;
    for record in retention::to_make_room(&held, budget).into_iter().filter_map(|at| records.get(at)) {
        match sessions.remove_over(&record.id, record.updated_us.saturating_add(1)).await {
            Ok(()) => gone += 1,
            Err(Error::Refused(_) | Error::NoSuchSession { .. } | Error::Gone { .. }) => {}
            Err(error @ Error::Audit(_)) => return Err(error),
            Err(error) => tracing::warn!(session = %record.id, error = %told(&error), "could not be removed"),
        }
    }
    Ok(gone)
}

/// Removes what was read of the histories of projects that are gone and have no session any more.
///
/// # Errors
/// When sessions cannot be read, or a removal cannot be recorded or done.
pub fn forget_histories(parts: &Parts) -> Result<(), Error> {
    let records = parts.db.records::<Record>("")?;
    let used: BTreeSet<_> = records.iter().map(|record| driver::root(&record.project.root)).collect();
    for project in parts.history.orphans(&used)? {
        let root = project.as_os_str().as_encoded_bytes().into();
        audit(parts, "history_removed", Some(root), json!({ "retention": true }))?;
        parts.history.forget(&project)?;
    }
    Ok(())
}

/// Removes what the retention does not keep, then the oldest until the store fits its budget. The newest
/// snapshot of each project stays. `whole` also looks for what removed sessions left.
///
/// # Errors
/// Those of [`clean`].
pub fn retain(parts: &Parts, config: &StoreConfig, whole: bool) -> Result<Cleaned, Error> {
    let now_us = parts.clock.now_us();
    let rows = listed(&parts.db.snapshots("")?);
    let needed = of_sessions(parts)?.snapshots;
    let mut cleaned = Cleaned::default();
    if whole || !retention::to_drop(&rows, config.policy(), &needed, now_us).is_empty() {
        cleaned = remove(parts, How::Retention, true, &mut |rows, needed| {
            (retention::to_drop(rows, config.policy(), needed, now_us).into_iter().collect(), Vec::new())
        })?;
    }
    let Some(budget) = config.max_mb.map(|most| most.saturating_mul(1024 * 1024)) else { return Ok(cleaned) };
    while parts.store.size()? > budget {
        let more = remove(parts, How::Retention, true, &mut |rows, needed| {
            let mut oldest = retention::oldest_first(rows, needed);
            oldest.truncate(oldest.len().div_ceil(PART));
            (oldest, Vec::new())
        })?;
        if more.snapshots.is_empty() {
            tracing::warn!(budget, "the snapshot store is larger than it should be, and all of it is needed");
            break;
        }
        cleaned.snapshots.extend(more.snapshots);
        cleaned.collected.gone = cleaned.collected.gone.plus(more.collected.gone);
        cleaned.collected.trees = cleaned.collected.trees.plus(more.collected.trees);
    }
    Ok(cleaned)
}

/// Chooses, from all rows and what sessions need, those that go and those that would go if nothing needed them.
type Choose<'a> = &'a mut dyn FnMut(&[Listed], &BTreeSet<SnapshotId>) -> (Vec<usize>, Vec<usize>);

/// Why snapshots are removed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// A human asked for it, which is recorded.
    Asked,
    /// The retention does not keep them.
    Retention,
    /// They are not: it is only said what would go.
    Survey,
}

fn remove(parts: &Parts, how: How, indexed: bool, choose: Choose<'_>) -> Result<Cleaned, Error> {
    let mut cleaned = Cleaned::default();
    let mut asked = 0;
    let dry_run = how == How::Survey;
    let collected = parts.store.collect(dry_run, &mut || {
        asked += 1;
        let mut needed = of_sessions(parts)?;
        needed.indexed = indexed;
        let rows = parts.db.snapshots("")?;
        let (goes, held) = choose(&listed(&rows), &needed.snapshots);
        let goes: BTreeSet<usize> = goes.into_iter().collect();
        let (gone, kept): (Vec<_>, Vec<_>) =
            rows.into_iter().enumerate().partition(|(at, _)| goes.contains(at));
        let gone: Vec<SnapshotRow> = gone.into_iter().map(|(_, row)| row).collect();
        needed.snapshots.extend(kept.into_iter().map(|(_, row)| row.snapshot));
        if asked > 1 && how == How::Retention {
            let ids: Vec<SnapshotId> = gone.iter().map(|row| row.snapshot).collect();
            audit(parts, "retention_begun", None, json!({ "snapshots": ids }))?;
        }
        // The rows go first, and for good: a listed snapshot is never half there.
        if asked > 1 && !dry_run {
            parts.db.unlist_snapshots(&gone)?;
        }
        (cleaned.snapshots, cleaned.needed) = (gone, u64::try_from(held.len()).unwrap_or(u64::MAX));
        Ok::<_, Error>(needed)
    })?;
    cleaned.collected = collected;
    cleaned.snapshots.sort_by_key(|row| (row.created_us, row.snapshot));
    Ok(cleaned)
}

fn audit(
    parts: &Parts,
    action: &'static str,
    project: Option<Bytes>,
    detail: serde_json::Value,
) -> Result<(), Error> {
    let entry = Entry { time_us: parts.clock.now_us(), action, session: None, project, detail };
    Ok(parts.audit.append(entry, Sync::Disk)?)
}

fn listed(rows: &[SnapshotRow]) -> Vec<Listed> {
    let row = |row: &SnapshotRow| Listed {
        id: row.snapshot,
        project: row.project.0.clone(),
        time_us: row.created_us,
        pulled_us: row.pulled_us,
    };
    rows.iter().map(row).collect()
}

/// What the sessions that exist need.
fn of_sessions(parts: &Parts) -> Result<Needed, Error> {
    let mut needed = Needed { contents: parts.merge.needed()?, ..Needed::default() };
    let mut walked = BTreeSet::new();
    for record in parts.db.records::<Record>("")? {
        needed.snapshots.extend(record.base);
        needed.bases.extend(record.base);
        let pending = match &record.pending {
            Some(Pending::Apply(apply)) => Some(apply),
            Some(Pending::Undo { .. }) | None => None,
        };
        for apply in record.applies.iter().chain(&record.came_with).chain(pending) {
            needed.contents.extend(apply.steps.iter().flat_map(step_contents));
            needed.contents.extend(apply.took.iter().filter_map(|(_, node)| node.as_ref()?.hash()));
        }
        for work in record.works() {
            captured::needs(parts, work, &mut walked, &mut needed.contents)?;
        }
    }
    Ok(needed)
}

impl Sessions {
    /// Until when a session that has ended stays at least, microseconds since the Unix epoch, when nothing
    /// happens in it.
    ///
    /// # Errors
    /// When the human's configuration cannot be read.
    pub fn kept_until_us(&self, record: &Record) -> Result<i64, Error> {
        let config = crate::config::user(self.parts().home.root())?.store;
        Ok(record.updated_us.saturating_add(config.ended_us()))
    }
}

fn step_contents(step: &Step) -> impl Iterator<Item = Hash> {
    [&step.before, &step.after].into_iter().filter_map(|node| node.as_ref().and_then(Node::hash))
}

#[cfg(test)]
mod tests;
