//! Taking an application back, around what the human wrote since where that is asked for.
//!
//! Owns the order audit, journal, effect, record of it. Must not decide: what a merge makes is
//! [`ftl_core::review`]'s, and nothing is written around a human's edits but by the digest that was shown.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use ftl_core::event::Kind;
use ftl_core::id::ApplyId;
use ftl_core::lifecycle::{Request, Step};
use ftl_core::merge;
use ftl_core::review::{Item, Proposal};
use ftl_core::tree::RelPath;
use serde_json::json;

use super::appraise::Appraisal;
use super::decide::{Fate, blocking, forget_journals, new_apply_id, open_root};
use super::driver::{Driver, told};
use super::outlet::known;
use super::propose::{Places, appraise};
use super::record::{Pending, Record};
use super::{Error, Outcome};
use crate::app::Parts;
use crate::audit::Sync;
use crate::merge::{Applied, Root};

/// How an application is to be taken back.
#[derive(Clone, Debug, Default)]
pub struct Undo {
    /// Around what the human wrote since.
    pub merge: bool,
    /// Digest of what was shown; without one nothing is written around edits.
    pub digest: String,
}

/// What became of it.
#[derive(Debug)]
pub enum Undone {
    /// It was taken back.
    Done(Outcome),
    /// This would be written.
    Would(WouldUndo),
}

/// What taking an application back around edits would write.
#[derive(Debug)]
pub struct WouldUndo {
    /// The application.
    pub apply: ApplyId,
    /// What would be written.
    pub proposal: Proposal,
    /// What is to be known of each of its paths, in their order.
    pub appraisals: Vec<Appraisal>,
    /// The session.
    pub record: Record,
    host: merge::Host,
}

impl Driver {
    /// Takes back the last application.
    pub(super) async fn undo(&mut self, how: Undo) -> Result<Undone, Error> {
        self.may(Request::Undo)?;
        self.end_pending().await?;
        self.may(Request::Undo)?;
        let _lease = self.lease().await?;
        let apply = self.record.last_apply().ok_or(Error::NothingToUndo)?.id.clone();
        if !how.merge {
            let of = apply.clone();
            let undo = move |parts: &Parts, root: &Root, journal: &ApplyId| {
                parts.merge.undo(&of, journal, root, &*parts.store)
            };
            return self.carry_out(apply, json!({}), undo).await.map(Undone::Done);
        }
        let would = self.would_undo(apply.clone()).await?;
        if how.digest.is_empty() {
            return Ok(Undone::Would(would));
        }
        let approval = would.proposal.approve(&how.digest)?;
        let plan = merge::plan(&approval, &would.host)?;
        self.keep_made(&would.proposal).await?;
        let (of, digest) = (apply.clone(), approval.digest());
        let undo = move |parts: &Parts, root: &Root, journal: &ApplyId| {
            parts.merge.undo_onto((&of, journal), root, &*parts.store, (&plan, &approval))
        };
        self.carry_out(apply, json!({ "digest": digest }), undo).await.map(Undone::Done)
    }

    /// What taking back would write, where nothing conflicts.
    async fn would_undo(&self, apply: ApplyId) -> Result<WouldUndo, Error> {
        let known = known(&self.parts, &self.record).await?;
        let (parts, record) = (Arc::clone(&self.parts), self.record.clone());
        blocking(move || {
            let root = open_root(&record.project)?;
            parts.merge.bring_to_rest(&root, &*parts.store)?;
            let steps = parts.merge.steps_to_undo(&apply, &root).map_err(Error::Undo)?;
            let host = root.observe(&merge::to_observe(steps.iter().map(|step| &step.path)))?;
            let places = Places { store: &parts.store, root: &root, seen: RefCell::default() };
            let base = record.base.ok_or(Error::Interrupted)?;
            let of = (&record.id, record.project.root.0.as_slice(), base);
            let proposal = Proposal::undo(of, &steps, &host, &places)?;
            if proposal.open() > 0 {
                let open = proposal.items().iter().filter(|item| item.is_open());
                return Err(Error::UndoConflicts { at: open.map(place).collect() });
            }
            let (appraisals, _) = appraise(&parts, (&Arc::default(), known), &places, &proposal)?;
            Ok(WouldUndo { apply, proposal, appraisals, record, host })
        })
        .await
    }

