//! The human's decision, carried out: apply, reject, undo, forget.
//!
//! Owns the order audit, journal, effect, record. Must not decide: an approval comes from
//! [`ftl_core::review`], a plan from [`ftl_core::merge`].

use std::collections::BTreeSet;
use std::sync::Arc;

use ftl_core::event::{Bytes, Kind, Stage as StageName};
use ftl_core::id::{ApplyId, SessionId, SnapshotId};
use ftl_core::lifecycle::{Changes, Refusal, Request, State, Step};
use ftl_core::lint::Finding;
use ftl_core::merge;
use ftl_core::review::{Approval, Proposal};
use ftl_core::tree::{Node, RelPath};
use serde_json::json;

use super::driver::{Driver, told};
use super::layers;
use super::propose::Asked;
use super::record::{Apply, Pending, Project, Record};
use super::{Error, Outcome, Removal, warm};
use crate::app::Parts;
use crate::audit::Sync;
use crate::merge::{Identity, LeftAlone, Root};

/// What became of an application that a crash cut short.
const PUT_BACK: &str = "the daemon ended while it applied; the project was put back";
const PUT_BACK_LATE: &str = "an application that had failed was put back";
const NOT_PUT_BACK: &str = "an application was cut short and could not be put back yet";
/// Paths that are named in such a sentence.
const SHOWN: usize = 5;

/// What the journals say of something that gave an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// It took place all the same.
    Happened,
    /// It is not put back yet, or that cannot be told.
    Open,
    /// Nothing of it is left.
    Nothing,
}

impl Driver {
    /// Applies what the human approved.
    pub(super) async fn approve(&mut self, digest: &str, asked: Asked) -> Result<Outcome, Error> {
        self.may(Request::Approve)?;
        self.end_pending().await?;
        self.may(Request::Approve)?;
        // Until the record names what undoing takes back, and what was made for this.
        let _lease = self.lease().await?;
        let named = asked.wanted.paths.iter().chain(asked.wanted.parts.keys());
        let shown: Vec<Bytes> = named.map(|path| Bytes::from(path.as_bytes())).collect();
        let proposed = self.propose(asked, true).await?;
        let approval = proposed.proposal.approve(digest)?;
        let digest = approval.digest();
        // Looked at before the journal, so that a project that has changed costs no state.
        let plan = merge::plan(&approval, &proposed.host)?;
        let held: Vec<String> = proposed.holding().map(|(path, one)| found(path, one)).collect();
        if !held.is_empty() {
            return Err(Error::Held { held });
        }
        let apply = new_apply_id()?;
        for (path, one) in proposed.grave() {
            // What was found is not said: the path and the line lead there.
            let detail = json!({
                "apply": apply, "finding": one.id, "class": one.class.name(),
                "path": Bytes::from(path.as_bytes()), "line": one.line, "why": proposed.accepted.get(&one.id),
            });
            self.audit("finding_accepted", detail, Sync::Kernel).await?;
        }
        let detail = json!({ "digest": digest, "paths": shown, "apply": apply });
        self.audit("approved", detail, Sync::Disk).await?;
        self.keep_made(&proposed.proposal).await?;

        let start = self.parts.clock.monotonic_us();
        let pending = Apply {
            id: apply.clone(),
            digest,
            time_us: self.parts.clock.now_us(),
            took: proposed.proposal.contributed(&proposed.reviewed.review, plan.steps()),
            steps: plan.steps().to_vec(),
            undone: false,
            by: self.parts.user.name.clone(),
        };
        let left_out: Vec<(RelPath, String)> =
            proposed.proposal.left_out().iter().map(|left| (left.path.clone(), left.why.clone())).collect();
        drop(proposed);
        self.record.pending = Some(Pending::Apply(pending.clone()));
        if let Err(error) =
            self.begin_apply(&apply, plan.steps().len(), Kind::Approved { digest, paths: shown }).await
        {
            // Nothing was written; the session waits as before.
            self.record.pending = None;
            self.record.state = State::AwaitingReview;
            return Err(error);
        }
        let (parts, project, id) = (Arc::clone(&self.parts), self.record.project.clone(), apply.clone());
        let base = self.record.base;
        let applied = blocking(move || {
            let root = open_root(&project)?;
            let links = links(&parts, base.ok_or(Error::Interrupted)?, &approval)?;
            Ok(parts.merge.apply(&id, &root, &plan, &approval, &*parts.store, &links)?)
        })
        .await;
        match applied {
            Ok(applied) => {
                self.record.pending = None;
                self.record.applies.push(pending);
                self.told_time(StageName::Apply, start).await;
                let left_alone = left_alone(left_out, applied.left_alone);
                let landed = self.landed(apply, applied.paths, left_alone).await;
                if let Err(error) = &landed
                    && self.record.state == State::Applying
                {
                    // It is written and can be undone; what is left is shown when it can be read again.
                    self.enter(Step::Applied { left: Changes::Some }, told(error), vec![]).await?;
                }
                landed
            }
            Err(error) => self.not_applied(pending, left_out, error).await,
        }
    }

