//! Credentials as the sandbox knows them: by name and by shadow, bound to where they may be used.
//!
//! Owns what a credential is called, what it is bound to, and what of it a session holds. Must not keep
//! any real value: those are in the daemon's vault, and are asked for by name when a request that may
//! carry one is on its way out.
//!
//! Reading order: [`dotenv`] reads variables, [`classify`] tells which are secret, [`catalogue`] whose they
//! are, [`shape`] and [`url`] make shadows, [`shadow`] puts these together.

mod basic;
pub mod carriers;
pub mod catalogue;
pub mod classify;
pub mod dotenv;
mod query;
pub mod secret_value;
pub mod shadow;
pub mod shape;
pub mod slot_text;
pub mod slots;
pub mod url;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::egress::host::{Authority, HostPattern};

/// A credential's name: an environment variable's, or one's and what of it behind a [`PART`].
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct CredentialName(String);

/// Where a credential may be used, and how it travels there. All parts must fit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Binding {
    /// Hosts.
    pub hosts: Vec<HostPattern>,
    /// Port; only TLS is spoken on it.
    #[serde(default = "https")]
    pub port: u16,
    /// Methods, upper case; empty means every one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Beginnings of the canonical path, whole segments; empty means every one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// How it travels; a request may use any one of them.
    pub slots: Vec<Slot>,
    /// Whether a request without the credential is forwarded all the same, without any.
    #[serde(default, skip_serializing_if = "is_false")]
    pub optional: bool,
}

/// How a credential travels in a request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Slot {
    /// A header; `{}` in the format is the value: `Bearer {}`.
    Header {
        /// Lower case.
        name: String,
        /// Has `{}` exactly once.
        format: String,
    },
    /// The password of Basic authentication.
    BasicPassword,
    /// The user name of Basic authentication.
    BasicUser,
    /// A parameter of the query.
    Query {
        /// The parameter, as it is when decoded.
        name: String,
    },
    /// AWS Signature Version 4: this credential is the secret key, `key_id` names the access key id's
    /// and `token` the session token's credential, when there is one.
    SigV4 {
        /// Credential with the access key id.
        key_id: CredentialName,
        /// Credential with the session token.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<CredentialName>,
    },
    /// A refresh token in the form or JSON body of a POST to exactly this path of the host.
    OAuthRefresh {
        /// The token endpoint's path.
        path: String,
    },
}

/// A credential that a session may use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// Its name.
    pub name: CredentialName,
    /// What the sandbox has in its place: random, of the session's own, in the vendor's shape.
    pub shadow: String,
    /// Where it may be used; empty means nowhere.
    pub bindings: Vec<Binding>,
}

/// Why a text is no credential's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "a credential's name has letters, digits and `_`, does not begin with a digit, and is at most 128 long"
)]
pub struct NameError;

/// Longest name of a variable.
const LONGEST: usize = 128;
/// Longest name of a part of one; parts of parts may be longer by as much again.
const LONGEST_PART: usize = 64;
/// What stands between a variable's name and that of a part of its value. No variable's name has it, so
/// that a part never takes the name of another credential.
const PART: char = '.';

impl CredentialName {
    /// Reads a name.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let first = text.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
        let good = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        (first && good && text.len() <= LONGEST).then(|| Self(text.to_owned())).ok_or(NameError)
    }

    /// The name of a part of this credential, or of what came in exchange for it. What no name has becomes
    /// a `_`, and what is too long is cut.
    #[must_use]
    pub fn part(&self, label: &str) -> Self {
        let fold = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let label: String = label.trim_start_matches('_').chars().map(fold).take(LONGEST_PART).collect();
        let label = if label.is_empty() { "_".to_owned() } else { label };
        Self(format!("{}{PART}{label}", self.0))
    }

    /// Whether this is the name of a part, which no variable can have.
    #[must_use]
    pub fn is_part(&self) -> bool {
        self.0.contains(PART)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Binding {
    /// Whether it means this host and port.
    #[must_use]
    pub fn reaches(&self, authority: &Authority) -> bool {
        self.port == authority.port && self.hosts.iter().any(|pattern| pattern.matches(&authority.host))
    }

    /// How it may travel, one sentence for each way.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        let hosts: Vec<String> = self.hosts.iter().map(ToString::to_string).collect();
        let port = if self.port == 443 { String::new() } else { format!(" port {}", self.port) };
        let list = |lead: &str, items: &[String]| match items {
            [] => String::new(),
            items => format!("{lead}{}", items.join(", ")),
        };
        let (paths, methods) = (list(" below ", &self.paths), list(" with ", &self.methods));
        let to = format!("to {}{port}{paths}{methods}", hosts.join(", "));
        self.slots.iter().map(|slot| format!("{slot} {to}")).collect()
    }
}

impl fmt::Display for CredentialName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<CredentialName> for String {
    fn from(name: CredentialName) -> Self {
        name.0
    }
}

impl TryFrom<String> for CredentialName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        let (variable, parts) = text.split_once(PART).unwrap_or((&text, "_"));
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let good = |part: &str| !part.is_empty() && part.len() <= LONGEST_PART && part.bytes().all(word);
        Self::parse(variable)?;
        if parts.split(PART).all(good) { Ok(Self(text)) } else { Err(NameError) }
    }
}

fn https() -> u16 {
    443
}

fn is_false(value: &bool) -> bool {
    !*value
}
