//! What the human asks of the proxy: rules, verdicts, answers.
//!
//! Owns that a change of rules is recorded before it is made and reaches live connections. Must not know
//! how the human asks.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use ftl_core::credential::CredentialName;
use ftl_core::egress::address::AddressRefusal;
use ftl_core::egress::asked::Asked;
use ftl_core::egress::host::Authority;
use ftl_core::egress::path::CanonicalPath;
use ftl_core::egress::policy::{Explanation, Source, Verdict};
use ftl_core::egress::rule::{Rule, Scheme};
use ftl_core::egress::suggest::{self, Refused, Suggestion};
use ftl_core::event::Bytes;
use ftl_core::id::SessionId;
use serde_json::json;

use super::super::driver::root;
use super::super::{Error, Sessions, project};
use super::excerpt::is_cut;
use super::named::{Named, named};
use super::preview::Effective;
use super::rows::newest;
use super::{Answered, Layered, RuleScope, Wanted};
use crate::audit::{Entry, Sync};
use crate::egress::dial::DialError;

/// A verdict without traffic.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The verdict and what decided.
    pub explanation: Explanation,
    /// Credentials that could travel with the request.
    pub credentials: Vec<CredentialName>,
    /// Where it would go now; none when it would go nowhere.
    pub address: Option<IpAddr>,
    /// Whether a rule allows it and the name has no address now.
    pub unresolved: bool,
    /// What is wrong with a file of rules.
    pub problem: Option<String>,
}

/// Kinds of refused requests that suggestions are made from, the newest.
const SUGGESTED_FROM: usize = 10_000;
/// Rules that are suggested at once; nobody reads more.
const MOST_SUGGESTED: usize = 200;

impl Sessions {
    /// The rules that count for a session, for the next session of a project, or everywhere.
    ///
    /// # Errors
    /// When the session or the project cannot be looked at.
    pub async fn rules(&self, session: Option<&SessionId>, project: &[u8]) -> Result<Layered, Error> {
        Ok(self.effective(session, project).await?.layered)
    }

    /// The rule that the human means by these words, among those that [`Self::rules`] lists.
    ///
    /// # Errors
    /// When the rules cannot be looked at.
    pub async fn named_rule(&self, scope: &RuleScope, project: &[u8], text: &str) -> Result<Named, Error> {
        let (session, project, own) = match scope {
            RuleScope::Session(session) => (Some(session), project, Source::Session),
            RuleScope::Project(root) => (None, root.as_os_str().as_bytes(), Source::Project),
            RuleScope::Global => (None, &b""[..], Source::Global),
        };
        let policy = self.rules(session, project).await?.policy(0);
        Ok(named(policy.rules(), text, &own))
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

    /// What would become of a request. Nothing is sent; the name is looked up when a rule allows it.
    ///
    /// # Errors
    /// When the request is none, or the rules cannot be read.
    pub async fn judge(
        &self,
        method: &str,
        url: &str,
        session: Option<&SessionId>,
        project: &[u8],
    ) -> Result<Judged, Error> {
        let mut request = Asked::parse(method, url)
            .map_err(|source| Error::BadUrl { url: url.chars().take(200).collect(), source })?;
        let Effective { layered, grants } = self.effective(session, project).await?;
        let policy = layered.policy(0);
        // What the proxy does with an alias before it decides.
        if request.scheme == Scheme::Http
            && request.authority.port == Scheme::Http.port()
            && let Some(target) = policy.alias(&request.authority.host)
        {
            (request.authority, request.scheme) = (target, Scheme::Https);
        }
        let credentials = grants
            .iter()
            .filter(|grant| grant.bindings.iter().any(|binding| binding.reaches(&request.authority)))
            .map(|grant| grant.name.clone())
            .collect();
        let mut explanation = policy.explain(&request.facts());
        let (mut address, mut unresolved) = (None, false);
        if let Verdict::Allow(permit) = &explanation.verdict {
            match self.parts().egress.address(permit).await {
                Ok(found) => address = Some(found),
                Err(DialError::Address(refusal)) if refusal != AddressRefusal::None => {
                    let denial = policy.address_denial(permit.authority(), refusal);
                    explanation.sentence =
                        format!("{}, but refused: {}", explanation.sentence, denial.reason.sentence());
                    explanation.verdict = Verdict::Deny(denial);
                }
                Err(_) => unresolved = true,
            }
        }
        Ok(Judged { explanation, credentials, address, unresolved, problem: layered.problem })
    }

    /// The narrowest rules that would have let through what a session was refused, the most wanted first.
    ///
    /// # Errors
    /// When the audit log cannot be read.
    pub fn suggest(&self, session: &SessionId) -> Result<Vec<Suggestion>, Error> {
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
