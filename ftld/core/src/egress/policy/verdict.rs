//! What a policy says about a request.
//!
//! Owns the verdict and its two forms. A [`Permit`] can be made by the policy alone, so whoever holds one
//! holds a request that was decided. Must not know how it was decided.

use std::fmt;

use super::Reason;
use crate::egress::host::Authority;
use crate::egress::preset::Preset;
use crate::egress::rule::{Rule, Scheme};

/// Where a rule comes from, the highest rank first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Source {
    /// The human, for this request alone.
    Once,
    /// The human, for the session.
    Session,
    /// The human, for the project.
    Project,
    /// The project's `.ftlconfig`, in the bytes that the human trusts.
    TrustedConfig,
    /// The human, for every session.
    Global,
    /// What the session's agent needs to reach its model.
    Agent(String),
    /// What a credential is bound to.
    Credential(String),
    /// The preset at the bottom.
    Preset(Preset),
}

/// What becomes of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It may be forwarded.
    Allow(Permit),
    /// It is refused.
    Deny(Denial),
}

/// The proof that the policy allowed a request. Only [`super::Policy`] makes one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Permit {
    authority: Authority,
    scheme: Scheme,
    rule: String,
    source: Source,
    private: bool,
    generation: u64,
}

/// Why a request is refused, and what would change that.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Denial {
    /// The code.
    pub reason: Reason,
    /// The rule that denies it, as text; none when merely nothing allows it.
    pub rule: Option<String>,
    /// Where that rule comes from.
    pub source: Option<Source>,
    /// How the human can allow it: one sentence with a command, or why nothing can.
    pub hint: String,
    /// The narrowest rule that would allow it; none when no rule can.
    pub would_allow: Option<Box<Rule>>,
}

/// Whether a name is worth an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HostVerdict {
    /// Some request to it may be allowed.
    Reachable,
    /// None is.
    Refused(Denial),
}

/// A verdict with what led to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explanation {
    /// The verdict.
    pub verdict: Verdict,
    /// The rule that decided, as text, and where it comes from; none when no rule means the request.
    pub decided: Option<(String, Source)>,
    /// The rule that would have decided without that one; without a deciding rule, the first that means
    /// the request all the same.
    pub runner_up: Option<(String, Source)>,
    /// Verdict and deciding rule as one sentence.
    pub sentence: String,
}

impl Denial {
    /// A denial that no rule can change.
    #[must_use]
    pub fn of(reason: Reason, hint: impl Into<String>) -> Self {
        Self { reason, rule: None, source: None, hint: hint.into(), would_allow: None }
    }
}

impl Source {
    /// Whether the human wrote the rule for FTL, rather than agreed to a file or a default.
    #[must_use]
    pub fn is_human(&self) -> bool {
        matches!(self, Self::Once | Self::Session | Self::Project | Self::Global)
    }

    /// Rank, 0 is the highest.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Once => 0,
            Self::Session => 1,
            Self::Project => 2,
            Self::TrustedConfig => 3,
            Self::Global => 4,
            Self::Agent(_) | Self::Credential(_) => 5,
            Self::Preset(_) => 6,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Once => f.write_str("once"),
            Self::Session => f.write_str("session"),
            Self::Project => f.write_str("project"),
            Self::TrustedConfig => f.write_str("trusted .ftlconfig"),
            Self::Global => f.write_str("global"),
            Self::Agent(name) => write!(f, "agent {name}"),
            Self::Credential(name) => write!(f, "credential {name}"),
            Self::Preset(preset) => write!(f, "preset {preset}"),
        }
    }
}

/// What a permit says, for its one maker.
pub(super) struct Terms {
    pub(super) authority: Authority,
    pub(super) scheme: Scheme,
    pub(super) rule: String,
    pub(super) source: Source,
    pub(super) private: bool,
    pub(super) generation: u64,
}

impl Permit {
    /// A permit with these terms.
    pub(super) fn new(terms: Terms) -> Self {
        let Terms { authority, scheme, rule, source, private, generation } = terms;
        Self { authority, scheme, rule, source, private, generation }
    }

    /// Where the request may go.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Whether over TLS or plainly.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The rule that allows it, as text.
    #[must_use]
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// Where the rule comes from.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Whether a private address may be dialled; for [`crate::egress::address::check`].
    #[must_use]
    pub fn private_allowed(&self) -> bool {
        self.private
    }

    /// The number of the policy that decided.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

impl Verdict {
    /// The permit, if it is one.
    ///
    /// # Errors
    /// The denial otherwise.
    pub fn permit(self) -> Result<Permit, Denial> {
        match self {
            Self::Allow(permit) => Ok(permit),
            Self::Deny(denial) => Err(denial),
        }
    }

    /// Whether the request may be forwarded.
    #[must_use]
    pub fn is_allow(&self) -> bool {
        matches!(self, Self::Allow(_))
    }
}
