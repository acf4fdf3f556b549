//! One canonical form for everything that names a host.
//!
//! Owns what a host name, an authority (`host:port`) and a host pattern are. Everything that decides
//! about a host (policy, name answers, dialling, certificates, credentials, the log) gets it as one of
//! these values and never as text, so that no two steps can read the same text differently.
//!
//! Refused rather than repaired: whatever two readers could read differently, such as NUL bytes, user
//! names, non-canonical numbers for addresses, or letters outside ASCII. There is no conversion of such
//! letters: two libraries that convert by different tables would name two hosts.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// A host in canonical form.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Host {
    /// A name: lower case, ASCII, no trailing dot, not empty.
    Dns(DnsName),
    /// An address. A v4 address inside a v6 one is the v4 address.
    Ip(IpAddr),
}

/// A host name in canonical form; see [`Host::Dns`].
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct DnsName(String);

/// A host and a port.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Authority {
    /// The host.
    pub host: Host,
    /// The port; never 0.
    pub port: u16,
}

/// Hosts that a rule means: one, or every name below one.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum HostPattern {
    /// This host and no other.
    Exact(Host),
    /// Every name that ends in `.` and this name, at any depth; not the name itself, and no name that has
    /// an underscore in what the `*` stands for: such names are no host names for some readers, so a rule
    /// must write them out. Written `*.name`.
    Below(DnsName),
}

/// Why a text names no host.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HostError {
    /// Nothing is there.
    #[error("the host is empty")]
    Empty,
    /// It is longer than 253 characters, or a label is longer than 63.
    #[error("the host is too long")]
    TooLong,
    /// A character that no host name has.
    #[error("the host has a character that no host name has")]
    BadCharacter,
    /// Letters outside ASCII.
    #[error("the host has letters outside ASCII, write its `xn--` form")]
    NotAscii,
    /// An empty label, or one that begins or ends with a hyphen.
    #[error("the host has a label that no host name has")]
    BadLabel,
    /// It looks like an address and is none in its one canonical form.
    #[error("the host is a number and not an address in its usual form")]
    OddAddress,
    /// The port is missing, 0, too large or no number.
    #[error("the port is missing or not a number between 1 and 65535")]
    BadPort,
    /// A `*` stands elsewhere than as the whole first label, or would mean a whole domain such as `com`.
    #[error("`*` can only be the whole first label, in front of at least two more")]
    BadWildcard,
    /// A `*` in front of a name such as `co.uk`, below which everybody registers names.
    #[error("`*` would mean the names of everybody who registers one there, write one label more")]
    PublicSuffix,
}

/// Longest name, characters.
const LONGEST_NAME: usize = 253;
/// Longest label, characters.
const LONGEST_LABEL: usize = 63;

impl Host {
    /// Reads a host without a port. A v6 address stands in brackets.
    ///
    /// # Errors
    /// When it is none, or could be read as two.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let address: Ipv6Addr = inner.parse().map_err(|_| HostError::OddAddress)?;
            return Ok(Self::of(IpAddr::V6(address)));
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Ip(IpAddr::V4(address)));
        }
        DnsName::parse(text).map(Self::Dns)
    }

    /// The host of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        Self::Ip(address.to_canonical())
    }

    /// Whether a sandbox means itself by it: `localhost`, names below it, loopback addresses, `0.0.0.0`, `[::]`.
    #[must_use]
    pub fn is_sandbox(&self) -> bool {
        match self {
            Self::Ip(address) => address.is_loopback() || address.is_unspecified(),
            Self::Dns(name) => name.is_localhost(),
        }
    }

    /// The name, unless it is an address.
    #[must_use]
    pub fn name(&self) -> Option<&DnsName> {
        match self {
            Self::Dns(name) => Some(name),
            Self::Ip(_) => None,
        }
    }
}

impl DnsName {
    /// Whether it is `localhost` or below it.
    fn is_localhost(&self) -> bool {
        self.0 == "localhost" || self.0.ends_with(".localhost")
    }

