//! Why something was not forwarded, as one code for every step of the proxy.
//!
//! Owns the codes and the sentence of each. Must not know rules or requests: what is special about one
//! refusal stands beside the code, never in it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A refusal's code. It is what clients, the ledger and tests match on, so a code never changes its
/// meaning.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The first bytes are neither TLS nor HTTP.
    Unclassified,
    /// The request is malformed, or could be read in two ways.
    BadRequest,
    /// The names of the host that the request gives do not agree.
    HostMismatch,
    /// No rule allows it.
    NotAllowed,
    /// A rule denies it.
    Denied,
    /// The host is an address and no rule names exactly it.
    IpLiteral,
    /// The host has an address that is not a public one.
    PrivateAddress,
    /// The host answers name queries over HTTPS and no rule names exactly it.
    Doh,
    /// The host has no address.
    Unresolvable,
    /// The host does not answer.
    UpstreamUnreachable,
    /// The host's certificate is not valid for it.
    UpstreamCertificate,
    /// The request carries a credential that is not the session's.
    ForeignCredential,
    /// The request carries a shadow to a host, or in a place, that it is not bound to.
    ShadowElsewhere,
    /// The host takes a credential and the request carries none.
    CredentialMissing,
    /// The credential's value cannot be had now.
    CredentialUnavailable,
    /// More requests than the limit allows.
    RateLimited,
    /// More connections or requests at once than a session may have.
    TooMany,
    /// All sessions together hold as much as the proxy may.
    Busy,
    /// A header or body is larger than what is forwarded.
    TooLarge,
    /// Something took too long.
    Timeout,
    /// The use of a credential could not be recorded.
    AuditFailed,
    /// A rule or credential that allowed it is gone.
    Revoked,
    /// A protocol or a form of request that is not forwarded.
    Unsupported,
}

impl Reason {
    /// Every code.
    pub const ALL: [Self; 23] = [
        Self::Unclassified,
        Self::BadRequest,
        Self::HostMismatch,
        Self::NotAllowed,
        Self::Denied,
        Self::IpLiteral,
        Self::PrivateAddress,
        Self::Doh,
        Self::Unresolvable,
        Self::UpstreamUnreachable,
        Self::UpstreamCertificate,
        Self::ForeignCredential,
        Self::ShadowElsewhere,
        Self::CredentialMissing,
        Self::CredentialUnavailable,
        Self::RateLimited,
        Self::TooMany,
        Self::Busy,
        Self::TooLarge,
        Self::Timeout,
        Self::AuditFailed,
        Self::Revoked,
        Self::Unsupported,
    ];

    /// The code: lower case, words joined by `_`.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Unclassified => "unclassified",
            Self::BadRequest => "bad_request",
            Self::HostMismatch => "host_mismatch",
            Self::NotAllowed => "not_allowed",
            Self::Denied => "denied",
            Self::IpLiteral => "ip_literal",
            Self::PrivateAddress => "private_address",
            Self::Doh => "doh",
            Self::Unresolvable => "unresolvable",
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::UpstreamCertificate => "upstream_certificate",
            Self::ForeignCredential => "foreign_credential",
            Self::ShadowElsewhere => "shadow_elsewhere",
            Self::CredentialMissing => "credential_missing",
            Self::CredentialUnavailable => "credential_unavailable",
            Self::RateLimited => "rate_limited",
            Self::TooMany => "too_many",
            Self::Busy => "busy",
            Self::TooLarge => "too_large",
            Self::Timeout => "timeout",
            Self::AuditFailed => "audit_failed",
            Self::Revoked => "revoked",
            Self::Unsupported => "unsupported",
        }
    }

    /// The code as a sentence, lower case and without a full stop.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Unclassified => "the first bytes are neither TLS nor HTTP",
            Self::BadRequest => "the request is malformed or could be read in two ways",
            Self::HostMismatch => "the request names more than one host",
            Self::NotAllowed => "no rule allows it",
            Self::Denied => "a rule denies it",
            Self::IpLiteral => "the host is an address, and no rule names exactly this address",
            Self::PrivateAddress => "the host has an address that is not a public one",
            Self::Doh => "the host answers name queries over HTTPS, and no rule names exactly this host",
            Self::Unresolvable => "the host has no address",
            Self::UpstreamUnreachable => "the host does not answer",
            Self::UpstreamCertificate => "the host has no valid certificate",
            Self::ForeignCredential => "the request carries a credential that is not the session's",
            Self::ShadowElsewhere => "the request carries a credential to where it is not bound to",
            Self::CredentialMissing => "the host takes a credential and the request carries none",
            Self::CredentialUnavailable => "the credential cannot be had now",
            Self::RateLimited => "there were more requests than the limit allows",
            Self::TooMany => "the session has too many requests or connections at once",
            Self::Busy => "the proxy has no room for it now",
            Self::TooLarge => "the request or the response is larger than what is forwarded",
            Self::Timeout => "it took too long",
            Self::AuditFailed => "the use of a credential could not be recorded",
            Self::Revoked => "the rule or credential that allowed it is gone",
            Self::Unsupported => "this protocol or form of request is not forwarded",
        }
    }

    /// The reason with this code.
    #[must_use]
    pub fn of_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_the_same_in_json() {
        for reason in Reason::ALL {
            assert_eq!(Reason::of_code(reason.code()), Some(reason));
            assert_eq!(serde_json::to_string(&reason).unwrap(), format!("{:?}", reason.code()));
        }
        assert_eq!(Reason::of_code("never"), None);
    }
}