    /// Records an application that gave an error, as its journal has it.
    async fn not_applied(
        &mut self,
        apply: Apply,
        left_out: Vec<(RelPath, String)>,
        error: Error,
    ) -> Result<Outcome, Error> {
        let fate = self.fate(&apply.id);
        if fate != Fate::Open {
            self.record.pending = None;
        }
        if fate == Fate::Happened {
            tracing::warn!(apply = %apply.id, error = %told(&error), "it took place although this failed");
            let mut outcome = self.landed_late(apply).await?;
            outcome.left_alone = left_alone(left_out, Vec::new());
            return Ok(outcome);
        }
        let detail = json!({ "apply": apply.id, "error": told(&error), "open": fate == Fate::Open });
        if let Err(error) = self.audit("apply_failed", detail, Sync::Kernel).await {
            // The session must come to rest all the same.
            tracing::error!(error = %told(&error), "a failed application could not be audited");
        }
        self.enter(Step::ApplyFailed, told(&error), vec![]).await?;
        Err(error)
    }

    /// What the journals say of an application, or of an undoing, that gave an error.
    pub(super) fn fate(&self, journal: &ApplyId) -> Fate {
        let merge = &self.parts.merge;
        match merge.happened(journal).and_then(|happened| Ok((happened, merge.is_open(journal)?))) {
            Ok((true, _)) => Fate::Happened,
            Ok((false, false)) => Fate::Nothing,
            Ok((false, true)) => Fate::Open,
            Err(error) => {
                tracing::error!(%journal, error = %told(&Error::Merge(error)), "its journal cannot be read");
                Fate::Open
            }
        }
    }

    /// Ends what an earlier failure of this session left open, before anything new is begun.
    pub(super) async fn end_pending(&mut self) -> Result<(), Error> {
        if self.record.pending.is_none() {
            return Ok(());
        }
        let (parts, project) = (Arc::clone(&self.parts), self.record.project.clone());
        blocking(move || {
            let root = open_root(&project)?;
            Ok(parts.merge.bring_to_rest(&root, &*parts.store)?)
        })
        .await?;
        self.settle(&[]).await
    }

    /// Records an application of which only its journal tells that it took place.
    async fn landed_late(&mut self, apply: Apply) -> Result<Outcome, Error> {
        let paths: BTreeSet<RelPath> = apply.steps.iter().map(|step| step.path.clone()).collect();
        let id = apply.id.clone();
        self.record.applies.push(apply);
        // It may have been told before that it failed.
        self.record.state = State::Applying;
        self.landed(id, paths.into_iter().collect(), Vec::new()).await
    }

    /// Announces an application; when this returns, a crash is told from its journal.
    async fn begin_apply(&mut self, apply: &ApplyId, paths: usize, approved: Kind) -> Result<(), Error> {
        self.audit("apply_begun", json!({ "apply": apply, "paths": paths }), Sync::Disk).await?;
        self.enter(Step::ApplyBegun, String::new(), vec![approved]).await
    }

    /// Records an application that took place.
    async fn landed(
        &mut self,
        apply: ApplyId,
        paths: Vec<RelPath>,
        left_alone: Vec<(RelPath, String)>,
    ) -> Result<Outcome, Error> {
        let rest = self.show().await?;
        self.record.digest = rest.review.digest();
        let left = if self.record.digest.is_some() { Changes::Some } else { Changes::None };
        let count = u64::try_from(paths.len()).unwrap_or(u64::MAX);
        self.audit("applied", json!({ "apply": apply, "paths": count }), Sync::Kernel).await?;
        let fact = Kind::Applied { apply: apply.clone(), paths: count };
        self.enter(Step::Applied { left }, String::new(), vec![fact]).await?;
        Ok(Outcome { apply, paths, left_alone, record: self.record.clone() })
    }

    /// Keeps contents that were made for a proposal, for good.
    pub(super) async fn keep_made(&self, proposal: &Proposal) -> Result<(), Error> {
        let made: Vec<Vec<u8>> = proposal.made().values().cloned().collect();
        let parts = Arc::clone(&self.parts);
        blocking(move || {
            for content in made {
                parts.store.put_captured(&content)?;
            }
            Ok(())
        })
        .await
    }

