//! What the human asks of the proxy: rules, verdicts, answers.
//!
//! Owns that a change of rules is recorded before it is made and reaches live connections. Must not know
//! how the human asks.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use ftl_core::credential::CredentialName;
use ftl_core::egress::asked::Asked;
use ftl_core::egress::host::Authority;
use ftl_core::egress::path::CanonicalPath;
use ftl_core::egress::policy::Explanation;
use ftl_core::egress::rule::Rule;
use ftl_core::egress::suggest::{self, Refused};
use ftl_core::event::Bytes;
use ftl_core::id::SessionId;
use serde_json::json;

use super::super::driver::root;
use super::super::{Error, Sessions, project, trust};
use super::excerpt::is_cut;
use super::rows::newest;
use super::{Answered, Layered, RuleScope, Wanted, layered};
use crate::audit::{Entry, Sync};

/// A verdict without traffic.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The verdict and what decided.
    pub explanation: Explanation,
    /// Credentials that could travel with the request.
    pub credentials: Vec<CredentialName>,
}

/// Kinds of refused requests that suggestions are made from, the newest.
const SUGGESTED_FROM: usize = 10_000;
/// Rules that are suggested at once; nobody reads more.
const MOST_SUGGESTED: usize = 200;

impl Sessions {
    /// The rules that count for a session, a project, or everywhere.
    ///
    /// # Errors
    /// When the session or the project cannot be looked at.
    pub fn rules(&self, session: Option<&SessionId>, project: &[u8]) -> Result<Layered, Error> {
        let parts = self.parts();
        if let Some(session) = session {
            if let Some(outlet) = parts.outlets.get(session) {
                return Ok(outlet.layered());
            }
            let record = self.get(session)?;
            return self.rules_of(Some(session), &root(&record.project.root));
        }
        match project {
            [] => Ok(layered(&parts.policies, &parts.home, None, None, &[])),
            project => self.rules_of(None, &root(&Bytes::from(project))),
        }
    }

    fn rules_of(&self, session: Option<&SessionId>, project: &Path) -> Result<Layered, Error> {
        let parts = self.parts();
        let trusted = trust::settings(parts, project)?.egress;
        Ok(layered(&parts.policies, &parts.home, session, Some(project), &trusted))
    }

    /// Adds a rule. It holds from the next request on, and live connections are judged anew.
    ///
    /// # Errors
    /// When it cannot be recorded or written.
    pub fn add_rule(&self, scope: &RuleScope, rule: &Rule) -> Result<(), Error> {
        self.audit_rule("rule_added", scope, rule)?;
        let parts = self.parts();
        parts.policies.add(&scope.file(&parts.home), rule)?;
        parts.outlets.rules_changed();
        Ok(())
    }

    /// Takes a rule away; how many there were.
    ///
    /// # Errors
    /// When it cannot be recorded or written.
    pub fn remove_rule(&self, scope: &RuleScope, rule: &Rule) -> Result<u32, Error> {
        self.audit_rule("rule_removed", scope, rule)?;
        let parts = self.parts();
        let removed = parts.policies.remove(&scope.file(&parts.home), rule)?;
        parts.outlets.rules_changed();
        Ok(removed)
    }

    fn audit_rule(&self, action: &'static str, scope: &RuleScope, rule: &Rule) -> Result<(), Error> {
        let parts = self.parts();
        let (session, project) = match scope {
            RuleScope::Session(session) => (Some(session.clone()), None),
            RuleScope::Project(project) => (None, Some(Bytes::from(project.as_os_str().as_bytes()))),
            RuleScope::Global => (None, None),
        };
        let detail = json!({ "rule": rule.to_string() });
        let entry = Entry { time_us: parts.clock.now_us(), action, session, project, detail };
        Ok(parts.audit.append(entry, Sync::Disk)?)
    }

    /// What would become of a request, without traffic.
    ///
    /// # Errors
    /// When the request is none, or the rules cannot be read.
    pub fn judge(
        &self,
        method: &str,
        url: &str,
        session: Option<&SessionId>,
        project: &[u8],
    ) -> Result<Judged, Error> {
        let request = Asked::parse(method, url)
            .map_err(|source| Error::BadUrl { url: url.chars().take(200).collect(), source })?;
        let policy = self.rules(session, project)?.policy(0);
        let grants = session.and_then(|session| self.parts().outlets.get(session));
        let grants = grants.map(|outlet| outlet.grants()).unwrap_or_default();
        let credentials = grants
            .iter()
            .filter(|grant| grant.bindings.iter().any(|binding| binding.reaches(&request.authority)))
            .map(|grant| grant.name.clone())
            .collect();
        Ok(Judged { explanation: policy.explain(&request.facts()), credentials })
    }

    /// The narrowest rules that would have let through what a session was refused, the most wanted first.
    ///
    /// # Errors
    /// When the audit log cannot be read.
    pub fn suggest(&self, session: &SessionId) -> Result<Vec<(Rule, u64)>, Error> {
        let wanted = Wanted { session: session.as_str().to_owned(), ..Wanted::default() };
        let mut counts: HashMap<(String, String, String), u64> = HashMap::new();
        newest(&*self.parts().audit, &wanted, |row| {
            if !row.allowed && row.reason == "not_allowed" {
                *counts.entry((row.method, row.authority, row.path)).or_default() += row.count;
            }
            if counts.len() < SUGGESTED_FROM { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        let refused = counts.into_iter().filter_map(|((method, authority, path), count)| {
            let authority = Authority::parse(&authority, Some(443)).ok()?;
            // What is left of a path that was cut is another path.
            let path = CanonicalPath::parse(&path).ok().filter(|_| !is_cut(&path));
            Some(Refused { method, scheme: None, authority, path, count })
        });
        let mut rules = suggest::suggest(&refused.collect::<Vec<_>>());
        rules.truncate(MOST_SUGGESTED);
        Ok(rules)
    }

    /// Takes the human's answer to a question; whether somebody still waited for it.
    ///
    /// # Errors
    /// When it cannot be recorded.
    pub fn answer_egress(&self, session: &SessionId, ask: u64, answered: Answered) -> Result<bool, Error> {
        let parts = self.parts();
        let asks = parts.outlets.asks(session);
        let Some(rule) = asks.rule(ask) else { return Ok(false) };
        // The rule is added by whoever waits, after it has this answer.
        let mut detail = match answered {
            Answered::Session => json!({ "rule": rule.to_string(), "scope": "session" }),
            Answered::Always => json!({ "rule": rule.to_string(), "scope": "project" }),
            Answered::Once | Answered::No | Answered::Nobody => json!({ "rule": rule.to_string() }),
        };
        detail["ask"] = ask.into();
        detail["answer"] = answered.name().into();
        let entry = Entry {
            time_us: parts.clock.now_us(),
            action: "egress_answered",
            session: Some(session.clone()),
            project: Some(self.get(session)?.project.root),
            detail,
        };
        parts.audit.append(entry, Sync::Disk)?;
        Ok(asks.answer(ask, answered))
    }

    /// The scope of a rule or a credential for a project's directory.
    ///
    /// # Errors
    /// When it is no project.
    pub fn project_root(&self, path: &Path) -> Result<PathBuf, Error> {
        let parts = self.parts();
        let of = project::open(path, parts.home.root(), parts.user.home.as_deref())?;
        Ok(root(&of.root))
    }
}
