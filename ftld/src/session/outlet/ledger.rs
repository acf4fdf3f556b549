//! The session's part of the ledger: what left, with which credential, and what was refused.
//!
//! Owns when a record is written (before the effect), how refusals of one kind are counted together, and
//! the totals of a turn. Never sees a value: names, hosts and paths only.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use ftl_core::egress::rule::Rule;
use ftl_core::event::{Bytes, Kind, LISTED};
use ftl_core::id::SessionId;
use serde_json::json;
use tokio::sync::mpsc;

use super::excerpt::{self, excerpt};
use crate::audit::{AuditError, AuditSink, Entry, Sync};
use crate::clock::Clock;
use crate::egress::guard::{End, Intent, Outcome, Refused, Stage, What};

/// One session's ledger.
pub(super) struct Ledger {
    session: SessionId,
    project: Bytes,
    audit: Arc<dyn AuditSink>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    facts: Option<mpsc::Sender<Kind>>,
    /// What is recorded and has not left: where it goes and the credentials that travel.
    staying: HashMap<u64, (String, Vec<String>)>,
    totals: Totals,
    refusals: HashMap<RefusalKind, Counted>,
}

#[derive(Default)]
struct Totals {
    requests: u64,
    refused: u64,
    bytes_up: u64,
    bytes_down: u64,
    authorities: BTreeSet<String>,
    credentials: BTreeSet<String>,
    /// Which credentials have been told of at which host.
    told: BTreeSet<(String, String)>,
}

/// What makes two refusals the same for the reader.
#[derive(Clone, PartialEq, Eq, Hash)]
struct RefusalKind {
    reason: &'static str,
    method: String,
    authority: String,
    stage: Stage,
}

/// Refusals of one kind.
struct Counted {
    last_told_us: u64,
    untold: u64,
    last: Flat,
}

/// A refusal as the ledger shows it.
#[derive(Clone)]
struct Flat {
    method: String,
    authority: String,
    path: String,
    reason: &'static str,
    rule: String,
    hint: String,
    credential: String,
    stage: Stage,
}

impl Flat {
    fn of(refused: &Refused) -> Self {
        let authority = refused.authority.as_ref().map(ToString::to_string);
        let (method, path, host) = match &refused.what {
            What::Request { method, path } => (method.clone(), path.clone(), None),
            What::Connection => (String::new(), String::new(), None),
            What::Name(host) => (String::new(), String::new(), Some(host.to_string())),
        };
        Self {
            method: excerpt(&method, excerpt::METHOD),
            authority: excerpt(&authority.or(host).unwrap_or_default(), excerpt::AUTHORITY),
            path: excerpt(&path, excerpt::PATH),
            reason: refused.reason.code(),
            rule: excerpt(refused.rule.as_deref().unwrap_or_default(), excerpt::RULE),
            hint: refused.would_allow.as_ref().map(Rule::command).unwrap_or_default(),
            credential: refused.credential.as_ref().map(ToString::to_string).unwrap_or_default(),
            stage: refused.stage,
        }
    }
}

/// Refusals of one kind are told at most this often, microseconds.
const TOLD_EVERY_US: u64 = 1_000_000;
/// Kinds of refusals that are counted apart in a turn.
const KINDS: usize = 256;
/// What an authority is called when there are too many kinds to tell them apart.
const OTHERS: &str = "(others)";

pub(super) const FORWARDED: &str = "egress_forwarded";
pub(super) const SETTLED: &str = "egress_settled";
pub(super) const REFUSED: &str = "egress_refused";

impl Ledger {
    pub(super) fn new(
        session: SessionId,
        project: Bytes,
        audit: Arc<dyn AuditSink>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { session, project, audit, clock, state: Mutex::default() }
    }

    pub(super) fn begin_turn(&self, facts: mpsc::Sender<Kind>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.facts = Some(facts);
        state.totals = Totals::default();
        state.refusals.clear();
    }

