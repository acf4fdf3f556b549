//! Which credentials a request may carry, where they stand in it, and putting the real ones there.
//!
//! Owns the judgement over every place of a request that a credential can stand in. A real value is put
//! only where the sandbox had put that credential's shadow as the whole field, in a slot that the user or
//! the catalogue declared, of a request over TLS to a host, port, method and path of the binding. Must not
//! know where real values come from (a function is asked for them by name, last of all), or bodies: a
//! shadow in a body is inert text.

mod held;
mod judge;
#[cfg(test)]
mod tests;

use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use http::{HeaderMap, header};

pub use held::Held;

use crate::credential::basic::{self, Basic};
use crate::credential::{CredentialName, carriers, query as parameters};
use crate::egress::host::Authority;
use crate::sigv4::{Inbound, SigV4Error};

/// A request as it is about to leave, headers as the client sent them.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Where it goes.
    pub authority: &'a Authority,
    /// Whether TLS is spoken on both sides.
    pub tls: bool,
    /// Method, upper case.
    pub method: &'a str,
    /// Canonical path.
    pub path: &'a str,
    /// Whether two servers could read the path differently; it then fits no binding with paths.
    pub path_is_odd: bool,
    /// Query without the `?`, as sent.
    pub query: Option<&'a str>,
    /// All headers.
    pub headers: &'a HeaderMap,
}

/// What is put into a request that may leave.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    fills: Vec<Fill>,
    signing: Option<Signing>,
    endpoint: Option<TokenEndpoint>,
    credentialed: bool,
    /// Headers of the host's slots, which are taken out beside the known ones.
    carriers: Vec<HeaderName>,
}

/// One place that is filled.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Fill {
    place: Place,
}

/// Where, and with what.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Place {
    /// A header in a slot's format.
    Header { name: HeaderName, format: String, credential: CredentialName },
    /// `Authorization: Basic`.
    Basic { user: Half, password: Half },
    /// The parameter of this number, which held this shadow.
    Query { at: usize, shadow: String, credential: CredentialName },
}

/// One half of Basic authentication.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Half {
    /// As the client sent it.
    Kept(String),
    /// A real value.
    Credential(CredentialName),
}

/// A request that is signed anew; see [`crate::sigv4`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signing {
    /// Credential with the secret key.
    pub secret: CredentialName,
    /// Credential with the access key id.
    pub key_id: CredentialName,
    /// Credential with the session token, when there is one.
    pub token: Option<CredentialName>,
    /// The secret key's shadow, with which the sandbox signed.
    pub shadow_secret: String,
    /// The signature that the sandbox sent.
    pub inbound: Inbound,
}

/// A token endpoint, whose body is rewritten; see [`crate::oauth`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TokenEndpoint {
    /// Credentials that may stand in the body, each with its shadow.
    pub credentials: Vec<(CredentialName, String)>,
}

/// Why a request may not leave as it is.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SlotRefusal {
    /// A credential that is not this session's, on a host that credentials of the session are for.
    #[error("{place} holds a credential that is not the session's own")]
    ForeignCredential {
        /// Where, such as `header authorization`.
        place: String,
    },
    /// A place for a credential that is there more than once.
    #[error("{place} is there more than once")]
    Duplicate {
        /// Where.
        place: String,
    },
    /// A shadow on its way to a host that the credential is not bound to.
    #[error("{place} holds {name}, which is not bound to this host")]
    ShadowElsewhere {
        /// Which credential.
        name: CredentialName,
        /// Where.
        place: String,
    },
    /// A shadow on its own host, in a place for credentials that is not declared for it.
    #[error("{place} is not declared for {name}")]
    WrongSlot {
        /// Which credential.
        name: CredentialName,
        /// Where.
        place: String,
    },
    /// A shadow on its own host, with a method or path that the binding leaves out.
    #[error("{name} is not bound to this method and path")]
    OutsideBinding {
        /// Which credential.
        name: CredentialName,
    },
    /// A shadow in a request without TLS.
    #[error("{name} is sent over TLS only")]
    PlainHttp {
        /// Which credential.
        name: CredentialName,
    },
    /// The binding wants a credential, and there is none.
    #[error("the request has to carry {name} and does not")]
    CredentialMissing {
        /// Which credential.
        name: CredentialName,
    },
    /// A signature that cannot be made anew.
    #[error(transparent)]
    Signature(#[from] SigV4Error),
}

/// Why a planned request could not be completed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FillError {
    /// There is no real value at the moment.
    #[error("{name} has no value at the moment")]
    Unavailable {
        /// Which credential.
        name: CredentialName,
    },
    /// The real value cannot stand in its slot.
    #[error("the value of {name} cannot stand in a request")]
    BadValue {
        /// Which credential.
        name: CredentialName,
    },
    /// The query is not the one that was planned for.
    #[error("the request changed after it was planned")]
    Changed,
}

/// Judges a request and says what is to be put into it.
///
/// # Errors
/// When it carries a credential that it must not carry, or lacks one that it must.
pub fn plan(held: &Held, request: &Outgoing<'_>) -> Result<Plan, SlotRefusal> {
    judge::Judge::new(held, request).plan()
}