    /// Takes an application back, from the audit record to the session's.
    async fn carry_out(
        &mut self,
        apply: ApplyId,
        mut detail: serde_json::Value,
        undo: impl FnOnce(&Parts, &Root, &ApplyId) -> Result<Applied, crate::merge::MergeError> + Send + 'static,
    ) -> Result<Outcome, Error> {
        let journal = new_apply_id()?;
        detail["apply"] = json!(apply);
        detail["journal"] = json!(journal);
        self.audit("undo_begun", detail, Sync::Disk).await?;
        self.record.pending = Some(Pending::Undo { apply: apply.clone(), journal: journal.clone() });
        self.keep(vec![]).await?;
        let (parts, project, of) = (Arc::clone(&self.parts), self.record.project.clone(), journal.clone());
        let undone = blocking(move || {
            let root = open_root(&project)?;
            undo(&parts, &root, &of).map_err(Error::Undo)
        })
        .await;
        let fate = if undone.is_ok() { Fate::Happened } else { self.fate(&journal) };
        if fate != Fate::Open {
            self.record.pending = None;
        }
        match undone {
            Ok(undone) => {
                let left = undone.left_alone.into_iter().map(|left| (left.path, left.why.to_owned()));
                let outcome = self.taken_back(apply, undone.paths, left.collect()).await?;
                // The record tells of it now.
                forget_journals(&self.parts, BTreeSet::from([journal])).await;
                Ok(outcome)
            }
            Err(error) if fate == Fate::Happened => {
                tracing::warn!(%journal, error = %told(&error), "it was taken back although this failed");
                let steps =
                    self.record.applies.iter().find(|of| of.id == apply).map(|of| of.steps.as_slice());
                let paths: BTreeSet<RelPath> =
                    steps.unwrap_or_default().iter().map(|step| step.path.clone()).collect();
                self.taken_back(apply, paths.into_iter().collect(), Vec::new()).await
            }
            Err(error) => {
                let detail = json!({ "error": told(&error), "open": fate == Fate::Open });
                self.audit("undo_failed", detail, Sync::Kernel).await?;
                self.keep(vec![]).await?;
                Err(error)
            }
        }
    }

    /// Records an undoing that took place.
    pub(super) async fn taken_back(
        &mut self,
        apply: ApplyId,
        paths: Vec<RelPath>,
        left_alone: Vec<(RelPath, String)>,
    ) -> Result<Outcome, Error> {
        for of in self.record.applies.iter_mut().filter(|of| of.id == apply) {
            of.undone = true;
        }
        self.record.digest = self.show().await?.review.digest();
        let count = u64::try_from(paths.len()).unwrap_or(u64::MAX);
        self.audit("undone", json!({ "apply": apply, "paths": count }), Sync::Kernel).await?;
        let fact = Kind::Undone { apply: apply.clone(), paths: count };
        self.enter(Step::Undone, String::new(), vec![fact]).await?;
        Ok(Outcome { apply, paths, left_alone, record: self.record.clone() })
    }
}

/// A path with the lines in it that conflict, in words.
fn place(item: &Item) -> String {
    let path = &item.change.path;
    let whole = item.conflicts.iter().find_map(|conflict| conflict.whole);
    if let Some(why) = whole {
        return format!("{path} ({why})");
    }
    let lines: Vec<String> = item.conflicts.iter().map(|conflict| conflict.line.to_string()).collect();
    let line = if lines.len() == 1 { "line" } else { "lines" };
    format!("{path} ({line} {})", lines.join(", "))
}