    /// What is still to be told, and the totals; nothing when nothing left or wanted to.
    pub(super) fn end_turn(&self) -> Vec<Kind> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.facts = None;
        let mut told: Vec<Kind> = Vec::new();
        for counted in std::mem::take(&mut state.refusals).into_values().filter(|counted| counted.untold > 0)
        {
            self.audit_refused(&counted.last, counted.untold);
            told.push(refused_fact(&counted.last, counted.untold));
        }
        let totals = std::mem::take(&mut state.totals);
        if totals.requests + totals.refused > 0 {
            told.push(Kind::EgressTotals {
                requests: totals.requests,
                refused: totals.refused,
                bytes_up: totals.bytes_up,
                bytes_down: totals.bytes_down,
                authorities: totals.authorities.into_iter().take(LISTED).collect(),
                credentials: totals.credentials.into_iter().collect(),
            });
        }
        told
    }

    /// Records that a request is about to be forwarded; gives its number in the ledger.
    pub(super) fn record(&self, intent: &Intent) -> Result<u64, AuditError> {
        let names: Vec<String> = intent.credentials.iter().map(ToString::to_string).collect();
        let id = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.next += 1;
            state.next
        };
        let authority = intent.authority.to_string();
        let detail = json!({
            "request": id, "method": excerpt(&intent.method, excerpt::METHOD),
            "authority": excerpt(&authority, excerpt::AUTHORITY), "scheme": intent.scheme.name(),
            "path": excerpt(&intent.path, excerpt::PATH), "rule": excerpt(&intent.rule, excerpt::RULE),
            "source": intent.source.to_string(), "generation": intent.generation, "credentials": names,
        });
        self.append(FORWARDED, detail)?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.staying.insert(id, (authority, names));
        Ok(id)
    }

    /// A request that was recorded is about to leave: from now on it counts, and its credentials are used.
    pub(super) fn leaving(&self, id: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((authority, names)) = state.staying.remove(&id) else { return };
        state.totals.requests += 1;
        if state.totals.authorities.len() < 10 * LISTED {
            state.totals.authorities.insert(authority.clone());
        }
        for name in names {
            let is_new = state.totals.told.insert((name.clone(), authority.clone()));
            state.totals.credentials.insert(name.clone());
            if is_new {
                state.tell(Kind::CredentialUsed { name, authority: authority.clone() });
            }
        }
    }

    /// Records how a request went.
    pub(super) fn settle(&self, id: u64, outcome: &Outcome) {
        let stayed = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.staying.remove(&id).is_some()
        };
        // What was read of a body that went nowhere is not counted.
        let (up, down) = if stayed { (0, 0) } else { (outcome.up, outcome.down) };
        let detail = json!({
            "request": id, "left": !stayed, "status": outcome.status, "bytes_up": up, "bytes_down": down,
            "end": end(outcome.end),
        });
        if let Err(error) = self.append(SETTLED, detail) {
            tracing::error!(session = %self.session, %error, "the end of a request could not be recorded");
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.totals.bytes_up += up;
        state.totals.bytes_down += down;
    }

    /// Records a refusal, together with others of its kind when there are many.
    pub(super) fn refused(&self, refused: &Refused) {
        let refused = Flat::of(refused);
        let now = self.clock.monotonic_us();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // What left is counted as a request.
        state.totals.refused += u64::from(refused.stage != Stage::Left);
        let mut kind = RefusalKind {
            stage: refused.stage,
            reason: refused.reason,
            method: refused.method.clone(),
            authority: refused.authority.clone(),
        };
        if state.refusals.len() >= KINDS && !state.refusals.contains_key(&kind) {
            OTHERS.clone_into(&mut kind.authority);
            kind.method = String::new();
        }
        let counted = state.refusals.entry(kind).or_insert_with(|| Counted {
            last_told_us: 0,
            untold: 0,
            last: refused.clone(),
        });
        counted.untold += 1;
        counted.last = refused.clone();
        let is_due = counted.last_told_us == 0 || now.saturating_sub(counted.last_told_us) >= TOLD_EVERY_US;
        if !is_due {
            return;
        }
        let count = std::mem::take(&mut counted.untold);
        counted.last_told_us = now.max(1);
        let fact = refused_fact(&refused, count);
        state.tell(fact);
        drop(state);
        self.audit_refused(&refused, count);
    }

    /// Tells something that waits for the human.
    pub(super) fn tell(&self, kind: Kind) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).tell(kind);
    }

    fn audit_refused(&self, refused: &Flat, count: u64) {
        // What was recorded before it was refused has its row already, and gets its end there.
        if refused.stage != Stage::Arrived {
            return;
        }
        let detail = json!({
            "method": refused.method, "authority": refused.authority, "path": refused.path,
            "reason": refused.reason, "rule": refused.rule, "credential": refused.credential, "count": count,
        });
        if let Err(error) = self.append(REFUSED, detail) {
            // Nothing has left: there is no effect that the record should have stopped.
            tracing::error!(session = %self.session, %error, "a refusal could not be recorded");
        }
    }

    fn append(&self, action: &'static str, detail: serde_json::Value) -> Result<(), AuditError> {
        let entry = Entry {
            time_us: self.clock.now_us(),
            action,
            session: Some(self.session.clone()),
            project: Some(self.project.clone()),
            detail,
        };
        self.audit.append(entry, Sync::Kernel)
    }
}

impl State {
    /// A full queue means that the turn's loop is behind: the fact is in the audit log in any case.
    fn tell(&self, kind: Kind) {
        if let Some(facts) = &self.facts {
            let _full = facts.try_send(kind);
        }
    }
}

fn end(end: End) -> &'static str {
    match end {
        End::Whole => "whole",
        End::Broken => "broken",
        End::Refused(reason) => reason.code(),
        End::Revoked => "revoked",
    }
}

fn refused_fact(refused: &Flat, count: u64) -> Kind {
    Kind::EgressRefused {
        method: refused.method.clone(),
        authority: refused.authority.clone(),
        path: refused.path.clone(),
        reason: refused.reason.to_owned(),
        rule: refused.rule.clone(),
        hint: refused.hint.clone(),
        count,
    }
}

#[cfg(test)]
mod tests;
