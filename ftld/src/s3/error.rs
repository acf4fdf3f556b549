//! What can go wrong between here and a bucket, and what the human can do about it.
//!
//! Owns the sentences and the hints. What the service says is shown with control characters replaced and cut.

use ftl_core::s3::{Fault, LocationError, XmlError};
use http::StatusCode;

use crate::dial::DialError;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum S3Error {
    /// The bucket's name cannot stand in a host's.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// There is no connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// It takes too long.
    #[error("{0} takes too long")]
    Slow(&'static str),
    /// The connection breaks off, or what comes is no HTTP.
    #[error("the exchange with the service breaks off")]
    Broken(#[source] hyper::Error),
    /// The service refuses.
    #[error("the service answers {} ({}): {}", status.as_u16(), fault.code, fault.message)]
    Refused {
        /// Status.
        status: StatusCode,
        /// What it says.
        fault: Fault,
    },
    /// The answer is not what such a service sends.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// The answer makes no sense.
    #[error("the service sends {0}")]
    Nonsense(&'static str),
    /// A key or header that cannot be sent.
    #[error("the request cannot be signed: the access key has a character that no key has")]
    Unsendable,
}

/// Longest text of the service that is shown, characters.
const LONGEST: usize = 300;

impl S3Error {
    /// An answer that is no success.
    pub(super) fn refused(status: StatusCode, fault: Option<Fault>, region: Option<String>) -> Self {
        let fault = fault.unwrap_or_default();
        let code = match fault.code.as_str() {
            "" => status.canonical_reason().unwrap_or("no reason"),
            code => code,
        };
        let message = if fault.message.is_empty() { "no more is said" } else { &fault.message };
        let region = fault.region.as_deref().or(region.as_deref()).map(shown);
        Self::Refused { status, fault: Fault { code: shown(code), message: shown(message), region } }
    }

    /// The status of the service's refusal.
    pub(super) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the bucket is there and the key is not.
    pub(super) fn is_missing_key(&self) -> bool {
        matches!(self, Self::Refused { status: StatusCode::NOT_FOUND, fault } if fault.code != "NoSuchBucket")
    }

    /// What the human can do about it; empty when nothing is known.
    #[must_use]
    pub fn hint(&self) -> String {
        let hint = match self {
            Self::Dial(DialError::Unreachable { .. }) | Self::Slow(_) => {
                "see that `remote.endpoint` in ~/.ftl/config is right and reachable"
            }
            Self::Dial(DialError::Elsewhere { .. }) | Self::Location(_) => {
                "correct `remote` in ~/.ftl/config"
            }
            Self::Dial(DialError::Certificate { .. }) => {
                "add the authority's certificate to this machine's, and start the daemon anew"
            }
            Self::Refused { status, fault } => return refusal_hint(*status, fault),
            Self::Xml(_) | Self::Nonsense(_) => "see that `remote.endpoint` is an S3 service's",
            Self::Unsendable => "set the key again with `ftlctl secret set --global FTL_S3_ACCESS_KEY_ID`",
            Self::Broken(_) | Self::Dial(DialError::Handshake { .. }) => {
                "try again: what was sent is not sent a second time"
            }
        };
        hint.to_owned()
    }
}

fn refusal_hint(status: StatusCode, fault: &Fault) -> String {
    let hint = match (fault.code.as_str(), &fault.region) {
        ("NoSuchBucket", _) => "make the bucket, or correct `remote.url` in ~/.ftl/config",
        ("RequestTimeTooSkewed", _) => "this machine's clock is wrong: set it",
        (
            "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "InvalidToken"
            | "ExpiredToken"
            | "TokenRefreshRequired",
            _,
        ) => {
            "set the key pair with `ftlctl secret set --global FTL_S3_ACCESS_KEY_ID` and `… FTL_S3_SECRET_ACCESS_KEY`"
        }
        ("AuthorizationHeaderMalformed" | "PermanentRedirect" | "TemporaryRedirect", Some(region)) => {
            return format!("the bucket is in {region}: set `remote.region` in ~/.ftl/config to that");
        }
        (
            "AuthorizationHeaderMalformed" | "PermanentRedirect" | "IllegalLocationConstraintException",
            None,
        ) => "set `remote.region` in ~/.ftl/config to the bucket's",
        _ if status == StatusCode::FORBIDDEN => {
            "the key needs s3:ListBucket on the bucket, and s3:GetObject, s3:PutObject and s3:AbortMultipartUpload on its objects"
        }
        _ if status.is_redirection() => {
            "set `remote.region` and `remote.endpoint` in ~/.ftl/config to the bucket's"
        }
        _ if status.is_server_error() => "try again later: what was sent is not sent a second time",
        _ => "",
    };
    hint.to_owned()
}

fn shown(text: &str) -> String {
    let plain = |one: char| if one.is_control() { ' ' } else { one };
    text.chars().take(LONGEST).map(plain).collect()
}
