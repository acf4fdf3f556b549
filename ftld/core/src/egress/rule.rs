//! One rule as text.
//!
//! Owns what a rule is and how it is written. Must not know where it comes from or how rules rank.
//!
//! ```text
//! allow [METHOD,METHOD] [https://|http://]HOST[:PORT][/path]
//! deny  [METHOD,METHOD] [https://|http://]HOST[:PORT][/path]
//! private HOST:PORT
//! limit HOST N/min [burst M]
//! alias NAME.ftl.local HOST[:PORT]
//! preset locked|balanced|open
//! ```
//!
//! * HOST is one host, or `*.name`: every name below that one, at any depth, and not the name itself.
//! * Without a scheme and a port, `allow` means TLS on 443 and plain HTTP on 80; with a port it means
//!   exactly this port, over TLS or plainly. A scheme narrows it further. `deny` without a port means every
//!   port.
//! * A path is a beginning by whole segments: `/v1` and `/v1/` mean `/v1`, `/v1/` and all below, not `/v10`.
//!   `/**/a/b` means every path that ends in the segments `a` and `b`. Nothing looks at the query.
//! * METHOD is one that HTTP or WebDAV has; any other is written `method:NAME`, so that a misspelt one is not
//!   taken for one of its own.
//! * The sandbox itself (`localhost`, loopback addresses) is no HOST of an `allow`, `private` or `alias`: what
//!   a sandbox sends there never leaves it.
//! * `private` allows one host and port even when its address is a private one.

mod method;
mod read;
mod tenant;

use std::fmt;

use serde::{Deserialize, Serialize};

use super::host::{Authority, DnsName, HostPattern};
use super::path::{CanonicalPath, below};
use super::preset::Preset;
use super::rate::Limit;

pub use read::{RuleError, Word};
pub use tenant::shared_by_many;

/// A rule; in JSON it is its text.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Rule {
    /// Requests that are forwarded.
    Allow(Target),
    /// Requests that are not.
    Deny(Target),
    /// A host and port that may have a private address, and is allowed.
    Private(Authority),
    /// How often a host may be asked.
    Limit {
        /// Which.
        host: HostPattern,
        /// How often.
        limit: Limit,
    },
    /// A name that stands for another host.
    Alias {
        /// A name below `ftl.local`.
        name: DnsName,
        /// What it stands for.
        target: Authority,
    },
    /// What counts under all rules.
    Preset(Preset),
}

/// TLS or not.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

/// Requests that a rule means.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Target {
    /// Methods, upper case, sorted; empty means every one.
    pub methods: Vec<String>,
    /// Scheme; none means both.
    pub scheme: Option<Scheme>,
    /// Hosts.
    pub host: HostPattern,
    /// Port; none means the usual one of the scheme.
    pub port: Option<u16>,
    /// Path; none means every one.
    pub path: Option<PathPattern>,
}

/// Paths that a rule means.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum PathPattern {
    /// This path and all below; canonical, not `/`, without a slash at the end.
    Below(String),
    /// Paths that end in these segments; canonical, without a slash at the end. Written `/**` and this.
    Ending(String),
}

/// What a rule looks at in a request.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// TLS or not.
    pub scheme: Scheme,
    /// Host and port.
    pub authority: &'a Authority,
    /// Method, as on the wire.
    pub method: &'a str,
    /// Path.
    pub path: &'a CanonicalPath,
}

impl Scheme {
    /// `https` or `http`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that it has when none is said.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl Target {
    /// Whether an `allow` of this means a request. An odd path fits no path, and letters have their case.
    #[must_use]
    pub fn allows(&self, facts: &Facts<'_>) -> bool {
        self.host.matches(&facts.authority.host)
            && self.scheme.is_none_or(|scheme| scheme == facts.scheme)
            && self.port.unwrap_or(facts.scheme.port()) == facts.authority.port
            && (self.methods.is_empty() || self.methods.iter().any(|method| method == facts.method))
            && self.path.as_ref().is_none_or(|path| path.fits(facts.path))
    }

    /// Whether a `deny` of this means a request. What is doubtful is denied: an odd path fits every path,
    /// the case of letters is ignored, and without a port every port is meant.
    #[must_use]
    pub fn denies(&self, facts: &Facts<'_>) -> bool {
        let same = |method: &String| method.eq_ignore_ascii_case(facts.method);
        self.host.matches(&facts.authority.host)
            && self.scheme.is_none_or(|scheme| scheme == facts.scheme)
            && self.port.is_none_or(|port| port == facts.authority.port)
            && (self.methods.is_empty() || self.methods.iter().any(same))
            && self.path.as_ref().is_none_or(|path| path.may_fit(facts.path))
    }

    /// Whether it means a host with everything that can be asked of it.
    #[must_use]
    pub fn is_whole_host(&self) -> bool {
        self.methods.is_empty() && self.scheme.is_none() && self.port.is_none() && self.path.is_none()
    }
}

impl Rule {
    /// Something that the human should know about the rule: one sentence. None when there is nothing.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        tenant::warning(self)
    }

    /// The command that adds the rule. A rule's text has no quote, so it can stand between two.
    #[must_use]
    pub fn command(&self) -> String {
        let text = self.to_string();
        match self {
            Self::Private(authority) => format!("ftlctl policy private {authority}"),
            Self::Allow(_) => {
                format!("ftlctl policy allow '{}'", text.strip_prefix("allow ").unwrap_or(&text))
            }
            _ => format!("ftlctl policy {text}"),
        }
    }
}

impl PathPattern {
    /// The segments that it names, with a slash before each.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Below(text) | Self::Ending(text) => text,
        }
    }

    /// How many segments it names.
    #[must_use]
    pub fn segments(&self) -> usize {
        self.text().matches('/').count()
    }
}

impl PathPattern {
    fn fits(&self, path: &CanonicalPath) -> bool {
        path.is_plain()
            && match self {
                Self::Below(text) => below(path.as_str(), text),
                Self::Ending(text) => path.as_str().ends_with(text.as_str()),
            }
    }

    fn may_fit(&self, path: &CanonicalPath) -> bool {
        let (path_text, text) = (path.as_str().to_ascii_lowercase(), self.text().to_ascii_lowercase());
        path.is_odd()
            || match self {
                Self::Below(_) => below(&path_text, &text),
                Self::Ending(_) => path_text.trim_end_matches('/').ends_with(&text),
            }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow(target) => write!(f, "allow {target}"),
            Self::Deny(target) => write!(f, "deny {target}"),
            Self::Private(authority) => write!(f, "private {authority}"),
            Self::Limit { host, limit } => {
                write!(f, "limit {host} {}/min burst {}", limit.per_minute(), limit.burst())
            }
            Self::Alias { name, target } => write!(f, "alias {name} {target}"),
            Self::Preset(preset) => write!(f, "preset {preset}"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.methods.is_empty() {
            let methods: Vec<String> = self.methods.iter().map(|one| method::written(one)).collect();
            write!(f, "{} ", methods.join(","))?;
        }
        if let Some(scheme) = self.scheme {
            write!(f, "{}://", scheme.name())?;
        }
        write!(f, "{}", self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        self.path.as_ref().map_or(Ok(()), |path| path.fmt(f))
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Below(text) => f.write_str(text),
            Self::Ending(text) => write!(f, "/**{text}"),
        }
    }
}

impl From<Rule> for String {
    fn from(rule: Rule) -> Self {
        rule.to_string()
    }
}

impl TryFrom<String> for Rule {
    type Error = RuleError;

    fn try_from(text: String) -> Result<Self, RuleError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests;
