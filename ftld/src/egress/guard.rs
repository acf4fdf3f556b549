//! The session as the proxy sees it.
//!
//! Owns the trait that speaks for a session, and what is said in both directions: what may leave, what
//! left, what was refused, what the human is asked. Must not know how a session keeps any of it.

use std::sync::Arc;

use async_trait::async_trait;
use ftl_core::credential::CredentialName;
use ftl_core::credential::secret_value::Secret;
use ftl_core::credential::slots::Held;
use ftl_core::egress::host::{Authority, Host};
use ftl_core::egress::policy::{Policy, Reason, Source};
use ftl_core::egress::rule::{Rule, Scheme};
use ftl_core::oauth::NewToken;
use ftl_core::scrub::Scrubber;

/// Speaks for one session. Everything is asked anew for every request, so a change counts from the next
/// one on; for those that are under way see [`super::Gateway::policy_changed`].
#[async_trait]
pub trait Guard: Send + Sync {
    /// The rules as they are now. Each change has a new generation.
    fn policy(&self) -> Arc<Policy>;

    /// What the session holds now. A credential that was revoked is not in it.
    fn held(&self) -> Arc<Held>;

    /// Today's value of a credential.
    ///
    /// # Errors
    /// When there is none now, or it was revoked.
    async fn real(&self, name: &CredentialName) -> Result<Secret, Unavailable>;

    /// What takes every value out of an answer that [`Self::real`] ever returned to this session, and all
    /// others that it holds. Asked for after the values of a request were. Cloning one is cheap, making one
    /// is not: it should be made when the values change.
    fn scrubber(&self) -> Scrubber;

    /// Records what is about to be forwarded, before any byte is. The number is given back to
    /// [`Self::settle`].
    ///
    /// # Errors
    /// When it cannot be recorded; nothing is then forwarded.
    async fn record(&self, intent: &Intent) -> Result<u64, AuditFailed>;

    /// There is a connection, and what was recorded is about to be written to it. Called at most once for
    /// each number, before [`Self::settle`]; never when nothing left. Must not block.
    fn leaving(&self, id: u64);

    /// Says how something that was recorded ended. Called once for each number, and must not block.
    fn settle(&self, id: u64, outcome: &Outcome);

    /// Something was refused. May come very often, so the guard counts equal ones together; must not
    /// block.
    fn refused(&self, refused: &Refused);

    /// Whether somebody could answer a question now.
    fn answers(&self) -> bool;

    /// Asks the human and waits for the answer. Dropping the future takes the question back.
    async fn ask(&self, question: &Question) -> Answer;

    /// Takes the tokens that a token endpoint answered with, and what was sent to get them, before the
    /// sandbox gets their shadows.
    ///
    /// # Errors
    /// When they cannot be kept; the sandbox then gets nothing.
    async fn learn(&self, from: &[CredentialName], tokens: Vec<NewToken>) -> Result<(), Unavailable>;
}

/// A request that is about to be forwarded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Intent {
    /// Method.
    pub method: String,
    /// Whether TLS is spoken to the host.
    pub scheme: Scheme,
    /// Where it goes.
    pub authority: Authority,
    /// Canonical path, without the query; at most 8 KiB.
    pub path: String,
    /// The rule that allows it, as text.
    pub rule: String,
    /// Where that rule comes from.
    pub source: Source,
    /// Generation of the policy that decided.
    pub generation: u64,
    /// Credentials that travel with it.
    pub credentials: Vec<CredentialName>,
}

/// How a request ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// Status of the response; 0 when there was none.
    pub status: u16,
    /// Bytes of the request's body that were read from the sandbox; after an upgrade, of its frames.
    pub up: u64,
    /// Bytes of the response's body that were given to the sandbox; after an upgrade, of its frames.
    pub down: u64,
    /// How it ended.
    pub end: End,
}

/// How a request ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// To the last byte.
    Whole,
    /// One side broke off, or something was too slow or too large.
    Broken,
    /// It was refused after it had been recorded; the sandbox got a refusal with this reason.
    Refused(Reason),
    /// It was closed because a rule or credential is gone, or the session has ended.
    Revoked,
}

/// Something that was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// What it was.
    pub what: What,
    /// Where it wanted to go, as far as that is known.
    pub authority: Option<Authority>,
    /// Why.
    pub reason: Reason,
    /// The rule that denies it, as text; none when it was no rule.
    pub rule: Option<String>,
    /// What the reason's own sentence does not say, without values; may be empty.
    pub detail: String,
    /// The credential that it is about.
    pub credential: Option<CredentialName>,
    /// The narrowest rule that would have allowed it.
    pub would_allow: Option<Rule>,
    /// How far it had come.
    pub stage: Stage,
}

/// How far something had come when it was refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Stage {
    /// It was not recorded; the refusal is all there is.
    Arrived,
    /// It was recorded, and nothing of it left. [`Guard::settle`] says how it ended.
    Recorded,
    /// It left. [`Guard::settle`] says how it ended.
    Left,
}

/// What was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// A request.
    Request {
        /// Method.
        method: String,
        /// Canonical path without the query, as far as there is one; `/` otherwise.
        path: String,
    },
    /// A connection that never became a request.
    Connection,
    /// A question for a name.
    Name(Host),
}

/// A request that no rule allows, for the human.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    /// Method; empty when a program looked the name up and nothing more is known.
    pub method: String,
    /// TLS or not.
    pub scheme: Scheme,
    /// Where it wants to go.
    pub authority: Authority,
    /// Canonical path without the query; empty when there is no method.
    pub path: String,
    /// The narrowest rule that would allow it.
    pub would_allow: Option<Rule>,
}

/// What the human says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// This request alone.
    Once,
    /// A rule was added: the policy is to be read again.
    Ruled,
    /// No.
    No,
    /// There is nobody to ask.
    Nobody,
}

/// There is no value for a credential now. Why is for the daemon's log.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the credential cannot be had now: {0}")]
pub struct Unavailable(pub String);

/// Something could not be recorded. Why is for the daemon's log.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("cannot record the request: {0}")]
pub struct AuditFailed(pub String);