    /// The human says no.
    pub(super) async fn reject(&mut self, why: String, go_on: bool) -> Result<Record, Error> {
        self.may(Request::Reject)?;
        if go_on {
            self.may(Request::Say)?;
            if why.trim().is_empty() {
                return Err(Error::EmptyTask);
            }
            if self.record.spec.agent == crate::agent::MANUAL {
                return Err(Error::NoAgent);
            }
        }
        self.audit("rejected", json!({ "why": why, "go_on": go_on }), Sync::Disk).await?;
        self.enter(Step::Rejected, why.clone(), vec![Kind::Rejected { why }]).await?;
        Ok(self.record.clone())
    }

    /// Finishes in the record what a crash left to the journal: it happened, or it was taken back, but for
    /// those paths that someone else has written since. What could not be taken back stays pending.
    pub(super) async fn settle(&mut self, foreign: &[RelPath]) -> Result<(), Error> {
        match self.record.pending.take() {
            None => Ok(()),
            Some(Pending::Apply(apply)) if self.parts.merge.happened(&apply.id)? => {
                self.landed_late(apply).await.map(drop)
            }
            Some(pending @ Pending::Apply(_)) => {
                let is_told = self.record.state != State::Applying;
                let done = if is_told { PUT_BACK_LATE } else { PUT_BACK };
                let reason = self.put_back(pending, foreign)?.unwrap_or_else(|| done.to_owned());
                if !is_told {
                    return self.enter(Step::ApplyFailed, reason, vec![]).await;
                }
                // It was told once that it could not be put back.
                self.record.reason = reason;
                self.keep(vec![]).await
            }
            Some(Pending::Undo { apply, journal }) if self.parts.merge.happened(&journal)? => {
                self.taken_back(apply, Vec::new(), Vec::new()).await.map(drop)
            }
            Some(pending @ Pending::Undo { .. }) => {
                if let Some(reason) = self.put_back(pending, foreign)? {
                    self.record.reason = reason;
                }
                self.keep(vec![]).await
            }
        }
    }

    /// What is to be told of a way back that is not complete. It stays pending when it is not at its end.
    fn put_back(&mut self, pending: Pending, foreign: &[RelPath]) -> Result<Option<String>, Error> {
        if self.parts.merge.is_open(pending.journal())? {
            self.record.pending = Some(pending);
            return Ok(Some(NOT_PUT_BACK.to_owned()));
        }
        let mut shown: Vec<String> = foreign.iter().take(SHOWN).map(ToString::to_string).collect();
        if foreign.len() > SHOWN {
            shown.push(format!("{} more", foreign.len() - SHOWN));
        }
        let done = match pending {
            Pending::Apply(_) => PUT_BACK,
            Pending::Undo { .. } => "the daemon ended while it took an application back; that stands again",
        };
        let told = || format!("{done}, but for what someone else wrote since: {}", shown.join(", "));
        Ok((!shown.is_empty()).then(told))
    }

    /// Forgets the session.
    pub(super) async fn remove(&mut self, removal: Removal) -> Result<(), Error> {
        let discard = removal == Removal::Asked { discard: true };
        self.may_lose_work(removal).await?;
        let detail = match removal {
            Removal::Asked { .. } => json!({ "discard": discard }),
            Removal::Over { before_us }
                if self.record.updated_us < before_us && self.record.pending.is_none() =>
            {
                json!({ "discard": false, "retention": true, "unchanged_since_us": self.record.updated_us })
            }
            Removal::Over { .. } => return Err(Refusal::Busy(self.record.state).into()),
        };
        self.audit("session_removed", detail, Sync::Disk).await?;
        // What they make would be left behind.
        self.parts.checks.end(&self.record.id).await;
        self.parts.tests.forget(&self.record.id);
        self.end_folding().await;
        warm::forget(&self.parts, &self.record.id).await;
        let dir = self.parts.home.sessions().join(self.record.id.as_str());
        if let Some(backend) = self.parts.sandboxes.get(self.record.spec.sandbox.as_str()) {
            // First: nothing else says where it is.
            backend.give_up(&self.record.id, &dir).await?;
            backend.clear(&dir).await?;
        }
        let (parts, record) = (Arc::clone(&self.parts), self.record.clone());
        blocking(move || {
            let id = &record.id;
            let failed = |source| Error::Write { path: dir.clone(), source };
            crate::snapshot::remove_tree(&dir).map_err(failed)?;
            parts.db.forget(id)?;
            parts.publisher.forget(id);
            parts.outlets.forget(id);
            parts.policies.forget(&dir);
            layers::release(&parts, &record);
            Ok(())
        })
        .await?;
        forget_journals(&self.parts, self.record.journals().collect()).await;
        Ok(())
    }
}