/// Puts the real values into their places and takes out everything else that could be a credential. Comes
/// last before a request is sent. A signature (see [`Plan::signing`]) is made after this.
///
/// # Errors
/// When a real value is missing or cannot stand in its place; headers and query are then as they were,
/// and the request must not be sent.
pub fn fill<R: AsRef<str>>(
    plan: &Plan,
    headers: &mut HeaderMap,
    query: &mut Option<String>,
    real: &dyn Fn(&CredentialName) -> Option<R>,
) -> Result<(), FillError> {
    let mut new_headers = Vec::new();
    let mut new_query = query.clone();
    for Fill { place } in &plan.fills {
        match place {
            Place::Header { name, format, credential } => {
                let value = format.replacen("{}", value_of(credential, real)?.as_ref(), 1);
                new_headers.push((name.clone(), header_value(&value, credential)?));
            }
            Place::Basic { user, password } => {
                let pair = Basic { user: user.text(real)?, password: password.text(real)? };
                let credential = user.credential().or(password.credential()).ok_or(FillError::Changed)?;
                let value = pair.write().ok_or_else(|| FillError::BadValue { name: credential.clone() })?;
                new_headers.push((AUTHORIZATION, header_value(&value, credential)?));
            }
            Place::Query { at, shadow, credential } => {
                let value = value_of(credential, real)?;
                let text = new_query.as_deref().ok_or(FillError::Changed)?;
                let planned = parameters::parameters(text).get(*at).is_some_and(|one| one.value == *shadow);
                let new = parameters::replace(text, *at, value.as_ref()).filter(|_| planned);
                new_query = Some(new.ok_or(FillError::Changed)?);
            }
        }
    }
    headers.remove(header::PROXY_AUTHORIZATION);
    if plan.credentialed {
        carriers::remove(headers, &plan.carriers);
    }
    for (name, value) in new_headers {
        headers.insert(name, value);
    }
    *query = new_query;
    Ok(())
}

/// A credential's real value, if it can stand in a request at all.
fn value_of<R: AsRef<str>>(
    name: &CredentialName,
    real: &dyn Fn(&CredentialName) -> Option<R>,
) -> Result<R, FillError> {
    let value = real(name).ok_or_else(|| FillError::Unavailable { name: name.clone() })?;
    match value.as_ref().is_empty() || basic::is_broken(value.as_ref()) {
        true => Err(FillError::BadValue { name: name.clone() }),
        false => Ok(value),
    }
}

/// A header's value that no log shows and no compression remembers.
fn header_value(text: &str, name: &CredentialName) -> Result<HeaderValue, FillError> {
    let value = HeaderValue::from_bytes(text.as_bytes());
    let mut value = value.map_err(|_| FillError::BadValue { name: name.clone() })?;
    value.set_sensitive(true);
    Ok(value)
}

// === impl Plan ===

impl Plan {
    /// Credentials that the request will carry, each once. What a token endpoint's body holds is not known
    /// yet.
    #[must_use]
    pub fn names(&self) -> Vec<CredentialName> {
        let mut names: Vec<CredentialName> =
            self.fills.iter().flat_map(|fill| fill.place.credentials()).cloned().collect();
        if let Some(signing) = &self.signing {
            names.push(signing.secret.clone());
            names.push(signing.key_id.clone());
            names.extend(signing.token.clone());
        }
        names.sort();
        names.dedup();
        names
    }

    /// Whether the request carries no credential.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fills.is_empty() && self.signing.is_none() && self.endpoint.is_none()
    }

    /// Whether any credential of the session is for this host.
    #[must_use]
    pub fn credentialed(&self) -> bool {
        self.credentialed
    }

    /// How it is signed anew, when it is.
    #[must_use]
    pub fn signing(&self) -> Option<&Signing> {
        self.signing.as_ref()
    }

    /// What its body may hold, when it goes to a token endpoint.
    #[must_use]
    pub fn endpoint(&self) -> Option<&TokenEndpoint> {
        self.endpoint.as_ref()
    }
}

impl Place {
    fn credentials(&self) -> Vec<&CredentialName> {
        match self {
            Self::Header { credential, .. } | Self::Query { credential, .. } => vec![credential],
            Self::Basic { user, password } => {
                user.credential().into_iter().chain(password.credential()).collect()
            }
        }
    }

    fn header(&self) -> Option<&HeaderName> {
        match self {
            Self::Header { name, .. } => Some(name),
            Self::Basic { .. } => Some(&AUTHORIZATION),
            Self::Query { .. } => None,
        }
    }
}

impl Half {
    fn credential(&self) -> Option<&CredentialName> {
        match self {
            Self::Kept(_) => None,
            Self::Credential(name) => Some(name),
        }
    }

    fn text<R: AsRef<str>>(&self, real: &dyn Fn(&CredentialName) -> Option<R>) -> Result<String, FillError> {
        match self {
            Self::Kept(text) => Ok(text.clone()),
            Self::Credential(name) => value_of(name, real).map(|value| value.as_ref().to_owned()),
        }
    }
}

impl SlotRefusal {
    /// The reason as a word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::ForeignCredential { .. } => "foreign_credential",
            Self::Duplicate { .. } => "duplicate_credential",
            Self::ShadowElsewhere { .. } => "shadow_elsewhere",
            Self::WrongSlot { .. } => "wrong_slot",
            Self::OutsideBinding { .. } => "outside_binding",
            Self::PlainHttp { .. } => "plain_http",
            Self::CredentialMissing { .. } => "credential_missing",
            Self::Signature(error) => error.code(),
        }
    }
}