    /// Reads a name; one dot at the end is taken off.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Err(HostError::Empty);
        }
        if !text.is_ascii() {
            return Err(HostError::NotAscii);
        }
        let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if !text.bytes().all(good) {
            return Err(HostError::BadCharacter);
        }
        if text.len() > LONGEST_NAME || text.split('.').any(|label| label.len() > LONGEST_LABEL) {
            return Err(HostError::TooLong);
        }
        let bad = |label: &str| label.is_empty() || label.starts_with('-') || label.ends_with('-');
        if text.split('.').any(bad) {
            return Err(HostError::BadLabel);
        }
        // What C libraries read as an address: a last label that is a number in any base.
        let last = text.rsplit('.').next().unwrap_or_default();
        let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
        let number = last.bytes().all(|byte| byte.is_ascii_digit());
        if number || hex.is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit())) {
            return Err(HostError::OddAddress);
        }
        Ok(Self(text.to_ascii_lowercase()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How many labels it has.
    #[must_use]
    pub fn labels(&self) -> usize {
        self.0.split('.').count()
    }
}

impl Authority {
    /// Reads `host:port`, `[v6]:port` or, when there is a port to fall back on, `host`.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str, default_port: Option<u16>) -> Result<Self, HostError> {
        let (host, port) = split_port(text)?;
        let port = port.or(default_port).filter(|port| *port != 0).ok_or(HostError::BadPort)?;
        Ok(Self { host: Host::parse(host)?, port })
    }
}

/// A host, not judged yet, and the port behind it if there is one.
pub(super) fn split_port(text: &str) -> Result<(&str, Option<u16>), HostError> {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => Ok((host, Some(read_port(port)?))),
        _ => Ok((text, None)),
    }
}

/// A port without sign, space or leading zero.
fn read_port(text: &str) -> Result<u16, HostError> {
    let plain = !text.is_empty() && !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| plain).ok_or(HostError::BadPort)
}

impl HostPattern {
    /// Reads `host` or `*.name`. What would mean every host, or everybody's below a public suffix such as
    /// `com` or `co.uk`, is refused.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        let Some(name) = text.strip_prefix("*.") else {
            if text.contains('*') {
                return Err(HostError::BadWildcard);
            }
            return Host::parse(text).map(Self::Exact);
        };
        match Host::parse(name)? {
            Host::Dns(name) if name.labels() < 2 => Err(HostError::BadWildcard),
            Host::Dns(name) if suffix_kind(&name) == Some(psl::Type::Icann) => Err(HostError::PublicSuffix),
            Host::Dns(name) => Ok(Self::Below(name)),
            Host::Ip(_) => Err(HostError::BadWildcard),
        }
    }

    /// Whether everything that it means is the sandbox itself; see [`Host::is_sandbox`].
    #[must_use]
    pub fn is_sandbox(&self) -> bool {
        match self {
            Self::Exact(host) => host.is_sandbox(),
            Self::Below(name) => name.is_localhost(),
        }
    }

    /// Whether it means this host.
    #[must_use]
    pub fn matches(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Exact(wanted), host) => wanted == host,
            (Self::Below(parent), Host::Dns(name)) => {
                let above = name.0.strip_suffix(parent.as_str());
                above.is_some_and(|above| above.ends_with('.') && !above.contains('_'))
            }
            (Self::Below(_), Host::Ip(_)) => false,
        }
    }
}

/// What kind of public suffix a name is itself: of a registry, or of a company that gives out names below
/// its own. None when it is no suffix.
pub(super) fn suffix_kind(name: &DnsName) -> Option<psl::Type> {
    let suffix = psl::suffix(name.as_str().as_bytes())?;
    (suffix.as_bytes() == name.as_str().as_bytes()).then(|| suffix.typ()).flatten()
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(&name.0),
            Self::Ip(IpAddr::V4(address)) => address.fmt(f),
            Self::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => host.fmt(f),
            Self::Below(name) => write!(f, "*.{name}"),
        }
    }
}

impl From<Host> for String {
    fn from(host: Host) -> Self {
        host.to_string()
    }
}

impl TryFrom<String> for Host {
    type Error = HostError;

    fn try_from(text: String) -> Result<Self, HostError> {
        Self::parse(&text)
    }
}

impl From<HostPattern> for String {
    fn from(pattern: HostPattern) -> Self {
        pattern.to_string()
    }
}

impl TryFrom<String> for HostPattern {
    type Error = HostError;