impl Driver {
    /// Refuses while the session has work that must not go unasked.
    pub(super) async fn may_lose_work(&mut self, removal: Removal) -> Result<(), Error> {
        let discard = removal == Removal::Asked { discard: true };
        if !discard && self.has_lost_ground() {
            // It may hold work again, and not have been told.
            self.look_again().await?;
        }
        self.may(Request::Remove { discard })?;
        if self.holds_unread(removal) { Err(Refusal::WorkWaits.into()) } else { Ok(()) }
    }

    /// Whether the session must stay for work that was never read: a turn failed before that, and what it wrote
    /// may be all there is of it.
    fn holds_unread(&self, removal: Removal) -> bool {
        let record = &self.record;
        let is_loose = || layers::is_loose(&self.parts, record);
        match removal {
            Removal::Asked { discard: true } => false,
            // Who rejected the session says no to all that is in it.
            Removal::Asked { discard: false } => record.state != State::Rejected && is_loose(),
            // Nobody was asked. A checkpoint may have been made of what could not be read.
            Removal::Over { .. } => {
                is_loose() || record.checkpoints.iter().any(|checkpoint| checkpoint.stack.is_unread())
            }
        }
    }
}

/// Removes the journals of applications that no record names; a branch may name its origin's. What is left
/// goes when a daemon starts.
pub(super) async fn forget_journals(parts: &Arc<Parts>, mut ids: BTreeSet<ApplyId>) {
    if ids.is_empty() {
        return;
    }
    let parts = Arc::clone(parts);
    let forgotten = blocking(move || {
        let records = parts.db.records::<Record>("")?;
        let named: BTreeSet<ApplyId> = records.iter().flat_map(Record::journals).collect();
        ids.retain(|id| !named.contains(id));
        Ok(parts.merge.forget(&ids)?)
    });
    if let Err(error) = forgotten.await {
        tracing::warn!(error = %told(&error), "a journal could not be removed");
    }
}

/// Runs something that blocks where it may.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Interrupted)?
}

pub(super) fn open_root(project: &Project) -> Result<Root, Error> {
    let identity = Identity { device: project.dev, inode: project.ino };
    Ok(Root::open_as(&super::driver::root(&project.root), identity)?)
}

/// A finding in words, without the value.
fn found(path: &RelPath, finding: &Finding) -> String {
    let line = if finding.line > 0 { format!(":{}", finding.line) } else { String::new() };
    format!("{path}{line} has {} ({})", finding.message, finding.id)
}

/// All paths that were not touched although they were asked for.
fn left_alone(mut left_out: Vec<(RelPath, String)>, left: Vec<LeftAlone>) -> Vec<(RelPath, String)> {
    left_out.extend(left.into_iter().map(|left| (left.path, left.why.to_owned())));
    left_out
}

/// The links that must not lead out of the project when the approval is applied.
fn links(parts: &Parts, base: SnapshotId, approval: &Approval) -> Result<Vec<RelPath>, Error> {
    let is_link = |node: Option<&Node>| matches!(node, Some(Node::Symlink { .. }));
    let base = parts.store.tree(base)?;
    let old = base.links().map(|(path, _)| path);
    let new = approval.changes().iter().filter(|change| is_link(change.result()));
    Ok(old.chain(new.map(|change| change.path.clone())).collect())
}

/// An id that no session has.
pub(super) fn new_session_id() -> Result<SessionId, Error> {
    let mut random = [0; 10];
    getrandom::fill(&mut random).map_err(|_| Error::Interrupted)?;
    Ok(SessionId::from_random(random))
}

pub(super) fn new_apply_id() -> Result<ApplyId, Error> {
    let mut random = [0; 10];
    getrandom::fill(&mut random).map_err(|_| Error::Interrupted)?;
    Ok(ApplyId::from_random(random))
}

/// The session whose application to a project is the newest that was not taken back.
pub(super) fn last_applied(parts: &Parts, project: &[u8]) -> Result<Option<Record>, Error> {
    let mut records = parts.db.records::<Record>("")?;
    records.retain(|record| record.project.root.0 == project && record.last_apply().is_some());
    Ok(records.into_iter().max_by_key(|record| record.last_apply().map(|apply| apply.time_us)))
}
