//! The session as the egress proxy sees it.
//!
//! Owns which rules and credentials count at this moment, and passes on what is recorded, asked and
//! learned. Must not know how a request travels.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use ftl_core::config::Settings;
use ftl_core::credential::secret_value::Secret;
use ftl_core::credential::slots::Held;
use ftl_core::credential::{Binding, CredentialName, Grant};
use ftl_core::egress::policy::Policy;
use ftl_core::egress::rule::Rule;
use ftl_core::event::Kind;
use ftl_core::id::SessionId;
use ftl_core::oauth::NewToken;
use ftl_core::scrub::Scrubber;

use super::super::record::Record;
use super::ask::{Answered, Asks, PATIENCE};
use super::holdings::Holdings;
use super::ledger::Ledger;
use super::project_of;
use super::rules::{Layered, RuleScope, layered};
use crate::app::Parts;
use crate::egress::guard::{Answer, AuditFailed, Guard, Intent, Outcome, Question, Refused, Unavailable};
use crate::home::Home;
use crate::policy::PolicyFiles;
use crate::vault::Vault;

/// What speaks for one session.
pub(super) struct SessionGuard {
    session: SessionId,
    project: PathBuf,
    agent: String,
    home: Home,
    /// The human's policy files that count, looked at for every request.
    policies: [PathBuf; 3],
    vault: Arc<Vault>,
    files: Arc<PolicyFiles>,
    asks: Arc<Asks>,
    ledger: Ledger,
    turn: Mutex<Turn>,
    policy: Mutex<Current>,
}

/// What a turn brings.
#[derive(Default)]
struct Turn {
    holdings: Arc<Holdings>,
    trusted: Vec<String>,
    agent_rules: Vec<Rule>,
    /// Counts changes of the above.
    generation: u64,
}

/// The policy in force, and what it was made of.
#[derive(Default)]
struct Current {
    made_of: Vec<Arc<Vec<Rule>>>,
    turn: u64,
    generation: u64,
    policy: Option<Arc<Policy>>,
}

impl SessionGuard {
    pub(super) fn new(parts: &Parts, record: &Record) -> Self {
        let (audit, clock) = (Arc::clone(&parts.audit), Arc::clone(&parts.clock));
        let project = project_of(record);
        let scopes =
            [RuleScope::Session(record.id.clone()), RuleScope::Project(project.clone()), RuleScope::Global];
        Self {
            session: record.id.clone(),
            project,
            policies: scopes.map(|scope| scope.file(&parts.home)),
            agent: record.spec.agent.clone(),
            home: parts.home.clone(),
            vault: Arc::clone(&parts.vault),
            files: Arc::clone(&parts.policies),
            asks: parts.outlets.asks(&record.id),
            ledger: Ledger::new(record.id.clone(), record.project.root.clone(), audit, clock),
            turn: Mutex::default(),
            policy: Mutex::default(),
        }
    }

    /// Speaks for a session's checks: the session's rules, and nobody who is asked.
    pub(super) fn of_checks(parts: &Parts, record: &Record) -> Self {
        Self { asks: Arc::default(), ..Self::new(parts, record) }
    }

    /// A turn begins with these credentials and settings.
    pub(super) fn begin(&self, holdings: Holdings, settings: &Settings, agent_rules: Vec<Rule>) {
        let mut turn = self.lock();
        turn.holdings = Arc::new(holdings);
        turn.trusted.clone_from(&settings.egress);
        turn.agent_rules = agent_rules;
        turn.generation += 1;
    }

    pub(super) fn asks(&self) -> &Asks {
        &self.asks
    }

    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The rules that count now.
    pub(super) fn layered(&self) -> Layered {
        let turn = self.lock();
        self.layered_in(&turn)
    }

    /// The session's credentials, bound or not.
    pub(super) fn grants(&self) -> Vec<Grant> {
        self.lock().holdings.grants().to_vec()
    }

    fn layered_in(&self, turn: &Turn) -> Layered {
        layered(&self.files, &self.home, Some(&self.session), Some(&self.project), &turn.trusted)
            .with_implied(&self.agent, &turn.agent_rules, &turn.holdings.agreed())
    }

    /// Whether the session is of this project; of any when none is named.
    pub(super) fn is_of(&self, project: Option<&Path>) -> bool {
        project.is_none_or(|project| project == self.project)
    }