    fn try_from(text: String) -> Result<Self, HostError> {
        Self::parse(&text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hosts_have_one_form() {
        for (text, form) in [
            ("API.Example.COM", "api.example.com"),
            ("example.com.", "example.com"),
            ("_dmarc.example.com", "_dmarc.example.com"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("8.8.8.8", "8.8.8.8"),
            ("[2001:DB8:0::1]", "[2001:db8::1]"),
            ("[::ffff:8.8.8.8]", "8.8.8.8"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(Host::parse(text).map(|host| host.to_string()), Ok(form.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_no_host() {
        for text in [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a.b..",
            "a b",
            "a\0.example.com",
            "a\n",
            "user@host",
            "a/b",
            "a\\b",
            "a#b",
            "a?b",
            "a%41",
            "bücher.example",
            "a\u{3002}b",
            "-a.b",
            "a-.b",
            "0x7f.1",
            "2130706433",
            "0177.0.0.1",
            "127.1",
            "1.2.3",
            "1.2.3.4.5",
            "256.1.1.1",
            "0x7f000001",
            "a.0x10",
            "::1",
            "[::1%lo]",
            "[::1",
            "::1]",
            "[127.0.0.1]",
            "*",
            "*.example.com",
            "host:80",
            "01.2.3.4",
        ] {
            assert!(Host::parse(text).is_err(), "{text:?}");
        }
        assert_eq!(Host::parse(&format!("{}.a", "a".repeat(64))), Err(HostError::TooLong));
        assert!(Host::parse(&"a.".repeat(127)).is_ok());
        assert_eq!(Host::parse(&"a.".repeat(128)), Err(HostError::TooLong));
        assert_eq!(Host::parse("b\u{fc}cher.example"), Err(HostError::NotAscii));
        assert_eq!(Host::parse("\u{ff41}.example"), Err(HostError::NotAscii));
    }

    #[test]
    fn authorities_have_a_port() {
        let parse = |text, port| Authority::parse(text, port).map(|authority| authority.to_string());
        assert_eq!(parse("A.b:443", None), Ok("a.b:443".into()));
        assert_eq!(parse("a.b", Some(443)), Ok("a.b:443".into()));
        assert_eq!(parse("[::1]:80", None), Ok("[::1]:80".into()));
        assert_eq!(parse("[::1]", Some(80)), Ok("[::1]:80".into()));
        for text in
            ["a.b", "a.b:", "a.b:0", "a.b:65536", "a.b:+1", "a.b: 1", "a.b:080", "a.b:1:2", ":80", "u@a:1"]
        {
            assert!(parse(text, None).is_err(), "{text:?}");
        }
        assert!(parse("a.b:", Some(80)).is_err());
    }

    #[test]
    fn a_wildcard_means_every_name_below_and_not_the_name() {
        let pattern = HostPattern::parse("*.Example.com").unwrap();
        for (host, matched) in [
            ("a.example.com", true),
            ("a.b.example.com", true),
            ("example.com", false),
            ("badexample.com", false),
            ("a.example.com.evil.org", false),
            ("a_b.example.com", false),
            ("8.8.8.8", false),
        ] {
            assert_eq!(pattern.matches(&Host::parse(host).unwrap()), matched, "{host}");
        }
        for text in ["*", "*.com", "*.", "a*.example.com", "*a.example.com", "a.*.com", "**.a.b", "*.1.2.3.4"]
        {
            assert!(HostPattern::parse(text).is_err(), "{text}");
        }
        for text in ["*.co.uk", "*.CO.UK.", "*.com.au", "*.k12.ca.us"] {
            assert_eq!(HostPattern::parse(text), Err(HostError::PublicSuffix), "{text}");
        }
        for text in ["*.github.io", "*.example.co.uk", "*.corp.internal"] {
            assert!(HostPattern::parse(text).is_ok(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_canonical_form_is_stable(text in "\\PC{0,40}|[a-zA-Z0-9.\\-_:\\[\\]]{0,30}") {
            if let Ok(host) = Host::parse(&text) {
                let form = host.to_string();
                prop_assert_eq!(Host::parse(&form), Ok(host));
                prop_assert!(form.bytes().all(|byte| byte.is_ascii_graphic() && !b"@/\\#?%".contains(&byte)));
            }
        }
    }
}
