//! The session's part of the ledger: what left, with which credential, and what was refused.
//!
//! Owns when a record is written (before the effect), how refusals of one kind are counted together, and
//! the totals of a turn. Never sees a value: names, hosts and paths only.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use ftl_core::chain::Record as AuditRecord;
use ftl_core::egress::rule::Rule;
use ftl_core::event::{Bytes, Kind, LISTED};
use ftl_core::id::SessionId;
use serde_json::json;
use tokio::sync::mpsc;

use crate::audit::{AuditError, AuditSink, Entry, Sync};
use crate::clock::Clock;
use crate::egress::guard::{End, Intent, Outcome, Refused, What};

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
            method,
            authority: authority.or(host).unwrap_or_default(),
            path,
            reason: refused.reason.code(),
            rule: refused.rule.clone().unwrap_or_default(),
            hint: refused.would_allow.as_ref().map(Rule::command).unwrap_or_default(),
            credential: refused.credential.as_ref().map(ToString::to_string).unwrap_or_default(),
        }
    }
}

/// One request of the ledger, for people.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// When, microseconds since the Unix epoch.
    pub time_us: i64,
    /// Session.
    pub session: String,
    /// Whether it was forwarded.
    pub allowed: bool,
    /// Method; empty for a name that was asked for.
    pub method: String,
    /// Host and port.
    pub authority: String,
    /// Path without query.
    pub path: String,
    /// The rule that decided.
    pub rule: String,
    /// Why it was refused.
    pub reason: String,
    /// Names of the credentials that travelled with it.
    pub credentials: Vec<String>,
    /// Status of the response; 0 when there was none.
    pub status: u32,
    /// Bytes of the request's body.
    pub bytes_up: u64,
    /// Bytes of the response's body.
    pub bytes_down: u64,
    /// How many requests the row stands for.
    pub count: u64,
}

/// Refusals of one kind are told at most this often, microseconds.
const TOLD_EVERY_US: u64 = 1_000_000;
/// Kinds of refusals that are counted apart in a turn.
const KINDS: usize = 256;
/// What an authority is called when there are too many kinds to tell them apart.
const OTHERS: &str = "(others)";

const FORWARDED: &str = "egress_forwarded";
const SETTLED: &str = "egress_settled";
const REFUSED: &str = "egress_refused";

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
        let detail = json!({
            "request": id, "method": intent.method, "authority": intent.authority.to_string(),
            "scheme": intent.scheme.name(), "path": intent.path, "rule": intent.rule,
            "source": intent.source.to_string(), "generation": intent.generation, "credentials": names,
        });
        self.append(FORWARDED, detail)?;
        let authority = intent.authority.to_string();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
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
        Ok(id)
    }

    /// Records how a request went.
    pub(super) fn settle(&self, id: u64, outcome: &Outcome) {
        let detail = json!({
            "request": id, "status": outcome.status, "bytes_up": outcome.up, "bytes_down": outcome.down,
            "end": end(outcome.end),
        });
        if let Err(error) = self.append(SETTLED, detail) {
            tracing::error!(session = %self.session, %error, "the end of a request could not be recorded");
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.totals.bytes_up += outcome.up;
        state.totals.bytes_down += outcome.down;
    }

    /// Records a refusal, together with others of its kind when there are many.
    pub(super) fn refused(&self, refused: &Refused) {
        let refused = Flat::of(refused);
        let now = self.clock.monotonic_us();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.totals.refused += 1;
        let mut kind = RefusalKind {
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

/// The ledger's rows out of the audit log, oldest first.
#[must_use]
pub fn rows(records: Vec<AuditRecord>) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut open: BTreeMap<(String, u64), usize> = BTreeMap::new();
    for record in records {
        let text = |name: &str| record.detail[name].as_str().unwrap_or_default().to_owned();
        let number = |name: &str| record.detail[name].as_u64().unwrap_or_default();
        let session = record.session.clone().map(String::from).unwrap_or_default();
        match record.action.as_str() {
            FORWARDED | REFUSED => {
                let names = record.detail["credentials"].as_array().into_iter().flatten();
                let allowed = record.action == FORWARDED;
                if allowed {
                    open.insert((session.clone(), number("request")), rows.len());
                }
                rows.push(Row {
                    time_us: record.time_us,
                    session,
                    allowed,
                    method: text("method"),
                    authority: text("authority"),
                    path: text("path"),
                    rule: text("rule"),
                    reason: text("reason"),
                    credentials: names.filter_map(|name| name.as_str().map(str::to_owned)).collect(),
                    count: number("count").max(1),
                    ..Row::default()
                });
            }
            SETTLED => {
                let Some(row) = open.remove(&(session, number("request"))) else { continue };
                let row = &mut rows[row];
                row.status = u32::try_from(number("status")).unwrap_or_default();
                (row.bytes_up, row.bytes_down) = (number("bytes_up"), number("bytes_down"));
            }
            _ => {}
        }
    }
    rows
}