    /// The human has bound a variable anew, or forgotten it (`None`).
    pub(super) fn credential_changed(&self, variable: &CredentialName, bindings: Option<&[Binding]>) {
        let mut turn = self.lock();
        turn.holdings = Arc::new(turn.holdings.changed(variable, bindings));
        turn.generation += 1;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every real value that was seen, under the name of its credential.
    pub(super) fn named_reals(&self) -> Vec<(String, Secret)> {
        self.holdings().named_reals()
    }

    fn holdings(&self) -> Arc<Holdings> {
        Arc::clone(&self.lock().holdings)
    }

    /// Writes down a rule that the human has just allowed.
    fn allow(&self, scope: &RuleScope, rule: &Rule) -> bool {
        let added = self.files.add(&scope.file(&self.home), rule);
        if let Err(error) = &added {
            tracing::error!(session = %self.session, %error, "an allowed rule could not be kept");
        }
        added.is_ok()
    }
}

#[async_trait]
impl Guard for SessionGuard {
    fn policy(&self) -> Arc<Policy> {
        let turn = self.lock();
        let made_of: Vec<_> = self.policies.iter().map(|path| self.files.rules(path).rules).collect();
        let mut current = self.policy.lock().unwrap_or_else(PoisonError::into_inner);
        let same = current.made_of.len() == made_of.len()
            && current.made_of.iter().zip(&made_of).all(|(one, other)| Arc::ptr_eq(one, other));
        if let Some(policy) = current.policy.as_ref().filter(|_| same && current.turn == turn.generation) {
            return Arc::clone(policy);
        }
        current.generation += 1;
        let policy = Arc::new(self.layered_in(&turn).policy(current.generation));
        (current.made_of, current.turn) = (made_of, turn.generation);
        current.policy = Some(Arc::clone(&policy));
        policy
    }

    fn held(&self) -> Arc<Held> {
        self.lock().holdings.held()
    }

    async fn real(&self, name: &CredentialName) -> Result<Secret, Unavailable> {
        let holdings = self.holdings();
        holdings.real(&self.vault, name).await.map_err(|error| {
            tracing::warn!(session = %self.session, credential = %name, %error, "a credential cannot be had");
            Unavailable(error.to_string())
        })
    }

    fn scrubber(&self) -> Scrubber {
        self.holdings().scrubber()
    }

    async fn record(&self, intent: &Intent) -> Result<u64, AuditFailed> {
        self.ledger.record(intent).map_err(|error| {
            tracing::error!(session = %self.session, %error, "a request could not be recorded and is refused");
            AuditFailed(error.to_string())
        })
    }

    fn leaving(&self, id: u64) {
        self.ledger.leaving(id);
    }

    fn settle(&self, id: u64, outcome: &Outcome) {
        self.ledger.settle(id, outcome);
    }

    fn refused(&self, refusal: &Refused) {
        self.ledger.refused(refusal);
    }

    fn answers(&self) -> bool {
        self.asks.is_watched()
    }

    async fn ask(&self, question: &Question) -> Answer {
        let Some(rule) = &question.would_allow else { return Answer::Nobody };
        let Some((ask, answer)) = self.asks.open(rule.clone()) else { return Answer::Nobody };
        // A request that goes away takes its question back.
        let mut asked = Asked { guard: self, ask, answered: Answered::Nobody };
        self.ledger.tell(Kind::EgressAsked {
            ask,
            method: question.method.clone(),
            authority: question.authority.to_string(),
            path: question.path.clone(),
            rule: rule.to_string(),
            patience_ms: u64::try_from(PATIENCE.as_millis()).unwrap_or(u64::MAX),
        });
        asked.answered = match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(answered)) => answered,
            Ok(Err(_)) | Err(_) => Answered::Nobody,
        };
        let answered = asked.answered;
        let kept = match answered {
            Answered::Session => self.allow(&RuleScope::Session(self.session.clone()), rule),
            Answered::Always => self.allow(&RuleScope::Project(self.project.clone()), rule),
            Answered::Once | Answered::No | Answered::Nobody => true,
        };
        match answered {
            Answered::Once => Answer::Once,
            Answered::Session | Answered::Always if kept => Answer::Ruled,
            // What could not be written down holds for this request, which the human has allowed.
            Answered::Session | Answered::Always => Answer::Once,
            Answered::No => Answer::No,
            Answered::Nobody => Answer::Nobody,
        }
    }

    async fn learn(&self, from: &[CredentialName], tokens: Vec<NewToken>) -> Result<(), Unavailable> {
        let Some(asked_with) = from.first() else {
            return Err(Unavailable("no credential was sent for these tokens".to_owned()));
        };
        let mut turn = self.lock();
        turn.holdings = Arc::new(turn.holdings.learn(asked_with, tokens));
        turn.generation += 1;
        Ok(())
    }
}

/// A question as long as somebody waits for its answer.
struct Asked<'a> {
    guard: &'a SessionGuard,
    ask: u64,
    answered: Answered,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.guard.asks.close(self.ask);
        let answer = self.answered.name().to_owned();
        self.guard.ledger.tell(Kind::EgressAnswered { ask: self.ask, answer });
    }
}
